"""Dense layers, convolutions and matrix products as steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..errors import UnsupportedOperatorError
from ..graph import Array, attributes
from .planning import Planner, Value
from .steps import Layer, Product
from .views import Floats, Shape, View, contiguous
from .weights import peaks


def gemm(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a dense layer with a bias."""
    settings = attributes(node)
    view, weights = planner.view(node.input[0]), planner.value(node.input[1])
    if not isinstance(weights, np.ndarray):
        raise UnsupportedOperatorError("Gemm with computed weights", "a MatMul has C code")
    if settings.get("transA"):
        view = view.transposed((1, 0))
    if settings.get("transB"):
        weights = weights.T
    bias = planner.constant(node, 2)
    weights = weights * np.float32(settings.get("alpha", 1.0))
    outputs = weights.shape[1]
    if bias is None:
        bias = np.zeros(outputs, np.float32)
    bias = np.broadcast_to(bias.reshape(-1) * np.float32(settings.get("beta", 1.0)), (outputs,))
    return [_dense(planner, view, weights, bias)]


def matmul(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a dense layer without a bias, or a product of two computed tensors."""
    view, weights = planner.view(node.input[0]), planner.value(node.input[1])
    if isinstance(weights, np.ndarray) and weights.ndim == 2:
        return [_dense(planner, view, weights, np.zeros(weights.shape[1], np.float32))]
    right = planner.view(node.input[1])
    if len(view.shape) < 2 or len(right.shape) < 2:
        raise UnsupportedOperatorError("MatMul of a vector", "use a matrix with one row")
    batches = np.broadcast_shapes(view.shape[:-2], right.shape[:-2])
    rows, inner, columns = view.shape[-2], view.shape[-1], right.shape[-1]
    left = planner.reshape(view.expanded((*batches, rows, inner)), (math.prod(batches), rows, inner))
    right = planner.reshape(right.expanded((*batches, inner, columns)), (math.prod(batches), inner, columns))
    if right.strides[2] != 1:
        right = planner.copy(right, (0, 1, 2))
    shape = (math.prod(batches), rows, columns)
    result = planner.add(Product(planner.allocate(shape, (0, 1, 2)), left, right))
    return [planner.reshape(result, (*batches, rows, columns))]


def _dense(planner: Planner, view: View, weights: Array, bias: Array) -> View:
    """Plan a dense layer of the last axis: a convolution with a kernel of one pixel."""
    rows, (inner, outputs) = math.prod(view.shape[:-1]), weights.shape
    flat = planner.reshape(view, (rows, inner))
    if flat.strides[1] != 1 and inner > 1:
        flat = planner.copy(flat, (0, 1))
    result = planner.allocate((rows, outputs), (0, 1))
    source = dataclasses.replace(flat, shape=(1, rows, inner), strides=(0, flat.strides[0], 1))
    target = contiguous(result.memory, (1, rows, outputs))
    taps = np.zeros((1, 2), np.int64)
    kernel = np.asarray(weights, np.float32)[np.newaxis]
    planner.add(Layer(source, target, taps, (1, 1), kernel, np.asarray(bias, np.float32), peaks(kernel)))
    return planner.reshape(result, (*view.shape[:-1], outputs))


def convolution(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a Conv, with a step for each group."""
    image, weights, bias, window = _prepare(planner, node)
    outputs, inputs = weights.shape[:2]
    target = planner.allocate((1, outputs, *window.output))
    groups = image.shape[1] // inputs
    taps = np.stack([window.dilated[axis] - window.begin[axis] for axis in (0, 1)], axis=1)
    for group in range(groups):
        count = outputs // groups
        part = weights[group * count : (group + 1) * count]
        kernel = part.reshape(count, inputs, -1).transpose(2, 1, 0)  # (taps, inputs, outputs)
        planner.add(
            Layer(
                _pixels(image.sliced(1, group * inputs, inputs)),
                _pixels(target.sliced(1, group * count, count)),
                taps,
                window.strides,
                kernel,
                bias[group * count : (group + 1) * count],
                peaks(kernel),
            )
        )
    return [_restored(planner, node, target)]


def transposed_convolution(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a ConvTranspose, with a step for each output phase of each group. No zeros are inserted."""
    image, weights, bias, window = _prepare(planner, node)
    per_group = weights.shape[1]
    groups = attributes(node).get("group", 1)
    target = planner.allocate((1, per_group * groups, *window.output))
    inputs = image.shape[1] // groups
    for group in range(groups):
        source = _pixels(image.sliced(1, group * inputs, inputs))
        part = weights[group * inputs : (group + 1) * inputs]
        kernel = part.reshape(inputs, per_group, -1).transpose(2, 0, 1)  # (taps, inputs, outputs)
        whole = _pixels(target.sliced(1, group * per_group, per_group))
        for phase in np.ndindex(*window.strides):
            if phase[0] >= window.output[0] or phase[1] >= window.output[1]:
                continue
            # Output pixel stride * q + phase meets tap k at input pixel
            # q + (phase + begin - dilation * k) / stride.
            distances = [phase[axis] + window.begin[axis] - window.dilated[axis] for axis in (0, 1)]
            meets = np.all([d % s == 0 for d, s in zip(distances, window.strides, strict=True)], axis=0)
            taps = np.stack([d // s for d, s in zip(distances, window.strides, strict=True)], axis=1)
            planner.add(
                Layer(
                    source,
                    _every(whole, phase, window.strides),
                    taps[meets],
                    (1, 1),
                    kernel[meets],
                    bias[group * per_group : (group + 1) * per_group],
                    peaks(part.transpose(0, 2, 3, 1)),
                )
            )
    return [_restored(planner, node, target)]


@dataclasses.dataclass(frozen=True)
class _Window:
    """How a kernel moves over an image: a pair of numbers for the rows and the columns each.

    Attributes:
        strides: Steps of the kernel.
        begin: Pixels of padding before the first row and column.
        output: Size of the output.
        dilated: Row and column of each tap in the dilated kernel, two arrays (taps,).
    """

    strides: tuple[int, int]
    begin: tuple[int, int]
    output: tuple[int, int]
    dilated: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _prepare(planner: Planner, node: onnx.NodeProto) -> tuple[View, Floats, Floats, _Window]:
    """Return the image (1, channels, height, width), the weights, the bias and the window of a node."""
    weights, bias = planner.value(node.input[1]), planner.constant(node, 2)
    if not isinstance(weights, np.ndarray):
        raise UnsupportedOperatorError(f"{node.op_type} with computed weights")
    settings = attributes(node)
    rank = weights.ndim - 2
    if rank not in (1, 2):
        raise UnsupportedOperatorError(f"{node.op_type} with {rank} dimensions", "1 and 2 have C code")
    image = planner.with_channels_last(planner.view(node.input[0]))
    if rank == 1:  # a row of pixels is an image of height 1
        weights, image = weights[:, :, np.newaxis], _with_height(image)
    is_transposed = node.op_type == "ConvTranspose"
    outputs = weights.shape[1] * settings.get("group", 1) if is_transposed else weights.shape[0]
    window = _window(settings, (image.shape[2], image.shape[3]), weights.shape[2:], rank, is_transposed)
    filled = np.zeros(outputs, np.float32) if bias is None else np.asarray(bias, np.float32)
    return image, np.asarray(weights, np.float32), filled, window


def _with_height(row: View) -> View:
    shape, strides = row.shape, row.strides
    return dataclasses.replace(row, shape=(*shape[:2], 1, shape[2]), strides=(*strides[:2], 0, strides[2]))


def _restored(planner: Planner, node: onnx.NodeProto, target: View) -> View:
    """Return the output without the height that `_with_height` added."""
    if len(planner.view(node.input[0]).shape) == 4:
        return target
    shape, strides = target.shape, target.strides
    return dataclasses.replace(target, shape=(*shape[:2], shape[3]), strides=(*strides[:2], strides[3]))


def _window(
    settings: Mapping[str, Any], size: tuple[int, int], kernel: Shape, rank: int, is_transposed: bool
) -> _Window:
    def pair(name: str, default: int) -> tuple[int, int]:
        given = settings.get(name)
        if given is None:
            return default, default
        return (default, given[0]) if rank == 1 else (given[0], given[1])

    strides, dilations, extra = pair("strides", 1), pair("dilations", 1), pair("output_padding", 0)
    pads = settings.get("pads") or [0] * (2 * rank)
    begin = [0, pads[0]] if rank == 1 else list(pads[:2])
    end = [0, pads[1]] if rank == 1 else list(pads[2:])
    spans = [(kernel[axis] - 1) * dilations[axis] + 1 for axis in (0, 1)]
    requested = settings.get("output_shape")
    auto = settings.get("auto_pad", b"NOTSET")
    output = [0, 0]
    for axis in (0, 1):
        step, span, length = strides[axis], spans[axis], size[axis]
        if auto == b"VALID":
            begin[axis] = end[axis] = 0
        if is_transposed:
            full = step * (length - 1) + extra[axis] + span
            if requested is not None or auto in (b"SAME_UPPER", b"SAME_LOWER"):
                is_height_of_row = rank == 1 and axis == 0
                wanted = length * step if requested is None else requested[axis - (2 - rank)]
                total = 0 if is_height_of_row else full - wanted
                _share(begin, end, axis, total, begins_smaller=auto == b"SAME_UPPER")
            output[axis] = full - begin[axis] - end[axis]
        else:
            if auto in (b"SAME_UPPER", b"SAME_LOWER"):
                total = max(0, (-(-length // step) - 1) * step + span - length)
                _share(begin, end, axis, total, begins_smaller=auto == b"SAME_UPPER")
            output[axis] = (length + begin[axis] + end[axis] - span) // step + 1
    grid = np.indices(kernel).reshape(2, -1)
    dilated = (grid[0] * dilations[0], grid[1] * dilations[1])
    return _Window(strides, (begin[0], begin[1]), (output[0], output[1]), dilated)


def _share(begin: list[int], end: list[int], axis: int, total: int, *, begins_smaller: bool) -> None:
    """Share padding between both ends of an axis. An odd pixel goes to the end, or to the beginning."""
    total = max(0, total)
    small, large = total // 2, total - total // 2
    begin[axis], end[axis] = (small, large) if begins_smaller else (large, small)


def _pixels(image: View) -> View:
    """Return an image (1, channels, height, width) as (height, width, channels)."""
    moved = image.transposed((0, 2, 3, 1))
    return dataclasses.replace(moved, shape=moved.shape[1:], strides=moved.strides[1:])


def _every(pixels: View, phase: Sequence[int], strides: Sequence[int]) -> View:
    """Return every `strides`-th row and column of an image (height, width, channels), from `phase` on."""
    for axis in (0, 1):
        count = -(-(pixels.shape[axis] - phase[axis]) // strides[axis])
        pixels = pixels.sliced(axis, phase[axis], count, strides[axis])
    return pixels
