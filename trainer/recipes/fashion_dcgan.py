"""The networks of `mnist-dcgan` on clothes.

python cli.py train fashion-dcgan
"""

from __future__ import annotations

import dataclasses

from . import mnist_dcgan
from .mnist_dcgan import build_discriminator, build_generator

__all__ = ["RECIPE", "build_discriminator", "build_generator"]

RECIPE = dataclasses.replace(mnist_dcgan.RECIPE, name="fashion-dcgan", dataset="fashion-mnist")
