"""Linear and affine steps: what they are, and what their weights mean."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from ..graph import POINTWISE, Array, Graph, attributes, make_node

_LINEAR = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_AFFINE = ("Mul", "Add")


def affine_steps(graph: Graph) -> Iterator[tuple[onnx.NodeProto, Array]]:
    """Yield each Mul or Add of one value and one constant, with the constant."""
    for node in graph.nodes:
        if node.op_type in _AFFINE:
            constants = [graph.constants[name] for name in node.input if name in graph.constants]
            if len(constants) == 1 and constants[0].dtype == np.float32:
                yield node, constants[0]


def flowing(graph: Graph, node: onnx.NodeProto) -> str:
    """Return the input of a node that is no constant."""
    return next(name for name in node.input if name not in graph.constants)


def is_pointwise(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node makes of each number another one, whatever its place."""
    flowing = [name for name in node.input if name and name not in graph.constants]
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    if node.op_type not in POINTWISE or len(flowing) != 1:
        return False
    # A constant of more axes would give its own to the result.
    rank = graph.rank(flowing[0])
    return all(constant.size == 1 and (constant.ndim == 0 or (rank or 0) >= constant.ndim) for constant in constants)


def is_linear(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is a product with constant float32 weights, and a constant bias if any."""
    if node.op_type not in _LINEAR:
        return False
    weights = graph.constant(node, 1)
    if weights is None or weights.dtype != np.float32 or weights.ndim != (4 if "Conv" in node.op_type else 2):
        return False
    if node.op_type == "Gemm":
        settings = attributes(node)
        plain = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0 and not settings.get("transA")
        bias = graph.constant(node, 2)
        return (
            plain
            and not settings.get("transB")
            and (len(node.input) < 3 or (bias is not None and bias.shape == weights.shape[1:]))
        )
    return (len(node.input) < 3 or graph.constant(node, 2) is not None) and attributes(node).get("group", 1) == 1


def is_dense(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a node is a linear step that works on rows."""
    return node.op_type in ("MatMul", "Gemm") and is_linear(graph, node)


def makes_images(graph: Graph, dense: onnx.NodeProto, shape: Array) -> bool:
    """Return whether a row of a dense layer's output, and nothing else, becomes one image."""
    weights = graph.constant(dense, 1)
    if weights is None or not is_dense(graph, dense):
        return False
    return bool((shape[1:] > 0).all()) and int(np.prod(shape[1:])) == weights.shape[1]


def weights_and_bias(graph: Graph, node: onnx.NodeProto) -> tuple[Array, Array | None]:
    """Return them in float64, so that folding rounds once."""
    weights, bias = graph.constant(node, 1), graph.constant(node, 2)
    if weights is None:
        raise ValueError(f"{node.name} has no constant weights")
    return weights.astype(np.float64), None if bias is None else bias.astype(np.float64)


def pads(convolution: onnx.NodeProto) -> bool:
    """Return whether a convolution sees zeros beyond the border."""
    settings = attributes(convolution)
    return any(settings.get("pads", ())) or settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def takes_bias(graph: Graph, linear: onnx.NodeProto) -> bool:
    """Return whether a bias can be given: a Gemm, which has one, works on rows only, a MatMul on any shape."""
    return linear.op_type != "MatMul" or graph.rank(linear.input[0]) == 2


def output_axis(node: onnx.NodeProto) -> int:
    """Return which axis of the weights counts output channels."""
    return 0 if node.op_type == "Conv" else 1


def channel_axis(node: onnx.NodeProto) -> int:
    """Return which axis of the values that go in and out counts channels."""
    return 1 if node.op_type in ("Conv", "ConvTranspose") else -1


def per_channel(constant: Array, channels: int, axis: int, rank: int) -> Array | None:
    """Return one number per channel, float64, of a constant that is broadcast; None where it differs within a channel.

    >>> per_channel(np.float32([[[3]], [[4]]]), 2, axis=1, rank=4)
    array([3., 4.])
    """
    if constant.size == 1 and constant.ndim <= rank:
        return np.full(channels, constant.reshape(()), dtype=np.float64)
    shape = (1,) * (rank - constant.ndim) + constant.shape
    due = [1] * rank
    due[axis] = channels
    return constant.reshape(channels).astype(np.float64) if list(shape) == due else None


def along(values: Array, rank: int, axis: int) -> Array:
    """Return values along one axis of an array of that rank, to be broadcast."""
    return values.reshape([-1 if place == axis else 1 for place in range(rank)])


def linear_like(
    graph: Graph, node: onnx.NodeProto, source: str, weights: Array, bias: Array | None, target: str
) -> onnx.NodeProto:
    """Return a linear step with other weights and bias; of a MatMul it is a Gemm where there is a bias."""
    inputs = [source, graph.add_constant(weights.astype(np.float32), "weights")]
    if bias is not None:
        inputs.append(graph.add_constant(bias.astype(np.float32), "bias"))
    operation = "Gemm" if node.op_type == "MatMul" and bias is not None else node.op_type
    return make_node(operation, inputs, target, attributes(node))


def permutation(node: onnx.NodeProto) -> list[int] | None:
    """Return how a Transpose orders the axes; None for other nodes, and where it only says to reverse them."""
    order = attributes(node).get("perm") if node.op_type == "Transpose" else None
    return None if order is None else list(order)
