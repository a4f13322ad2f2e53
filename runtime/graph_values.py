"""Values in a graph, as far as they are known before it runs: shape, type, and the numbers of small ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .onnx_attribute import Attribute
from .onnx_tensor import Tensor, width_of

# Sizes of the axes. None stands for an axis whose size is not known.
Shape = tuple[int | None, ...]
Numbers = npt.NDArray[Any]

MOST_NUMBERS = 64  # largest number of elements of a value whose numbers are computed
_BFLOAT16 = 16  # value of TensorProto.DataType
# Dict from a data type to the NumPy type of its numbers.
DTYPES: Mapping[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    _BFLOAT16: "float32",
}


class UnknownSizeError(Exception):
    """The size of a value can't be known before the graph runs."""


class Known(NamedTuple):
    """What is known of a value.

    Attributes:
        shape: Shape of the value; None if it is not known.
        elements: Number of elements. An axis of unknown size counts as 1, so the true number may be larger.
        width: Bytes of an element.
        numbers: The numbers; None if they are not known, or if there are more than MOST_NUMBERS.
        is_constant: Whether the value depends on no input of the graph. onnxruntime computes such a value
            when it opens the file.
    """

    shape: Shape | None = None
    elements: int = 0
    width: int = 4
    numbers: Numbers | None = None
    is_constant: bool = False

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.elements * self.width


UNKNOWN = Known()


def kinds(names: str) -> frozenset[str]:
    """Return the kinds of operations in a text, with spaces between them."""
    return frozenset(names.split())


def count_of(shape: Sequence[int | None]) -> int:
    """Return the number of elements of a shape. An axis of unknown size counts as 1."""
    return math.prod(1 if size is None else max(0, size) for size in shape)


def stored(tensor: Tensor) -> Known:
    """Return what is known of a tensor that the file holds."""
    numbers = None
    count = count_of(tensor.shape)
    if tensor.first is not None and len(tensor.first) == count and tensor.kind in DTYPES:
        # A number that does not fit into its type wraps around, as in onnxruntime.
        with np.errstate(all="ignore"):
            numbers = np.array(tensor.first).astype(DTYPES[tensor.kind]).reshape(tensor.shape)
    return Known(tensor.shape, count, width_of(tensor.kind), numbers, is_constant=True)


class Call(NamedTuple):
    """One operation and what is known of its inputs.

    Attributes:
        kind: Kind of the operation.
        inputs: What is known of each input; None for an optional input that is left out.
        attributes: Dict from the name of an attribute to the attribute.
        outputs: Number of outputs.
    """

    kind: str
    inputs: Sequence[Known | None]
    attributes: Mapping[str, Attribute]
    outputs: int

    def has(self, index: int) -> bool:
        """Return whether the input at an index is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def known(self, index: int) -> Known:
        """Return what is known of an input."""
        found = self.inputs[index] if index < len(self.inputs) else None
        return UNKNOWN if found is None else found

    def shape(self, index: int) -> Shape:
        """Return the shape of an input. Raises UnknownSizeError."""
        shape = self.known(index).shape
        if shape is None:
            raise UnknownSizeError
        return shape

    def sizes(self, index: int) -> tuple[int, ...]:
        """Return the numbers of an input that holds sizes or indices. Raises UnknownSizeError."""
        numbers = self.known(index).numbers
        if numbers is None:
            raise UnknownSizeError
        return tuple(int(each) for each in numbers.ravel())

    def factors(self, index: int) -> tuple[float, ...]:
        """Return the numbers of an input. Raises UnknownSizeError."""
        numbers = self.known(index).numbers
        if numbers is None:
            raise UnknownSizeError
        return tuple(float(each) for each in numbers.ravel())

    def integer(self, name: str, default: int) -> int:
        """Return the integer in an attribute."""
        value = self.attributes[name].value() if name in self.attributes else None
        return default if value is None or isinstance(value, tuple) else int(value)

    def number(self, name: str, default: float) -> float:
        """Return the number in an attribute."""
        value = self.attributes[name].value() if name in self.attributes else None
        return default if value is None or isinstance(value, tuple) else float(value)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return the integers in an attribute; None if the operation does not have it."""
        if name not in self.attributes:
            return None
        return tuple(int(each) for each in self.attributes[name].listed())

    def text(self, name: str) -> str:
        """Return the text in an attribute; empty if the operation does not have it."""
        return self.attributes[name].text if name in self.attributes else ""

    def list_at(self, name: str, index: int) -> tuple[int, ...] | None:
        """Return integers that are in an attribute or, since a later opset, in an input.

        The result is None if there are none. Raises UnknownSizeError if they are not known.
        """
        if name in self.attributes:
            return self.integers(name)
        return self.sizes(index) if self.has(index) else None
