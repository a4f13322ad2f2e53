"""Linear and affine steps: which nodes they are, and what their weights mean.

A linear step is a MatMul, a Gemm, a Conv or a ConvTranspose with constant weights. An affine step is a Mul or
an Add of one value and one constant.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from ..graph import POINTWISE, Array, Graph, attributes, make_node

_LINEAR = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_AFFINE = ("Mul", "Add")


def affine_steps(graph: Graph) -> Iterator[tuple[onnx.NodeProto, Array]]:
    """Yield each affine step and its constant: a Mul or an Add of one value and one float32 constant."""
    for node in graph.nodes:
        if node.op_type in _AFFINE:
            constants = [graph.constants[name] for name in node.input if name in graph.constants]
            if len(constants) == 1 and constants[0].dtype == np.float32:
                yield node, constants[0]


def variable_input(graph: Graph, node: onnx.NodeProto) -> str:
    """Return the name of a node's first non-constant input."""
    return next(name for name in node.input if name not in graph.constants)


def is_pointwise(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node applies one and the same function to each single value of its input."""
    variables = [name for name in node.input if name and name not in graph.constants]
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    if node.op_type not in POINTWISE or len(variables) != 1:
        return False
    # If the constant has more axes than the input, the node is not pointwise: the result has more axes, too.
    rank = graph.rank(variables[0]) or 0
    return all(constant.size == 1 and (constant.ndim == 0 or rank >= constant.ndim) for constant in constants)


def is_linear(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is a linear step with float32 weights, and with a constant bias or no bias."""
    if node.op_type not in _LINEAR:
        return False
    weights = graph.constant(node, 1)
    rank = 4 if "Conv" in node.op_type else 2
    if weights is None or weights.dtype != np.float32 or weights.ndim != rank:
        return False
    bias = graph.constant(node, 2)
    has_bias = len(node.input) >= 3
    settings = attributes(node)
    if node.op_type == "Gemm":
        if settings.get("transA") or settings.get("transB"):
            return False
        is_unscaled = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0
        return is_unscaled and (not has_bias or (bias is not None and bias.shape == weights.shape[1:]))
    return (not has_bias or bias is not None) and settings.get("group", 1) == 1


def is_dense(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is a dense layer: a MatMul or a Gemm with constant weights."""
    return node.op_type in ("MatMul", "Gemm") and is_linear(graph, node)


def makes_one_image_per_row(graph: Graph, dense: onnx.NodeProto, shape: Array) -> bool:
    """Return whether a Reshape to `shape` turns each row of a dense layer's output into one image."""
    weights = graph.constant(dense, 1)
    if weights is None or not is_dense(graph, dense):
        return False
    return bool((shape[1:] > 0).all()) and int(np.prod(shape[1:])) == weights.shape[1]


def weights_and_bias(graph: Graph, node: onnx.NodeProto) -> tuple[Array, Array | None]:
    """Return the weights of a linear step and its bias (None if it has no bias), both in float64.

    A rewrite computes with them in float64, so that its result is rounded only once, to float32.
    """
    weights, bias = graph.constant(node, 1), graph.constant(node, 2)
    if weights is None:
        raise ValueError(f"Node {node.name!r} has no constant weights; only a linear step has them.")
    return weights.astype(np.float64), None if bias is None else bias.astype(np.float64)


def has_padding(convolution: onnx.NodeProto) -> bool:
    """Return whether a convolution pads its input with zeros."""
    settings = attributes(convolution)
    return any(settings.get("pads", ())) or settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def can_take_bias(graph: Graph, linear: onnx.NodeProto) -> bool:
    """Return whether a linear step can get a bias.

    A MatMul with a bias becomes a Gemm, and the input of a Gemm must have two axes.
    """
    return linear.op_type != "MatMul" or graph.rank(linear.input[0]) == 2


def output_axis(node: onnx.NodeProto) -> int:
    """Return the axis of a linear step's weights that belongs to the output channels."""
    return 0 if node.op_type == "Conv" else 1


def channel_axis(node: onnx.NodeProto) -> int:
    """Return the axis of a linear step's input and output that belongs to the channels."""
    return 1 if node.op_type in ("Conv", "ConvTranspose") else -1


def per_channel(constant: Array, channels: int, axis: int, rank: int) -> Array | None:
    """Return the value of a broadcast constant in each channel, float64 (channels,).

    The result is None if the constant has several values in a channel, or more than `rank` axes.

    Args:
        constant: Constant that a Mul or an Add combines with a value of `rank` axes.
        channels: Number of channels of that value.
        axis: Axis of the channels in that value.
        rank: Number of axes of that value.

    >>> per_channel(np.float32([[[3]], [[4]]]), 2, axis=1, rank=4)
    array([3., 4.])
    """
    if constant.size == 1 and constant.ndim <= rank:
        return np.full(channels, constant.reshape(()), dtype=np.float64)
    shape = (1,) * (rank - constant.ndim) + constant.shape
    expected = [1] * rank
    expected[axis] = channels
    return constant.reshape(channels).astype(np.float64) if list(shape) == expected else None


def broadcast_along(values: Array, rank: int, axis: int) -> Array:
    """Return values (n,) reshaped to `rank` axes, with size n along `axis` and size 1 along all others."""
    return values.reshape([-1 if each == axis else 1 for each in range(rank)])


def linear_like(
    graph: Graph, node: onnx.NodeProto, source: str, weights: Array, bias: Array | None, target: str
) -> onnx.NodeProto:
    """Return a copy of a linear step with new weights and a new bias. A MatMul with a bias becomes a Gemm.

    Args:
        graph: The graph, which gets the new weights and bias as constants.
        node: The linear step to copy.
        source: Name of the copy's input.
        weights: New weights.
        bias: New bias; None for no bias.
        target: Name of the copy's output.
    """
    inputs = [source, graph.add_constant(weights.astype(np.float32), "weights")]
    if bias is not None:
        inputs.append(graph.add_constant(bias.astype(np.float32), "bias"))
    operation = "Gemm" if node.op_type == "MatMul" and bias is not None else node.op_type
    return make_node(operation, inputs, target, attributes(node))


def permutation(node: onnx.NodeProto) -> list[int] | None:
    """Return the axis order `perm` of a Transpose; None for a Transpose without `perm`, or another node."""
    order = attributes(node).get("perm") if node.op_type == "Transpose" else None
    return None if order is None else list(order)
