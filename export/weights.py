"""Weights without a network: loaded into a network from a JSON file, or from a Python file of the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py

from .causes import cause_of
from .checkpoints import read_checkpoint
from .errors import GeneratorError
from .frameworks import framework_for, framework_of
from .keras_config import KerasConfig, read_json_config, version_of_weights
from .keras_files import loading
from .keras_formats import format_of, with_expected_ending
from .keras_models import function_of_model
from .paths import LoadingOptions, checkpoint_prefix
from .tensorflow_function import TensorFlowFunction
from .user_code import BUILDER, build_network

_JSON = ".json"
_ENDINGS = (".weights.h5", "_weights.h5", "_weights.hdf5", ".h5", ".hdf5")  # of weights beside a JSON file

_ONLY_WEIGHTS = (
    "it holds only weights, and not the network that they belong to. Write a Python file that builds the "
    "network, and give it as `network`:\n\n"
    f"    def {BUILDER}():\n"
    "        from my_program import make_generator  # the function that built the network for the training\n"
    "        return make_generator()"
)


def load_weights(path: Path, options: LoadingOptions) -> TensorFlowFunction:
    """Return a network with weights from a file, as a function.

    Args:
        path: File of weights in HDF5, or checkpoint of TensorFlow.
        options: How it is loaded. `network` is the file of the network; None for a JSON file that lies beside
            the weights and has the same stem.

    Raises:
        GeneratorError: The weights can't be read, there is no network, or they don't fit it.
        UsageError: The file of the network can't be used.
    """
    # The weights are read first, so that damaged weights don't lead to the advice to write a network.
    if checkpoint_prefix(path):
        checkpoint = read_checkpoint(path)
        version, restore, layer = (
            checkpoint.keras_version,
            _restoring(checkpoint.restore, options.layer),
            None,
        )
    else:
        version, restore, layer = version_of_weights(path), _reading(path), options.layer
    network = options.network or _json_beside(path)
    if network is None:
        raise GeneratorError(path, _ONLY_WEIGHTS)
    if network.suffix.lower() == _JSON:
        return _with_json(network, path, restore, dataclasses.replace(options, layer=layer))
    return _filled(build_network(network, framework_for(version)), network, path, restore, layer)


def load_json(path: Path, options: LoadingOptions) -> TensorFlowFunction:
    """Return the network of a JSON file with the weights that lie beside it, as a function.

    Raises:
        GeneratorError: The JSON file or the weights can't be read, or there are no weights beside it.
        UsageError: The file of custom objects can't be used.
    """
    read_json_config(path)
    names = [f"{path.stem}{ending}" for ending in _ENDINGS]
    found = next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)
    if found is None:
        raise GeneratorError(
            path,
            f"it holds a network without weights, and there are no weights beside it; expected is {names[0]} "
            f"or {names[1]}. Give the file of the weights instead, and this file as `network`.",
        )
    return _with_json(path, found, _reading(found), options)


def _json_beside(path: Path) -> Path | None:
    """Return the JSON file that has the same stem as a file of weights; None if there is none."""
    stems = [path.name.removesuffix(ending) for ending in _ENDINGS if path.name.endswith(ending)]
    files = (path.with_name(f"{stem}{_JSON}") for stem in stems)
    return next((file for file in files if file.is_file()), None)


Restore = Callable[[Any], None]


def _with_json(network: Path, path: Path, restore: Restore, options: LoadingOptions) -> TensorFlowFunction:
    config = read_json_config(network)
    framework = framework_for(config.version)
    with loading(network, framework, config, options) as custom:
        model = _build(framework, config, custom, options.trust)
        return _filled(model, network, path, restore, options.layer)


def _build(framework: Any, config: KerasConfig, custom: Mapping[str, Any], trust: bool) -> Any:
    """Return the model that a configuration describes, in fresh weights."""
    described = config.model
    if "module" not in described:  # Keras 1 and 2 write no module, and "Functional" for the class Model
        name = "Model" if described["class_name"] == "Functional" else described["class_name"]
        described = described | {"module": "keras", "class_name": name, "registered_name": None}
    return framework.saving.deserialize_keras_object(
        described, custom_objects=dict(custom), safe_mode=not trust
    )


def _filled(model: Any, network: Path, path: Path, restore: Restore, layer: str | None) -> TensorFlowFunction:
    """Return a model with its weights as a function."""
    if not isinstance(model, framework_of(model).Model):
        raise GeneratorError(
            network, f"its function {BUILDER}() returns {type(model).__name__}, and not a Keras model."
        )
    if not model.built:
        raise GeneratorError(
            network,
            "its network is not built, so its weights have no shapes yet; give its first layer the shape of "
            "the latents, or call the model once before you return it.",
        )
    restore(model)
    return function_of_model(model, path, layer=layer)


def _restoring(restore: Callable[[Any, str | None], None], name: str | None) -> Restore:
    return lambda model: restore(model, name)


def _reading(path: Path) -> Restore:
    """Return a function that reads the weights of a model from a Keras file."""

    def read(model: Any) -> None:
        kind = format_of(path) or "hdf5"
        if kind == "weights":
            _check_count(path, model)
        try:
            with with_expected_ending(path, kind) as named:
                model.load_weights(named)
        except Exception as error:  # own layers may load their weights themselves
            raise GeneratorError(path, f"its weights don't fit the network ({cause_of(error)}).") from error

    return read


def _check_count(path: Path, model: Any) -> None:
    """Raise GeneratorError if a file in the format "weights" has more weights than a model.

    Keras would leave them out. In the format "hdf5", Keras compares the layers itself.
    """
    with h5py.File(path) as file:
        found: list[str] = []
        file.visititems(lambda name, value: found.append(name) if isinstance(value, h5py.Dataset) else None)
    stored = [name for name in found if not name.startswith("optimizer")]
    if len(stored) > len(model.variables):
        raise GeneratorError(
            path,
            f"its weights don't fit the network: it holds {len(stored)} arrays, and the network has "
            f"{len(model.variables)}.",
        )
