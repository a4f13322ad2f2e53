"""Generators of Keras with all kinds of ends, shapes and precisions, in all versions of Keras.

This module imports neither ganport nor PyTorch, because it also runs where only TensorFlow 2.15 is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tensorflow import keras
from tensorflow.keras import layers

from benchmarks.keras_networks import IS_KERAS_3, Array, Model, Network, conv, ended, image_of

# Ends


def ending(end: str) -> Model:
    """Return a generator of 28x28x3 images with one of the ENDS."""
    return ended(*ENDS[end]())


def tanh_then(*more: Callable[[], Any]) -> Callable[[], list[Any]]:
    """Return a function that returns a tanh, and layers behind it."""
    return lambda: [layers.Activation("tanh"), *(make() for make in more)]


def sigmoid_then(*more: Callable[[], Any]) -> Callable[[], list[Any]]:
    """Return a function that returns a sigmoid, and layers behind it."""
    return lambda: [layers.Activation("sigmoid"), *(make() for make in more)]


ENDS: Mapping[str, Callable[[], list[Any]]] = {
    "linear": list,
    "wide linear": lambda: [layers.Rescaling(4.0)],
    "sigmoid": sigmoid_then(),
    "sigmoid, times 255": sigmoid_then(lambda: layers.Rescaling(255.0)),
    "sigmoid, to [-1, 1]": sigmoid_then(lambda: layers.Rescaling(2.0, -1.0)),
    "sigmoid, padded": sigmoid_then(lambda: layers.ZeroPadding2D(2)),
    "tanh, to [0, 1]": tanh_then(lambda: layers.Rescaling(0.5, 0.5)),
    "tanh, to [0, 255]": tanh_then(lambda: layers.Rescaling(127.5, 127.5)),
    "tanh, ReLU": tanh_then(lambda: layers.ReLU()),
    "tanh, noise": tanh_then(lambda: layers.GaussianNoise(0.05)),
    "tanh, dropout": tanh_then(lambda: layers.Dropout(0.2)),
    "tanh, upsampled": tanh_then(lambda: layers.UpSampling2D()),
    "tanh, upsampled bilinearly": tanh_then(lambda: layers.UpSampling2D(interpolation="bilinear")),
    "tanh, upsampled bicubically": tanh_then(lambda: layers.UpSampling2D(interpolation="bicubic")),
    "tanh, resized": tanh_then(lambda: layers.Resizing(40, 24)),
    "tanh, average-pooled": tanh_then(lambda: layers.AveragePooling2D(2)),
    "tanh, max-pooled": tanh_then(lambda: layers.MaxPooling2D(2)),
    "tanh, padded": tanh_then(lambda: layers.ZeroPadding2D(2)),
    "tanh, cropped": tanh_then(lambda: layers.Cropping2D(2)),
    "tanh, normalized": tanh_then(lambda: layers.BatchNormalization()),
    "hard sigmoid": lambda: [layers.Activation("hard_sigmoid")],
    "softsign": lambda: [layers.Activation("softsign")],
    "ReLU up to 1": lambda: [layers.ReLU(max_value=1.0)],
    "ReLU": lambda: [layers.ReLU()],
    "leaky ReLU": lambda: [layers.LeakyReLU(0.2)],
    "softmax": lambda: [layers.Softmax()],
    "spectral normalization of tanh": lambda: [
        layers.ReLU(),
        layers.SpectralNormalization(conv(3, activation="tanh")),
    ],
    "rows of TimeDistributed": lambda: [
        layers.TimeDistributed(layers.Conv1D(3, 3, padding="same", activation="tanh")),
    ],
    "channels first, by Permute": tanh_then(lambda: layers.Permute((3, 1, 2))),
    "float16": lambda: [layers.Activation("tanh", dtype="float16")],
    "float64": lambda: [layers.Activation("tanh", dtype="float64")],
}


# Shapes


def rows(pixels: int, activation: str = "tanh") -> Model:
    """Return a dense generator of rows (batch, pixels)."""
    steps = [keras.Input((64,)), layers.Dense(32, activation="relu"), layers.BatchNormalization()]
    return keras.Sequential([*steps, layers.Dense(pixels, activation=activation)])


def channels_first(*, permuted: bool) -> Model:
    """Return a generator whose layers have the channels first; the images have them last if `permuted`."""
    first = {"data_format": "channels_first", "padding": "same"}
    steps = [
        keras.Input((64,)),
        layers.Dense(7 * 7 * 16),
        layers.Reshape((16, 7, 7)),
        layers.Conv2DTranspose(8, 5, strides=2, **first),
        layers.BatchNormalization(axis=1),
        layers.ReLU(),
        layers.Conv2DTranspose(3, 5, strides=2, activation="tanh", **first),
    ]
    return keras.Sequential([*steps, layers.Permute((2, 3, 1))] if permuted else steps)


def of_shape(latents: tuple[int, ...], channels: int = 3) -> Model:
    """Return a generator of 28x28 pixels whose latents have a shape such as (1, 1, 100)."""
    steps = [keras.Input(latents), layers.Flatten(), layers.Dense(7 * 7 * 8), layers.Reshape((7, 7, 8))]
    steps += [layers.Conv2DTranspose(8, 4, strides=2, padding="same"), layers.ReLU()]
    end = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", activation="tanh")
    return keras.Sequential([*steps, end])


def convolutional(side: int | None) -> Model:
    """Return a generator from latents (side, side, 8), of any size if the side is None."""
    steps = [keras.Input((side, side, 8)), layers.Conv2DTranspose(16, 4, strides=2, padding="same")]
    end = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")
    return keras.Sequential([*steps, layers.ReLU(), end])


def large() -> Model:
    """Return a DCGAN of 256x256x3 images from 128 latents."""
    steps: list[Any] = [keras.Input((128,)), layers.Dense(8 * 8 * 16), layers.Reshape((8, 8, 16))]
    settings = {"strides": 2, "padding": "same", "kernel_initializer": "he_normal"}
    for channels in (16, 8, 8, 4):
        steps += [layers.Conv2DTranspose(channels, 4, **settings), layers.BatchNormalization()]
        steps.append(layers.LeakyReLU(0.2))
    end = layers.Conv2DTranspose(3, 4, activation="tanh", **settings)
    return keras.Sequential([*steps, end])


def fixed_batch() -> Model:
    """Return a generator that generates 16 images at a time."""
    latents = keras.Input(batch_shape=(16, 64)) if IS_KERAS_3 else keras.Input((64,), batch_size=16)
    model = keras.Model(latents, layers.Activation("tanh")(image_of(latents)))

    def call(given: Array, _: Any) -> Array:
        parts = [model(given[start : start + 16], training=False) for start in range(0, len(given), 16)]
        return np.concatenate([np.asarray(part) for part in parts])

    return Network(model, call)


def two_outputs(*, chosen: int = 1, as_dict: bool = False) -> Network:
    """Return a generator with outputs of two sizes, of which one is chosen, or with a dict of one output."""
    latents = keras.Input((64,))
    images = layers.Reshape((7, 7, 8))(layers.Dense(7 * 7 * 8, activation="relu")(latents))
    end = {"padding": "same", "activation": "tanh"}
    small = layers.Conv2DTranspose(3, 4, strides=2, name="small", **end)(images)
    large_images = layers.Conv2DTranspose(3, 8, strides=4, name="large", **end)(images)
    if as_dict:
        model = keras.Model(latents, {"image": large_images})
        return Network(model, lambda given, _: model(given, training=False)["image"])
    model = keras.Model(latents, [small, large_images])
    return Network(model, lambda given, _: model(given, training=False)[chosen])


def precise(policy: str, last: str | None = None) -> Network:
    """Return a generator in another precision than float32.

    bfloat16 has 8 bits, so its images are not comparable. They are those of the same weights in float32.

    Args:
        policy: Policy of Keras, such as "mixed_float16".
        last: Type of the last layer; None for that of the policy.
    """
    model = _with_policy(policy, last)
    if "bfloat16" not in policy:
        return Network(model)
    plain = _with_policy("float32", None)

    def call(given: Array, _: Any) -> Any:
        plain.set_weights(model.get_weights())
        return plain(given, training=False)

    return Network(model, call)


def quantised() -> Network:
    """Return a generator whose dense layers Keras 3 has quantised to int8."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(784, activation="tanh"),
            layers.Reshape((28, 28, 1)),
        ]
    )
    model.quantize("int8")
    return Network(model)


def _with_policy(policy: str, last: str | None) -> Model:
    keras.mixed_precision.set_global_policy(policy)
    try:
        return ended(layers.Activation("tanh", dtype=last))
    finally:
        keras.mixed_precision.set_global_policy("float32")
