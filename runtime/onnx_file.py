"""An ONNX file before onnxruntime sees it: what it is made of, and whether loading it would do harm.

onnxruntime takes a file at its word: one line in it can ask for a terabyte, for a file elsewhere on the disk, or for a loop
without end. Here the wire format is walked once, without the `onnx` package and without a copy of the weights.

What can't be seen here: shapes that the graph works out as it runs. They are bounded by the machine's memory only.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import struct
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import ModelFormatError

# Numbers that a tensor whose shape stands in the file may have: 1 GB of float32.
MOST_NUMBERS = 2**28
_MOST_DIMS = 16  # of a tensor
_DEEPEST = 16  # graphs within graphs, as in the branches of an If

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WORD = 0xFFFFFFFF
_EXTERNAL = 1  # TensorProto.DataLocation
_INT32 = 6  # TensorProto.DataType
# By type, how numbers lie in a file's bytes, and the field that they have where they do not lie there.
_NUMBERS = {1: ("f", 4), _INT32: ("i", 5), 7: ("q", 7), 11: ("d", 10)}
_RAW = 9
_UNBOUNDED = ("Loop", "Scan")
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
# Operations that make a tensor of the shape, or of so many times the size, that one of their inputs holds.
_SHAPED_BY = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3, "OneHot": 1}

_Value = int | memoryview
_Known = ChainMap[str, list[float]]  # small tensors, which may be shapes, by name


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation: its kind, the names of what goes in and what comes out, and the domain of the kind."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""


def read_nodes(model: Path | bytes) -> tuple[Node, ...]:
    """Return the operations of a model's graph, after the checks that this module is for.

    Args:
        model: an ONNX file that exists, or its bytes. One in onnxruntime's own format (.ort) has no operations to tell of.

    Raises:
        ModelFormatError: no ONNX file, or one that would do harm.
    """
    return _read(model)[0]


def weight_files(model: Path | bytes) -> tuple[Path, ...]:
    """Return the files beside a model that its weights lie in, in the order of their names; as `read_nodes`."""
    return _read(model)[1]


def _read(model: Path | bytes) -> tuple[tuple[Node, ...], tuple[Path, ...]]:
    if is_ort_format(model):
        return (), ()
    try:
        if isinstance(model, bytes):
            return _read_model(memoryview(model), None)
        with model.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # it goes with the last view of it
        return _read_model(memoryview(content), model.parent)
    except _HarmError as error:
        raise ModelFormatError(model, str(error)) from None
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ModelFormatError(model, "it is damaged, or no ONNX") from None


class _HarmError(Exception):
    """What is wrong with a file."""


def is_ort_format(model: Path | bytes) -> bool:
    """Return whether a model is in onnxruntime's own format: a file by its ending, bytes by their mark."""
    return model[4:8] == b"ORTM" if isinstance(model, bytes) else model.suffix.lower() == ".ort"


def _read_model(content: memoryview, folder: Path | None) -> tuple[tuple[Node, ...], tuple[Path, ...]]:
    reader = _Reader(folder)
    graph = None
    for number, value in _fields(content):
        if number == 7:
            graph = _only(graph, value)
        elif number == 25:
            reader.read_function(_message(value))
    if graph is None:
        raise _HarmError("it has no graph")
    nodes = reader.read_graph(graph, 0)
    reader.check_functions()
    return nodes, tuple(sorted(reader.beside))


class _Reader:
    """Walks a model's graph and those within it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.beside: set[Path] = set()  # files that weights lie in
        self.functions: dict[tuple[str, str], list[Node]] = {}

    def read_function(self, message: memoryview) -> None:
        name, domain, nodes = "", "", []
        for number, value in _fields(message):
            if number == 1:
                name = _text(value)
            elif number == 10:
                domain = _text(value)
            elif number == 7:
                nodes.append(_message(value))
        # Overloads are taken together.
        self.functions.setdefault((domain, name), []).extend(self._read_nodes(nodes, _Known(), 0))

    def check_functions(self) -> None:
        """Refuse a function that calls itself: it would be written out without end."""
        done: set[tuple[str, str]] = set()

        def visit(place: tuple[str, str], path: tuple[tuple[str, str], ...]) -> None:
            if place in path:
                raise _HarmError(f"its function {place[1]!r} calls itself")
            if len(path) > _DEEPEST:
                raise _HarmError(f"its functions call each other more than {_DEEPEST} deep")
            if place not in done:
                for node in self.functions[place]:
                    if (node.domain, node.kind) in self.functions:
                        visit((node.domain, node.kind), (*path, place))
                done.add(place)

        for place in self.functions:
            visit(place, ())

    def read_graph(self, message: memoryview, depth: int, outer: _Known | None = None) -> tuple[Node, ...]:
        if depth > _DEEPEST:
            raise _HarmError(f"it has graphs within graphs, more than {_DEEPEST} deep")
        known = _Known() if outer is None else outer.new_child()
        later = []
        for number, value in _fields(message):
            if number == 5:
                name, numbers = self._read_tensor(_message(value))
                if numbers is not None:
                    known[name] = numbers
            elif number == 15:
                self._read_sparse(_message(value))
            elif number == 1:
                later.append(_message(value))
        return self._read_nodes(later, known, depth)

    def _read_nodes(self, messages: list[memoryview], known: _Known, depth: int) -> tuple[Node, ...]:
        """Return the operations, after the constants were read: in a file they may stand behind what takes them."""
        constants = {place for place, message in enumerate(messages) if _kind_of(message) == "Constant"}
        order = sorted(range(len(messages)), key=lambda place: place not in constants)
        read = {place: self._read_node(messages[place], known, depth) for place in order}
        return tuple(read[place] for place in range(len(messages)))

    def _read_node(self, message: memoryview, known: _Known, depth: int) -> Node:
        kind, domain, inputs, outputs, constant, trains, attributes = "", "", [], [], None, False, 0
        for number, value in _fields(message):
            if number == 1:
                inputs.append(_text(value))
            elif number == 2:
                outputs.append(_text(value))
            elif number == 4:
                kind = _text(value)
            elif number == 5:
                found = self._read_attribute(_message(value), depth, known)
                constant = found or constant
                attributes += 1
                trains = trains or _is_set(_message(value), "training_mode")
            elif number == 7:
                domain = _text(value)
        if kind == "Constant" and attributes > 1:
            raise _HarmError("it has a Constant of more than one value")
        if kind == "Constant" and constant is not None and outputs:
            known[outputs[0]] = constant
        _check_node(kind, inputs, known, constant)
        if trains:
            raise _HarmError(f"it has a {kind} in training mode: an image would depend on the others in its batch")
        if kind == "Range":
            self._check_range(inputs, known)
        return Node(kind, tuple(inputs), tuple(outputs), domain)

    @staticmethod
    def _check_range(inputs: list[str], known: _Known) -> None:
        found = [known[name][0] for name in inputs if known.get(name)]
        if len(found) != 3:
            return
        start, limit, step = found
        # Written so that NaN is refused.
        if not (step and (limit - start) / step <= MOST_NUMBERS):
            raise _HarmError(f"it has a Range from {start:g} to {limit:g} by {step:g}")

    def _read_attribute(self, message: memoryview, depth: int, known: _Known) -> list[float] | None:
        """Return the numbers of a Constant, where they may be a shape."""
        numbers: list[float] | None = None
        tensor = graph = None
        for number, value in _fields(message):
            if number == 5:
                tensor = _only(tensor, value)
            elif number == 6:
                graph = _only(graph, value)
            elif number in (7, 8):
                found = _integers(value) if number == 8 else _unpacked(_message(value), "f")
                numbers = [*(numbers or []), *found][: _MOST_DIMS + 1]
            elif number == 10:
                self._read_tensor(_message(value))
            elif number == 11:
                self.read_graph(_message(value), depth + 1, known)
            elif number in (22, 23):
                self._read_sparse(_message(value))
        if tensor is not None and numbers is not None:
            raise IndexError
        if graph is not None:
            self.read_graph(graph, depth + 1, known)
        return self._read_tensor(tensor)[1] if tensor is not None else numbers

    def _read_sparse(self, message: memoryview) -> None:
        """Check a sparse tensor, which onnxruntime makes a dense one of."""
        dims: list[int] = []
        for number, value in _fields(message):
            if number in (1, 2):
                self._read_tensor(_message(value))
            elif number == 3:
                dims += _integers(value)
        if len(dims) > _MOST_DIMS or any(dim < 0 for dim in dims) or math.prod(dims) > MOST_NUMBERS:
            raise _HarmError(f"it has a sparse tensor of shape {dims[: _MOST_DIMS + 1]}")

    def _read_tensor(self, message: memoryview) -> tuple[str, list[float] | None]:
        """Return a tensor's name, and its numbers where they may be a shape."""
        dims: list[int] = []
        found: dict[int, list[memoryview | int]] = {}  # what may be few numbers, by field
        elsewhere: dict[str, str] = {}
        name, kind, held, external = "", 0, 0, False
        for number, value in _fields(message):
            if number == 1:
                dims += _integers(value)
            elif number == 2:
                kind = _number(value) & _WORD  # as onnxruntime's reader cuts it
            elif number in (4, 5, 6, 7, _RAW, 10, 11):
                held += (1 if number == 7 else 8) if isinstance(value, int) else len(value) + (number == 6)
                parts = found.setdefault(number, [])
                if len(parts) <= _MOST_DIMS:
                    parts.append(value)
            elif number == 8:
                name = _text(value)
            elif number == 13:
                entry = dict(_fields(_message(value)))
                elsewhere[_text(entry.get(1, memoryview(b"")))] = _text(entry.get(2, memoryview(b"")))
            elif number == 14:
                external = _number(value) & _WORD == _EXTERNAL
        if external:
            held = self._measure_external(elsewhere)
        self._check_size(name, dims, held)
        if len(found) > 1 or len(found.get(_RAW, ())) > 1:
            raise IndexError  # onnxruntime would take one of them
        if kind not in _NUMBERS or len(dims) > 1 or external:
            return name, None
        return name, _few_numbers(kind, found)

    def _check_size(self, name: str, dims: list[int], held: int) -> None:
        if len(dims) > _MOST_DIMS:
            raise _HarmError(f"its tensor {name!r} has {len(dims):,} dimensions")
        if any(dim < 0 for dim in dims):
            raise _HarmError(f"its tensor {name!r} has a negative dimension, {dims}")
        # A byte holds two numbers of the smallest kind that there is, of 4 bits; in a field of their own they may be packed.
        if math.prod(dims) > 8 * held:
            raise _HarmError(f"its tensor {name!r} of shape {dims} has {held:,} bytes, which is too few")

    def _measure_external(self, entries: Mapping[str, str]) -> int:
        """Return how many bytes lie in another file for a tensor."""
        location = entries.get("location", "")
        if self.folder is None:
            raise _HarmError(f"its weights lie in another file, {location!r}, which bytes do not bring along")
        if PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive or ".." in Path(location).parts:
            raise _HarmError(f"its weights lie in {location!r}, outside of its folder")
        path = self.folder / location
        if not location or not path.is_file() or not path.resolve().is_relative_to(self.folder.resolve()):
            raise _HarmError(f"its weights lie in {location!r}, which is no file in its folder")
        self.beside.add(path)
        size = path.stat().st_size
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise _HarmError(f"its weights lie at places of {location!r} that are no numbers") from None
        if offset < 0 or length < 0 or offset + length > size:
            raise _HarmError(f"its weights lie at {offset:,} to {offset + length:,} of {location!r}, which has {size:,} bytes")
        return length


def _is_set(attribute: memoryview, name: str) -> bool:
    """Return whether an attribute has this name, and another number than 0."""
    fields = dict(_fields(attribute))
    return bool(_text(fields.get(1, memoryview(b""))) == name and fields.get(3))


def _check_node(kind: str, inputs: list[str], known: _Known, attribute: list[float] | None) -> None:
    if kind in _UNBOUNDED:
        raise _HarmError(f"it has a {kind}, which may have no end")
    if kind in _RANDOM:
        raise _HarmError(f"it has a {kind}: it draws numbers of its own, so that no image belongs to its seed")
    if kind == "Pad":
        pads = known.get(inputs[1], []) if len(inputs) > 1 else attribute or []
        axes = len(pads) // 2
        sides = [1 + max(0, before) + max(0, behind) for before, behind in zip(pads[:axes], pads[axes:], strict=False)]
        if len(pads) > _MOST_DIMS or math.prod(sides) > MOST_NUMBERS:
            raise _HarmError(f"it has a Pad by {pads}")
    if kind in ("Resize", "Upsample"):
        factors = _factors(kind, inputs, known, attribute)
        if len(factors) > _MOST_DIMS or math.prod(max(1, factor) for factor in factors) > MOST_NUMBERS:
            raise _HarmError(f"it has the operation {kind} by {factors}")
    shaped_by = _SHAPED_BY.get(kind)
    if shaped_by is None or shaped_by >= len(inputs) or inputs[shaped_by] not in known:
        return
    shape = known[inputs[shaped_by]]
    if len(shape) > _MOST_DIMS or any(dim < -1 for dim in shape) or math.prod(max(1, dim) for dim in shape) > MOST_NUMBERS:
        raise _HarmError(f"it has a {kind} to the shape {shape}")


def _factors(kind: str, inputs: list[str], known: _Known, attribute: list[float] | None) -> list[float]:
    """Return what the sides of an image are multiplied with, where a file says it: that has moved from version to version."""
    if kind == "Upsample" and len(inputs) == 1:
        return attribute or []
    place = 1 if len(inputs) == 2 else 2  # before version 11 there was no region of interest
    return known.get(inputs[place], []) if place < len(inputs) else []


def _kind_of(node: memoryview) -> str:
    """Return the kind of an operation; the last that is named, as `_read_node`."""
    kinds = [_text(value) for number, value in _fields(node) if number == 4]
    return kinds[-1] if kinds else ""


def _few_numbers(kind: int, found: Mapping[int, Sequence[memoryview | int]]) -> list[float]:
    """Return a tensor's numbers, or the first of them, from the field that they lie in."""
    form, own = _NUMBERS[kind]
    if _RAW in found:
        return _unpacked(_message(found[_RAW][0]), form)
    numbers: list[float] = []
    for value in found.get(own, ()):
        if len(numbers) > _MOST_DIMS:
            break
        numbers += _integers(value, _MOST_DIMS + 1) if form in "iq" else _unpacked(_message(value), form)
    if kind == _INT32:  # as onnxruntime's reader cuts it
        numbers = [_signed((int(number) & _WORD) << 32) >> 32 for number in numbers]
    return numbers


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """Yield (field number, value) of a protobuf message: a number, or the bytes of what has a length."""
    place, end = 0, len(message)
    while place < end:
        tag, place = _read_varint(message, place)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag > _WORD:
            raise IndexError
        if wire == _VARINT:
            value, place = _read_varint(message, place)
            yield number, value
            continue
        if wire == _BYTES:
            length, place = _read_varint(message, place)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise IndexError
        if length > end - place:
            raise IndexError
        yield number, message[place : place + length]
        place += length


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise IndexError


def _only(found: memoryview | None, value: _Value) -> memoryview:
    """Return the message of a field that may be there once: onnxruntime's reader would make one of several."""
    if found is not None:
        raise IndexError
    return _message(value)


def _message(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise IndexError
    return value


def _number(value: _Value) -> int:
    if not isinstance(value, int):
        raise IndexError
    return value


def _text(value: _Value) -> str:
    return bytes(_message(value)).decode()


def _integers(value: _Value, at_most: int = 2**20) -> list[int]:
    """Return the int64 numbers of a field that may be packed, or the first so many."""
    if isinstance(value, int):
        return [_signed(value)]
    found: list[int] = []
    place = 0
    while place < len(value) and len(found) < at_most:
        number, place = _read_varint(value, place)
        found.append(_signed(number))
    return found


def _unpacked(raw: bytes | memoryview, form: str) -> list[float]:
    """Return numbers that lie one behind the other, or the first of them."""
    count = min(len(raw) // struct.calcsize(form), _MOST_DIMS + 1)
    return list(struct.unpack_from(f"<{count}{form}", raw))


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
