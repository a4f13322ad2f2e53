"""The range of a graph's images, as far as its last operations decide it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .onnx_file import Node, Outline

Span = tuple[float, float]

_UNKNOWN: Span = (-math.inf, math.inf)
# Dict from an activation to the range of its values.
_ACTIVATIONS: dict[str, Span] = {
    "Tanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Sin": (-1.0, 1.0),
    "Cos": (-1.0, 1.0),
    "Erf": (-1.0, 1.0),
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
    "Split",
    "Gather",
    "Resize",
    "Upsample",
    "DepthToSpace",
    "SpaceToDepth",
    "AveragePool",
    "MaxPool",
    "Dropout",
    "Expand",
    "Tile",
    "Pad",
    "Round",
    "Floor",
    "Ceil",
)
_INTERPOLATING = ("Resize", "Upsample")
_ROUNDING = ("Round", "Floor", "Ceil", "QuantizeLinear")
_INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)  # ONNX's numbers of the types of whole numbers
_DEEPEST = 64  # operations that are followed back from the output


def range_of_output(outline: Outline, output: str) -> Span | None:
    """Return the smallest and the largest possible value of an output; None if the graph does not decide it.

    The operations are followed back from the output to an activation such as Tanh, or to a Clip. Cubic
    interpolation may exceed the range of its input, and the result is then the range of the input.
    """
    low, high = _Ranges(outline).of(output)
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def may_exceed_range(outline: Outline, output: str) -> bool:
    """Return whether values may lie outside of the range that `range_of_output` returns.

    This is so if values are interpolated after the activation, because the interpolation may be cubic.
    """
    return any(node.kind in _INTERPOLATING for node in _Ranges(outline).passed_to(output))


def has_levels(outline: Outline, output: str) -> bool:
    """Return whether the values of an output are rounded to whole levels, or to those of a quantisation."""
    return any(
        node.kind in _ROUNDING or (node.kind == "Cast" and node.attributes.get("to") in _INTEGERS)
        for node in _Ranges(outline).passed_to(output)
    )


def last_operation(outline: Outline, output: str) -> str:
    """Return the kind of the last operation that computes values; "not visible" if there is none."""
    producers = {name: node for node in outline.nodes for name in node.outputs}
    node = producers.get(output)
    for _ in range(_DEEPEST):
        if node is None or node.kind not in _KEEPING or not node.inputs:
            break
        node = producers.get(node.inputs[0])
    return "not visible" if node is None else node.kind


class _Ranges:
    """The ranges of the values in a graph. A bound that is not known is infinite."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._producers = {name: node for node in outline.nodes for name in node.outputs}
        self._found: dict[str, Span] = {}
        self._passed: list[Node] = []

    def passed_to(self, name: str) -> Sequence[Node]:
        """Return the operations that were followed back from a value."""
        self.of(name)
        return self._passed

    def of(self, name: str, steps: int = _DEEPEST) -> Span:
        """Return the range of a value.

        Args:
            name: Name of the value.
            steps: Number of operations that are followed back.
        """
        if name not in self._found:
            self._found[name] = _UNKNOWN  # so that a cycle ends here
            node = self._producers.get(name)
            if node is not None and steps and not node.domain:
                self._passed.append(node)
                self._found[name] = self._after(node, steps - 1)
        return self._found[name]

    def _after(self, node: Node, steps: int) -> Span:
        """Return the range of an operation's output."""
        if node.kind in _ACTIVATIONS:
            return _ACTIVATIONS[node.kind]
        if not node.inputs:
            return _UNKNOWN
        if node.kind in ("Add", "Sub", "Mul", "Div"):
            return self._after_affine(node, steps)
        if node.kind in ("Max", "Min"):
            return self._after_bound(node, steps)
        if node.kind in ("Concat", "Where"):
            return self._of_all(node.inputs[1:] if node.kind == "Where" else node.inputs, steps)
        if node.kind == "DequantizeLinear":
            return self._after_quantisation(node, steps)
        if node.kind in (*_KEEPING, "Clip", "Relu", "Neg"):
            return self._after_step(node, *self.of(node.inputs[0], steps))
        return _UNKNOWN

    def _after_step(self, node: Node, low: float, high: float) -> Span:
        """Return the range after an operation on each value, from the range before it."""
        if node.kind == "Pad":
            return (low, high) if low <= self._padding(node) <= high else _UNKNOWN
        if node.kind == "Clip":
            least, most = self._bounds_of_clip(node)
            return max(low, least), min(high, most)
        if node.kind == "Relu":
            return max(low, 0.0), max(high, 0.0)
        return (-high, -low) if node.kind == "Neg" else (low, high)

    def _after_quantisation(self, node: Node, steps: int) -> Span:
        """Return the range of values that are quantised, and then converted back."""
        quantised = self._producers.get(node.inputs[0])
        if quantised is None or quantised.kind != "QuantizeLinear":
            return _UNKNOWN
        self._passed.append(quantised)
        return self.of(quantised.inputs[0], steps)

    def _of_all(self, names: Sequence[str], steps: int) -> Span:
        """Return the range of several values, if it is the same for all of them."""
        found = {self.of(name, steps) for name in names}
        return found.pop() if len(found) == 1 else _UNKNOWN

    def _after_affine(self, node: Node, steps: int) -> Span:
        """Return the range after a constant is added, subtracted, multiplied or divided by."""
        left, right = node.inputs[:2]
        constant = self._scalar(right)
        if constant is None:
            first = self._scalar(left)
            if first is None or node.kind == "Div":
                return _UNKNOWN
            low, high = self.of(right, steps)
            if node.kind == "Sub":
                return first - high, first - low
            constant = first
        else:
            low, high = self.of(left, steps)
        if node.kind in ("Add", "Sub"):
            shift = constant if node.kind == "Add" else -constant
            return low + shift, high + shift
        if constant == 0:
            return _UNKNOWN
        factor = constant if node.kind == "Mul" else 1 / constant
        return min(low * factor, high * factor), max(low * factor, high * factor)

    def _after_bound(self, node: Node, steps: int) -> Span:
        """Return the range after the larger or the smaller of a value and a constant is taken."""
        constants = [self._scalar(name) for name in node.inputs]
        if len(constants) != 2 or constants.count(None) != 1:
            return _UNKNOWN
        index = constants.index(None)
        bound, (low, high) = constants[1 - index], self.of(node.inputs[index], steps)
        assert bound is not None  # noqa: S101
        choose = max if node.kind == "Max" else min
        return choose(low, bound), choose(high, bound)

    def _bounds_of_clip(self, node: Node) -> Span:
        """Return both bounds of a Clip, infinite if there is none or if it is not known."""
        bounds = []
        for index, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
            bound = node.attributes.get(name)
            if bound is None and index < len(node.inputs):
                bound = self._scalar(node.inputs[index])
            bounds.append(default if bound is None else float(bound))  # type: ignore[arg-type]
        return bounds[0], bounds[1]

    def _padding(self, node: Node) -> float:
        """Return the value that a Pad adds; NaN if it is not known."""
        if "value" in node.attributes:
            return float(node.attributes["value"])  # type: ignore[arg-type]
        if len(node.inputs) < 3 or not node.inputs[2]:
            return 0.0
        value = self._scalar(node.inputs[2])
        return math.nan if value is None else value

    def _scalar(self, name: str) -> float | None:
        """Return the value of a constant whose elements are all equal; None for another value."""
        constant = self._outline.constants.get(name)
        if constant is None or not constant.numbers or len(set(constant.numbers)) != 1:
            return None
        return float(constant.numbers[0])
