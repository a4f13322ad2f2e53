"""Pictures of a run: its curves, and how its previews came to be. No TensorFlow."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ganport.runtime.files import replacing
from ganport.runtime.writers import write_animation

from .runs import Run

_FRAMES = 60  # at most
_FRAME_PIXELS = 512  # a side, at most
_SECONDS_PER_FRAME = 0.1
_LAST_SECONDS = 2.0

_PANELS = (
    (("d_loss", "discriminator"), ("g_loss", "generator"), "loss"),
    (("d_accuracy", "told apart"), None, "discriminator's accuracy"),
    (("distance", "to real images"), None, "distance"),
    (("frechet", "in a classifier's features"), None, "Fréchet distance"),
)


def draw_curves(run: Run) -> None:
    """Write curves.png: losses, accuracy and distances by step. Raises OutputError."""
    from matplotlib.figure import Figure  # a second, so only here; without pyplot, which would look for a display

    history = run.read_history()
    shown = _PANELS if any("frechet" in line for line in history) else _PANELS[:-1]
    figure = Figure(figsize=(9, 3 * len(shown) - 1), layout="constrained")
    panels = figure.subplots(len(shown), 1, sharex=True)
    for axes, (first, second, label) in zip(panels, shown, strict=True):
        for curve in filter(None, (first, second)):
            points = [(line["step"], line[curve[0]]) for line in history if curve[0] in line]
            axes.plot(*zip(*points, strict=True) if points else ([], []), label=curve[1], linewidth=1.2)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if second:
            axes.legend(frameon=False)
    panels[1].set_ylim(0, 1)
    for axes in panels[2:]:
        axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("step")
    with replacing(run.curves_file) as temporary:
        figure.savefig(temporary, dpi=100)


def draw_progress(run: Run) -> None:
    """Write progress.gif: the previews one after the other. Raises OutputError."""
    previews = sorted(run.preview_file(0).parent.glob("step-*.png"))
    chosen = sorted({round(place) for place in np.linspace(0, len(previews) - 1, min(_FRAMES, len(previews)))})
    frames = [_shrunk(previews[place]) for place in chosen]
    seconds = [*itertools.repeat(_SECONDS_PER_FRAME, len(frames) - 1), _LAST_SECONDS]
    write_animation(frames, seconds, run.progress_file)


def _shrunk(file: Path) -> npt.NDArray[np.uint8]:
    with Image.open(file) as picture:
        picture.thumbnail((_FRAME_PIXELS, _FRAME_PIXELS))
        pixels = np.asarray(picture, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
