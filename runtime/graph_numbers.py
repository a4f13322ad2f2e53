"""The numbers of small values in a graph, which often are the shapes of larger ones.

Exporters write chains such as Shape, Gather, Mul and Concat, which end in the shape of a Reshape. Without
their numbers, the size of most tensors would not be known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .graph_values import DTYPES, MOST_NUMBERS, Call, Known, Numbers, Shape, UnknownSizeError, count_of

_Function = Callable[..., Any]

# Operations on each element that NumPy computes as onnxruntime does, up to rounding.
_ELEMENTWISE: Mapping[str, _Function] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "Equal": np.equal,
    "Exp": np.exp,
    "Floor": np.floor,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Identity": np.array,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Pow": np.power,
    "Reciprocal": np.reciprocal,
    "Relu": lambda values: np.maximum(values, 0),
    "Round": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Sinh": np.sinh,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tan": np.tan,
    "Tanh": np.tanh,
    "Where": np.where,
    "Xor": np.logical_xor,
}
_REDUCTIONS: Mapping[str, _Function] = {
    "ReduceMax": np.max,
    "ReduceMean": np.mean,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceSum": np.sum,
}
# Operations whose result depends on the shape of their input alone.
_OF_SHAPES = ("Shape", "Size")
# Operations that change the shape alone.
_RESHAPING = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


def may_have_numbers(call: Call, output: Known) -> bool:
    """Return whether `numbers_of` may find the numbers of an operation's first output."""
    if output.shape is None or None in output.shape or output.elements > MOST_NUMBERS:
        return False
    return call.kind in _OF_SHAPES or any(
        known is not None and known.numbers is not None for known in call.inputs
    )


def numbers_of(call: Call, shape: Shape) -> Numbers | None:
    """Return the numbers of an operation's first output; None if they are not known.

    Args:
        call: The operation and its inputs.
        shape: Shape of the output.
    """
    try:
        with np.errstate(all="ignore"):
            numbers = _computed(call, shape)
    except UnknownSizeError:
        return None
    return None if numbers is None or numbers.size > MOST_NUMBERS else numbers


def _computed(call: Call, shape: Shape) -> Numbers | None:
    kind = call.kind
    if kind == "Shape":
        return _sizes(call)
    if kind == "Size":
        source = call.shape(0)
        return None if None in source else np.array(count_of(source), np.int64)
    if kind == "ConstantOfShape":
        return _filled(call, shape)
    inputs = [known.numbers for known in call.inputs if known is not None]
    if not inputs or any(numbers is None for numbers in inputs[:1] if kind != "Where"):
        return None
    given = [numbers for numbers in inputs if numbers is not None]
    if len(given) < len(inputs):
        return None
    if kind in _ELEMENTWISE:
        return np.asarray(_ELEMENTWISE[kind](*given))
    if kind in _REDUCTIONS:
        axes = call.list_at("axes", 1)
        chosen = tuple(axes) if axes else None
        result = _REDUCTIONS[kind](given[0], axis=chosen)
        return np.asarray(result).astype(given[0].dtype).reshape(_known(shape))
    return _moved(call, given, shape)


def _moved(call: Call, given: list[Numbers], shape: Shape) -> Numbers | None:
    """Return the numbers of an operation that moves, chooses or converts those of its inputs."""
    kind, first = call.kind, given[0]
    if kind in _RESHAPING:
        return first.reshape(_known(shape))
    if kind in ("Max", "Min", "Sum"):
        function = {"Max": np.maximum, "Min": np.minimum, "Sum": np.add}[kind]
        for other in given[1:]:
            first = function(first, other)
        return first
    if kind == "Cast":
        dtype = DTYPES.get(call.integer("to", 0))
        return None if dtype is None else first.astype(dtype)
    if kind == "CastLike":
        return first.astype(given[1].dtype)
    if kind in ("Div", "Mod"):
        return _divided(call, first, given[1])
    if kind == "Clip":
        low = call.number("min", given[1].item() if len(given) > 1 else -np.inf)
        high = call.number("max", given[2].item() if len(given) > 2 else np.inf)
        return np.clip(first, low, high).astype(first.dtype)
    if kind == "Concat":
        return np.concatenate(given, axis=call.integer("axis", 0))
    if kind == "Gather":
        return np.take(first, given[1].astype(np.int64), axis=call.integer("axis", 0))
    if kind == "Slice":
        return _sliced(call, first)
    if kind == "Transpose":
        return np.transpose(first, call.integers("perm"))
    if kind == "Expand":
        return np.array(np.broadcast_to(first, _known(shape)))
    if kind == "Tile":
        return np.tile(first, call.sizes(1))
    if kind == "Range":
        return (given[0] + given[2] * np.arange(_known(shape)[0])).astype(first.dtype)
    return None


def _known(shape: Shape) -> tuple[int, ...]:
    return tuple(size for size in shape if size is not None)


def _sizes(call: Call) -> Numbers | None:
    shape = call.shape(0)
    sizes = shape[call.integer("start", 0) : call.integer("end", len(shape))]
    return None if None in sizes else np.array(sizes, np.int64)


def _filled(call: Call, shape: Shape) -> Numbers | None:
    value = call.attributes["value"].tensor if "value" in call.attributes else None
    if value is None:
        return np.zeros(_known(shape), np.float32)
    if not value.first or value.kind not in DTYPES:
        return None
    return np.full(_known(shape), value.first[0]).astype(DTYPES[value.kind])


def _divided(call: Call, left: Numbers, right: Numbers) -> Numbers | None:
    if left.dtype.kind == "f":
        return np.fmod(left, right) if call.kind == "Mod" else np.divide(left, right)
    if not right.all():
        return None  # onnxruntime's result of a division by zero is not defined
    if call.kind == "Div":  # ONNX rounds towards zero, and NumPy rounds down
        return np.asarray(np.sign(left) * np.sign(right) * (np.abs(left) // np.abs(right))).astype(left.dtype)
    return np.fmod(left, right) if call.integer("fmod", 0) else np.mod(left, right)


def _sliced(call: Call, values: Numbers) -> Numbers:
    starts, ends = call.list_at("starts", 1) or (), call.list_at("ends", 2) or ()
    axes = call.list_at("axes", 3) or tuple(range(len(starts)))
    steps = call.list_at("steps", 4) or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -values.shape[axis] else end
        values = np.take(values, range(values.shape[axis])[start:stop:step], axis=axis)
    return values
