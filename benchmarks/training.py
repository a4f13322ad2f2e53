"""Training speed of ganport's loop, the published reference loops, and equal loops in PyTorch and JAX.

    make bench

Each recipe runs as published, on the CPU. All loops have the same networks, the same maths and the same
batch. After a warm-up the loops run in turns in one process. The output has medians over the repeats, and
ratios with their range. The images are random, because the speed does not depend on their content.

PyTorch runs in eager mode, and compiled by torch.compile if there is a C++ compiler. JAX runs a compiled loop
over the steps. Neither is a dependency of this project. The lines of a package that is not installed are left
out.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import time
from collections.abc import Callable

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks import described_loops, jax_loops, torch_loops  # noqa: E402
from ganport.trainer.networks import build_networks  # noqa: E402
from ganport.trainer.random_numbers import image_order  # noqa: E402
from ganport.trainer.recipe import Recipe  # noqa: E402
from ganport.trainer.recipes import load_recipe  # noqa: E402
from ganport.trainer.step import CHUNK_STEPS, compile_chunk  # noqa: E402

IMAGES = 10_000

Steps = Callable[[int], None]

# The cases: recipe, batch size, image shape, and number of steps in one call of a loop.
CASES = (
    ("mnist-dense", 32, (28, 28, 1), 100),
    ("mnist-dense", 128, (28, 28, 1), 100),
    ("fashion-dense", 256, (28, 28, 1), 100),
    ("mnist-dropout", 128, (28, 28, 1), 100),
    ("mnist-minimal", 128, (28, 28, 1), 100),
    ("rps-dcgan", 128, (28, 28, 1), 10),
    ("rps-dcgan", 32, (100, 100, 3), 10),
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


def images_per_second(run: Steps, batch_size: int, seconds: float, steps: int) -> float:
    """Return the speed in images/s over at least `seconds` seconds, with `steps` steps per call of `run`."""
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        run(steps)
        done += steps
    return done * batch_size / elapsed


def other_loops(recipe: Recipe, images: np.ndarray) -> dict[str, Steps]:
    """Return the loops that ganport's loop is compared with, by their labels in the output."""
    loops = {"reference": described_loops.build(recipe, images)}
    if torch_loops.AVAILABLE:
        loops["PyTorch"] = torch_loops.build(recipe, images)
        if shutil.which("g++"):
            loops["torch.compile"] = torch_loops.build(recipe, images, compiled=True)
    if jax_loops.AVAILABLE:
        loops["JAX"] = jax_loops.build(recipe, images)
    return loops


def compare(
    name: str, batch_size: int, shape: tuple[int, int, int], steps: int, repeats: int, seconds: float
) -> None:
    recipe = case_recipe(name, batch_size, shape)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
    started = time.perf_counter()
    ours = our_loop(recipe, images)
    ours(1)
    compiling = time.perf_counter() - started
    others = other_loops(recipe, images)
    for run in (ours, *others.values()):
        run(steps)
    speeds: dict[str, list[float]] = {"ours": [], **{other: [] for other in others}}
    for _ in range(repeats):
        for label, run in {"ours": ours, **others}.items():
            speeds[label].append(images_per_second(run, batch_size, seconds, steps))
    height, width, channels = shape
    print(f"{name}, batch {batch_size}, {height}x{width}x{channels}, compiled in {compiling:.1f} s")
    for label, measured in speeds.items():
        ratios = [mine / its for mine, its in zip(speeds["ours"], measured, strict=True)]
        line = f"  {label:13s} {statistics.median(measured):8,.0f} images/s"
        if label != "ours":
            spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
            line += f"  ours is {statistics.median(ratios):5.2f} times as fast {spread}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare the training speed of ganport, the reference loops, PyTorch and JAX."
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each loop in each repeat")
    parser.add_argument("--only", default="", help="name of the only recipe to measure")
    arguments = parser.parse_args()
    peers = {"PyTorch": torch_loops.VERSION, "JAX": jax_loops.VERSION}
    versions = [f"{peer} {version or 'not installed'}" for peer, version in peers.items()]
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {', '.join(versions)}")
    for case in CASES:
        if arguments.only in ("", case[0]):
            compare(*case, arguments.repeats, arguments.seconds)


if __name__ == "__main__":
    main()
