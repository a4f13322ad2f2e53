"""A generator that takes a long time for each image: four pixels after many convolutions of a large map."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

DIM = 5  # latents
SHAPE = (2, 2, 3)  # height, width and channels of an image
WIDTH, SIDE = 32, 64  # channels and side of the map; one convolution takes 38 million multiply-adds


def slow_model(convolutions: int) -> bytes:
    """Return an ONNX model whose images take about 2 ms for each convolution on one core of 2.6 GHz."""
    rng = np.random.default_rng(7)
    constants = {
        "map_shape": np.array([-1, 1, SIDE, SIDE]),
        "first": rng.standard_normal((DIM, SIDE * SIDE)).astype(np.float32),
        "widen": rng.standard_normal((WIDTH, 1, 1, 1)).astype(np.float32),
        "kernel": (rng.standard_normal((WIDTH, WIDTH, 3, 3)) / 17).astype(np.float32),
        "last": (rng.standard_normal((WIDTH, np.prod(SHAPE))) / 6).astype(np.float32),
        "image_shape": np.array([-1, *SHAPE]),
        "half": np.array(127.5, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["latent", "first"], ["flat_map"]),
        helper.make_node("Reshape", ["flat_map", "map_shape"], ["thin"]),
        helper.make_node("Conv", ["thin", "widen"], ["map0"]),
        *(
            node
            for index in range(convolutions)
            for node in (
                helper.make_node("Conv", [f"map{index}", "kernel"], [f"sum{index}"], pads=[1, 1, 1, 1]),
                helper.make_node("Tanh", [f"sum{index}"], [f"map{index + 1}"]),
            )
        ),
        helper.make_node("ReduceMean", [f"map{convolutions}"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "last"], ["product"]),
        helper.make_node("Tanh", ["product"], ["flat"]),
        helper.make_node("Mul", ["flat", "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "half"], ["levels"]),
        helper.make_node("Cast", ["levels"], ["bytes"], to=TensorProto.UINT8),
        helper.make_node("Reshape", ["bytes", "image_shape"], ["image"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", DIM])],
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *SHAPE])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
