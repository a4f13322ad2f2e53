"""Mutations: damaged and hostile inputs that are made from real ones.

Each function takes a generator of random numbers, an input, and another input of the same target, and returns
a changed input. A change of single bytes seldom gets past a checksum or a length. So there is a function for
each kind of container that takes it apart, changes what is in it, and puts it together again.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

Mutate = Callable[[Random, bytes, bytes], bytes]

LARGEST_INPUT = 300_000  # bytes; longer inputs are cut
_LONGEST_SPAN = 64
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_LARGE_NUMBERS = (2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_DIGITS = (b"0", b"-1", b"1e999", b"NaN", b"0.5", b"1e-320", b"9" * 25, b"9" * 5_000, b"65537", b"4294967296")
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, float("inf"), float("nan")),
    *("", "a", "0", "\ud800", "\x1b[31m", "\n", "x" * 5_000, "../../x", "\N{COLLISION SYMBOL}", "\0"),
    *([], {}, [[]], [None] * 3, {"": {}}, [0] * 1_000),
)


def mutate_bytes(rng: Random, content: bytes, other: bytes) -> bytes:
    """Change, remove, double, move or insert a few bytes."""
    changed = bytearray(content)
    for _ in range(1 + int(rng.expovariate(0.7))):
        start, length = rng.randrange(len(changed) + 1), rng.randint(1, _LONGEST_SPAN)
        rng.choice(_CHANGES)(rng, changed, start, length, other)
    return bytes(changed[:LARGEST_INPUT])


def _flip(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    if start < len(changed):
        changed[start] ^= 1 << rng.randrange(8)


def _set(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    changed[start : start + 1] = bytes([rng.randrange(256)])


def _remove(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    del changed[start : start + length]


def _cut(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    if rng.random() < 0.3:
        del changed[start:]


def _move(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    source = rng.randrange(len(changed) + 1)
    changed[start:start] = changed[source : source + length]


def _splice(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    source = rng.randrange(len(other) + 1)
    changed[start : start + length] = other[source : source + length]


def _write_number(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    number = rng.choice(_NUMBERS + _LARGE_NUMBERS) & (2 ** (8 * size) - 1)
    changed[start : start + size] = number.to_bytes(size, order)


def _write_digits(rng: Random, changed: bytearray, start: int, length: int, other: bytes) -> None:
    found = list(re.finditer(rb"-?\d+(\.\d+)?", bytes(changed[:LARGEST_INPUT])))
    if found:
        match = rng.choice(found)
        changed[match.start() : match.end()] = rng.choice(_DIGITS)


_CHANGES = (_flip, _set, _remove, _cut, _move, _splice, _write_number, _write_digits)


def mutate_json(rng: Random, content: bytes, other: bytes) -> bytes:
    """Change values of a JSON document: by others in it, by unexpected ones, or by nothing."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, content, other)
    try:
        root = [json.loads(content)]
        for _ in range(1 + int(rng.expovariate(1.0))):
            _change_value(rng, root)
        changed = json.dumps(root[0]).encode()
    except (ValueError, RecursionError):  # it is no JSON document, or a deep one
        return mutate_bytes(rng, content, other)
    depth = rng.choice((20, 900, 100_000)) if rng.random() < 0.02 else 0
    return (b"[" * depth + changed + b"]" * depth)[:LARGEST_INPUT]


def _change_value(rng: Random, root: list[Any]) -> None:
    places = list(_places(root))
    container, key = rng.choice(places)
    kind, value = rng.randrange(5), container[key]
    if kind == 0 and container is not root:
        del container[key]
    elif kind == 1:
        source, name = rng.choice(places)
        container[key] = copy.deepcopy(source[name])
    elif kind == 2:
        container[key] = rng.choice(([value], {"a": value}, str(value), [value, value]))
    elif kind == 3 and type(value) in (int, float):
        container[key] = rng.choice((-value, value * 1_000_000, value + 1, value // 2))
    else:
        container[key] = copy.deepcopy(rng.choice(_VALUES))


def _places(container: Any) -> Any:
    """Yield each container in a JSON document with each of its keys or indices."""
    keys = list(container) if isinstance(container, dict) else range(len(container))
    for key in keys:
        yield container, key
        if isinstance(container[key], dict | list):
            yield from _places(container[key])


def mutate_json_lines(rng: Random, content: bytes, other: bytes) -> bytes:
    """Change one of the JSON documents that a text has in its lines."""
    lines = content.split(b"\n")
    index = rng.randrange(len(lines))
    lines[index] = mutate_json(rng, lines[index], other)
    return b"\n".join(lines)[:LARGEST_INPUT]


def mutate_protobuf(rng: Random, content: bytes, other: bytes, depth: int = 0) -> bytes:
    """Change a field of a message of Protocol Buffers, or of a message within it."""
    found = _read_fields(content) if depth < 10 and rng.random() < 0.9 else None
    if not found:
        return mutate_bytes(rng, content, other)
    index = rng.randrange(len(found))
    number, kind, value = found[index]
    if rng.random() < 0.7 and kind == 2:
        found[index] = number, kind, mutate_protobuf(rng, value, other, depth + 1)
    elif rng.random() < 0.3:
        found.pop(index)
    elif rng.random() < 0.3:
        found.insert(rng.randrange(len(found)), found[index])
    elif kind == 0:
        found[index] = number, kind, rng.choice(_NUMBERS + _LARGE_NUMBERS)
    elif rng.random() < 0.5:
        found[index] = rng.randint(1, 30), kind, value
    else:
        found[index] = number, kind, mutate_bytes(rng, value, other)
    return b"".join(_write_field(*field) for field in found)[:LARGEST_INPUT]


def _read_fields(content: bytes) -> list[tuple[int, int, Any]] | None:
    """Return the number, the wire type and the value of each field; None if this is not a message."""
    found: list[tuple[int, int, Any]] = []
    offset, sizes = 0, {1: 8, 5: 4}
    try:
        while offset < len(content):
            tag, offset = _read_varint(content, offset)
            number, kind = tag >> 3, tag & 7
            value: Any
            if kind == 0:
                value, offset = _read_varint(content, offset)
            else:
                size, offset = (sizes[kind], offset) if kind in sizes else _read_varint(content, offset)
                value, offset = content[offset : offset + size], offset + size
            if kind not in (0, 1, 2, 5) or not number or offset > len(content):
                return None
            found.append((number, kind, value))
    except IndexError:
        return None
    return found


def _read_varint(content: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[offset]
        value, shift, offset = value | (byte & 127) << shift, shift + 7, offset + 1
        if byte < 128:
            return value, offset


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _write_field(number: int, kind: int, value: Any) -> bytes:
    tag = _write_varint(number << 3 | kind)
    if kind == 0:
        return tag + _write_varint(value)
    if kind == 2:
        return tag + _write_varint(len(value)) + value
    return tag + bytes(value).ljust({1: 8, 5: 4}[kind], b"\0")[: {1: 8, 5: 4}[kind]]


def mutate_zip(rng: Random, content: bytes, other: bytes) -> bytes:
    """Change the members of a zip archive, such as an .npz file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # whatever a damaged archive makes `zipfile` raise
        return mutate_bytes(rng, content, other)
    if not members or rng.random() < 0.3:
        return mutate_bytes(rng, content, other)
    index, kind = rng.randrange(len(members)), rng.randrange(6)
    name, member = members[index]
    if kind == 0:
        members.pop(index)
    elif kind == 1:
        members.append((name + rng.choice(("x", "", ".npy")), member))
    else:
        head, tail = member[:128], member[128:]  # the header of an array is longer than most arrays' values
        part = mutate_bytes(rng, head, other) + tail if kind < 5 else mutate_bytes(rng, member, other)
        members[index] = name, part
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, member in members:
            # Python warns of two members with one name, which the test is about.
            archive.writestr(
                zipfile.ZipInfo(name.replace("\0", "")), member, compress_type=archive.compression
            )
    return packed.getvalue()[:LARGEST_INPUT]


def mutate_gzip(rng: Random, content: bytes, other: bytes) -> bytes:
    """Change what a gzip file holds, or the file itself."""
    if content[:2] != b"\x1f\x8b" or rng.random() < 0.3:
        return mutate_bytes(rng, content, other)
    try:
        unpacked = zlib.decompressobj(31).decompress(content, 10 * LARGEST_INPUT)
    except zlib.error:
        return mutate_bytes(rng, content, other)
    return gzip.compress(mutate_bytes(rng, unpacked, other), 1, mtime=0)


_PNG = b"\x89PNG\r\n\x1a\n"


def mutate_image(rng: Random, content: bytes, other: bytes) -> bytes:
    """Change bytes of an image, and give the chunks of a PNG valid checksums."""
    changed = mutate_bytes(rng, content, other)
    return _with_checksums(changed) if changed.startswith(_PNG) and rng.random() < 0.8 else changed


def _with_checksums(png: bytes) -> bytes:
    fixed, offset = bytearray(png), len(_PNG)
    while offset + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, offset)
        end = offset + 8 + length
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[offset + 4 : end]))
        offset = end + 4
    return bytes(fixed)


def mutate_words(words: tuple[str, ...]) -> Mutate:
    """Return a function that changes lines of a text by some words, or by a few bytes."""

    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        lines = content.split(b"\n")
        for _ in range(rng.randint(1, 3)):
            index, kind = rng.randrange(len(lines) + 1), rng.randrange(4)
            word = rng.choice(words).encode("utf-8", "surrogateescape")
            if kind == 0:
                lines.insert(index, word)
            elif kind == 1 and len(lines) > 1:
                lines.pop(min(index, len(lines) - 1))
            elif kind == 2:
                lines[index : index + 1] = [word]
            else:
                lines[index : index + 1] = [mutate_bytes(rng, b"".join(lines[index : index + 1]), other)]
        return b"\n".join(lines)

    return mutate
