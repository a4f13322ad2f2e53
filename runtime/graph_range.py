"""The range of a graph's images, as far as its last operations decide it."""

from __future__ import annotations

import math

from .onnx_file import Node, Outline

Span = tuple[float, float]

# Dict from an activation to the range of its values.
_ACTIVATIONS: dict[str, Span] = {
    "Tanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
}
# Operations that move, repeat, drop or average values, and so keep their range.
_KEEPING = (
    "Identity",
    "Transpose",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "Slice",
    "Gather",
    "Resize",
    "Upsample",
    "DepthToSpace",
    "SpaceToDepth",
    "AveragePool",
    "MaxPool",
    "Dropout",
    "Expand",
)
_DEEPEST = 64  # operations that are followed back from the output


def range_of_output(outline: Outline, output: str) -> Span | None:
    """Return the smallest and the largest possible value of an output; None if the graph does not decide it.

    The operations are followed back from the output to an activation such as Tanh, or to a Clip.
    """
    producers = {name: node for node in outline.nodes for name in node.outputs}
    return _range_of(output, producers, outline, _DEEPEST)


def last_operation(outline: Outline, output: str) -> str:
    """Return the kind of the last operation that computes values; "not visible" if there is none."""
    producers = {name: node for node in outline.nodes for name in node.outputs}
    node = producers.get(output)
    for _ in range(_DEEPEST):
        if node is None or node.kind not in _KEEPING or not node.inputs:
            break
        node = producers.get(node.inputs[0])
    return "not visible" if node is None else node.kind


def _range_of(name: str, producers: dict[str, Node], outline: Outline, steps: int) -> Span | None:
    node = producers.get(name)
    if node is None or not steps:
        return None
    if node.kind in _ACTIVATIONS:
        return _ACTIVATIONS[node.kind]
    if not node.inputs:
        return None
    if node.kind in ("Add", "Sub", "Mul", "Div"):
        return _range_of_affine(node, producers, outline, steps)
    inner = _range_of(node.inputs[0], producers, outline, steps - 1)
    if node.kind in _KEEPING:
        return inner
    if node.kind == "Clip":
        return _intersection(_bounds_of_clip(node, outline), inner)
    if node.kind == "Relu" and inner is not None:
        return max(inner[0], 0.0), max(inner[1], 0.0)
    return None


def _range_of_affine(node: Node, producers: dict[str, Node], outline: Outline, steps: int) -> Span | None:
    """Return the range after a constant is added, subtracted, multiplied or divided by."""
    left, right = node.inputs[:2]
    constant = _scalar(right, outline)
    variable = left
    if constant is None:
        constant, variable = _scalar(left, outline), right
        if node.kind in ("Sub", "Div"):
            return None
    inner = None if constant is None else _range_of(variable, producers, outline, steps - 1)
    if inner is None or constant is None or (node.kind == "Div" and constant == 0):
        return None
    ends = [
        {
            "Add": end + constant,
            "Sub": end - constant,
            "Mul": end * constant,
            "Div": end / (constant or 1.0),
        }[node.kind]
        for end in inner
    ]
    return min(ends), max(ends)


def _bounds_of_clip(node: Node, outline: Outline) -> Span | None:
    """Return both bounds of a Clip, infinite if there is none; None if a bound is not known."""
    bounds = []
    for index, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        if name in node.attributes:
            bounds.append(float(node.attributes[name]))  # type: ignore[arg-type]
        elif index < len(node.inputs) and node.inputs[index]:
            bound = _scalar(node.inputs[index], outline)
            if bound is None:
                return None
            bounds.append(bound)
        else:
            bounds.append(default)
    return bounds[0], bounds[1]


def _intersection(bounds: Span | None, inner: Span | None) -> Span | None:
    if bounds is None:
        return inner
    low, high = bounds if inner is None else (max(bounds[0], inner[0]), min(bounds[1], inner[1]))
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _scalar(name: str, outline: Outline) -> float | None:
    """Return the value of a constant whose elements are all equal; None for another value."""
    constant = outline.constants.get(name)
    if constant is None or not constant.numbers or len(set(constant.numbers)) != 1:
        return None
    return float(constant.numbers[0])
