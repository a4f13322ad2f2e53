"""Reading the operations of an ONNX file, and rejecting a harmful file before onnxruntime opens it.

onnxruntime trusts the content of a file. A few bytes in the file can make onnxruntime allocate a terabyte of
memory, read a file elsewhere on the disk, or run an endless loop. This module reads the file once, without
the `onnx` package and without a copy of the weights, and rejects files that do this. It also estimates what
the file costs, and rejects a file that exceeds its budget.

Shapes that depend on the numbers in the graph's inputs are not known before the graph runs. Only the memory
of the process limits them. The field numbers in this module are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from .budget import Budget, check_limit
from .contract import METADATA_KEY
from .display import shortened, system_reason
from .errors import ModelFormatError, ModelNotFoundError, ModelTooLargeError, UnsupportedModelError
from .external_data import WeightFiles
from .graph_cost import Estimate, count_operations
from .onnx_attribute import Attribute, AttributeValue, read_attribute
from .onnx_graph import Function, FunctionId, Graph, Input, Operation, function_id, read_input, read_output
from .onnx_operations import Operands, check_operation
from .onnx_tensor import ModelReader, Tensor, read_sparse_tensor, read_tensor
from .protobuf import WireError, fields, message_of, number_of, signed, single_message, text_of
from .rejection import OverBudgetError, RejectedError, UnsupportedError

# Numbers of images for which the cost is estimated, because a size may depend on the number in any way. 64 is
# the usual batch of large images.
_BATCHES = (1, 64)
_NO_TEXT = memoryview(b"")
_TRIAL_BATCH = 4  # number of images in which a file without a contract is tried when it is opened
_DEEPEST = 16  # limit for the depth of nested graphs, such as the branches of an If, and of function calls
_MOST_NUMBERS = 16  # largest number of values of a constant whose numbers are in the outline

_Constants = ChainMap[str, Tensor]


class Node(NamedTuple):
    """One operation of a graph.

    Attributes:
        kind: Kind of the operation, such as "Conv".
        inputs: Names of the operation's inputs.
        outputs: Names of the operation's outputs.
        domain: Domain of the kind; empty for ONNX's own operations.
        attributes: Dict from the name of an attribute to its number or numbers. Other attributes and lists of
            more than 32 numbers are left out.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    attributes: Mapping[str, AttributeValue] = MappingProxyType({})


class Constant(NamedTuple):
    """A tensor that is stored in the file: an initializer, or the output of a Constant operation.

    Attributes:
        shape: Shape of the tensor; empty for a single number.
        numbers: Numbers of the tensor in row-major order, if there are at most 16. None if there are more, or
            if the tensor holds texts, or numbers of a type such as int4 that is not read.
    """

    shape: tuple[int, ...]
    numbers: tuple[float, ...] | None


class Outline(NamedTuple):
    """What is read of a model before it is opened.

    Attributes:
        nodes: Operations of the model's graph.
        weight_files: Files beside the model that hold its weights, sorted by name.
        constants: Dict from the name of a constant of the model's graph to the constant.
        opset: Version of ONNX's own operations; None if the file does not state it.
        path: Path of the model beside which the weight files were found. It may be that of a symbolic link
            behind the given path, and onnxruntime must open this path. None for bytes.
    """

    nodes: tuple[Node, ...]
    weight_files: tuple[Path, ...] = ()
    constants: Mapping[str, Constant] = MappingProxyType({})
    opset: int | None = None
    path: Path | None = None


def read_outline(model: Path | bytes, *, budget: float = 1.0) -> Outline:
    """Return the operations of a model and the files of its weights, after this module's checks.

    Args:
        model: An existing ONNX file, or its bytes. A model in onnxruntime's own format (.ort) is not read, so
            its outline is empty.
        budget: Factor of the limits in `Budget`.

    Raises:
        ModelFormatError: The model is damaged, or it is harmful.
        ModelTooLargeError: The model needs more memory or work than its budget allows.
        ModelNotFoundError: The file can't be read.
        UnsupportedModelError: The file is of another kind, or has operations that are not supported.
    """
    path = None if isinstance(model, bytes) else model
    try:
        content = memoryview(model) if isinstance(model, bytes) else _mapped(model)
        return _read_content(content, path, Budget().times(budget))
    except RejectedError as error:
        raise ModelFormatError(model, str(error)) from None
    except OverBudgetError as error:
        raise ModelTooLargeError(model, error.what, error.needed, error.limit) from None
    except UnsupportedError as error:
        raise UnsupportedModelError(model, error.problem, error.remedy) from None
    except OSError as error:  # the file of the model, or one with its weights
        raise ModelNotFoundError(Path(error.filename or path or ""), system_reason(error)) from error


def is_ort_format(model: Path | bytes) -> bool:
    """Return whether a model is in onnxruntime's own format.

    A file is recognised by its ending, and bytes are recognised by the mark "ORTM" in them.
    """
    return model[4:8] == b"ORTM" if isinstance(model, bytes) else model.suffix.lower() == ".ort"


def _mapped(path: Path) -> memoryview:
    """Return the bytes of a file without reading them. They are released with the last view of them."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise RejectedError("the file is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _read_content(content: memoryview, path: Path | None, budget: Budget) -> Outline:
    """Return the outline of a model.

    Args:
        content: Bytes of the model's file.
        path: Path of the file; None if the model was given as bytes.
        budget: What the model may cost.
    """
    if is_ort_format(bytes(content[:8]) if path is None else path):
        if bytes(content[4:8]) != b"ORTM":
            _reject_other_kind(content, path)
        return Outline((), path=path)
    try:
        return _read_model(content, WeightFiles(path), budget)
    except RecursionError:
        raise RejectedError("its functions and graphs are nested too deeply") from None
    except (WireError, IndexError, struct.error, UnicodeDecodeError):
        _reject_other_kind(content, path)
        raise RejectedError("it is damaged, or it is not ONNX") from None


def _reject_other_kind(content: memoryview, path: Path | None) -> None:
    """Raise UnsupportedError if the content is that of a known kind of file other than ONNX."""
    from .file_kinds import recognise  # not at the top, because most files are ONNX

    if kind := recognise(content):
        raise UnsupportedError(f"it is {kind.name}", kind.remedy_for(path))


def _read_model(content: memoryview, files: WeightFiles, budget: Budget) -> Outline:
    reader, constants = _GraphReader(files, budget), _Constants()
    graph, opset, functions, has_contract = None, None, [], False
    for number, value in reader.fields(content):
        if number == 7:
            graph = single_message(graph, value)
        elif number == 8:
            domain, version = _read_opset(message_of(value))
            opset = version if domain in ("", "ai.onnx") else opset
        elif number == 14:
            has_contract |= text_of(dict(fields(message_of(value))).get(1, _NO_TEXT)) == METADATA_KEY
        elif number == 25:
            functions.append(message_of(value))
    if graph is None:
        raise WireError
    for function in functions:
        reader.read_function(function)
    nodes, read = reader.read_graph(graph, 0, constants)
    reader.check_functions()
    size = len(content) + sum(file.stat().st_size for file in files.found)
    batches = _BATCHES if has_contract else (*_BATCHES, _TRIAL_BATCH)
    _check_cost(read, reader, budget.of_file(size), batches)
    return Outline(
        nodes,
        weight_files=tuple(sorted(files.found)),
        constants={name: _outlined(tensor) for name, tensor in constants.items()},
        opset=opset,
        path=files.model,
    )


def _check_cost(graph: Graph, reader: _GraphReader, budget: Budget, batches: Sequence[int]) -> None:
    """Raise OverBudgetError if a graph costs more than its budget allows.

    Args:
        graph: The graph.
        reader: Reader that has read it.
        budget: What the graph may cost.
        batches: Numbers of images for which the cost is estimated, if the file does not state the number.
    """
    what = "operations in the file, after its functions are inlined"
    check_limit(what, count_operations(graph, reader.functions), budget.operations)
    check_limit("bytes of tensors in the file", reader.messages.stored_bytes, budget.constant_bytes)
    check_limit("bytes of sparse tensors in the file", reader.messages.dense_bytes, budget.constant_bytes)
    is_free = any(source.shape is None or None in source.shape for source in graph.inputs)
    estimate = Estimate(graph, reader.functions)
    for images in batches if is_free else [_fixed_batch(graph)]:
        estimate.run(images, budget)


def _fixed_batch(graph: Graph) -> int:
    """Return the number of images that a graph without free sizes seems to generate, at most 64."""
    first = [source.shape[0] or 1 for source in graph.inputs if source.shape]
    return min(max([1, *first]), max(_BATCHES))


def _read_opset(message: memoryview) -> tuple[str, int]:
    """Return the domain and the version of a set of operations."""
    entries = dict(fields(message))
    return text_of(entries.get(1, _NO_TEXT)), signed(number_of(entries.get(2, 0)))


def _outlined(tensor: Tensor) -> Constant:
    count = math.prod(tensor.shape)
    is_complete = tensor.first is not None and len(tensor.first) == count <= _MOST_NUMBERS
    return Constant(tensor.shape, tensor.first if is_complete else None)


class _GraphReader:
    """Reads and checks a model's graph, the graphs within it, and its functions.

    Attributes:
        messages: Reader of the messages in the file.
        functions: Dict from the domain and name of a function to the function.
    """

    def __init__(self, files: WeightFiles, budget: Budget) -> None:
        self.messages = ModelReader(files, budget.fields)
        self.fields = self.messages.fields
        self.functions: dict[FunctionId, Function] = {}
        self._budget, self._nodes, self._graphs = budget, 0, 0

    def read_function(self, message: memoryview) -> None:
        name, domain, messages = "", "", []
        inputs, outputs, attributes = [], [], {}
        for number, value in self.fields(message):
            if number == 1:
                name = text_of(value)
            elif number == 10:
                domain = text_of(value)
            elif number == 4:
                inputs.append(text_of(value))
            elif number == 5:
                outputs.append(text_of(value))
            elif number == 7:
                messages.append(message_of(value))
                self._count_node()
            elif number == 11:
                attribute = read_attribute(message_of(value), self.messages)
                attributes[attribute.name] = attribute
        key = function_id(domain, name)
        if key in self.functions:
            raise UnsupportedError(
                f"it has two functions of the name {shortened(name)}",
                "inline its functions with onnx.inliner.inline_local_functions",
            )
        operations, _ = self._read_nodes(messages, _Constants(), 0)
        self.functions[key] = Function(tuple(inputs), tuple(outputs), attributes, operations)

    def check_functions(self) -> None:
        """Reject a function that calls itself, because onnxruntime would inline it endlessly."""
        checked: set[FunctionId] = set()

        def visit(function: FunctionId, callers: tuple[FunctionId, ...]) -> None:
            if function in callers:
                raise RejectedError(f"its function {shortened(function[1])} calls itself")
            if len(callers) > _DEEPEST:
                raise RejectedError(f"its functions call each other more than {_DEEPEST} levels deep")
            if function in checked:
                return
            for called in _called(self.functions[function].operations):
                if called in self.functions:
                    visit(called, (*callers, function))
            checked.add(function)

        for function in self.functions:
            visit(function, ())

    def read_graph(
        self, message: memoryview, depth: int, constants: _Constants
    ) -> tuple[tuple[Node, ...], Graph]:
        """Return the operations of a graph, and the graph.

        Args:
            message: Bytes of the graph.
            depth: Number of graphs that this graph is nested in.
            constants: Constants of the graphs that this graph is nested in. The constants of this graph are
                added to the first dict.
        """
        if depth > _DEEPEST:
            raise RejectedError(f"it has graphs within graphs, more than {_DEEPEST} levels deep")
        self._graphs += 1
        check_limit("graphs in the file", self._graphs, self._budget.graphs)
        inputs: list[Input] = []
        outputs, messages, tensors = [], [], {}
        for number, value in self.fields(message):
            if number == 5:  # initializers
                tensor = read_tensor(message_of(value), self.messages)
                tensors[tensor.name] = tensor
            elif number == 15:  # sparse initializers
                tensor = read_sparse_tensor(message_of(value), self.messages)
                tensors[tensor.name] = tensor
            elif number == 1:
                messages.append(message_of(value))
                self._count_node()
            elif number == 11:
                inputs.append(read_input(message_of(value), self.fields))
            elif number == 12:
                outputs.append(read_output(message_of(value), self.fields))
        constants.update(tensors)
        operations, nodes = self._read_nodes(messages, constants, depth)
        free = tuple(source for source in inputs if source.name not in tensors)
        return nodes, Graph(free, tuple(outputs), tensors, operations)

    def _count_node(self) -> None:
        self._nodes += 1
        check_limit("operations in the file", self._nodes, self._budget.nodes)

    def _read_nodes(
        self, messages: list[memoryview], constants: _Constants, depth: int
    ) -> tuple[tuple[Operation, ...], tuple[Node, ...]]:
        """Return the operations in the order of the file, in two forms.

        The Constant operations are read first. In a damaged or hostile file, a constant may come after the
        operation that uses it.
        """
        first = {index for index, message in enumerate(messages) if _kind_of(message) == "Constant"}
        order = sorted(range(len(messages)), key=lambda index: index not in first)
        read = {index: self._read_node(messages[index], constants, depth) for index in order}
        operations, nodes = [], []
        for index in range(len(messages)):
            operation, node = read[index]
            operations.append(operation)
            nodes.append(node)
        return tuple(operations), tuple(nodes)

    def _read_node(self, message: memoryview, constants: _Constants, depth: int) -> tuple[Operation, Node]:
        kind, domain, inputs, outputs, attributes = "", "", [], [], []
        for number, value in self.fields(message):
            if number == 1:
                inputs.append(text_of(value))
            elif number == 2:
                outputs.append(text_of(value))
            elif number == 4:
                kind = text_of(value)
            elif number == 5:
                attributes.append(read_attribute(message_of(value), self.messages))
            elif number == 7:
                domain = text_of(value)
        messages = [graph for attribute in attributes for graph in attribute.graphs]
        graphs = [self.read_graph(graph, depth + 1, constants.new_child())[1] for graph in messages]
        if kind == "Constant":
            _add_constant(constants, attributes, outputs)
        by_name = {each.name: each for each in attributes}
        if len(by_name) < len(attributes):
            raise WireError  # onnxruntime would use one of two attributes of the same name
        lists = {each.name: each.listed() for each in attributes}
        is_training = any(each.name == "training_mode" and each.is_set() for each in attributes)
        check_operation(Operands(kind, inputs, outputs, constants, lists, is_training))
        values = {each.name: each.value() for each in attributes}
        numbers = {name: value for name, value in values.items() if value is not None}
        names = tuple(inputs), tuple(outputs)
        return Operation(kind, domain, *names, by_name, tuple(graphs)), Node(kind, *names, domain, numbers)


def _called(operations: Sequence[Operation]) -> Iterator[FunctionId]:
    """Yield the names of all that operations may call, also within graphs."""
    for operation in operations:
        yield operation.function
        for graph in operation.graphs:
            yield from _called(graph.operations)


def _add_constant(constants: _Constants, attributes: Sequence[Attribute], outputs: Sequence[str]) -> None:
    """Add the output of a Constant operation to the constants of its graph."""
    if len(attributes) > 1:
        raise RejectedError("it has a Constant of more than one value")
    tensor = attributes[0].constant() if attributes else None
    if tensor is not None and outputs:
        constants[outputs[0]] = tensor


def _kind_of(node: memoryview) -> str:
    """Return the kind of an operation.

    If the field `op_type` occurs several times, the last one counts, as in `_read_node`.
    """
    kinds = [text_of(value) for number, value in fields(node) if number == 4]
    return kinds[-1] if kinds else ""
