"""Who watches a run: a person at a terminal, and TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ganport.runtime.errors import MissingPackageError

Metrics = Mapping[str, float]


class Observer(Protocol):
    """What a run tells, and when."""

    def began(self, step: int) -> None:
        """Hear that the networks are there, with the weights of this step."""

    def advanced(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Hear, about once a second, that some steps were made; the metrics are the mean over them."""

    def logged(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Hear that a line was added to the history."""

    def saved(self, step: int, grid: npt.NDArray[np.uint8], measured: Metrics) -> None:
        """Hear that a checkpoint and a preview were written, and how far its images are from real ones."""

    def warned(self, message: str) -> None:
        """Hear that something is not as it should be; the run goes on."""


class Report:
    """A progress bar on a terminal, a line now and then elsewhere; a context manager."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps = console, steps
        self._live = console.is_terminal
        self._numbers = "compiling"
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not self._live,
            expand=True,
        )
        self._task = self._bar.add_task("training", total=steps, numbers=self._numbers)

    def __enter__(self) -> Report:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def began(self, step: int) -> None:
        """See Observer."""
        self._bar.update(self._task, completed=step)

    def advanced(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """See Observer."""
        self._numbers = (
            f"D {metrics['d_loss']:.3f}  G {metrics['g_loss']:.3f}  "
            f"D right {metrics['d_accuracy']:.0%}  {images_per_second:,.0f} images/s"
        )
        self._bar.update(self._task, completed=step, numbers=self._numbers)

    def logged(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """See Observer. The bar has said it already."""

    def saved(self, step: int, grid: npt.NDArray[np.uint8], measured: Metrics) -> None:
        """See Observer. Without a terminal, the one line that is printed."""
        if not self._live:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in measured.items())
            text = f"step {step:,} of {self._steps:,}  {self._numbers}  {shown}"
            self._console.print(text, highlight=False, soft_wrap=True)

    def warned(self, message: str) -> None:
        """See Observer."""
        self._console.print(f"warning: {message}", style="yellow", highlight=False, soft_wrap=True, markup=False)


class TensorBoard:
    """Writes losses, speed and previews for TensorBoard; a context manager. Raises MissingPackageError where it is missing."""

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboard  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingPackageError("tensorboard", "--tensorboard", "tensorboard") from error
        import tensorflow as tf

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def began(self, step: int) -> None:
        """See Observer."""

    def advanced(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """See Observer."""

    def logged(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """See Observer."""
        with self._writer.as_default(step):
            for name, value in {**metrics, "images_per_second": images_per_second}.items():
                self._summary.scalar(name, value)

    def saved(self, step: int, grid: npt.NDArray[np.uint8], measured: Metrics) -> None:
        """See Observer."""
        with self._writer.as_default(step):
            self._summary.image("preview", grid[np.newaxis])
            for name, value in measured.items():
                self._summary.scalar(name, value)
        self._writer.flush()

    def warned(self, message: str) -> None:
        """See Observer."""
