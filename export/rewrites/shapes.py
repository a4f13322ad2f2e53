"""Shapes: what tf2onnx leaves to be worked out at run time, although all but the batch is known beforehand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from ..graph import Array, Graph, attributes, make_node
from .steps import permutation

# Whole numbers in, whole numbers out.
_ON_SHAPES = ("Cast", "Slice", "Concat", "Gather", "Squeeze", "Unsqueeze", "Add", "Sub", "Mul", "Div", "ReduceProd")
# Each pixel of the result shows pixel floor(place / scale) of the source.
_REPEATING = (
    (b"asymmetric", b"floor"),
    (b"half_pixel", b"round_prefer_floor"),
    (b"tf_half_pixel_for_nn", b"floor"),
)
# To tell what depends on the batch from what does not, rounded divisions and all.
_BATCHES = (2, 3, 60, 120)
_REPEAT = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def fix_reshape_targets(graph: Graph) -> bool:
    """Make a constant of the target of a Reshape that depends on shapes only, with -1 where it depends on the batch."""
    for node in graph.nodes:
        if node.op_type != "Reshape" or node.input[1] in graph.constants:
            continue
        nodes = _between_shapes_and(graph, node.input[1])
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


def _between_shapes_and(graph: Graph, name: str) -> list[onnx.NodeProto] | None:
    """Return the nodes that make a value of another one's shape; None where it depends on more than that one's first size."""
    waiting, found = [name], set()
    measured = set()
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
            measured.add(node.input[0])
            if shape is None or None in shape[1:] or len(measured) > 1:
                return None  # first sizes of two values need not be the same
        elif node.op_type in _ON_SHAPES:
            waiting.extend(node.input)
        else:
            return None
    return [node for node in graph.nodes if node.output[0] in found]


def _evaluate(graph: Graph, nodes: list[onnx.NodeProto], name: str, batch: int) -> Array:
    """Return the value of that name where the batch is `batch`."""
    known: dict[str, Array] = {}
    steps = []
    for node in nodes:
        if node.op_type != "Shape":
            steps.append(node)
            continue
        settings = attributes(node)
        shape = [batch if size is None else size for size in graph.shape(node.input[0]) or ()]
        known[node.output[0]] = np.array(shape[settings.get("start", 0) : settings.get("end", len(shape))], np.int64)
    if name in known:
        return known[name]
    known |= {used: graph.constants[used] for node in steps for used in node.input if used in graph.constants}
    inputs = [onnx.ValueInfoProto(name=used) for used in known]
    proto = helper.make_graph(steps, "shape", inputs, [onnx.ValueInfoProto(name=name)])
    (value,) = ReferenceEvaluator(helper.make_model(proto, opset_imports=graph.opsets)).run(None, known)
    return np.array(value)


def make_resize_of_repeat(graph: Graph) -> bool:
    """Make a Resize of what Keras' UpSampling2D becomes for each axis: a new axis, tiled, and merged into the one before."""
    for node in graph.nodes:
        chain = _repeating_chain(graph, node)
        if chain is None:
            continue
        unsqueeze, order, axis, times = chain
        source = unsqueeze.input[0]
        made = []
        if order != sorted(order):
            made.append(make_node("Transpose", [source], graph.new_value(), {"perm": order}))
            source = made[0].output[0]
        scales = np.ones(len(order), np.float32)
        scales[axis] = times
        made.append(make_node("Resize", [source, "", graph.add_constant(scales)], node.output[0], _REPEAT))
        graph.replace(node, *made)
        return True
    return False


def _repeating_chain(graph: Graph, reshape: onnx.NodeProto) -> tuple[onnx.NodeProto, list[int], int, int] | None:
    """Return the Unsqueeze that begins the repetition that this Reshape ends, how axes move, which is repeated, how often."""
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
    if not graph.is_float32(unsqueeze.input[0]) or source is None or axes is None or axes.size != 1 or None in source[1:]:
        return None
    new = int(axes.reshape(())) % (len(source) + 1)
    moved = moved or list(range(len(source) + 1))
    place, times = moved.index(new), int(repeats[new])
    if place < 2 or repeats.prod() != times:  # the axis before the new one is repeated: not the batch
        return None
    order = [axis - (axis > new) for axis in moved if axis != new]
    due = [source[axis] for axis in order]
    due[place - 1] = (due[place - 1] or 0) * times
    target = graph.shape(reshape.output[0])
    if order[0] != 0 or target is None or list(target[1:]) != due[1:]:
        return None
    return unsqueeze, order, place - 1, times


def merge_resizes(graph: Graph) -> bool:
    """Make one Resize of two that repeat pixels."""
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
    """Return how often a Resize repeats each place, by axis, int64 (rank,); None for other nodes, and where it does more."""
    if node.op_type != "Resize" or len(node.input) != 3:
        return None
    settings, scales = attributes(node), graph.constant(node, 2)
    mode = settings.get("coordinate_transformation_mode", b"half_pixel"), settings.get("nearest_mode", b"round_prefer_floor")
    if settings.get("mode", b"nearest") != b"nearest" or mode not in _REPEATING or "axes" in settings:
        return None
    if scales is None or (scales != np.round(scales)).any() or (scales < 1).any():
        return None
    return scales.astype(np.int64)
