"""Smaller numbers: float16 and int8, made of the float32 graph."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime import quantization

from runtime import sample_latents
from runtime.errors import PrecisionError
from runtime.seeds import SEED_LIMIT, check_seeds

from .graph import POINTWISE, Graph, attributes, make_node

# Neither golden images nor evaluations take these seeds, nor does recalibration, which takes the very last.
CALIBRATION_SEEDS = range(SEED_LIMIT - 2**40, SEED_LIMIT - 2**40 + 512)

_CALIBRATION_BATCH = 32
_INT8_KERNELS = ["MatMul", "Gemm", "Conv"]  # that onnxruntime has on the CPU
_FLOAT32_PLACES = {"Resize": (1, 2)}  # inputs that ONNX wants in float32 whatever the precision


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with weights and arithmetic in float16; latents and images stay float32.

    Raises:
        PrecisionError: a weight is beyond the range of float16.
    """
    graph = Graph(model)
    kept = {node.input[place] for node in graph.nodes for place in _places(node)}
    for name, array in list(graph.constants.items()):
        if array.dtype == np.float32 and name not in kept:
            with np.errstate(over="ignore"):
                graph.constants[name] = array.astype(np.float16)
            if not np.isfinite(graph.constants[name]).all():
                raise PrecisionError("float16", f"a weight is {np.abs(array).max():.3g}; 65504 is the largest number")
    for node in graph.nodes:
        if node.op_type == "Cast" and attributes(node)["to"] == onnx.TensorProto.FLOAT:
            node.attribute[0].i = onnx.TensorProto.FLOAT16
    (source,), (target,) = graph.inputs, graph.outputs
    inside, outside = graph.new_value(), graph.new_value()
    for node in graph.nodes:
        node.input[:] = [inside if name == source.name else name for name in node.input]
        node.output[:] = [outside if name == target.name else name for name in node.output]
    graph.nodes.insert(0, make_node("Cast", [source.name], inside, {"to": onnx.TensorProto.FLOAT16}))
    graph.nodes.append(make_node("Cast", [outside], target.name, {"to": onnx.TensorProto.FLOAT}))
    return graph.to_model()


def _places(node: onnx.NodeProto) -> list[int]:
    return [place for place in _FLOAT32_PLACES.get(node.op_type, ()) if place < len(node.input)]


def to_int8(model: onnx.ModelProto, dim: int) -> onnx.ModelProto:
    """Return the model with int8 weights; dense layers and convolutions compute in 8 bits, too.

    Weights are symmetric, one scale for each output channel; activations get the range that they have for the images of
    `CALIBRATION_SEEDS`. Of a ConvTranspose, which onnxruntime computes in float32 only, the weights alone are int8. What leaves
    the last layer stays float32: its tails round it to 8 bits themselves.

    Args:
        model: latents (batch, dim) -> images, float32.
        dim: latents per image.

    Raises:
        PrecisionError: the generator has no layer whose weights could be int8.
    """
    if not any(node.op_type in (*_INT8_KERNELS, "ConvTranspose") for node in model.graph.node):
        raise PrecisionError("int8", "the generator has no dense layer and no convolution")
    logging.getLogger().setLevel(logging.ERROR)  # advises to run a preparation that our own rewrites have replaced
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            source,
            target,
            _Latents(dim, model.graph.input[0]),
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

    def __init__(self, dim: int, source: onnx.ValueInfoProto) -> None:
        batch = source.type.tensor_type.shape.dim[0].dim_value or _CALIBRATION_BATCH
        latents = sample_latents(check_seeds(CALIBRATION_SEEDS), dim)
        whole = len(latents) // batch * batch
        self._batches: Iterator[dict[str, npt.NDArray[np.float32]]] = (
            {source.name: latents[start : start + batch]} for start in range(0, whole, batch)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._batches, None)


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
    for node in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        weights = graph.constant(node, 1)
        if weights is None:
            continue
        scale = np.maximum(np.abs(weights).max(axis=(0, 2, 3)), np.finfo(np.float32).tiny) / np.float32(127)
        rounded = np.round(weights / scale[:, np.newaxis, np.newaxis]).astype(np.int8)
        inputs = [graph.add_constant(rounded, "weights"), graph.add_constant(scale, "scale")]
        restored = graph.new_value()
        graph.replace(node, make_node("DequantizeLinear", inputs, restored, {"axis": 1}), node)
        node.input[1] = restored
