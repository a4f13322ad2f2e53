"""Dense layers, with BatchNormalization in the generator: the classic first GAN.

Described in "Generating Images using GANs in Tensorflow". The generator has 1,493,520
parameters, the discriminator 533,505.

As published: SGD with Keras' default learning rate, batch size 32, 10,000 steps. In each step, the
discriminator has one update on real images and one on generated images. The generated images come from
`predict`, which runs BatchNormalization in inference mode. The description's discriminator ends in a sigmoid,
and the loss is binary cross-entropy. Here the discriminator returns logits, and the loss is computed with
softplus. This is the same function, without the rounding of the sigmoid.

    ganport train mnist-dense

With the default settings (60,000 steps), training takes seven minutes on two cores. With the published
settings (10,000 steps), training takes one to two minutes.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator with dense layers of 256, 512, 1024 and, for 28x28 images, 784 units."""
    from keras import Input, Sequential, layers

    network = [Input((latent_dim,), name="latent")]
    for width in (256, 512, 1024):
        network.append(layers.Dense(width))
        network.append(layers.LeakyReLU(0.2))
        network.append(layers.BatchNormalization(momentum=0.8))
    network.append(layers.Dense(math.prod(image_shape), activation="tanh"))
    network.append(layers.Reshape(image_shape))
    return Sequential(network, name="generator")


def build_discriminator(image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a discriminator with dense layers of 512, 256 and 1 units."""
    from keras import Input, Sequential, layers

    network = [Input(image_shape, name="image"), layers.Flatten()]
    for width in (512, 256):
        network.append(layers.Dense(width))
        network.append(layers.LeakyReLU(0.2))
    network.append(layers.Dense(1))
    return Sequential(network, name="discriminator")


_ADAM = Optimizer(name="adam", learning_rate=5e-4, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="mnist-dense",
    dataset="mnist",
    image_shape=(28, 28, 1),
    latent_dim=100,
    steps=60_000,
    batch_size=32,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=1.0,
    penalty_interval=4,
    ema_decay=0.999,
    preview_interval=2_000,
)

AS_PUBLISHED = dataclasses.replace(
    RECIPE,
    steps=10_000,
    batch_size=32,
    schedule="separate",
    generator_optimizer=Optimizer(name="sgd", learning_rate=0.01),
    discriminator_optimizer=Optimizer(name="sgd", learning_rate=0.01),
    r1_weight=0.0,
    penalty_interval=1,
    ema_decay=0.0,
    preview_interval=200,
)
