"""Transposes and reshapes: away, or to where they cost least."""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Array, Graph, make_node
from .shapes import repeats_of
from .steps import flowing, is_pointwise, linear_like, makes_images, permutation, weights_and_bias

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def drop_no_ops(graph: Graph) -> bool:
    """Take out an Identity, a Dropout, a Transpose that moves nothing, a Reshape to the shape that is there."""
    for node in graph.nodes:
        if _does_nothing(graph, node) and graph.can_remove(node):
            graph.remove(node)
            return True
    return False


def _does_nothing(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Dropout":
        return len(node.input) < 3  # the third could ask for training
    if node.op_type == "Reshape":
        target, shape = graph.constant(node, 1), graph.shape(node.input[0])
        if target is None or not shape or None in shape[1:] or not _is_plain_shape(target):
            return False
        return tuple(target[1:]) == shape[1:] and target[0] in (-1, shape[0])
    order = permutation(node)
    return node.op_type == "Identity" or (order is not None and order == sorted(order))


def merge_transposes(graph: Graph) -> bool:
    """Make one Transpose of two in a row, and one Reshape of two."""
    for node in graph.nodes:
        before = graph.producer(node.input[0]) if node.input else None
        if before is None or before.op_type != node.op_type or graph.only_consumer(before.output[0]) is None:
            continue
        first, second = permutation(before), permutation(node)
        if first is not None and second is not None:
            merged = {"perm": [first[axis] for axis in second]}
            graph.replace(node, make_node("Transpose", [before.input[0]], node.output[0], merged))
            graph.nodes.remove(before)
            return True
        if node.op_type == "Reshape" and _is_plain_shape(graph.constant(node, 1)):
            node.input[0] = before.input[0]
            graph.nodes.remove(before)
            return True
    return False


def cancel_transposes(graph: Graph) -> bool:
    """Take out two Transposes that undo each other around steps that work on single numbers."""
    for node in graph.nodes:
        second = permutation(node)
        if second is None:
            continue
        before = graph.producer(node.input[0])
        while before is not None and graph.only_consumer(before.output[0]) is not None and is_pointwise(graph, before):
            before = graph.producer(flowing(graph, before))
        first = None if before is None else permutation(before)
        if before is None or first is None or graph.only_consumer(before.output[0]) is None:
            continue
        if [first[axis] for axis in second] == sorted(first) and graph.can_remove(before) and graph.can_remove(node):
            graph.remove(before)
            graph.remove(node)
            return True
    return False


def _is_plain_shape(shape: Array | None) -> bool:
    """Return whether a shape is of numbers, with the batch left open: no size is copied from the input."""
    return shape is not None and not (shape == 0).any()


def lift_transpose(graph: Graph) -> bool:
    """Move the Transpose to NCHW before what works on single numbers or repeats them, and into a dense layer's columns."""
    for node in graph.nodes:
        if permutation(node) != _TO_NCHW:
            continue
        before = graph.producer(node.input[0])
        if before is None or graph.only_consumer(before.output[0]) is None:
            continue
        repeats = repeats_of(graph, before)
        if is_pointwise(graph, before) or repeats is not None:
            _swap_with_transpose(graph, before, node)
            if repeats is not None:
                before.input[2] = graph.add_constant(repeats[_TO_NCHW].astype(np.float32))
            return True
        if before.op_type == "Reshape" and _permute_columns(graph, before, node):
            return True
    return False


def _swap_with_transpose(graph: Graph, pointwise: onnx.NodeProto, transpose: onnx.NodeProto) -> None:
    place = next(place for place, name in enumerate(pointwise.input) if name not in graph.constants)
    source, middle, target = pointwise.input[place], pointwise.output[0], transpose.output[0]
    transpose.input[0], transpose.output[0] = source, middle
    pointwise.input[place], pointwise.output[0] = middle, target
    graph.nodes.remove(transpose)
    graph.nodes.insert(next(place for place, node in enumerate(graph.nodes) if node is pointwise), transpose)


def _permute_columns(graph: Graph, reshape: onnx.NodeProto, transpose: onnx.NodeProto) -> bool:
    dense, shape = graph.producer(reshape.input[0]), graph.constant(reshape, 1)
    while dense is not None and is_pointwise(graph, dense) and graph.only_consumer(dense.output[0]) is not None:
        dense = graph.producer(flowing(graph, dense))
    if dense is None or shape is None or len(shape) != 4 or not makes_images(graph, dense, shape):
        return False
    if graph.only_consumer(dense.output[0]) is None:
        return False
    height, width, channels = (int(size) for size in shape[1:])
    weights, bias = weights_and_bias(graph, dense)
    columns = np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1).reshape(-1)
    bias = None if bias is None else bias[columns]
    graph.replace(dense, linear_like(graph, dense, dense.input[0], weights[:, columns], bias, dense.output[0]))
    target = graph.add_constant(np.array([shape[0], channels, height, width]))
    graph.replace(reshape, make_node("Reshape", [reshape.input[0], target], transpose.output[0]))
    graph.nodes.remove(transpose)
    return True


def sink_layout(graph: Graph) -> bool:
    """Move a Reshape, or the Transpose to NHWC, behind what works on single numbers.

    Behind the rounding to 8 bits a Transpose moves a quarter of the bytes. A Gemm takes in an activation that follows at once.
    And onnxruntime (1.31) adds a scalar to images of one channel pixel by pixel, but to a dense layer's rows all at once.
    """
    for node in graph.nodes:
        if not _is_layout(graph, node):
            continue
        behind = graph.only_consumer(node.output[0])
        if behind is None or not is_pointwise(graph, behind):
            continue
        source, middle, target = node.input[0], node.output[0], behind.output[0]
        behind.input[:] = [source if name == middle else name for name in behind.input]
        behind.output[0], node.input[0], node.output[0] = middle, middle, target
        graph.nodes.remove(behind)
        graph.nodes.insert(next(place for place, there in enumerate(graph.nodes) if there is node), behind)
        return True
    return False


def _is_layout(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Transpose":
        return permutation(node) == _TO_NHWC
    return node.op_type == "Reshape" and _is_plain_shape(graph.constant(node, 1))
