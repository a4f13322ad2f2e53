"""Charts of a run: its curves, and an animation of its previews. This module imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from ganport.runtime.arrays import Pixels
from ganport.runtime.files import replacing
from ganport.runtime.writers import write_animation

from .run_folder import FRECHET_DISTANCE, PIXEL_DISTANCE, RunFolder

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
)


def draw_curves(run: RunFolder) -> None:
    """Write curves.png, a chart of losses, accuracy and distances by step. Raises OutputError."""
    # The import takes a second, so it is made only here. Unlike pyplot, Figure does not look for a display.
    from matplotlib.figure import Figure

    history = run.read_history()
    is_evaluated = any(FRECHET_DISTANCE in line for line in history)
    panels = _PANELS if is_evaluated else _PANELS[:-1]
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
    with replacing(run.curves_file) as temporary:
        figure.savefig(temporary, dpi=100)


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
