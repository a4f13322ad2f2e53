"""Three convolutions in each network, one of which works at full resolution.

    ganport train mnist-dcgan --mixed-precision

Training takes half an hour on two cores with AMX, and 1.6 times as long without bfloat16. The scores of
`mnist-conditional`, which has the same networks with labels, are in docs/quality.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras


def build_generator(
    latent_dim: int, image_shape: tuple[int, int, int], widths: Sequence[int] = (128, 64), detail: int = 16
) -> keras.Model:
    """Return a generator whose feature maps are 7x7x128, 14x14x64 and 28x28x16 for 28x28 images.

    Args:
        latent_dim: Number of inputs.
        image_shape: Height, width and channels of the images.
        widths: Channels of the feature maps that are smaller than the image, the smallest first. Each has
            twice the side of the one before.
        detail: Channels of one more feature map, at the size of the image; 0 to leave its layer out.
    """
    from keras import Input, Sequential, layers

    height, width, channels = image_shape
    scale = 2 ** len(widths)
    rows, columns = -(-height // scale), -(-width // scale)
    network = [Input((latent_dim,), name="latent")]
    network.append(layers.Dense(rows * columns * widths[0], use_bias=False))
    network.append(layers.Reshape((rows, columns, widths[0])))
    for filters in (*widths[1:], *([detail] if detail else [])):
        network.append(layers.BatchNormalization(momentum=0.8))
        network.append(layers.LeakyReLU(0.2))
        network.append(layers.Conv2DTranspose(filters, 4, **_TWICE, use_bias=False))
    network.append(layers.BatchNormalization(momentum=0.8))
    network.append(layers.LeakyReLU(0.2))
    if detail:
        network.append(layers.Conv2D(channels, 3, padding="same", activation="tanh"))
    else:
        network.append(layers.Conv2DTranspose(channels, 4, **_TWICE, activation="tanh"))
    if (scale * rows, scale * columns) != (height, width):
        network.append(layers.CenterCrop(height, width))
    return Sequential(network, name="generator")


def build_discriminator(
    image_shape: tuple[int, int, int], classes: int = 1, widths: Sequence[int] = (64, 128), detail: int = 16
) -> keras.Model:
    """Return a discriminator whose feature maps are 28x28x16, 14x14x64 and 7x7x128 for 28x28 images.

    Args:
        image_shape: Height, width and channels of the images.
        classes: Number of logits: one for each label, or 1 for a recipe without labels.
        widths: Channels of the layers that halve height and width, the first layer first.
        detail: Channels of one more layer at the size of the image, before the layers of `widths`; 0 to leave
            this layer out.
    """
    from keras import Input, Sequential, layers

    network = [Input(image_shape, name="image")]
    if detail:
        network.append(layers.Conv2D(detail, 3, padding="same"))
        network.append(layers.LeakyReLU(0.2))
    for filters in widths:
        network.append(layers.Conv2D(filters, 4, **_TWICE))
        network.append(layers.LeakyReLU(0.2))
    network.append(layers.Flatten())
    network.append(layers.Dense(classes))
    return Sequential(network, name="discriminator")


_TWICE = {"strides": 2, "padding": "same"}
_ADAM = Optimizer(name="adam", learning_rate=2e-3, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="mnist-dcgan",
    dataset="mnist",
    image_shape=(28, 28, 1),
    latent_dim=64,
    steps=30_000,
    batch_size=64,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=1.0,
    penalty_interval=4,
    ema_decay=0.999,
    jit=False,
    preview_interval=3_000,
)
