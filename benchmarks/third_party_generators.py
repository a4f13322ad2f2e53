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


def dense() -> keras.Model:
    """Return a generator of 28x28x1 images in [0, 1] from 64 latents, with BatchNormalization after ReLU."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(256, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(512, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(784, activation="sigmoid"),
            layers.Reshape((28, 28, 1)),
        ]
    )


def dcgan() -> keras.Model:
    """Return a generator of 64x64x3 images from latents (batch, 1, 1, 100): DCGAN, Radford et al. 2016."""
    steps: list[layers.Layer] = [
        layers.Conv2DTranspose(256, 4, 1, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
    ]
    for filters in (128, 64, 32):
        steps += [
            layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False),
            layers.BatchNormalization(),
        ]
        steps.append(layers.ReLU())
    last = layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=False, activation="tanh")
    return keras.Sequential([keras.Input((1, 1, 100)), *steps, last])


def upsampling() -> keras.Model:
    """Return a generator of 28x28x1 images from 100 latents, with nearest-neighbour upsampling."""
    steps: list[layers.Layer] = [layers.Dense(128 * 7 * 7, activation="relu"), layers.Reshape((7, 7, 128))]
    for filters in (128, 64):
        steps += [
            layers.UpSampling2D(),
            layers.Conv2D(filters, 3, padding="same"),
            layers.BatchNormalization(momentum=0.8),
        ]
        steps.append(layers.ReLU())
    return keras.Sequential(
        [keras.Input((100,)), *steps, layers.Conv2D(1, 3, padding="same", activation="tanh")]
    )


@keras.saving.register_keras_serializable("third_party")
class PixelShuffle(layers.Layer):
    """A custom Keras layer that rearranges four channels into 2x2 pixels (Shi et al. 2016)."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return images of shape (batch, 2 * height, 2 * width, channels / 4)."""
        return tf.nn.depth_to_space(images, 2)


def pixel_shuffle() -> keras.Model:
    """Return a generator of 32x32x3 images from 128 latents, with convolutions and depth-to-space."""
    steps: list[layers.Layer] = [layers.Dense(8 * 8 * 64), layers.Reshape((8, 8, 64)), layers.LeakyReLU(0.2)]
    for filters in (64, 32):
        steps += [layers.Conv2D(4 * filters, 3, padding="same"), PixelShuffle(), layers.BatchNormalization()]
        steps.append(layers.LeakyReLU(0.2))
    return keras.Sequential(
        [keras.Input((128,)), *steps, layers.Conv2D(3, 3, padding="same", activation="tanh")]
    )


def self_attention() -> keras.Model:
    """Return a DCGAN of 32x32x3 images from 128 latents, with self-attention at 16x16 (Zhang et al. 2019)."""
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
    return keras.Model(latent, layers.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh")(images))


def residual() -> keras.Model:
    """Return a generator of 32x32x3 images from 128 latents, with GroupNormalization in residual blocks."""
    latent = keras.Input((128,))
    hidden = layers.Dense(8 * 8 * 64)(
        layers.LayerNormalization()(layers.Dense(128, activation="silu")(latent))
    )
    images = layers.Reshape((8, 8, 64))(hidden)
    for filters in (64, 32):
        branch = layers.UpSampling2D()(layers.Activation("silu")(layers.GroupNormalization(8)(images)))
        branch = layers.Conv2D(filters, 3, padding="same")(branch)
        branch = layers.Conv2D(filters, 3, padding="same")(
            layers.Activation("silu")(layers.GroupNormalization(8)(branch))
        )
        images = layers.Add()([branch, layers.Conv2D(filters, 1)(layers.UpSampling2D()(images))])
    images = layers.Activation("silu")(layers.GroupNormalization(8)(images))
    return keras.Model(latent, layers.Conv2D(3, 3, padding="same", activation="tanh")(images))


GENERATORS: Mapping[str, Callable[[], keras.Model]] = {
    "dense": dense,
    "dcgan": dcgan,
    "upsampling": upsampling,
    "pixel-shuffle": pixel_shuffle,
    "self-attention": self_attention,
    "residual": residual,
}


def build(name: str) -> keras.Model:
    """Return the generator with this name from GENERATORS, with random weights, biases and statistics."""
    keras.utils.set_random_seed(5)
    return shake(GENERATORS[name]())


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
