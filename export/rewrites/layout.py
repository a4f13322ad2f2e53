"""Rewrites that remove or merge transposes and reshapes, or move them to where they cost least.

A pointwise step is a node that applies the same function to each single value of its input.
"""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Array, Graph, attributes, make_node
from .shapes import repeats_of
from .steps import (
    is_pointwise,
    linear_like,
    makes_one_image_per_row,
    permutation,
    variable_input,
    weights_and_bias,
)

_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_JOINING = ("Add", "Mul", "Sub", "Div")  # operations of two values, element by element


def drop_no_ops(graph: Graph) -> bool:
    """Remove a node without effect.

    Such a node is an Identity, a Dropout, a Transpose that keeps the order of the axes, a Reshape to the
    shape that the value already has, or a Cast of float32 to float32.
    """
    for node in graph.nodes:
        if _does_nothing(graph, node) and graph.can_remove(node):
            graph.remove(node)
            return True
    return False


def _does_nothing(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Dropout":
        return len(node.input) < 3  # without its third input, `training_mode`, a Dropout keeps all values
    if node.op_type == "Cast":
        return attributes(node)["to"] == onnx.TensorProto.FLOAT and _is_float32(graph, node.input[0])
    if node.op_type == "Reshape":
        target, shape = graph.constant(node, 1), graph.shape(node.input[0])
        if target is None or not shape or None in shape[1:] or not _copies_no_size(target):
            return False
        return tuple(target[1:]) == shape[1:] and target[0] in (-1, shape[0])
    order = permutation(node)
    return node.op_type == "Identity" or (order is not None and order == sorted(order))


def _is_float32(graph: Graph, name: str) -> bool:
    constant = graph.constants.get(name)
    return graph.is_float32(name) if constant is None else constant.dtype == np.float32


def merge_transposes(graph: Graph) -> bool:
    """Replace two consecutive Transposes by one, or two consecutive Reshapes by one."""
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
        if node.op_type == "Reshape" and _copies_no_size(graph.constant(node, 1)):
            node.input[0] = before.input[0]
            graph.nodes.remove(before)
            return True
    return False


def cancel_transposes(graph: Graph) -> bool:
    """Remove two Transposes that undo each other, if only pointwise steps are between them."""
    for node in graph.nodes:
        second = permutation(node)
        if second is None:
            continue
        before = graph.producer(node.input[0])
        while (
            before is not None
            and graph.only_consumer(before.output[0]) is not None
            and is_pointwise(graph, before)
        ):
            before = graph.producer(variable_input(graph, before))
        first = None if before is None else permutation(before)
        if before is None or first is None or graph.only_consumer(before.output[0]) is None:
            continue
        undoes = [first[axis] for axis in second] == sorted(first)
        if undoes and graph.can_remove(before) and graph.can_remove(node):
            graph.remove(before)
            graph.remove(node)
            return True
    return False


def _copies_no_size(shape: Array | None) -> bool:
    """Return whether the target shape of a Reshape is constant, and has no 0.

    A 0 in the target shape means that the Reshape copies the size of this axis from its input.
    """
    return shape is not None and not (shape == 0).any()


def move_transpose_forward(graph: Graph) -> bool:
    """Move a Transpose that turns NHWC into NCHW one step towards the input, or fold it into a dense layer.

    A Transpose after a pointwise step, or after a Resize that repeats pixels, moves before this node. A
    Transpose after the Reshape of a dense layer's output is removed, and the columns of the dense layer are
    reordered instead.
    """
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


def move_transpose_before_join(graph: Graph) -> bool:
    """Move a Transpose that turns NHWC into NCHW before an Add or a Mul of two values.

    The Transpose must vanish for one of the values: it comes from the opposite Transpose, or from a dense
    layer. For the others it must vanish, too, or move few bytes, because they hold one number per channel. An
    example is a feature map whose channels are scaled by a dense layer of the latents.
    """
    for node in graph.nodes:
        join = graph.producer(node.input[0]) if permutation(node) == _TO_NCHW else None
        if join is None or join.op_type not in _JOINING or graph.only_consumer(join.output[0]) is None:
            continue
        if any(graph.rank(name) != 4 for name in join.input):
            continue
        vanish = [_takes_transpose(graph, name) for name in join.input]
        if not any(vanish) or not all(
            taken or _has_one_pixel(graph, name) for taken, name in zip(vanish, join.input, strict=True)
        ):
            continue
        before = []
        for index, name in enumerate(join.input):
            join.input[index] = graph.new_value()
            before.append(make_node("Transpose", [name], join.input[index], {"perm": _TO_NCHW}))
        join.output[0] = node.output[0]
        graph.nodes.remove(node)
        graph.replace(join, *before, join)
        return True
    return False


def _takes_transpose(graph: Graph, name: str) -> bool:
    """Return whether a Transpose of a value vanishes: in its opposite, or in a dense layer's columns."""
    producer = graph.producer(name)
    if producer is None or graph.only_consumer(name) is None or _has_one_pixel(graph, name):
        return False
    if producer.op_type == "Reshape":
        return _dense_before(graph, producer) is not None
    return permutation(producer) == _TO_NHWC


def _has_one_pixel(graph: Graph, name: str) -> bool:
    shape = graph.shape(name)
    return shape is not None and shape[1:3] == (1, 1)


def _swap_with_transpose(graph: Graph, step: onnx.NodeProto, transpose: onnx.NodeProto) -> None:
    """Exchange a step and the Transpose after it, so that the Transpose comes first."""
    index = next(index for index, name in enumerate(step.input) if name not in graph.constants)
    source, middle, target = step.input[index], step.output[0], transpose.output[0]
    transpose.input[0], transpose.output[0] = source, middle
    step.input[index], step.output[0] = middle, target
    graph.nodes.remove(transpose)
    graph.nodes.insert(graph.position(step), transpose)


def _permute_columns(graph: Graph, reshape: onnx.NodeProto, transpose: onnx.NodeProto) -> bool:
    """Fold a Transpose into the column order of a dense layer, and return whether that was possible.

    The order of the nodes must be: dense layer, any number of pointwise steps, Reshape, Transpose.
    """
    dense, shape = _dense_before(graph, reshape), graph.constant(reshape, 1)
    if dense is None or shape is None:
        return False
    height, width, channels = (int(size) for size in shape[1:])
    weights, bias = weights_and_bias(graph, dense)
    columns = (
        np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1).reshape(-1)
    )
    bias = None if bias is None else bias[columns]
    graph.replace(
        dense, linear_like(graph, dense, dense.input[0], weights[:, columns], bias, dense.output[0])
    )
    target = graph.add_constant(np.array([shape[0], channels, height, width]))
    graph.replace(reshape, make_node("Reshape", [reshape.input[0], target], transpose.output[0]))
    graph.nodes.remove(transpose)
    return True


def _dense_before(graph: Graph, reshape: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return the dense layer whose rows a Reshape turns into images, if only pointwise steps are between."""
    dense, shape = graph.producer(reshape.input[0]), graph.constant(reshape, 1)
    while (
        dense is not None and is_pointwise(graph, dense) and graph.only_consumer(dense.output[0]) is not None
    ):
        dense = graph.producer(variable_input(graph, dense))
    if dense is None or shape is None or len(shape) != 4 or not makes_one_image_per_row(graph, dense, shape):
        return None
    return dense if graph.only_consumer(dense.output[0]) is not None else None


def move_layout_last(graph: Graph) -> bool:
    """Move a Reshape, or a Transpose that turns NCHW into NHWC, after the pointwise step that follows it.

    This saves time for three reasons:

    1. After the rounding to 8 bits, a Transpose moves a quarter of the bytes.
    2. onnxruntime fuses a Gemm with an activation, but only if the activation directly follows the Gemm.
    3. onnxruntime (1.31) adds a scalar to one-channel images pixel by pixel, but to the output of a dense
       layer in one pass.
    """
    for node in graph.nodes:
        if not _changes_layout(graph, node):
            continue
        following = graph.only_consumer(node.output[0])
        if following is None or not is_pointwise(graph, following):
            continue
        source, middle, target = node.input[0], node.output[0], following.output[0]
        following.input[:] = [source if name == middle else name for name in following.input]
        following.output[0], node.input[0], node.output[0] = middle, middle, target
        graph.nodes.remove(following)
        graph.nodes.insert(graph.position(node), following)
        return True
    return False


def _changes_layout(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Transpose":
        return permutation(node) == _TO_NHWC
    return node.op_type == "Reshape" and _copies_no_size(graph.constant(node, 1))
