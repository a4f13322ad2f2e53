"""Six generators with the architectures of public GAN examples, which no recipe of ganport uses.

The code was written for this project. The weights are random. Biases, scales and statistics have values that
could come from training. An error in folding BatchNormalization into weights then changes the images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def dense(*, channels: int = 1, doublings: int = 2) -> keras.Model:
    """Return a generator of images in [0, 1] from 64 latents, with BatchNormalization after ReLU.

    Args:
        channels: Channels of the images.
        doublings: The images have 7 * 2**doublings pixels on each side.
    """
    side = 7 * 2**doublings
    return keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(256, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(512, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(side * side * channels, activation="sigmoid"),
            layers.Reshape((side, side, channels)),
        ]
    )


def dcgan(*, channels: int = 3, doublings: int = 4) -> keras.Model:
    """Return a generator of images from latents (batch, 1, 1, 100): DCGAN, Radford et al. 2016.

    Args:
        channels: Channels of the images.
        doublings: The images have 4 * 2**doublings pixels on each side.
    """
    steps: list[layers.Layer] = [
        layers.Conv2DTranspose(256, 4, 1, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
    ]
    for step in range(doublings - 1):
        filters = max(16, 128 >> step)
        steps += [
            layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False),
            layers.BatchNormalization(),
        ]
        steps.append(layers.ReLU())
    last = layers.Conv2DTranspose(channels, 4, 2, padding="same", use_bias=False, activation="tanh")
    return keras.Sequential([keras.Input((1, 1, 100)), *steps, last])


def upsampling(*, channels: int = 1, doublings: int = 2) -> keras.Model:
    """Return a generator of images from 100 latents, with nearest-neighbour upsampling.

    Args:
        channels: Channels of the images.
        doublings: The images have 7 * 2**doublings pixels on each side.
    """
    steps: list[layers.Layer] = [layers.Dense(128 * 7 * 7, activation="relu"), layers.Reshape((7, 7, 128))]
    for step in range(doublings):
        filters = max(16, 128 >> step)
        steps += [
            layers.UpSampling2D(),
            layers.Conv2D(filters, 3, padding="same"),
            layers.BatchNormalization(momentum=0.8),
        ]
        steps.append(layers.ReLU())
    return keras.Sequential(
        [keras.Input((100,)), *steps, layers.Conv2D(channels, 3, padding="same", activation="tanh")]
    )


@keras.saving.register_keras_serializable("third_party")
class PixelShuffle(layers.Layer):
    """A custom Keras layer that rearranges four channels into 2x2 pixels (Shi et al. 2016)."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return images of shape (batch, 2 * height, 2 * width, channels / 4)."""
        return tf.nn.depth_to_space(images, 2)


def pixel_shuffle(*, channels: int = 3, doublings: int = 2) -> keras.Model:
    """Return a generator of images from 128 latents, with convolutions and depth-to-space.

    Args:
        channels: Channels of the images.
        doublings: The images have 8 * 2**doublings pixels on each side.
    """
    steps: list[layers.Layer] = [layers.Dense(8 * 8 * 64), layers.Reshape((8, 8, 64)), layers.LeakyReLU(0.2)]
    for step in range(doublings):
        filters = max(16, 64 >> step)
        steps += [layers.Conv2D(4 * filters, 3, padding="same"), PixelShuffle(), layers.BatchNormalization()]
        steps.append(layers.LeakyReLU(0.2))
    return keras.Sequential(
        [keras.Input((128,)), *steps, layers.Conv2D(channels, 3, padding="same", activation="tanh")]
    )


def self_attention(*, channels: int = 3, doublings: int = 2) -> keras.Model:
    """Return a DCGAN of images from 128 latents, with self-attention at 16x16 (Zhang et al. 2019).

    Args:
        channels: Channels of the images.
        doublings: The images have 8 * 2**doublings pixels on each side; at least 2.
    """
    latent = keras.Input((128,))
    images = layers.Reshape((8, 8, 64))(layers.Dense(8 * 8 * 64)(latent))
    images = layers.Conv2DTranspose(64, 4, 2, padding="same")(
        layers.ReLU()(layers.BatchNormalization()(images))
    )
    images = layers.ReLU()(layers.BatchNormalization()(images))
    rows = layers.Reshape((16 * 16, 64))(images)
    seen = layers.Attention(use_scale=True)(
        [layers.Dense(8)(rows), layers.Dense(64)(rows), layers.Dense(8)(rows)]
    )
    images = layers.Add()([images, layers.Reshape((16, 16, 64))(seen)])
    for step in range(doublings - 2):
        images = layers.ReLU()(layers.Conv2DTranspose(max(16, 32 >> step), 4, 2, padding="same")(images))
    last = layers.Conv2DTranspose(channels, 4, 2, padding="same", activation="tanh")
    return keras.Model(latent, last(images))


def residual(*, channels: int = 3, doublings: int = 2) -> keras.Model:
    """Return a generator of images from 128 latents, with GroupNormalization in residual blocks.

    Args:
        channels: Channels of the images.
        doublings: The images have 8 * 2**doublings pixels on each side.
    """
    latent = keras.Input((128,))
    hidden = layers.Dense(8 * 8 * 64)(
        layers.LayerNormalization()(layers.Dense(128, activation="silu")(latent))
    )
    images = layers.Reshape((8, 8, 64))(hidden)
    for step in range(doublings):
        filters = max(16, 64 >> step)
        branch = layers.UpSampling2D()(layers.Activation("silu")(layers.GroupNormalization(8)(images)))
        branch = layers.Conv2D(filters, 3, padding="same")(branch)
        branch = layers.Conv2D(filters, 3, padding="same")(
            layers.Activation("silu")(layers.GroupNormalization(8)(branch))
        )
        images = layers.Add()([branch, layers.Conv2D(filters, 1)(layers.UpSampling2D()(images))])
    images = layers.Activation("silu")(layers.GroupNormalization(8)(images))
    return keras.Model(latent, layers.Conv2D(channels, 3, padding="same", activation="tanh")(images))


GENERATORS: Mapping[str, Callable[..., keras.Model]] = {
    "dense": dense,
    "dcgan": dcgan,
    "upsampling": upsampling,
    "pixel-shuffle": pixel_shuffle,
    "self-attention": self_attention,
    "residual": residual,
}


def build(name: str, **sizes: int) -> keras.Model:
    """Return the generator with this name from GENERATORS, with random weights, biases and statistics.

    Args:
        name: Name of the architecture.
        sizes: "channels" and "doublings", if they are to differ from those of the public example.
    """
    keras.utils.set_random_seed(5)
    return shake(GENERATORS[name](**sizes))


def shake(model: keras.Model) -> keras.Model:
    """Set the biases, scales and statistics of a model to random values, and return the model."""
    rng = np.random.default_rng(5)
    for variable in model.variables:
        value = np.asarray(variable.value)
        if variable.path.endswith(("gamma", "variance")):
            variable.assign(rng.uniform(0.5, 2.0, value.shape))
        elif variable.path.endswith(("beta", "mean", "bias")):
            variable.assign(0.1 * rng.standard_normal(value.shape))
    return model
