"""Images of any kind: networks whose layers follow from the size of the images, from 32x32 to 256x256.

    ganport train ~/photos
    ganport train ~/photos --minutes 30

The relativistic loss with penalties on real and on generated images follows R3GAN (Huang et al., "The GAN is
dead; long live the GAN!", NeurIPS 2024). The penalties are computed in every fourth step (Karras et al., CVPR
2020). What was tried is in docs/log.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras

_SMALLEST = 8  # largest side, in pixels, at which halving ends
# Channels of a feature map of one pixel. A larger map has this number divided by its longer side, so that all
# layers take about the same time.
_GENERATOR_CHANNELS, _DISCRIMINATOR_CHANNELS = 1_536, 1_024
_NARROWEST, _WIDEST = 16, 256  # limits for the channels of a feature map


def feature_sides(image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return (height, width) of the feature maps from the smallest one to the image.

    Each side is half of the next larger one, rounded up. The longer side of the smallest map is 8 or less.

    >>> feature_sides((64, 48, 3))
    [(8, 6), (16, 12), (32, 24), (64, 48)]
    """
    sides = [image_shape[:2]]
    while len(sides) == 1 or max(sides[-1]) > _SMALLEST:
        height, width = sides[-1]
        sides.append((-(-height // 2), -(-width // 2)))
    return sides[::-1]


def _channels(total: int, sides: tuple[int, int]) -> int:
    """Return the number of channels of a feature map, a multiple of 8.

    >>> [_channels(1_536, (side, side)) for side in (4, 8, 16, 32, 50, 128)]
    [256, 192, 96, 48, 32, 16]
    """
    return min(_WIDEST, max(_NARROWEST, round(total / max(sides) / 8) * 8))


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator: a dense layer, then transposed convolutions that double height and width.

    For 64x64 images the feature maps are 8x8x192, 16x16x96 and 32x32x48.

    Args:
        latent_dim: Number of inputs.
        image_shape: Height, width and channels of the images.
    """
    from keras import Input, Sequential, layers

    smallest, *larger = feature_sides(image_shape)
    filters = _channels(_GENERATOR_CHANNELS, smallest)
    model = Sequential([Input((latent_dim,), name="latent")], name="generator")
    model.add(layers.Dense(smallest[0] * smallest[1] * filters, use_bias=False))
    model.add(layers.Reshape((*smallest, filters)))
    for height, width in larger:
        model.add(layers.BatchNormalization(momentum=0.8))
        model.add(layers.LeakyReLU(0.2))
        is_last = (height, width) == image_shape[:2]
        filters = image_shape[2] if is_last else _channels(_GENERATOR_CHANNELS, (height, width))
        activation = "tanh" if is_last else None
        model.add(layers.Conv2DTranspose(filters, 4, **_TWICE, use_bias=is_last, activation=activation))
        # A side that is odd is half of one pixel more.
        if model.output_shape[1:3] != (height, width):
            model.add(layers.Cropping2D(((0, height % 2), (0, width % 2))))
    return model


def build_discriminator(image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
    """Return a discriminator: convolutions that halve height and width, without normalization.

    For 64x64 images the feature maps are 32x32x32, 16x16x64 and 8x8x128.

    Args:
        image_shape: Height, width and channels of the images.
        classes: Number of logits: one for each label, or 1 for a recipe without labels.
    """
    from keras import Input, Sequential, layers

    model = Sequential([Input(image_shape, name="image")], name="discriminator")
    for sides in feature_sides(image_shape)[-2::-1]:
        model.add(layers.Conv2D(_channels(_DISCRIMINATOR_CHANNELS, sides), 4, **_TWICE))
        model.add(layers.LeakyReLU(0.2))
    model.add(layers.Flatten())
    model.add(layers.Dense(classes))
    return model


_TWICE = {"strides": 2, "padding": "same"}
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
    log_interval=100,
    preview_interval=1_000,
)
