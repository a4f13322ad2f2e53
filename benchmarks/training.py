"""Training speed: our loop beside the loop that the descriptions write, the same networks and the same maths.

    make bench

The descriptions' loop, a step: `predict`, then `train_on_batch` on real images, on fakes, and on generator and discriminator
stacked. Both loops run in turns in one process, after a warm-up; printed are medians over the repeats, and the ratio with its
spread. The images are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

from trainer.devices import load_tensorflow

load_tensorflow()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from trainer.networks import build_networks  # noqa: E402
from trainer.recipe import Recipe  # noqa: E402
from trainer.recipes import load_recipe_module, published_recipe  # noqa: E402
from trainer.step import compile_chunk  # noqa: E402

NAME = "mnist-dense"
IMAGES = 60_000

Steps = Callable[[int], None]


def our_loop(recipe: Recipe, images: np.ndarray) -> Steps:
    networks = build_networks(recipe, load_recipe_module(NAME))
    chunk = compile_chunk(recipe, networks)
    on_device = tf.constant(images)
    position = 0

    def run(steps: int) -> None:
        nonlocal position
        chunk(on_device, tf.constant(position), tf.constant(steps)).numpy()
        position += steps

    return run


def described_loop(recipe: Recipe, images: np.ndarray) -> Steps:
    module = load_recipe_module(NAME)
    generator = module.build_generator(recipe.latent_dim, recipe.image_shape)
    core = module.build_discriminator(recipe.image_shape)
    discriminator = keras.Sequential([core, keras.layers.Activation("sigmoid")])
    discriminator.compile(loss="binary_crossentropy", optimizer="sgd", metrics=["accuracy"])
    stacked = keras.Sequential([keras.Input((recipe.latent_dim,)), generator, discriminator])
    stacked.compile(loss="binary_crossentropy", optimizer="sgd")
    floats = images / np.float32(127.5) - 1
    real, fake = np.ones((recipe.batch_size, 1)), np.zeros((recipe.batch_size, 1))

    def run(steps: int) -> None:
        for _ in range(steps):
            batch = floats[np.random.randint(0, len(floats), recipe.batch_size)]
            fakes = generator.predict(np.random.normal(0, 1, (recipe.batch_size, recipe.latent_dim)), verbose=0)
            discriminator.train_on_batch(batch, real)
            discriminator.train_on_batch(fakes, fake)
            stacked.train_on_batch(np.random.normal(0, 1, (recipe.batch_size, recipe.latent_dim)), real)

    # What is trainable counts when a train function is traced. The descriptions freeze the discriminator before the first
    # step; under Keras 3 it would then never be trained. So it is frozen after its own function is there, before the other.
    discriminator.train_on_batch(floats[: recipe.batch_size], real)
    discriminator.trainable = False
    before = [weight.numpy().copy() for weight in core.weights]
    stacked.train_on_batch(np.zeros((recipe.batch_size, recipe.latent_dim)), real)
    assert all(np.array_equal(a, b) for a, b in zip(before, core.weights, strict=True)), "the stack trained the discriminator"
    discriminator.train_on_batch(floats[: recipe.batch_size], real)
    assert not np.array_equal(before[0], core.weights[0]), "the discriminator is not trained at all"
    return run


def steps_per_second(run: Steps, seconds: float) -> float:
    """Return the speed over about that time."""
    steps, started = 0, time.perf_counter()
    size = 10
    while (elapsed := time.perf_counter() - started) < seconds:
        run(size)
        steps += size
    return steps / elapsed


def compare(batch_size: int, repeats: int, seconds: float) -> None:
    recipe = dataclasses.replace(published_recipe(load_recipe_module(NAME)), batch_size=batch_size)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *recipe.image_shape)).astype(np.uint8)
    ours, described = our_loop(recipe, images), described_loop(recipe, images)
    started = time.perf_counter()
    ours(10)
    compiling = time.perf_counter() - started
    described(10)
    pairs = [(steps_per_second(ours, seconds), steps_per_second(described, seconds)) for _ in range(repeats)]
    ratios = [a / b for a, b in pairs]
    print(
        f"{NAME}  batch {batch_size:3d}  ours {statistics.median(a for a, _ in pairs):6.1f} steps/s  "
        f"described {statistics.median(b for _, b in pairs):5.1f} steps/s  "
        f"ratio {statistics.median(ratios):5.1f} ({min(ratios):.1f} to {max(ratios):.1f})  compiled in {compiling:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Training speed: our loop beside the one that the descriptions write.")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0, help="per loop and repeat")
    arguments = parser.parse_args()
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, as published (SGD), {arguments.repeats} repeats")
    for batch_size in (32, 128):
        compare(batch_size, arguments.repeats, arguments.seconds)


if __name__ == "__main__":
    main()
