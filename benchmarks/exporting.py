"""Speed of ganport's exported files, compared with files of the same generators from tf2onnx alone.

    python -m benchmarks.exporting

Both files run in plain onnxruntime on the CPU, alternately in one process, from latents to 8-bit pixels.
ganport's file rounds the pixels in its graph; the output of the plain file is rounded by NumPy. A ratio is
the median time of the plain file divided by the median time of ganport's file, with the smallest and the
largest ratio of the repeats. If a ratio is above 1, ganport's file is faster. The weights are random, because
onnxruntime's time does not depend on their values.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import keras  # noqa: E402

from benchmarks.third_party_generators import GENERATORS, build, shake  # noqa: E402
from ganport.export.conversion import convert_generator  # noqa: E402
from ganport.export.costs import seconds_per_call  # noqa: E402
from ganport.export.options import OPSET  # noqa: E402
from ganport.export.parity import open_on_cpu  # noqa: E402
from ganport.export.sources import Source, standardise  # noqa: E402
from ganport.export.verified import convert_and_verify  # noqa: E402
from ganport.runtime import sample_latents, to_uint8  # noqa: E402
from ganport.trainer.recipes import load_recipe  # noqa: E402

SYSTEMS = (
    ("mnist-dense", (28, 28, 1)),
    ("fashion-dense", (28, 28, 1)),
    ("mnist-dropout", (28, 28, 1)),
    ("mnist-minimal", (28, 28, 1)),
    ("rps-dcgan", (28, 28, 1)),
    ("rps-dcgan", (100, 100, 3)),
    ("rps-dcgan", (300, 300, 3)),
)
BATCHES = (1, 16, 64)


def generators(only: str) -> Iterator[tuple[str, keras.Model]]:
    for recipe, shape in SYSTEMS:
        if only in (name := f"{recipe} {shape[0]}x{shape[1]}"):
            yield name, shake(load_recipe(recipe).build_generator(100, shape))
    for third_party in GENERATORS:
        if only in (name := f"third-party: {third_party}"):
            yield name, standardise(third_party, build(third_party), None)


def measure(name: str, generator: keras.Model, repeats: int, seconds: float) -> None:
    ours = convert_and_verify(Source(name=name, generator=generator)).model
    plain = convert_generator(generator, OPSET, None)
    ratios, times = [], []
    sessions = open_on_cpu(plain), open_on_cpu(ours)
    for batch in BATCHES:
        feed = {"latent": sample_latents(range(batch), generator.input_shape[1])}
        runs = (
            lambda feed=feed: to_uint8(sessions[0].run(None, feed)[0]),
            lambda feed=feed: sessions[1].run(None, feed),
        )
        rows = [[seconds_per_call(run, seconds) for run in runs] for _ in range(repeats)]
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        each = [slow / fast for slow, fast in rows]
        ratios.append(f"{medians[0] / medians[1]:5.2f}x ({min(each):.2f} to {max(each):.2f})")
        times.append(f"{1e3 * medians[1] / batch:.3f}")
    sizes = f"{plain.ByteSize() / 1e6:5.2f} {ours.ByteSize() / 1e6:5.2f} MB"
    nodes = f"{len(plain.graph.node):3d} {len(ours.graph.node):3d} nodes"
    print(
        f"{name:27s} {nodes} {sizes}  {'  '.join(ratios)}  ours, ms per image: {' '.join(times)}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of our exported files, compared with tf2onnx alone.")
    parser.add_argument("--only", default="", help="measure only generators whose name contains this")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="time per file, batch size and repeat")
    arguments = parser.parse_args()
    print(f"plain / ours at batch {', '.join(map(str, BATCHES))}")
    for name, generator in generators(arguments.only):
        measure(name, generator, arguments.repeats, arguments.seconds)


if __name__ == "__main__":
    main()
