"""Smaller numbers: float16 and int8, made of the float32 graph."""

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

from ganport.runtime.errors import PrecisionError
from ganport.runtime.latents import generator_inputs
from ganport.runtime.seeds import SEED_LIMIT, check_seeds

from .graph import POINTWISE, Array, Graph, attributes, make_node
from .rewrites.steps import along

# Neither golden images nor evaluations take these seeds, nor does recalibration, which takes the very last.
CALIBRATION_SEEDS = range(SEED_LIMIT - 2**40, SEED_LIMIT - 2**40 + 512)

_CALIBRATION_BATCH = 32
_INT8_KERNELS = ["MatMul", "Gemm", "Conv"]  # that onnxruntime has on the CPU
_SMALLEST = np.finfo(np.float16).smallest_subnormal
_FLOAT32_PLACES = {"Resize": (1, 2)}  # inputs that ONNX wants in float32 whatever the precision


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with weights and arithmetic in float16; latents and images stay float32.

    Raises:
        PrecisionError: a weight is beyond the range of float16.
    """
    graph = Graph(model)
    _keep_float32(graph)
    kept = {node.input[place] for node in graph.nodes for place in _float32_places(node)}
    for name, array in list(graph.constants.items()):
        if array.dtype == np.float32 and name not in kept:
            graph.constants[name] = _rounded(array)
    for node in graph.nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == onnx.TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(_rounded(numpy_helper.to_array(attribute.t))))
        if node.op_type == "Cast" and attributes(node)["to"] == onnx.TensorProto.FLOAT and node.output[0] not in kept:
            node.attribute[0].i = onnx.TensorProto.FLOAT16
    (source,), (target,) = graph.inputs, graph.outputs
    inside, outside = graph.new_value(), graph.new_value()
    for node in graph.nodes:
        node.input[:] = [inside if name == source.name else name for name in node.input]
        node.output[:] = [outside if name == target.name else name for name in node.output]
    graph.nodes.insert(0, make_node("Cast", [source.name], inside, {"to": onnx.TensorProto.FLOAT16}))
    graph.nodes.append(make_node("Cast", [outside], target.name, {"to": onnx.TensorProto.FLOAT}))
    return graph.to_model()


def _float32_places(node: onnx.NodeProto) -> list[int]:
    return [place for place in _FLOAT32_PLACES.get(node.op_type, ()) if place < len(node.input) and node.input[place]]


def _keep_float32(graph: Graph) -> None:
    """Give what must stay float32 a constant, or a Cast, of its own."""
    for node in list(graph.nodes):
        for place in _float32_places(node):
            name = node.input[place]
            if name in graph.constants:
                node.input[place] = graph.add_constant(graph.constants[name])
            else:
                node.input[place] = graph.new_value()
                graph.replace(node, make_node("Cast", [name], node.input[place], {"to": onnx.TensorProto.FLOAT}), node)


def _rounded(array: Array) -> Array:
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise PrecisionError("float16", f"a weight is {np.abs(array).max():.3g}; 65504 is the largest number")
    if array.size == 1 and rounded == 0 != array:
        return np.full_like(rounded, np.copysign(_SMALLEST, array))  # a number that keeps a divisor from being 0
    return rounded


def to_int8(model: onnx.ModelProto, dim: int, classes: int = 0) -> onnx.ModelProto:
    """Return the model with int8 weights; dense layers and convolutions compute in 8 bits, too (see `INT8_REWRITES`).

    Weights are symmetric, one scale for each output channel; activations get the range that they have for the images of
    `CALIBRATION_SEEDS`. Of a ConvTranspose, which onnxruntime computes in float32 only, the weights alone are int8. What leaves
    the last layer stays float32: its tails round it to 8 bits themselves.

    Args:
        model: latents (batch, dim), and classes behind them -> images, float32.
        dim: latents per image.
        classes: that can be asked for.

    Raises:
        PrecisionError: the generator has no layer whose weights could be int8.
    """
    if not any(node.op_type in (*_INT8_KERNELS, "ConvTranspose") for node in model.graph.node):
        raise PrecisionError("int8", "the generator has no dense layer and no convolution")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            source,
            target,
            _Latents(dim, classes, model.graph.input[0]),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_INT8_KERNELS,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # 7 bits: with 8 the sums of x86 processors without VNNI saturate, and they would draw other images.
            reduce_range=True,
        )
        graph = Graph(onnx.load(target))
    _keep_last_output(graph)
    _quantize_transposed(graph)
    return graph.to_model()


class _Latents(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Batches of the latents of `CALIBRATION_SEEDS`, as the quantiser wants them."""

    def __init__(self, dim: int, classes: int, source: onnx.ValueInfoProto) -> None:
        batch = source.type.tensor_type.shape.dim[0].dim_value or _CALIBRATION_BATCH
        latents = generator_inputs(check_seeds(CALIBRATION_SEEDS), dim, classes)
        whole = -(-len(latents) // batch) * batch
        filled = np.resize(latents, (whole, latents.shape[1]))  # repeats the first until the last batch is full
        self._batches: Iterator[dict[str, npt.NDArray[np.float32]]] = (
            {source.name: filled[start : start + batch]} for start in range(0, whole, batch)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._batches, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself the quantiser's advice to run a preparation first, which our own rewrites have replaced."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger().setLevel(level)


def _keep_last_output(graph: Graph) -> None:
    """Take out the rounding behind the last layer."""
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
    """Let each ConvTranspose have its weights from int8."""
    for node in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        weights = graph.constant(node, 1)
        if weights is None:
            continue
        others = tuple(axis for axis in range(weights.ndim) if axis != 1)
        scale = np.maximum(np.abs(weights).max(axis=others), np.finfo(np.float32).tiny) / np.float32(127)
        rounded = np.round(weights / along(scale, weights.ndim, 1)).astype(np.int8)
        inputs = [graph.add_constant(rounded, "weights"), graph.add_constant(scale, "scale")]
        restored = graph.new_value()
        graph.replace(node, make_node("DequantizeLinear", inputs, restored, {"axis": 1}), node)
        node.input[1] = restored
