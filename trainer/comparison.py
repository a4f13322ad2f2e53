"""`ganport.compare`: the settings, the measures and the curves of several runs, side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganport.runtime.errors import MissingPackageError, UsageError
from ganport.runtime.files import write_bytes

from .errors import RunNotFoundError
from .history import History, Measured
from .run import Run
from .run_folder import MEASURES, RunFolder
from .runs import RUNS, list_runs
from .settings import describe_setting
from .start_weights import name_start

MOST_RUNS = 20  # largest number of runs whose colours can be told from each other


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison.

    Attributes:
        name: The part of the run's path that distinguishes it from the other runs.
        path: Path of the run folder.
        settings: Settings of the recipe by name; the fields of the optimizers have dotted names. "start" is
            the run from which the training started, or "random weights".
        data: Name, number and fingerprint of the images.
        is_comparable: Whether the run has the same images as the first run. Measures of runs on other images
            say nothing about which of them is better.
        history: The history of the run.
    """

    name: str
    path: Path
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    is_comparable: bool
    history: History = dataclasses.field(repr=False)

    def at_end(self, measure: str) -> float | None:
        """Return the newest value of a measure; None if it was not measured."""
        return self.history.newest(measure)

    def at_best(self, measure: str) -> Measured | None:
        """Return the best value of a measure, with its step; None if it was not measured."""
        return self.history.best(measure)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several runs side by side. `compare` returns it.

    Attributes:
        runs: The runs.
    """

    runs: tuple[ComparedRun, ...]

    @property
    def differences(self) -> dict[str, list[Any]]:
        """The settings in which the runs differ: dict from a setting to its value in each run.

        A run without the setting, which an earlier version of ganport trained, has the value None.
        """
        names = dict.fromkeys(name for run in self.runs for name in run.settings)
        values = {name: [run.settings.get(name) for run in self.runs] for name in names}
        return {name: each for name, each in values.items() if any(value != each[0] for value in each)}

    @property
    def measures(self) -> list[str]:
        """The names, in the history, of the measures that at least one of the runs has."""
        return [name for name in MEASURES if any(name in run.history.measures for run in self.runs)]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON types: the names of the settings that differ, and all runs."""
        return {"differences": list(self.differences), "runs": [self._row(run) for run in self.runs]}

    def draw(self, path: str | os.PathLike[str], *, by: str = "images") -> None:
        """Write a chart of the measures and the losses of all runs, a PNG file.

        Args:
            path: The file to write.
            by: The horizontal axis: "images" for images seen, "time" for training time, or "steps".

        Raises:
            UsageError: The path does not end in .png, or there is no such axis.
            OutputError: The file can't be written.
            MissingPackageError: matplotlib is not installed.
        """
        from .charts import check_chart, draw_comparison

        check_chart(Path(path), by)
        try:
            draw_comparison(self, Path(path), by)
        except ModuleNotFoundError as error:
            raise MissingPackageError("matplotlib", "the chart of `compare`", "train") from error

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with a line per run: all settings, the step, the time, and the measures.

        Raises:
            OutputError: The file can't be written.
        """
        rows = [_flat(self._row(run)) for run in self.runs]
        texts = [
            {name: "" if value is None else describe_setting(value) for name, value in row.items()}
            for row in rows
        ]
        columns = dict.fromkeys(name for row in rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(texts)
        # A name of a folder may not be valid text. Its other bytes are then written as escape sequences.
        write_bytes(Path(path), text.getvalue().encode(errors="backslashreplace"))

    def _row(self, run: ComparedRun) -> dict[str, Any]:
        measures: dict[str, Any] = {}
        for name in self.measures:
            best = run.at_best(name)
            measures[name] = {
                "end": run.at_end(name),
                "best": best and best.value,
                "best_step": best and best.step,
            }
        return {
            "run": str(run.path),
            "comparable": run.is_comparable,
            "data": dict(run.data),
            "settings": dict(run.settings),
            "step": run.history.step,
            "seconds": run.history.seconds,
            "measures": measures,
        }


def compare(runs: Iterable[str | os.PathLike[str] | Run] | None = None) -> Comparison:
    """Return several runs side by side: their settings, measures and curves.

    Args:
        runs: Two to 20 runs, or their folders; by default all runs under runs/, the newest first.

    Raises:
        UsageError: There are fewer than two runs or more than 20, or a run is given twice.
        RunNotFoundError: There is no run in a folder.
        CheckpointError: The record of a run's data, or of its start, is damaged.
        RecipeError: The settings of a run were written by another version of ganport.

    Example::

        comparison = ganport.compare(["runs/digits", "runs/digits-2"])
        comparison.differences  # {"loss": ["non-saturating", "hinge"]}
        comparison.draw("compare.png")
    """
    if isinstance(runs, (str, os.PathLike)):
        raise UsageError(f"`runs` is {os.fspath(runs)!r}; it must be a list of two or more run folders.")
    paths = _all_runs() if runs is None else [Path(run) for run in runs]
    _check_paths(paths)
    records = [RunFolder(path).read_data() for path in paths]
    names = _short_names(paths)
    return Comparison(
        tuple(
            ComparedRun(
                name=name,
                path=path,
                settings=_settings(RunFolder(path)),
                data={key: record[key] for key in ("name", "images", "fingerprint")},
                is_comparable=record["fingerprint"] == records[0]["fingerprint"],
                history=History(RunFolder(path).read_history()),
            )
            for name, path, record in zip(names, paths, records, strict=True)
        )
    )


def _all_runs() -> list[Path]:
    paths = [run.path for run in list_runs(RUNS)]
    if not paths:
        raise RunNotFoundError(RUNS)
    return paths


def _check_paths(paths: list[Path]) -> None:
    for path in paths:
        if not RunFolder(path).exists():
            raise RunNotFoundError(path)
    resolved = [path.resolve() for path in paths]
    for path in paths:
        if resolved.count(path.resolve()) > 1:
            raise UsageError(f"`runs` has {path} twice; give each run once.")
    if not 2 <= len(paths) <= MOST_RUNS:
        given = f"{len(paths)} runs" if len(paths) > 1 else "".join(map(str, paths)) or "empty"
        raise UsageError(f"`runs` is {given}; give 2 to {MOST_RUNS} run folders.")


def _settings(run: RunFolder) -> dict[str, Any]:
    """Return the settings of a run's recipe by name, with dotted names for the fields of the optimizers."""
    return {**_flat(run.read_recipe().to_dict()), "start": name_start(run) or "random weights"}


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a dict without nested dicts: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _short_names(paths: list[Path]) -> list[str]:
    """Return the paths without the folders that all of them share."""
    absolute = [path.absolute() for path in paths]
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    return [path.relative_to(shared).as_posix() for path in absolute]
