"""A deep discriminator held back by Dropout, and a generator without normalisation.

Described in "Building a Generative Adversarial Network from Scratch" (system 002). Generator 1,486,352 parameters,
discriminator 1,492,993.

As published: real images and fakes in one batch of 256, Adam 2e-4 with beta1 0.5 for the discriminator; the stacked network
that trains the generator is compiled with plain "adam", so that is its optimiser, whatever the generator was compiled with.
There is no activation after the layer of 512, and no BatchNormalization, though a comment announces one. An "epoch" has as many
steps as a batch has images, 128, and there are five: 640 steps in all. A grid every epoch.

    python cli.py train mnist-dropout
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..recipe import Optimizer
from . import mnist_dense

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return 100-256-512-1024-784 for 28x28 images."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((latent_dim,), name="latent"),
            layers.Dense(256),
            layers.LeakyReLU(0.2),
            layers.Dense(512),
            layers.Dense(1024),
            layers.LeakyReLU(0.2),
            layers.Dense(math.prod(image_shape), activation="tanh"),
            layers.Reshape(image_shape),
        ],
        name="generator",
    )


def build_discriminator(image_shape: tuple[int, int, int]) -> keras.Model:
    """Return 784-1024-512-256-128-1 for 28x28 images."""
    from keras import Input, Sequential, layers

    model = Sequential([Input(image_shape, name="image"), layers.Flatten()], name="discriminator")
    for width, dropped in ((1024, 0.2), (512, 0.3), (256, 0.3), (128, 0.0)):
        model.add(layers.Dense(width))
        model.add(layers.LeakyReLU(0.2))
        if dropped:
            model.add(layers.Dropout(dropped))
    model.add(layers.Dense(1))
    return model


_ADAM = dataclasses.replace(mnist_dense.RECIPE.generator_optimizer, learning_rate=1e-3)

RECIPE = dataclasses.replace(
    mnist_dense.RECIPE,
    name="mnist-dropout",
    steps=60_000,
    batch_size=8,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=10.0,
    jit=False,  # XLA compiles the masks of Dropout into every product that they go into: four times slower than without it
)

AS_PUBLISHED = dataclasses.replace(
    mnist_dense.AS_PUBLISHED,
    name="mnist-dropout",
    steps=640,
    batch_size=128,
    schedule="stacked",
    generator_optimizer=Optimizer(name="adam", learning_rate=1e-3),
    discriminator_optimizer=Optimizer(name="adam", learning_rate=2e-4, beta_1=0.5),
    jit=False,
    preview_interval=128,
)
