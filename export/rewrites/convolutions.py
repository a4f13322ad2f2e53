"""Convolutions: the same numbers by another operation, where onnxruntime is faster at that one.

Measured on the CPU with onnxruntime 1.31; `benchmarks/exporting.py` measures files with all of them.
"""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Array, Graph, attributes, make_node
from .shapes import repeats_of
from .steps import is_linear, linear_like, weights_and_bias

# Pixels have 1, 3 or 4 channels. A Conv to so few is slower than the ConvTranspose by the mirrored weights; at 8 both are even
# with 16 channels before, at 16 the Conv is faster.
_FEW_CHANNELS = 4
_MOST_GROWTH = 4  # of the kernel, for upsampling by large factors: files must not become several times as large


def make_dense_of_one_pixel(graph: Graph) -> bool:
    """Make a dense layer of a ConvTranspose on images of one pixel, which would read all of its weights for each image."""
    for node in graph.nodes:
        if node.op_type != "ConvTranspose" or not is_linear(graph, node) or not _is_plain(node, strided=True):
            continue
        shape, settings = graph.shape(node.input[0]), attributes(node)
        if shape is None or shape[2:] != (1, 1) or any(settings.get("output_padding", ())) or "output_shape" in settings:
            continue
        weights, bias = weights_and_bias(graph, node)  # (in, out, height, width)
        top, left, bottom, right = settings.get("pads", (0, 0, 0, 0))
        weights = weights[:, :, top : weights.shape[2] - bottom, left : weights.shape[3] - right]
        channels, *image = weights.shape
        rows = graph.add_constant(np.array([-1, channels]))
        columns = graph.add_constant(np.array([-1, *image]))
        flat, made = graph.new_value(), graph.new_value()
        reshape = make_node("Reshape", [node.input[0], rows], flat)
        inputs = [flat, graph.add_constant(weights.reshape(channels, -1).astype(np.float32), "weights")]
        if bias is not None:
            inputs.append(graph.add_constant(np.repeat(bias, image[1] * image[2]).astype(np.float32), "bias"))
        dense = make_node("MatMul" if bias is None else "Gemm", inputs, made)
        graph.replace(node, reshape, dense, make_node("Reshape", [made, columns], node.output[0]))
        return True
    return False


def fuse_upsampling(graph: Graph) -> bool:
    """Make one ConvTranspose of a Resize that repeats pixels and the Conv behind it; a 1x1 Conv goes before the Resize.

    Repeating each pixel s times is a transposed convolution by s x s ones with stride s, a Conv one by the mirrored kernel, and
    two in a row are one by the convolution of their kernels. A pixel of the source then takes (k + s - 1)^2 products instead of
    (s k)^2.
    """
    for node in graph.nodes:
        if node.op_type != "Conv" or not is_linear(graph, node) or not _is_plain(node):
            continue
        resize = graph.producer(node.input[0])
        repeats = None if resize is None else repeats_of(graph, resize)
        if resize is None or repeats is None or len(repeats) != 4 or (repeats[:2] != 1).any():
            continue
        if graph.only_consumer(resize.output[0]) is None:
            continue
        weights, bias = weights_and_bias(graph, node)  # (out, in, height, width)
        if weights.shape[2:] == (1, 1) and not any(attributes(node).get("pads", ())):
            middle = graph.new_value()
            convolution = linear_like(graph, node, resize.input[0], weights, bias, middle)
            after = make_node("Resize", [middle, *resize.input[1:]], node.output[0], attributes(resize))
            graph.replace(node, convolution, after)
        else:
            transposed = _transposed(graph, node, resize.input[0], repeats[2:])
            if transposed is None:
                continue
            graph.replace(node, transposed)
        graph.nodes.remove(resize)
        return True
    return False


def transpose_narrow(graph: Graph) -> bool:
    """Make a ConvTranspose of a Conv to few channels."""
    for node in graph.nodes:
        if node.op_type != "Conv" or not is_linear(graph, node) or not _is_plain(node):
            continue
        weights, _ = weights_and_bias(graph, node)
        if weights.shape[0] > _FEW_CHANNELS or weights.shape[1] < 2 * weights.shape[0] or weights.shape[2:] == (1, 1):
            continue
        transposed = _transposed(graph, node, node.input[0], np.array([1, 1]))
        if transposed is not None:
            graph.replace(node, transposed)
            return True
    return False


def even_pads(graph: Graph) -> bool:
    """Pad a ConvTranspose the same at both ends, and cut off what is too much then.

    onnxruntime's CUDA provider leaves one whose pads differ, which Keras's "same" by a stride of 2 makes, to the CPU.
    """
    for node in graph.nodes:
        settings = attributes(node)
        pads = settings.get("pads", ())
        if node.op_type != "ConvTranspose" or not _is_plain(node, strided=True) or "output_shape" in settings:
            continue
        begins, ends = np.array(pads[: len(pads) // 2], np.int64), np.array(pads[len(pads) // 2 :], np.int64)
        if (begins == ends).all():
            continue
        fewest = np.minimum(begins, ends)
        too_much = ends - fewest
        last = np.where(too_much > 0, -too_much, np.iinfo(np.int64).max)
        axes = np.arange(2, 2 + len(last))
        whole = graph.new_value()
        settings["pads"] = [*fewest.tolist(), *fewest.tolist()]
        made = make_node("ConvTranspose", list(node.input), whole, settings)
        cut = [graph.add_constant(places) for places in (begins - fewest, last, axes)]
        graph.replace(node, made, make_node("Slice", [whole, *cut], node.output[0]))
        return True
    return False


def _is_plain(node: onnx.NodeProto, strided: bool = False) -> bool:
    """Return whether a convolution pads by numbers, if at all, and takes each pixel beside the next."""
    settings = attributes(node)
    if settings.get("auto_pad", b"NOTSET") != b"NOTSET" or any(step != 1 for step in settings.get("dilations", ())):
        return False
    return strided or all(step == 1 for step in settings.get("strides", ()))


def _transposed(graph: Graph, node: onnx.NodeProto, source: str, repeats: Array) -> onnx.NodeProto | None:
    """Return the ConvTranspose that repeats the pixels of `source` and does what a Conv does then; None where there is none."""
    weights, bias = weights_and_bias(graph, node)
    kernel = weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)  # (in, out, height, width)
    inset = np.array([*kernel.shape[2:]] * 2) - 1 - np.array(attributes(node).get("pads", (0, 0, 0, 0)))
    height, width = kernel.shape[2:]
    if (inset < 0).any() or (height + repeats[0] - 1) * (width + repeats[1] - 1) > _MOST_GROWTH * height * width:
        return None
    spread = np.zeros((*kernel.shape[:2], height + repeats[0] - 1, width + repeats[1] - 1))
    for down in range(repeats[0]):
        for right in range(repeats[1]):
            spread[:, :, down : down + height, right : right + width] += kernel
    inputs = [source, graph.add_constant(spread.astype(np.float32), "weights")]
    if bias is not None:
        inputs.append(graph.add_constant(bias.astype(np.float32), "bias"))
    settings = {"kernel_shape": list(spread.shape[2:]), "strides": repeats.tolist(), "pads": inset.tolist()}
    return make_node("ConvTranspose", inputs, node.output[0], settings)
