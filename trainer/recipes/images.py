"""Images of any kind: the networks of `mnist-dcgan`, with as many layers as the size of the images needs.

    ganport train ~/photos
    ganport train ~/photos --minutes 30

The relativistic loss with penalties on real and on generated images follows R3GAN (Huang et al., "The GAN is
dead; long live the GAN!", NeurIPS 2024). The penalties are computed in every fourth step (Karras et al., CVPR
2020). What was tried is in docs/log.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe
from ..recipes import mnist_dcgan

if TYPE_CHECKING:
    import keras

_SMALLEST = 8  # largest side, in pixels, of the smallest feature maps
# Channels of a feature map of one pixel. A larger map has this number divided by its longer side, so that all
# layers take about the same time.
_GENERATOR_CHANNELS, _DISCRIMINATOR_CHANNELS = 1_536, 1_024
_NARROWEST, _WIDEST = 16, 256  # limits for the channels of a feature map


def widths_of(image_shape: tuple[int, int, int], total: int) -> list[int]:
    """Return the channels of the feature maps, the smallest map first; they are multiples of 8.

    Each map has half the sides of the next larger one. The image itself is left out.

    Args:
        image_shape: Height, width and channels of the images.
        total: Channels of a feature map of one pixel.

    >>> widths_of((64, 48, 3), 1_536), widths_of((128, 128, 3), 1_536)
    ([192, 96, 48], [192, 96, 48, 24])
    """
    longest = max(image_shape[:2])
    levels = max(1, math.ceil(math.log2(longest / _SMALLEST)))
    sides = [longest / 2**level for level in range(levels, 0, -1)]
    return [min(_WIDEST, max(_NARROWEST, round(total / side / 8) * 8)) for side in sides]


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator whose feature maps are 8x8x192, 16x16x96 and 32x32x48 for 64x64 images."""
    widths = widths_of(image_shape, _GENERATOR_CHANNELS)
    return mnist_dcgan.build_generator(latent_dim, image_shape, widths, detail=0)


def build_discriminator(image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
    """Return a discriminator whose feature maps are 32x32x32, 16x16x64 and 8x8x128 for 64x64 images."""
    widths = widths_of(image_shape, _DISCRIMINATOR_CHANNELS)[::-1]
    return mnist_dcgan.build_discriminator(image_shape, classes, widths, detail=0)


_ADAM = Optimizer(name="adam", learning_rate=2e-3, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="images",
    dataset="rock-paper-scissors",
    image_shape=(64, 64, 3),
    latent_dim=64,
    steps=20_000,
    batch_size=32,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    loss="relativistic",
    r1_weight=1.0,
    r2_weight=1.0,
    penalty_interval=4,
    ema_decay=0.998,
    jit=False,
    evaluate_interval=1_000,
    held_out_share=0.05,
)
