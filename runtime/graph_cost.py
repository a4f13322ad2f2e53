"""What a graph costs: its operations, memory and work, estimated from its shapes before it is opened.

onnxruntime replaces each call of a function by the operations of the function. It computes all values that
depend on no input when it opens a file, and keeps them. It computes the other values for each batch, and
releases a value after its last use. The estimates follow this. A size that can't be known counts as nothing.
"""

from __future__ import annotations

import contextlib
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .budget import Budget, Spending
from .graph_numbers import may_have_numbers, numbers_of
from .graph_shapes import Size, sizes_of_outputs
from .graph_values import UNKNOWN, Call, Known, UnknownSizeError, count_of, kinds, stored
from .graph_work import work_of, workspace_of
from .onnx_attribute import Attribute
from .onnx_graph import Function, FunctionId, Graph, Input, Operation
from .onnx_tensor import FLOAT, INT64, width_of

# An operation, and the names of the values that are not used after it.
_Step = tuple[Operation, Sequence[str]]
Functions = Mapping[FunctionId, Function]
_Scope = ChainMap[str, Known]

_LARGEST_SIZE = 2**63  # no axis is longer; onnxruntime rejects such a shape
_INDICES = kinds("ArgMax ArgMin NonZero Shape Size")  # operations that return int64
# Dict from an operation to the input that has the type of the output, if it is not the first.
_TYPED_BY = {"Where": 1, "OneHot": 2}
# Dict from an operation to its attribute with the data type of the output.
_TYPE_ATTRIBUTES = {
    "Cast": "to",
    "EyeLike": "dtype",
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"), "output_datatype"),
}
# Errors that a rule raises if an operation is malformed. Its outputs then count as unknown, because
# onnxruntime rejects such an operation, or does not use the attribute or the input in question.
_MALFORMED = (UnknownSizeError, ArithmeticError, LookupError, TypeError, ValueError)


def count_operations(graph: Graph, functions: Functions) -> int:
    """Return the number of a graph's operations after each call of a function is replaced by its operations.

    A Constant does not count, because onnxruntime makes an initializer of it.

    Args:
        graph: Graph of the model.
        functions: Functions of the model. None of them calls itself.
    """
    counts: dict[FunctionId, int] = {}

    def of_operations(operations: Iterable[Operation]) -> int:
        return sum(map(of_operation, operations))

    def of_operation(operation: Operation) -> int:
        if operation.kind == "Constant":
            return 0
        within = sum(of_operations(graph.operations) for graph in operation.graphs)
        return 1 + within + of_function(operation.function)

    def of_function(name: FunctionId) -> int:
        if name not in functions:
            return 0
        if name not in counts:
            counts[name] = of_operations(functions[name].operations)
        return counts[name]

    return of_operations(graph.operations)


class Estimate:
    """Walks over the operations of a graph in their order, and adds up what they cost.

    Args:
        graph: Graph of the model. It has few operations, also after the calls of functions are replaced.
        functions: Functions of the model.
    """

    def __init__(self, graph: Graph, functions: Functions) -> None:
        self._graph, self._functions = graph, functions
        self._steps: dict[int, list[_Step]] = {}  # by the identity of a sequence of operations
        self._stored: dict[int, dict[str, Known]] = {}  # tensors in the file, by the identity of their graph
        self._spent = Spending(Budget(), 1)

    def run(self, images: int, budget: Budget) -> Spending:
        """Return what the graph costs if it runs once.

        Args:
            images: Number of images. It stands for the first axis of each input if its size is not stated.
                Other axes without a stated size count as 1.
            budget: What the graph may cost.

        Raises:
            OverBudgetError: The graph costs more.
        """
        self._spent = Spending(budget, images)
        values = {source.name: _known_input(source, images) for source in self._graph.inputs}
        size = sum(known.size for known in values.values())
        self._spent.hold(size, "Input")
        self._run_graph(self._graph, ChainMap(values), size)
        return self._spent

    def _run_graph(self, graph: Graph, outer: _Scope, present: int) -> list[Known]:
        """Return what is known of a graph's outputs.

        Args:
            graph: The graph, or a branch.
            outer: Values that the graph can use: its inputs, and those of the graphs that it is nested in.
            present: Bytes of the values that are in memory when the graph runs.
        """
        key = id(graph)
        if key not in self._stored:
            self._stored[key] = {name: stored(tensor) for name, tensor in graph.tensors.items()}
        scope = outer.new_child(dict(self._stored[key]))
        self._run(graph.operations, scope, graph.outputs, {}, present)
        return [scope.get(name, UNKNOWN) for name in graph.outputs]

    def _run(
        self,
        operations: Sequence[Operation],
        scope: _Scope,
        outputs: Iterable[str],
        given: Mapping[str, Attribute],
        present: int,
    ) -> None:
        """Add the outputs of operations to a scope.

        Args:
            operations: Operations of a graph or a function.
            scope: Values that are known already.
            outputs: Names of the values that are kept up to the end.
            given: Attributes of the function that the operations belong to.
            present: Bytes of the values that are in memory before.
        """
        key = id(operations)
        if key not in self._steps:
            self._steps[key] = _steps_of(operations, outputs)
        values = scope.maps[0]
        for operation, released in self._steps[key]:
            results = self._run_operation(operation, scope, given, present)
            for name, known in zip(operation.outputs, results, strict=False):
                values[name] = known
                if not known.is_constant:
                    present += known.size
            self._spent.hold(present, operation.kind)
            for name in released:
                known = values.get(name, UNKNOWN)
                if not known.is_constant:
                    present -= known.size

    def _run_operation(
        self, operation: Operation, scope: _Scope, given: Mapping[str, Attribute], present: int
    ) -> list[Known]:
        """Return what is known of an operation's outputs."""
        attributes = operation.attributes
        if operation.has_references:
            attributes = _with_references(attributes, given)
        if operation.kind == "Constant":
            return [_constant(attributes)]
        inputs = [scope.get(name, UNKNOWN) if name else None for name in operation.inputs]
        if function := self._functions.get(operation.function):
            return self._run_function(function, inputs, attributes, present)
        if operation.graphs:
            return self._run_branches(operation, scope, inputs, present)
        is_constant = all(known is None or known.is_constant for known in inputs)
        call = Call(operation.kind, inputs, attributes, len(operation.outputs))
        results = _results(call, is_constant)
        try:
            work = work_of(call, results)
            workspace = workspace_of(call, results)
        except _MALFORMED:
            return results
        if is_constant:
            size = sum(known.size for known in results)
            self._spent.compute_constant(size + workspace, work, call.kind)
        else:
            self._spent.compute(work, call.kind)
            self._spent.hold(present + workspace, call.kind)
        return results

    def _run_function(
        self,
        function: Function,
        inputs: Sequence[Known | None],
        attributes: Mapping[str, Attribute],
        present: int,
    ) -> list[Known]:
        pairs = zip(function.inputs, inputs, strict=False)
        scope = ChainMap({name: known for name, known in pairs if known is not None})
        given = {**function.attributes, **attributes}
        self._run(function.operations, scope, function.outputs, given, present)
        return [scope.get(name, UNKNOWN) for name in function.outputs]

    def _run_branches(
        self, operation: Operation, scope: _Scope, inputs: Sequence[Known | None], present: int
    ) -> list[Known]:
        """Return what is known of the larger branch. Which branch an If runs is not known before."""
        found: list[Known] = []
        is_constant = all(known is None or known.is_constant for known in inputs)
        for graph in operation.graphs:
            inner = scope.new_child({source.name: UNKNOWN for source in graph.inputs})
            results = self._run_graph(graph, inner, present)
            if sum(known.size for known in results) >= sum(known.size for known in found):
                found = results
        return [
            known._replace(numbers=None, is_constant=is_constant and known.is_constant) for known in found
        ]


def _known_input(source: Input, images: int) -> Known:
    # Latents without a stated shape have two axes, as `graph_inputs` assumes.
    stated = (None, None) if source.shape is None else source.shape
    first = [images if size is None else size for size in stated[:1]]
    rest = [1 if size is None else size for size in stated[1:]]
    shape = (*first, *rest)
    return Known(shape, count_of(shape), width_of(source.kind))


def _steps_of(operations: Sequence[Operation], outputs: Iterable[str]) -> list[_Step]:
    """Return operations in the order in which they can run.

    A value that no operation uses is released by the operation that computes it.

    Args:
        operations: Operations of a graph or a function, in the order of the file.
        outputs: Names of the values that are kept up to the end.
    """
    ordered = _sorted(operations)
    last = {}
    for index, operation in enumerate(ordered):
        last.update(dict.fromkeys(operation.outputs, index))
    own = set(last)
    for index, operation in enumerate(ordered):
        last.update((name, max(index, last[name])) for name in _used_names(operation) if name in own)
    for name in outputs:
        last.pop(name, None)
    released: list[list[str]] = [[] for _ in ordered]
    for name, index in last.items():
        released[index].append(name)
    return list(zip(ordered, released, strict=True))


def _sorted(operations: Sequence[Operation]) -> list[Operation]:
    """Return operations so that each comes after those whose values it uses, as onnxruntime sorts them.

    Operations that use each other's values in a circle come last. onnxruntime rejects them.
    """
    producers = {name: index for index, each in enumerate(operations) for name in each.outputs if name}
    users: list[list[int]] = [[] for _ in operations]
    missing = [0] * len(operations)
    for index, operation in enumerate(operations):
        needed = {producers[name] for name in _used_names(operation) if name in producers}
        missing[index] = len(needed)
        for producer in needed:
            users[producer].append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    for index in ready:  # the list grows while it is read
        for user in users[index]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    rest = [index for index, count in enumerate(missing) if count]
    return [operations[index] for index in [*ready, *rest]]


def _used_names(operation: Operation) -> Iterator[str]:
    """Yield the names of the values that an operation uses, also those that the graphs within it use."""
    yield from operation.inputs
    for graph in operation.graphs:
        yield from graph.outputs
        for inner in graph.operations:
            yield from _used_names(inner)


def _with_references(
    attributes: Mapping[str, Attribute], given: Mapping[str, Attribute]
) -> Mapping[str, Attribute]:
    """Return attributes in which those that refer to an attribute of the function are replaced by it."""
    replaced = {
        name: given.get(each.reference) if each.reference else each for name, each in attributes.items()
    }
    return {name: each for name, each in replaced.items() if each is not None}


def _constant(attributes: Mapping[str, Attribute]) -> Known:
    tensor = next(iter(attributes.values())).constant() if attributes else None
    return Known(is_constant=True) if tensor is None else stored(tensor)


def _results(call: Call, is_constant: bool) -> list[Known]:
    """Return what is known of an operation's outputs, after its rule."""
    try:
        sizes = sizes_of_outputs(call)
    except _MALFORMED:
        sizes = ()
    width = _output_width(call)
    found = [Known(*_shape_and_count(size), width, None, is_constant) for size in sizes[: call.outputs]]
    if found and may_have_numbers(call, found[0]):
        with contextlib.suppress(*_MALFORMED):
            found[0] = found[0]._replace(numbers=numbers_of(call, found[0].shape or ()))
    missing = call.outputs - len(found)
    return [*found, *[Known(is_constant=is_constant)] * missing] if missing else found


def _shape_and_count(size: Size) -> tuple[tuple[int | None, ...] | None, int]:
    if isinstance(size, int):
        return None, size
    if any(each is not None and each >= _LARGEST_SIZE for each in size):
        return None, 0
    return size, count_of(size)


def _output_width(call: Call) -> int:
    """Return the number of bytes of an element of an operation's first output."""
    if call.kind in _INDICES:
        return width_of(INT64)
    if call.kind == "ConstantOfShape":
        value = call.attributes["value"].tensor if "value" in call.attributes else None
        return width_of(FLOAT if value is None else value.kind)
    if call.kind in _TYPE_ATTRIBUTES and _TYPE_ATTRIBUTES[call.kind] in call.attributes:
        return width_of(call.integer(_TYPE_ATTRIBUTES[call.kind], FLOAT))
    if call.kind in _TYPE_ATTRIBUTES and call.kind != "EyeLike":
        return width_of(FLOAT)
    return call.known(_TYPED_BY.get(call.kind, 0)).width
