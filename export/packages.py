"""The packages that only the export needs: TensorFlow, Keras, onnx, onnxruntime and tf2onnx."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator

from ganport.runtime.errors import MissingPackageError
from ganport.runtime.providers import onnxruntime_errors
from ganport.trainer.devices import load_tensorflow

from .errors import KerasBackendError


def load_packages(*, tensorflow: bool = True) -> None:
    """Import TensorFlow, Keras, onnx, onnxruntime and tf2onnx. This takes several seconds.

    Args:
        tensorflow: Whether TensorFlow, Keras and tf2onnx are imported. The export of an ONNX file needs only
            onnx and onnxruntime.

    Raises:
        MissingPackageError: One of these packages is not installed. The message has the command that installs
            it.
        KerasBackendError: Keras uses a backend other than TensorFlow.
    """
    if not tensorflow:
        with _install_line():
            import onnx
            import onnxruntime
        return
    chosen = os.environ.get("KERAS_BACKEND", "")
    if chosen not in ("", "tensorflow") and "keras" not in sys.modules:
        raise KerasBackendError(chosen)
    load_tensorflow("export", "export")
    with _install_line():
        import keras
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    if keras.backend.backend() != "tensorflow":
        raise KerasBackendError(keras.backend.backend())


@functools.cache
def newest_opset() -> tuple[int, str]:
    """Return the newest opset that onnx can write and onnxruntime can run, and a text with both versions.

    onnx often knows an opset earlier than onnxruntime does. onnxruntime has no function that returns its
    newest opset. So this function tries to open a model of one node at each opset, the newest opset first.

    Raises:
        MissingPackageError: onnx or onnxruntime is not installed.
    """
    with _install_line():
        import onnx
        import onnxruntime
    packages = f"onnx {onnx.__version__} and onnxruntime {onnxruntime.__version__}"
    newest = onnx.defs.onnx_opset_version()
    return next(opset for opset in range(newest, 0, -1) if _runs(opset)), packages


def _runs(opset: int) -> bool:
    """Return whether onnxruntime opens a model of one node at an opset."""
    import onnxruntime
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y"))
    graph = helper.make_graph([node], "one_node", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # onnxruntime then prints no error for an opset that it does not run
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except onnxruntime_errors():
        return False
    return True


@contextlib.contextmanager
def _install_line() -> Iterator[None]:
    """Raise MissingPackageError if a package that the `with` block imports is not installed.

    The message of the error contains the command that installs the package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "a package", "export", "export") from error
