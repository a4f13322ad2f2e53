"""Functions of TensorFlow that tf2onnx can't convert as they are, changed so that it can."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from .float32_graphs import change_to_float32, has_other_precision, nodes_of

# Attribute of functions that XLA compiles, and of the nodes that call them.
_COMPILED = "_XlaMustCompile"
# Attribute of a function that is not inlined, as those that XLA compiles.
_NOT_INLINED = "_noinline"


def make_convertible(function: Any) -> Any:
    """Return the function itself if tf2onnx can convert it, otherwise one of the same images that it can.

    Three kinds of functions are changed, and get their weights as constants:

    - Functions in another precision than float32. They compute in float32 afterwards.
    - Functions that use tensors from outside. The tensors become constants, because tf2onnx takes them for
      inputs. Keras 2 makes such tensors when it loads a model that calls operations of TensorFlow on numbers.
    - Functions that call others that XLA compiles. The others are no longer compiled, because tf2onnx does
      not look into compiled ones. Keras 3 computes grouped convolutions in this way.

    Args:
        function: Concrete function of TensorFlow with positional inputs and a list of outputs.
    """
    graph = function.graph.as_graph_def()
    is_other, is_compiled = has_other_precision(graph), _calls_compiled(graph)
    if not (is_other or is_compiled or _uses_outer_tensors(function)):
        return function
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    graph = frozen.graph.as_graph_def()
    _rename_functions(graph)
    if is_other:
        change_to_float32(graph)
    if is_compiled:
        _forget_compilation(graph)
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    tensors = [
        [imported.graph.get_tensor_by_name(tensor.name) for tensor in each]
        for each in (frozen.inputs, frozen.outputs)
    ]
    return imported.prune(*tensors)


def _uses_outer_tensors(function: Any) -> bool:
    """Return whether a function uses tensors from outside that are no variables."""
    return any(outer.dtype != tf.resource for outer, _ in function.graph.captures)


def _calls_compiled(graph: Any) -> bool:
    return any(_COMPILED in function.attr for function in graph.library.function)


def _rename_functions(graph: Any) -> None:
    """Give the inner functions of a graph new names, since TensorFlow knows others by their present names."""
    names = {
        function.signature.name: f"{function.signature.name}_changed" for function in graph.library.function
    }
    for function in graph.library.function:
        function.signature.name = names[function.signature.name]
    for node in nodes_of(graph):
        node.op = names.get(node.op, node.op)
        for attribute in node.attr.values():
            for called in (attribute.func, *attribute.list.func):
                if called.name in names:
                    called.name = names[called.name]


def _forget_compilation(graph: Any) -> None:
    """Let TensorFlow inline the functions of a graph that XLA compiles."""
    for each in (*nodes_of(graph), *graph.library.function):
        for name in (_COMPILED, _NOT_INLINED):
            if name in each.attr:
                del each.attr[name]
