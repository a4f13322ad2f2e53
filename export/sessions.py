"""Sessions of graphs that are not written yet."""

from __future__ import annotations

import onnx
import onnxruntime as ort


def open_on_cpu(model: onnx.ModelProto) -> ort.InferenceSession:
    """Return a plain onnxruntime session of the model, without the runtime's checks and settings."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and need not be printed, too
    options.enable_cpu_mem_arena = False  # several graphs are open at once, and an arena never shrinks
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
