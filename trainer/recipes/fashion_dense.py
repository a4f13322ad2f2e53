"""Dense layers for Fashion-MNIST, with BatchNormalization before LeakyReLU.

Described in "New computer vision: GANs in TensorFlow". The generator has 1,513,616 parameters,
the discriminator 533,505.

As published: Adam has the learning rate 2e-4. The gradients of both networks are computed before either
network is updated. The images have a new order every epoch, and a grid is shown every epoch.
BatchNormalization has the unusual momentum 0.1 and epsilon 0.8, which we kept.

The description leaves some settings out. We chose beta_1 0.5 and beta_2 0.999; the description names these
arguments, b1 and b2, without values. We chose batch size 256 and 50 epochs, those of TensorFlow's DCGAN
tutorial, whose training loop the description follows.

Differences: In the description, the last batch of an epoch is smaller than the others; here it is filled up
with images of the next epoch. The description saves a checkpoint every 15 epochs; here a checkpoint is saved
with every grid.

    ganport train fashion-dense
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
    """Return a generator with dense layers of 128, 256, 512, 1024 and, for 28x28 images, 784 units."""
    from keras import Input, Sequential, layers

    network = [Input((latent_dim,), name="latent")]
    for width in (128, 256, 512, 1024):
        network.append(layers.Dense(width, kernel_initializer="he_uniform"))
        if width > 128:
            network.append(layers.BatchNormalization(momentum=0.1, epsilon=0.8))
        network.append(layers.LeakyReLU(0.2))
    network.append(layers.Dense(math.prod(image_shape), kernel_initializer="he_uniform", activation="tanh"))
    network.append(layers.Reshape(image_shape))
    return Sequential(network, name="generator")


def build_discriminator(image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a discriminator with dense layers of 512, 256 and 1 units."""
    from keras import Input, Sequential, layers

    network = [Input(image_shape, name="image"), layers.Flatten()]
    for width in (512, 256):
        network.append(layers.Dense(width, kernel_initializer="he_uniform"))
        network.append(layers.LeakyReLU(0.2))
    network.append(layers.Dense(1, kernel_initializer="he_uniform"))
    return Sequential(network, name="discriminator")


_ADAM = dataclasses.replace(mnist_dense.RECIPE.generator_optimizer, learning_rate=6e-3)

RECIPE = dataclasses.replace(
    mnist_dense.RECIPE,
    name="fashion-dense",
    dataset="fashion-mnist",
    steps=46_875,  # 50 epochs
    batch_size=64,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
)

_PUBLISHED_ADAM = Optimizer(name="adam", learning_rate=2e-4, beta_1=0.5)

AS_PUBLISHED = dataclasses.replace(
    mnist_dense.AS_PUBLISHED,
    name="fashion-dense",
    dataset="fashion-mnist",
    steps=11_719,  # 50 epochs
    batch_size=256,
    schedule="simultaneous",
    sampling="epochs",
    generator_optimizer=_PUBLISHED_ADAM,
    discriminator_optimizer=_PUBLISHED_ADAM,
    preview_interval=235,  # one epoch
)
