"""Training speed with XLA and with TensorFlow's graph executor, for several numbers of steps per call.

    python -m benchmarks.training_choices

Each recipe runs with ganport's settings on the CPU, and all variants run in turns in one process. The output
has images per second, as medians over the repeats. These figures decide the setting `jit` of each recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import numpy as np  # noqa: E402

from benchmarks.training import IMAGES, images_per_second, our_loop  # noqa: E402
from ganport.trainer.recipes import load_recipe  # noqa: E402

CASES = (
    ("mnist-dense", (28, 28, 1)),
    ("fashion-dense", (28, 28, 1)),
    ("mnist-dropout", (28, 28, 1)),
    ("mnist-minimal", (28, 28, 1)),
    ("rps-dcgan", (28, 28, 1)),
)
CHUNKS = (1, 10, 100)  # numbers of steps per call, up to the number between two lines of the history


def measure(name: str, shape: tuple[int, int, int], repeats: int, seconds: float) -> None:
    recipe = dataclasses.replace(load_recipe(name), image_shape=shape)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
    loops = {jit: our_loop(dataclasses.replace(recipe, jit=jit), images) for jit in (True, False)}
    for loop in loops.values():
        loop(3)
    chunks = [steps for steps in CHUNKS if steps <= recipe.log_interval]
    speeds: dict[tuple[bool, int], list[float]] = {(jit, steps): [] for jit in loops for steps in chunks}
    for _ in range(repeats):
        for (jit, steps), measured in speeds.items():
            measured.append(images_per_second(loops[jit], recipe.batch_size, seconds, steps))
    print(f"{name}, batch {recipe.batch_size}, {'x'.join(map(str, shape))}; the recipe says jit={recipe.jit}")
    for (jit, steps), measured in speeds.items():
        spread = f"{min(measured):,.0f} to {max(measured):,.0f}"
        engine = "XLA" if jit else "TensorFlow's graph"
        median = statistics.median(measured)
        print(f"  {engine:18s} {steps:3d} steps per call {median:8,.0f}  ({spread})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare XLA with TensorFlow's graph, by steps per call.")
    parser.add_argument("--only", default="", help="name of the only recipe to measure")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each setting in each repeat")
    arguments = parser.parse_args()
    for name, shape in CASES:
        if arguments.only in ("", name):
            measure(name, shape, arguments.repeats, arguments.seconds)


if __name__ == "__main__":
    main()
