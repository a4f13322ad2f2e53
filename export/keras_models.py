"""Keras models of both versions as functions of TensorFlow, and the generators inside of larger models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from .causes import cause_of
from .errors import GeneratorError
from .frameworks import framework_of
from .keras_config import missing_name
from .tensor_shapes import Shape, may_be_images, may_be_latents, shapes_text
from .tensorflow_function import TensorFlowFunction, trace


def function_of_model(model: Any, source: object = None, *, layer: str | None = None) -> TensorFlowFunction:
    """Return a Keras model as a function, in inference mode and in float32.

    Args:
        model: Model of Keras 3, or of tf_keras.
        source: Path or name of the model, for error messages; None for the model's own name.
        layer: Name of a model inside of this one, to take in its place.

    Raises:
        GeneratorError: The model was never built, or TensorFlow can't trace it. It contains no model of the
            name `layer`. Or it returns no images, but a model inside of it does.
    """
    shown = f"the Keras model {model.name!r}" if source is None else source
    if layer is not None:
        return function_of_model(_inner_model(shown, model, layer), shown)
    specs = _input_specs(model)
    if not specs:
        _check_inner_generators(shown, model)
        raise GeneratorError(
            shown, "the model was never built, so it has no inputs; call the model once, then save it."
        )
    compute = _computation(model)
    try:
        outputs = _structure_of_outputs(compute, specs)
    except NameError as error:
        raise GeneratorError(shown, missing_name(error)) from error
    except Exception as error:  # layers of the user may raise anything
        raise GeneratorError(shown, f"TensorFlow can't run the model ({cause_of(error)}).") from error
    if not any(map(may_be_images, _shapes(tf.nest.flatten(outputs)))):
        _check_inner_generators(shown, model)
    names = _output_names(model, outputs)
    return trace(shown, specs, names, lambda *tensors: tf.nest.flatten(compute(*tensors)), owner=model)


def _is_graph(model: Any) -> bool:
    """Return whether a model is a Sequential or functional model whose inputs are known."""
    names = {cls.__name__ for cls in type(model).__mro__}
    return bool(names & {"Sequential", "Functional"}) and bool(getattr(model, "inputs", None))


def _computation(model: Any) -> Callable[..., Any]:
    """Return a function of one tensor for each input of a model that returns what the model returns."""

    def compute(*tensors: tf.Tensor) -> Any:
        if len(tensors) == 1:
            return model(tensors[0], training=False)
        if _is_graph(model):
            return model(tf.nest.pack_sequence_as(model.input, tensors), training=False)
        return model(list(tensors), training=False)

    return compute


def _structure_of_outputs(compute: Callable[..., Any], specs: list[tf.TensorSpec]) -> Any:
    """Return shapes and types of what a function returns, in the same structure."""
    return tf.function(compute, autograph=False).get_concrete_function(*specs).structured_outputs


def _input_specs(model: Any) -> list[tf.TensorSpec]:
    """Return shapes, types and names of a model's inputs; an empty list if the model was never built."""
    if _is_graph(model):
        return [tf.TensorSpec(tensor.shape, tensor.dtype, name=_name(tensor)) for tensor in model.inputs]
    # A model of an own class knows the shapes that it was called with. The number of images in this call does
    # not bind other calls.
    config = model.get_build_config() if model.built else None
    return [
        tf.TensorSpec((None, *shape[1:]), tf.float32, name="input")
        for shape in _shapes_in(config["input_shape"] if config else None)
    ]


def _name(tensor: Any) -> str:
    """Return the name of a tensor, or "input" if it has none. Keras 3 numbers tensors that have no name."""
    return "input" if tensor.name.startswith("keras_tensor") else tensor.name


def _shapes_in(nested: Any) -> Iterator[tuple[int | None, ...]]:
    """Iterate over the shapes in a structure of lists and dicts."""
    if isinstance(nested, Mapping):
        nested = [nested[key] for key in sorted(nested)]
    if not nested:
        return
    if all(size is None or isinstance(size, int) for size in nested):
        yield tuple(nested)
    else:
        for each in nested:
            yield from _shapes_in(each)


def _output_names(model: Any, outputs: Any) -> list[str]:
    """Return a name for each output of a model.

    Args:
        model: The model.
        outputs: What the model returns: a tensor, or a list or dict of tensors.
    """
    count = len(tf.nest.flatten(outputs))
    if isinstance(outputs, Mapping) and count == len(outputs):
        return [str(key) for key in sorted(outputs)]
    known = getattr(model, "output_names", None) or ()
    return list(known) if len(known) == count else ["output"] * count


def _inner_model(shown: object, model: Any, layer: str) -> Any:
    """Return the model inside of a model that has a name, or the part of a model that ends with a layer."""
    inside = dict(_inner_models(model)) | dict(_parts(model))
    if layer not in inside:
        raise GeneratorError(
            shown,
            f"it contains no model `layer={layer!r}`; the models in it are: {_listed(inside) or 'none'}.",
        )
    return inside[layer]


def _check_inner_generators(shown: object, model: Any) -> None:
    """Raise GeneratorError if models inside of a model, or parts of it, take latents and return images."""
    generators: dict[str, Any] = {}
    for parts in (_inner_models(model), _parts(model)):
        generators = generators or {name: each for name, each in parts if _is_generator(each)}
    if generators:
        raise GeneratorError(
            shown,
            f"the whole model returns no images, but a model inside of it does: {_listed(generators)}; use "
            f"`layer={likely_generator(generators)!r}`.",
        )


def likely_generator(names: Iterable[str]) -> str:
    """Return the name that most likely stands for a generator; the last one if no name tells.

    >>> likely_generator(["encoder", "generator", "critic"])
    'generator'
    """
    return max(reversed(list(names)), key=lambda name: "gen" in name.lower())


def _parts(model: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the layers of a model that may return images, each with the part of the model up to it.

    If a program builds `Model(generator.input, discriminator(generator.output))`, the layers of the generator
    are layers of this model.
    """
    framework = framework_of(model)
    for layer in model.layers if _is_graph(model) else ():
        if isinstance(layer, (framework.Model, framework.layers.InputLayer)):
            continue
        output = getattr(layer, "output", None)  # a layer that is called several times has none
        shape = getattr(output, "shape", ())
        if len(shape) == 4 and may_be_images(tuple(shape)):
            yield layer.name, framework.Model(model.inputs, output)


def _inner_models(model: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the models inside of a model, with their names.

    A model that an own class has as an attribute also has the name of this attribute. If two models have the
    same name, the outer one comes last, so that a dict holds this one.
    """
    framework = framework_of(model)
    attributes = {
        id(value): name for name, value in vars(model).items() if isinstance(value, framework.Model)
    }
    for each in model.layers:
        if isinstance(each, framework.Model):
            yield from _inner_models(each)
            yield each.name, each
            yield attributes.get(id(each), each.name), each


def _is_generator(model: Any) -> bool:
    inputs, outputs = _shapes(_input_specs(model)), _output_shapes(model)
    return any(map(may_be_latents, inputs)) and any(map(may_be_images, outputs))


def _output_shapes(model: Any) -> list[Shape]:
    """Return the shapes of a model's outputs; an empty list if the model can't run."""
    if _is_graph(model):
        return _shapes(model.outputs)
    specs = _input_specs(model)
    try:
        return _shapes(tf.nest.flatten(_structure_of_outputs(_computation(model), specs))) if specs else []
    except Exception:  # layers of the user may raise anything
        return []


def _shapes(tensors: Any) -> list[Shape]:
    shapes = [tf.TensorShape(tensor.shape) for tensor in tensors]
    return [None if shape.rank is None else tuple(shape.as_list()) for shape in shapes]


def _listed(models: Mapping[str, Any]) -> str:
    """Return a text with the names of models, and the shapes of their inputs and outputs."""
    return ", ".join(
        f"{name} {shapes_text(_shapes(_input_specs(each)), _output_shapes(each))}"
        for name, each in models.items()
    )
