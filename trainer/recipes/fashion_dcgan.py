"""The networks of `mnist-dcgan` on clothes, whose fabric takes twice as many channels where the pixels are made.

python cli.py train fashion-dcgan --mixed-precision

40 minutes on two cores with AMX. The scores of `fashion-conditional`, these networks told the class, are in docs/quality.md.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from . import mnist_dcgan
from .mnist_dcgan import build_discriminator

if TYPE_CHECKING:
    import keras

__all__ = ["RECIPE", "build_discriminator", "build_generator"]


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return latents -> 7x7x128 -> 14x14x64 -> 28x28x32 -> 28x28 for 28x28 images."""
    return mnist_dcgan.build_generator(latent_dim, image_shape, detail=32)


RECIPE = dataclasses.replace(
    mnist_dcgan.RECIPE,
    name="fashion-dcgan",
    dataset="fashion-mnist",
    steps=40_000,
    preview_interval=5_000,
)
