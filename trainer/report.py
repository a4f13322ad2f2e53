"""What a person sees while a run goes on: a progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Report:
    """Shows the progress of one run; a context manager."""

    def __init__(self, console: Console, steps: int, first: int) -> None:
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
        self._task = self._bar.add_task("training", total=steps, completed=first, numbers=self._numbers)

    def __enter__(self) -> Report:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self, step: int, metrics: dict[str, float], images_per_second: float) -> None:
        """Show where the run is."""
        self._numbers = (
            f"D {metrics['d_loss']:.3f}  G {metrics['g_loss']:.3f}  "
            f"D right {metrics['d_accuracy']:.0%}  {images_per_second:,.0f} images/s"
        )
        self._bar.update(self._task, completed=step, numbers=self._numbers)

    def saved(self, step: int) -> None:
        """Say that a checkpoint and a preview were written; without a terminal, the one line that is printed."""
        if not self._live:
            self._console.print(f"step {step:,} of {self._steps:,}  {self._numbers}", highlight=False, soft_wrap=True)
