"""SavedModels of TensorFlow, whoever wrote them: Keras of any version, tf.saved_model.save, or TF-Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from ganport.runtime.protobuf import WireError, fields, message_of, text_of

from .causes import cause_of
from .errors import GeneratorError
from .keras_config import FILE_OPERATIONS
from .keras_models import likely_generator
from .paths import LoadingOptions
from .tensor_shapes import Shape, may_be_images, may_be_latents, shapes_text
from .tensorflow_function import FUNCTION_ERRORS, TensorFlowFunction, trace

_FILE = "saved_model.pb"
_METADATA = "keras_metadata.pb"
_DEFAULTS = ("serving_default", "default")  # names of TensorFlow's and of TF-Hub's default signatures


def load_saved_model(path: Path, options: LoadingOptions) -> TensorFlowFunction:
    """Return a signature or a function of a SavedModel.

    Args:
        path: Folder of the SavedModel.
        options: How it is loaded. `signature` is the name of a signature or of a function; None for
            "serving_default", "default" or the only one. `layer` is the name of an object in the SavedModel,
            such as the generator of a whole GAN, whose call is taken.

    Raises:
        GeneratorError: TensorFlow can't load the SavedModel, or it is not clear which of its functions
            generates images. Or its graph reads or writes files, and `trust` is false.
    """
    tags = _check_graphs(path, options.trust)
    try:
        loaded = tf.saved_model.load(path, tags=tags)
    except (*FUNCTION_ERRORS, OSError, ImportError) as error:
        raise GeneratorError(path, f"TensorFlow can't load the SavedModel ({cause_of(error)}).") from error
    return _as_function(path, loaded, _choose(path, loaded, options))


def _check_graphs(path: Path, trust: bool) -> list[str] | None:
    """Return the tags of the graph to load; None for the only graph.

    SavedModels of TensorFlow 1 have a second graph for training, with the tag "train".

    Raises:
        GeneratorError: The file is damaged. Or a graph reads or writes files, or runs code, and `trust` is
            false.
    """
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / _FILE).read_bytes())
    except (OSError, DecodeError) as error:
        raise GeneratorError(path, f"{_FILE} in it is damaged ({cause_of(error)}).") from error
    outside = FILE_OPERATIONS & {node.op for graph in saved.meta_graphs for node in _nodes(graph.graph_def)}
    if outside and not trust:
        raise GeneratorError(
            path,
            f"its graph contains the operation {min(outside)}, which can use the files of your machine or "
            "run code; if you trust the author of the SavedModel, use `trust=True`.",
        )
    tags = [list(graph.meta_info_def.tags) for graph in saved.meta_graphs]
    return min(tags, key=lambda names: ("serve" not in names, "train" in names)) if len(tags) > 1 else None


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _choose(path: Path, loaded: Any, options: LoadingOptions) -> Any:
    """Return the concrete function that the options name, or the default one."""
    models = _models(path, loaded)
    if options.layer is not None:
        if options.layer not in models:
            raise GeneratorError(path, _no_model(options.layer, models))
        return models[options.layer]
    signatures = {
        name: function
        for name, function in loaded.signatures.items()
        if not name.startswith("__saved_model")  # TensorFlow 1 stores its initialisation as a signature
    }
    known = _functions(loaded) | signatures
    if options.signature is not None:
        if options.signature not in known:
            raise GeneratorError(
                path,
                f"the SavedModel has no signature or function `signature={options.signature!r}`; it has "
                f"{_listed(known)}.",
            )
        return known[options.signature]
    chosen = _default(signatures or known)
    generators = {name: each for name, each in models.items() if _is_generator(each)}
    if generators and (chosen is None or not any(map(may_be_images, _output_shapes(chosen)))):
        raise GeneratorError(
            path,
            f"the whole model returns no images, but a model inside of it does: {_listed(generators)}; use "
            f"`layer={likely_generator(generators)!r}`.",
        )
    if chosen is None:
        raise GeneratorError(path, _no_default(signatures or known))
    return chosen


def _default(functions: Mapping[str, Any]) -> Any:
    """Return the function with a default name, or the only function; None if there is neither."""
    for name in _DEFAULTS:
        if name in functions:
            return functions[name]
    return next(iter(functions.values())) if len(functions) == 1 else None


def _no_default(functions: Mapping[str, Any]) -> str:
    if not functions:
        return (
            "the SavedModel has neither a signature nor a function; save it with tf.saved_model.save(model, "
            "folder, signatures=...), or with model.export(folder)."
        )
    return (
        f"the SavedModel has no default signature; choose one of {_listed(functions)} with "
        f"`signature={next(iter(functions))!r}`."
    )


def _no_model(layer: str, models: Mapping[str, Any]) -> str:
    if models:
        return f"the SavedModel contains no model `layer={layer!r}`; the models in it are: {_listed(models)}."
    return (
        f"the SavedModel contains no models that can run alone, so `layer={layer!r}` does not apply; call "
        "export(folder) of the generator itself in the program that saved it."
    )


def _models(path: Path, loaded: Any) -> dict[str, Any]:
    """Return the objects inside of a SavedModel that can be called, by their names, as concrete functions."""
    layer_names = _layer_names(path / _METADATA)
    found: dict[str, Any] = {}
    objects = set()
    for attribute, value in getattr(loaded, "__dict__", {}).items():
        functions = {} if attribute.startswith("_") or attribute == "keras_api" else _functions(value)
        if "__call__" in functions and id(value) not in objects:  # an object may be in several attributes
            objects.add(id(value))
            found[layer_names.get(attribute, attribute)] = functions["__call__"]
    return found


def _layer_names(file: Path) -> dict[str, str]:
    """Return the names of layers, by the attributes of a SavedModel that contain them.

    In functional models of Keras 2, the attributes are "layer-0", "layer-1" and so on. In models of own
    classes, they have the names that the class gives them, and these are kept.

    Args:
        file: File that Keras 2 adds to its SavedModels, a message of type SavedMetadata. In its nodes, field
            3 is a path such as "root.layer-0", and field 5 is a JSON text.
    """
    names = {}
    try:
        for _, value in fields(memoryview(file.read_bytes())):
            node = dict(fields(message_of(value)))
            _, _, attribute = text_of(node[3]).rpartition("root.")
            if attribute.startswith(("layer-", "layer_with_weights-")) and "." not in attribute:
                names[attribute] = str(json.loads(text_of(node[5]))["name"])
    except (OSError, WireError, IndexError, KeyError, ValueError, RecursionError):
        return names  # the attributes have names without this file too
    return names


def _functions(loaded: Any) -> dict[str, Any]:
    """Return the functions of a restored object as concrete functions, by the names of its attributes."""
    found = {}
    for name, value in getattr(loaded, "__dict__", {}).items():
        concrete = getattr(value, "concrete_functions", None)
        if concrete and (name == "__call__" or not name.startswith("_")):
            found[name] = min(concrete, key=_preference)
    return found


def _preference(function: Any) -> tuple[bool, bool, int]:
    """Return a key that is smallest for the trace of a function to take.

    Traces for inference come before those for training. Then come traces with a free batch, and those of the
    fewest inputs.
    """
    leaves = tf.nest.flatten(function.structured_input_signature)
    specs = [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec)]
    is_fixed = any(spec.shape.rank and spec.shape[0] is not None for spec in specs)
    return any(leaf is True for leaf in leaves), is_fixed, len(specs)


def _as_function(path: Path, loaded: Any, function: Any) -> TensorFlowFunction:
    """Return a concrete function of a loaded SavedModel as a function with positional inputs."""
    signature = function.structured_input_signature
    leaves = tf.nest.flatten(signature)

    def compute(*tensors: tf.Tensor) -> list[tf.Tensor]:
        remaining = iter(tensors)
        filled = [next(remaining) if isinstance(leaf, tf.TensorSpec) else leaf for leaf in leaves]
        arguments, keywords = tf.nest.pack_sequence_as(signature, filled)
        return tf.nest.flatten(function(*arguments, **keywords))

    outputs = _output_names(function.structured_outputs)
    return trace(path, _named_specs(function), outputs, compute, owner=loaded)


def _named_specs(function: Any) -> list[tf.TensorSpec]:
    """Return shapes, types and names of the inputs of a concrete function."""
    arguments, keywords = function.structured_input_signature
    positional = [leaf for leaf in tf.nest.flatten(arguments) if isinstance(leaf, tf.TensorSpec)]
    named = [
        tf.TensorSpec(spec.shape, spec.dtype, name=key)
        for key, value in sorted(keywords.items())
        for spec in tf.nest.flatten(value)
        if isinstance(spec, tf.TensorSpec)
    ]
    return [tf.TensorSpec(spec.shape, spec.dtype, name=spec.name or "input") for spec in positional] + named


def _output_names(outputs: Any) -> list[str]:
    if isinstance(outputs, Mapping):
        return [str(key) for key in sorted(outputs)]
    return ["output"] * len(tf.nest.flatten(outputs))


def _listed(functions: Mapping[str, Any]) -> str:
    """Return a text with the names of concrete functions, and the shapes of their inputs and outputs."""
    texts = (
        f"{name} {shapes_text(map(_shape, _named_specs(each)), _output_shapes(each))}"
        for name, each in functions.items()
    )
    return ", ".join(texts) or "none"


def _is_generator(function: Any) -> bool:
    takes_latents = any(may_be_latents(_shape(spec)) for spec in _named_specs(function))
    return takes_latents and any(map(may_be_images, _output_shapes(function)))


def _output_shapes(function: Any) -> list[Shape]:
    return [_shape(spec) for spec in tf.nest.flatten(function.structured_outputs)]


def _shape(spec: Any) -> Shape:
    return None if spec.shape.rank is None else tuple(spec.shape.as_list())
