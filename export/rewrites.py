"""Rewrites that keep the numbers, up to the rounding of float32, and drop the work.

Each takes a graph, makes one change and says so, or finds none to make. `simplify` makes them all until none is left.

An affine step is one Mul or Add by a constant; BatchNormalization in inference is one of each. A linear step is a MatMul, Gemm,
Conv or ConvTranspose by constant weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx

from .graph import POINTWISE, Array, Graph, attributes, make_node

Rewrite = Callable[[Graph], bool]

_LINEAR = ("MatMul", "Gemm", "Conv", "ConvTranspose")
_AFFINE = ("Mul", "Add")
# f(s x) = s f(x) for s > 0.
_HOMOGENEOUS = ("LeakyRelu", "Relu")
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


def simplify(model: onnx.ModelProto, rewrites: Mapping[str, Rewrite] | None = None) -> onnx.ModelProto:
    """Return the model after all rewrites, or after those that are given by name."""
    if any(attribute.type == onnx.AttributeProto.GRAPH for node in model.graph.node for attribute in node.attribute):
        return model  # a graph within a graph sees values that nobody outside seems to use
    if model.functions or model.graph.sparse_initializer:
        return model  # tf2onnx makes none
    graph = Graph(model)
    chosen = list((REWRITES if rewrites is None else rewrites).values())
    while any(rewrite(graph) for rewrite in chosen):
        graph.changed()
    return graph.to_model()


def drop_no_ops(graph: Graph) -> bool:
    """Take out an Identity, a Dropout, a Transpose that moves nothing."""
    for node in graph.nodes:
        if _does_nothing(node) and graph.can_remove(node):
            graph.remove(node)
            return True
    return False


def _does_nothing(node: onnx.NodeProto) -> bool:
    if node.op_type == "Dropout":
        return len(node.input) < 3  # the third could ask for training
    permutation = _permutation(node)
    return node.op_type == "Identity" or (permutation is not None and permutation == sorted(permutation))


def _permutation(node: onnx.NodeProto) -> list[int] | None:
    """Return how a Transpose orders the axes; None for other nodes, and where it only says to reverse them."""
    permutation = attributes(node).get("perm") if node.op_type == "Transpose" else None
    return None if permutation is None else list(permutation)


def merge_transposes(graph: Graph) -> bool:
    """Make one Transpose of two in a row, and one Reshape of two."""
    for node in graph.nodes:
        before = graph.producer(node.input[0]) if node.input else None
        if before is None or before.op_type != node.op_type or graph.only_consumer(before.output[0]) is None:
            continue
        first, second = _permutation(before), _permutation(node)
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
        second = _permutation(node)
        if second is None:
            continue
        before = graph.producer(node.input[0])
        while before is not None and graph.only_consumer(before.output[0]) is not None and _is_pointwise(graph, before):
            before = graph.producer(_flowing(graph, before))
        first = None if before is None else _permutation(before)
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


def split_batch_norm(graph: Graph) -> bool:
    """Make an affine step of each of the two that a BatchNormalization has (Ioffe and Szegedy 2015, algorithm 2)."""
    for node in graph.nodes:
        if node.op_type != "BatchNormalization" or attributes(node).get("training_mode"):
            continue
        scale, offset, mean, variance = (graph.constant(node, place) for place in range(1, 5))
        rank = graph.rank(node.input[0])
        if scale is None or offset is None or mean is None or variance is None or rank is None or rank < 2:
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


def fold_affine_into_linear_before(graph: Graph) -> bool:
    """Put an affine step into the weights or the bias of the linear step that it follows."""
    for node, constant in _affine_steps(graph):
        linear = graph.producer(_flowing(graph, node))
        if linear is None or not _is_linear(graph, linear) or graph.only_consumer(linear.output[0]) is not node:
            continue
        weights, bias = _weights_and_bias(graph, linear)
        values = _per_channel(constant, weights.shape[_output_axis(linear)], _channel_axis(linear), weights.ndim)
        if values is None:
            continue
        if node.op_type == "Mul":
            weights = weights * _along(values, weights.ndim, _output_axis(linear))
            bias = None if bias is None else bias * values
        elif _takes_bias(graph, linear):
            bias = values if bias is None else bias + values
        else:
            continue
        graph.replace(linear, _linear_like(graph, linear, linear.input[0], weights, bias, node.output[0]))
        graph.nodes.remove(node)
        return True
    return False


def fold_affine_into_linear_behind(graph: Graph) -> bool:
    """Put an affine step into the weights or the bias of the linear step that it leads to.

    A shift is not put into a step that pads with zeros: the border would miss it. A ConvTranspose has such a border, too.
    """
    for node, constant in _affine_steps(graph):
        linear = graph.only_consumer(node.output[0])
        if linear is None or not _is_linear(graph, linear) or linear.input[0] != node.output[0]:
            continue
        weights, bias = _weights_and_bias(graph, linear)
        axis = 1 if linear.op_type == "Conv" else 0
        values = _per_channel(constant, weights.shape[axis], _channel_axis(linear), weights.ndim)
        flowing = graph.shape(_flowing(graph, node))
        # A value of one channel may be broadcast up by the constant: then it is not the layer's own input that is scaled.
        if values is None or flowing is None or flowing[_channel_axis(linear)] != weights.shape[axis]:
            continue
        if node.op_type == "Mul":
            weights = weights * _along(values, weights.ndim, axis)
        elif weights.ndim == 2 and _takes_bias(graph, linear):
            shift = values @ weights
            bias = shift if bias is None else bias + shift
        elif linear.op_type == "Conv" and not _pads(linear):
            shift = np.einsum("i,oihw->o", values, weights)
            bias = shift if bias is None else bias + shift
        else:
            continue
        graph.replace(linear, _linear_like(graph, linear, _flowing(graph, node), weights, bias, linear.output[0]))
        graph.nodes.remove(node)
        return True
    return False


def lift_scale_over_activation(graph: Graph) -> bool:
    """Move a Mul by positive numbers from behind a LeakyRelu or Relu to before it, where a linear step can take it in."""
    for node, constant in _affine_steps(graph):
        activation = graph.producer(_flowing(graph, node))
        if activation is None or node.op_type != "Mul" or not (constant > 0).all():
            continue
        if activation.op_type not in _HOMOGENEOUS or graph.only_consumer(activation.output[0]) is not node:
            continue
        linear = graph.producer(activation.input[0])
        if linear is None or not _is_linear(graph, linear) or graph.only_consumer(linear.output[0]) is not activation:
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
    for node, constant in _affine_steps(graph):
        reshape = graph.producer(_flowing(graph, node))
        if reshape is None or reshape.op_type != "Reshape" or graph.only_consumer(reshape.output[0]) is not node:
            continue
        dense, shape = graph.producer(reshape.input[0]), graph.constant(reshape, 1)
        if dense is None or shape is None or not _makes_images(graph, dense, shape):
            continue
        padded = (1,) * (len(shape) - constant.ndim) + constant.shape
        # One number per place of an image, the same for all images, and no place more than there are.
        if len(padded) != len(shape) or padded[0] != 1 or any(a not in (1, b) for a, b in zip(padded, shape, strict=True)):
            continue
        if graph.only_consumer(dense.output[0]) is not reshape:
            continue
        flat = np.broadcast_to(constant, (1, *shape[1:])).reshape(-1)
        name, middle = graph.add_constant(flat), graph.new_value()
        reshape.input[0], reshape.output[0] = middle, node.output[0]
        graph.replace(reshape, make_node(node.op_type, [dense.output[0], name], middle), reshape)
        graph.nodes.remove(node)
        return True
    return False


def lift_transpose(graph: Graph) -> bool:
    """Move the Transpose to NCHW before what works on single numbers; from there into the columns of a dense layer."""
    for node in graph.nodes:
        if _permutation(node) != _TO_NCHW:
            continue
        before = graph.producer(node.input[0])
        if before is None or graph.only_consumer(before.output[0]) is None:
            continue
        if _is_pointwise(graph, before):
            _swap_with_transpose(graph, before, node)
            return True
        if before.op_type == "Reshape" and _permute_columns(graph, before, node):
            return True
    return False


def _makes_images(graph: Graph, dense: onnx.NodeProto, shape: Array) -> bool:
    """Return whether a row of a dense layer's output, and nothing else, becomes one image."""
    weights = graph.constant(dense, 1)
    if weights is None or not _is_dense(graph, dense):
        return False
    return bool((shape[1:] > 0).all()) and int(np.prod(shape[1:])) == weights.shape[1]


def _swap_with_transpose(graph: Graph, pointwise: onnx.NodeProto, transpose: onnx.NodeProto) -> None:
    place = next(place for place, name in enumerate(pointwise.input) if name not in graph.constants)
    source, middle, target = pointwise.input[place], pointwise.output[0], transpose.output[0]
    transpose.input[0], transpose.output[0] = source, middle
    pointwise.input[place], pointwise.output[0] = middle, target
    graph.nodes.remove(transpose)
    graph.nodes.insert(next(place for place, node in enumerate(graph.nodes) if node is pointwise), transpose)


def _permute_columns(graph: Graph, reshape: onnx.NodeProto, transpose: onnx.NodeProto) -> bool:
    dense, shape = graph.producer(reshape.input[0]), graph.constant(reshape, 1)
    if dense is None or shape is None or len(shape) != 4 or not _makes_images(graph, dense, shape):
        return False
    if graph.only_consumer(dense.output[0]) is not reshape:
        return False
    height, width, channels = (int(size) for size in shape[1:])
    weights, bias = _weights_and_bias(graph, dense)
    columns = np.arange(height * width * channels).reshape(height, width, channels).transpose(2, 0, 1).reshape(-1)
    bias = None if bias is None else bias[columns]
    graph.replace(dense, _linear_like(graph, dense, dense.input[0], weights[:, columns], bias, dense.output[0]))
    target = graph.add_constant(np.array([shape[0], channels, height, width]))
    graph.replace(reshape, make_node("Reshape", [dense.output[0], target], transpose.output[0]))
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
        if behind is None or not _is_pointwise(graph, behind):
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
        return _permutation(node) == _TO_NHWC
    return node.op_type == "Reshape" and graph.constant(node, 1) is not None


def _affine_steps(graph: Graph) -> Iterator[tuple[onnx.NodeProto, Array]]:
    """Yield each Mul or Add of one value and one constant, with the constant."""
    for node in graph.nodes:
        if node.op_type in _AFFINE:
            constants = [graph.constants[name] for name in node.input if name in graph.constants]
            if len(constants) == 1 and constants[0].dtype == np.float32:
                yield node, constants[0]


def _flowing(graph: Graph, node: onnx.NodeProto) -> str:
    """Return the input of a node that is no constant."""
    return next(name for name in node.input if name not in graph.constants)


def _is_pointwise(graph: Graph, node: onnx.NodeProto) -> bool:
    flowing = [name for name in node.input if name and name not in graph.constants]
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    if node.op_type not in POINTWISE or len(flowing) != 1:
        return False
    # A constant of more axes would give its own to the result.
    rank = graph.rank(flowing[0])
    return all(constant.size == 1 and (constant.ndim == 0 or (rank or 0) >= constant.ndim) for constant in constants)


def _is_linear(graph: Graph, node: onnx.NodeProto) -> bool:
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


def _is_dense(graph: Graph, node: onnx.NodeProto) -> bool:
    return node.op_type in ("MatMul", "Gemm") and _is_linear(graph, node)


def _weights_and_bias(graph: Graph, node: onnx.NodeProto) -> tuple[Array, Array | None]:
    """Return them in float64, so that folding rounds once."""
    weights, bias = graph.constant(node, 1), graph.constant(node, 2)
    if weights is None:
        raise ValueError(f"{node.name} has no constant weights")
    return weights.astype(np.float64), None if bias is None else bias.astype(np.float64)


def _pads(convolution: onnx.NodeProto) -> bool:
    settings = attributes(convolution)
    return any(settings.get("pads", ())) or settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def _takes_bias(graph: Graph, linear: onnx.NodeProto) -> bool:
    """Return whether a bias can be given: a Gemm, which has one, works on rows only, a MatMul on any shape."""
    return linear.op_type != "MatMul" or graph.rank(linear.input[0]) == 2


def _output_axis(node: onnx.NodeProto) -> int:
    """Return which axis of the weights counts output channels."""
    return 0 if node.op_type == "Conv" else 1


def _channel_axis(node: onnx.NodeProto) -> int:
    """Return which axis of the values that go in and out counts channels."""
    return 1 if node.op_type in ("Conv", "ConvTranspose") else -1


def _per_channel(constant: Array, channels: int, axis: int, rank: int) -> Array | None:
    """Return one number per channel, float64, of a constant that is broadcast; None where it differs within a channel.

    >>> _per_channel(np.float32([[[3]], [[4]]]), 2, axis=1, rank=4)
    array([3., 4.])
    """
    if constant.size == 1 and constant.ndim <= rank:
        return np.full(channels, constant.reshape(()), dtype=np.float64)
    shape = (1,) * (rank - constant.ndim) + constant.shape
    due = [1] * rank
    due[axis] = channels
    return constant.reshape(channels).astype(np.float64) if list(shape) == due else None


def _along(values: Array, rank: int, axis: int) -> Array:
    """Return values along one axis of an array of that rank, to be broadcast."""
    return values.reshape([-1 if place == axis else 1 for place in range(rank)])


def _linear_like(
    graph: Graph, node: onnx.NodeProto, source: str, weights: Array, bias: Array | None, target: str
) -> onnx.NodeProto:
    """Return a linear step with other weights and bias; of a MatMul it is a Gemm where there is a bias."""
    inputs = [source, graph.add_constant(weights.astype(np.float32), "weights")]
    if bias is not None:
        inputs.append(graph.add_constant(bias.astype(np.float32), "bias"))
    operation = "Gemm" if node.op_type == "MatMul" and bias is not None else node.op_type
    return make_node(operation, inputs, target, attributes(node))


REWRITES: Mapping[str, Rewrite] = {
    "drop what does nothing": drop_no_ops,
    "merge transposes and reshapes": merge_transposes,
    "cancel transposes": cancel_transposes,
    "split BatchNormalization": split_batch_norm,
    "fold affine steps into the layer behind": fold_affine_into_linear_behind,
    "lift affine steps over the reshape": lift_affine_over_reshape,
    "lift scales over the activation": lift_scale_over_activation,
    "fold affine steps into the layer before": fold_affine_into_linear_before,
    "lift transposes into the dense layer": lift_transpose,
    "sink reshapes and the last transpose": sink_layout,  # the others want a Reshape right behind its dense layer
}
