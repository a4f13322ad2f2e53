"""The default: generates digits by label; the 5,000 training images need no download.

    ganport train

The networks are those of `mnist-conditional`, with half the channels and without the layers at 28x28. The
training is short (72 seconds on two cores of 2.6 GHz), with a weaker R1 penalty and a higher learning rate.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..recipes import mnist_conditional, mnist_dcgan

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator whose feature maps are 7x7x64 and 14x14x32 for 28x28 images."""
    return mnist_dcgan.build_generator(latent_dim, image_shape, widths=(64, 32), detail=0)


def build_discriminator(image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
    """Return a discriminator whose feature maps are 14x14x32 and 7x7x64 for 28x28 images."""
    return mnist_dcgan.build_discriminator(image_shape, classes, widths=(32, 64), detail=0)


_ADAM = dataclasses.replace(mnist_conditional.RECIPE.generator_optimizer, learning_rate=3e-3)

RECIPE = dataclasses.replace(
    mnist_conditional.RECIPE,
    name="digits",
    dataset="digits",
    steps=2_500,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=0.1,
    preview_interval=250,
)
