"""Protocol Buffers' wire format: the fields of a message, without the `protobuf` package and without copies.

A message is a sequence of fields. A field is a number and a value: an integer, or bytes, which may be a text,
a packed list of numbers, or another message (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .rejection import OverBudgetError

Value = int | memoryview

WORD = 0xFFFFFFFF  # the lowest 32 bits

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


class WireError(Exception):
    """The bytes are not a message, or they can be read in two ways."""


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a message.

    Raises WireError or IndexError if the message is damaged.
    """
    offset, end = 0, len(message)
    while offset < end:
        tag, offset = _read_varint(message, offset)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or tag > WORD:
            raise WireError
        if wire_type == _VARINT:
            value, offset = _read_varint(message, offset)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, offset = _read_varint(message, offset)
        elif wire_type in (_FIXED32, _FIXED64):
            length = 4 if wire_type == _FIXED32 else 8
        else:
            raise WireError
        if length > end - offset:
            raise WireError
        yield number, message[offset : offset + length]
        offset += length


class FieldReader:
    """Reads the fields of many messages, up to a total number of fields.

    Attributes:
        count: Number of fields that were read.
    """

    def __init__(self, most: int) -> None:
        self.count, self._most = 0, most

    def fields(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        """Yield the number and the value of each field of a message, as `fields` does.

        Raises OverBudgetError if the total number of fields is too large.
        """
        for field in fields(message):
            self.count += 1
            if self.count > self._most:
                raise OverBudgetError("fields in the file", self.count, self._most)
            yield field


def _read_varint(message: memoryview, offset: int) -> tuple[int, int]:
    """Return an integer of variable length, and the offset of the byte after it."""
    value = shift = 0
    while True:
        byte = message[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
        if shift > 63:
            raise WireError


def single_message(earlier: memoryview | None, value: Value) -> memoryview:
    """Return the message of a field, and raise WireError if the field occurred earlier.

    If a field occurs twice, readers of Protocol Buffers merge the two messages. So neither message alone is
    the value of the field.
    """
    if earlier is not None:
        raise WireError
    return message_of(value)


def message_of(value: Value) -> memoryview:
    """Return the value of a field that holds bytes."""
    if isinstance(value, int):
        raise WireError
    return value


def number_of(value: Value) -> int:
    """Return the value of a field that holds one integer."""
    if not isinstance(value, int):
        raise WireError
    return value


def text_of(value: Value) -> str:
    """Return the value of a field that holds a text. Raises UnicodeDecodeError if it is not UTF-8."""
    return bytes(message_of(value)).decode()


def integers_of(value: Value, at_most: int = 2**20) -> list[int]:
    """Return the int64 numbers of a field, packed or not. At most `at_most` numbers are returned."""
    if isinstance(value, int):
        return [signed(value)]
    numbers: list[int] = []
    offset = 0
    while offset < len(value) and len(numbers) < at_most:
        number, offset = _read_varint(value, offset)
        numbers.append(signed(number))
    return numbers


def integer_count(value: Value) -> int:
    """Return how many numbers `integers_of` would return without a limit."""
    if isinstance(value, int):
        return 1
    # The last byte of a number is less than 128, and the other bytes are not.
    return len(bytes(value).translate(None, delete=bytes(range(128, 256))))


def unpacked(content: bytes | memoryview, form: str, at_most: int) -> list[float]:
    """Return the numbers that bytes hold, at most the first `at_most`.

    Args:
        content: Numbers one after the other, little-endian.
        form: Format of one number, as in `struct`.
        at_most: Largest number of numbers to return.
    """
    count = min(len(content) // struct.calcsize(form), at_most)
    return list(struct.unpack_from(f"<{count}{form}", content))


def signed(value: int) -> int:
    """Return the signed integer that 64 bits represent in two's complement."""
    return value - 2**64 if value >= 2**63 else value
