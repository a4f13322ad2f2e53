"""Affine steps, BatchNormalization among them: into the layers before or behind."""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Array, Graph, attributes, make_node
from .steps import (
    affine_steps,
    along,
    channel_axis,
    flowing,
    is_dense,
    is_linear,
    linear_like,
    makes_images,
    output_axis,
    pads,
    per_channel,
    takes_bias,
    weights_and_bias,
)

# f(s x) = s f(x) for s > 0.
_HOMOGENEOUS = ("LeakyRelu", "Relu")


def split_batch_norm(graph: Graph) -> bool:
    """Make an affine step of each of the two that a BatchNormalization has (Ioffe and Szegedy 2015, algorithm 2)."""
    for node in graph.nodes:
        if node.op_type != "BatchNormalization" or attributes(node).get("training_mode"):
            continue
        scale, offset, mean, variance = (graph.constant(node, place) for place in range(1, 5))
        rank = graph.rank(node.input[0])
        if (
            scale is None
            or scale.dtype != np.float32
            or offset is None
            or mean is None
            or variance is None
            or rank is None
            or rank < 2
        ):
            continue
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + attributes(node).get("epsilon", 1e-5))
        shift = offset - mean * factor
        middle = graph.new_value()
        rows = (-1, *[1] * (rank - 2))  # beside (batch, channels, height, width)
        constants = [graph.add_constant(array.astype(np.float32).reshape(rows)) for array in (factor, shift)]
        graph.replace(
            node,
            make_node("Mul", [node.input[0], constants[0]], middle),
            make_node("Add", [middle, constants[1]], node.output[0]),
        )
        return True
    return False


def merge_affine(graph: Graph) -> bool:
    """Make one Mul of two by single numbers, one Add of two; take out those that change nothing."""
    for node, constant in affine_steps(graph):
        if constant.size != 1 or constant.ndim > (graph.rank(flowing(graph, node)) or 0):
            continue
        if float(constant.reshape(())) == (1.0 if node.op_type == "Mul" else 0.0) and graph.can_remove(node):
            node.input[:] = [flowing(graph, node)]
            graph.remove(node)
            return True
        before = graph.producer(flowing(graph, node))
        if before is None or before.op_type != node.op_type or graph.only_consumer(before.output[0]) is None:
            continue
        others = [graph.constants[name] for name in before.input if name in graph.constants]
        if len(others) != 1:
            continue
        (other,) = others
        if other.size != 1 or other.dtype != np.float32 or other.ndim > constant.ndim:
            continue
        values = other.astype(np.float64), constant.astype(np.float64)
        merged = values[0] * values[1] if node.op_type == "Mul" else values[0] + values[1]
        name = graph.add_constant(merged.astype(np.float32))
        graph.replace(node, make_node(node.op_type, [flowing(graph, before), name], node.output[0]))
        graph.nodes.remove(before)
        return True
    return False


def fold_affine_into_linear_before(graph: Graph) -> bool:
    """Put an affine step into the weights or the bias of the linear step that it follows."""
    for node, constant in affine_steps(graph):
        linear = graph.producer(flowing(graph, node))
        if linear is None or not is_linear(graph, linear) or graph.only_consumer(linear.output[0]) is not node:
            continue
        weights, bias = weights_and_bias(graph, linear)
        values = per_channel(constant, weights.shape[output_axis(linear)], channel_axis(linear), weights.ndim)
        if values is None or not _keeps_rank(graph, linear.output[0], constant):
            continue
        if node.op_type == "Mul":
            weights = weights * along(values, weights.ndim, output_axis(linear))
            bias = None if bias is None else bias * values
        elif takes_bias(graph, linear):
            bias = values if bias is None else bias + values
        else:
            continue
        graph.replace(linear, linear_like(graph, linear, linear.input[0], weights, bias, node.output[0]))
        graph.nodes.remove(node)
        return True
    return False


def fold_affine_into_linear_behind(graph: Graph) -> bool:
    """Put an affine step into the weights or the bias of the linear step that it leads to.

    A shift is not put into a step that pads with zeros: the border would miss it. A ConvTranspose has such a border, too.
    """
    for node, constant in affine_steps(graph):
        linear = graph.only_consumer(node.output[0])
        if linear is None or not is_linear(graph, linear) or linear.input[0] != node.output[0]:
            continue
        weights, bias = weights_and_bias(graph, linear)
        axis = 1 if linear.op_type == "Conv" else 0
        values = per_channel(constant, weights.shape[axis], channel_axis(linear), weights.ndim)
        source = graph.shape(flowing(graph, node))
        # A value of one channel may be broadcast up by the constant: then it is not the layer's own input that is scaled.
        if values is None or source is None or len(source) < constant.ndim:
            continue
        if source[channel_axis(linear)] != weights.shape[axis]:
            continue
        if node.op_type == "Mul":
            weights = weights * along(values, weights.ndim, axis)
        elif weights.ndim == 2 and takes_bias(graph, linear):
            shift = values @ weights
            bias = shift if bias is None else bias + shift
        elif linear.op_type == "Conv" and not pads(linear):
            shift = np.einsum("i,oihw->o", values, weights)
            bias = shift if bias is None else bias + shift
        else:
            continue
        graph.replace(linear, linear_like(graph, linear, flowing(graph, node), weights, bias, linear.output[0]))
        graph.nodes.remove(node)
        return True
    return False


def _keeps_rank(graph: Graph, name: str, constant: Array) -> bool:
    """Return whether a constant of so many axes gives none to the value."""
    return constant.ndim <= 1 or (graph.rank(name) or 0) >= constant.ndim


def lift_scale_over_activation(graph: Graph) -> bool:
    """Move a Mul by positive numbers from behind a LeakyRelu or Relu to before it, where a linear step can take it in."""
    for node, constant in affine_steps(graph):
        activation = graph.producer(flowing(graph, node))
        if activation is None or node.op_type != "Mul" or not (constant > 0).all():
            continue
        if activation.op_type not in _HOMOGENEOUS or graph.only_consumer(activation.output[0]) is not node:
            continue
        linear = graph.producer(activation.input[0])
        if linear is None or not is_linear(graph, linear) or graph.only_consumer(linear.output[0]) is not activation:
            continue
        _swap_with_activation(graph, activation, node)
        return True
    return False


def _swap_with_activation(graph: Graph, activation: onnx.NodeProto, affine: onnx.NodeProto) -> None:
    """Let the affine step, which follows the activation, come first."""
    source, middle, target = activation.input[0], activation.output[0], affine.output[0]
    affine.input[:] = [source if name == middle else name for name in affine.input]
    affine.output[0], activation.input[0], activation.output[0] = middle, middle, target
    graph.nodes.remove(affine)
    graph.nodes.insert(next(place for place, node in enumerate(graph.nodes) if node is activation), affine)


def lift_affine_over_reshape(graph: Graph) -> bool:
    """Move an affine step by channel from behind the Reshape of a dense layer's output to before it."""
    for node, constant in affine_steps(graph):
        reshape = graph.producer(flowing(graph, node))
        if reshape is None or reshape.op_type != "Reshape" or graph.only_consumer(reshape.output[0]) is not node:
            continue
        dense, shape = graph.producer(reshape.input[0]), graph.constant(reshape, 1)
        if dense is None or shape is None or graph.only_consumer(dense.output[0]) is not reshape:
            continue
        flat = _along_columns(graph, dense, shape, constant)
        if flat is None:
            continue
        name, middle = graph.add_constant(flat), graph.new_value()
        reshape.input[0], reshape.output[0] = middle, node.output[0]
        graph.replace(reshape, make_node(node.op_type, [dense.output[0], name], middle), reshape)
        graph.nodes.remove(node)
        return True
    return False


def _along_columns(graph: Graph, dense: onnx.NodeProto, shape: Array, constant: Array) -> Array | None:
    """Return a constant, which works on a dense layer's reshaped output, as one number per column; None where it is none."""
    padded = (1,) * (len(shape) - constant.ndim) + constant.shape
    if len(padded) != len(shape):
        return None
    if is_dense(graph, dense) and shape[-1] == padded[-1] == graph.constants[dense.input[1]].shape[1] == constant.size:
        return constant.reshape(-1)
    # One number per place of an image, the same for all images, and no place more than there are.
    if not makes_images(graph, dense, shape) or any(a not in (1, b) for a, b in zip(padded[1:], shape[1:], strict=True)):
        return None
    return np.broadcast_to(constant, (1, *shape[1:])).reshape(-1) if padded[0] == 1 else None


def lift_affine_over_depth_to_space(graph: Graph) -> bool:
    """Move an affine step by channel from behind a DepthToSpace, which a Conv makes, to before it."""
    for node, constant in affine_steps(graph):
        shuffle = graph.producer(flowing(graph, node))
        if shuffle is None or shuffle.op_type != "DepthToSpace" or graph.only_consumer(shuffle.output[0]) is not node:
            continue
        linear = graph.producer(shuffle.input[0])
        if linear is None or not is_linear(graph, linear) or graph.only_consumer(linear.output[0]) is not shuffle:
            continue
        shape, settings = graph.shape(shuffle.output[0]), attributes(shuffle)
        values = None if shape is None or shape[1] is None else per_channel(constant, shape[1], 1, 4)
        if values is None:
            continue
        pixels = settings["blocksize"] ** 2
        # Which of a square's pixels comes first in the channels' order, or which channel.
        spread = np.repeat(values, pixels) if settings.get("mode") == b"CRD" else np.tile(values, pixels)
        name, middle = graph.add_constant(along(spread, 4, 1).astype(np.float32)), graph.new_value()
        affine = make_node(node.op_type, [shuffle.input[0], name], middle)
        graph.replace(shuffle, affine, make_node("DepthToSpace", [middle], node.output[0], settings))
        graph.nodes.remove(node)
        return True
    return False
