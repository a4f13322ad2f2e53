"""Training speed of ganport's loop, the published reference loops, and an equal loop in PyTorch.

    make bench

Each recipe runs as published, on the CPU. All loops have the same networks, the same maths and the same
batch. After a warm-up the loops run in turns in one process. The output has medians over the repeats, and
ratios with their range. The images are random, because the speed does not depend on their content. PyTorch is
not a dependency of this project; if it is not installed, its lines are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks import described_loops, torch_loops  # noqa: E402
from ganport.trainer.networks import build_networks  # noqa: E402
from ganport.trainer.random_numbers import image_order  # noqa: E402
from ganport.trainer.recipe import Recipe  # noqa: E402
from ganport.trainer.recipes import load_recipe  # noqa: E402
from ganport.trainer.step import CHUNK_STEPS, compile_chunk  # noqa: E402

IMAGES = 10_000

Steps = Callable[[int], None]

# The cases: recipe, batch size, image shape.
CASES = (
    ("mnist-dense", 32, (28, 28, 1)),
    ("mnist-dense", 128, (28, 28, 1)),
    ("fashion-dense", 256, (28, 28, 1)),
    ("mnist-dropout", 128, (28, 28, 1)),
    ("mnist-minimal", 128, (28, 28, 1)),
    ("rps-dcgan", 128, (28, 28, 1)),
    ("rps-dcgan", 32, (100, 100, 3)),
)


def case_recipe(name: str, batch_size: int, shape: tuple[int, int, int]) -> Recipe:
    """Return the recipe of a case: the published settings with the batch size and image shape of the case."""
    published = load_recipe(name, as_published=True)
    # The alternating schedule trains one network per epoch, so its steps do not compare with those of other
    # loops. It is replaced by a schedule that updates both networks in each step.
    schedule = "simultaneous" if published.schedule == "alternating" else published.schedule
    return dataclasses.replace(published, batch_size=batch_size, image_shape=shape, schedule=schedule)


def our_loop(recipe: Recipe, images: np.ndarray) -> Steps:
    networks = build_networks(recipe)
    chunk = compile_chunk(recipe, networks, len(images), tf.distribute.get_strategy())
    on_device = tf.constant(images)
    position = 0

    def run(steps: int) -> None:
        nonlocal position
        order = np.zeros((CHUNK_STEPS, recipe.batch_size), np.int32)
        order[:steps] = image_order(recipe, len(images), position, position + steps)
        span = tf.constant(position), tf.constant(steps)
        chunk(on_device, tf.constant(order), tf.zeros_like(order), *span).numpy()
        position += steps

    return run


def images_per_second(run: Steps, batch_size: int, seconds: float, steps: int = 10) -> float:
    """Return the speed in images/s over at least `seconds` seconds, with `steps` steps per call of `run`."""
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        run(steps)
        done += steps
    return done * batch_size / elapsed


def compare(name: str, batch_size: int, shape: tuple[int, int, int], repeats: int, seconds: float) -> None:
    recipe = case_recipe(name, batch_size, shape)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
    started = time.perf_counter()
    ours = our_loop(recipe, images)
    ours(1)
    compiling = time.perf_counter() - started
    others = {"reference": described_loops.build(recipe, images)}
    if torch_loops.AVAILABLE:
        others["PyTorch"] = torch_loops.build(recipe, images)
    for run in (ours, *others.values()):
        run(3)
    speeds: dict[str, list[float]] = {"ours": [], **{other: [] for other in others}}
    for _ in range(repeats):
        for label, run in {"ours": ours, **others}.items():
            speeds[label].append(images_per_second(run, batch_size, seconds))
    height, width, channels = shape
    print(f"{name}, batch {batch_size}, {height}x{width}x{channels}, compiled in {compiling:.1f} s")
    for label, measured in speeds.items():
        ratios = [mine / its for mine, its in zip(speeds["ours"], measured, strict=True)]
        line = f"  {label:12s} {statistics.median(measured):8,.0f} images/s"
        if label != "ours":
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            line += f"  ours is {statistics.median(ratios):5.2f} times as fast {spread}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare the training speed of ganport, the reference loops, and PyTorch."
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each loop in each repeat")
    parser.add_argument("--only", default="", help="name of the only recipe to measure")
    arguments = parser.parse_args()
    torch_version = torch_loops.VERSION or "not installed"
    versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}, PyTorch {torch_version}"
    print(f"{versions}; {arguments.repeats} repeats")
    for name, batch_size, shape in CASES:
        if arguments.only in ("", name):
            compare(name, batch_size, shape, arguments.repeats, arguments.seconds)


if __name__ == "__main__":
    main()
