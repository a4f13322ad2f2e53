"""The smallest GAN that draws: one hidden layer in each network.

Described in "Practice: Understanding GANs" (system 003). Generator 114,064 parameters, discriminator 100,609.

As published: Adam with Keras' defaults, batch 128, 20,000 steps, sampled every 1,000; the schedule is the one of
`mnist-dense`. The description draws new fakes between the two networks' updates and throws them away; we don't.

    python cli.py train mnist-minimal

Our settings see as many images as those of the description, in two minutes on two cores. One hidden layer wants a high rate:
see docs/quality.md.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return 100-128-784 for 28x28 images."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((latent_dim,), name="latent"),
            layers.Dense(128),
            layers.LeakyReLU(0.01),
            layers.Dense(math.prod(image_shape), activation="tanh"),
            layers.Reshape(image_shape),
        ],
        name="generator",
    )


def build_discriminator(image_shape: tuple[int, int, int]) -> keras.Model:
    """Return 784-128-1 for 28x28 images."""
    from keras import Input, Sequential, layers

    return Sequential(
        [Input(image_shape, name="image"), layers.Flatten(), layers.Dense(128), layers.LeakyReLU(0.01), layers.Dense(1)],
        name="discriminator",
    )


_ADAM = Optimizer(name="adam", learning_rate=3e-3, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="mnist-minimal",
    dataset="mnist",
    image_shape=(28, 28, 1),
    latent_dim=100,
    steps=80_000,
    batch_size=32,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=1.0,
    penalty_interval=4,
    ema_decay=0.999,
    preview_interval=8_000,
)

AS_PUBLISHED = dataclasses.replace(
    RECIPE,
    steps=20_000,
    batch_size=128,
    schedule="separate",
    generator_optimizer=Optimizer(name="adam", learning_rate=1e-3),
    discriminator_optimizer=Optimizer(name="adam", learning_rate=1e-3),
    r1_weight=0.0,
    penalty_interval=1,
    ema_decay=0.0,
    preview_interval=1_000,
)
