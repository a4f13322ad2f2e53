"""Weights in the three precisions: how they are rounded, and in which order the C code reads them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx

from ganport.runtime.contract import Precision

from ..errors import PrecisionError
from ..graph import Array, Graph, attributes
from .steps import NARROW
from .views import Floats

BLOCK = 16  # output channels whose weights lie together in memory

Stored = npt.NDArray[np.float32] | npt.NDArray[np.float16] | npt.NDArray[np.int8]


def round_weights(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return the float32 model with the values that the C code's weights have in a precision.

    Layers with few output channels, all biases and all other constants keep their values: the C code stores
    them in float32.

    Raises:
        PrecisionError: A weight is too large for float16, or no layer has weights that could be rounded.
    """
    graph = Graph(model)
    rounded = 0
    for node in graph.nodes:
        axis = _output_axis(node)
        weights = None if axis is None else graph.constant(node, 1)
        if axis is None or weights is None or weights.ndim < 2 or weights.dtype != np.float32:
            continue
        if weights.shape[axis] // _groups_in(node) <= NARROW:
            continue
        last = np.moveaxis(weights, axis, -1)
        restored = restore(*store(last, peaks(last), precision))
        node.input[1] = graph.add_constant(np.moveaxis(restored, -1, axis), "weights")
        rounded += 1
    if not rounded:
        raise PrecisionError(
            precision, f"no layer has more than {NARROW} output channels, so none is rounded"
        )
    graph.changed()
    return graph.to_model()


def peaks(kernel: Array) -> Floats:
    """Return the largest absolute weight of each output channel, the last axis."""
    largest: Floats = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    return largest


def store(kernel: Floats, peak: Floats, precision: Precision) -> tuple[Stored, Floats]:
    """Return weights as they are stored, and the scale of each output channel.

    Args:
        kernel: float32 (..., output channels).
        peak: Largest absolute weight of each output channel. All phases of a transposed convolution have one.
        precision: Precision of the stored weights.

    Raises:
        PrecisionError: A weight is too large for float16.
    """
    if precision == "int8":
        scale = np.asarray(np.maximum(peak, np.finfo(np.float32).tiny) / 127, np.float32)
        return np.round(kernel / scale).astype(np.int8), scale
    ones = np.ones_like(peak)
    if precision == "float32":
        return kernel, ones
    with np.errstate(over="ignore"):
        halves = kernel.astype(np.float16)
    if not np.isfinite(halves).all():
        raise PrecisionError(
            "float16", f"a weight is {np.abs(kernel).max():.3g}; the largest float16 is 65504"
        )
    return halves, ones


def restore(stored: Stored, scale: Floats) -> Floats:
    """Return the weights as the C code computes with them, float32."""
    restored: Floats = stored.astype(np.float32) * scale
    return restored


def in_blocks(kernel: Stored) -> Stored:
    """Return the weights of a layer in the order in which the C code reads them, in one dimension.

    The output channels are divided into blocks of 16. The last block is filled up with zeros to a multiple of
    4. Each block has a row of weights for each tap and input channel.

    Args:
        kernel: (taps, input channels, output channels).
    """
    outputs = kernel.shape[2]
    blocks = []
    for start in range(0, outputs, BLOCK):
        block = kernel[:, :, start : start + BLOCK]
        missing = -block.shape[2] % 4
        blocks.append(np.pad(block, ((0, 0), (0, 0), (0, missing))).reshape(-1))
    return np.concatenate(blocks)


def _output_axis(node: onnx.NodeProto) -> int | None:
    """Return the axis of a node's weights that counts the output channels; None for nodes without weights."""
    if node.op_type == "Gemm":
        return 0 if attributes(node).get("transB") else 1
    return {"MatMul": 1, "Conv": 0, "ConvTranspose": 1}.get(node.op_type)


def _groups_in(node: onnx.NodeProto) -> int:
    """Return the number of groups that share the output axis of the weights."""
    return int(attributes(node).get("group", 1)) if node.op_type == "Conv" else 1
