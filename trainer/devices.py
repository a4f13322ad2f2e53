"""TensorFlow, brought in quietly."""

from __future__ import annotations

import os
import sys

from runtime.stderr import captured_stderr


def load_tensorflow() -> None:
    """Import TensorFlow for the first time, without the dozen lines that its C++ part prints on the way.

    They say nothing that a user could act on. Where the import fails for another reason than a missing package, they are
    printed after all.

    Raises:
        ModuleNotFoundError: TensorFlow, or a package that it needs, is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with captured_stderr() as captured:
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs, and says so when it finds none
    except ModuleNotFoundError:
        raise
    except Exception:
        sys.stderr.write(captured.getvalue())
        raise
