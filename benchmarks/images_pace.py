"""The number of training steps that fit into a number of minutes of CPU time.

    python -m benchmarks.images_pace '{"recipe": "photos", "image_size": 64}' 30

The arguments are those of `ganport.train` and the minutes. The program trains a few steps in a folder that is
removed, measures their CPU time, divides it by the number of cores, and prints the options of `ganport
train`. The number of steps follows from the speed as for `ganport train --minutes`. CPU time hardly depends
on other programs of the machine, so a comparison is possible while they run.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import ganport
from ganport.runtime.cores import usable_cores
from ganport.runtime.errors import GanportError
from ganport.trainer.callbacks import Callback, Metrics, TrainingStart

TRIAL_STEPS = 160


class CpuClock(Callback):
    """The CPU time of this process at each event of a training."""

    def __init__(self) -> None:
        self.start: TrainingStart | None = None
        self.events: list[tuple[int, float]] = []  # steps and seconds

    def on_start(self, start: TrainingStart) -> None:
        self.start = start

    def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
        self.events.append((step, time.process_time() / usable_cores()))

    def steps_per_second(self) -> float:
        """Return the speed after the first event, which includes the compilation."""
        (first, before), (last, after) = self.events[0], self.events[-1]
        return (last - first) / (after - before)


def main() -> None:
    """Print the options of `ganport train` as a JSON list."""
    arguments, minutes = json.loads(sys.argv[1]), float(sys.argv[2])
    clock = CpuClock()
    with tempfile.TemporaryDirectory() as name:
        # One checkpoint, after the last step, does not disturb the measurement.
        ganport.train(
            **arguments,
            out=Path(name) / "run",
            steps=TRIAL_STEPS,
            preview_interval=TRIAL_STEPS,
            callbacks=[clock],
        )
    from ganport.trainer.pace import Pace, fit_to_minutes

    assert clock.start is not None
    recipe, speed = clock.start.recipe, clock.steps_per_second()
    fitted = fit_to_minutes(recipe, Pace(speed, speed * recipe.batch_size), minutes)
    print(json.dumps(["--steps", fitted.steps, "--preview-interval", fitted.preview_interval]))


if __name__ == "__main__":
    try:
        main()
    except GanportError as error:
        sys.exit(f"error: {error}")
