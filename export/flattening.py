"""Flat graphs: a graph of an ONNX file without functions and branches, in an order in which it runs.

The steps of an export look at the operations of one graph, and not into functions, nor into the branches of
an If. onnxruntime accepts more than the packages of onnx do: operations in any order, and weights that an old
version of the format would list among the inputs.
"""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence

import onnx
import onnx.inliner
from onnx import TensorProto, helper

from ganport.runtime.adapter import Arrays
from ganport.runtime.display import first_line
from ganport.runtime.providers import onnxruntime_errors

from .errors import GeneratorError
from .sessions import open_on_cpu

# Least version of the format of a flat graph. From version 4 on, weights need not be listed among the inputs.
_OLDEST_IR = 8


def flatten(shown: object, model: onnx.ModelProto, feeds: Sequence[Arrays]) -> onnx.ModelProto:
    """Return a graph without functions and branches, which generates the same images.

    Args:
        shown: Path or name of the generator, for error messages.
        model: The graph.
        feeds: Inputs of a few runs. They show which branch of an If is used.

    Raises:
        GeneratorError: An If uses one branch in one run, and the other branch in another run.
    """
    flat = onnx.ModelProto()
    flat.CopyFrom(onnx.inliner.inline_local_functions(model) if model.functions else model)
    flat.ir_version = max(flat.ir_version, _OLDEST_IR)
    while names := [node.input[0] for node in flat.graph.node if node.op_type == "If"]:
        _inline_branches(flat.graph, _evaluate_conditions(shown, flat, names, feeds))
    _sort_nodes(flat.graph)
    return flat


def _evaluate_conditions(
    shown: object, model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Arrays]
) -> dict[str, bool]:
    """Return the values of conditions, which must be the same in all runs."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    wanted = sorted(set(names))
    del asked.graph.output[:]
    asked.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.BOOL, None) for name in wanted)
    try:
        session = open_on_cpu(asked)
        runs = [session.run(wanted, dict(each)) for each in feeds]
    except onnxruntime_errors() as error:
        raise GeneratorError(
            shown, f"the conditions of its Ifs can't be computed ({first_line(error)}); export it without If."
        ) from error
    conditions: dict[str, bool] = {}
    for name, *values in zip(wanted, *runs, strict=True):
        found = {bool(value.item()) for value in values}
        if len(found) > 1:
            raise GeneratorError(
                shown, f"it has an If whose condition {name!r} differs from run to run; export it without If."
            )
        conditions[name] = found.pop()
    return conditions


def _inline_branches(graph: onnx.GraphProto, conditions: Mapping[str, bool]) -> None:
    """Replace each If by the operations of the branch that its condition selects."""
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "If":
            graph.node.append(node)
            continue
        chosen = "then_branch" if conditions[node.input[0]] else "else_branch"
        branch = next(attribute.g for attribute in node.attribute if attribute.name == chosen)
        prefix = f"{next(filter(None, node.output))}/"
        _rename(branch, {name: prefix + name for name in _names_within(branch)})
        graph.node.extend(branch.node)
        graph.initializer.extend(branch.initializer)
        for inner, outer in zip(branch.output, node.output, strict=True):
            graph.node.append(helper.make_node("Identity", [inner.name], [outer]))


def _names_within(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the values that a graph and the graphs in it compute or hold."""
    names = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        names.update(name for name in node.output if name)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                names.update(_names_within(attribute.g))
                names.update(value.name for value in attribute.g.input)
    return names


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values in a graph and in the graphs in it."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    del graph.value_info[:]
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g, names)


def _sort_nodes(graph: onnx.GraphProto) -> None:
    """Put the operations of a graph in an order in which each comes after those that it depends on."""
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needed = {
        index: [producers[name] for name in node.input if name in producers]
        for index, node in enumerate(graph.node)
    }
    if all(before < index for index, others in needed.items() for before in others):
        return
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes[index] for index in graphlib.TopologicalSorter(needed).static_order())
