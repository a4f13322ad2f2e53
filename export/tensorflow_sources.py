"""Third-party generators of Keras and TensorFlow, which are described by the graphs that they convert to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ganport.runtime.adapter import Arrays
from ganport.runtime.description import Description

from .described import DescribedGenerator, describe_graph
from .keras_models import function_of_model
from .loading import load_function
from .paths import LoadingOptions, with_name

if TYPE_CHECKING:
    import keras

    from .tensorflow_function import TensorFlowFunction


def load_file(
    path: Path, description: Description, loading: LoadingOptions, opset: int
) -> DescribedGenerator:
    """Return the generator in a Keras file, a SavedModel, or in weights with a network.

    Raises:
        GeneratorError: The file can't be loaded, it holds no generator, or a fact about it is not known.
    """
    original = "TensorFlow" if (path / "saved_model.pb").exists() else "Keras"
    function = load_function(path, loading)
    return _describe(path, with_name(path), function, description, opset, original)


def load_model(
    model: keras.Model, description: Description, loading: LoadingOptions, opset: int
) -> DescribedGenerator:
    """Return a Keras model in memory as a generator.

    Raises:
        GeneratorError: The model is not a generator, or a fact about it is not known.
    """
    shown = f"the Keras model {model.name!r}"
    function = function_of_model(model, layer=loading.layer)
    return _describe(shown, Path(model.name), function, description, opset, "Keras")


def _describe(
    shown: object,
    path: Path,
    function: TensorFlowFunction,
    description: Description,
    opset: int,
    original: str,
) -> DescribedGenerator:
    described = describe_graph(shown, path, function.to_onnx(opset), description)
    output = described.adapter.output

    def run(feeds: Arrays) -> npt.NDArray[Any]:
        return function.run(feeds)[output]

    return DescribedGenerator(
        shown, function.to_onnx, run, described, original=original, clip=description.clip
    )
