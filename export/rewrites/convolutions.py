"""Convolutions: each is replaced by an operation with the same result that onnxruntime computes faster.

The speeds were measured on the CPU with onnxruntime 1.31. `benchmarks/exporting.py` measures the speed of
files after all rewrites.
"""

from __future__ import annotations

import numpy as np
import onnx

from ..graph import Array, Graph, attributes, make_node
from .shapes import repeats_of
from .steps import is_linear, linear_like, weights_and_bias

# Largest number of output channels with which a Conv is replaced by a ConvTranspose with the mirrored kernel.
# Images have 1, 3 or 4 channels. With up to 4 output channels the ConvTranspose is faster. With 8 output and
# 16 input channels the two operations take the same time. With 16 output channels the Conv is faster.
_FEW_CHANNELS = 4
# Limit for the size of a fused kernel, as a multiple of the size of the Conv's kernel. Without a limit, a
# large upsampling factor would multiply the size of the file.
_MOST_GROWTH = 4


def replace_one_pixel_by_dense(graph: Graph) -> bool:
    """Replace a ConvTranspose whose input images have one pixel by a dense layer.

    The ConvTranspose reads all of its weights for each image of a batch. The dense layer reads its weights
    once for the whole batch.
    """
    for node in graph.nodes:
        if (
            node.op_type != "ConvTranspose"
            or not is_linear(graph, node)
            or not _is_simple(node, strided=True)
        ):
            continue
        shape, settings = graph.shape(node.input[0]), attributes(node)
        if (
            shape is None
            or shape[2:] != (1, 1)
            or any(settings.get("output_padding", ()))
            or "output_shape" in settings
        ):
            continue
        weights, bias = weights_and_bias(graph, node)  # (in, out, height, width)
        top, left, bottom, right = settings.get("pads", (0, 0, 0, 0))
        weights = weights[:, :, top : weights.shape[2] - bottom, left : weights.shape[3] - right]
        channels, *image = weights.shape
        rows = graph.add_constant(np.array([-1, channels]))
        columns = graph.add_constant(np.array([-1, *image]))
        flat, product = graph.new_value(), graph.new_value()
        reshape = make_node("Reshape", [node.input[0], rows], flat)
        inputs = [flat, graph.add_constant(weights.reshape(channels, -1).astype(np.float32), "weights")]
        if bias is not None:
            inputs.append(graph.add_constant(np.repeat(bias, image[1] * image[2]).astype(np.float32), "bias"))
        dense = make_node("MatMul" if bias is None else "Gemm", inputs, product)
        graph.replace(node, reshape, dense, make_node("Reshape", [product, columns], node.output[0]))
        return True
    return False


def fuse_upsampling(graph: Graph) -> bool:
    """Replace a Resize that repeats pixels, and the Conv after it, by one ConvTranspose.

    Both give the same image, for three reasons:

    1. Repeating each pixel s times along both axes is the same as a transposed convolution of each channel
       with stride s and an s x s kernel of ones.
    2. A Conv with stride 1 is the same as a transposed convolution with stride 1 and the mirrored kernel.
    3. Two consecutive transposed convolutions, the second with stride 1, equal one transposed convolution
       with the stride of the first. Its kernel is the convolution of both kernels.

    With a k x k Conv, each source pixel then costs (k + s - 1)^2 multiplications instead of (s k)^2, for each
    pair of an input and an output channel.

    A 1x1 Conv is not fused. It moves before the Resize, where it computes each source pixel only once.
    """
    for node in graph.nodes:
        if node.op_type != "Conv" or not is_linear(graph, node) or not _is_simple(node):
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
    """Replace a Conv with few output channels by a ConvTranspose with the mirrored kernel.

    Both give the same image. onnxruntime computes the ConvTranspose faster if the Conv has at most
    `_FEW_CHANNELS` output channels, at least twice as many input channels, and a kernel larger than 1x1.
    """
    for node in graph.nodes:
        if node.op_type != "Conv" or not is_linear(graph, node) or not _is_simple(node):
            continue
        weights, _ = weights_and_bias(graph, node)
        if (
            weights.shape[0] > _FEW_CHANNELS
            or weights.shape[1] < 2 * weights.shape[0]
            or weights.shape[2:] == (1, 1)
        ):
            continue
        transposed = _transposed(graph, node, node.input[0], np.array([1, 1]))
        if transposed is not None:
            graph.replace(node, transposed)
            return True
    return False


def make_pads_even(graph: Graph) -> bool:
    """Give a ConvTranspose equal pads at both ends of each axis; a Slice removes the extra rows and columns.

    onnxruntime's CUDA provider does not support unequal pads, so onnxruntime computes a ConvTranspose with
    unequal pads on the CPU. Keras' padding "same" leads to unequal pads if the stride is 2.
    """
    for node in graph.nodes:
        settings = attributes(node)
        pads = settings.get("pads", ())
        if (
            node.op_type != "ConvTranspose"
            or not _is_simple(node, strided=True)
            or "output_shape" in settings
        ):
            continue
        begins, ends = np.array(pads[: len(pads) // 2], np.int64), np.array(pads[len(pads) // 2 :], np.int64)
        if (begins == ends).all():
            continue
        fewest = np.minimum(begins, ends)
        extra = ends - fewest
        last = np.where(extra > 0, -extra, np.iinfo(np.int64).max)
        axes = np.arange(2, 2 + len(last))
        whole = graph.new_value()
        settings["pads"] = [*fewest.tolist(), *fewest.tolist()]
        even = make_node("ConvTranspose", list(node.input), whole, settings)
        bounds = [graph.add_constant(array) for array in (begins - fewest, last, axes)]
        graph.replace(node, even, make_node("Slice", [whole, *bounds], node.output[0]))
        return True
    return False


def _is_simple(node: onnx.NodeProto, strided: bool = False) -> bool:
    """Return whether a convolution has a stride of 1 and no dilation, and does not use `auto_pad`.

    If `strided` is true, any stride is allowed.
    """
    settings = attributes(node)
    if settings.get("auto_pad", b"NOTSET") != b"NOTSET" or any(
        step != 1 for step in settings.get("dilations", ())
    ):
        return False
    return strided or all(step == 1 for step in settings.get("strides", ()))


def _transposed(graph: Graph, node: onnx.NodeProto, source: str, repeats: Array) -> onnx.NodeProto | None:
    """Return one ConvTranspose that does the work of a Resize and the Conv after it.

    The result is None if the Conv has more padding than a ConvTranspose can express, or if the new kernel
    would exceed `_MOST_GROWTH`.

    Args:
        graph: The graph, which gets the new weights and bias as constants.
        node: The Conv.
        source: Name of the new node's input: the input of the Resize, or of the Conv if there is no Resize.
        repeats: Factors by which rows and columns are repeated, int64 (2,); [1, 1] if there is no Resize.
    """
    weights, bias = weights_and_bias(graph, node)
    kernel = weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)  # (in, out, height, width)
    inset = np.array([*kernel.shape[2:]] * 2) - 1 - np.array(attributes(node).get("pads", (0, 0, 0, 0)))
    height, width = kernel.shape[2:]
    if (inset < 0).any() or (height + repeats[0] - 1) * (
        width + repeats[1] - 1
    ) > _MOST_GROWTH * height * width:
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
