"""A callback that writes logs for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganport.runtime.arrays import Pixels
from ganport.runtime.errors import MissingPackageError

from .callbacks import Callback, Metrics


class TensorBoardLogs(Callback):
    """Callback that writes losses, speed, distances and previews for TensorBoard.

    Raises:
        MissingPackageError: The package tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboard  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingPackageError("tensorboard", "`tensorboard=True`", "tensorboard") from error
        import tensorflow as tf

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_log(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Write the metrics and the speed."""
        with self._writer.as_default(step):
            for name, value in {**metrics, "images_per_second": images_per_second}.items():
                self._summary.scalar(name, value)

    def on_checkpoint(self, step: int, preview: Pixels, measures: Metrics) -> None:
        """Write the preview and the distances."""
        with self._writer.as_default(step):
            self._summary.image("preview", preview[np.newaxis])
            for name, value in measures.items():
                self._summary.scalar(name, value)
        self._writer.flush()

    def on_end(self) -> None:
        """Close the log file."""
        self._writer.close()
