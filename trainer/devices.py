"""TensorFlow, brought in quietly."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from runtime.errors import MissingPackageError


def load_tensorflow() -> None:
    """Import TensorFlow for the first time, without the dozen lines that its C++ part prints on the way.

    They say nothing that a user could act on. Where the import fails, they are printed after all.

    Raises:
        MissingPackageError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _held_back_stderr():
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs, and says so when it finds none
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "tensorflow", "training and export", "train") from error


@contextlib.contextmanager
def _held_back_stderr() -> Iterator[None]:
    """Keep what is written to file descriptor 2 (C++ does not go through sys.stderr), and print it only after an error."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except ModuleNotFoundError:
            raise
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
