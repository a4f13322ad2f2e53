"""The networks of `mnist-dcgan` on Fashion-MNIST, with twice as many channels at 28x28.

    ganport train fashion-dcgan --mixed-precision

Training takes 40 minutes on two cores with AMX. The textures of fabric need more channels at full resolution
than digits do. The scores of `fashion-conditional`, which has the same networks with labels, are in
docs/quality.md.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..recipes import mnist_dcgan
from ..recipes.mnist_dcgan import build_discriminator

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "build_discriminator", "build_generator"]


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator whose feature maps are 7x7x128, 14x14x64 and 28x28x32 for 28x28 images."""
    return mnist_dcgan.build_generator(latent_dim, image_shape, detail=32)


RECIPE = dataclasses.replace(
    mnist_dcgan.RECIPE,
    name="fashion-dcgan",
    dataset="fashion-mnist",
    steps=40_000,
    preview_interval=5_000,
)
