"""Convolutions for colour photographs of any size, such as 28x28 or 300x300.

Described in "GAN Implementation". The description names the layers of the networks, and leaves
their sizes out. The discriminator has 2D convolutions and max-pooling with LeakyReLU and Dropout. The
generator has the same structure in reverse order, with transposed convolutions, LeakyReLU and
BatchNormalization.

We chose the sizes. The kernels have side 3 in the discriminator and 5 in the generator. The discriminator is
a sequence of blocks, each of which halves height and width. Blocks are added until neither side is longer
than 10 pixels; there is at least one block. The block next to the image has 16 channels; each following block
has twice as many as the block before, up to 256. The rate of Dropout is 0.3. LeakyReLU has slope 0.2. We
apply LeakyReLU after the max-pooling. In the opposite order the result would be the same, with four times the
work.

As published: two Adam optimizers, cross-entropy, 100 epochs. An epoch of n batches first updates the
generator n times, then the discriminator n - 1 times. The description follows TensorFlow's DCGAN tutorial, so
we use the learning rate of that tutorial, 1e-4. We chose batches of 32.

    ganport train rps-dcgan --image-size 100
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras

_SMALLEST = 10  # largest side of the last block's output, in pixels
# Smallest and largest number of channels of a block. The generator's last block and the discriminator's first
# block have the smallest number.
_NARROWEST, _WIDEST = 16, 256


def block_sides(image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return (height, width) of the image and then of the output of each block.

    Each side is half of the side before, rounded up.
    """
    sides = [image_shape[:2]]
    while len(sides) == 1 or max(sides[-1]) > _SMALLEST:
        height, width = sides[-1]
        sides.append((-(-height // 2), -(-width // 2)))
    return sides


def block_widths(blocks: int) -> list[int]:
    """Return the number of channels of each block, starting with the block next to the image."""
    return [min(_WIDEST, _NARROWEST * 2**block) for block in range(blocks)]


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a generator: a dense layer, then blocks of the discriminator's sizes in reverse order.

    For images of 300x300, the feature maps have the sides 10, 19, 38, 75, 150 and 300.
    """
    from keras import Input, Sequential, layers

    sides = block_sides(image_shape)
    *widths, deepest = block_widths(len(sides) - 1)
    network = [Input((latent_dim,), name="latent")]
    network.append(layers.Dense(sides[-1][0] * sides[-1][1] * deepest, use_bias=False))
    network.append(layers.Reshape((*sides[-1], deepest)))
    for (height, width), channels in zip(sides[-2::-1], [*reversed(widths), image_shape[2]], strict=True):
        network.append(layers.BatchNormalization())
        network.append(layers.LeakyReLU(0.2))
        # The transposed convolution enlarges a side of n to 2n - 1 (odd) with output padding 0, and to 2n
        # (even) with output padding 1.
        padding, is_last = (1 - height % 2, 1 - width % 2), (height, width) == image_shape[:2]
        activation = "tanh" if is_last else None
        network.append(
            layers.Conv2DTranspose(
                channels,
                5,
                2,
                padding="same",
                output_padding=padding,
                use_bias=is_last,
                activation=activation,
            )
        )
    return Sequential(network, name="generator")


def build_discriminator(image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a discriminator with blocks of convolution, pooling, LeakyReLU and Dropout, then a dense layer.

    For images of 300x300, the outputs of the blocks have the sides 150, 75, 38, 19 and 10.
    """
    from keras import Input, Sequential, layers

    network = [Input(image_shape, name="image")]
    for width in block_widths(len(block_sides(image_shape)) - 1):
        network.append(layers.Conv2D(width, 3, padding="same"))
        network.append(layers.MaxPooling2D(2, padding="same"))
        network.append(layers.LeakyReLU(0.2))
        network.append(layers.Dropout(0.3))
    network.append(layers.Flatten())
    network.append(layers.Dense(1))
    return Sequential(network, name="discriminator")


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
    steps=15_700,  # 100 epochs, each with 79 updates of the generator and 78 of the discriminator
    batch_size=32,
    generator_optimizer=_PLAIN_ADAM,
    discriminator_optimizer=_PLAIN_ADAM,
    schedule="alternating",
    sampling="epochs",
    jit=False,
    log_interval=157,  # one epoch
    preview_interval=157,
)
