"""Kinds of Keras and TensorFlow generators. They are exported, and the export is sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.generators import Built, Kind, Pixels
from benchmarks.onnx_graphs import to_levels

if TYPE_CHECKING:
    import keras

KERAS_3 = "Keras 3"
Model = Callable[[], "keras.Model"]
Inputs = Callable[[npt.NDArray[np.float32], "npt.NDArray[np.int64] | None"], list[npt.NDArray[Any]]]


def latents_alone(
    latents: npt.NDArray[np.float32], _: npt.NDArray[np.int64] | None
) -> list[npt.NDArray[Any]]:
    return [latents]


def saved(network: Model, file: str, inputs: Inputs = latents_alone) -> Callable[[Path], Built]:
    """Return the function that writes a Keras model.

    Args:
        network: Function that returns the model.
        file: Name of the file, whose ending decides the format.
        inputs: Function from latents and label indices to the inputs of the model.
    """

    def build(folder: Path) -> Built:
        from ganport.trainer.devices import load_tensorflow

        load_tensorflow()
        import keras

        from benchmarks.third_party_generators import shake

        keras.utils.set_random_seed(5)
        model = shake(network())
        model.save(folder / file)

        def generate(latents: npt.NDArray[np.float32], labels: npt.NDArray[np.int64] | None) -> Pixels:
            given = inputs(latents, labels)
            images = model(given[0] if len(given) == 1 else given, training=False)
            return to_levels(np.asarray(images), layout="NHWC")

        return Built(folder / file, generate)

    return build


def dcgan() -> keras.Model:
    """Return a DCGAN of 28x28x1 images from 100 latents."""
    import keras
    from keras import layers

    steps = [
        keras.Input((100,)),
        layers.Dense(7 * 7 * 16, use_bias=False),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Reshape((7, 7, 16)),
        layers.Conv2DTranspose(8, 5, 2, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Conv2DTranspose(1, 5, 2, padding="same", use_bias=False, activation="tanh"),
    ]
    return keras.Sequential(steps)


def conditional() -> keras.Model:
    """Return a generator of 8x8x3 images that takes latents and a label, which it embeds."""
    import keras
    from keras import layers

    noise, label = keras.Input((32,)), keras.Input((1,), dtype="int32")
    code = layers.Flatten()(layers.Embedding(7, 32)(label))
    hidden = layers.Dense(64, activation="relu")(layers.Multiply()([noise, code]))
    return keras.Model(
        [noise, label], layers.Reshape((8, 8, 3))(layers.Dense(192, activation="tanh")(hidden))
    )


def with_label_column(
    latents: npt.NDArray[np.float32], labels: npt.NDArray[np.int64] | None
) -> list[npt.NDArray[Any]]:
    return [latents, np.zeros((len(latents), 1)) if labels is None else labels[:, None]]


def kind(name: str, build: Callable[[Path], Built], options: Mapping[str, Any] | None = None) -> Kind:
    return Kind(KERAS_3, name, build, options or {}, steps=("export",))


KINDS = [
    kind("Keras 3: DCGAN, .keras", saved(dcgan, "generator.keras")),
    kind("Keras 3: DCGAN, .h5", saved(dcgan, "generator.h5")),
    kind(
        "Keras 3: label (n, 1), embedding multiplied",
        saved(conditional, "generator.keras", with_label_column),
    ),
]
