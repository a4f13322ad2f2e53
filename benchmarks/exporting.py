"""Exported files beside what tf2onnx alone makes of the same generators.

    python -m benchmarks.exporting

Both in bare onnxruntime on the CPU, from latents to 8-bit pixels, in turns in one process: ours rounds in the graph, the
plain file leaves it to numpy. Ratios are of medians, plain / ours, with smallest and largest of the repeats; over 1 ours
is the faster. Weights are random: onnxruntime's time does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import keras  # noqa: E402

from benchmarks.foreign_generators import GENERATORS, build, shake  # noqa: E402
from ganport.export import Options, Source, prove  # noqa: E402
from ganport.export.convert import convert_generator  # noqa: E402
from ganport.export.cost import seconds_per_call  # noqa: E402
from ganport.export.sources import standardised  # noqa: E402
from ganport.export.verify import open_on_cpu  # noqa: E402
from ganport.runtime import latents_of, to_uint8  # noqa: E402
from ganport.trainer.recipes import load_recipe_module  # noqa: E402

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
            yield name, shake(load_recipe_module(recipe).build_generator(100, shape))
    for foreign in GENERATORS:
        if only in (name := f"foreign: {foreign}"):
            yield name, standardised(Path(foreign), build(foreign), None)


def measure(name: str, generator: keras.Model, repeats: int, seconds: float) -> None:
    ours = prove(Source(name=name, generator=generator)).model
    plain = convert_generator(generator, Options().opset, None)
    ratios, times = [], []
    sessions = open_on_cpu(plain), open_on_cpu(ours)
    for batch in BATCHES:
        feed = {"latent": latents_of(range(batch), generator.input_shape[1])}
        draws = (lambda feed=feed: to_uint8(sessions[0].run(None, feed)[0])), (lambda feed=feed: sessions[1].run(None, feed))
        rows = [[seconds_per_call(draw, seconds) for draw in draws] for _ in range(repeats)]
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        each = [slow / fast for slow, fast in rows]
        ratios.append(f"{medians[0] / medians[1]:5.2f}x ({min(each):.2f} to {max(each):.2f})")
        times.append(f"{1e3 * medians[1] / batch:.3f}")
    sizes = f"{plain.ByteSize() / 1e6:5.2f} {ours.ByteSize() / 1e6:5.2f} MB"
    nodes = f"{len(plain.graph.node):3d} {len(ours.graph.node):3d} nodes"
    print(f"{name:24s} {nodes} {sizes}  {'  '.join(ratios)}  ours, ms an image: {' '.join(times)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Our exported files beside plain tf2onnx.")
    parser.add_argument("--only", default="", help="those whose name has this in it")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="per file, batch and repeat")
    arguments = parser.parse_args()
    print(f"plain / ours at batch {', '.join(map(str, BATCHES))}")
    for name, generator in generators(arguments.only):
        measure(name, generator, arguments.repeats, arguments.seconds)


if __name__ == "__main__":
    main()
