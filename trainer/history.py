"""History: what the lines of a run's history say about its progress, its time and its measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from .findings import Finding
from .run_folder import DECIDING, MEASURES

_SECONDS = "seconds"  # name, in the history, of the training time


@dataclasses.dataclass(frozen=True)
class Measured:
    """The value of a measure, and the step at which it was measured."""

    name: str
    value: float
    step: int


@dataclasses.dataclass(frozen=True)
class History:
    """The lines of a history, the oldest line first; see `RunFolder.read_history`."""

    lines: Sequence[dict[str, Any]]

    @property
    def step(self) -> int:
        """The newest step; 0 if the history is empty."""
        return max((int(line["step"]) for line in self.lines), default=0)

    @property
    def seconds(self) -> float | None:
        """The training time in seconds, over all sessions of the run; None if it was not recorded."""
        return self.newest(_SECONDS)

    def newest(self, name: str) -> float | None:
        """Return the newest value of a metric or a measure; None if there is none."""
        return next((float(line[name]) for line in reversed(self.lines) if name in line), None)

    def values(self, name: str) -> list[Measured]:
        """Return all values of a metric or a measure with their steps."""
        return [Measured(name, float(line[name]), line["step"]) for line in self.lines if name in line]

    def best(self, name: str) -> Measured | None:
        """Return the smallest value of a measure; None if it was not measured."""
        return min(self.values(name), key=lambda measured: measured.value, default=None)

    @property
    def deciding_measure(self) -> str | None:
        """The name of the measure that chooses the best checkpoint; None if nothing was measured."""
        return next((name for name in DECIDING if self.values(name)), None)

    @property
    def measures(self) -> list[str]:
        """The names of the measures that were measured."""
        return [name for name in MEASURES if self.values(name)]

    @property
    def findings(self) -> list[Finding]:
        """What was found to go wrong in the run, in the order in which it was noticed."""
        return [Finding.from_line(line) for line in self.lines if "finding" in line]

    @property
    def schedules(self) -> list[tuple[int, int]]:
        """The later changes of the schedule: the step from which it counts, and its number of steps."""
        return [(line["step"], line["steps"]) for line in self.lines if "steps" in line]

    def points(self) -> list[dict[str, float]]:
        """Return one dict for each step, with all metrics and measures of that step.

        The dict of a checkpoint has the number of images seen and the training time of the last line before
        it.
        """
        points: dict[int, dict[str, float]] = {}
        known: dict[str, float] = {}
        for line in self.lines:
            if "finding" in line:
                continue
            known |= {name: line[name] for name in ("images_seen", _SECONDS) if name in line}
            points[line["step"]] = points.get(line["step"], {}) | known | line
        return list(points.values())
