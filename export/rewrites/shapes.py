"""Computed shapes become constants, and the nodes that repeat rows and columns of pixels become a Resize.

tf2onnx lets the graph compute shapes at run time, although all sizes but the batch size are fixed.
Keras' UpSampling2D repeats rows and columns of pixels, and tf2onnx writes several nodes for this.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from ..graph import Array, Graph, attributes, make_node
from .steps import permutation

# Operations that may occur in the computation of a shape. Each computes whole numbers from whole numbers.
_ON_SHAPES = (
    "Cast",
    "Slice",
    "Concat",
    "Gather",
    "Squeeze",
    "Unsqueeze",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "ReduceProd",
)
# Pairs (coordinate_transformation_mode, nearest_mode) with which a Resize by a whole number repeats values:
# index i of the result has the value at index floor(i / scale) of the source.
_REPEATING = (
    (b"asymmetric", b"floor"),
    (b"half_pixel", b"round_prefer_floor"),
    (b"tf_half_pixel_for_nn", b"floor"),
)
# A shape is computed for each of these batch sizes, to find the sizes in it that depend on the batch. Two
# batch sizes would not suffice, since a division of whole numbers may give the same result for both.
_BATCHES = (2, 3, 60, 120)
_REPEAT = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def fix_reshape_targets(graph: Graph) -> bool:
    """Replace the computed target shape of a Reshape by a constant.

    The target shape must depend on the shape of one value only. At most one size in it may depend on the
    batch size; the constant has a -1 in place of this size.
    """
    for node in graph.nodes:
        if node.op_type != "Reshape" or node.input[1] in graph.constants:
            continue
        nodes = _shape_computation(graph, node.input[1])
        if nodes is None:
            continue
        targets = np.stack([_evaluate(graph, nodes, node.input[1], batch) for batch in _BATCHES])
        free = (targets != targets[0]).any(axis=0)
        if free.sum() > 1 or (targets < (1 if free.any() else -1)).any() or (targets == 0).any():
            continue
        node.input[1] = graph.add_constant(np.where(free, -1, targets[0]).astype(np.int64))
        graph.changed()
        return True
    return False


def _shape_computation(graph: Graph, name: str) -> list[onnx.NodeProto] | None:
    """Return the nodes that compute the value `name` from constants and the shape of one other value.

    The result is None if `name` depends on anything else. It is also None if a size in the shape of the other
    value is unknown, except for the first size, which is the batch size.
    """
    waiting, found = [name], set()
    shaped = set()
    while waiting:
        value = waiting.pop()
        if value in graph.constants or not value:
            continue
        node = graph.producer(value)
        if node is None:
            return None
        found.add(node.output[0])
        if node.op_type == "Shape":
            shape = graph.shape(node.input[0])
            shaped.add(node.input[0])
            # The shapes of two values can't be combined, since their first sizes are unknown and may differ.
            if shape is None or None in shape[1:] or len(shaped) > 1:
                return None
        elif node.op_type in _ON_SHAPES:
            waiting.extend(node.input)
        else:
            return None
    return [node for node in graph.nodes if node.output[0] in found]


def _evaluate(graph: Graph, nodes: list[onnx.NodeProto], name: str, batch: int) -> Array:
    """Return the value `name` that the nodes compute if the batch has `batch` images."""
    known: dict[str, Array] = {}
    steps = []
    for node in nodes:
        if node.op_type != "Shape":
            steps.append(node)
            continue
        settings = attributes(node)
        shape = [batch if size is None else size for size in graph.shape(node.input[0]) or ()]
        known[node.output[0]] = np.array(
            shape[settings.get("start", 0) : settings.get("end", len(shape))], np.int64
        )
    if name in known:
        return known[name]
    known |= {used: graph.constants[used] for node in steps for used in node.input if used in graph.constants}
    inputs = [onnx.ValueInfoProto(name=used) for used in known]
    proto = helper.make_graph(steps, "shape", inputs, [onnx.ValueInfoProto(name=name)])
    (value,) = ReferenceEvaluator(helper.make_model(proto, opset_imports=graph.opsets)).run(None, known)
    return np.array(value)


def replace_repeat_by_resize(graph: Graph) -> bool:
    """Replace the nodes that repeat the values along one axis by a Resize.

    tf2onnx writes Keras' UpSampling2D as two groups of nodes, one for rows and one for columns. In each
    group, an Unsqueeze adds a new axis, a Tile repeats the values along it, and a Reshape merges the new axis
    into the axis before it. A Transpose may come between the Tile and the Reshape.
    """
    for node in graph.nodes:
        chain = _repeating_chain(graph, node)
        if chain is None:
            continue
        unsqueeze, order, axis, times = chain
        source = unsqueeze.input[0]
        new = []
        if order != sorted(order):
            new.append(make_node("Transpose", [source], graph.new_value(), {"perm": order}))
            source = new[0].output[0]
        scales = np.ones(len(order), np.float32)
        scales[axis] = times
        new.append(make_node("Resize", [source, "", graph.add_constant(scales)], node.output[0], _REPEAT))
        graph.replace(node, *new)
        return True
    return False


def _repeating_chain(
    graph: Graph, reshape: onnx.NodeProto
) -> tuple[onnx.NodeProto, list[int], int, int] | None:
    """Find the nodes before a Reshape that, together with it, repeat the values along one axis.

    These nodes are an Unsqueeze, a Tile, and perhaps a Transpose. The Unsqueeze takes the value to repeat.

    Returns:
        None if the Reshape does not follow such nodes. Otherwise a tuple: the Unsqueeze; the order into which
        the Transpose puts the axes of the value to repeat ([0, 1, 2, ...] if there is no Transpose); the
        repeated axis, as an index into this order; and the number of repeats.
    """
    if reshape.op_type != "Reshape" or reshape.input[1] not in graph.constants:
        return None
    tile = graph.producer(reshape.input[0])
    moved = None if tile is None else permutation(tile)
    if tile is not None and moved is not None:
        tile = graph.producer(tile.input[0])
    if tile is None or tile.op_type != "Tile":
        return None
    unsqueeze, repeats = graph.producer(tile.input[0]), graph.constant(tile, 1)
    if unsqueeze is None or unsqueeze.op_type != "Unsqueeze" or repeats is None:
        return None
    source, axes = graph.shape(unsqueeze.input[0]), graph.constant(unsqueeze, 1)
    if (
        not graph.is_float32(unsqueeze.input[0])
        or source is None
        or axes is None
        or axes.size != 1
        or None in source[1:]
    ):
        return None
    new = int(axes.reshape(())) % (len(source) + 1)
    moved = moved or list(range(len(source) + 1))
    position, times = moved.index(new), int(repeats[new])
    # The axis before the new axis is the one to repeat. It must not be axis 0, the batch.
    if position < 2 or repeats.prod() != times:
        return None
    order = [axis - (axis > new) for axis in moved if axis != new]
    expected = [source[axis] for axis in order]
    expected[position - 1] = (expected[position - 1] or 0) * times
    target = graph.shape(reshape.output[0])
    if order[0] != 0 or target is None or list(target[1:]) != expected[1:]:
        return None
    return unsqueeze, order, position - 1, times


def merge_resizes(graph: Graph) -> bool:
    """Replace two consecutive Resizes that repeat values by one."""
    for node in graph.nodes:
        scales, before = repeats_of(graph, node), graph.producer(node.input[0]) if node.input else None
        if scales is None or before is None or graph.only_consumer(before.output[0]) is None:
            continue
        first = repeats_of(graph, before)
        if first is None:
            continue
        merged = graph.add_constant((scales * first).astype(np.float32))
        graph.replace(node, make_node("Resize", [before.input[0], "", merged], node.output[0], _REPEAT))
        graph.nodes.remove(before)
        return True
    return False


def repeats_of(graph: Graph, node: onnx.NodeProto) -> Array | None:
    """Return how often a Resize repeats the values along each axis, int64 (rank,).

    The result is None for another node, and for a Resize that does not only repeat values.
    """
    if node.op_type != "Resize" or len(node.input) != 3:
        return None
    settings, scales = attributes(node), graph.constant(node, 2)
    mode = (
        settings.get("coordinate_transformation_mode", b"half_pixel"),
        settings.get("nearest_mode", b"round_prefer_floor"),
    )
    if settings.get("mode", b"nearest") != b"nearest" or mode not in _REPEATING or "axes" in settings:
        return None
    if scales is None or (scales != np.round(scales)).any() or (scales < 1).any():
        return None
    return scales.astype(np.int64)
