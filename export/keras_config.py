"""The configuration in a Keras file: what the file says about its model, read without running its code."""

from __future__ import annotations

import builtins
import dataclasses
import json
import zipfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

from ganport.runtime.display import printable

from .causes import cause_of
from .errors import GeneratorError
from .keras_formats import format_of

# Packages whose classes a configuration may name. Keras 2 would import any other module that a file names.
_PACKAGES = ("keras", "tf_keras")

# Module and names of TensorFlow's initializers. Keras has initializers of the same names and settings.
_INITIALIZERS_OF_TENSORFLOW = "tensorflow.python.ops.init_ops_v2"
_INITIALIZERS = (
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
)

# Layers of Keras 2 that run the function or the operation of TensorFlow that the configuration names.
_OPERATIONS = ("TFOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty")

# Parts of TensorFlow with functions that read or write files, or that run Python code.
_OUTSIDE = {"io", "data", "train", "saved_model", "summary", "raw_ops", "py_function", "numpy_function"}

# Operations in graphs of TensorFlow that read or write files of any name, or that run Python code.
FILE_OPERATIONS = frozenset(
    {"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"}
)


@dataclasses.dataclass(frozen=True)
class KerasConfig:
    """The configuration in a Keras file.

    Attributes:
        version: Version of Keras that wrote the file, such as "2.15.0"; empty if the file holds none.
        model: Configuration of the model, as its JSON text holds it.
    """

    version: str
    model: Any


def read_config(path: Path) -> KerasConfig | None:
    """Return the configuration in a Keras file; None if the file holds weights only.

    Args:
        path: File in HDF5 or in the format of .keras, or a folder with the content of a .keras file.

    Raises:
        GeneratorError: The file is damaged, or it is not a Keras file.
    """
    try:
        kind = format_of(path)
        if path.is_dir():
            return _config((path / "metadata.json").read_bytes(), (path / "config.json").read_bytes())
        if kind == "zip":
            with zipfile.ZipFile(path) as archive:
                return _config(archive.read("metadata.json"), archive.read("config.json"))
        with h5py.File(path) as file:
            config = _config_in_hdf5(file)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise GeneratorError(
            path, f"it is not a Keras file, or it is damaged ({cause_of(error)})."
        ) from error
    if kind is None:
        raise GeneratorError(path, "it is a file in HDF5, but neither a model nor weights of Keras.")
    return config


def read_json_config(path: Path) -> KerasConfig:
    """Return the configuration in a JSON file that `model.to_json()` wrote.

    Raises:
        GeneratorError: The file is not such a JSON file.
    """
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GeneratorError(path, f"it is not a JSON file that can be read ({cause_of(error)}).") from error
    if not isinstance(model, dict) or "class_name" not in model:
        raise GeneratorError(
            path, "it is not a JSON file of a Keras architecture, as model.to_json() gives it."
        )
    # Keras 2 writes its version into the file. Keras 3 writes none, but the module of each class.
    return KerasConfig(str(model.get("keras_version", "3" if "module" in model else "")), model)


def _config(metadata: bytes, model: bytes) -> KerasConfig:
    return KerasConfig(str(json.loads(metadata)["keras_version"]), json.loads(model))


def _config_in_hdf5(file: Any) -> KerasConfig | None:
    if "model_config" not in file.attrs:
        return None
    version, model = (_text(file.attrs.get(name, "")) for name in ("keras_version", "model_config"))
    return KerasConfig(version, json.loads(model))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def version_of_weights(path: Path) -> str:
    """Return the main version of Keras that wrote the weights in a Keras file.

    Raises:
        GeneratorError: The file is damaged, or it is not a Keras file.
    """
    config = read_config(path)
    if config is not None:
        return config.version
    with h5py.File(path) as file:
        if "layer_names" in file.attrs:
            return _text(file.attrs.get("keras_version", ""))
        return "2" if "_layer_checkpoint_dependencies" in file else "3"


def check_code(source: object, config: KerasConfig, registered: Container[str]) -> None:
    """Raise GeneratorError if the configuration contains code, or names code that is not part of Keras.

    Args:
        source: Path of the file, for error messages.
        config: Configuration in the file.
        registered: Names of the classes and functions that the running program has made known to Keras.
    """
    for part in parts_of(config.model):
        if is_lambda(part):
            raise GeneratorError(
                source,
                "the file holds a Lambda layer, which is code by the author of the file; to run this code on "
                "your machine, use `trust=True`.",
            )
        if part.get("class_name") in _OPERATIONS:
            _check_operation(source, part)
        elif str(part.get("registered_name")) not in registered and not _is_initializer(part):
            _check_module(source, part)


def is_lambda(part: Mapping[str, Any]) -> bool:
    """Return whether a part of a configuration describes a Lambda layer, or the code of one."""
    return part.get("class_name") in ("Lambda", "__lambda__")


def initializers_of_tensorflow(config: KerasConfig) -> set[str]:
    """Return the names of the initializers of TensorFlow that a configuration uses in place of Keras' own."""
    return {part["class_name"] for part in parts_of(config.model) if _is_initializer(part)}


def _is_initializer(part: Mapping[str, Any]) -> bool:
    is_of_tensorflow = part.get("module") == _INITIALIZERS_OF_TENSORFLOW
    return is_of_tensorflow and part.get("class_name") in _INITIALIZERS


def _check_operation(source: object, part: Mapping[str, Any]) -> None:
    """Raise GeneratorError if a layer runs an operation of TensorFlow that reads or writes files."""
    config = part.get("config", {})
    called = str(config.get("function", config.get("cls_symbol", "")))
    found = set(called.split(".")) & _OUTSIDE or {name for name in FILE_OPERATIONS if name in str(config)}
    if found:
        raise GeneratorError(
            source,
            f"the file runs {called or min(found)} of TensorFlow, which can read or write files; if you "
            "trust its author, use `trust=True`.",
        )


def _check_module(source: object, part: Mapping[str, Any]) -> None:
    """Raise GeneratorError if a part of a configuration names a class or function outside of Keras."""
    module = part.get("module")
    if not isinstance(module, str) or "class_name" not in part:
        return
    name = str(part.get("config") if part["class_name"] == "function" else part["class_name"])
    # Keras looks up its own functions by the module "builtins", but Keras 2 finds those of Python too.
    is_outside = hasattr(builtins, name) if module == "builtins" else module.split(".")[0] not in _PACKAGES
    if is_outside:
        raise GeneratorError(source, missing_class(name))


def missing_class(name: str) -> str:
    """Return the problem of a model that uses a class or function that is not known, and its remedies."""
    shown = printable(name.split(">")[-1])
    return (
        f"the model uses {shown}, which is not part of Keras; give the Python file that defines it as "
        "`custom_objects`, together with `trust=True`. Or call model.export(folder) in the program that "
        "defines it, and export the SavedModel in that folder."
    )


def missing_name(error: NameError) -> str:
    """Return the problem of a model whose code uses a name that it does not define, and its remedy."""
    return (
        f"code in it uses a name that the file does not define ({cause_of(error)}); define it in a Python "
        "file, and give this file as `custom_objects`, together with `trust=True`."
    )


def parts_of(config: Any) -> Iterator[dict[str, Any]]:
    """Iterate over all JSON objects in a configuration, the outer ones before the inner ones."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
