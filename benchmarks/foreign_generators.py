"""Six generators of the shapes that public GAN examples have, written anew; none is a network of this project's recipes.

Weights are random, and normalisations are set as training could have left them, so that folding them wrongly shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def dense() -> keras.Model:
    """Latents (batch, 64) -> 28x28x1 in [0, 1]: dense layers, BatchNormalization behind ReLU, a sigmoid at the end."""
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
    """Latents (batch, 1, 1, 100) -> 64x64x3: transposed convolutions only, as DCGAN draws them (Radford et al. 2016)."""
    steps: list[layers.Layer] = [layers.Conv2DTranspose(256, 4, 1, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    for filters in (128, 64, 32):
        steps += [layers.Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False), layers.BatchNormalization()]
        steps.append(layers.ReLU())
    last = layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=False, activation="tanh")
    return keras.Sequential([keras.Input((1, 1, 100)), *steps, last])


def upsampling() -> keras.Model:
    """Latents (batch, 100) -> 28x28x1: nearest-neighbour upsampling, each time followed by a convolution."""
    steps: list[layers.Layer] = [layers.Dense(128 * 7 * 7, activation="relu"), layers.Reshape((7, 7, 128))]
    for filters in (128, 64):
        steps += [layers.UpSampling2D(), layers.Conv2D(filters, 3, padding="same"), layers.BatchNormalization(momentum=0.8)]
        steps.append(layers.ReLU())
    return keras.Sequential([keras.Input((100,)), *steps, layers.Conv2D(1, 3, padding="same", activation="tanh")])


@keras.saving.register_keras_serializable("foreign")
class PixelShuffle(layers.Layer):
    """Turns groups of four channels into squares of four pixels (Shi et al. 2016); a layer that Keras does not have."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return (batch, 2 height, 2 width, channels / 4)."""
        return tf.nn.depth_to_space(images, 2)


def pixel_shuffle() -> keras.Model:
    """Latents (batch, 128) -> 32x32x3: convolutions and depth-to-space."""
    steps: list[layers.Layer] = [layers.Dense(8 * 8 * 64), layers.Reshape((8, 8, 64)), layers.LeakyReLU(0.2)]
    for filters in (64, 32):
        steps += [layers.Conv2D(4 * filters, 3, padding="same"), PixelShuffle(), layers.BatchNormalization()]
        steps.append(layers.LeakyReLU(0.2))
    return keras.Sequential([keras.Input((128,)), *steps, layers.Conv2D(3, 3, padding="same", activation="tanh")])


def self_attention() -> keras.Model:
    """Latents (batch, 128) -> 32x32x3: a transposed DCGAN with self-attention at 16x16 (Zhang et al. 2019)."""
    latent = keras.Input((128,))
    images = layers.Reshape((8, 8, 64))(layers.Dense(8 * 8 * 64)(latent))
    images = layers.Conv2DTranspose(64, 4, 2, padding="same")(layers.ReLU()(layers.BatchNormalization()(images)))
    images = layers.ReLU()(layers.BatchNormalization()(images))
    rows = layers.Reshape((16 * 16, 64))(images)
    seen = layers.Attention(use_scale=True)([layers.Dense(8)(rows), layers.Dense(64)(rows), layers.Dense(8)(rows)])
    images = layers.Add()([images, layers.Reshape((16, 16, 64))(seen)])
    return keras.Model(latent, layers.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh")(images))


def residual() -> keras.Model:
    """Latents (batch, 128) -> 32x32x3: residual blocks with GroupNormalization, LayerNormalization on the latents."""
    latent = keras.Input((128,))
    hidden = layers.Dense(8 * 8 * 64)(layers.LayerNormalization()(layers.Dense(128, activation="silu")(latent)))
    images = layers.Reshape((8, 8, 64))(hidden)
    for filters in (64, 32):
        branch = layers.UpSampling2D()(layers.Activation("silu")(layers.GroupNormalization(8)(images)))
        branch = layers.Conv2D(filters, 3, padding="same")(branch)
        branch = layers.Conv2D(filters, 3, padding="same")(layers.Activation("silu")(layers.GroupNormalization(8)(branch)))
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
    """Return one of them, with weights and statistics that no default value would hide."""
    keras.utils.set_random_seed(5)
    return shake(GENERATORS[name]())


def shake(model: keras.Model) -> keras.Model:
    """Give a model biases, scales and statistics that are not those it starts with."""
    numbers = np.random.default_rng(5)
    for variable in model.variables:
        value = np.asarray(variable.value)
        if variable.path.endswith(("gamma", "variance")):
            variable.assign(numbers.uniform(0.5, 2.0, value.shape))
        elif variable.path.endswith(("beta", "mean", "bias")):
            variable.assign(0.1 * numbers.standard_normal(value.shape))
    return model
