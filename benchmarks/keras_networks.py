"""Generators of Keras without labels, in all versions of Keras: architectures, inputs, outputs and ends.

Each function builds a network as its users write it. `benchmarks.keras_files` gives it random weights, and
writes it. Widths are small. This module imports neither ganport nor PyTorch, because it also runs where only
TensorFlow 2.15 is installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import backend, layers

from benchmarks import keras_own_code as own

Array = npt.NDArray[Any]
Model = Any  # a model of Keras 2 or 3, or a tf.Module
Call = Callable[[Array, Any], Any]  # from latents (n, dim), and label indices (n,) or None, to images

IS_KERAS_3 = hasattr(keras, "ops")
K = backend  # the name that Lambda layers use


@dataclasses.dataclass
class Network:
    """A network, and how it generates images.

    Attributes:
        model: What is written to a file.
        call: Function that generates images; None for a model with one input of latents.
        write: Function that writes the network to a path; None for the ways in which all Keras models are
            written.
    """

    model: Model
    call: Call | None = None
    write: Callable[[Path], None] | None = None


def image_of(latents: Any, width: int = 16) -> Any:
    """Return images (batch, 28, 28, 3) of latents (batch, dim), without an activation."""
    hidden = layers.Dense(7 * 7 * width)(latents)
    images = layers.Reshape((7, 7, width))(layers.LeakyReLU(0.2)(hidden))
    images = layers.Conv2DTranspose(width, 5, strides=2, padding="same")(images)
    images = layers.ReLU()(layers.BatchNormalization()(images))
    return layers.Conv2DTranspose(3, 5, strides=2, padding="same")(images)


def ended(*end: Any, dim: int = 64) -> Model:
    """Return a generator of 28x28x3 images that ends with the given layers."""
    latents = keras.Input((dim,))
    images = image_of(latents)
    for layer in end:
        images = layer(images)
    return keras.Model(latents, images)


# Networks of courses, tutorials and popular repositories


def dcgan() -> Model:
    """Return the DCGAN of TensorFlow's tutorial: 28x28x1 images from 100 latents."""
    return own.build_generator()


def dcgan_in_model() -> Model:
    """Return a Sequential network inside of a functional model: 28x28x1 images from 100 latents."""
    steps = [
        keras.Input((100,)),
        layers.Dense(7 * 7 * 16, activation="relu"),
        layers.Reshape((7, 7, 16)),
        layers.UpSampling2D(),
        layers.Conv2D(16, kernel_size=3, padding="same"),
        layers.BatchNormalization(momentum=0.8),
        layers.Activation("relu"),
        layers.UpSampling2D(),
        layers.Conv2D(1, kernel_size=3, padding="same"),
        layers.Activation("tanh"),
    ]
    latents = keras.Input((100,))
    return keras.Model(latents, keras.Sequential(steps)(latents))


def dense_in_model() -> Model:
    """Return the dense network 100-256-512-1024-784, as a functional model around a Sequential one."""
    steps: list[Any] = [keras.Input((100,)), layers.Dense(256)]
    for units in (512, 1024):
        steps += [layers.LeakyReLU(0.2), layers.BatchNormalization(momentum=0.8), layers.Dense(units)]
    steps += [layers.LeakyReLU(0.2), layers.BatchNormalization(momentum=0.8)]
    steps += [layers.Dense(784, activation="tanh"), layers.Reshape((28, 28, 1))]
    latents = keras.Input((100,))
    return keras.Model(latents, keras.Sequential(steps)(latents))


def dense_with_tf_reshape() -> Model:
    """Return a dense functional network that calls tf.reshape, which only Keras 2 allows."""
    latents = keras.Input((100,))
    hidden = layers.LeakyReLU(0.2)(layers.Dense(128)(latents))
    for units in (256, 512, 1024):
        hidden = layers.BatchNormalization(momentum=0.1, epsilon=0.8)(layers.Dense(units)(hidden))
        hidden = layers.LeakyReLU(0.2)(hidden)
    rows = layers.Dense(784, activation="tanh")(hidden)
    return keras.Model(latents, tf.reshape(rows, [-1, 28, 28, 1]))


def flat_compiled() -> Model:
    """Return a network of rows (batch, 784), compiled with the legacy Adam of Keras 2 if it exists."""
    steps: list[Any] = [keras.Input((100,)), layers.Dense(256), layers.LeakyReLU(0.2), layers.Dense(512)]
    steps += [layers.Dense(1024), layers.LeakyReLU(0.2), layers.Dense(784, activation="tanh")]
    model = keras.Sequential(steps)
    adam = keras.optimizers.Adam if IS_KERAS_3 else keras.optimizers.legacy.Adam
    model.compile(loss="binary_crossentropy", optimizer=adam(0.0002, 0.5))
    return model


def minimal() -> Model:
    """Return the network 100-128-784."""
    steps = [keras.Input((100,)), layers.Dense(128), layers.LeakyReLU(0.01)]
    return keras.Sequential([*steps, layers.Dense(784, activation="tanh"), layers.Reshape((28, 28, 1))])


def rock_paper_scissors() -> Model:
    """Return a DCGAN of 64x64x3 images with output padding and a normalization before each layer."""
    steps: list[Any] = [keras.Input((100,)), layers.Dense(8 * 8 * 64, use_bias=False)]
    steps.append(layers.Reshape((8, 8, 64)))
    for channels in (32, 16, 3):
        is_last = channels == 3
        steps += [layers.BatchNormalization(), layers.LeakyReLU(0.2)]
        steps.append(
            layers.Conv2DTranspose(
                channels,
                5,
                strides=2,
                padding="same",
                output_padding=(1, 1),
                use_bias=is_last,
                activation="tanh" if is_last else None,
            )
        )
    return keras.Sequential(steps)


def trained() -> Model:
    """Return a DCGAN that was compiled and trained for one step, so that its optimizer has a state."""
    model = dcgan()
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="mse")
    model.train_on_batch(np.ones((4, 100), np.float32), np.zeros((4, 28, 28, 1), np.float32))
    return model


def selu_rows() -> Model:
    """Return the network of the book "Hands-On Machine Learning": (28, 28) images from 30 latents."""
    steps = [keras.Input((30,)), layers.Dense(100, activation="selu"), layers.Dense(150, activation="selu")]
    return keras.Sequential([*steps, layers.Dense(784, activation="sigmoid"), layers.Reshape((28, 28))])


def wgan_gp() -> Model:
    """Return the network of keras.io's WGAN-GP: 28x28x1 images, cropped from 32x32 after tanh."""
    steps: list[Any] = [keras.Input((128,)), layers.Dense(4 * 4 * 32, use_bias=False)]
    steps += [layers.BatchNormalization(), layers.LeakyReLU(0.2), layers.Reshape((4, 4, 32))]
    for channels in (16, 8, 1):
        activation = layers.LeakyReLU(0.2) if channels > 1 else layers.Activation("tanh")
        convolution = layers.Conv2D(channels, 3, padding="same", use_bias=False)
        steps += [layers.UpSampling2D((2, 2)), convolution, layers.BatchNormalization(), activation]
    return keras.Sequential([*steps, layers.Cropping2D((2, 2))])


def decoder() -> Model:
    """Return the decoder of keras.io's VAE: 28x28x1 images in [0, 1] from 2 latents."""
    settings = {"padding": "same", "kernel_initializer": "he_normal"}  # otherwise all images are nearly grey
    latents = keras.Input((2,))
    hidden = layers.Dense(7 * 7 * 16, activation="relu", kernel_initializer="he_normal")(latents)
    images = layers.Reshape((7, 7, 16))(hidden)
    for channels in (16, 8):
        images = layers.Conv2DTranspose(channels, 3, strides=2, activation="relu", **settings)(images)
    images = layers.Conv2DTranspose(1, 3, activation="sigmoid", **settings)(images)
    return keras.Model(latents, images, name="decoder")


# Layers


def layered(kind: str) -> Model:
    """Return a generator of 28x28x3 images in [-1, 1] whose middle layers are of one kind, from LAYERS."""
    latents = keras.Input((64,))
    images = layers.Reshape((7, 7, 16))(layers.Dense(7 * 7 * 16)(latents))
    for layer in LAYERS[kind]():
        images = layer(images)
    side = images.shape[1]
    images = layers.Conv2DTranspose(8, 4, strides=28 // side // 2, padding="same", activation="relu")(images)
    return keras.Model(
        latents, layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")(images)
    )


def conv(channels: int = 16, **settings: Any) -> Any:
    return layers.Conv2D(channels, 3, padding="same", **settings)


def convolution_with(layer: Any) -> Callable[[], list[Any]]:
    """Return a function that returns a convolution with a layer behind it."""
    return lambda: [conv(), layer()]


LAYERS: Mapping[str, Callable[[], list[Any]]] = {
    "bilinear upsampling": lambda: [layers.UpSampling2D(interpolation="bilinear"), conv()],
    "nearest upsampling": lambda: [layers.UpSampling2D(), conv()],
    "bicubic upsampling": lambda: [layers.UpSampling2D(interpolation="bicubic"), conv()],
    "group normalization": convolution_with(lambda: layers.GroupNormalization(4)),
    "layer normalization": convolution_with(lambda: layers.LayerNormalization()),
    "RMS normalization": convolution_with(lambda: layers.RMSNormalization()),
    "synchronized batch normalization": convolution_with(
        lambda: layers.BatchNormalization(synchronized=True)
    ),
    "unit normalization": convolution_with(lambda: layers.UnitNormalization()),
    "PReLU": convolution_with(lambda: layers.PReLU(shared_axes=[1, 2])),
    "ELU": convolution_with(lambda: layers.ELU()),
    "GELU": convolution_with(lambda: layers.Activation("gelu")),
    "swish": convolution_with(lambda: layers.Activation("swish")),
    "softplus and exponential": lambda: [conv(activation="softplus"), conv(activation="exponential")],
    "thresholded and capped ReLU": convolution_with(lambda: layers.ReLU(max_value=6.0, threshold=0.1)),
    "mish and hard swish": lambda: [conv(activation="mish"), conv(activation="hard_swish")],
    "separable convolution": lambda: [layers.SeparableConv2D(16, 3, padding="same", activation="relu")],
    "depthwise convolution": lambda: [layers.DepthwiseConv2D(3, padding="same", activation="relu")],
    "dilated convolution": lambda: [conv(dilation_rate=2, activation="relu")],
    "grouped convolution": lambda: [conv(groups=4, activation="relu")],
    "valid transposed convolution": lambda: [
        layers.Conv2DTranspose(16, 4, activation="relu"),
        layers.Cropping2D(((1, 2), (2, 1))),
    ],
    "spectral normalization": lambda: [layers.SpectralNormalization(conv())],
    "activation=tf.nn.relu": lambda: [conv(activation=tf.nn.relu)],
    "activation=tf.nn.leaky_relu": lambda: [conv(activation=tf.nn.leaky_relu)],
    "activation=LeakyReLU()": lambda: [conv(activation=layers.LeakyReLU(0.2))],
    "initializer of TensorFlow": lambda: [
        conv(kernel_initializer=tf.random_normal_initializer(0.0, 0.1)),
    ],
    "regularizer and constraint": lambda: [
        conv(kernel_regularizer="l2", kernel_constraint=keras.constraints.MaxNorm(2.0)),
    ],
    "batch normalization without scale": convolution_with(
        lambda: layers.BatchNormalization(scale=False, center=False)
    ),
}


def attention() -> Model:
    """Return a generator with the self-attention of SAGAN, from Dot and Softmax layers."""
    latents = keras.Input((64,))
    images = layers.Reshape((7, 7, 16))(layers.Dense(7 * 7 * 16)(latents))
    query, key, value = (
        layers.Reshape((49, channels))(layers.Conv2D(channels, 1)(images)) for channels in (4, 4, 16)
    )
    weights = layers.Softmax()(layers.Dot(axes=(2, 2))([query, key]))
    seen = layers.Reshape((7, 7, 16))(layers.Dot(axes=(2, 1))([weights, value]))
    images = layers.Add()([images, seen])
    return keras.Model(
        latents, layers.Conv2DTranspose(3, 4, strides=4, padding="same", activation="tanh")(images)
    )


def transformer() -> Model:
    """Return a generator with MultiHeadAttention over 49 patches of 4x4x3 pixels."""
    latents = keras.Input((64,))
    patches = layers.Reshape((49, 32))(layers.Dense(49 * 32)(latents))
    seen = layers.MultiHeadAttention(num_heads=2, key_dim=8)(patches, patches)
    patches = layers.LayerNormalization()(layers.Add()([patches, seen]))
    pixels = layers.Reshape((7, 7, 4, 4, 3))(layers.Dense(48, activation="tanh")(patches))
    rows = layers.Permute((1, 3, 2, 4, 5))(pixels)
    return keras.Model(latents, layers.Reshape((28, 28, 3))(rows))


def recurrent(layer: str) -> Model:
    """Return a generator that writes an image row by row, with an LSTM, a GRU or Conv1D.

    Args:
        layer: Name of the layer.
    """
    latents = keras.Input((64,))
    rows = layers.RepeatVector(28)(latents)
    if layer == "Conv1D":
        rows = layers.Reshape((28, 16))(layers.Dense(28 * 16)(latents))
        rows = layers.Conv1D(32, 3, padding="same", activation="relu")(rows)
    else:
        rows = getattr(layers, layer)(32, return_sequences=True)(rows)
    rows = layers.TimeDistributed(layers.Dense(28, activation="tanh"))(rows)
    return keras.Model(latents, layers.Reshape((28, 28, 1))(rows))


def modulated() -> Model:
    """Return a generator whose features are scaled and shifted by maps of the latents, as in SPADE."""
    latents = keras.Input((64,))
    images = layers.Reshape((7, 7, 16))(layers.Dense(7 * 7 * 16)(latents))
    for side in (14, 28):
        images = layers.UpSampling2D()(images)
        style = layers.Reshape((7, 7, 4))(layers.Dense(7 * 7 * 4, activation="relu")(latents))
        style = layers.UpSampling2D(side // 7)(style)
        scale, shift = conv()(style), conv()(style)
        normal = layers.BatchNormalization(center=False, scale=False)(images)
        images = layers.Add()([layers.Multiply()([normal, scale]), normal, shift])
        images = layers.LeakyReLU(0.2)(images)
    return keras.Model(latents, conv(3, activation="tanh")(images))


def style_gan() -> Model:
    """Return a StyleGAN with own layers: mapping, learned constant, adaptive normalization, pixel norm."""
    latents = keras.Input((64,))
    style = own.EqualizedDense(32)(own.PixelNorm()(latents))
    style = own.EqualizedDense(32)(layers.LeakyReLU(0.2)(style))
    images = own.LearnedConstant(16)(latents)
    for _ in range(3):
        images = conv()(layers.UpSampling2D()(images))
        images = own.AdaptiveNorm(16)([layers.LeakyReLU(0.2)(images), style])
    return keras.Model(latents, layers.Conv2D(3, 1, activation="tanh")(images))


def with_own(layer: str) -> Model:
    """Return a generator with a layer or a function of `keras_own_code` in its middle."""
    latents = keras.Input((64,))
    images = layers.Reshape((14, 14, 16))(layers.Dense(14 * 14 * 16)(latents))
    images = getattr(own, layer)()(images)
    factor = 28 // images.shape[1]
    return keras.Model(
        latents, layers.Conv2DTranspose(3, 4, strides=factor, padding="same", activation="tanh")(images)
    )


def own_activation() -> Model:
    """Return a generator that ends with an activation function of the user."""
    return ended(layers.Activation(own.half))


def own_model() -> Model:
    """Return a generator whose class is a subclass of Model."""
    model = own.DenseGenerator()
    model(np.zeros((1, 64), np.float32))
    return model


def keras_ops() -> Model:
    """Return a functional generator that calls functions of keras.ops, which only Keras 3 has."""
    ops = keras.ops
    latents = keras.Input((64,))
    images = ops.reshape(layers.Dense(28 * 14 * 3)(latents), (-1, 28, 14, 3))
    images = ops.concatenate([images, ops.flip(images, axis=2)], axis=2)
    return keras.Model(latents, ops.clip(ops.sigmoid(images) * 1.2 - 0.1, 0.0, 1.0))


def tensorflow_operations() -> Model:
    """Return a functional generator that calls operations of TensorFlow, which only Keras 2 allows."""
    latents = keras.Input((64,))
    images = tf.nn.depth_to_space(tf.reshape(layers.Dense(14 * 14 * 12)(latents), (-1, 14, 14, 12)), 2)
    images = tf.image.resize(images, (32, 32), method="bilinear")[:, 2:-2, 2:-2]
    images = tf.where(images > 0, images, 0.2 * images) - tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    return keras.Model(latents, tf.clip_by_value((tf.tanh(images) + 1) / 2, 0.0, 1.0))


# Lambda layers


def lambdas(kind: str) -> Model:
    """Return a generator of 28x28x3 images whose last layer is a Lambda, from LAMBDAS."""
    return ended(layers.Activation("tanh"), LAMBDAS[kind]())


def scaled_by(factor: float) -> Any:
    """Return a Lambda layer whose function is a closure."""
    return layers.Lambda(lambda images: images * factor)


STRENGTH = own.STRENGTH  # the Lambda layer below finds this name in `custom_objects`
LAMBDAS: Mapping[str, Callable[[], Any]] = {
    "tf": lambda: layers.Lambda(lambda x: tf.tanh(2.0 * x)),
    "K": lambda: layers.Lambda(lambda x: K.clip(x, 0.0, 1.0)),
    "closure": lambda: scaled_by(-1.0),
    "default": lambda: layers.Lambda(lambda x, end=1.0: tf.minimum(tf.nn.relu(x), end)),
    "arguments": lambda: layers.Lambda(lambda x, end: x * end, arguments={"end": -1.0}),
    "depth_to_space": lambda: layers.Lambda(
        lambda x: tf.nn.depth_to_space(tf.nn.space_to_depth(x, 2)[..., ::-1], 2)
    ),
    "own function": lambda: layers.Lambda(own.swap_sides),
    "own name": lambda: layers.Lambda(lambda x: tf.tanh(x * STRENGTH)),
    "noise": lambda: layers.Lambda(lambda x: x + 0.1 * tf.random.normal(tf.shape(x))),
}


# Networks that are not supported


def statistics_of_the_batch() -> Model:
    """Return a generator whose normalization always uses the statistics of the batch."""
    latents = keras.Input((64,))
    images = layers.Reshape((7, 7, 16))(layers.Dense(7 * 7 * 16)(latents))
    images = layers.BatchNormalization()(images, training=True)
    return keras.Model(
        latents, layers.Conv2DTranspose(3, 4, strides=4, padding="same", activation="tanh")(images)
    )


def discriminator(name: str = "discriminator") -> Model:
    """Return a network from images (batch, 28, 28, 1) to probabilities (batch, 1)."""
    steps = [keras.Input((28, 28, 1)), layers.Conv2D(8, 5, strides=2, padding="same"), layers.LeakyReLU()]
    steps += [layers.Dropout(0.3), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    return keras.Sequential(steps, name=name)


def whole_gan(*, kind: str = "sequential") -> Network:
    """Return a generator with a discriminator behind it. The images are those of the generator.

    Args:
        kind: "sequential"; "functional" for a model of the same layers, or "subclass" for an own class.
    """
    generator, critic = dcgan(), discriminator()
    if kind == "sequential":
        model = keras.Sequential([keras.Input((100,)), generator, critic])
    elif kind == "functional":
        model = keras.Model(generator.inputs, critic(generator.outputs[0]))
    else:
        model = own.Gan(generator, critic)
        model(np.zeros((1, 100), np.float32))
    return Network(model, lambda given, _: generator(given, training=False))


def image_to_image() -> Model:
    """Return a network from images to images, such as that of pix2pix."""
    steps = [keras.Input((64, 64, 3)), layers.Conv2D(16, 4, strides=2, padding="same"), layers.LeakyReLU()]
    end = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")
    return keras.Sequential([*steps, end])


def denoiser() -> Model:
    """Return the network of a diffusion model: noisy images and their noise give the noise."""
    images, variance = keras.Input((64, 64, 3)), keras.Input((1, 1, 1))
    hidden = layers.Concatenate()([conv(8)(images), layers.UpSampling2D(64)(variance)])
    return keras.Model([images, variance], conv(3)(hidden))


def autoencoder() -> Model:
    """Return a VAE that encodes images, samples latents, and decodes them."""
    images = keras.Input((28, 28, 1))
    mean = layers.Dense(16)(layers.Flatten()(images))
    latents = own.RandomNoise()(mean)
    decoded = layers.Reshape((28, 28, 1))(layers.Dense(784, activation="sigmoid")(latents))
    return keras.Model(images, decoded)


def volumes() -> Model:
    """Return a generator of voxels (batch, 8, 8, 8, 1)."""
    steps = [keras.Input((64,)), layers.Dense(4 * 4 * 4 * 8), layers.Reshape((4, 4, 4, 8))]
    return keras.Sequential(
        [*steps, layers.Conv3DTranspose(1, 4, strides=2, padding="same", activation="sigmoid")]
    )
