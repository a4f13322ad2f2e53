"""Keras models of mixed and of double precision, computed in float32."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from .frameworks import framework_of

_OTHERS = ("float16", "bfloat16", "float64")  # precisions in which a layer may compute or store its weights
_POLICIES = (*_OTHERS, "mixed_float16", "mixed_bfloat16")


def with_float32(model: Any) -> Any:
    """Return the model itself if it computes in float32, otherwise a copy of it that does.

    The CPU provider of onnxruntime has no convolutions in float16, and Keras rounds to float16 after every
    operation, in another order than any other runtime. So images in float16 can't be compared. A model of mixed
    precision has its weights in float32, and its arithmetic in float16 approximates that in float32. A model in
    float64 loses digits in float32 that no pixel shows.

    Args:
        model: Model of Keras 3 or of tf_keras. A model of an own class is returned as it is, since Keras can copy
            only Sequential and functional models.
    """
    if not is_graph(model) or not any(_computes_otherwise(layer) for layer in all_layers(model)):
        return model
    copy = _copy(model)
    copy.set_weights(model.get_weights())
    return copy


def all_layers(model: Any) -> list[Any]:
    """Return all layers of a model, with those of the models and layers inside of it."""
    return list(model._flatten_layers())


def input_structure(model: Any) -> Any:
    """Return the tensors of the inputs as the model takes them: one tensor, or a list or dict of tensors."""
    return model.inputs[0] if _is_a(model, "Sequential") else model.input


def _is_a(model: Any, name: str) -> bool:
    return name in (cls.__name__ for cls in type(model).__mro__)


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a Sequential or functional model whose inputs are known."""
    is_model = _is_a(layer, "Sequential") or _is_a(layer, "Functional")
    return is_model and bool(getattr(layer, "inputs", None))


def _computes_otherwise(layer: Any) -> bool:
    return layer.compute_dtype in _OTHERS or layer.variable_dtype in _OTHERS


def _copy(model: Any) -> Any:
    framework = framework_of(model)
    inputs = [
        framework.Input(batch_shape=tuple(tensor.shape), dtype=_in_float32(tensor.dtype), name=tensor.name)
        for tensor in model.inputs
    ]
    tensors = tf.nest.pack_sequence_as(input_structure(model), inputs)
    return framework.models.clone_model(model, input_tensors=tensors, clone_function=_copy_layer)


def _copy_layer(layer: Any) -> Any:
    if is_graph(layer):
        return _copy(layer)
    return type(layer).from_config(_config_in_float32(layer.get_config()))


def _config_in_float32(config: Any) -> Any:
    """Return a layer's configuration with all types and policies of another precision replaced by float32."""
    if isinstance(config, dict):
        if config.get("class_name") in ("DTypePolicy", "Policy", "FloatDTypePolicy"):
            return "float32" if config.get("config", {}).get("name") in _POLICIES else config
        return {
            key: _in_float32(value) if key == "dtype" and isinstance(value, str) else _config_in_float32(value)
            for key, value in config.items()
        }
    return [_config_in_float32(value) for value in config] if isinstance(config, list) else config


def _in_float32(dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else dtype.name
    return "float32" if name in _POLICIES else name
