"""Reading the tensors of an ONNX file: name, shape and first numbers, with checks and without a copy.

The field numbers in this module are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .display import shortened
from .external_data import WeightFiles
from .protobuf import (
    WORD,
    FieldReader,
    Value,
    WireError,
    fields,
    integer_count,
    integers_of,
    message_of,
    number_of,
    text_of,
    unpacked,
)
from .rejection import RejectedError

MOST_DIMS = 16  # limit for the number of dimensions of a tensor
# Limit for the number of values of a tensor whose shape is stated in the file. As float32 they take 1 GiB.
MOST_VALUES = 2**28
MOST_FIRST = (
    MOST_DIMS + 1
)  # largest number of numbers that are read of a tensor; one more than a shape may have
SUPPORTED = f"supported are at most {MOST_DIMS} dimensions and {MOST_VALUES:,} values"

_EXTERNAL = 1  # value of TensorProto.DataLocation
FLOAT, INT64 = 1, 7  # values of TensorProto.DataType
_FLOAT16, _BFLOAT16 = 10, 16  # values of TensorProto.DataType
_FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA = 4, 9, 10  # fields of TensorProto
# Dict from a data type to the `struct` format of a number in raw bytes, and to the field of TensorProto that
# holds numbers of this type if they are not raw.
_NUMBER_FORMATS = {
    1: ("f", _FLOAT_DATA),
    2: ("B", 5),
    3: ("b", 5),
    4: ("H", 5),
    5: ("h", 5),
    6: ("i", 5),
    7: ("q", 7),
    9: ("B", 5),  # bool
    _FLOAT16: ("e", 5),
    11: ("d", _DOUBLE_DATA),
    12: ("I", 11),
    13: ("Q", 11),
    _BFLOAT16: ("H", 5),
}


# Bytes of an element of the types that take more than 4. A text is an object of the C++ library, and its
# letters may lie elsewhere.
_STRING, _DOUBLE, _UINT64, _COMPLEX64, _COMPLEX128 = 8, 11, 13, 14, 15
_WIDTHS = {_STRING: 32, INT64: 8, _DOUBLE: 8, _UINT64: 8, _COMPLEX64: 8, _COMPLEX128: 16}


class ModelReader(FieldReader):
    """Reads the messages in a model file, up to a total number of fields.

    Attributes:
        files: Files beside the model that may hold weights.
        count: Number of fields that were read.
        dense_bytes: Bytes of the dense tensors that onnxruntime makes of sparse ones.
        stored_bytes: Bytes that all other tensors take in memory.
    """

    def __init__(self, files: WeightFiles, most: int) -> None:
        super().__init__(most)
        self.files, self.dense_bytes, self.stored_bytes = files, 0, 0


class Tensor(NamedTuple):
    """What is read of a tensor.

    Attributes:
        name: Name of the tensor.
        shape: Shape of the tensor; empty for a single number.
        first: Numbers at the start of the tensor, at most MOST_FIRST; None if they are not numbers, or of a
            type that is not read.
        kind: Data type of the tensor, a value of TensorProto.DataType.
    """

    name: str
    shape: tuple[int, ...]
    first: tuple[float, ...] | None
    kind: int = FLOAT


def read_tensor(message: memoryview, reader: ModelReader) -> Tensor:
    """Return a tensor, after checking that it has as many bytes as its shape needs.

    Args:
        message: Bytes of a TensorProto.
        reader: Reader of the model.
    """
    dims = _Sizes()
    parts: dict[int, list[Value]] = {}  # from the number of a content field to the field's first values
    external: dict[str, str] = {}
    name, kind, size, is_external = "", 0, 0, False
    for number, value in reader.fields(message):
        if number == 1:
            dims.add(value)
        elif number == 2:
            kind = number_of(value) & WORD  # onnxruntime also keeps only the lowest 32 bits
        elif number in (4, 5, 6, 7, _RAW_DATA, 10, 11):
            size += _size_of(number, value)
            first = parts.setdefault(number, [])
            if len(first) < MOST_FIRST:
                first.append(value)
        elif number == 8:
            name = text_of(value)
        elif number == 13:  # one key and its value, such as the location of content in another file
            entry = dict(fields(message_of(value)))
            external[text_of(entry.get(1, memoryview(b"")))] = text_of(entry.get(2, memoryview(b"")))
        elif number == 14:  # data location
            is_external = number_of(value) & WORD == _EXTERNAL
    # A tensor must hold its content once. If two fields hold content, or if `raw_data` occurs twice,
    # onnxruntime uses only one of the two contents, which may not be the content that is checked here.
    if len(parts) > 1 or len(parts.get(_RAW_DATA, ())) > 1:
        raise WireError
    if is_external:
        span = reader.files.locate(external)
        size = span.length
        is_short = len(dims.first) == dims.count and math.prod(dims.first) < MOST_FIRST
        parts = {_RAW_DATA: [memoryview(span.read_start())]} if is_short else {}
    _check_content(name, dims, size)
    reader.stored_bytes += max(size, bytes_of(dims.first, kind))
    numbers = _first_numbers(kind, parts) if kind in _NUMBER_FORMATS else None
    return Tensor(name, tuple(dims.first), numbers, kind)


def read_sparse_tensor(message: memoryview, reader: ModelReader) -> Tensor:
    """Return a sparse tensor, after checking the size of the dense tensor that onnxruntime makes of it.

    Args:
        message: Bytes of a SparseTensorProto.
        reader: Reader of the model.
    """
    dims, values = _Sizes(), Tensor("", (), None)
    for number, value in reader.fields(message):
        if number == 1:
            values = read_tensor(message_of(value), reader)
        elif number == 2:  # indices
            read_tensor(message_of(value), reader)
        elif number == 3:
            dims.add(value)
    shape = dims.first
    if any(dim < 0 for dim in shape) or not is_supported(shape):
        raise RejectedError(f"it has a sparse tensor of shape {shape}; {SUPPORTED}")
    reader.dense_bytes += bytes_of(shape, values.kind)
    return Tensor(values.name, tuple(shape), None, values.kind)


def width_of(kind: int) -> int:
    """Return the number of bytes that an element of a data type takes, at least 4.

    Smaller types are often converted to larger ones, so they are not counted as less.
    """
    return _WIDTHS.get(kind, 4)


def bytes_of(shape: Sequence[int], kind: int) -> int:
    """Return the number of bytes that a tensor takes, with at least 4 bytes for each element."""
    return math.prod(shape) * width_of(kind)


class _Sizes:
    """The sizes of a tensor's axes, of which there may be too many.

    Attributes:
        first: The first sizes, at most MOST_FIRST.
        count: Number of all sizes.
    """

    def __init__(self) -> None:
        self.first: list[int] = []
        self.count = 0

    def add(self, value: Value) -> None:
        """Add the sizes in a field, packed or not."""
        self.count += integer_count(value)
        self.first += integers_of(value, MOST_FIRST - len(self.first))


def is_supported(shape: Sequence[float]) -> bool:
    """Return whether a shape is within the limits of this module. Dimensions below 1 count as 1."""
    return len(shape) <= MOST_DIMS and math.prod(max(1, dim) for dim in shape) <= MOST_VALUES


def first_floats(content: memoryview, form: str) -> list[float]:
    """Return the numbers at the start of bytes, at most MOST_FIRST, by their `struct` format."""
    return unpacked(content, form, MOST_FIRST)


def _check_content(name: str, sizes: _Sizes, size: int) -> None:
    """Reject a tensor whose shape is not valid, or that has too few bytes for its shape."""
    dims = sizes.first
    if sizes.count > MOST_DIMS:
        raise RejectedError(f"its tensor {shortened(name)} has {sizes.count:,} dimensions")
    if any(dim < 0 for dim in dims):
        raise RejectedError(f"its tensor {shortened(name)} has a negative dimension, {dims}")
    # A byte holds at most two numbers, of 4 bits each. The factor of 8 leaves a margin.
    if math.prod(dims) > 8 * size:
        raise RejectedError(
            f"its tensor {shortened(name)} of shape {dims} has {size:,} bytes, which is too few"
        )


def _size_of(number: int, value: Value) -> int:
    """Return the number of bytes of content in one field of a tensor, as `_check_content` counts them."""
    if isinstance(value, int):
        # The list of numbers is not packed, so this field holds one number of the list. A number counts as 1
        # byte in the field `int64_data` (7), and as 8 bytes in other fields.
        return 1 if number == 7 else 8
    # In the field `string_data` (6), 1 is added so that an empty string counts as content, too.
    return len(value) + 1 if number == 6 else len(value)


def _first_numbers(kind: int, parts: Mapping[int, Sequence[Value]]) -> tuple[float, ...]:
    """Return the numbers at the start of a tensor, decoded from the part of its data that was read.

    Args:
        kind: Data type of the tensor, a key of _NUMBER_FORMATS.
        parts: Dict from field number to the data that was read from the field. The fields are those that can
            hold the tensor's numbers, such as `raw_data`.
    """
    form, own_field = _NUMBER_FORMATS[kind]
    if _RAW_DATA in parts:
        numbers = first_floats(message_of(parts[_RAW_DATA][0]), form)
    elif own_field in (_FLOAT_DATA, _DOUBLE_DATA):
        numbers = [each for value in parts.get(own_field, ()) for each in _floats(value, form)]
    else:
        numbers = [_truncated(each, form) for value in parts.get(own_field, ()) for each in _integers(value)]
    if kind == _BFLOAT16:
        numbers = [_bfloat16(int(each)) for each in numbers]
    return tuple(numbers[:MOST_FIRST])


def _floats(value: Value, form: str) -> list[float]:
    return first_floats(message_of(value), form)


def _integers(value: Value) -> list[int]:
    return integers_of(value, MOST_FIRST)


def _truncated(number: int, form: str) -> float:
    """Return the number whose type is narrower than the integer that holds it.

    The lowest bits of the integer are the number. onnxruntime drops the other bits, too.
    """
    size = struct.calcsize(f"<{form}")
    lowest: float = struct.unpack(f"<{form}", (number % 2**64).to_bytes(8, "little")[:size])[0]
    return lowest


def _bfloat16(bits: int) -> float:
    """Return the float32 number whose upper half a bfloat16 number is."""
    value: float = struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    return value
