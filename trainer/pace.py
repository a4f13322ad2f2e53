"""Pace: how many steps this machine makes in a given time, measured before a run begins."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time

import tensorflow as tf

from ganport.datasets.dataset import Dataset
from ganport.runtime.errors import UsageError

from .devices import Devices
from .feeds import open_feed
from .networks import build_networks
from .recipe import Recipe
from .step import compile_chunk

_MEASURED_SECONDS = 5.0  # time for which steps are measured
_LEAST_CHUNKS = 3  # number of chunks that are measured even if they take longer
_FIRST_CHUNKS = (
    2  # number of chunks before the measurement; TensorFlow chooses its kernels in the first steps
)
_START_SECONDS = 10.0  # time for compiling the step
_SHARE_OF_STEPS = 0.95  # share of the time that is left for steps, beside previews and measures
_MOST_CHECKPOINTS = 20  # number of checkpoints of a run of 20 minutes or more; shorter runs have one a minute
_FEWEST_STEPS = 200  # with fewer steps, the images show nothing yet


@dataclasses.dataclass(frozen=True)
class Pace:
    """The speed of a training on this machine.

    Attributes:
        steps_per_second: Median speed of the measured steps.
        images_per_second: The same in real images.
    """

    steps_per_second: float
    images_per_second: float

    def seconds(self, steps: int) -> float:
        """Return the time that a number of steps takes."""
        return steps / self.steps_per_second


def fit_to_minutes(
    recipe: Recipe,
    pace: Pace,
    minutes: float,
    *,
    keeps_previews: bool = False,
    keeps_measures: bool = False,
) -> Recipe:
    """Return a recipe with as many steps as can be made in a number of minutes, with its checkpoints.

    Args:
        recipe: The recipe.
        pace: The speed.
        minutes: The time.
        keeps_previews: Whether the preview interval stays; by default it fits the number of steps.
        keeps_measures: Whether the interval of the Fréchet distance stays; by default the distance, if the
            recipe measures it, is measured at every preview.

    Raises:
        UsageError: The time is too short.
    """
    seconds = minutes * 60 * _SHARE_OF_STEPS - _START_SECONDS
    steps = int(seconds * pace.steps_per_second)
    if steps < _FEWEST_STEPS:
        needed = (_FEWEST_STEPS / pace.steps_per_second + _START_SECONDS) / _SHARE_OF_STEPS / 60
        raise UsageError(
            f"`minutes` is {minutes:g}, which is enough for {max(0, steps)} steps at this speed; give "
            f"{math.ceil(needed)} or more, or smaller images."
        )
    preview = recipe.preview_interval
    if not keeps_previews:
        preview = math.ceil(steps / min(_MOST_CHECKPOINTS, max(1, round(minutes))))
    evaluation = recipe.evaluate_interval
    if evaluation and not keeps_measures:
        evaluation = preview
    return dataclasses.replace(recipe, steps=steps, preview_interval=preview, evaluate_interval=evaluation)


def measure_pace(recipe: Recipe, data: Dataset, devices: Devices) -> Pace:
    """Return the speed of a recipe's training. It trains networks of its own for about five seconds.

    Args:
        recipe: The recipe, fitted to the data.
        data: The images.
        devices: The devices.
    """
    networks = build_networks(recipe, devices.strategy, data.count)
    chunk = compile_chunk(recipe, networks, data.count, devices.strategy)
    feed = open_feed(recipe, data, devices.strategy, 0)
    # A penalty is computed once in each interval, so a chunk has as many steps as the interval.
    size = min(recipe.penalty_interval, feed.chunk_steps)
    step = _FIRST_CHUNKS * size
    chunk(*feed.chunk(0, step), tf.constant(0), tf.constant(step)).numpy()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < _LEAST_CHUNKS or time.perf_counter() - started < _MEASURED_SECONDS:
        inputs = feed.chunk(step, step + size)
        before = time.perf_counter()
        chunk(*inputs, tf.constant(step), tf.constant(size)).numpy()
        times.append(time.perf_counter() - before)
        step += size
    speed = size / statistics.median(times)
    return Pace(speed, speed * recipe.batch_size)
