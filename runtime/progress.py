"""A progress bar of one line, for commands that run without rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Item = TypeVar("_Item", npt.NDArray[np.uint8], int)

_DELAY = 1.0  # seconds before the bar is shown
_INTERVAL = 0.1  # seconds between two updates
_WIDTH = 30  # characters of the bar
_CLEAR = "\r\x1b[K"  # clears the line in a terminal


def with_progress(items: Iterator[_Item], count: int, done: int = 0) -> Iterator[_Item]:
    """Yield the items unchanged, and show a progress bar on a terminal after the first second.

    Args:
        items: Batches of images, or the number of images in each batch.
        count: Total number of images.
        done: Number of images that existed before this call.
    """
    started = last = time.perf_counter()
    already, is_shown = done, False
    try:
        for item in items:
            done += item if isinstance(item, int) else len(item)
            now = time.perf_counter()
            if now - started > _DELAY and now - last > _INTERVAL and sys.stderr.isatty():
                left = (now - started) / (done - already) * (count - done)
                full = round(_WIDTH * done / count)
                bar = "━" * full + " " * (_WIDTH - full)
                print(
                    f"{_CLEAR}{bar} {done:,} of {count:,}, {_clock(left)} left",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
                last, is_shown = now, True
            yield item
    finally:
        if is_shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
