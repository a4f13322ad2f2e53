"""Progress of a training run in a notebook: a bar, and the newest preview."""

from __future__ import annotations

import html
import sys
from typing import Any

from ganport.runtime.arrays import Pixels
from ganport.runtime.png import encode_png

from .callbacks import MEASURE_LABELS, Callback, Metrics, TrainingStart
from .findings import Finding
from .remaining_time import RemainingTime


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


class NotebookProgress(Callback):
    """Shows a progress bar and the newest preview below the cell of a notebook; elsewhere shows nothing."""

    def __init__(self) -> None:
        self._is_shown = in_notebook()
        self._bar: Any = None  # handle of the bar's display, from IPython; None until the bar is shown
        self._preview: Any = None  # handle of the preview's display
        self._title = self._stage = self._distances = ""
        self._step = self._steps = 0
        self._remaining = RemainingTime()

    def on_stage(self, stage: str) -> None:
        """Show the name of the stage."""
        self._stage = stage
        self._show_bar()

    def on_start(self, start: TrainingStart) -> None:
        """Show the bar."""
        self._title = f"{start.recipe.name} on {start.data.name}, {start.device}"
        self._step, self._steps = start.first_step, start.recipe.steps
        self._remaining.on_start(start)
        self._show_bar()

    def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Update the bar and the metrics below it."""
        self._step = step
        self._remaining.on_steps(step, metrics, images_per_second)
        self._stage = (
            f"D loss {metrics['d_loss']:.3f}, G loss {metrics['g_loss']:.3f}, "
            f"D accuracy {metrics['d_accuracy']:.0%}, {images_per_second:,.0f} images/s"
        )
        self._show_bar()

    def on_checkpoint(self, step: int, preview: Pixels, measures: Metrics) -> None:
        """Show the preview and the distances."""
        self._remaining.on_checkpoint(step, preview, measures)
        self._distances = ", ".join(
            f"{label} {measures[name]:.3f}" for name, label in MEASURE_LABELS.items() if name in measures
        )
        self._show_bar()
        if self._is_shown:
            from IPython.display import Image

            self._preview = _show(self._preview, Image(data=encode_png(preview), format="png"))

    def on_finding(self, finding: Finding) -> None:
        """Print what goes wrong, and what to do."""
        if self._is_shown:
            print(finding)  # noqa: T201

    def on_note(self, line: str) -> None:
        """Print the line."""
        if self._is_shown:
            print(line)  # noqa: T201

    def on_warning(self, message: str) -> None:
        """Print the warning."""
        if self._is_shown:
            print(f"warning: {message}")  # noqa: T201

    def _show_bar(self) -> None:
        if self._is_shown:
            from IPython.display import HTML

            self._bar = _show(self._bar, HTML(self._to_html()))

    def _to_html(self) -> str:
        if not self._steps:
            return html.escape(self._stage)
        progress = f"step {self._step:,} of {self._steps:,}"
        facts = [progress, self._remaining.describe(), self._stage, self._distances]
        line = html.escape("; ".join(fact for fact in facts if fact))
        bar = f'<progress value="{self._step}" max="{self._steps}" style="width: 30em"></progress>'
        return f"{html.escape(self._title)}<br>{bar}<br>{line}"


def _show(handle: Any, content: Any) -> Any:
    """Show content in a notebook, and return IPython's handle of the display.

    If `handle` is None, a new display is created. Otherwise the content replaces what is shown in the display
    of this handle.
    """
    from IPython.display import display

    if handle is None:
        return display(content, display_id=True)
    handle.update(content)
    return handle
