"""Progress of a training run on a terminal, shown with the package rich."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.status import Status
from rich.table import Column

from ganport.runtime.arrays import Pixels

from .callbacks import MEASURE_LABELS, Callback, Metrics, TrainingStart
from .findings import Finding
from .remaining_time import RemainingTime, describe_duration
from .run_folder import RunFolder

_SETTLED_SECONDS = 10  # time of measured steps before the remaining time is printed
_WORTH_SAYING_SECONDS = 60  # a shorter remaining time is not printed


class TerminalProgress(Callback):
    """Shows a progress bar on a terminal, and prints one line per checkpoint to any other output.

    Args:
        console: Where to print.
        clock: Function that returns the time in seconds.

    Attributes:
        start: The facts of the run; None before the training begins.
        seconds: Duration of the training; 0 until the training ends.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self.start: TrainingStart | None = None
        self.seconds = 0.0
        self._console = console
        self._clock = clock
        self._started = 0.0
        self._metrics = "compiling"
        self._status: Status | None = None
        self._bar: Progress | None = None
        self._remaining = RemainingTime(clock)
        self._has_said_time = self._has_said_preview = False

    def on_stage(self, stage: str) -> None:
        """Show a spinner with the stage until the bar appears."""
        if self._bar is None:
            self._stop_status()
            self._status = self._console.status(stage)
            self._status.start()

    def on_start(self, start: TrainingStart) -> None:
        """Print the recipe, the data and the devices, and show the bar."""
        self._stop_status()
        self.start, self._started = start, self._clock()
        self._remaining.on_start(start)
        self._print(_describe(start))
        steps, first = start.recipe.steps, start.first_step
        self._bar = Progress(
            BarColumn(bar_width=None),
            # On a narrow terminal, the metrics are cut and not the number of steps.
            MofNCompleteColumn(table_column=Column(min_width=len(f"{steps}/{steps}"), no_wrap=True)),
            TextColumn("{task.fields[metrics]}"),
            TextColumn(
                "{task.fields[remaining]}",
                table_column=Column(min_width=len("about 44 min left"), no_wrap=True),
            ),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )
        self._task = self._bar.add_task("", total=steps, completed=first, metrics=self._metrics, remaining="")
        self._bar.start()

    def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Update the bar and the metrics beside it."""
        self._metrics = (
            f"D {metrics['d_loss']:.3f}  G {metrics['g_loss']:.3f}  "
            f"D acc {metrics['d_accuracy']:.0%}  {images_per_second:,.0f} images/s"
        )
        self._remaining.on_steps(step, metrics, images_per_second)
        self._say_time(images_per_second)
        if self._bar:
            remaining = self._remaining.describe()
            self._bar.update(self._task, completed=step, metrics=self._metrics, remaining=remaining)

    def on_checkpoint(self, step: int, preview: Pixels, measures: Metrics) -> None:
        """Print the path of the first preview; and, without a bar, the metrics and distances."""
        self._remaining.on_checkpoint(step, preview, measures)
        if not self.start:
            return
        steps = self.start.recipe.steps
        if not self._console.is_terminal:
            distances = [
                f"{label} {measures[name]:.3f}" for name, label in MEASURE_LABELS.items() if name in measures
            ]
            facts = [f"step {step:,} of {steps:,}", self._metrics, *distances, self._remaining.describe()]
            self._print("  ".join(fact for fact in facts if fact))
        if not self._has_said_preview and step < steps:
            self._has_said_preview = True
            self._print(f"first preview: {RunFolder(self.start.run.path).preview_file(step)}")

    def on_finding(self, finding: Finding) -> None:
        """Print what goes wrong, and what to do."""
        self._print(str(finding), style="yellow")

    def on_note(self, line: str) -> None:
        """Print the line."""
        self._print(line)

    def on_warning(self, message: str) -> None:
        """Print the warning."""
        self._print(f"warning: {message}", style="yellow")

    def on_end(self) -> None:
        """Remove the spinner and the bar, and store the duration of the training."""
        self._stop_status()
        if self._bar:
            self._bar.stop()
            self.seconds = self._clock() - self._started

    def _say_time(self, images_per_second: float) -> None:
        """Print once how long the training will take, when the estimate has settled."""
        seconds = self._remaining.seconds
        if self._has_said_time or seconds is None or self._remaining.measured_seconds < _SETTLED_SECONDS:
            return
        self._has_said_time = True
        if seconds >= _WORTH_SAYING_SECONDS:
            self._print(f"about {describe_duration(seconds)} to go, at {images_per_second:,.0f} images/s")

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
