"""Generators of Keras with labels and other inputs, in all versions of Keras, and modules of TensorFlow.

This module imports neither ganport nor PyTorch, because it also runs where only TensorFlow 2.15 is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

from benchmarks.keras_networks import IS_KERAS_3, Array, Model, Network, dense_in_model, image_of

LABELS = 10
PSI = 0.7  # truncation with which a generator is sampled
STRENGTH = 0.5  # strength of the noise with which a generator is sampled


def one_hot(labels: Array) -> Array:
    """Return one-hot codes, float32 (n, 10), of label indices (n,)."""
    return np.eye(LABELS, dtype=np.float32)[labels]


def small_images(hidden: Any) -> Any:
    """Return images (batch, 14, 14, 3) in [-1, 1] of features (batch, size)."""
    images = layers.Reshape((7, 7, 8))(layers.Dense(7 * 7 * 8, activation="relu")(hidden))
    return layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")(images)


def taking_columns(model: Model) -> Network:
    """Return the network of a model that takes latents and labels (n, 1)."""
    return Network(model, lambda latents, labels: model([latents, labels[:, None]], training=False))


def taking_codes(model: Model) -> Network:
    """Return the network of a model that takes latents and one-hot codes."""
    return Network(model, lambda latents, labels: model([latents, one_hot(labels)], training=False))


# Labels


def embedding_multiplied() -> Network:
    """Return the conditional GAN of Keras-GAN: the embedding of a label (n, 1) times the latents."""
    latents, label = keras.Input((100,)), keras.Input((1,), dtype="int32")
    code = layers.Flatten()(layers.Embedding(LABELS, 100)(label))
    inner = dense_in_model()
    return taking_columns(keras.Model([latents, label], inner(layers.multiply([latents, code]))))


def embedding_as_plane() -> Network:
    """Return a conditional GAN whose label (n, 1) of floats becomes a plane of the first features."""
    label, latents = keras.Input((1,)), keras.Input((100,))
    plane = layers.Dense(7 * 7)(layers.Embedding(LABELS, 50)(label))
    features = layers.LeakyReLU(0.2)(layers.Dense(7 * 7 * 16)(latents))
    joined = layers.Concatenate()([layers.Reshape((7, 7, 16))(features), layers.Reshape((7, 7, 1))(plane)])
    images = layers.Conv2DTranspose(8, 4, strides=2, padding="same")(joined)
    images = layers.Conv2D(1, 7, activation="tanh", padding="same")(layers.LeakyReLU(0.2)(images))
    model = keras.Model([latents, label], images)
    return taking_columns(model)


def label_vector() -> Network:
    """Return a generator that takes labels of shape (n,), and concatenates their embedding."""
    latents, label = keras.Input((32,), name="noise"), keras.Input((), dtype="int32", name="label")
    joined = layers.Concatenate()([latents, layers.Embedding(LABELS, 16)(label)])
    model = keras.Model([latents, label], small_images(joined))
    return Network(model, lambda given, labels: model([given, labels], training=False))


def dict_of_inputs() -> Network:
    """Return a generator that takes a dict of latents and labels."""
    inputs = {"noise": keras.Input((32,), name="noise"), "label": keras.Input((1,), name="label")}
    code = layers.Flatten()(layers.Embedding(LABELS, 16)(inputs["label"]))
    model = keras.Model(inputs, small_images(layers.Concatenate()([inputs["noise"], code])))

    def call(latents: Array, labels: Array) -> Any:
        given = {"noise": latents, "label": labels[:, None].astype(np.float32)}
        return model(given, training=False)

    return Network(model, call)


def acgan() -> Network:
    """Return the ACGAN of Keras' examples: upsampled features of an embedding times the latents."""
    latents, label = keras.Input((100,)), keras.Input((1,), dtype="int32")
    code = layers.Flatten()(layers.Embedding(LABELS, 100)(label))
    steps = [keras.Input((100,)), layers.Dense(7 * 7 * 16, activation="relu"), layers.Reshape((7, 7, 16))]
    for channels in (16, 8):
        steps += [layers.UpSampling2D(), layers.Conv2D(channels, 3, padding="same", activation="relu")]
        steps.append(layers.BatchNormalization())
    inner = keras.Sequential([*steps, layers.Conv2D(1, 3, padding="same", activation="tanh")])
    return taking_columns(keras.Model([latents, label], inner(layers.Multiply()([latents, code]))))


def category_encoding() -> Network:
    """Return a generator that turns a label (n, 1) into a one-hot code with CategoryEncoding."""
    latents, label = keras.Input((32,)), keras.Input((1,), dtype="int32")
    code = layers.CategoryEncoding(num_tokens=LABELS, output_mode="one_hot")(label)
    return taking_columns(keras.Model([latents, label], small_images(layers.Concatenate()([latents, code]))))


def one_hot_inside() -> Network:
    """Return a generator that calls the function one_hot of Keras 3, or that of TensorFlow in Keras 2."""
    latents, label = keras.Input((32,)), keras.Input((), dtype="int32")
    code = (keras.ops if IS_KERAS_3 else tf).one_hot(label, LABELS)
    model = keras.Model([latents, label], small_images(layers.Concatenate()([latents, code])))
    return Network(model, lambda given, labels: model([given, labels], training=False))


def text_label() -> Network:
    """Return a generator that takes the names of labels, which are texts."""
    latents, label = keras.Input((32,)), keras.Input((1,), dtype="string")
    index = layers.StringLookup(vocabulary=["cat", "dog"], output_mode="one_hot")(label)
    return Network(
        keras.Model([latents, label], small_images(layers.Concatenate()([latents, index]))),
        lambda given, labels: np.zeros((len(given), 14, 14, 3)),
    )


def code_input() -> Network:
    """Return a generator that takes latents and a one-hot code."""
    latents, code = keras.Input((32,), name="noise"), keras.Input((LABELS,), name="condition")
    return taking_codes(keras.Model([latents, code], small_images(layers.Concatenate()([latents, code]))))


def code_behind_latents() -> Network:
    """Return the conditional GAN of keras.io: 128 latents and a one-hot code in one input of 138."""
    steps = [keras.Input((128 + LABELS,)), layers.Dense(7 * 7 * 16), layers.LeakyReLU(0.2)]
    steps.append(layers.Reshape((7, 7, 16)))
    for channels in (16, 8):
        steps.append(layers.Conv2DTranspose(channels, 4, strides=2, padding="same"))
        steps.append(layers.LeakyReLU(0.2))
    model = keras.Sequential([*steps, layers.Conv2D(1, 7, padding="same", activation="sigmoid")])
    return Network(model, lambda latents, labels: model(np.hstack([latents, one_hot(labels)])))


def info_gan() -> Network:
    """Return an InfoGAN: 62 latents, a one-hot code and 2 continuous codes in one input of 74."""
    latents = keras.Input((62 + LABELS + 2,))
    model = keras.Model(latents, small_images(latents))

    def call(given: Array, labels: Array) -> Any:
        return model(np.hstack([given[:, :62], one_hot(labels), given[:, 62:]]), training=False)

    return Network(model, call)


def info_gan_inputs() -> Network:
    """Return an InfoGAN with three inputs: 62 latents, a one-hot code and 2 continuous codes."""
    latents, label, code = keras.Input((62,)), keras.Input((LABELS,)), keras.Input((2,))
    model = keras.Model([latents, label, code], small_images(layers.Concatenate()([latents, label, code])))

    def call(given: Array, labels: Array) -> Any:
        return model([given[:, :62], one_hot(labels), given[:, 62:]], training=False)

    return Network(model, call)


# Other inputs


def two_latents() -> Network:
    """Return a generator with two inputs of latents, for content and style."""
    content, style = keras.Input((32,), name="content"), keras.Input((16,), name="style")
    images = small_images(layers.Concatenate()([content, style]))
    model = keras.Model([content, style], images)
    return Network(model, lambda given, _: model([given[:, :32], given[:, 32:]], training=False))


def truncated() -> Network:
    """Return a generator whose second input (n, 1) is the truncation psi."""
    latents, psi = keras.Input((32,), name="z"), keras.Input((1,), name="psi")
    model = keras.Model([latents, psi], small_images(layers.Multiply()([latents, psi])))
    return Network(model, lambda given, _: model([given, np.full((len(given), 1), PSI, np.float32)]))


def noise_maps(*, random: bool) -> Network:
    """Return a StyleGAN whose noise maps are inputs, which are random or 0."""
    latents = keras.Input((32,), name="z")
    maps = [keras.Input((side, side, 1), name=f"noise_{side}") for side in (4, 8)]
    images = layers.Reshape((4, 4, 8))(layers.Dense(4 * 4 * 8)(latents))
    images = layers.Add()([images, layers.Conv2D(8, 1, use_bias=False)(maps[0])])
    images = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.UpSampling2D()(images))
    images = layers.Add()([images, layers.Conv2D(8, 1, use_bias=False)(maps[1])])
    model = keras.Model([latents, *maps], layers.Conv2D(3, 3, padding="same", activation="tanh")(images))

    def call(given: Array, _: Any) -> Any:
        noise = given[:, 32:] if random else np.zeros((len(given), 16 + 64), np.float32)
        first, second = noise[:, :16].reshape(-1, 4, 4, 1), noise[:, 16:].reshape(-1, 8, 8, 1)
        return model([given[:, :32], first, second], training=False)

    return Network(model, call)


def noise_strength() -> Network:
    """Return a generator whose second input is the strength of a fixed noise."""
    latents, strength = keras.Input((64,), name="z"), keras.Input((1,), name="noise_strength")
    noise = layers.Reshape((28, 28, 1))(layers.Dense(784, activation="softsign")(strength))
    model = keras.Model(
        [latents, strength], layers.Activation("tanh")(layers.Add()([image_of(latents), noise]))
    )
    return Network(model, lambda given, _: model([given, np.full((len(given), 1), STRENGTH, np.float32)]))


# Modules of TensorFlow, which are written as SavedModels with signatures


class Module(tf.Module):
    """A module in the manner of TensorFlow Hub, with functions that are signatures."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(5)
        self.weights = tf.Variable(0.1 * rng.standard_normal((64, 8 * 8 * 3)), dtype=tf.float32)
        self.classes = tf.Variable(rng.standard_normal((LABELS, 64)), dtype=tf.float32)

    def images(self, latents: tf.Tensor) -> tf.Tensor:
        """Return images (batch, 8, 8, 3) in [-1, 1]."""
        return tf.tanh(tf.reshape(latents @ self.weights, (-1, 8, 8, 3)))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 64), name="z"),
            tf.TensorSpec((None, LABELS), name="y"),
            tf.TensorSpec((), name="truncation"),
        ]
    )
    def conditional(self, z: tf.Tensor, y: tf.Tensor, truncation: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return images of truncated latents and one-hot codes, as BigGAN does."""
        return {"default": self.images(z * truncation + y @ self.classes)}

    @tf.function(input_signature=[tf.TensorSpec((None, 64), name="latent_vector")])
    def simple(self, latent_vector: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return images of latents, as the progressive GAN of TensorFlow Hub does."""
        return {"default": self.images(latent_vector)}

    @tf.function(input_signature=[tf.TensorSpec((None, 64), name="z")], jit_compile=True)
    def compiled(self, z: tf.Tensor) -> tf.Tensor:
        """Return images. XLA compiles this function."""
        return self.images(z)

    @tf.function(input_signature=[tf.TensorSpec((None, 64), name="z")])
    def levels(self, z: tf.Tensor) -> tf.Tensor:
        """Return images of type uint8."""
        return tf.cast(tf.round((self.images(z) + 1) * 127.5), tf.uint8)

    @tf.function(input_signature=[tf.TensorSpec((None, 64), name="z")])
    def random(self, z: tf.Tensor) -> tf.Tensor:
        """Return images with random noise in the latents."""
        return self.images(z + 0.1 * tf.random.normal(tf.shape(z)))

    @tf.function
    def generate(self, z: tf.Tensor) -> tf.Tensor:
        """Return images. Its shapes are those of its first call."""
        return self.images(z)


def hub(**signatures: str) -> Network:
    """Return a module with signatures.

    Args:
        **signatures: Function of the module for each signature. If there are none, then the module is saved
            without signatures, after a call with one image.
    """
    module = Module()
    first = next(iter(signatures.values()), "generate")

    def call(latents: Array, labels: Any) -> Any:
        if first == "conditional":
            return module.conditional(latents, one_hot(labels), tf.constant(PSI))["default"]
        return module.levels(latents) if first == "levels" else module.images(latents)

    def write(path: Path) -> None:
        if not signatures:
            module.generate(tf.zeros((1, 64)))
        functions = {name: getattr(module, function) for name, function in signatures.items()}
        tf.saved_model.save(module, str(path), signatures=functions or None)

    return Network(module, call, write)
