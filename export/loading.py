"""Loading a third-party generator of Keras or TensorFlow, whatever kind of file it is in."""

from __future__ import annotations

from pathlib import Path

from .keras_config import read_config
from .keras_files import load_keras_file
from .keras_formats import may_be_keras
from .other_files import other_kind
from .paths import LoadingOptions, checkpoint_prefix
from .saved_models import load_saved_model
from .tensorflow_function import TensorFlowFunction
from .weights import load_json, load_weights


def load_function(path: Path, options: LoadingOptions) -> TensorFlowFunction:
    """Return the generator in a file or folder as a function.

    Args:
        path: File of a Keras model, in the formats of .keras or .h5. Or the folder of a SavedModel. Or
            weights in HDF5 or in a checkpoint of TensorFlow, if `network` is given or a JSON file lies beside
            the weights. Or this JSON file.
        options: How it is loaded.

    Raises:
        GeneratorError: There is no generator that can be loaded at this path.
        UsageError: A file that an option names can't be used.
        MissingPackageError: The file is of Keras 2, and tf_keras is not installed.
    """
    folder = path.parent if path.name == "saved_model.pb" else path
    if (folder / "saved_model.pb").is_file():
        return load_saved_model(folder, options)
    if options.network is not None or checkpoint_prefix(path):
        return load_weights(path, options)
    if path.suffix.lower() == ".json":
        return load_json(path, options)
    if path.is_file() and not may_be_keras(path):
        raise other_kind(path)
    config = read_config(path)
    if config is None:
        return load_weights(path, options)
    return load_keras_file(path, config, options)
