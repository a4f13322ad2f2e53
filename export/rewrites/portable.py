"""Rewrites for targets that read few operators: each replaces an operator by others with the same result.

They cost time or bytes in onnxruntime, so only the graphs of `export.targets` get them.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ganport.runtime.contract import LABEL

from ..graph import Array, Graph, attributes, make_node
from ..sessions import open_on_cpu
from .steps import is_dense, is_linear, is_pointwise, permutation, variable_input, weights_and_bias


def tabulate_label(graph: Graph) -> bool:
    """Replace what a graph computes from the label's index alone by a dense layer of its one-hot code.

    An example is an embedding. Row i of the weights is the value that the graph computes for label i. A
    one-hot code times the weights is one of the rows, so the result is the same.
    """
    label = next((value for value in graph.inputs if value.name == LABEL), None)
    if label is None or not any(node.op_type == "ArgMax" for node in graph.nodes):
        return False
    dependent = _values_of(graph, LABEL)
    for node in graph.nodes:
        for index, name in enumerate(node.input):
            shape = graph.shape(name) if name in dependent and name != LABEL else None
            if shape is None or None in shape[1:] or dependent.intersection(node.output):
                continue
            alone = _alone(graph, label, name) if graph.is_float32(name) else None
            if alone is None:
                continue
            rows = _rows_of(alone, label).reshape(-1, math.prod(size or 0 for size in shape[1:]))
            product, value = graph.new_value(), graph.new_value()
            target = graph.add_constant(np.array([-1, *(size or 0 for size in shape[1:])]))
            dense = make_node("MatMul", [LABEL, graph.add_constant(rows, "weights")], product)
            node.input[index] = value
            graph.replace(node, dense, make_node("Reshape", [product, target], value), node)
            return True
    return False


def _values_of(graph: Graph, name: str) -> set[str]:
    """Return the values that depend on one value, and on nothing else but constants."""
    known, dependent = set(graph.constants) | {""}, {name}
    for node in graph.nodes:
        variables = set(node.input) - known
        if not variables:
            known.update(node.output)
        elif variables <= dependent:
            dependent.update(node.output)
    return dependent


def _alone(graph: Graph, label: onnx.ValueInfoProto, name: str) -> onnx.ModelProto | None:
    """Return the part of a graph that computes a value from the label; None if it takes no label's index."""
    constants = [numpy_helper.from_array(array, each) for each, array in graph.constants.items()]
    ends = [onnx.ValueInfoProto(name=name)]
    part = helper.make_graph(graph.nodes, "label", [label], ends, constants)
    alone = Graph(helper.make_model(part, opset_imports=graph.opsets, ir_version=8))
    alone.drop_unused()
    return alone.to_model() if any(node.op_type == "ArgMax" for node in alone.nodes) else None


def _rows_of(model: onnx.ModelProto, label: onnx.ValueInfoProto) -> Array:
    """Return the value that a graph computes for each label, float32 (number of labels, ...)."""
    batch, count = label.type.tensor_type.shape.dim
    session = open_on_cpu(model)
    codes = np.eye(count.dim_value, dtype=np.float32)
    rows = [session.run(None, {LABEL: np.tile(code, (batch.dim_value or 1, 1))})[0][0] for code in codes]
    return np.stack(rows)


def split_dense_of_concat(graph: Graph) -> bool:
    """Replace a dense layer of several joined inputs by one dense layer for each, and Adds.

    The latents and the label's one-hot code are joined so. Simple runtimes then need no Concat.
    """
    for node in graph.nodes:
        concat = graph.producer(node.input[0]) if is_dense(graph, node) else None
        if concat is None or concat.op_type != "Concat" or attributes(concat)["axis"] not in (1, -1):
            continue
        shapes = [graph.shape(name) for name in concat.input]
        if any(shape is None or len(shape) != 2 or shape[1] is None for shape in shapes):
            continue
        weights, bias = weights_and_bias(graph, node)
        ends = np.cumsum([shape[1] for shape in shapes if shape is not None])
        if ends[-1] != len(weights):
            continue
        parts = np.split(weights.astype(np.float32), ends[:-1])
        new, total = [], ""
        for number, (name, part) in enumerate(zip(concat.input, parts, strict=True)):
            inputs = [name, graph.add_constant(part, "weights")]
            if number == 0 and bias is not None:
                inputs.append(graph.add_constant(bias.astype(np.float32), "bias"))
            product = graph.new_value()
            new.append(make_node("Gemm" if len(inputs) == 3 else "MatMul", inputs, product))
            if total:
                is_last = number == len(parts) - 1
                joined = node.output[0] if is_last else graph.new_value()
                new.append(make_node("Add", [total, product], joined))
                product = joined
            total = product
        graph.replace(node, *new)
        return True
    return False


def make_dense_gemm(graph: Graph) -> bool:
    """Replace a MatMul of rows by a Gemm, and give each Gemm a bias. Some converters read no other form."""
    for node in graph.nodes:
        if not is_dense(graph, node) or len(node.input) == 3 or graph.rank(node.input[0]) != 2:
            continue
        weights, _ = weights_and_bias(graph, node)
        bias = graph.add_constant(np.zeros(weights.shape[1], np.float32), "bias")
        graph.replace(node, make_node("Gemm", [*node.input[:2], bias], node.output[0]))
        return True
    return False


def fuse_depth_to_space(graph: Graph) -> bool:
    """Replace a Conv and the DepthToSpace after it by one ConvTranspose whose stride is the block size.

    Each pixel of a block has its own channels in the kernel of the Conv. In the kernel of the ConvTranspose
    it has its own rows and columns. Pointwise steps may lie between the two nodes.
    """
    for node in graph.nodes:
        if node.op_type != "DepthToSpace":
            continue
        conv = graph.producer(node.input[0])
        while conv is not None and is_pointwise(graph, conv) and graph.only_consumer(conv.output[0]):
            conv = graph.producer(variable_input(graph, conv))
        if conv is None or conv.op_type != "Conv" or not is_linear(graph, conv):
            continue
        settings, shape = attributes(conv), graph.shape(node.output[0])
        is_plain = all(each == 1 for name in ("strides", "dilations") for each in settings.get(name, ()))
        if (
            settings.get("auto_pad", b"NOTSET") != b"NOTSET"
            or not is_plain
            or shape is None
            or None in shape[1:]
        ):
            continue
        if graph.only_consumer(conv.output[0]) is None or not graph.can_remove(node):
            continue
        block, mode = attributes(node)["blocksize"], attributes(node).get("mode", b"DCR")
        weights, bias = weights_and_bias(graph, conv)  # (out * block**2, in, height, width)
        spread, biases = (
            _by_pixel(weights, block, mode),
            None if bias is None else _by_pixel(bias, block, mode),
        )
        flipped = spread[..., ::-1, ::-1].transpose(3, 2, 4, 0, 5, 1)  # (in, out, height, row, width, column)
        kernel = flipped.reshape(weights.shape[1], -1, weights.shape[2] * block, weights.shape[3] * block)
        pads = block * (np.array([*weights.shape[2:]] * 2) - 1 - np.array(settings.get("pads", [0] * 4)))
        if (pads < 0).any():
            continue
        target = graph.new_value()
        inputs = [conv.input[0], graph.add_constant(kernel.astype(np.float32), "weights")]
        new = {"kernel_shape": list(kernel.shape[2:]), "strides": [block] * 2, "pads": pads.tolist()}
        added = make_node("ConvTranspose", inputs, target, new)
        if biases is None:
            added.output[0] = conv.output[0]
            graph.replace(conv, added)
        else:
            graph.replace(conv, added, _add_bias(graph, added, biases, shape, conv.output[0]))
        graph.remove(node)
        return True
    return False


def _by_pixel(array: Array, block: int, mode: bytes) -> Array:
    """Return channels (out * block**2, ...) as (row, column, out, ...), by the order of a DepthToSpace."""
    rest, inner = array.shape[1:], len(array) // block**2
    if mode == b"DCR":
        return array.reshape(block, block, inner, *rest)
    return np.moveaxis(array.reshape(inner, block, block, *rest), 0, 2)


def _add_bias(
    graph: Graph, node: onnx.NodeProto, biases: Array, shape: tuple[int | None, ...], target: str
) -> onnx.NodeProto:
    """Return an Add of a bias that each pixel of a block has for itself. `biases` is (row, column, out)."""
    block = len(biases)
    rows, columns = (int(each or 0) // block for each in shape[2:])
    image = np.tile(biases.transpose(2, 0, 1), (1, rows, columns))[np.newaxis]
    if (biases == biases[0, 0]).all():
        image = biases[0, 0].reshape(1, -1, 1, 1)
    return make_node("Add", [node.output[0], graph.add_constant(image.astype(np.float32), "bias")], target)


def make_pads_explicit(graph: Graph) -> bool:
    """Replace `auto_pad`, `output_shape` and `output_padding` of a convolution by pads.

    The formulas are those of the ONNX operators Conv and ConvTranspose. Output pads become rows and
    columns of zeros at the end of the kernel.
    """
    for node in graph.nodes:
        if node.op_type not in ("Conv", "ConvTranspose") or not is_linear(graph, node):
            continue
        settings = attributes(node)
        mode = settings.get("auto_pad", b"NOTSET")
        extra = np.array(settings.get("output_padding", (0, 0)))
        if mode == b"NOTSET" and not extra.any() and "output_shape" not in settings:
            continue
        pads = _pads_of(graph, node, mode)
        weights, bias = weights_and_bias(graph, node)
        if pads is None or any(step != 1 for step in settings.get("dilations", ())) or weights.ndim != 4:
            continue
        weights = np.pad(weights, ((0, 0), (0, 0), (0, int(extra[0])), (0, int(extra[1]))))
        _replace_convolution(graph, node, weights, bias, pads)
        return True
    return False


def _pads_of(graph: Graph, node: onnx.NodeProto, mode: bytes) -> Array | None:
    """Return the pads that a convolution has (top, left, bottom, right); None if a size is not known."""
    settings = attributes(node)
    weights, given, made = (graph.shape(name) for name in (node.input[1], node.input[0], node.output[0]))
    if mode == b"VALID":
        return np.zeros(4, np.int64)
    if mode == b"NOTSET" and "output_shape" not in settings:
        return np.array(settings.get("pads", (0, 0, 0, 0)))
    if any(shape is None or len(shape) != 4 or None in shape[2:] for shape in (weights, given, made)):
        return None
    kernel, small, large = (np.array(shape[2:]) for shape in (weights, given, made))  # type: ignore[index]
    strides = np.array(settings.get("strides", (1, 1)))
    if node.op_type == "Conv":
        total = np.maximum((large - 1) * strides + kernel - small, 0)
    else:
        total = strides * (small - 1) + np.array(settings.get("output_padding", (0, 0))) + kernel - large
    if (total < 0).any():
        return None
    less = total // 2
    begins = less if mode == b"SAME_UPPER" else total - less
    return np.concatenate([begins, total - begins])


def fold_crop_into_pads(graph: Graph) -> bool:
    """Fold a Slice that cuts rows and columns off a ConvTranspose's images into its pads."""
    for node in graph.nodes:
        conv = graph.producer(node.input[0]) if node.op_type == "Slice" else None
        shape, made = graph.shape(node.input[0]), graph.shape(node.output[0])
        if conv is None or conv.op_type != "ConvTranspose" or not is_linear(graph, conv):
            continue
        bounds = [graph.constant(node, index) for index in range(1, len(node.input))]
        if any(bound is None for bound in bounds) or shape is None or made is None or len(bounds) < 3:
            continue
        if graph.only_consumer(conv.output[0]) is None or None in shape[2:] or None in made[2:]:
            continue
        starts, _, axes, *steps = (np.ravel(bound).tolist() for bound in bounds if bound is not None)
        settings = attributes(conv)
        if any(step != 1 for each in steps for step in each) or not set(axes) <= {2, 3}:
            continue
        if any(settings.get("output_padding", ())) or {"output_shape", "auto_pad"} & set(settings):
            continue
        begins = np.zeros(2, np.int64)
        for axis, start in zip(axes, starts, strict=True):
            begins[axis - 2] = start if start >= 0 else int(shape[axis] or 0) + start
        ends = np.array(shape[2:]) - np.array(made[2:]) - begins
        weights, bias = weights_and_bias(graph, conv)
        pads = np.array(settings.get("pads", (0, 0, 0, 0))) + np.concatenate([begins, ends])
        conv.output[0] = node.output[0]
        graph.nodes.remove(node)
        _replace_convolution(graph, conv, weights, bias, pads)
        return True
    return False


def even_pads_by_kernel(graph: Graph) -> bool:
    """Give a convolution equal pads at both ends of each axis, by rows and columns of zeros in its kernel.

    A row of zeros at the beginning of a kernel moves the image by a row, and an additional pad moves it back.
    This costs multiplications by zero, and needs no Slice.
    """
    for node in graph.nodes:
        if node.op_type not in ("Conv", "ConvTranspose") or not is_linear(graph, node):
            continue
        settings = attributes(node)
        pads = np.array(settings.get("pads", (0, 0, 0, 0))).reshape(2, 2)  # (end of the axis, axis)
        if (pads[0] == pads[1]).all() or any(step != 1 for step in settings.get("dilations", ())):
            continue
        if settings.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in settings:
            continue
        weights, bias = weights_and_bias(graph, node)
        largest = pads.max(axis=0)
        zeros = largest - pads  # rows and columns to add at the beginning and at the end
        widths = [(0, 0), (0, 0), *((int(first), int(last)) for first, last in zeros.T)]
        _replace_convolution(graph, node, np.pad(weights, widths), bias, np.tile(largest, 2))
        return True
    return False


def _replace_convolution(
    graph: Graph, node: onnx.NodeProto, weights: Array, bias: Array | None, pads: Array
) -> None:
    """Replace a convolution by one with other weights and with explicit pads (top, left, bottom, right)."""
    inputs = [node.input[0], graph.add_constant(weights.astype(np.float32), "weights")]
    if bias is not None:
        inputs.append(graph.add_constant(bias.astype(np.float32), "bias"))
    settings = {
        "kernel_shape": list(weights.shape[2:]),
        "strides": list(attributes(node).get("strides", (1, 1))),
        "pads": [int(pad) for pad in pads],
    }
    graph.replace(node, make_node(node.op_type, inputs, node.output[0], settings))


def reshape_single_channel(graph: Graph) -> bool:
    """Replace a Transpose that only moves axes of size 1 by a Reshape.

    Images of one channel have such an axis.
    """
    for node in graph.nodes:
        order, shape = permutation(node), graph.shape(node.input[0]) if node.input else None
        if order is None or shape is None or None in shape[1:] or order[0] != 0:
            continue
        kept = [axis for axis in order if shape[axis] != 1 or axis == 0]
        if kept != sorted(kept):
            continue
        sizes = graph.add_constant(np.array([-1, *(int(shape[axis] or 0) for axis in order[1:])]))
        graph.replace(node, make_node("Reshape", [node.input[0], sizes], node.output[0]))
        return True
    return False


def state_batch_in_reshapes(graph: Graph) -> bool:
    """Replace -1 or 0 in the target of a Reshape by the size, if all sizes of the result are known."""
    for node in graph.nodes:
        target = graph.constant(node, 1) if node.op_type == "Reshape" else None
        if target is None or (target > 0).all():
            continue
        shape = graph.shape(node.output[0])
        if shape is None or None in shape:
            continue
        sizes = np.array([int(each or 0) for each in shape])
        graph.replace(node, make_node("Reshape", [node.input[0], graph.add_constant(sizes)], node.output[0]))
        return True
    return False
