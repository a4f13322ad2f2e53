"""Resize and Pad as steps. onnxruntime itself shows which pixels a Resize reads, so all its modes agree."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import UnsupportedOperatorError
from ..graph import attributes
from ..sessions import open_on_cpu
from .expressions import literal
from .planning import Planner, Value
from .steps import Loop, Resampling
from .views import Floats, View

_Taps = tuple[npt.NDArray[np.int64], Floats]


def resize(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a Resize of the rows and columns of an image."""
    view = planner.view(node.input[0])
    if len(view.shape) != 4:
        raise UnsupportedOperatorError(f"Resize of a tensor with {len(view.shape)} axes", "4 have C code")
    factors = _factors(planner, node, view)
    changed = [axis for axis in range(4) if factors[axis] != 1]
    if not changed:
        return [view]
    # The two axes that change are the rows and columns, whether the channels are first or last.
    rows, columns = (1, 2) if changed == [1] or changed[:2] == [1, 2] else (2, 3)
    if any(axis not in (rows, columns) for axis in changed):
        raise UnsupportedOperatorError("Resize of channels", "rows and columns have C code")
    opset = next(each.version for each in planner.graph.opsets if each.domain in ("", "ai.onnx"))
    taps = [_matrix(node, view.shape[axis], factors[axis], opset) for axis in (rows, columns)]
    repeated = _repeated(planner, view, (rows, columns), taps)
    return [repeated or _resampled(planner, view, (rows, columns), taps[0], taps[1])]


def _factors(planner: Planner, node: onnx.NodeProto, view: View) -> list[float]:
    scales, sizes = planner.constant(node, 2), planner.constant(node, 3)
    axes = attributes(node).get("axes") or range(4)
    given = [1.0] * 4
    for index, axis in enumerate(axes):
        if sizes is not None and sizes.size:
            given[axis] = int(sizes[index]) / view.shape[axis]
        elif scales is not None:
            given[axis] = float(scales[index])
    return given


def _matrix(node: onnx.NodeProto, size: int, factor: float, opset: int) -> _Taps:
    """Return the pixels that each output pixel reads along one axis, and their weights, (output, taps) each.

    The Resize runs once on all images of one pixel 1 and otherwise 0.
    """
    settings = {name: value for name, value in attributes(node).items() if name != "axes"}
    image = np.eye(size, dtype=np.float32)[:, np.newaxis, :, np.newaxis]
    if factor == 1:
        matrix = np.eye(size, dtype=np.float32)
    else:
        scales = np.array([1, 1, factor, 1], np.float32)
        graph = helper.make_graph(
            [helper.make_node("Resize", ["x", "", "scales"], ["y"], **settings)],
            "resize",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size, 1, None, 1])],
            [numpy_helper.from_array(scales, "scales")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        matrix = open_on_cpu(model).run(None, {"x": image})[0][:, 0, :, 0].T  # (output, input)
    count = max(1, int((matrix != 0).sum(axis=1).max()))
    order = np.argsort(matrix == 0, axis=1, kind="stable")[:, :count]  # the pixels with a weight come first
    weights = np.take_along_axis(matrix, order, axis=1)
    return np.where(weights == 0, order[:, :1], order), weights.astype(np.float32)


def _repeated(planner: Planner, view: View, axes: tuple[int, int], taps: list[_Taps]) -> View | None:
    """Return the image with each pixel repeated a whole number of times; None for another resize."""
    counts = []
    for axis, (indices, weights) in zip(axes, taps, strict=True):
        count, rest = divmod(len(indices), view.shape[axis])
        expected = np.repeat(np.arange(view.shape[axis]), max(1, count))
        if rest or weights.shape[1] != 1 or not (weights == 1).all() or (indices[:, 0] != expected).any():
            return None
        counts.append(count)
    split, repeated, shape = [], [], []
    for axis, size in enumerate(view.shape):
        count = counts[axes.index(axis)] if axis in axes else 1
        split += [size, 1]
        repeated += [size, count]
        shape.append(size * count)
    source = view.split(tuple(split)).expanded(tuple(repeated))
    result = planner.allocate(tuple(shape), _memory_order(view))
    planner.add(Loop(result.split(tuple(repeated)), (source,), "a"))
    return result


def _memory_order(view: View) -> list[int]:
    return sorted(range(len(view.shape)), key=lambda axis: -view.strides[axis])


def _resampled(planner: Planner, view: View, axes: tuple[int, int], rows: _Taps, columns: _Taps) -> View:
    shape = list(view.shape)
    shape[axes[0]], shape[axes[1]] = len(rows[0]), len(columns[0])
    channel = 6 - sum(axes)  # the axes 0, 1, 2 and 3 add up to 6, and the batch is axis 0
    order = (0, *axes, channel)
    result = planner.allocate(tuple(shape), order)
    source, target = view.transposed(order), result.transposed(order)
    planner.add(Resampling(_without_batch(source), _without_batch(target), *rows, *columns))
    return result


def _without_batch(view: View) -> View:
    return dataclasses.replace(view, shape=view.shape[1:], strides=view.strides[1:])


def pad(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a Pad: a constant around the tensor, or repeated or mirrored pixels around an image."""
    view, given, value = planner.view(node.input[0]), planner.required(node, 1), planner.constant(node, 2)
    axes, mode = planner.constant(node, 3), attributes(node).get("mode", b"constant").decode()
    rank = len(view.shape)
    pads = np.zeros((2, rank), np.int64)
    pads[:, range(rank) if axes is None else axes.astype(int)] = given.reshape(2, -1)
    if (pads < 0).any():
        raise UnsupportedOperatorError("Pad with negative sizes", "a Slice has C code")
    if not pads.any():
        return [view]
    if mode == "constant":
        return [_with_border(planner, view, pads, 0.0 if value is None else float(value.reshape(-1)[0]))]
    changed = [axis for axis in range(rank) if pads[:, axis].any()]
    if rank != 4 or any(axis not in (2, 3) for axis in changed):
        raise UnsupportedOperatorError(f"Pad in mode {mode} of other axes than rows and columns")
    taps = []
    for axis in (2, 3):
        around = _around(view.shape[axis], int(pads[0, axis]), int(pads[1, axis]), mode)
        taps.append((around[:, np.newaxis], np.ones((len(around), 1), np.float32)))
    return [_resampled(planner, view, (2, 3), taps[0], taps[1])]


def _around(size: int, before: int, after: int, mode: str) -> npt.NDArray[np.int64]:
    """Return the index of the pixel that each pixel of a padded row repeats or mirrors."""
    indices = np.arange(-before, size + after)
    if mode == "edge":
        return indices.clip(0, size - 1)
    if mode == "wrap":
        return indices % size
    if mode != "reflect":
        raise UnsupportedOperatorError(f"Pad in mode {mode}")
    period = max(1, 2 * (size - 1))
    folded = np.abs(indices) % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(indices)


def _with_border(planner: Planner, view: View, pads: npt.NDArray[np.int64], value: float) -> View:
    shape = tuple(int(size + before + after) for size, before, after in zip(view.shape, *pads, strict=True))
    result = planner.allocate(shape)
    planner.add(Loop(result, (), literal(value)))
    inside = result
    for axis, size in enumerate(view.shape):
        inside = inside.sliced(axis, int(pads[0, axis]), size)
    planner.add(Loop(inside, (view,), "a"))
    return result
