"""Charts of runs: the curves of one run or of several, and an animation of the previews of a run.

This module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from ganport.runtime.arrays import Pixels
from ganport.runtime.errors import UsageError
from ganport.runtime.files import replacing
from ganport.runtime.writers import write_animation

from .callbacks import MEASURE_LABELS
from .findings import COPIES, MEMORISING, VARIETY
from .history import History
from .run_folder import FRECHET_DISTANCE, PIXEL_DISTANCE, RunFolder

if TYPE_CHECKING:
    from .comparison import ComparedRun, Comparison

Axis = Literal["images", "time", "steps"]

_MOST_FRAMES = 60
_FRAME_PIXELS = 512  # largest side of a frame
_SECONDS_PER_FRAME = 0.1
_LAST_SECONDS = 2.0  # duration of the last frame


@dataclasses.dataclass(frozen=True)
class _Panel:
    """One chart of a figure.

    Attributes:
        axis: Label of the vertical axis.
        curves: Labels of the curves. Each key is the name of a metric in the history.
    """

    axis: str
    curves: dict[str, str]


_PANELS = (
    _Panel("loss", {"d_loss": "discriminator", "g_loss": "generator"}),
    _Panel("discriminator accuracy", {"d_accuracy": "accuracy"}),
    _Panel("pixel distance", {PIXEL_DISTANCE: "sliced Wasserstein"}),
    _Panel("Fréchet distance", {FRECHET_DISTANCE: "Fréchet"}),
    _Panel("share", {VARIETY: "variety", MEMORISING: "memorising", COPIES: "copies"}),
)


def draw_curves(run: RunFolder) -> None:
    """Write curves.png, a chart of losses, accuracy, distances and findings by step. Raises OutputError."""
    # The import takes a second, so it is made only here. Unlike pyplot, Figure does not look for a display.
    from matplotlib.figure import Figure

    history = run.read_history()
    names = {name for line in history for name in line}
    panels = [panel for panel in _PANELS if panel in _PANELS[:3] or names & set(panel.curves)]
    figure = Figure(figsize=(9, 3 * len(panels) - 1), layout="constrained")
    charts = figure.subplots(len(panels), 1, sharex=True)
    for axes, panel in zip(charts, panels, strict=True):
        for name, label in panel.curves.items():
            lines = [line for line in history if name in line]
            axes.plot(
                [line["step"] for line in lines], [line[name] for line in lines], label=label, linewidth=1.2
            )
        axes.set_ylabel(panel.axis)
        axes.grid(alpha=0.3)
        if len(panel.curves) > 1:
            axes.legend(frameon=False)
    charts[1].set_ylim(0, 1)
    for axes in charts[2:]:
        axes.set_ylim(bottom=0)
    charts[-1].set_xlabel("step")
    _mark_schedules(charts, History(history))
    _mark_findings(charts, History(history))
    with replacing(run.curves_file) as temporary:
        figure.savefig(temporary, dpi=100)


def _mark_schedules(charts: Any, history: History) -> None:
    """Draw a line at each step from which another schedule counts, with the steps of the schedule."""
    for step, steps in history.schedules:
        _mark(charts, 1, step, f"schedule of {steps:,} steps from here", "grey")


def _mark_findings(charts: Any, history: History) -> None:
    """Draw a line at each step at which something was found to go wrong, with its name."""
    for finding in history.findings:
        _mark(charts, 0, finding.step, finding.name, "tab:red")


def _mark(charts: Any, labelled: int, step: int, text: str, colour: str) -> None:
    """Draw a vertical line at a step in all charts, with a text beside it in one of them."""
    for axes in charts:
        axes.axvline(step, color=colour, linestyle="--", linewidth=1)
    charts[labelled].annotate(
        text,
        (step, 0),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        rotation=90,
        fontsize=7,
        color=colour,
    )


# Labels of the horizontal axis of a comparison, and the value in a point of a history that they stand for.
_AXES: Mapping[str, tuple[str, str]] = {
    "images": ("images seen", "images_seen"),
    "time": ("training time (minutes)", "seconds"),
    "steps": ("steps", "step"),
}
_LOSSES = {"d_loss": "discriminator loss", "g_loss": "generator loss"}
_LONGEST_NAME = 28  # characters of a run's name in the legend
_WINDOWS = 20  # a loss is drawn as the moving average over one part of the run in so many


def check_chart(path: Path, by: str) -> None:
    """Raise UsageError unless a path ends in .png and `by` is an axis of a comparison."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"`out` is {path}; it must end in .png.")
    if by not in get_args(Axis):
        raise UsageError(f"`by` is {by!r}; it must be one of {', '.join(get_args(Axis))}.")


def draw_comparison(comparison: Comparison, path: Path, by: str) -> None:
    """Write a chart of the measures and the losses of several runs, a PNG file. Raises OutputError.

    Each run has one colour. A dot marks its best measure. Curves of runs on other images are dashed. Losses
    vary much from line to line, so they are drawn as a moving average over a twentieth of the run.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    labels = {name: MEASURE_LABELS[name] for name in comparison.measures} | _LOSSES
    figure = Figure(figsize=(11, 2.4 * len(labels) + 0.4), layout="constrained")
    charts = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    palette = colormaps["tab10" if len(comparison.runs) <= 10 else "tab20"]
    for index, run in enumerate(comparison.runs):
        for axes, name in zip(charts, labels, strict=True):
            _draw_run(axes, run, name, by, palette(index))
    for axes, (name, label) in zip(charts, labels.items(), strict=True):
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if name not in _LOSSES:
            _scale(axes, [each.value for run in comparison.runs for each in run.history.values(name)])
    charts[-1].set_xlabel(_AXES[by][0])
    charts[-1].xaxis.set_major_formatter("{x:,.0f}" if by != "time" else "{x:,g}")
    figure.legend(handles=charts[0].get_lines(), loc="outside right upper", frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _draw_run(axes: Any, run: ComparedRun, name: str, by: str, colour: Any) -> None:
    points = [point for point in run.history.points() if name in point and _AXES[by][1] in point]
    unit = 60 if by == "time" else 1
    positions = np.array([point[_AXES[by][1]] / unit for point in points])
    values = np.array([point[name] for point in points])
    label = run.name if len(run.name) <= _LONGEST_NAME else f"...{run.name[3 - _LONGEST_NAME :]}"
    axes.plot(
        positions,
        values if name not in _LOSSES else _smooth(values),
        color=colour,
        linestyle="-" if run.is_comparable else "--",
        linewidth=1.4,
        label=label if run.is_comparable else f"{label}\n(other images)",
    )
    if name not in _LOSSES and len(values):
        best = int(np.argmin(values))
        axes.scatter(positions[best], values[best], color=[colour], s=28, zorder=3)


def _smooth(values: Any) -> Any:
    """Return the moving average over about a twentieth of the values, of the same length."""
    width = len(values) // _WINDOWS
    if width < 2:
        return values
    kernel = np.ones(width)
    # The ends average over the values that exist there.
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _scale(axes: Any, values: Sequence[float]) -> None:
    """Give an axis of a measure a logarithmic scale if its values differ much; else let it begin at zero."""
    if values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)


def draw_progress(run: RunFolder) -> None:
    """Write progress.gif, an animation of the previews. Raises OutputError."""
    previews = run.preview_files()
    count = min(_MOST_FRAMES, len(previews))
    chosen = sorted({round(index) for index in np.linspace(0, len(previews) - 1, count)})
    frames = [_shrink(previews[index]) for index in chosen]
    seconds = [*itertools.repeat(_SECONDS_PER_FRAME, len(frames) - 1), _LAST_SECONDS]
    write_animation(frames, seconds, run.progress_file)


def _shrink(file: Path) -> Pixels:
    """Return the image in a file, shrunk to at most 512 pixels per side, uint8 (height, width, channels)."""
    with Image.open(file) as image:
        image.thumbnail((_FRAME_PIXELS, _FRAME_PIXELS))
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
