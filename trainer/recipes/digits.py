"""The default: the two networks of `mnist-dense`, on 5,000 digits that need no download, with settings for two minutes.

    python cli.py train
"""

from __future__ import annotations

import dataclasses

from . import mnist_dense
from .mnist_dense import build_discriminator, build_generator

__all__ = ["RECIPE", "build_discriminator", "build_generator"]

RECIPE = dataclasses.replace(mnist_dense.RECIPE, name="digits", dataset="digits", steps=10_000, preview_interval=1_000)
