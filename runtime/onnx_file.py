"""Reading the operations of an ONNX file, and rejecting a harmful file before onnxruntime opens it.

onnxruntime trusts the content of a file. A few bytes in the file can make onnxruntime allocate a terabyte of
memory, read a file elsewhere on the disk, or run an endless loop. This module reads the file once, without
the `onnx` package and without a copy of the weights, and rejects files that do this.

Shapes that the graph computes while it runs are not checked. Only the memory of the machine limits them. The
field numbers in this module are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import struct
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import ModelFormatError
from .protobuf import (
    WORD,
    Value,
    WireError,
    fields,
    integers_of,
    message_of,
    number_of,
    signed,
    single_message,
    text_of,
    unpacked,
)

# Limit for the number of values of a tensor whose shape is stated in the file. As float32 they take 1 GiB.
_MOST_VALUES = 2**28
_MOST_DIMS = 16  # limit for the number of dimensions of a tensor
_DEEPEST = 16  # limit for the depth of nested graphs, such as the branches of an If, and of function calls
_SUPPORTED = f"supported are at most {_MOST_DIMS} dimensions and {_MOST_VALUES:,} values"

_EXTERNAL = 1  # value of TensorProto.DataLocation
_INT32 = 6  # value of TensorProto.DataType
# Dict from a data type to the `struct` format of a number in raw bytes, and to the field of TensorProto that
# holds numbers of this type if they are not raw.
_NUMBER_FORMATS = {1: ("f", 4), _INT32: ("i", 5), 7: ("q", 7), 11: ("d", 10)}
_RAW_DATA = 9  # field of TensorProto that holds numbers as raw bytes

_UNBOUNDED = ("Loop", "Scan")  # operations that may never end
# Operations whose output is random.
_RANDOM = (
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
)
# Dict from an operation to the index of the input that decides the size of the output. This input holds a
# shape, factors or a length.
_SHAPE_INPUT = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3, "OneHot": 1}

# Dict from the name of a constant tensor to its first numbers, which an operation may use as a shape.
_Constants = ChainMap[str, list[float]]
_FunctionId = tuple[str, str]  # domain and name of a function


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes:
        kind: Kind of the operation, such as "Conv".
        inputs: Names of the operation's inputs.
        outputs: Names of the operation's outputs.
        domain: Domain of the kind; empty for ONNX's own operations.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""


@dataclasses.dataclass(frozen=True)
class Outline:
    """What is read of a model before it is opened.

    Attributes:
        nodes: Operations of the model's graph.
        weight_files: Files beside the model that hold its weights, sorted by name.
    """

    nodes: tuple[Node, ...]
    weight_files: tuple[Path, ...]


def read_outline(model: Path | bytes) -> Outline:
    """Return the operations of a model and the files of its weights, after this module's checks.

    Args:
        model: An existing ONNX file, or its bytes. A model in onnxruntime's own format (.ort) is not read, so
            its outline is empty.

    Raises:
        ModelFormatError: The model is not ONNX, or it is harmful.
    """
    if is_ort_format(model):
        return Outline((), ())
    try:
        if isinstance(model, bytes):
            return _read_model(memoryview(model), None)
        with model.open("rb") as file:
            # The memory map is released when the last view of it is released.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _read_model(memoryview(content), model.parent)
    except _RejectedError as error:
        raise ModelFormatError(model, str(error)) from None
    except (WireError, IndexError, struct.error, UnicodeDecodeError):
        raise ModelFormatError(model, "it is damaged, or it is not ONNX") from None


def is_ort_format(model: Path | bytes) -> bool:
    """Return whether a model is in onnxruntime's own format.

    A file is recognised by its ending, and bytes are recognised by the mark "ORTM" in them.
    """
    return model[4:8] == b"ORTM" if isinstance(model, bytes) else model.suffix.lower() == ".ort"


class _RejectedError(Exception):
    """The file is harmful; the text of the error is the reason."""


def _read_model(content: memoryview, folder: Path | None) -> Outline:
    reader = _GraphReader(folder)
    graph = None
    for number, value in fields(content):
        if number == 7:  # graph
            graph = single_message(graph, value)
        elif number == 25:  # functions
            reader.read_function(message_of(value))
    if graph is None:
        raise _RejectedError("it has no graph")
    nodes = reader.read_graph(graph, 0)
    reader.check_functions()
    return Outline(nodes, tuple(sorted(reader.weight_files)))


class _GraphReader:
    """Reads and checks a model's graph, the graphs within it, and its functions.

    Attributes:
        folder: Folder of the model's file; None if the model was given as bytes.
        weight_files: Files beside the model that hold weights.
        functions: Dict from the domain and name of a function to the function's operations.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.weight_files: set[Path] = set()
        self.functions: dict[_FunctionId, list[Node]] = {}

    def read_function(self, message: memoryview) -> None:
        name, domain, nodes = "", "", []
        for number, value in fields(message):
            if number == 1:
                name = text_of(value)
            elif number == 10:
                domain = text_of(value)
            elif number == 7:  # nodes
                nodes.append(message_of(value))
        # Functions of the same name, which ONNX calls overloads, are treated as one.
        self.functions.setdefault((domain, name), []).extend(self._read_nodes(nodes, _Constants(), 0))

    def check_functions(self) -> None:
        """Reject a function that calls itself, because onnxruntime would inline it endlessly."""
        checked: set[_FunctionId] = set()

        def visit(function: _FunctionId, callers: tuple[_FunctionId, ...]) -> None:
            if function in callers:
                raise _RejectedError(f"its function {function[1]!r} calls itself")
            if len(callers) > _DEEPEST:
                raise _RejectedError(f"its functions call each other more than {_DEEPEST} levels deep")
            if function in checked:
                return
            for node in self.functions[function]:
                if (node.domain, node.kind) in self.functions:
                    visit((node.domain, node.kind), (*callers, function))
            checked.add(function)

        for function in self.functions:
            visit(function, ())

    def read_graph(
        self, message: memoryview, depth: int, outer: _Constants | None = None
    ) -> tuple[Node, ...]:
        """Return the operations of a graph.

        Args:
            message: Bytes of the graph.
            depth: Number of graphs that this graph is nested in.
            outer: Constants of the graphs that this graph is nested in.
        """
        if depth > _DEEPEST:
            raise _RejectedError(f"it has graphs within graphs, more than {_DEEPEST} levels deep")
        constants = _Constants() if outer is None else outer.new_child()
        nodes = []
        for number, value in fields(message):
            if number == 5:  # initializers
                name, numbers = self._read_tensor(message_of(value))
                if numbers is not None:
                    constants[name] = numbers
            elif number == 15:  # sparse initializers
                self._read_sparse(message_of(value))
            elif number == 1:
                nodes.append(message_of(value))
        return self._read_nodes(nodes, constants, depth)

    def _read_nodes(self, messages: list[memoryview], constants: _Constants, depth: int) -> tuple[Node, ...]:
        """Return the operations in the order of the file.

        The Constant operations are read first. In a damaged or hostile file, a constant may come after the
        operation that uses it.
        """
        first = {index for index, message in enumerate(messages) if _kind_of(message) == "Constant"}
        order = sorted(range(len(messages)), key=lambda index: index not in first)
        nodes = {index: self._read_node(messages[index], constants, depth) for index in order}
        return tuple(nodes[index] for index in range(len(messages)))

    def _read_node(self, message: memoryview, constants: _Constants, depth: int) -> Node:
        kind, domain, inputs, outputs = "", "", [], []
        constant, is_training, attribute_count = None, False, 0
        for number, value in fields(message):
            if number == 1:
                inputs.append(text_of(value))
            elif number == 2:
                outputs.append(text_of(value))
            elif number == 4:
                kind = text_of(value)
            elif number == 5:  # attributes
                constant = self._read_attribute(message_of(value), depth, constants) or constant
                attribute_count += 1
                is_training = is_training or _is_set(message_of(value), "training_mode")
            elif number == 7:
                domain = text_of(value)
        if kind == "Constant" and attribute_count > 1:
            raise _RejectedError("it has a Constant of more than one value")
        if kind == "Constant" and constant is not None and outputs:
            constants[outputs[0]] = constant
        _check_kind(kind)
        if is_training:
            raise _RejectedError(
                f"it has a {kind} in training mode: an image would depend on the other images in its batch"
            )
        _check_output_size(kind, inputs, constants, constant)
        return Node(kind, tuple(inputs), tuple(outputs), domain)

    def _read_attribute(self, message: memoryview, depth: int, constants: _Constants) -> list[float] | None:
        """Return the numbers at the start of an attribute, as a possible shape; None without numbers."""
        numbers: list[float] | None = None
        tensor = graph = None
        for number, value in fields(message):
            if number == 5:
                tensor = single_message(tensor, value)
            elif number == 6:
                graph = single_message(graph, value)
            elif number in (7, 8):  # the fields `floats` and `ints` of an AttributeProto
                found = integers_of(value) if number == 8 else _first_floats(message_of(value), "f")
                numbers = [*(numbers or []), *found][: _MOST_DIMS + 1]
            elif number == 10:  # tensors
                self._read_tensor(message_of(value))
            elif number == 11:  # graphs
                self.read_graph(message_of(value), depth + 1, constants)
            elif number in (22, 23):  # sparse tensors
                self._read_sparse(message_of(value))
        # An attribute must hold one value. If it holds a tensor and a list of numbers, onnxruntime uses only
        # one of the two values, which may not be the value that is checked here.
        if tensor is not None and numbers is not None:
            raise WireError
        if graph is not None:
            self.read_graph(graph, depth + 1, constants)
        return self._read_tensor(tensor)[1] if tensor is not None else numbers

    def _read_sparse(self, message: memoryview) -> None:
        """Check a sparse tensor, which onnxruntime converts into a dense tensor."""
        dims: list[int] = []
        for number, value in fields(message):
            if number in (1, 2):  # values, indices
                self._read_tensor(message_of(value))
            elif number == 3:
                dims += integers_of(value)
        is_supported = len(dims) <= _MOST_DIMS and math.prod(dims) <= _MOST_VALUES
        if any(dim < 0 for dim in dims) or not is_supported:
            shown = dims[: _MOST_DIMS + 1]
            raise _RejectedError(f"it has a sparse tensor of shape {shown}; {_SUPPORTED}")

    def _read_tensor(self, message: memoryview) -> tuple[str, list[float] | None]:
        """Return a tensor's name and its first numbers. The numbers are None if they can't be a shape."""
        dims: list[int] = []
        parts: dict[int, list[Value]] = {}  # from the number of a content field to the field's first values
        external: dict[str, str] = {}
        name, kind, size, is_external = "", 0, 0, False
        for number, value in fields(message):
            if number == 1:
                dims += integers_of(value)
            elif number == 2:
                kind = number_of(value) & WORD  # onnxruntime also keeps only the lowest 32 bits
            elif number in (4, 5, 6, 7, _RAW_DATA, 10, 11):
                size += _size_of(number, value)
                first = parts.setdefault(number, [])
                if len(first) <= _MOST_DIMS:
                    first.append(value)
            elif number == 8:
                name = text_of(value)
            elif number == 13:  # one key and its value, such as the location of content in another file
                entry = dict(fields(message_of(value)))
                external[text_of(entry.get(1, memoryview(b"")))] = text_of(entry.get(2, memoryview(b"")))
            elif number == 14:  # data location
                is_external = number_of(value) & WORD == _EXTERNAL
        if is_external:
            size = self._measure_external(external)
        _check_content(name, dims, size)
        # A tensor must hold its content once. If two fields hold content, or if `raw_data` occurs twice,
        # onnxruntime uses only one of the two contents, which may not be the content that is checked here.
        if len(parts) > 1 or len(parts.get(_RAW_DATA, ())) > 1:
            raise WireError
        if kind not in _NUMBER_FORMATS or len(dims) > 1 or is_external:
            return name, None
        return name, _first_numbers(kind, parts)

    def _measure_external(self, entries: Mapping[str, str]) -> int:
        """Return the number of bytes of a tensor that lies in another file, after checking the path."""
        location = entries.get("location", "")
        if self.folder is None:
            raise _RejectedError(f"its weights are in another file, {location!r}; open the model by its path")
        is_absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
        if is_absolute or ".." in Path(location).parts:
            raise _RejectedError(f"its weights are in {location!r}, outside of the model's folder")
        path = self.folder / location
        if not location or not path.is_file() or not path.resolve().is_relative_to(self.folder.resolve()):
            raise _RejectedError(
                f"its weights are in {location!r}, which is not a file in the model's folder"
            )
        self.weight_files.add(path)
        size = path.stat().st_size
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise _RejectedError(f"offset or length of its weights in {location!r} is not a number") from None
        if offset < 0 or length < 0 or offset + length > size:
            span = f"{offset:,} to {offset + length:,}"
            raise _RejectedError(f"its weights are bytes {span} of {location!r}, which has {size:,} bytes")
        return length


def _is_set(attribute: memoryview, name: str) -> bool:
    """Return whether an attribute has the given name, and holds an integer other than 0."""
    entries = dict(fields(attribute))
    return bool(text_of(entries.get(1, memoryview(b""))) == name and entries.get(3))


def _kind_of(node: memoryview) -> str:
    """Return the kind of an operation.

    If the field `op_type` occurs several times, the last one counts, as in `_read_node`.
    """
    kinds = [text_of(value) for number, value in fields(node) if number == 4]
    return kinds[-1] if kinds else ""


def _check_kind(kind: str) -> None:
    if kind in _UNBOUNDED:
        raise _RejectedError(f"it has a {kind}, which may never end")
    if kind in _RANDOM:
        raise _RejectedError(f"it has a {kind}: an image would not depend on its seed alone")


def _check_output_size(
    kind: str, inputs: list[str], constants: _Constants, attribute: list[float] | None
) -> None:
    """Reject an operation whose output is too large, if constants in the file decide the output's size.

    Args:
        kind: Kind of the operation.
        inputs: Names of the operation's inputs.
        constants: Constants of the graph.
        attribute: Numbers in an attribute of the operation, such as `pads`; None if no attribute has numbers.
    """
    if kind == "Range":
        _check_range(inputs, constants)
    elif kind == "Pad":
        pads = constants.get(inputs[1], []) if len(inputs) > 1 else attribute or []
        axes = len(pads) // 2
        pairs = zip(pads[:axes], pads[axes:], strict=False)
        sides = [1 + max(0, before) + max(0, after) for before, after in pairs]
        if len(pads) > _MOST_DIMS or math.prod(sides) > _MOST_VALUES:
            raise _RejectedError(f"it has a Pad by {pads}; {_SUPPORTED}")
    elif kind in ("Resize", "Upsample"):
        factors = _resize_factors(kind, inputs, constants, attribute)
        if not _is_supported(factors):
            raise _RejectedError(f"it has the operation {kind} with the factors {factors}; {_SUPPORTED}")
    index = _SHAPE_INPUT.get(kind)
    if index is None or index >= len(inputs) or inputs[index] not in constants:
        return
    shape = constants[inputs[index]]
    if any(dim < -1 for dim in shape) or not _is_supported(shape):
        raise _RejectedError(f"it has a {kind} to the shape {shape}; {_SUPPORTED}")


def _check_range(inputs: list[str], constants: _Constants) -> None:
    """Reject a Range of too many values, if its three inputs are constants."""
    bounds = [constants[name][0] for name in inputs if constants.get(name)]
    if len(bounds) != 3:
        return
    start, limit, step = bounds
    is_supported = step and (limit - start) / step <= _MOST_VALUES  # False if a bound is NaN
    if not is_supported:
        raise _RejectedError(f"it has a Range from {start:g} to {limit:g} by {step:g}; {_SUPPORTED}")


def _resize_factors(
    kind: str, inputs: list[str], constants: _Constants, attribute: list[float] | None
) -> list[float]:
    """Return the factors by which a Resize or Upsample scales its axes; empty if no constant holds them.

    The first version of Upsample has the factors in an attribute. Later versions and Resize have them in the
    second or third input.
    """
    if kind == "Upsample" and len(inputs) == 1:
        return attribute or []
    # From opset 11 on, Resize has the factors in the third input, and a region of interest in the second.
    index = 1 if len(inputs) == 2 else 2
    return constants.get(inputs[index], []) if index < len(inputs) else []


def _is_supported(shape: Sequence[float]) -> bool:
    """Return whether this shape is within the limits of this module. Dimensions below 1 count as 1."""
    return len(shape) <= _MOST_DIMS and math.prod(max(1, dim) for dim in shape) <= _MOST_VALUES


def _check_content(name: str, dims: list[int], size: int) -> None:
    """Reject a tensor whose shape is not valid, or that has too few bytes for its shape."""
    if len(dims) > _MOST_DIMS:
        raise _RejectedError(f"its tensor {name!r} has {len(dims):,} dimensions")
    if any(dim < 0 for dim in dims):
        raise _RejectedError(f"its tensor {name!r} has a negative dimension, {dims}")
    # A byte holds at most two numbers, of 4 bits each. The factor of 8 leaves a margin.
    if math.prod(dims) > 8 * size:
        raise _RejectedError(f"its tensor {name!r} of shape {dims} has {size:,} bytes, which is too few")


def _size_of(number: int, value: Value) -> int:
    """Return the number of bytes of content in one field of a tensor, as `_check_content` counts them."""
    if isinstance(value, int):
        # The list of numbers is not packed, so this field holds one number of the list. A number counts as 1
        # byte in the field `int64_data` (7), and as 8 bytes in other fields.
        return 1 if number == 7 else 8
    # In the field `string_data` (6), 1 is added so that an empty string counts as content, too.
    return len(value) + 1 if number == 6 else len(value)


def _first_numbers(kind: int, parts: Mapping[int, Sequence[Value]]) -> list[float]:
    """Return the numbers at the start of a tensor, decoded from the part of its data that was read.

    Args:
        kind: Data type of the tensor, a key of _NUMBER_FORMATS.
        parts: Dict from field number to the data that was read from the field. The fields are those that can
            hold the tensor's numbers, such as `raw_data`.
    """
    form, own_field = _NUMBER_FORMATS[kind]
    if _RAW_DATA in parts:
        return _first_floats(message_of(parts[_RAW_DATA][0]), form)
    numbers: list[float] = []
    for value in parts.get(own_field, ()):
        if len(numbers) > _MOST_DIMS:
            break
        numbers += (
            integers_of(value, _MOST_DIMS + 1) if form in "iq" else _first_floats(message_of(value), form)
        )
    if kind == _INT32:  # onnxruntime also keeps only the lowest 32 bits
        numbers = [signed((int(number) & WORD) << 32) >> 32 for number in numbers]
    return numbers


def _first_floats(content: memoryview, form: str) -> list[float]:
    return unpacked(content, form, _MOST_DIMS + 1)
