"""Convolutions for colour photographs of hands, from 2,520 pictures; for images of any size from 28x28 to 300x300 and more.

Described in "GAN Implementation" (system 004), which says what the networks are made of, not how wide they are: a
discriminator of 2D convolutions and max-pooling with LeakyReLU and Dropout, and its mirror image of transposed convolutions
with LeakyReLU and BatchNormalization. We chose: kernels of 3 and 5; one block or more, each half the side of the one
before, down to 10 or less; 16 channels in the block nearest to the image, twice as many in the next, 256 at most; Dropout
0.3; LeakyReLU 0.2, after the pooling, which gives the same numbers as before it for a quarter of the work.

As published: two Adams, cross-entropy, 100 epochs; every epoch first updates the generator as many times as there are batches,
then the discriminator one time less. The description follows TensorFlow's DCGAN tutorial, so its rate of 1e-4 is taken where
it names none; and we chose batches of 32.

    python cli.py train rps-dcgan --image-size 100
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras

_SMALLEST = 10  # pixels: the blocks go down to this side, or less
_NARROWEST, _WIDEST = 16, 256


def block_sides(image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return height and width of the image, then of each block below it: half of the one before, rounded up."""
    sides = [image_shape[:2]]
    while len(sides) == 1 or max(sides[-1]) > _SMALLEST:
        height, width = sides[-1]
        sides.append((-(-height // 2), -(-width // 2)))
    return sides


def block_widths(blocks: int) -> list[int]:
    """Return the channels of each block, the one nearest to the image first."""
    return [min(_WIDEST, _NARROWEST * 2**block) for block in range(blocks)]


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return the discriminator's blocks in reverse, from a dense layer: sides of 10-19-38-75-150-300 for 300x300 images."""
    from keras import Input, Sequential, layers

    sides = block_sides(image_shape)
    *widths, deepest = block_widths(len(sides) - 1)
    model = Sequential([Input((latent_dim,), name="latent")], name="generator")
    model.add(layers.Dense(sides[-1][0] * sides[-1][1] * deepest, use_bias=False))
    model.add(layers.Reshape((*sides[-1], deepest)))
    for (height, width), channels in zip(sides[-2::-1], [*reversed(widths), image_shape[2]], strict=True):
        model.add(layers.BatchNormalization())
        model.add(layers.LeakyReLU(0.2))
        # An output padding of 0 makes an odd side, 2n - 1; one of 1 an even side, 2n.
        padding, last = (1 - height % 2, 1 - width % 2), (height, width) == image_shape[:2]
        activation = "tanh" if last else None
        model.add(
            layers.Conv2DTranspose(channels, 5, 2, padding="same", output_padding=padding, use_bias=last, activation=activation)
        )
    return model


def build_discriminator(image_shape: tuple[int, int, int]) -> keras.Model:
    """Return convolution, pooling, LeakyReLU, Dropout for every halving of the side; then one dense layer."""
    from keras import Input, Sequential, layers

    model = Sequential([Input(image_shape, name="image")], name="discriminator")
    for width in block_widths(len(block_sides(image_shape)) - 1):
        model.add(layers.Conv2D(width, 3, padding="same"))
        model.add(layers.MaxPooling2D(2, padding="same"))
        model.add(layers.LeakyReLU(0.2))
        model.add(layers.Dropout(0.3))
    model.add(layers.Flatten())
    model.add(layers.Dense(1))
    return model


_ADAM = Optimizer(name="adam", learning_rate=2e-3, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="rps-dcgan",
    dataset="rock-paper-scissors",
    image_shape=(300, 300, 3),
    latent_dim=100,
    steps=32_000,
    batch_size=16,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=1.0,
    penalty_interval=4,
    flip=True,
    diff_augment=("translation",),
    ema_decay=0.999,
    jit=False,
    log_interval=20,
    preview_interval=500,
)

_PLAIN_ADAM = Optimizer(name="adam", learning_rate=1e-4)

AS_PUBLISHED = Recipe(
    name="rps-dcgan",
    dataset="rock-paper-scissors",
    image_shape=(300, 300, 3),
    latent_dim=100,
    steps=15_700,  # 100 epochs of 79 + 78 updates
    batch_size=32,
    generator_optimizer=_PLAIN_ADAM,
    discriminator_optimizer=_PLAIN_ADAM,
    schedule="alternating",
    sampling="epochs",
    jit=False,
    log_interval=157,  # an epoch
    preview_interval=157,
)
