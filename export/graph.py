"""A graph that can be rewritten: its ONNX nodes are a list, its constants are NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
Shape = tuple[int | None, ...]

# Constants with up to this number of elements are passed to shape inference with their contents, because such
# a constant may be the target shape of a Reshape, the bounds of a Slice or a list of axes. To save time, only
# the shape of a larger constant is passed.
_LARGEST_SHAPE = 64

# Operations that compute each output value from the one input value at the same position. An operation with
# several inputs (such as Add) does so only if all inputs but one are scalar constants.
_ACTIVATIONS = ("LeakyRelu", "Relu", "Elu", "Selu", "Tanh", "Sigmoid", "Softplus")
POINTWISE = (*_ACTIVATIONS, "Round", "Clip", "Cast", "QuantizeLinear", "Add", "Mul")


class Graph:
    """The graph of a model, in a form that can be changed.

    Attributes:
        nodes: Nodes in an order in which they can run. Code that changes nodes or their order directly must
            call `changed` afterwards.
        constants: Constants by name. `to_model` drops the constants that no node uses.
        inputs: Inputs as ONNX declares them.
        outputs: Outputs as ONNX declares them.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)  # the nodes of the copy are changed in place
        self.constants: dict[str, Array] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in copy.graph.initializer
        }
        self.nodes = []
        for node in copy.graph.node:
            if node.op_type == "Constant" and (value := attributes(node).get("value")) is not None:
                self.constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                self.nodes.append(node)
        # If an input and a constant have the same name, the constant is the default value of the input.
        # Callers of an exported graph never pass an input with a default, so only the constant is kept.
        self.inputs = [value for value in copy.graph.input if value.name not in self.constants]
        self.outputs = list(copy.graph.output)
        self.opsets, self._ir_version, self._name = list(copy.opset_import), copy.ir_version, copy.graph.name
        self._reserved: set[str] = set()  # names that `_unused` returned, even if not yet used
        self.changed()

    def changed(self) -> None:
        """Discard everything that was derived from the nodes. Call this after each change of the nodes."""
        self._producers: dict[str, onnx.NodeProto] | None = None
        self._consumers: dict[str, list[onnx.NodeProto]] = {}
        self._shapes: dict[str, Shape] | None = None
        self._float32: set[str] = set()

    def to_model(self) -> onnx.ModelProto:
        """Return the model without unused nodes and constants.

        Nodes, constants and the values between nodes get new names, which depend on the graph alone. So the
        same generator gives the same bytes each time.
        """
        self.drop_unused()
        self._rename_all()
        constants = [
            numpy_helper.from_array(np.asarray(array, order="C"), name)
            for name, array in self.constants.items()
        ]
        graph = helper.make_graph(self.nodes, self._name, self.inputs, self.outputs, constants)
        return helper.make_model(
            graph, opset_imports=self.opsets, ir_version=self._ir_version, producer_name="ganport"
        )

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that computes a value; None for an input or a constant."""
        if self._producers is None:
            self._connect()
        return (self._producers or {}).get(name)

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the one node that uses a value.

        The result is None if no node or several nodes use the value, or if the value is an output of the
        graph.
        """
        if self._producers is None:
            self._connect()
        consumers = self._consumers.get(name, [])
        return consumers[0] if len(consumers) == 1 and not self.is_output(name) else None

    def is_output(self, name: str) -> bool:
        """Return whether a value is an output of the graph."""
        return any(output.name == name for output in self.outputs)

    def shape(self, name: str) -> Shape | None:
        """Return the shape of a value, with None for each unknown size; None if the rank is unknown."""
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
        """Return the number of axes of a value; None if the number is unknown."""
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def constant(self, node: onnx.NodeProto, index: int) -> Array | None:
        """Return the constant that is input `index` of a node; None for a missing or computed input."""
        return self.constants.get(node.input[index]) if index < len(node.input) else None

    def add_constant(self, array: Array, name: str = "constant") -> str:
        """Add a constant under an unused name, and return that name."""
        name = self._unused(name)
        self.constants[name] = array
        return name

    def new_value(self) -> str:
        """Return an unused name for a new value."""
        return self._unused("value")

    def replace(self, old: onnx.NodeProto, *new: onnx.NodeProto) -> None:
        """Replace a node by one or more new nodes, in the same position."""
        index = self.position(old)
        self.nodes[index : index + 1] = new
        self.changed()

    def position(self, node: onnx.NodeProto) -> int:
        """Return the position of a node among the nodes."""
        return next(index for index, each in enumerate(self.nodes) if each is node)

    def can_remove(self, node: onnx.NodeProto) -> bool:
        """Return whether `remove` can remove a node.

        All outputs of the node but the first must be unused. If the first output is an output of the graph,
        the graph must keep this name, so `remove` gives the name to the first input of the node. This is
        possible only if another node computes the first input, and the first input is not itself an output
        of the graph.
        """
        source, (target, *others) = node.input[0], node.output
        if any(self._consumers_of(other) or self.is_output(other) for other in others if other):
            return False
        return not self.is_output(target) or (
            self.producer(source) is not None and not self.is_output(source)
        )

    def remove(self, node: onnx.NodeProto) -> None:
        """Remove a node for which `can_remove` is true. Its first input replaces its first output."""
        source, target = node.input[0], node.output[0]
        producer = self.producer(source)
        del self.nodes[self.position(node)]
        if not self.is_output(target):
            self._rename_uses(target, source)
        elif producer is not None:
            self._rename_uses(source, target)
            producer.output[list(producer.output).index(source)] = target
        self.changed()

    def drop_unused(self) -> None:
        """Drop the nodes and constants that no output depends on."""
        used = {output.name for output in self.outputs}
        kept = []
        for node in reversed(self.nodes):
            if used.intersection(node.output):
                kept.append(node)
                used.update(node.input)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in used}
        self.changed()

    def _consumers_of(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def _connect(self) -> None:
        self._producers, self._consumers = {}, {}
        for node in self.nodes:
            self._producers.update(dict.fromkeys(node.output, node))
            for name in set(node.input):
                self._consumers.setdefault(name, []).append(node)

    def _infer_shapes(self) -> dict[str, Shape]:
        """Return a dictionary from the name of a value to the shape that ONNX infers for this value.

        The names of all float32 values are stored in `self._float32`.
        """
        values, small = list(self.inputs), []
        for name, array in self.constants.items():
            if array.size <= _LARGEST_SHAPE:
                small.append(numpy_helper.from_array(np.asarray(array), name))
            else:
                values.append(
                    helper.make_tensor_value_info(
                        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
                    )
                )
        outputs = [onnx.ValueInfoProto(name=output.name) for output in self.outputs]
        graph = helper.make_graph(self.nodes, "shapes", values, outputs, small)
        model = helper.make_model(graph, opset_imports=self.opsets, ir_version=self._ir_version)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        known = [*inferred.input, *inferred.value_info, *inferred.output]
        self._float32 = {
            value.name for value in known if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        }
        return {
            value.name: tuple(
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in value.type.tensor_type.shape.dim
            )
            for value in known
            if value.type.tensor_type.HasField("shape")
        }

    def _unused(self, name: str) -> str:
        taken = {used for node in self.nodes for used in (*node.input, *node.output)}
        taken.update(self.constants, self._reserved, (value.name for value in (*self.inputs, *self.outputs)))
        unused = next(candidate for candidate in _candidates(name) if candidate not in taken)
        self._reserved.add(unused)
        return unused

    def _rename_uses(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]

    def _rename_all(self) -> None:
        kept = {value.name for value in (*self.inputs, *self.outputs)}
        names = {name: name for name in kept}

        def unused(name: str) -> str:
            return next(candidate for candidate in _candidates(name) if candidate not in kept)

        constants = {name: array for name, array in self.constants.items() if name in kept}
        for number, node in enumerate(self.nodes):
            node.name = f"{number:03d}_{node.op_type}"
            for index, name in enumerate(node.input):
                if name in self.constants and name not in names:
                    names[name] = unused(f"{node.name}/{index}")
                    constants[names[name]] = self.constants[name]
            for index, name in enumerate(node.output):
                if name:
                    names.setdefault(name, unused(f"{node.name}:{index}" if index else node.name))
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


def make_node(
    operation: str, inputs: list[str], output: str, settings: Mapping[str, Any] | None = None
) -> onnx.NodeProto:
    """Return a node with one output."""
    return helper.make_node(operation, inputs, [output], **(settings or {}))
