"""The packages that only the export needs: TensorFlow, Keras, onnx, onnxruntime and tf2onnx."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from ganport.runtime.errors import MissingPackageError
from ganport.trainer.devices import load_tensorflow

from .errors import KerasBackendError


def load_packages() -> None:
    """Import TensorFlow, Keras, onnx, onnxruntime and tf2onnx. This takes several seconds.

    Raises:
        MissingPackageError: One of these packages is not installed. The message has the command that installs
            it.
        KerasBackendError: Keras uses a backend other than TensorFlow.
    """
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


def newest_opset() -> tuple[int, str]:
    """Return the newest opset that the installed onnx knows, and the version of onnx.

    Raises:
        MissingPackageError: onnx is not installed.
    """
    with _install_line():
        import onnx
    return onnx.defs.onnx_opset_version(), onnx.__version__


@contextlib.contextmanager
def _install_line() -> Iterator[None]:
    """Raise MissingPackageError, whose message has the install command, if an import in the block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "a package", "export", "export") from error
