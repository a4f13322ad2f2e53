"""A graph that can be rewritten: ONNX nodes in order, and constants as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
Shape = tuple[int | None, ...]

_LARGEST_SHAPE = 64  # numbers: constants up to this size may be shapes, slices, axes, which others depend on

# One number in, one number out, if the constants beside it are single numbers.
_ACTIVATIONS = ("LeakyRelu", "Relu", "Elu", "Selu", "Tanh", "Sigmoid", "Softplus")
POINTWISE = (*_ACTIVATIONS, "Round", "Clip", "Cast", "QuantizeLinear", "Add", "Mul")


class Graph:
    """The one graph of a model.

    Attributes:
        nodes: in an order in which they can run. Who changes them by hand calls `changed`.
        constants: by name; those that no node uses are dropped when the model is made.
        inputs, outputs: as ONNX declares them.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)  # nodes are changed in place
        self.constants: dict[str, Array] = {tensor.name: numpy_helper.to_array(tensor) for tensor in copy.graph.initializer}
        self.nodes = []
        for node in copy.graph.node:
            if node.op_type == "Constant" and (value := attributes(node).get("value")) is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                self.nodes.append(node)
        # An input with a value of its own may be left out by the caller; here it always is.
        self.inputs = [value for value in copy.graph.input if value.name not in self.constants]
        self.outputs = list(copy.graph.output)
        self.opsets, self._ir_version, self._name = list(copy.opset_import), copy.ir_version, copy.graph.name
        self._given: set[str] = set()  # names that a rewrite has asked for, and may not have used yet
        self.changed()

    def changed(self) -> None:
        """Forget what was worked out about nodes that have changed since."""
        self._producers: dict[str, onnx.NodeProto] | None = None
        self._consumers: dict[str, list[onnx.NodeProto]] = {}
        self._shapes: dict[str, Shape] | None = None
        self._float32: set[str] = set()

    def to_model(self) -> onnx.ModelProto:
        """Return the model, without what leads to no output, and with names that depend on nothing but the graph."""
        self.drop_dead()
        self._name_anew()
        constants = [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, self._name, self.inputs, self.outputs, constants)
        return helper.make_model(graph, opset_imports=self.opsets, ir_version=self._ir_version, producer_name="ganport")

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a value; None for an input or a constant."""
        if self._producers is None:
            self._index()
        return (self._producers or {}).get(name)

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the one node that uses a value; None where there are more or none, or where the value leaves the graph."""
        if self._producers is None:
            self._index()
        consumers = self._consumers.get(name, [])
        return consumers[0] if len(consumers) == 1 and not self.is_output(name) else None

    def is_output(self, name: str) -> bool:
        """Return whether a value leaves the graph."""
        return any(output.name == name for output in self.outputs)

    def shape(self, name: str) -> Shape | None:
        """Return the shape of a value, with None for a size that is not known; None where not even the rank is."""
        if name in self.constants:
            return self.constants[name].shape
        if self._shapes is None:
            self._shapes = self._infer_shapes()
        return self._shapes.get(name)

    def is_float32(self, name: str) -> bool:
        """Return whether a value is known to be float32."""
        self.shape(name)
        return name in self._float32

    def rank(self, name: str) -> int | None:
        """Return the number of axes of a value, where it is known."""
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def constant(self, node: onnx.NodeProto, place: int) -> Array | None:
        """Return an input of a node where it is a constant."""
        return self.constants.get(node.input[place]) if place < len(node.input) else None

    def add_constant(self, array: Array, name: str = "constant") -> str:
        """Keep an array under a new name; return that."""
        name = self._unused(name)
        self.constants[name] = array
        return name

    def new_value(self) -> str:
        """Return a name that no value has."""
        return self._unused("value")

    def replace(self, old: onnx.NodeProto, *new: onnx.NodeProto) -> None:
        """Put nodes in the place of one."""
        place = self._place(old)
        self.nodes[place : place + 1] = new
        self.changed()

    def can_remove(self, node: onnx.NodeProto) -> bool:
        """Return whether a node can be taken out: its input or its output stays inside the graph, and has a node to make it."""
        source, (target, *others) = node.input[0], node.output
        if any(self._consumers_of(other) or self.is_output(other) for other in others if other):
            return False
        return not self.is_output(target) or (self.producer(source) is not None and not self.is_output(source))

    def remove(self, node: onnx.NodeProto) -> None:
        """Take out a node whose first output is to be its first input; see `can_remove`."""
        source, target = node.input[0], node.output[0]
        producer = self.producer(source)
        del self.nodes[self._place(node)]
        if not self.is_output(target):
            self._rename_uses(target, source)
        elif producer is not None:
            self._rename_uses(source, target)
            producer.output[list(producer.output).index(source)] = target
        self.changed()

    def drop_dead(self) -> None:
        """Drop the nodes and constants that lead to no output."""
        used = {output.name for output in self.outputs}
        alive = []
        for node in reversed(self.nodes):
            if used.intersection(node.output):
                alive.append(node)
                used.update(node.input)
        self.nodes = alive[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in used}
        self.changed()

    def _consumers_of(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def _index(self) -> None:
        self._producers, self._consumers = {}, {}
        for node in self.nodes:
            self._producers.update(dict.fromkeys(node.output, node))
            for name in set(node.input):
                self._consumers.setdefault(name, []).append(node)

    def _infer_shapes(self) -> dict[str, Shape]:
        """Return the shapes that ONNX infers. Of large constants it is told the shape only, not the numbers."""
        values, small = list(self.inputs), []
        for name, array in self.constants.items():
            if array.size <= _LARGEST_SHAPE:
                small.append(numpy_helper.from_array(np.asarray(array), name))
            else:
                values.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
        outputs = [onnx.ValueInfoProto(name=output.name) for output in self.outputs]
        graph = helper.make_graph(self.nodes, "shapes", values, outputs, small)
        model = helper.make_model(graph, opset_imports=self.opsets, ir_version=self._ir_version)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        known = [*inferred.input, *inferred.value_info, *inferred.output]
        self._float32 = {value.name for value in known if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        return {
            value.name: tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim)
            for value in known
            if value.type.tensor_type.HasField("shape")
        }

    def _unused(self, name: str) -> str:
        taken = {used for node in self.nodes for used in (*node.input, *node.output)}
        taken.update(self.constants, self._given, (value.name for value in (*self.inputs, *self.outputs)))
        unused = next(candidate for candidate in _candidates(name) if candidate not in taken)
        self._given.add(unused)
        return unused

    def _place(self, node: onnx.NodeProto) -> int:
        return next(place for place, there in enumerate(self.nodes) if there is node)

    def _rename_uses(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def _name_anew(self) -> None:
        kept = {value.name for value in (*self.inputs, *self.outputs)}
        names = {name: name for name in kept}

        def free(name: str) -> str:
            return next(candidate for candidate in _candidates(name) if candidate not in kept)

        constants = {name: array for name, array in self.constants.items() if name in kept}
        for number, node in enumerate(self.nodes):
            node.name = f"{number:03d}_{node.op_type}"
            for place, name in enumerate(node.input):
                if name in self.constants and name not in names:
                    names[name] = free(f"{node.name}/{place}")
                    constants[names[name]] = self.constants[name]
            for place, name in enumerate(node.output):
                if name:
                    names.setdefault(name, free(f"{node.name}:{place}" if place else node.name))
            node.input[:] = [names[name] if name else "" for name in node.input]
            node.output[:] = [names[name] if name else "" for name in node.output]
            node.ClearField("doc_string")
        self.constants = constants
        self.changed()


def _candidates(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def make_node(operation: str, inputs: list[str], output: str, settings: Mapping[str, Any] | None = None) -> onnx.NodeProto:
    """Return a node with one output."""
    return helper.make_node(operation, inputs, [output], **(settings or {}))
