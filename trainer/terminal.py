"""Progress of a training run on a terminal, shown with the package rich."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status

from ganport.runtime.arrays import Pixels

from .callbacks import MEASURE_LABELS, Callback, Metrics, TrainingStart


class TerminalProgress(Callback):
    """Shows a progress bar on a terminal, and prints one line per checkpoint to any other output.

    Attributes:
        start: The facts of the run; None before the training begins.
        seconds: Duration of the training; 0 until the training ends.
    """

    def __init__(self, console: Console) -> None:
        self.start: TrainingStart | None = None
        self.seconds = 0.0
        self._console = console
        self._started = 0.0
        self._metrics = "compiling"
        self._status: Status | None = None
        self._bar: Progress | None = None

    def on_stage(self, stage: str) -> None:
        """Show a spinner with the stage until the bar appears."""
        if self._bar is None:
            self._stop_status()
            self._status = self._console.status(stage)
            self._status.start()

    def on_start(self, start: TrainingStart) -> None:
        """Print the recipe, the data and the devices, and show the bar."""
        self._stop_status()
        self.start, self._started = start, time.perf_counter()
        self._print(_describe(start))
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )
        self._task = self._bar.add_task(
            "training", total=start.recipe.steps, completed=start.first_step, metrics=self._metrics
        )
        self._bar.start()

    def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Update the bar and the metrics beside it."""
        self._metrics = (
            f"D {metrics['d_loss']:.3f}  G {metrics['g_loss']:.3f}  "
            f"D acc {metrics['d_accuracy']:.0%}  {images_per_second:,.0f} images/s"
        )
        if self._bar:
            self._bar.update(self._task, completed=step, metrics=self._metrics)

    def on_checkpoint(self, step: int, preview: Pixels, measures: Metrics) -> None:
        """Print a line with the metrics and distances, unless the output is a terminal with a bar."""
        if not self._console.is_terminal and self.start:
            distances = "  ".join(f"{MEASURE_LABELS[name]} {value:.3f}" for name, value in measures.items())
            self._print(f"step {step:,} of {self.start.recipe.steps:,}  {self._metrics}  {distances}")

    def on_warning(self, message: str) -> None:
        """Print the warning."""
        self._print(f"warning: {message}", style="yellow")

    def on_end(self) -> None:
        """Remove the spinner and the bar, and store the duration of the training."""
        self._stop_status()
        if self._bar:
            self._bar.stop()
            self.seconds = time.perf_counter() - self._started

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)

    def _stop_status(self) -> None:
        if self._status:
            self._status.stop()
            self._status = None


def _describe(start: TrainingStart) -> str:
    recipe, data = start.recipe, start.data
    height, width, channels = recipe.image_shape
    if start.first_step == recipe.steps:
        steps = f"complete at step {recipe.steps:,}"
    elif start.first_step:
        steps = f"from step {start.first_step:,} to {recipe.steps:,}"
    else:
        steps = f"{recipe.steps:,} steps"
    device = f"{start.device} in bfloat16" if recipe.mixed_precision else start.device
    return (
        f"{recipe.name}: {data.count:,} images of {height}x{width}x{channels} ({data.name}), "
        f"batch {recipe.batch_size}, {steps}, on {device} -> {start.run.path}"
    )
