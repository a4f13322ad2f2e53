"""How far a command is: one line on a terminal, from the second second on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Drawn = TypeVar("_Drawn", npt.NDArray[np.uint8], int)

_PATIENCE = 1.0  # seconds before the first line
_PACE = 0.1  # seconds from line to line
_WIDTH = 30  # characters of the bar
_CLEAR = "\r\x1b[K"


def shown(items: Iterator[_Drawn], count: int, done: int = 0) -> Iterator[_Drawn]:
    """Yield batches of images, or numbers of them, and show on a terminal how many there are of a count.

    Args:
        items: batches, or how many images came to it.
        count: of all images.
        done: of those that were there before.
    """
    started = last = time.perf_counter()
    already, is_shown = done, False
    try:
        for item in items:
            done += item if isinstance(item, int) else len(item)
            now = time.perf_counter()
            if now - started > _PATIENCE and now - last > _PACE and sys.stderr.isatty():
                left = (now - started) / (done - already) * (count - done)
                full = round(_WIDTH * done / count)
                bar = "━" * full + " " * (_WIDTH - full)
                print(f"{_CLEAR}{bar} {done:,} of {count:,}, {_clock(left)} left", end="", file=sys.stderr, flush=True)
                last, is_shown = now, True
            yield item
    finally:
        if is_shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
