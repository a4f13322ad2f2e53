"""Affine steps: each Mul or Add with a constant is folded into the linear step before or after it.

A linear step is a dense layer or a convolution with constant weights. A BatchNormalization in inference mode
is first split into two affine steps.
"""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Array, Graph, attributes, make_node
from .steps import (
    affine_steps,
    broadcast_along,
    can_take_bias,
    channel_axis,
    has_padding,
    is_dense,
    is_linear,
    linear_like,
    makes_one_image_per_row,
    output_axis,
    per_channel,
    variable_input,
    weights_and_bias,
)

# Activations f for which f(s x) = s f(x) for all s > 0.
_HOMOGENEOUS = ("LeakyRelu", "Relu")


def transpose_dense_weights(graph: Graph) -> bool:
    """Transpose the constant weights of a Gemm that would transpose them itself, as PyTorch writes it.

    The other rewrites expect the weights of a dense layer as (inputs, outputs).
    """
    for node in graph.nodes:
        weights = graph.constant(node, 1) if node.op_type == "Gemm" else None
        if weights is None or not attributes(node).get("transB"):
            continue
        node.input[1] = graph.add_constant(np.ascontiguousarray(weights.T))
        kept = [each for each in node.attribute if each.name != "transB"]
        del node.attribute[:]
        node.attribute.extend(kept)
        graph.changed()
        return True
    return False


def split_batch_norm(graph: Graph) -> bool:
    """Replace a BatchNormalization in inference mode by a Mul and an Add.

    The formula is in algorithm 2 of Ioffe and Szegedy 2015.
    """
    for node in graph.nodes:
        if node.op_type != "BatchNormalization" or attributes(node).get("training_mode"):
            continue
        scale, offset, mean, variance = (graph.constant(node, index) for index in range(1, 5))
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
        factor = scale.astype(np.float64) / np.sqrt(
            variance.astype(np.float64) + attributes(node).get("epsilon", 1e-5)
        )
        shift = offset - mean * factor
        middle = graph.new_value()
        shape = (-1, *[1] * (rank - 2))  # broadcasts with (batch, channels, height, width)
        constants = [graph.add_constant(array.astype(np.float32).reshape(shape)) for array in (factor, shift)]
        graph.replace(
            node,
            make_node("Mul", [node.input[0], constants[0]], middle),
            make_node("Add", [middle, constants[1]], node.output[0]),
        )
        return True
    return False


def merge_affine(graph: Graph) -> bool:
    """Merge two consecutive Muls or Adds with scalars into one, or remove a Mul by 1 or an Add of 0."""
    for node, constant in affine_steps(graph):
        if constant.size != 1 or constant.ndim > (graph.rank(variable_input(graph, node)) or 0):
            continue
        if float(constant.reshape(())) == (1.0 if node.op_type == "Mul" else 0.0) and graph.can_remove(node):
            node.input[:] = [variable_input(graph, node)]
            graph.remove(node)
            return True
        before = graph.producer(variable_input(graph, node))
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
        graph.replace(node, make_node(node.op_type, [variable_input(graph, before), name], node.output[0]))
        graph.nodes.remove(before)
        return True
    return False


def fold_affine_into_previous_layer(graph: Graph) -> bool:
    """Fold an affine step into the weights or the bias of the linear step before it."""
    for node, constant in affine_steps(graph):
        linear = graph.producer(variable_input(graph, node))
        if (
            linear is None
            or not is_linear(graph, linear)
            or graph.only_consumer(linear.output[0]) is not node
        ):
            continue
        weights, bias = weights_and_bias(graph, linear)
        values = per_channel(constant, weights.shape[output_axis(linear)], channel_axis(linear), weights.ndim)
        if values is None or not _keeps_rank(graph, linear.output[0], constant):
            continue
        if node.op_type == "Mul":
            weights = weights * broadcast_along(values, weights.ndim, output_axis(linear))
            bias = None if bias is None else bias * values
        elif can_take_bias(graph, linear):
            bias = values if bias is None else bias + values
        else:
            continue
        graph.replace(linear, linear_like(graph, linear, linear.input[0], weights, bias, node.output[0]))
        graph.nodes.remove(node)
        return True
    return False


def fold_affine_into_next_layer(graph: Graph) -> bool:
    """Fold an affine step into the weights or the bias of the linear step after it.

    An Add is not folded into a Conv that pads with zeros. The Add does not change these zeros, so it has less
    effect on pixels near the border than on others, whereas a bias changes all pixels alike. An Add is not
    folded into a ConvTranspose either, since fewer input pixels contribute to a pixel near the border.
    """
    for node, constant in affine_steps(graph):
        linear = graph.only_consumer(node.output[0])
        if linear is None or not is_linear(graph, linear) or linear.input[0] != node.output[0]:
            continue
        weights, bias = weights_and_bias(graph, linear)
        axis = 1 if linear.op_type == "Conv" else 0
        values = per_channel(constant, weights.shape[axis], channel_axis(linear), weights.ndim)
        source = graph.shape(variable_input(graph, node))
        # An affine step that broadcasts one channel to several channels is not folded. Without this step, the
        # layer would get fewer channels than it expects.
        if values is None or source is None or len(source) < constant.ndim:
            continue
        if source[channel_axis(linear)] != weights.shape[axis]:
            continue
        if node.op_type == "Mul":
            weights = weights * broadcast_along(values, weights.ndim, axis)
        elif weights.ndim == 2 and can_take_bias(graph, linear):
            shift = values @ weights
            bias = shift if bias is None else bias + shift
        elif linear.op_type == "Conv" and not has_padding(linear):
            shift = np.einsum("i,oihw->o", values, weights)
            bias = shift if bias is None else bias + shift
        else:
            continue
        graph.replace(
            linear, linear_like(graph, linear, variable_input(graph, node), weights, bias, linear.output[0])
        )
        graph.nodes.remove(node)
        return True
    return False


def _keeps_rank(graph: Graph, name: str, constant: Array) -> bool:
    """Return whether the value `name` has the same number of axes after a Mul or an Add with `constant`."""
    return constant.ndim <= 1 or (graph.rank(name) or 0) >= constant.ndim


def move_scale_before_activation(graph: Graph) -> bool:
    """Move a Mul by positive values before the activation (LeakyRelu or Relu) that it follows.

    The result stays the same (see `_HOMOGENEOUS`). The activation must follow a linear step, into which the
    Mul can then be folded.
    """
    for node, constant in affine_steps(graph):
        activation = graph.producer(variable_input(graph, node))
        if activation is None or node.op_type != "Mul" or not (constant > 0).all():
            continue
        if activation.op_type not in _HOMOGENEOUS or graph.only_consumer(activation.output[0]) is not node:
            continue
        linear = graph.producer(activation.input[0])
        if (
            linear is None
            or not is_linear(graph, linear)
            or graph.only_consumer(linear.output[0]) is not activation
        ):
            continue
        _swap_with_activation(graph, activation, node)
        return True
    return False


def _swap_with_activation(graph: Graph, activation: onnx.NodeProto, affine: onnx.NodeProto) -> None:
    """Exchange an activation and the affine step after it, so that the affine step comes first."""
    source, middle, target = activation.input[0], activation.output[0], affine.output[0]
    affine.input[:] = [source if name == middle else name for name in affine.input]
    affine.output[0], activation.input[0], activation.output[0] = middle, middle, target
    graph.nodes.remove(affine)
    graph.nodes.insert(graph.position(activation), affine)


def move_affine_before_reshape(graph: Graph) -> bool:
    """Exchange the Reshape of a dense layer's output and the affine step after it.

    The affine step then comes first, and can be folded into the dense layer.
    """
    for node, constant in affine_steps(graph):
        reshape = graph.producer(variable_input(graph, node))
        if (
            reshape is None
            or reshape.op_type != "Reshape"
            or graph.only_consumer(reshape.output[0]) is not node
        ):
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
    """Return the constant that has the same effect before the Reshape as `constant` has after it.

    The result has one value for each column of the dense layer, shape (columns,). It is None if the effect of
    `constant` differs between the rows of the dense layer's output, or if this is unknown.

    Args:
        graph: The graph.
        dense: Linear step before the Reshape.
        shape: Target shape of the Reshape.
        constant: Constant of the affine step after the Reshape.
    """
    padded = (1,) * (len(shape) - constant.ndim) + constant.shape
    if len(padded) != len(shape):
        return None
    if (
        is_dense(graph, dense)
        and shape[-1] == padded[-1] == graph.constants[dense.input[1]].shape[1] == constant.size
    ):
        return constant.reshape(-1)
    if not makes_one_image_per_row(graph, dense, shape):
        return None
    # The constant must broadcast to the shape of one image, and must have the same values for all images.
    fits = all(size in (1, expected) for size, expected in zip(padded[1:], shape[1:], strict=True))
    if not fits or padded[0] != 1:
        return None
    return np.broadcast_to(constant, (1, *shape[1:])).reshape(-1)


def move_affine_before_depth_to_space(graph: Graph) -> bool:
    """Exchange the DepthToSpace of a convolution's output and the affine step after it.

    The affine step then comes first, and can be folded into the convolution. The constant of the affine step
    must have one value, or one value for each channel.
    """
    for node, constant in affine_steps(graph):
        shuffle = graph.producer(variable_input(graph, node))
        if (
            shuffle is None
            or shuffle.op_type != "DepthToSpace"
            or graph.only_consumer(shuffle.output[0]) is not node
        ):
            continue
        linear = graph.producer(shuffle.input[0])
        if (
            linear is None
            or not is_linear(graph, linear)
            or graph.only_consumer(linear.output[0]) is not shuffle
        ):
            continue
        shape, settings = graph.shape(shuffle.output[0]), attributes(shuffle)
        values = None if shape is None or shape[1] is None else per_channel(constant, shape[1], 1, 4)
        if values is None:
            continue
        pixels = settings["blocksize"] ** 2
        # In mode CRD of DepthToSpace, consecutive input channels are the pixels of one output channel.
        # In mode DCR, consecutive input channels are the output channels of one pixel.
        is_crd = settings.get("mode") == b"CRD"
        spread = np.repeat(values, pixels) if is_crd else np.tile(values, pixels)
        name, middle = graph.add_constant(broadcast_along(spread, 4, 1).astype(np.float32)), graph.new_value()
        affine = make_node(node.op_type, [shuffle.input[0], name], middle)
        graph.replace(shuffle, affine, make_node("DepthToSpace", [middle], node.output[0], settings))
        graph.nodes.remove(node)
        return True
    return False
