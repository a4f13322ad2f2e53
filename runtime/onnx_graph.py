"""The graphs and functions of an ONNX file, with all that decides how large the tensors in them are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from .onnx_attribute import Attribute
from .onnx_tensor import Tensor
from .protobuf import Value, message_of, number_of, signed, single_message, text_of

_NOTHING = memoryview(b"")

# Sizes of the axes, None for an axis of any size. None in place of the tuple if the shape is not stated.
StatedShape = tuple[int | None, ...] | None


class Input(NamedTuple):
    """An input of a graph.

    Attributes:
        name: Name of the input.
        kind: Data type of the input's elements, a value of TensorProto.DataType; 0 if it is not a tensor.
        shape: Shape that the file states.
    """

    name: str
    kind: int
    shape: StatedShape


class Operation(NamedTuple):
    """One operation.

    Attributes:
        kind: Kind of the operation, such as "Conv".
        domain: Domain of the kind; empty for ONNX's own operations.
        inputs: Names of the operation's inputs.
        outputs: Names of the operation's outputs.
        attributes: Dict from the name of an attribute to the attribute.
        graphs: Graphs within the operation, such as the branches of an If.
    """

    kind: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    graphs: tuple[Graph, ...]

    @property
    def has_references(self) -> bool:
        """Whether an attribute stands for an attribute of the function that the operation belongs to."""
        return any(each.reference for each in self.attributes.values())

    @property
    def function(self) -> FunctionId:
        """Domain and name of the function that the operation calls, if the file has this function."""
        return function_id(self.domain, self.kind)


class Graph(NamedTuple):
    """A graph, or the branch of an If.

    Attributes:
        inputs: Inputs of the graph, without those that have an initializer.
        outputs: Names of the graph's outputs.
        tensors: Dict from the name of an initializer to the tensor.
        operations: Operations of the graph.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    operations: tuple[Operation, ...]


class Function(NamedTuple):
    """A function of a file: an operation that is made of others.

    Attributes:
        inputs: Names of the function's inputs.
        outputs: Names of the function's outputs.
        attributes: Dict from the name of an attribute to the attribute's default.
        operations: Operations of the function.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    operations: tuple[Operation, ...]


FunctionId = tuple[str, str]  # domain and name of a function


def function_id(domain: str, name: str) -> FunctionId:
    """Return the domain and the name of a function. The domain of ONNX's own operations has two names."""
    return "" if domain == "ai.onnx" else domain, name


Fields = Callable[[memoryview], Iterator[tuple[int, Value]]]  # `fields`, or one that counts the fields


def read_input(message: memoryview, fields: Fields) -> Input:
    """Return an input of a graph.

    Args:
        message: Bytes of a ValueInfoProto.
        fields: Function that yields the fields of a message.
    """
    name, described, tensor, shape, kind = "", None, None, None, 0
    for number, value in fields(message):
        if number == 1:
            name = text_of(value)
        elif number == 2:
            described = single_message(described, value)
    for number, value in fields(described or _NOTHING):
        if number == 1:
            tensor = single_message(tensor, value)
    for number, value in fields(tensor or _NOTHING):
        if number == 1:
            kind = number_of(value)
        elif number == 2:
            shape = single_message(shape, value)
    if shape is None:
        return Input(name, kind, None)
    sizes = (_read_size(message_of(value), fields) for number, value in fields(shape) if number == 1)
    return Input(name, kind, tuple(sizes))


def read_output(message: memoryview, fields: Fields) -> str:
    """Return the name of an output. The arguments are those of `read_input`."""
    names = [text_of(value) for number, value in fields(message) if number == 1]
    return names[-1] if names else ""


def _read_size(message: memoryview, fields: Fields) -> int | None:
    """Return the size of an axis; None if it has a name, or nothing, in place of a size."""
    sizes = [signed(number_of(value)) for number, value in fields(message) if number == 1]
    return sizes[-1] if sizes else None
