"""The default: 5,000 digits that need no download, drawn on demand after one or two minutes on two cores.

python cli.py train

The networks of `mnist-conditional`, half as wide and without the layers at 28x28, and a short run: a weaker R1, a higher rate.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from . import mnist_conditional, mnist_dcgan

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return latents -> 7x7x64 -> 14x14x32 -> 28x28 for 28x28 images."""
    return mnist_dcgan.build_generator(latent_dim, image_shape, widths=(64, 32), detail=0)


def build_discriminator(image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
    """Return 28x28 -> 14x14x32 -> 7x7x64 -> a logit, or one for each class."""
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
