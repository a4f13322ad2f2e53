"""Images of any kind: networks with as many layers as the size of the images needs.

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
    """Return a generator whose feature maps are 8x8x192, 16x16x96 and 32x32x48 for 64x64 images.

    The latents enter at each feature map: dense layers make a factor for each channel from them. Each map but
    the first also has a residual block.

    Args:
        latent_dim: Number of inputs.
        image_shape: Height, width and channels of the images.
    """
    from keras import Input, Model, layers

    height, width, channels = image_shape
    widths = widths_of(image_shape, _GENERATOR_CHANNELS)
    scale = 2 ** len(widths)
    rows, columns = -(-height // scale), -(-width // scale)
    latent = Input((latent_dim,), name="latent")
    values = layers.Dense(rows * columns * widths[0], use_bias=False)(latent)
    values = layers.Reshape((rows, columns, widths[0]))(values)
    for filters in widths[1:]:
        values = _activated(values, latent)
        values = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False)(values)
        values = _refined(values)
    values = _activated(values, latent)
    values = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", activation="tanh")(values)
    if (scale * rows, scale * columns) != (height, width):
        values = layers.CenterCrop(height, width)(values)
    return Model(latent, values, name="generator")


def _activated(values: keras.KerasTensor, latent: keras.KerasTensor) -> keras.KerasTensor:
    """Return normalised feature maps, times a factor for each channel that depends on the latents, activated.

    At first each factor is 1 plus a small random number.
    """
    from keras import layers

    channels = values.shape[-1]
    factors = layers.Dense(channels, bias_initializer="ones")(latent)
    normalised = layers.BatchNormalization(momentum=0.8)(values)
    scaled = layers.Multiply()([normalised, layers.Reshape((1, 1, channels))(factors)])
    return layers.LeakyReLU(0.2)(scaled)


def _refined(values: keras.KerasTensor) -> keras.KerasTensor:
    """Return feature maps plus the output of a residual block, which is zero at first."""
    from keras import layers

    channels = values.shape[-1]
    inner = layers.Conv2D(channels, 3, padding="same")(layers.LeakyReLU(0.2)(values))
    inner = layers.LeakyReLU(0.2)(inner)
    return layers.Add()(
        [values, layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros")(inner)]
    )


def build_discriminator(image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
    """Return a discriminator whose feature maps are 32x32x32, 16x16x64 and 8x8x128 for 64x64 images."""
    widths = widths_of(image_shape, _DISCRIMINATOR_CHANNELS)[::-1]
    return mnist_dcgan.build_discriminator(image_shape, classes, widths, detail=0)


_ADAM = Optimizer(name="adam", learning_rate=1.4e-3, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="images",
    dataset="rock-paper-scissors",
    image_shape=(64, 64, 3),
    latent_dim=64,
    steps=30_000,
    batch_size=16,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    loss="relativistic",
    r1_weight=0.2,
    r2_weight=0.2,
    penalty_interval=4,
    ema_decay=0.999,
    jit=False,
    evaluate_interval=2_000,
    held_out_share=0.05,
)
