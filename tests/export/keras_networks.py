"""Tiny networks of Keras 3 and of Keras 2 with random weights, and the comparison with loaded functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import keras  # noqa: E402
import tf_keras  # noqa: E402

FRAMEWORKS = {"keras": keras, "tf_keras": tf_keras}
TOLERANCE = 1e-6  # float32 in another order of additions, of images in [-1, 1]

LATENTS = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)

OWN_LAYER = """
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras.layers import Layer

class PixelNorm(Layer):
    def call(self, x):
        return x * tf.math.rsqrt(tf.reduce_mean(x**2, -1, keepdims=True) + 1e-8)
"""


def randomise(model: Any) -> Any:
    """Give every weight and statistic a value that affects the images; variances and scales stay positive."""
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(0.2, 0.6, weight.shape) for weight in model.get_weights()])
    return model


def generator(framework: Any, *, end: tuple[Any, ...] = (), data_format: str = "channels_last"):
    """Return a network from latents (batch, 8) to images (batch, 8, 8, 1), or with the channels first."""
    layers = framework.layers
    is_first = data_format == "channels_first"
    stack = [
        layers.InputLayer((8,), name="z"),
        layers.Dense(32, use_bias=False),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Reshape((2, 4, 4) if is_first else (4, 4, 2)),
        layers.Dropout(0.5),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same", data_format=data_format, activation="tanh"),
        *end,
    ]
    return randomise(framework.Sequential(stack, name="generator"))


def discriminator(framework: Any):
    """Return a network from images (batch, 8, 8, 1) to a probability."""
    layers = framework.layers
    stack = [layers.InputLayer((8, 8, 1)), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    return framework.Sequential(stack, name="discriminator")


def expected_images(model: Any, *inputs: np.ndarray) -> np.ndarray:
    """Return the images of a model in inference mode."""
    taken = [*inputs] or [LATENTS]
    return np.asarray(model(taken[0] if len(taken) == 1 else taken, training=False))


def assert_generates(
    function: Any, expected: np.ndarray, *inputs: np.ndarray, atol: float = TOLERANCE
) -> None:
    """Compare the images of a loaded function, and those of its ONNX graph, with expected ones."""
    feeds = dict(zip([spec.name for spec in function.inputs], inputs or [LATENTS], strict=True))
    assert expected.std() > 0.01  # otherwise any weights would pass
    np.testing.assert_allclose(function.run(feeds)[function.outputs[0]], expected, atol=atol)
    session = onnxruntime.InferenceSession(function.to_onnx(18).SerializeToString())
    assert [value.name for value in session.get_inputs()] == list(feeds)
    assert [value.name for value in session.get_outputs()] == list(function.outputs)
    np.testing.assert_allclose(session.run([function.outputs[0]], feeds)[0], expected, atol=atol)


def write(path: Path, text: str) -> Path:
    """Write a Python file of a user, and return its path."""
    path.write_text(text)
    return path
