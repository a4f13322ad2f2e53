"""RemainingTime: an estimate of how long a training run still takes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

from ganport.runtime.arrays import Pixels

from .callbacks import Callback, Metrics, TrainingStart
from .recipe import Recipe
from .run_folder import FRECHET_DISTANCE

_MEMORY_SECONDS = 300  # time after which a past speed counts 1/e
_LEAST_SECONDS = 3  # time of measured steps before there is an estimate


class RemainingTime(Callback):
    """An estimate of how long a training run still takes, from the events of its progress.

    Steps and checkpoints are estimated separately, so that the estimate neither jumps at a checkpoint nor
    forgets its time between two checkpoints. The speed of the steps is the mean over the last minutes, with
    weights that decrease exponentially. A checkpoint takes the median time of the previous ones. Checkpoints
    with and without the measures of `evaluate_interval` are separate, because these take longer.

    Args:
        clock: Function that returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._recipe: Recipe | None = None
        self._clock = clock
        self._step = 0
        self._changed: float | None = None  # time of the last event; None before the first chunk of steps
        self._steps = self._seconds = 0.0  # sums with decreasing weights
        # The seconds of the previous checkpoints, by whether they have the measures of `evaluate_interval`.
        self._costs: dict[bool, list[float]] = {False: [], True: []}

    def on_start(self, start: TrainingStart) -> None:
        """Receive the recipe."""
        self._recipe, self._step = start.recipe, start.first_step

    def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        """Receive the number of the newest step. The first call only starts the clock.

        The first chunk of steps takes longer than the others, because TensorFlow prepares its operations.
        """
        now = self._clock()
        if self._changed is not None:
            elapsed = now - self._changed
            weight = math.exp(-elapsed / _MEMORY_SECONDS)
            self._steps = self._steps * weight + step - self._step
            self._seconds = self._seconds * weight + elapsed
        self._step, self._changed = step, now

    def on_checkpoint(self, step: int, preview: Pixels, measures: Metrics) -> None:
        """Receive the end of a checkpoint, which took the time since the last event."""
        now = self._clock()
        if self._changed is not None:
            is_evaluated = FRECHET_DISTANCE in measures
            self._costs[is_evaluated].append(now - self._changed)
            self._changed = now

    @property
    def measured_seconds(self) -> float:
        """The seconds of steps from which the speed is estimated, at most about five minutes."""
        return self._seconds

    @property
    def seconds(self) -> float | None:
        """The estimate in seconds; None in the first seconds of a run."""
        if self._recipe is None or self._seconds < _LEAST_SECONDS or not self._steps:
            return None
        evaluated, plain = _checkpoints_after(self._recipe, self._step)
        left = (self._recipe.steps - self._step) * self._seconds / self._steps
        return left + evaluated * self._cost(is_evaluated=True) + plain * self._cost(is_evaluated=False)

    def describe(self) -> str:
        """Return the estimate as a text, such as "about 44 min left"; empty if there is none or it is 0."""
        seconds = self.seconds
        return f"about {describe_duration(seconds)} left" if seconds else ""

    def _cost(self, *, is_evaluated: bool) -> float:
        """Return the seconds of a checkpoint; those of the other kind if this kind is not known yet."""
        costs = self._costs[is_evaluated] or self._costs[not is_evaluated]
        return statistics.median(costs) if costs else 0.0


def _checkpoints_after(recipe: Recipe, step: int) -> tuple[int, int]:
    """Return the number of checkpoints after a step that are evaluated, and of the others."""
    plain, interval = _multiples(step, recipe.steps, recipe.preview_interval), recipe.evaluate_interval
    if not interval:
        return 0, plain
    common = math.lcm(recipe.preview_interval, interval)
    return _multiples(step, recipe.steps, interval), plain - _multiples(step, recipe.steps, common)


def _multiples(first: int, last: int, interval: int) -> int:
    """Return the number of multiples of the interval in first + 1 .. last."""
    return last // interval - first // interval


def describe_duration(seconds: float) -> str:
    """Return a duration, rounded for people.

    >>> [describe_duration(each) for each in (8, 100, 2630, 13_300, 200_000)]
    ['8 s', '100 s', '44 min', '3 h 40 min', '56 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes >= 24 * 60:
        return f"{round(minutes / 60)} h"
    hours, rest = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
