"""Graphs of TensorFlow in mixed or double precision, changed to float32.

The CPU provider of onnxruntime has no convolutions in float16, bfloat16 or float64. And TensorFlow rounds to
float16 after every operation, in another order than any other runtime, so images in float16 can't be
compared. A model of mixed precision has its weights in float32, and its arithmetic in float16 approximates
that in float32. A model in float64 loses digits in float32 that no pixel shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

_FLOAT32 = types_pb2.DT_FLOAT
_OTHERS = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_DOUBLE)


def has_other_precision(graph: Any) -> bool:
    """Return whether a graph has values of other floating-point types than float32.

    Args:
        graph: GraphDef of TensorFlow. The functions that it calls are searched too.
    """
    attributes = (attribute for node in nodes_of(graph) for attribute in node.attr.values())
    return any(kind in _OTHERS for attribute in attributes for kind in (attribute.type, *attribute.list.type))


def change_to_float32(graph: Any) -> None:
    """Replace the floating-point types of a graph, and of the functions that it calls, by float32.

    Args:
        graph: GraphDef of TensorFlow, which is changed.
    """
    for node in nodes_of(graph):
        for attribute in node.attr.values():
            _change(attribute)
        if node.op == "Cast" and node.attr["SrcT"].type == node.attr["DstT"].type:
            _make_identity(node)
    for definition in graph.library.function:
        for argument in (*definition.signature.input_arg, *definition.signature.output_arg):
            argument.type = _FLOAT32 if argument.type in _OTHERS else argument.type


def nodes_of(graph: Any) -> Iterator[Any]:
    """Iterate over the nodes of a graph, and over those of the functions that it calls."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _change(attribute: Any) -> None:
    """Replace the types in an attribute of a node by float32, and convert its constant."""
    if attribute.HasField("type") and attribute.type in _OTHERS:
        attribute.type = _FLOAT32
    for index, kind in enumerate(attribute.list.type):
        if kind in _OTHERS:
            attribute.list.type[index] = _FLOAT32
    if attribute.HasField("tensor") and attribute.tensor.dtype in _OTHERS:
        values = tf.make_ndarray(attribute.tensor).astype(np.float32)
        attribute.tensor.CopyFrom(tf.make_tensor_proto(values))


def _make_identity(node: Any) -> None:
    """Replace a conversion between equal types by an identity, which tf2onnx leaves out."""
    kind = node.attr["DstT"].type
    node.op = "Identity"
    node.ClearField("attr")
    node.attr["T"].type = kind
