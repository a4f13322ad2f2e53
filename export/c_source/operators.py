"""The operators of ONNX for which there is C code: a function from a node to steps and values for each.

Each function takes the planner and the node, and returns the values of the node's outputs.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from ..errors import UnsupportedOperatorError
from ..graph import Array, attributes
from . import layers, resizing
from .expressions import BINARY, UNARY, literal, unary_expression
from .planning import Label, Planner, Value
from .steps import Loop
from .views import Shape, View

Operator = Callable[[Planner, onnx.NodeProto], Sequence[Value]]

_POWERS = {2.0: "a * a", 0.5: "sqrtf(a)"}
_MOST_GATHERED = 256  # most indices of one Gather, each of which becomes a loop of its own


def _unary(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    value = planner.value(node.input[0])
    if isinstance(value, Label):
        return [value] if node.op_type == "Identity" else [planner.view(node.input[0])]
    return [planner.loop(unary_expression(node.op_type, attributes(node)), planner.view(node.input[0]))]


def _binary(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    first, *others = node.input
    expression = BINARY[node.op_type]
    if len(others) == 1 and (scalar := _scalar(planner, first)) is not None:
        view = _broadcast(planner, planner.view(others[0]), planner.view(first).shape)
        expression = re.sub(r"\ba\b", literal(scalar), expression)
        return [planner.loop(re.sub(r"\bb\b", "a", expression), view)]
    result = planner.view(first)
    for name in others:
        scalar = _scalar(planner, name)
        if scalar is None:
            result = planner.loop(expression, result, planner.view(name))
            continue
        text = re.sub(r"\bb\b", literal(scalar), expression)
        if node.op_type == "Pow" and scalar in _POWERS:
            text = _POWERS[scalar]
        result = planner.loop(text, _broadcast(planner, result, planner.view(name).shape))
    return [result]


def _scalar(planner: Planner, name: str) -> float | None:
    """Return the value of a constant with one element; None for anything else."""
    value = planner.value(name)
    return float(value.item()) if isinstance(value, np.ndarray) and value.size == 1 else None


def _broadcast(planner: Planner, view: View, shape: Shape) -> View:
    """Return a view with the axes that a constant with one element adds."""
    return planner.reshape(view, np.broadcast_shapes(view.shape, shape))


def _identity(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    return [planner.value(node.input[0])]


def _cast(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    value, target = planner.value(node.input[0]), attributes(node)["to"]
    is_float = target in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    if isinstance(value, Label):
        if not is_float:
            return [value]
        return [planner.add(Loop(planner.allocate(value.shape), (), "(float)label"))]
    if is_float:
        return [value]
    # The whole numbers stay floats in memory. A conversion to integers drops the fraction.
    return [planner.loop("truncf(a)", planner.view(node.input[0]))]


def _quantise(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a rounding to 8 bits. The levels stay floats in memory."""
    scale, zero = planner.required(node, 1), planner.constant(node, 2)
    if scale.size != 1 or (zero is not None and (zero.dtype != np.uint8 or zero.size != 1)):
        raise UnsupportedOperatorError("QuantizeLinear to other types than uint8, or with several scales")
    black = 0.0 if zero is None else float(zero.item())
    rounded = f"rintf(a / {literal(scale.item())}) + {literal(black)}"
    return [planner.loop(f"fminf(255.0f, fmaxf(0.0f, {rounded}))", planner.view(node.input[0]))]


def _reshape(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    value = planner.value(node.input[0])
    shape = _reshaped(planner, node, tuple(np.shape(value) if isinstance(value, np.ndarray) else value.shape))
    if isinstance(value, Label):
        return [Label(shape)]
    return [planner.reshape(planner.view(node.input[0]), shape)]


def _reshaped(planner: Planner, node: onnx.NodeProto, shape: Shape) -> Shape:
    """Return the shape that a Reshape, Flatten, Squeeze or Unsqueeze gives a tensor."""
    settings = attributes(node)
    if node.op_type == "Flatten":
        axis = settings.get("axis", 1) % (len(shape) + 1)
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    given = planner.constant(node, 1)
    wanted = [int(each) for each in given.reshape(-1)] if given is not None else []
    if node.op_type == "Reshape":
        keeps_zero = settings.get("allowzero", 0)
        sizes = [shape[axis] if size == 0 and not keeps_zero else size for axis, size in enumerate(wanted)]
        known = math.prod(size for size in sizes if size != -1)
        return tuple(math.prod(shape) // known if size == -1 else size for size in sizes)
    if node.op_type == "Squeeze":
        axes = {axis % len(shape) for axis in wanted} or {i for i, size in enumerate(shape) if size == 1}
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)
    rank = len(shape) + len(wanted)
    new, rest = {axis % rank for axis in wanted}, iter(shape)
    return tuple(1 if axis in new else next(rest) for axis in range(rank))


def _transpose(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view = planner.view(node.input[0])
    return [view.transposed(attributes(node).get("perm", range(len(view.shape))[::-1]))]


def _shape(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    value, settings = planner.value(node.input[0]), attributes(node)
    sizes = list(value.shape)[settings.get("start", 0) : settings.get("end")]
    return [np.array(sizes, np.int64)]


def _expand(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view, target = planner.view(node.input[0]), planner.required(node, 1)
    return [view.expanded(np.broadcast_shapes(view.shape, tuple(int(size) for size in target)))]


def _tile(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view, repeats = planner.view(node.input[0]), planner.required(node, 1)
    inner = tuple(size for pair in zip([1] * len(view.shape), view.shape, strict=True) for size in pair)
    outer = tuple(int(each) for pair in zip(repeats, view.shape, strict=True) for each in pair)
    shape = tuple(int(count) * size for count, size in zip(repeats, view.shape, strict=True))
    return [planner.reshape(planner.reshape(view, inner).expanded(outer), shape)]


def _slice(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view = planner.view(node.input[0])
    starts, ends = planner.required(node, 1), planner.required(node, 2)
    axes, steps = planner.constant(node, 3), planner.constant(node, 4)
    for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        axis = index if axes is None else int(axes[index]) % len(view.shape)
        step = 1 if steps is None else int(steps[index])
        size = view.shape[axis]
        last = None if step < 0 and end < -size else end
        chosen = range(size)[slice(start, last, step)]
        if not chosen:
            raise UnsupportedOperatorError("Slice without a result")
        view = view.sliced(axis, chosen[0], len(chosen), step)
    return [view]


def _split(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view, settings = planner.view(node.input[0]), attributes(node)
    axis = settings.get("axis", 0) % len(view.shape)
    given = planner.constant(node, 1)
    size = -(-view.shape[axis] // len(node.output))
    sizes = [size] * len(node.output) if given is None else [int(each) for each in given]
    parts: list[Value] = []
    start = 0
    for size in sizes:
        count = min(size, view.shape[axis] - start)
        parts.append(view.sliced(axis, start, count))
        start += count
    return parts


def _concat(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    views = [planner.view(name) for name in node.input]
    axis = attributes(node)["axis"] % len(views[0].shape)
    shape = list(views[0].shape)
    shape[axis] = sum(view.shape[axis] for view in views)
    target = planner.allocate(tuple(shape))
    start = 0
    for view in views:
        part = target.sliced(axis, start, view.shape[axis])
        planner.add(Loop(part, (view,), "a"))
        start += view.shape[axis]
    return [target]


def _gather(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    """Plan a selection along an axis: by the label, which moves a view, or by constants."""
    view, indices = planner.view(node.input[0]), planner.value(node.input[1])
    axis = attributes(node).get("axis", 0) % len(view.shape)
    if isinstance(indices, Label):
        stride = view.strides[axis]
        rest = (*view.shape[:axis], *indices.shape, *view.shape[axis + 1 :])
        strides = (*view.strides[:axis], *[0] * len(indices.shape), *view.strides[axis + 1 :])
        return [View(view.memory, rest, strides, view.offset, view.label_stride + stride)]
    if not isinstance(indices, np.ndarray):
        raise UnsupportedOperatorError("Gather by computed indices")
    chosen = (indices.astype(np.int64) % view.shape[axis]).reshape(-1).tolist()
    shape = (*view.shape[:axis], *indices.shape, *view.shape[axis + 1 :])
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    if all(later - earlier == step for earlier, later in itertools.pairwise(chosen)):
        return [planner.reshape(view.sliced(axis, chosen[0], len(chosen), step), shape)]
    if len(chosen) > _MOST_GATHERED:
        raise UnsupportedOperatorError(f"Gather with more than {_MOST_GATHERED} indices")
    target = planner.allocate((*view.shape[:axis], len(chosen), *view.shape[axis + 1 :]))
    for position, index in enumerate(chosen):
        planner.add(Loop(target.sliced(axis, position, 1), (view.sliced(axis, index, 1),), "a"))
    return [planner.reshape(target, shape)]


def _one_hot(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    label, depth, values = planner.value(node.input[0]), planner.required(node, 1), planner.required(node, 2)
    if not isinstance(label, Label) or attributes(node).get("axis", -1) not in (-1, len(label.shape)):
        raise UnsupportedOperatorError("OneHot of another value than the label")
    count = int(depth.reshape(-1)[0])
    numbers = planner.table(np.arange(count, dtype=np.float32).reshape((1,) * len(label.shape) + (count,)))
    off, on = (literal(float(each)) for each in values)
    target = planner.allocate((*label.shape, count))
    return [planner.add(Loop(target, (numbers,), f"(int)a == label ? {on} : {off}"))]


def _depth_to_space(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view, settings = planner.with_channels_last(planner.view(node.input[0])), attributes(node)
    size = settings["blocksize"]
    batch, channels, height, width = view.shape
    kept = channels // size**2
    if settings.get("mode", b"DCR") == b"DCR":
        blocks = planner.reshape(view, (batch, size, size, kept, height, width))
        moved = blocks.transposed((0, 3, 4, 1, 5, 2))
    else:
        blocks = planner.reshape(view, (batch, kept, size, size, height, width))
        moved = blocks.transposed((0, 1, 4, 2, 5, 3))
    result = planner.allocate((batch, kept, height * size, width * size))
    planner.add(Loop(result.split(moved.shape), (moved,), "a"))
    return [result]


def _reduce(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view, settings = planner.view(node.input[0]), attributes(node)
    given = planner.constant(node, 1)
    axes = settings.get("axes") if given is None else [int(each) for each in given.reshape(-1)]
    if not axes:
        axes = [] if settings.get("noop_with_empty_axes") else list(range(len(view.shape)))
    kind = {"ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min"}.get(node.op_type, "sum")
    if node.op_type in ("ReduceSumSquare", "ReduceL2"):
        view = planner.loop("a * a", view)
    result = planner.reduce(view, axes, kind)
    if node.op_type == "ReduceL2":
        result = planner.loop("sqrtf(a)", result)
    if settings.get("keepdims", 1):
        return [result]
    dropped = {axis % len(view.shape) for axis in axes}
    return [planner.reshape(result, tuple(s for axis, s in enumerate(view.shape) if axis not in dropped))]


def _global_pool(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view = planner.view(node.input[0])
    kind = "mean" if node.op_type == "GlobalAveragePool" else "max"
    return [planner.reduce(view, range(2, len(view.shape)), kind)]


def _softmax(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view = planner.view(node.input[0])
    axis = attributes(node).get("axis", -1)
    largest = planner.reduce(view, [axis], "max")
    powers = planner.loop("expf(a - b)", view, largest)
    total = planner.reduce(powers, [axis], "sum")
    return [planner.loop("a / b", powers, total)]


def _batch_norm(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view, settings = planner.view(node.input[0]), attributes(node)
    scale, bias, mean, variance = (planner.required(node, index) for index in (1, 2, 3, 4))
    if settings.get("training_mode"):
        raise UnsupportedOperatorError("BatchNormalization in training mode", "export it in inference mode")
    factor = scale / np.sqrt(variance + settings.get("epsilon", 1e-5))
    shape = (-1, *[1] * (len(view.shape) - 2))
    tables = [planner.table(each.reshape(shape)) for each in (factor, bias - mean * factor)]
    return [planner.loop("a * b + c", view, *tables)]


def _normalised(planner: Planner, view: View, axes: Sequence[int], epsilon: float) -> View:
    """Plan (view - mean) / sqrt(variance + epsilon), with the mean and the variance along some axes."""
    centred = planner.loop("a - b", view, planner.reduce(view, axes, "mean"))
    variance = planner.reduce(planner.loop("a * a", centred, keep=[centred]), axes, "mean")
    factor = planner.loop(f"1.0f / sqrtf(a + {literal(epsilon)})", variance)
    return planner.loop("a * b", centred, factor)


def _instance_norm(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view = planner.view(node.input[0])
    epsilon = attributes(node).get("epsilon", 1e-5)
    result = _normalised(planner, view, range(2, len(view.shape)), epsilon)
    return [_scaled_channels(planner, result, planner.required(node, 1), planner.required(node, 2))]


def _group_norm(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view, settings = planner.view(node.input[0]), attributes(node)
    batch, channels, *rest = view.shape
    groups = settings["num_groups"]
    grouped = planner.reshape(view, (batch, groups, channels // groups, *rest))
    epsilon = settings.get("epsilon", 1e-5)
    result = planner.reshape(_normalised(planner, grouped, range(2, len(grouped.shape)), epsilon), view.shape)
    scale, bias = planner.required(node, 1), planner.required(node, 2)
    if len(scale) == groups:  # up to opset 20 the scale is given for each group
        scale, bias = (np.repeat(each, channels // groups) for each in (scale, bias))
    return [_scaled_channels(planner, result, scale, bias)]


def _layer_norm(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    if any(node.output[1:]):
        raise UnsupportedOperatorError("LayerNormalization with several outputs")
    view, settings = planner.view(node.input[0]), attributes(node)
    axes = range(settings.get("axis", -1) % len(view.shape), len(view.shape))
    result = _normalised(planner, view, axes, settings.get("epsilon", 1e-5))
    result = planner.loop("a * b", result, planner.table(planner.required(node, 1)))
    bias = planner.constant(node, 2)
    return [result if bias is None else planner.loop("a + b", result, planner.table(bias))]


def _scaled_channels(planner: Planner, view: View, scale: Array, bias: Array) -> View:
    shape = (-1, *[1] * (len(view.shape) - 2))
    return planner.loop(
        "a * b + c", view, planner.table(scale.reshape(shape)), planner.table(bias.reshape(shape))
    )


def _clip(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    view = planner.view(node.input[0])
    low, high = planner.constant(node, 1), planner.constant(node, 2)
    if low is not None and np.isfinite(low).all():
        view = planner.loop(f"a > {literal(low.item())} ? a : {literal(low.item())}", view)
    if high is not None and np.isfinite(high).all():
        view = planner.loop(f"a < {literal(high.item())} ? a : {literal(high.item())}", view)
    return [view]


def _prelu(planner: Planner, node: onnx.NodeProto) -> list[Value]:
    slope = planner.required(node, 1)
    return [planner.loop("a > 0.0f ? a : a * b", planner.view(node.input[0]), planner.table(slope))]


OPERATORS: Mapping[str, Operator] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL2"), _reduce
    ),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    "Identity": _identity,
    "Dropout": _identity,  # it does nothing in inference mode
    "Cast": _cast,
    "QuantizeLinear": _quantise,
    "Shape": _shape,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Gather": _gather,
    "OneHot": _one_hot,
    "DepthToSpace": _depth_to_space,
    "Softmax": _softmax,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "Clip": _clip,
    "PRelu": _prelu,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "Conv": layers.convolution,
    "ConvTranspose": layers.transposed_convolution,
    "Resize": resizing.resize,
    "Pad": resizing.pad,
}
