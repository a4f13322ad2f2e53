"""A deep discriminator with Dropout, and a generator without normalization.

Described in "Building a Generative Adversarial Network from Scratch". The generator has
1,486,352 parameters, the discriminator 1,492,993.

As published: The discriminator is updated on one batch of 128 real and 128 generated images, by Adam with
learning rate 2e-4 and beta_1 0.5. The generator is trained through a stacked network that is compiled with
plain "adam". So Adam with Keras' defaults is the generator's optimizer, whatever the generator itself was
compiled with. There is no activation after the layer of 512 units. There is no BatchNormalization either,
although a comment in the published code announces it. An "epoch" has 128 steps (as many as a batch has real
images), and five epochs make 640 steps. A grid is shown every epoch.

    ganport train mnist-dropout
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..recipe import Optimizer
from ..recipes import mnist_dense

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator with dense layers of 256, 512, 1024 and, for 28x28 images, 784 units."""
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
    """Return a discriminator with dense layers of 1024, 512, 256, 128 and 1 units, and Dropout."""
    from keras import Input, Sequential, layers

    network = [Input(image_shape, name="image"), layers.Flatten()]
    for width, dropped in ((1024, 0.2), (512, 0.3), (256, 0.3), (128, 0.0)):
        network.append(layers.Dense(width))
        network.append(layers.LeakyReLU(0.2))
        if dropped:
            network.append(layers.Dropout(dropped))
    network.append(layers.Dense(1))
    return Sequential(network, name="discriminator")


_ADAM = dataclasses.replace(mnist_dense.RECIPE.generator_optimizer, learning_rate=1e-3)

RECIPE = dataclasses.replace(
    mnist_dense.RECIPE,
    name="mnist-dropout",
    steps=60_000,
    batch_size=8,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=10.0,
    # XLA would compute the masks of Dropout again in every matrix product, and a step would take four times
    # as long.
    jit=False,
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
