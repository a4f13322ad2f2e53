"""The default: the two networks of `mnist-dense`, on 5,000 digits that need no download, with settings for two minutes.

    python cli.py train

10,000 steps take two to three minutes on two cores. Of the 64 digits of a preview, about seven can't be read.
"""

from __future__ import annotations

import dataclasses

from . import mnist_dense
from .mnist_dense import build_discriminator, build_generator

__all__ = ["RECIPE", "build_discriminator", "build_generator"]

# A short run wants a higher rate than a long one: 1e-3 was better than 5e-4, and 3e-3 was not tried.
_ADAM = dataclasses.replace(mnist_dense.RECIPE.generator_optimizer, learning_rate=1e-3)

RECIPE = dataclasses.replace(
    mnist_dense.RECIPE,
    name="digits",
    dataset="digits",
    steps=10_000,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    preview_interval=1_000,
)
