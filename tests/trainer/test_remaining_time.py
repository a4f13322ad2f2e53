"""The estimate of how long a run still takes, on a clock that the tests set."""

import dataclasses

import numpy as np
import pytest

from ganport.trainer.callbacks import TrainingStart
from ganport.trainer.recipes import load_recipe
from ganport.trainer.remaining_time import RemainingTime, describe_duration

PREVIEW = np.zeros((2, 2, 1), np.uint8)


class Simulation:
    """A training run on a clock of its own: every chunk of steps and every checkpoint takes some seconds."""

    def __init__(self, *, steps, preview_interval, evaluate_interval=0, first_step=0):
        settings = {"steps": steps, "preview_interval": preview_interval}
        recipe = dataclasses.replace(load_recipe("digits"), evaluate_interval=evaluate_interval, **settings)
        self.now, self.step, self.estimates = 0.0, first_step, []
        self.remaining = RemainingTime(clock=lambda: self.now)
        self.remaining.on_start(TrainingStart(None, recipe, None, "CPU", first_step))

    def chunk(self, steps, seconds):
        self.now, self.step = self.now + seconds, self.step + steps
        self.remaining.on_steps(self.step, {}, 1.0)
        if self.remaining.seconds is not None:
            self.estimates.append((self.now, self.remaining.seconds))

    def checkpoint(self, seconds, *, is_evaluated=False):
        self.now += seconds
        self.remaining.on_checkpoint(
            self.step, PREVIEW, {"distance": 1.0, **({"frechet": 1.0} if is_evaluated else {})}
        )


def test_estimate_is_the_time_of_steps_and_checkpoints():
    run = Simulation(steps=1000, preview_interval=100)
    run.chunk(1, 30)  # the first chunk includes preparations, and is not counted
    for _ in range(11):
        run.chunk(9, 3)
    run.checkpoint(20)
    run.chunk(100, 33)
    assert run.remaining.seconds == pytest.approx(800 / 3 + 8 * 20, rel=0.02)


def test_there_is_no_estimate_in_the_first_seconds():
    run = Simulation(steps=1000, preview_interval=100)
    assert run.remaining.describe() == ""
    run.chunk(1, 30)
    run.chunk(1, 1)
    assert run.remaining.seconds is None
    run.chunk(3, 3)
    assert run.remaining.describe() == "about 17 min left"


def test_estimate_counts_down_without_swings_although_the_machine_is_unsteady():
    """A chunk takes 0.5 to 2 seconds, and a preview takes a minute. The estimate of the end hardly moves."""
    rng = np.random.default_rng(0)
    run = Simulation(steps=10_000, preview_interval=500)
    for step in range(10, 10_001, 10):
        run.chunk(10, rng.choice([0.5, 1, 2]))
        if step % 500 == 0:
            run.checkpoint(60)
    total = run.now
    ends = [now + left for now, left in run.estimates if now > 0.2 * total]
    assert min(ends) > 0.9 * total
    assert max(ends) < 1.1 * total


def test_estimate_follows_a_lasting_change_of_speed():
    run = Simulation(steps=10_000, preview_interval=10_000)
    for _ in range(300):
        run.chunk(1, 1)
    for _ in range(500):
        run.chunk(1, 3)
    assert run.remaining.seconds == pytest.approx(9_200 * 3, rel=0.05)


def test_checkpoints_with_and_without_a_frechet_distance_are_separate():
    run = Simulation(steps=1200, preview_interval=100, evaluate_interval=300)
    run.chunk(1, 1)
    for step in range(100, 700, 100):
        run.chunk(99 if step == 100 else 100, 10)
        run.checkpoint(40 if step % 300 == 0 else 5, is_evaluated=step % 300 == 0)
    # Steps 700 to 1200: two checkpoints with a Fréchet distance and four without.
    assert run.remaining.seconds == pytest.approx(60 + 2 * 40 + 4 * 5, rel=0.02)


def test_resumed_run_is_estimated_from_its_own_steps():
    run = Simulation(steps=1000, preview_interval=1000, first_step=900)
    run.chunk(1, 5)
    run.chunk(9, 9)
    assert run.remaining.seconds == pytest.approx(90)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.4, "0 s"), (119.6, "120 s"), (121, "2 min"), (44 * 60 + 8, "44 min"), (5400, "1 h 30 min")),
        *((3 * 3600, "3 h"), (3 * 3600 + 5 * 60, "3 h"), (3600 * 23.98, "24 h"), (3600 * 49, "49 h")),
    ],
)
def test_duration_is_rounded_for_people(seconds, text):
    assert describe_duration(seconds) == text
