"""Output stages: nodes after the generator that round its images to 8 bits, or put the channels first."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .standard_form import IMAGE


def add_uint8_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model whose output "image" is uint8 in [0, 255] instead of float32 in [-1, 1].

    The operations are those of `runtime.to_uint8`, in the same order and in float32, so that the graph and
    `to_uint8` round alike. QuantizeLinear with a scale of 1 rounds halves to even, and clips to [0, 255].
    """
    result, floats = _without_output(model)
    graph = result.graph
    # The constants have no axes, since onnxruntime has a faster loop for such scalars.
    for name, value in (("one", np.float32(1)), ("half_span", np.float32(127.5)), ("black", np.uint8(0))):
        graph.initializer.append(numpy_helper.from_array(np.array(value), f"tail/{name}"))
    graph.node.extend(
        [
            helper.make_node("Add", [floats, "tail/one"], ["tail/shifted"], name="tail/shift"),
            helper.make_node("Mul", ["tail/shifted", "tail/half_span"], ["tail/scaled"], name="tail/scale"),
            helper.make_node(
                "QuantizeLinear", ["tail/scaled", "tail/one", "tail/black"], [IMAGE], name="tail/round"
            ),
        ]
    )
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return result


def put_channels_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model whose output "image" is (batch, channels, height, width)."""
    result, last = _without_output(model)
    result.graph.node.append(
        helper.make_node("Transpose", [last], [IMAGE], perm=[0, 3, 1, 2], name="tail/channels_first")
    )
    sizes = result.graph.output[0].type.tensor_type.shape.dim
    height, width, channels = (size.dim_value for size in sizes[1:])
    for size, value in zip(sizes[1:], (channels, height, width), strict=True):
        size.dim_value = value
    return result


def _without_output(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Rename the value "image" in a copy of the model, and return the copy and the new name.

    The nodes of an output stage can then compute a new "image" from the renamed value.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    # The number of nodes makes the name unique, since each output stage adds nodes.
    renamed = f"{IMAGE}_{len(result.graph.node)}"
    for node in result.graph.node:
        node.input[:] = [renamed if name == IMAGE else name for name in node.input]
        node.output[:] = [renamed if name == IMAGE else name for name in node.output]
    return result, renamed
