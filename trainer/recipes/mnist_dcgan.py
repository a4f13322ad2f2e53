"""Two transposed convolutions against two convolutions: digits after half an hour on two cores or less.

python cli.py train mnist-dcgan
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..recipe import Optimizer, Recipe

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return latents -> 7x7x64 -> 14x14x32 -> 28x28 for 28x28 images."""
    from keras import Input, Sequential, layers

    height, width, channels = image_shape
    rows, columns = -(-height // 4), -(-width // 4)
    model = Sequential([Input((latent_dim,), name="latent")], name="generator")
    for hidden in (layers.Dense(rows * columns * 64, use_bias=False), layers.Conv2DTranspose(32, 4, **_TWICE, use_bias=False)):
        model.add(hidden)
        model.add(layers.BatchNormalization(momentum=0.8))
        model.add(layers.LeakyReLU(0.2))
        if isinstance(hidden, layers.Dense):
            model.add(layers.Reshape((rows, columns, 64)))
    model.add(layers.Conv2DTranspose(channels, 4, **_TWICE, activation="tanh"))
    if (4 * rows, 4 * columns) != (height, width):
        model.add(layers.CenterCrop(height, width))
    return model


def build_discriminator(image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
    """Return 28x28 -> 14x14x32 -> 7x7x64 -> a logit, or one for each class."""
    from keras import Input, Sequential, layers

    model = Sequential([Input(image_shape, name="image")], name="discriminator")
    for width in (32, 64):
        model.add(layers.Conv2D(width, 4, **_TWICE))
        model.add(layers.LeakyReLU(0.2))
    model.add(layers.Flatten())
    model.add(layers.Dense(classes))
    return model


_TWICE = {"strides": 2, "padding": "same"}
_ADAM = Optimizer(name="adam", learning_rate=3e-3, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="mnist-dcgan",
    dataset="mnist",
    image_shape=(28, 28, 1),
    latent_dim=64,
    steps=30_000,
    batch_size=128,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=1.0,
    penalty_interval=4,
    ema_decay=0.999,
    jit=False,
    preview_interval=3_000,
)
