"""Results of `benchmarks.images`: measuring images, a file with a line per result, and tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import show_table
from benchmarks.images_data import Split
from ganport.evaluation.comparison import METRICS, compare_features
from ganport.evaluation.features import GENERAL_NETWORK, FeatureNetwork
from ganport.evaluation.measures import Features
from ganport.evaluation.neighbours import nearest_in_training
from ganport.runtime.arrays import Pixels

Result = dict[str, Any]
Column = tuple[str, str, str]  # heading, name of the figure, and number format; see `show_spread`

BASELINE = "baseline"
COPIES = "copies"
NOT_MEASURED = "Not measured yet."
_MOST_PARTS = 3  # number of parts of other real images, whose mean is the baseline

COLUMNS: tuple[Column, ...] = (
    ("Fréchet", "frechet", ""),
    ("kernel", "kernel", ""),
    ("precision", "precision", ".3f"),
    ("recall", "recall", ".3f"),
    ("density", "density", ".3f"),
    ("coverage", "coverage", ".3f"),
    ("nearest in training", COPIES, ".1%"),
)


class Measure:
    """Compares images with the held-out images of a split.

    Args:
        split: The images.
    """

    def __init__(self, split: Split) -> None:
        self._network = FeatureNetwork(GENERAL_NETWORK)
        self._real, self._training = (self._extract(each) for each in (split.held_out, split.training))
        self._is_apart = len(split.others) >= len(split.held_out)
        self._others = self._extract(split.others) if self._is_apart else self._training

    @property
    def count(self) -> int:
        """Number of images to generate: as many as there are held-out images."""
        return len(self._real)

    def figures(self, images: Pixels) -> dict[str, float]:
        """Return the METRICS of generated images and "copies".

        "copies" is the share of the images whose nearest real image is a training image. It is compared with
        as many held-out images as there are training images, so new images have about 50 %.
        """
        return self._compare(self._extract(images))

    def baseline(self) -> dict[str, float]:
        """Return the figures of other real images: the mean of up to three parts of as many images.

        If no images are left beside the training images and the held-out ones, these are training images, and
        "copies" is left out.
        """
        parts = min(_MOST_PARTS, max(1, len(self._others) // self.count))
        figures = [
            self._compare(self._others[part * self.count : (part + 1) * self.count]) for part in range(parts)
        ]
        means = {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
        if not self._is_apart:
            del means[COPIES]
        return means

    def _compare(self, features: Features) -> dict[str, float]:
        near = min(len(self._training), len(self._real))
        copies = nearest_in_training(features, self._training[:near], self._real[:near])
        return compare_features(self._real, features) | {COPIES: copies}

    def _extract(self, images: Pixels) -> Features:
        return self._network.extract(images)[0]


class ResultFile:
    """A file with one line of JSON per result. A line is added when a training is complete.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Result]:
        """Return all results. A last line that was not written to its end is left out."""
        if not self._path.exists():
            return []
        lines = self._path.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def add(self, result: Result) -> None:
        """Add a result."""
        whole = "".join(f"{json.dumps(each)}\n" for each in [*self.read(), result])
        self._path.write_text(whole)


def find_result(results: Iterable[Result], **facts: object) -> Result | None:
    """Return the first result with these facts; None if there is none."""
    return next((each for each in results if facts.items() <= each.items()), None)


def by_budget_and_machine(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Return the results of trainings, without the baseline, grouped by what makes them comparable."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for each in results:
        if each["candidate"] != BASELINE:
            groups.setdefault((each["budget"], each["machine"]), []).append(each)
    return groups


def result_table(results: Sequence[Result], titles: dict[str, str]) -> str:
    """Return a table with a row per candidate, budget and machine: the median over the seeds, and the range.

    Args:
        results: The results, of one comparison.
        titles: Titles of the candidates by name, in the order of the rows.
    """
    if not results:
        return NOT_MEASURED
    baseline = find_result(results, candidate=BASELINE)
    known = COPIES in baseline["figures"] if baseline else False  # without a baseline, copies mean nothing
    columns = [each for each in COLUMNS if each[1] != COPIES or known]
    rows = [["real images", "", "", "", "", *_figures([baseline], columns)]] if baseline else []
    for (budget, machine), equal in by_budget_and_machine(results).items():
        for name, title in titles.items():
            if found := [each for each in equal if each["candidate"] == name]:
                lengths = [
                    show_spread([each[fact] for each in found], form)
                    for fact, form in (("steps", ",.0f"), ("cpu_minutes", ".1f"))
                ]
                trained = f"{budget}, {machine}"
                rows.append([title, trained, str(len(found)), *lengths, *_figures(found, columns)])
    headings = ["", "trained", "seeds", "steps", "CPU minutes", *(heading for heading, _, _ in columns)]
    return show_table(headings, rows)


def _figures(results: Sequence[Result], columns: Sequence[Column]) -> list[str]:
    """Return the cells of a row: the spread of each figure, or nothing where no result has it."""
    cells = []
    for _, figure, form in columns:
        values = [each["figures"][figure] for each in results if figure in each["figures"]]
        cells.append(show_spread(values, form) if values else "")
    return cells


def show_spread(values: Sequence[float], form: str) -> str:
    """Return the median, with the smallest and the largest value if there are several.

    An empty format shows three digits, or all digits before the point.

    >>> show_spread([3.0, 1.0, 2.0], ".1f"), show_spread([1403.6], "")
    ('2.0 (1.0 to 3.0)', '1,404')
    """

    def show(value: float) -> str:
        return format(value, form or (",.0f" if abs(value) >= 100 else ".3g"))

    middle = show(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({show(min(values))} to {show(max(values))})"


def conclude(results: Sequence[Result], ours: str = "ours") -> str:
    """Return how ours compares with the best other candidate by medians; empty if one of them is missing.

    Args:
        results: The results of candidates with the same budget.
        ours: Name of our candidate.
    """
    names = dict.fromkeys(each["candidate"] for each in results)
    medians = {
        name: {
            metric: statistics.median(
                each["figures"][metric] for each in results if each["candidate"] == name
            )
            for metric in METRICS
        }
        for name in names
    }
    own = medians.pop(ours, None)
    if own is None or not medians:
        return ""
    nearest = min(medians, key=lambda name: medians[name]["frechet"])
    widest = max(medians, key=lambda name: medians[name]["recall"])
    share, recall = own["frechet"] / medians[nearest]["frechet"], medians[widest]["recall"]
    return (
        f"the Fréchet distance of ours is {share:.2f} times that of the best other candidate ({nearest}). "
        f"The recall of ours is {own['recall']:.3f}; the highest of the others is {recall:.3f} ({widest})."
    )
