"""From a graph to a plan: the steps of the C code, and where their activations lie in memory."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ganport.runtime.contract import LABEL

from ..errors import UnsupportedOperatorError
from ..graph import Array, Graph
from ..standard_form import LATENT
from .memory import place_buffers
from .steps import Layer, Loop, Reduction, Step
from .views import Buffer, Latent, Shape, Table, View, channels_last, contiguous

# Constants with up to this number of elements may be folded by onnx's reference code, which is slow.
_LARGEST_FOLDED = 10_000_000


@dataclasses.dataclass(frozen=True)
class Label:
    """The argument `label` of the C function: an integer tensor with one element.

    Attributes:
        shape: Shape of the tensor.
    """

    shape: Shape


Value: TypeAlias = View | Label | Array


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the C code computes.

    Attributes:
        steps: Steps in their order.
        image: The image, float32 (height, width, channels) in [-1, 1].
        activations: Number of floats that the activations need.
    """

    steps: list[Step]
    image: View
    activations: int


def make_plan(model: onnx.ModelProto) -> Plan:
    """Return the plan of a graph that turns latents, and labels if it has any, into images.

    Args:
        model: Graph in standard form, in float32, with a label input if there are labels, and with images in
            [-1, 1] (batch, height, width, channels).

    Raises:
        UnsupportedOperatorError: The graph contains an operator for which there is no C code.
    """
    planner = Planner(for_one_image(model))
    planner.run()
    image = planner.view(planner.graph.outputs[0].name).sliced(0, 0, 1)
    return Plan(planner.steps, _without_batch(image), place_buffers(planner.steps, image))


def for_one_image(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model whose batch is one image."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in (*result.graph.input, *result.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del result.graph.value_info[:]
    return result


class Planner:
    """Turns the nodes of a graph into steps, one node after the other.

    Attributes:
        graph: The graph.
        steps: The steps so far.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = Graph(model)
        self.steps: list[Step] = []
        self._values: dict[str, Value] = dict(self.graph.constants)
        for source in self.graph.inputs:
            shape = tuple(dim.dim_value for dim in source.type.tensor_type.shape.dim)
            if source.name == LABEL:
                self._values[LABEL] = Label(shape)
            elif source.name == LATENT:
                self._values[LATENT] = contiguous(Latent(), shape)
        self._uses = Counter(name for node in self.graph.nodes for name in node.input)
        self._uses.update(output.name for output in self.graph.outputs)
        self._names: dict[Buffer, set[str]] = {}
        # Dense layers whose output may still be put into another order, by the buffer that they write.
        self._reorderable: dict[Buffer, Layer] = {}

    def run(self) -> None:
        """Plan all nodes.

        Raises:
            UnsupportedOperatorError: There is no C code for a node.
        """
        from .operators import OPERATORS

        for node in self.graph.nodes:
            self._uses.subtract(node.input)
            if node.op_type.startswith(("Random", "Multinomial", "Bernoulli")):
                raise UnsupportedOperatorError(node.op_type, "an image must depend on its latents only")
            if all(isinstance(self._values.get(name), np.ndarray) for name in node.input if name):
                self._bind(node, _fold(node, self._values, self.graph.opsets))
                continue
            plan_node = OPERATORS.get(node.op_type)
            if plan_node is None or node.domain not in ("", "ai.onnx"):
                raise UnsupportedOperatorError(node.op_type)
            self._bind(node, plan_node(self, node))

    def value(self, name: str) -> Value:
        """Return the value of a name."""
        return self._values[name]

    def view(self, name: str) -> View:
        """Return the float tensor of a name. A constant becomes a table."""
        value = self._values[name]
        if isinstance(value, Label):
            raise UnsupportedOperatorError("arithmetic with a label", "the label must select or be one-hot")
        return value if isinstance(value, View) else self.table(value)

    def constant(self, node: onnx.NodeProto, index: int) -> Array | None:
        """Return a constant input of a node, or None for a missing input.

        Raises:
            UnsupportedOperatorError: The input is computed from the latents.
        """
        if index >= len(node.input) or not node.input[index]:
            return None
        value = self._values[node.input[index]]
        if not isinstance(value, np.ndarray):
            raise UnsupportedOperatorError(
                f"{node.op_type} with a computed input {index}", "its settings must be constants"
            )
        return value

    def required(self, node: onnx.NodeProto, index: int) -> Array:
        """Return a constant input of a node.

        Raises:
            UnsupportedOperatorError: The input is missing, or it is computed from the latents.
        """
        value = self.constant(node, index)
        if value is None:
            raise UnsupportedOperatorError(f"{node.op_type} without input {index}")
        return value

    def table(self, array: Array) -> View:
        """Return a constant as a view of a table in flash memory."""
        values = np.ascontiguousarray(array, np.float32)
        return contiguous(Table(values.reshape(-1)), array.shape)

    def allocate(self, shape: Shape, order: Sequence[int] | None = None) -> View:
        """Return a view of a new buffer. By default the channels of an image are last in memory."""
        if order is None and len(shape) >= 3:
            order = channels_last(len(shape))
        return contiguous(Buffer(math.prod(shape)), shape, order)

    def add(self, step: Step) -> View:
        """Append a step, and return its output."""
        target = step.target.memory
        for view in (step.target, *step.reads()):
            if isinstance(view.memory, Buffer) and not _is_uniform(step, view.memory):
                self._reorderable.pop(view.memory, None)
        if isinstance(step, Layer) and step.is_dense and isinstance(target, Buffer):
            self._reorderable[target] = step
        self.steps.append(step)
        return step.target

    def loop(self, expression: str, *sources: View, keep: Sequence[View] = ()) -> View:
        """Plan a C expression for each element, and return the output.

        The output replaces an input in memory if nothing else needs this input.

        Args:
            expression: The C expression, in which a, b and c stand for the elements of the sources.
            sources: Inputs, which are broadcast.
            keep: Views that are needed later by the same node.
        """
        shape = np.broadcast_shapes(*(source.shape for source in sources))
        expanded = tuple(source.expanded(shape) for source in sources)
        for source in sources:
            if source.shape == shape and self._can_replace(source, sources, keep):
                return self.add(Loop(source, expanded, expression))
        return self.add(Loop(self.allocate(shape, _order_of(shape, sources)), expanded, expression))

    def copy(self, source: View, order: Sequence[int] | None = None) -> View:
        """Plan a copy to a new buffer, and return it."""
        return self.add(Loop(self.allocate(source.shape, order), (source,), "a"))

    def reduce(self, source: View, axes: Sequence[int], kind: str) -> View:
        """Plan a reduction, and return its output, in which the sizes of the axes are 1."""
        chosen = {axis % len(source.shape) for axis in axes}
        kept = tuple(1 if axis in chosen else size for axis, size in enumerate(source.shape))
        result = self.allocate(kept)
        target = result.expanded(source.shape)
        count = source.size // result.size
        self.add(Reduction(target, source, kind, count))  # type: ignore[arg-type]
        return result

    def reshape(self, source: View, shape: Shape) -> View:
        """Return a view in another shape. The floats are copied if there is no such view."""
        view = source.reshaped(shape)
        return self.copy(source, range(len(source.shape))).split(shape) if view is None else view

    def with_channels_last(self, source: View) -> View:
        """Return a view (batch, channels, ...) whose channels are consecutive in memory.

        If a dense layer computes the floats, it computes them in this order from now on. Otherwise they are
        copied.
        """
        rank = len(source.shape)
        if source.strides[1] == 1 or (source.shape[1] == 1 and not source.repeats()):
            return source
        buffer = source.memory
        if isinstance(buffer, Buffer) and self._is_dying(buffer) and source.is_whole():
            layer = self._reorderable.pop(buffer, None)
            if layer is not None:
                order = source.transposed(channels_last(rank)).indices().reshape(-1)
                layer.weights, layer.bias = layer.weights[:, :, order], layer.bias[order]
                layer.peak = layer.peak[order]
                return contiguous(buffer, source.shape, channels_last(rank))
        return self.copy(source, channels_last(rank))

    def _bind(self, node: onnx.NodeProto, values: Sequence[Value]) -> None:
        for name, value in zip(node.output, values, strict=False):
            if not name:
                continue
            self._values[name] = value
            if isinstance(value, View) and isinstance(value.memory, Buffer):
                self._names.setdefault(value.memory, set()).add(name)

    def _is_dying(self, buffer: Buffer) -> bool:
        """Return whether no node after the current one uses the floats of a buffer."""
        return all(self._uses[name] <= 0 for name in self._names.get(buffer, ()))

    def _can_replace(self, source: View, sources: Sequence[View], keep: Sequence[View]) -> bool:
        buffer = source.memory
        if not isinstance(buffer, Buffer) or source.repeats() or source.label_stride:
            return False
        others = [view for view in sources if view is not source and view.memory is buffer]
        same = all(
            (view.shape, view.strides, view.offset) == (source.shape, source.strides, source.offset)
            for view in others
        )
        return same and self._is_dying(buffer) and all(view.memory is not buffer for view in keep)


def _is_uniform(step: Step, buffer: Buffer) -> bool:
    """Return whether a step computes the same function of each single float of a buffer, in place."""
    return isinstance(step, Loop) and step.target.memory is buffer and len(step.sources) == 1


def _order_of(shape: Shape, sources: Sequence[View]) -> list[int] | None:
    """Return the order in memory of the axes of the first computed source of this shape."""
    for source in sources:
        if source.shape == shape and isinstance(source.memory, Buffer) and not source.repeats():
            return sorted(range(len(shape)), key=lambda axis: -abs(source.strides[axis]))
    return None


def _without_batch(image: View) -> View:
    return dataclasses.replace(image, shape=image.shape[1:], strides=image.strides[1:])


def _fold(
    node: onnx.NodeProto, values: dict[str, Value], opsets: Sequence[onnx.OperatorSetIdProto]
) -> list[Array]:
    """Return the outputs of a node whose inputs are constants."""
    names = list(dict.fromkeys(name for name in node.input if name))
    arrays = [np.asarray(values[name]) for name in names]
    if sum(array.size for array in arrays) > _LARGEST_FOLDED:
        raise UnsupportedOperatorError(f"{node.op_type} of a large constant", "fold it before the export")
    tensors = [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", [], outputs, tensors)
    model = helper.make_model(graph, opset_imports=list(opsets))
    return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, {})]
