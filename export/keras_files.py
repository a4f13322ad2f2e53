"""Files of whole Keras models: .keras, .h5 and .hdf5, of Keras 3 and of Keras 2."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from ganport.runtime.errors import UsageError

from .causes import cause_of
from .errors import GeneratorError
from .frameworks import framework_for, importable_as_keras
from .keras_config import (
    KerasConfig,
    check_code,
    initializers_of_tensorflow,
    missing_class,
    missing_name,
    parts_of,
)
from .keras_formats import format_of, with_expected_ending
from .keras_models import function_of_model
from .lambdas import check_python_version, lambdas_with_names
from .paths import LoadingOptions
from .tensorflow_function import TensorFlowFunction
from .user_code import CustomObjects, load_custom_objects

# Texts in which both versions of Keras name a class or a function that they don't know.
_UNKNOWN = (
    r"'class_name': 'function', 'config': '([^']+)'",
    r"Could not locate (?:class|function) '([^']+)'",
    r"Unknown (?:layer|activation function|initializer|object|[a-z ]+ function): '?([\w>.]+)'?",
    r"Cannot deserialize object of type `([^`]+)`",
    r"Could not interpret \w+ identifier: (\w+)",
)


def load_keras_file(path: Path, config: KerasConfig, options: LoadingOptions) -> TensorFlowFunction:
    """Return the generator in a Keras file as a function.

    Args:
        path: File in HDF5 or in the zip format of .keras, or a folder with the content of a .keras file.
        config: Configuration in the file.
        options: How the file is loaded.

    Raises:
        GeneratorError: Keras can't load the file, the file contains code and `trust` is false, or the model
            in it is not a generator.
        UsageError: `custom_objects` can't be used.
        MissingPackageError: The file is of Keras 2, and tf_keras is not installed.
    """
    framework = framework_for(config.version)
    with loading(path, framework, config, options) as custom:
        model = _load(path, framework, config, custom, options.trust)
        return function_of_model(model, path, layer=options.layer)


@contextlib.contextmanager
def loading(
    path: Path, framework: Any, config: KerasConfig, options: LoadingOptions
) -> Iterator[Mapping[str, Any]]:
    """Give the custom objects of a model, for a `with` block that loads it and turns it into a function.

    The configuration is checked before. In the block, errors of Keras are raised as GeneratorError.

    Args:
        path: The file, for error messages.
        framework: The module keras or tf_keras.
        config: Configuration of the model.
        options: How the file is loaded.

    Raises:
        GeneratorError: Keras can't load the model, or the configuration contains code and `trust` is false.
        UsageError: `custom_objects` can't be used.
    """
    custom = CustomObjects()
    if options.custom_objects is not None:
        if not options.trust:
            raise UsageError(
                "`custom_objects` is a Python file, which can do whatever a program can do; to run it, use "
                "`trust=True` too."
            )
        custom = load_custom_objects(options.custom_objects, framework, config)
    if options.trust:
        check_python_version(path, config)
    else:
        check_code(path, config, framework.utils.get_custom_objects())
    # Keras 2 has this layer, but does not find it by its name.
    layer = "SpectralNormalization"
    initializers = {
        name: getattr(framework.initializers, name) for name in initializers_of_tensorflow(config)
    }
    objects = {layer: getattr(framework.layers, layer), **initializers, **custom.objects}
    with (
        framework.utils.custom_object_scope(objects),
        lambdas_with_names(framework, custom.names),
        importable_as_keras(framework),
    ):
        try:
            yield objects
        except (GeneratorError, UsageError):
            raise
        except Exception as error:  # code of the file or of the user's layers runs, which may raise anything
            raise GeneratorError(path, _problem(error)) from error


def _load(path: Path, framework: Any, config: KerasConfig, custom: Mapping[str, Any], trust: bool) -> Any:
    kind = format_of(path) or "hdf5"
    if framework is keras:
        known = {"Conv2DTranspose": _ConvTranspose} if kind == "hdf5" else {}
        with with_expected_ending(path, kind) as named:
            return keras.models.load_model(named, {**known, **custom}, compile=False, safe_mode=not trust)
    if kind == "zip":
        with with_expected_ending(path, kind) as named:
            return framework.models.load_model(named, custom, compile=False, safe_mode=not trust)
    # Keras 2 has no safe mode for HDF5. `check_code` rejects code in these files.
    with with_expected_ending(path, kind) as named, _with_names_of_functions(named, config) as readable:
        return framework.models.load_model(readable, custom, compile=False)


@contextlib.contextmanager
def _with_names_of_functions(path: Path, config: KerasConfig) -> Iterator[Path]:
    """Give a path of the same file in which own functions, such as activations, have their names only.

    Keras 2.13 to 2.15 describe these functions by JSON objects, which they can't read from HDF5 themselves.
    """
    if not any(_is_function(part) for part in parts_of(config.model)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copyfile(path, Path(folder) / "copy.h5")
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(_named(config.model))
        yield copy


def _is_function(part: Mapping[str, Any]) -> bool:
    return part.get("class_name") == "function" and isinstance(part.get("config"), str)


def _named(config: Any) -> Any:
    """Return a configuration in which each JSON object of a function is replaced by the function's name."""
    if isinstance(config, list):
        return [_named(each) for each in config]
    if not isinstance(config, dict):
        return config
    return config["config"] if _is_function(config) else {key: _named(value) for key, value in config.items()}


class _ConvTranspose(keras.layers.Conv2DTranspose):  # type: ignore[misc]  # Keras has no types
    """Conv2DTranspose with the setting `groups`, which Keras 2 wrote into files and which was always 1."""

    def __init__(self, *args: Any, groups: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def _problem(error: BaseException) -> str:
    name = _unknown_name(error)
    if name is not None:
        return missing_class(name)
    if isinstance(error, NameError):
        return missing_name(error)
    return f"Keras can't load the file ({cause_of(error)})."


def _unknown_name(error: BaseException | None) -> str | None:
    """Return the name of the class or function that Keras did not find; None if no error contains a name.

    Args:
        error: Error of Keras. The name may be in this error or in an earlier one that led to it.
    """
    while error is not None:
        for pattern in _UNKNOWN:
            found = re.search(pattern, str(error))
            if found:
                return found[1]
        error = error.__context__
    return None
