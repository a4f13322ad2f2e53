"""A function of TensorFlow with any inputs and outputs, as which every third-party generator is loaded."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf

from .causes import cause_of
from .conversion import convert_function
from .errors import GeneratorError
from .frozen_graphs import make_convertible

_BATCH = "batch"

# Errors that TensorFlow, Keras or a user's layers raise when a function is traced or run. A layer may raise
# errors of other types too, but these are the types that TensorFlow's and Keras' own code raises.
FUNCTION_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    NameError,
    NotImplementedError,
    RuntimeError,
    AssertionError,
    tf.errors.OpError,
)


@dataclasses.dataclass(frozen=True)
class TensorFlowFunction:
    """A function of TensorFlow from latents and other inputs to images, in inference mode.

    Floating-point inputs and outputs are float32, also if the model was made for another precision.

    Attributes:
        source: Path or name of the model, for error messages.
        inputs: Shapes, types and names of the inputs. The shapes have None for a free batch. The names
            consist of letters, digits and underscores, and are unique among all inputs and outputs.
        outputs: Names of the outputs.
        call: Concrete function of TensorFlow, of one tensor for each entry of `inputs`, that returns a list
            of one tensor for each entry of `outputs`.
        owner: Object that has the variables. TensorFlow deletes the variables together with this object.
    """

    source: object
    inputs: tuple[tf.TensorSpec, ...]
    outputs: tuple[str, ...]
    call: Any
    owner: object = dataclasses.field(repr=False)

    def to_onnx(self, opset: int) -> onnx.ModelProto:
        """Return the function as an ONNX graph whose inputs and outputs have the names of this function.

        A free batch has the name "batch". BatchNormalization and Dropout are in inference mode.

        Args:
            opset: Version of the ONNX standard operators.

        Raises:
            GeneratorError: tf2onnx can't convert the function, or an operation of it.
        """
        try:
            model = convert_function(self._named, self.inputs, opset)
        except FUNCTION_ERRORS as error:
            raise GeneratorError(
                self.source, f"it can't be converted to ONNX ({cause_of(error)})."
            ) from error
        graph = model.graph
        _check_operations(self.source, graph)
        graph.name = "generator"
        by_name = {value.name: value for value in graph.output}
        ordered = [by_name[name] for name in self.outputs]
        del graph.output[:]
        graph.output.extend(ordered)
        for value, spec in zip(graph.input, self.inputs, strict=True):
            _declare_shape(value, spec.shape)
        for value, tensor in zip(graph.output, self.call.outputs, strict=True):
            _declare_shape(value, tensor.shape)
        return model

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs by their names.

        TensorFlow runs on the CPU here. On a GPU, it would multiply in TF32, which rounds the fraction of
        each factor to 10 bits.

        Args:
            feeds: Values of the inputs by their names.

        Raises:
            GeneratorError: TensorFlow can't run the function with these values.
        """
        try:
            with tf.device("cpu:0"):
                tensors = [tf.convert_to_tensor(feeds[str(spec.name)], spec.dtype) for spec in self.inputs]
                results = self._compute(tensors)
        except FUNCTION_ERRORS as error:
            raise GeneratorError(self.source, f"TensorFlow can't run it ({cause_of(error)}).") from error
        return {name: np.asarray(result) for name, result in zip(self.outputs, results, strict=True)}

    def _compute(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        try:
            return self.call(*tensors)
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
            # Without oneDNN, TensorFlow's CPU kernels have no convolutions with channels first, and none with
            # groups and a bias. XLA has them.
            if not _has_convolutions(self.call.graph.as_graph_def()):
                raise
            return tf.function(self.call, jit_compile=True)(*tensors)

    def _named(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(self.outputs, self.call(*tensors), strict=True))


def trace(
    source: object,
    inputs: Sequence[tf.TensorSpec],
    outputs: Sequence[str],
    compute: Callable[..., Sequence[tf.Tensor]],
    owner: object,
) -> TensorFlowFunction:
    """Return a function of Python as a function of TensorFlow, with clean names and in float32.

    Args:
        source: Path or name of the model, for error messages.
        inputs: Shapes, types and names of the inputs. The names may be any.
        outputs: Names of the outputs, which may be any.
        compute: Function of one tensor for each input that returns one tensor for each output.
        owner: Object that has the variables.

    Raises:
        GeneratorError: TensorFlow can't trace the function, or an input takes texts.
    """
    for spec in inputs:
        if spec.dtype == tf.string:
            raise GeneratorError(
                source,
                f"its input {spec.name!r} takes texts, a type that is not supported; export a model that "
                "takes the index of the label.",
            )
    try:
        traced = tf.function(lambda *tensors: list(compute(*tensors)), autograph=False)
        function = make_convertible(traced.get_concrete_function(*inputs))
    except FUNCTION_ERRORS as error:
        raise GeneratorError(source, f"TensorFlow can't run the model ({cause_of(error)}).") from error
    names = unique_names([*(str(spec.name) for spec in inputs), *outputs])
    cleaned = tuple(
        tf.TensorSpec(spec.shape, tf.float32 if spec.dtype.is_floating else spec.dtype, name=name)
        for spec, name in zip(inputs, names, strict=False)
    )
    return TensorFlowFunction(source, cleaned, tuple(names[len(inputs) :]), function, owner)


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names of letters, digits and underscores that differ from each other.

    >>> unique_names(["z", "args_0:0", "z", "1"])
    ['z', 'args_0_0', 'z_1', '_1']
    """
    taken: list[str] = []
    for name in names:
        cleaned = re.sub(r"\W", "_", name, flags=re.ASCII) or "value"
        base = f"_{cleaned}" if cleaned[0].isdigit() else cleaned
        candidates = (base if number == 0 else f"{base}_{number}" for number in range(len(taken) + 1))
        taken.append(next(candidate for candidate in candidates if candidate not in taken))
    return taken


def _check_operations(source: object, graph: onnx.GraphProto) -> None:
    """Raise GeneratorError if an operation has no counterpart in ONNX. tf2onnx leaves it as it is."""
    unknown = {node.op_type for node in graph.node if not node.domain and not onnx.defs.has(node.op_type)}
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise GeneratorError(source, f"it uses operations that have no counterpart in ONNX: {listed}.")


def _has_convolutions(graph: Any) -> bool:
    """Return whether a graph of TensorFlow has operations with an order of channels, as convolutions have.

    Args:
        graph: GraphDef of TensorFlow. The functions that it calls are searched too.
    """
    nodes = itertools.chain(graph.node, *(function.node_def for function in graph.library.function))
    return any("data_format" in node.attr for node in nodes)


def _declare_shape(value: onnx.ValueInfoProto, shape: tf.TensorShape) -> None:
    """Write a shape into an input or output of a graph. A free first axis is the batch.

    tf2onnx gives free axes names such as "unk__17", whose numbers differ from call to call.
    """
    if shape.rank is None:
        return
    del value.type.tensor_type.shape.dim[:]
    value.type.tensor_type.shape.SetInParent()  # without axes too, the shape is known
    for axis, size in enumerate(shape.as_list()):
        dimension = value.type.tensor_type.shape.dim.add()
        if size is not None:
            dimension.dim_value = size
        else:
            dimension.dim_param = _BATCH if axis == 0 else f"{value.name}_axis_{axis}"
