"""A small generator for tests, with latents (batch, 5) and images (batch, 3, 4, 1).

The weights are random and always the same. This command writes the generator to a file::

    python tests/tiny_generator.py tiny.onnx
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Contract, ImageSpec, InputSpec
from ganport.runtime.contract import METADATA_KEY

DIM = 5
SHAPE = (3, 4, 1)


def tiny_weights() -> tuple[np.ndarray, np.ndarray]:
    """Return kernel (5, 12) and bias (12,), float32."""
    rng = np.random.default_rng(7)
    return rng.standard_normal((DIM, 12)).astype(np.float32), rng.standard_normal(12).astype(np.float32)


def generate_with_numpy(latents: np.ndarray) -> np.ndarray:
    """Return the images of the latents, float32 (batch, 3, 4, 1) in [-1, 1], computed with NumPy."""
    kernel, bias = tiny_weights()
    return np.tanh(latents @ kernel + bias).reshape(-1, *SHAPE)


def tiny_contract(**changes: Any) -> Contract:
    """Return a contract that fits the graph of `tiny_model` with the same dtype and batch."""
    dtype = changes.pop("dtype", "float32")
    facts: dict[str, Any] = {
        "name": "tiny",
        "created_by": "tests",
        "input": InputSpec(kind="latent", name="latent", dim=DIM, distribution="normal"),
        "image": ImageSpec(
            name="image",
            height=3,
            width=4,
            channels=1,
            layout="NHWC",
            dtype=dtype,
            range=(0, 255) if dtype == "uint8" else (-1, 1),
        ),
        "batch": None,
        "precision": "float32",
        "recipe": {},
        "data": {},
        "training": {},
        "verification": {},
        "golden": {"seeds": [], "png_base64": ""},
    }
    return Contract(**(facts | changes))


def tiny_model(
    dtype: str = "float32", batch: int | None = None, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Return the generator as an ONNX model: Gemm, Tanh, Reshape, and for uint8 the steps of `to_uint8`.

    Args:
        dtype: Type of the images, "float32" or "uint8".
        batch: Fixed number of images; None for a dynamic one.
        metadata: Metadata of the model; by default its contract.
    """
    kernel, bias = tiny_weights()
    constants = {"kernel": kernel, "bias": bias, "shape": np.array([-1, *SHAPE])}
    nodes = [
        helper.make_node("Gemm", ["latent", "kernel", "bias"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["float"]),
    ]
    if dtype == "uint8":
        constants |= {
            name: np.array(value, np.float32)
            for name, value in (("one", 1), ("half", 127.5), ("low", 0), ("high", 255))
        }
        nodes += [
            helper.make_node("Add", ["float", "one"], ["shifted"]),
            helper.make_node("Mul", ["shifted", "half"], ["scaled"]),
            helper.make_node("Round", ["scaled"], ["rounded"]),
            helper.make_node("Clip", ["rounded", "low", "high"], ["clipped"]),
            helper.make_node("Cast", ["clipped"], ["image"], to=TensorProto.UINT8),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["float"], ["image"]))
    size = batch or "batch"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("latent", TensorProto.FLOAT, [size, DIM])],
        [
            helper.make_tensor_value_info(
                "image", TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT, [size, *SHAPE]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if metadata is None:
        metadata = {METADATA_KEY: tiny_contract(dtype=dtype, batch=batch).to_json()}
    helper.set_model_props(model, dict(metadata))
    return model


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(tiny_model("uint8").SerializeToString())
