"""What comes out of the graph: the generator's floats as they are, or 8-bit pixels."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .convert import IMAGE


def add_uint8_tail(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model whose output "image" is uint8 in [0, 255] instead of float32 in [-1, 1].

    The operations are those of `runtime.to_uint8`, in its order and in float32, so that both round alike: QuantizeLinear with
    a scale of 1 takes halves to even, and clips.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    raw = f"{IMAGE}_float"
    for node in graph.node:
        node.input[:] = [raw if name == IMAGE else name for name in node.input]
        node.output[:] = [raw if name == IMAGE else name for name in node.output]
    # Single numbers, without an axis: onnxruntime has a loop of its own for those.
    for name, value in (("one", np.float32(1)), ("half_span", np.float32(127.5)), ("black", np.uint8(0))):
        graph.initializer.append(numpy_helper.from_array(np.array(value), f"tail/{name}"))
    graph.node.extend(
        [
            helper.make_node("Add", [raw, "tail/one"], ["tail/shifted"], name="tail/shift"),
            helper.make_node("Mul", ["tail/shifted", "tail/half_span"], ["tail/scaled"], name="tail/scale"),
            helper.make_node("QuantizeLinear", ["tail/scaled", "tail/one", "tail/black"], [IMAGE], name="tail/round"),
        ]
    )
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return result
