"""A Python file as users have it: own layers and functions, and the network of files that hold only weights.

The networks of the Keras kinds use it. `ganport.export` runs it where a kind gives it as `custom_objects` or
as `network`. It works with Keras 2 and Keras 3, and it imports nothing of this repository.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

STRENGTH = 0.5  # a name that the code of a Lambda layer uses


def build_generator() -> Any:
    """Return the DCGAN of TensorFlow's tutorial in small: 28x28x1 images from 100 latents."""
    return keras.Sequential(
        [
            keras.Input((100,)),
            layers.Dense(7 * 7 * 32, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Reshape((7, 7, 32)),
            layers.Conv2DTranspose(16, 5, strides=1, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Conv2DTranspose(8, 5, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Conv2DTranspose(1, 5, strides=2, padding="same", use_bias=False, activation="tanh"),
        ],
        name="generator",
    )


def half(values: tf.Tensor) -> tf.Tensor:
    """Return a half of the hyperbolic tangent. It is an activation of the user."""
    return 0.5 * tf.tanh(values)


def swap_sides(images: tf.Tensor) -> tf.Tensor:
    """Return images (batch, height, width, channels) with their left sides on the right."""
    return images[:, :, ::-1]


class PixelNorm(layers.Layer):
    """Divides the channels of each pixel by their length (Karras et al. 2018)."""

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """Return values of the same shape."""
        return values * tf.math.rsqrt(tf.reduce_mean(values**2, -1, keepdims=True) + 1e-8)


class EqualizedDense(layers.Layer):
    """A dense layer that scales its weights when it runs (Karras et al. 2018)."""

    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = units

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        normal = keras.initializers.RandomNormal(stddev=1.0)
        size = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(size, self.units), initializer=normal)
        self.scale = float((2 / size) ** 0.5)

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """Return values of shape (batch, units)."""
        return tf.matmul(values, self.kernel * self.scale)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "units": self.units}


class MinibatchDeviation(layers.Layer):
    """Adds a channel with the mean standard deviation over the batch (Karras et al. 2018)."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return images with one more channel."""
        deviation = tf.reduce_mean(tf.math.reduce_std(images, 0, keepdims=True), -1, keepdims=True)
        return tf.concat([images, tf.tile(deviation, [tf.shape(images)[0], 1, 1, 1])], -1)


class LearnedConstant(layers.Layer):
    """The first layer of a StyleGAN: the same 4x4 features for all images."""

    def __init__(self, channels: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.channels = channels

    def build(self, input_shape: Any) -> None:
        """Make the constant."""
        shape = (1, 4, 4, self.channels)
        self.constant = self.add_weight(name="constant", shape=shape, initializer="random_normal")

    def call(self, latents: tf.Tensor) -> tf.Tensor:
        """Return features of shape (batch, 4, 4, channels)."""
        return tf.tile(self.constant, [tf.shape(latents)[0], 1, 1, 1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "channels": self.channels}


class AdaptiveNorm(layers.Layer):
    """Adaptive instance normalization: a style decides mean and deviation of each channel."""

    def __init__(self, channels: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.channels = channels
        self.scale = layers.Dense(channels)
        self.shift = layers.Dense(channels)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Return images of the same shape, from images and styles (batch, size)."""
        images, style = inputs
        mean, variance = tf.nn.moments(images, [1, 2], keepdims=True)
        normal = (images - mean) * tf.math.rsqrt(variance + 1e-6)
        return normal * self.scale(style)[:, None, None] + self.shift(style)[:, None, None]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "channels": self.channels}


class RandomNoise(layers.Layer):
    """Adds random noise to features, in inference mode too, as the layers of StyleGAN do."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return images of the same shape."""
        return images + 0.1 * tf.random.normal(tf.shape(images))


@keras.utils.register_keras_serializable("mine")
class PixelShuffle(layers.Layer):
    """Rearranges four channels into 2x2 pixels (Shi et al. 2016). It is registered with Keras."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return images of shape (batch, 2 * height, 2 * width, channels / 4)."""
        return tf.nn.depth_to_space(images, 2)


@keras.utils.register_keras_serializable("Addons")
class InstanceNormalization(layers.Layer):
    """A layer of the name and package of TensorFlow Addons, which can't be installed any more."""

    def build(self, input_shape: Any) -> None:
        """Make the scales and the offsets."""
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return images of the same shape."""
        mean, variance = tf.nn.moments(images, [1, 2], keepdims=True)
        return (images - mean) * tf.math.rsqrt(variance + 1e-3) * self.gamma + self.beta


class DenseGenerator(keras.Model):
    """A generator of 28x28x1 images from 64 latents, as a subclass of Model."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.hidden = layers.Dense(128, activation="relu")
        self.norm = layers.BatchNormalization()
        self.pixels = layers.Dense(784, activation="tanh")
        self.images = layers.Reshape((28, 28, 1))

    def call(self, latents: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return images of shape (batch, 28, 28, 1)."""
        return self.images(self.pixels(self.norm(self.hidden(latents), training=training)))


class Gan(keras.Model):
    """A whole GAN as a subclass of Model: it generates images, and returns what the discriminator says."""

    def __init__(self, generator: Any, discriminator: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.generator = generator
        self.discriminator = discriminator

    def call(self, latents: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return probabilities of shape (batch, 1)."""
        return self.discriminator(self.generator(latents, training=training), training=training)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        models = {"generator": self.generator, "discriminator": self.discriminator}
        serialize = keras.utils.serialize_keras_object
        return {**super().get_config(), **{name: serialize(model) for name, model in models.items()}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Gan:
        """Return the GAN of a configuration."""
        for name in ("generator", "discriminator"):
            config[name] = keras.utils.deserialize_keras_object(config[name])
        return cls(**config)
