"""Reading the attributes of an ONNX operation: numbers, tensors and graphs.

The field numbers in this module are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .onnx_tensor import (
    FLOAT,
    INT64,
    MOST_DIMS,
    MOST_FIRST,
    ModelReader,
    Tensor,
    read_sparse_tensor,
    read_tensor,
)
from .protobuf import (
    Value,
    WireError,
    integer_count,
    integers_of,
    message_of,
    number_of,
    single_message,
    text_of,
    unpacked,
)
from .rejection import RejectedError

AttributeValue = int | float | tuple[int, ...] | tuple[float, ...]

# Limit for the length of a list whose numbers are read. The attribute `pads` has two numbers per dimension.
_MOST_LISTED = 2 * MOST_DIMS
_LONGEST_TEXT = 1_000  # bytes of a text that are read
# Fields of an AttributeProto that hold its value.
_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS = range(2, 10)
_TENSORS, _GRAPHS, _SPARSE_TENSOR, _SPARSE_TENSORS = 10, 11, 22, 23
# Dict from the type that an attribute states to the field that then holds its value.
_FIELD_OF_TYPE = {1: _FLOAT, 2: _INT, 6: _FLOATS, 7: _INTS}
# Fields that may hold the value of a Constant.
_CONSTANT_FIELDS = {_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS, _STRINGS, _SPARSE_TENSOR}


class Attribute(NamedTuple):
    """What is read of an attribute.

    Attributes:
        name: Name of the attribute.
        type: Type that the attribute states, a value of AttributeProto.AttributeType; 0 if it states none.
        numbers: Dict from the number of a field to the numbers in it, at most 33.
        counts: Dict from the number of a field to the count of all numbers in it.
        tensor: Tensor in the attribute, dense or sparse; None if there is none.
        graphs: Bytes of the graphs in the attribute.
        fields: Numbers of the fields that the attribute has.
        text: Text in the attribute, at most the first thousand bytes; empty if there is none.
        reference: Name of the attribute of a function that the attribute stands for; empty for an attribute
            with a value of its own.
    """

    name: str
    type: int
    numbers: Mapping[int, Sequence[float]]
    counts: Mapping[int, int]
    tensor: Tensor | None
    graphs: tuple[memoryview, ...]
    fields: frozenset[int]
    text: str = ""
    reference: str = ""

    def value(self) -> AttributeValue | None:
        """Return the number or the numbers; None for other types, and for lists of more than 32 numbers."""
        field = _FIELD_OF_TYPE.get(self.type)
        if self.type == 0 and len(self.numbers) == 1:
            field = next(iter(self.numbers))
        if field is None:
            return None
        numbers = self.numbers.get(field, ())
        if field in (_FLOAT, _INT):
            return numbers[0] if numbers else 0
        return tuple(numbers) if len(numbers) <= _MOST_LISTED else None

    def listed(self) -> tuple[float, ...]:
        """Return the numbers in the attribute's lists, of whatever type.

        onnxruntime reads a list without looking at the type that the attribute states.
        """
        return (*self.numbers.get(_FLOATS, ()), *self.numbers.get(_INTS, ()))

    def is_set(self) -> bool:
        """Return whether the attribute holds an integer other than 0."""
        return any(self.numbers.get(_INT, ()))

    def constant(self) -> Tensor | None:
        """Return the value of a Constant; None if it is a text.

        Raises:
            RejectedError: There is more than one value, of which onnxruntime would use one.
        """
        if len(self.fields & _CONSTANT_FIELDS) > 1:
            raise RejectedError("it has a Constant of more than one value")
        if self.tensor is not None:
            return self.tensor
        for field, numbers in self.numbers.items():
            shape = (self.counts[field],) if field in (_FLOATS, _INTS) else ()
            kind = INT64 if field in (_INT, _INTS) else FLOAT
            return Tensor("", shape, tuple(numbers[:MOST_FIRST]), kind)
        # The attribute states its type and has no value, which stands for 0 or an empty list.
        return None if self.value() is None else Tensor("", (), (0,))


def read_attribute(message: memoryview, reader: ModelReader) -> Attribute:
    """Return an attribute, after checking its tensors. Its graphs are not read.

    Args:
        message: Bytes of an AttributeProto.
        reader: Reader of the model.
    """
    name, kind, text, reference, present = "", 0, "", "", set()
    numbers: dict[int, list[float]] = {}
    counts: dict[int, int] = {}
    tensor = graph = sparse = None
    graphs = []
    for number, value in reader.fields(message):
        present.add(number)
        if number == 1:
            name = text_of(value)
        elif number == 20:
            kind = number_of(value)
        elif number == 21:
            reference = text_of(value)
        elif number == _STRING:
            text = bytes(message_of(value)[:_LONGEST_TEXT]).decode(errors="replace")
        elif number in (_FLOAT, _INT):  # if the field occurs twice, the last one counts
            numbers[number] = _numbers_in(number, value)
        elif number in (_FLOATS, _INTS):
            counts[number] = counts.get(number, 0) + _count_in(number, value)
            if len(numbers.setdefault(number, [])) <= _MOST_LISTED:
                numbers[number] += _numbers_in(number, value)
        elif number == _TENSOR:
            tensor = single_message(tensor, value)
        elif number == _GRAPH:
            graph = single_message(graph, value)
        elif number == _TENSORS:
            read_tensor(message_of(value), reader)
        elif number == _GRAPHS:
            graphs.append(message_of(value))
        elif number in (_SPARSE_TENSOR, _SPARSE_TENSORS):
            sparse = read_sparse_tensor(message_of(value), reader)
    # An attribute must hold one value. If it holds a tensor and a list of numbers, onnxruntime uses only one
    # of the two values, which may not be the value that is checked here.
    if tensor is not None and counts:
        raise WireError
    return Attribute(
        name,
        kind,
        numbers,
        counts,
        sparse if tensor is None else read_tensor(tensor, reader),
        tuple(graphs) if graph is None else (graph, *graphs),
        frozenset(present),
        text,
        reference,
    )


def _numbers_in(number: int, value: Value) -> list[float]:
    if number in (_INT, _INTS):
        return [*integers_of(value, _MOST_LISTED + 1)]
    return unpacked(message_of(value), "f", _MOST_LISTED + 1)


def _count_in(number: int, value: Value) -> int:
    return integer_count(value) if number == _INTS else len(message_of(value)) // 4
