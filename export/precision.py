"""float16 and int8: smaller weights and cheaper arithmetic, made from the float32 graph.

float16 has two forms. By default it is a form of storage: `round_weights` rounds the weights to float16,
`store_in_float16` stores them so, and a Cast behind each turns it into float32 again. All arithmetic is in
float32, so the images are the same on devices with and without float16. `to_float16_arithmetic` also computes
in float16, which is faster on some GPUs.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnxruntime import quantization

from ganport.runtime.contract import Distribution
from ganport.runtime.latents import generator_inputs
from ganport.runtime.seeds import SEED_LIMIT, check_seeds

from .errors import PrecisionError
from .graph import POINTWISE, Array, Graph, attributes, make_node
from .rewrites.steps import broadcast_along

# Seeds of the images that determine the ranges of activations in int8. No other part of ganport uses these
# seeds: golden images and evaluations use smaller ones, and the trainer's recalibration of BatchNormalization
# uses the largest seeds of all.
CALIBRATION_SEEDS = range(SEED_LIMIT - 2**40, SEED_LIMIT - 2**40 + 512)

_CALIBRATION_BATCH = 32
# Smallest number of values that a constant must have to be stored in float16. For fewer values, the Cast node
# takes more bytes than the shorter numbers save.
_FEWEST_STORED = 64
_INT8_KERNELS = ["MatMul", "Gemm", "Conv"]  # operations that onnxruntime computes in 8 bits on the CPU
_SMALLEST = np.finfo(np.float16).smallest_subnormal  # smallest positive float16

# Indices of the inputs that stay float32 in a float16 graph, by operation. ONNX requires the scales of a
# Resize in float32.
_FLOAT32_INPUTS = {"Resize": (1, 2)}


def round_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its weights rounded to numbers that float16 can represent. They stay float32.

    Constants of fewer than 64 values are not rounded, since `store_in_float16` stores them in float32.

    Raises:
        PrecisionError: A weight is too large for float16.
    """
    graph = Graph(model)
    for name, array in list(graph.constants.items()):
        if array.dtype == np.float32 and array.size >= _FEWEST_STORED:
            graph.constants[name] = _round_to_float16(array).astype(np.float32)
    return graph.to_model()


def store_in_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with those constants in float16 that float16 represents exactly.

    A Cast to float32 follows each of them, so that the images do not change. onnxruntime computes the Casts
    once, when a session opens. Constants of fewer than 64 values stay float32.
    """
    graph = Graph(model)
    restored: dict[str, str] = {}  # from the name of a float32 constant to the name of the Cast's output
    for node in list(graph.nodes):
        for index, name in enumerate(node.input):
            if name not in restored:
                halved = _as_float16(graph.constants.get(name))
                if halved is None:
                    continue
                restored[name] = graph.new_value()
                stored = graph.add_constant(halved, "weights")
                cast = make_node("Cast", [stored], restored[name], {"to": onnx.TensorProto.FLOAT})
                graph.replace(node, cast, node)
            node.input[index] = restored[name]
    return graph.to_model()


def _as_float16(array: Array | None) -> Array | None:
    """Return a constant in float16; None for one of another type, of few values, or that would change."""
    if array is None or array.dtype != np.float32 or array.size < _FEWEST_STORED:
        return None
    with np.errstate(over="ignore"):
        halved = array.astype(np.float16)
    return halved if np.array_equal(halved, array) else None


def to_float16_arithmetic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with weights and arithmetic in float16. Its input and output stay float32.

    Raises:
        PrecisionError: A weight is too large for float16.
    """
    graph = Graph(model)
    _isolate_float32_inputs(graph)
    kept = {node.input[index] for node in graph.nodes for index in _float32_inputs(node)}
    for name, array in list(graph.constants.items()):
        if array.dtype == np.float32 and name not in kept:
            graph.constants[name] = _round_to_float16(array)
    for node in graph.nodes:
        for attribute in node.attribute:
            if (
                attribute.type == onnx.AttributeProto.TENSOR
                and attribute.t.data_type == onnx.TensorProto.FLOAT
            ):
                rounded = _round_to_float16(numpy_helper.to_array(attribute.t))
                attribute.t.CopyFrom(numpy_helper.from_array(rounded))
        if (
            node.op_type == "Cast"
            and attributes(node)["to"] == onnx.TensorProto.FLOAT
            and node.output[0] not in kept
        ):
            node.attribute[0].i = onnx.TensorProto.FLOAT16
    (source,), (target,) = graph.inputs, graph.outputs
    first, last = graph.new_value(), graph.new_value()
    for node in graph.nodes:
        node.input[:] = [first if name == source.name else name for name in node.input]
        node.output[:] = [last if name == target.name else name for name in node.output]
    graph.nodes.insert(0, make_node("Cast", [source.name], first, {"to": onnx.TensorProto.FLOAT16}))
    graph.nodes.append(make_node("Cast", [last], target.name, {"to": onnx.TensorProto.FLOAT}))
    return graph.to_model()


def computes_in_float16(model: onnx.ModelProto) -> bool:
    """Return whether a model computes with weights in float16, and does not only convert them to float32."""
    halves = {
        tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16
    }
    for node in model.graph.node:
        is_restored = node.op_type == "Cast" and attributes(node)["to"] == onnx.TensorProto.FLOAT
        if node.op_type == "Constant" and any(_is_half(each) for each in node.attribute):
            halves.update(node.output)
            continue
        is_used = halves.intersection(node.input) and not is_restored
        if is_used or any(_is_half(each) for each in node.attribute):
            return True
    return False


def _is_half(attribute: onnx.AttributeProto) -> bool:
    return attribute.HasField("t") and attribute.t.data_type == onnx.TensorProto.FLOAT16


def _has_float16(model: onnx.ModelProto) -> bool:
    """Return whether a model has weights in float16."""
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer) or any(
        _is_half(attribute) for node in model.graph.node for attribute in node.attribute
    )


def to_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model of float16 in float32: its weights, its arithmetic, its inputs and its outputs.

    onnxruntime's CPU provider has no convolutions in float16, and converts to float32 and back at each node.
    A model without float16, or with nested graphs, is returned as it is.
    """
    nodes = model.graph.node
    is_nested = any(each.type == onnx.AttributeProto.GRAPH for node in nodes for each in node.attribute)
    if is_nested or not _has_float16(model):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    tensors = [each.t for node in graph.node for each in node.attribute if each.HasField("t")]
    for tensor in (*graph.initializer, *tensors):
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            single = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(single, tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            is_type = attribute.name in ("to", "dtype") and attribute.type == onnx.AttributeProto.INT
            if is_type and attribute.i == onnx.TensorProto.FLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
    return result


def _float32_inputs(node: onnx.NodeProto) -> list[int]:
    """Return the indices of those inputs of a node that must stay float32."""
    indices = _FLOAT32_INPUTS.get(node.op_type, ())
    return [index for index in indices if index < len(node.input) and node.input[index]]


def _isolate_float32_inputs(graph: Graph) -> None:
    """Give each node its own float32 value for each input that must stay float32.

    A constant is copied. Any other value goes through a new Cast to float32. No other node uses the copy or
    the Cast, so the original constant or value can become float16.
    """
    for node in list(graph.nodes):
        for index in _float32_inputs(node):
            name = node.input[index]
            if name in graph.constants:
                node.input[index] = graph.add_constant(graph.constants[name])
            else:
                node.input[index] = graph.new_value()
                graph.replace(
                    node, make_node("Cast", [name], node.input[index], {"to": onnx.TensorProto.FLOAT}), node
                )


def _round_to_float16(array: Array) -> Array:
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise PrecisionError(
            "float16", f"a weight is {np.abs(array).max():.3g}; the largest float16 is 65504"
        )
    if array.size == 1 and rounded == 0 != array:
        # A tiny scalar often keeps a divisor from being 0, so the scalar must not be rounded to 0.
        return np.full_like(rounded, np.copysign(_SMALLEST, array))
    return rounded


def to_int8(
    model: onnx.ModelProto, dim: int, label_count: int = 0, *, distribution: Distribution = "normal"
) -> onnx.ModelProto:
    """Return the model with int8 weights. Dense layers and convolutions also compute in 8 bits.

    Weights are quantised symmetrically, with one scale for each output channel. The range of an activation is
    the range of its values for the images of `CALIBRATION_SEEDS`. onnxruntime computes a ConvTranspose in
    float32 only, so its weights are int8 and its arithmetic is float32. The output of the last layer stays
    float32, since the output stage rounds it to 8 bits.

    Args:
        model: Model from latents (batch, dim), or (batch, dim + label_count), to images, in float32.
        dim: Number of latents per image.
        label_count: Number of labels; 0 for none.
        distribution: Distribution of the latents.

    Raises:
        PrecisionError: The generator has no layer whose weights could be int8.
    """
    if not any(node.op_type in (*_INT8_KERNELS, "ConvTranspose") for node in model.graph.node):
        raise PrecisionError("int8", "the generator has neither a dense layer nor a convolution")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            source,
            target,
            _Latents(dim, label_count, model.graph.input[0], distribution),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_INT8_KERNELS,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # Weights use 7 bits. With 8 bits, sums would saturate on x86 processors without VNNI, and a seed
            # would give a different image there than on other processors.
            reduce_range=True,
        )
        graph = Graph(onnx.load(target))
    _keep_last_output(graph)
    _quantize_transposed(graph)
    return graph.to_model()


class _Latents(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Batches of the latents of `CALIBRATION_SEEDS`, in the form that onnxruntime's quantiser reads."""

    def __init__(
        self,
        dim: int,
        label_count: int,
        source: onnx.ValueInfoProto,
        distribution: Distribution = "normal",
    ) -> None:
        batch = source.type.tensor_type.shape.dim[0].dim_value or _CALIBRATION_BATCH
        seeds = check_seeds(CALIBRATION_SEEDS)
        latents = generator_inputs(seeds, dim, label_count, distribution=distribution)
        whole = -(-len(latents) // batch) * batch
        # np.resize repeats the first latents until the last batch is full.
        filled = np.resize(latents, (whole, latents.shape[1]))
        self._batches: Iterator[dict[str, npt.NDArray[np.float32]]] = (
            {source.name: filled[start : start + batch]} for start in range(0, whole, batch)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._batches, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the quantiser's advice to preprocess the model, since the rewrites have already simplified it."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)


def _keep_last_output(graph: Graph) -> None:
    """Remove QuantizeLinear and DequantizeLinear after the last layer, so that its output is float32."""
    node = graph.producer(graph.outputs[0].name)
    while node is not None and node.op_type in (*POINTWISE, "Reshape", "Transpose", "Identity"):
        node = graph.producer(next(name for name in node.input if name not in graph.constants))
    if node is None or node.op_type != "DequantizeLinear":
        return
    rounding = graph.producer(node.input[0])
    if rounding is not None and graph.can_remove(node) and graph.can_remove(rounding):
        graph.remove(node)
        graph.remove(rounding)


def _quantize_transposed(graph: Graph) -> None:
    """Store the weights of each ConvTranspose in int8, with a DequantizeLinear before the node."""
    for node in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        weights = graph.constant(node, 1)
        if weights is None:
            continue
        others = tuple(axis for axis in range(weights.ndim) if axis != 1)
        scale = np.maximum(np.abs(weights).max(axis=others), np.finfo(np.float32).tiny) / np.float32(127)
        rounded = np.round(weights / broadcast_along(scale, weights.ndim, 1)).astype(np.int8)
        inputs = [graph.add_constant(rounded, "weights"), graph.add_constant(scale, "scale")]
        restored = graph.new_value()
        graph.replace(node, make_node("DequantizeLinear", inputs, restored, {"axis": 1}), node)
        node.input[1] = restored
