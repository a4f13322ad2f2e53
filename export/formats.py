"""Formats beside ONNX: onnxruntime's own for small builds, and the model repository of Triton."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import onnxruntime as ort

from ganport.runtime import Contract
from ganport.runtime.contract import LABEL

Format = Literal["onnx", "ort", "triton"]

_TRITON_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "uint8": "TYPE_UINT8"}
_TRITON_BATCH = 64  # the largest that the server may gather


def to_ort(model: bytes) -> bytes:
    """Return an ONNX file in onnxruntime's own format, which its small builds read; the contract stays in it.

    The graph is optimised as far as every processor can run it. onnxruntime (1.31) writes one table in another order each time:
    these bytes, unlike those of the ONNX file, are not the same twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.ort"
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.save_model_format", "ORT")
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return target.read_bytes()


def triton_config(contract: Contract, name: str) -> str:
    """Return the `config.pbtxt` of a generator in a folder of that name: what goes in and out, and what may be gathered.

    Where the batch is free, Triton counts it apart from the shapes; else they are written whole, and nothing is gathered.
    """
    source, image = contract.input, contract.image
    free = contract.batch is None
    batch = [] if contract.batch is None else [contract.batch]
    inputs = [
        _triton_input(source.name, "int64", batch)
        if source.kind == "seed"
        else _triton_input(source.name, "float32", [*batch, source.dim])
    ]
    if source.labels:
        inputs.append(_triton_input(LABEL, "int64", batch))
    pixels = f"data_type: {_TRITON_TYPES[image.dtype]} dims: {[*batch, *image.graph_shape]}"
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {_TRITON_BATCH if free else 0}",
        f"input [{', '.join(inputs)}]",
        f'output [{{name: "{image.name}" {pixels}}}]',
    ]
    if free:
        lines.append("dynamic_batching {}")
    return "\n".join(lines) + "\n"


def _triton_input(name: str, dtype: str, dims: list[int]) -> str:
    # Triton knows no input without axes: one of a single place is reshaped to none.
    shape = f"dims: {dims}" if dims else "dims: [1] reshape: {shape: []}"
    return f'{{name: "{name}" data_type: {_TRITON_TYPES[dtype]} {shape}}}'
