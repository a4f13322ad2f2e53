"""A graph that can be rewritten: ONNX nodes in order, and constants as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]

# One number in, one number out, if the constants beside it are single numbers.
_ACTIVATIONS = ("LeakyRelu", "Relu", "Elu", "Selu", "Tanh", "Sigmoid", "Softplus")
POINTWISE = (*_ACTIVATIONS, "Round", "Clip", "Cast", "QuantizeLinear", "Add", "Mul")


class Graph:
    """The one graph of a model.

    Attributes:
        nodes: in an order in which they can run; each has one output.
        constants: by name; those that no node uses are dropped when the model is made.
        inputs, outputs: as ONNX declares them.
        opset: of the ONNX standard operators.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants: dict[str, Array] = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.nodes = []
        copy = onnx.ModelProto()
        copy.CopyFrom(model)  # nodes are changed in place
        for node in copy.graph.node:
            if node.op_type == "Constant" and (value := attributes(node).get("value")) is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                self.nodes.append(node)
        self.inputs, self.outputs = list(copy.graph.input), list(copy.graph.output)
        self.opset = next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
        self._ir_version = model.ir_version
        self._name = model.graph.name

    def to_model(self) -> onnx.ModelProto:
        """Return the model, without what leads to no output, and with names that depend on nothing but the graph."""
        self._drop_dead()
        self._name_anew()
        constants = [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, self._name, self.inputs, self.outputs, constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self._ir_version, producer_name="ganport")

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a value; None for an input or a constant."""
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that use a value."""
        return [node for node in self.nodes if name in node.input]

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the one node that uses a value; None where there are more or none, or where the value leaves the graph."""
        consumers = self.consumers(name)
        return consumers[0] if len(consumers) == 1 and not self.is_output(name) else None

    def is_output(self, name: str) -> bool:
        """Return whether a value leaves the graph."""
        return any(output.name == name for output in self.outputs)

    def rank(self, name: str) -> int | None:
        """Return the number of axes of a value, where inputs and shapes decide it."""
        for value in self.inputs:
            if value.name == name:
                return len(value.type.tensor_type.shape.dim)
        node = self.producer(name)
        if node is None:
            return None
        if node.op_type in ("Conv", "ConvTranspose"):
            return 4
        if node.op_type == "Gemm":
            return 2
        shape = self.constant(node, 1) if node.op_type == "Reshape" else None
        if shape is not None:
            return len(shape)
        flowing = [source for source in node.input if source and source not in self.constants]
        keeps = node.op_type in POINTWISE or (node.op_type == "MatMul" and flowing == [node.input[0]])
        ranks = [array.ndim for source in node.input if (array := self.constants.get(source)) is not None]
        if len(flowing) != 1 or not keeps:
            return None
        rank = self.rank(flowing[0])
        return rank if rank is None or max(ranks, default=0) <= rank else None

    def constant(self, node: onnx.NodeProto, place: int) -> Array | None:
        """Return an input of a node where it is a constant."""
        return self.constants.get(node.input[place]) if place < len(node.input) else None

    def add_constant(self, array: Array, name: str = "constant") -> str:
        """Keep an array under a new name; return that."""
        name = next(candidate for candidate in _candidates(name) if candidate not in self.constants)
        self.constants[name] = array
        return name

    def new_value(self) -> str:
        """Return a name that no value has."""
        taken = {name for node in self.nodes for name in (*node.input, *node.output)}
        return next(candidate for candidate in _candidates("value") if candidate not in taken)

    def replace(self, old: onnx.NodeProto, *new: onnx.NodeProto) -> None:
        """Put nodes in the place of one."""
        place = self._place(old)
        self.nodes[place : place + 1] = new

    def remove(self, node: onnx.NodeProto) -> None:
        """Take out a node whose output is its first input."""
        source, target = node.input[0], node.output[0]
        del self.nodes[self._place(node)]
        producer = self.producer(source)
        if not self.is_output(target):
            self._rename_uses(target, source)
        elif producer is not None:
            self._rename_uses(source, target)
            producer.output[0] = target
        else:
            raise ValueError(f"{target} would be an input that leaves the graph as it is")

    def _place(self, node: onnx.NodeProto) -> int:
        return next(place for place, there in enumerate(self.nodes) if there is node)

    def _rename_uses(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def _drop_dead(self) -> None:
        used = {output.name for output in self.outputs}
        alive = []
        for node in reversed(self.nodes):
            if used.intersection(node.output):
                alive.append(node)
                used.update(node.input)
        self.nodes = alive[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in used}

    def _name_anew(self) -> None:
        names = {value.name: value.name for value in (*self.inputs, *self.outputs)}
        constants = {}
        for number, node in enumerate(self.nodes):
            node.name = f"{number:03d}_{node.op_type}"
            for place, name in enumerate(node.input):
                if name in self.constants and name not in names:
                    names[name] = f"{node.name}/{place}"
                    constants[names[name]] = self.constants[name]
            for name in node.output:
                names.setdefault(name, node.name)
            node.input[:] = [names[name] if name else "" for name in node.input]
            node.output[:] = [names[name] for name in node.output]
            node.ClearField("doc_string")
        self.constants = constants


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
