"""Formats other than ONNX: the ORT format for small builds of onnxruntime, and model folders for Triton."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import onnxruntime as ort

from ganport.runtime import Contract
from ganport.runtime.contract import LABEL

_TRITON_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64", "uint8": "TYPE_UINT8"}
# onnxruntime's own tool runs in a process of its own: it changes the path of modules and the settings of
# logging, and leaves files open.
_LIST_OPERATORS = """
import pathlib, sys
from onnxruntime.tools.ort_format_model import create_config_from_models
create_config_from_models([pathlib.Path(sys.argv[1])], pathlib.Path(sys.argv[2]), enable_type_reduction=True)
"""
_TRITON_BATCH = 64  # largest batch that the Triton server may form


def to_ort(model: bytes, *, keep_casts: bool = False) -> bytes:
    """Convert an ONNX file, given as bytes, to the ORT format, which small builds of onnxruntime read.

    The result contains the contract of the ONNX file. onnxruntime optimises the graph, but only in ways that
    suit every processor.

    The returned bytes differ from call to call, since onnxruntime (1.31) writes the entries of one table in a
    different order each time.

    Args:
        model: Content of the ONNX file.
        keep_casts: Whether weights that are stored in float16 stay so. Each run then converts them. Otherwise
            they are converted here, and the file is twice as large.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.ort"
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.save_model_format", "ORT")
        disabled = ["ConstantFolding"] if keep_casts else []
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled)
        return target.read_bytes()


def required_operators(file: Path, name: str) -> str:
    """Return the operators and types that a file in the ORT format needs.

    A build of onnxruntime with `--include_ops_by_config` leaves out all others.

    Args:
        file: The file in the ORT format.
        name: Name of the file, which the first line states.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "operators.config"
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", _LIST_OPERATORS, str(file.resolve()), str(listed)],
            check=True,
            capture_output=True,
        )
        lines = [line for line in listed.read_text("utf-8").splitlines() if not line.startswith("#")]
    heading = f"# The operators of {name}, for onnxruntime's build.sh --include_ops_by_config"
    return "\n".join([heading, *lines]) + "\n"


def triton_config(contract: Contract, name: str) -> str:
    """Return the text of `config.pbtxt`: inputs, outputs, and whether the server may form batches.

    If the batch size is free, the server may form batches, and the shapes do not include the batch size. If
    the batch size is fixed, the server may not form batches, and each shape begins with the batch size.

    Args:
        contract: The contract of the generator.
        name: Name of the model, which is also the name of its folder.
    """
    source, image = contract.input, contract.image
    is_free = contract.batch is None
    batch = [] if contract.batch is None else [contract.batch]
    if source.kind == "seed":
        inputs = [_triton_input(source.name, "int64", batch)]
    else:
        inputs = [_triton_input(source.name, "float32", [*batch, source.dim])]
    if source.labels:
        inputs.append(_triton_input(LABEL, "int64", batch))
    pixels = f"data_type: {_TRITON_TYPES[image.dtype]} dims: {[*batch, *image.graph_shape]}"
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {_TRITON_BATCH if is_free else 0}",
        f"input [{', '.join(inputs)}]",
        f'output [{{name: "{image.name}" {pixels}}}]',
    ]
    if is_free:
        lines.append("dynamic_batching {}")
    return "\n".join(lines) + "\n"


def _triton_input(name: str, dtype: str, dims: list[int]) -> str:
    # Triton does not support an input without axes. Such an input is declared with one axis of size 1, and
    # Triton reshapes it.
    shape = f"dims: {dims}" if dims else "dims: [1] reshape: {shape: []}"
    return f'{{name: "{name}" data_type: {_TRITON_TYPES[dtype]} {shape}}}'
