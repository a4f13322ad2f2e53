"""The smallest GAN that works: one hidden layer in each network.

Described in "Practice: Understanding GANs". The generator has 114,064 parameters, the
discriminator 100,609.

As published: Adam with Keras' defaults, batch size 128, 20,000 steps, and a preview every 1,000 steps. The
schedule is that of `mnist-dense`. The description generates additional images between the updates of the two
networks, and does not use them; here these images are not generated.

    ganport train mnist-minimal

With the default settings, training takes two minutes on two cores, and uses as many images as with the
published settings. A network with one hidden layer needs a high learning rate: see docs/quality.md.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator with dense layers of 128 and, for 28x28 images, 784 units."""
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
    """Return a discriminator with dense layers of 128 and 1 units."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input(image_shape, name="image"),
            layers.Flatten(),
            layers.Dense(128),
            layers.LeakyReLU(0.01),
            layers.Dense(1),
        ],
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
