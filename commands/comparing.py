"""The commands `runs` and `compare`, which show training runs side by side."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from ganport.runtime.display import printable

from .console import JsonOption, messages, print_whole, results, width_of

if TYPE_CHECKING:
    from ganport.trainer.comparison import ComparedRun, Comparison
    from ganport.trainer.history import Measured
    from ganport.trainer.runs import RunSummary


def runs(as_json: JsonOption = False) -> None:
    """List the runs under runs/, the newest first."""
    from ganport.trainer.runs import RUNS, list_runs

    found = list_runs(RUNS)
    if as_json:
        print(json.dumps([{**dataclasses.asdict(run), "path": str(run.path)} for run in found], indent=2))
        return
    if not found:
        messages.print(f"No run in {RUNS}; create one with: ganport train", markup=False)
        return
    rows = [_cells(run) for run in found]
    headings = [name for name in rows[0] if any(row[name] for row in rows)]
    shown = _fitting(headings, rows)
    print_whole(_table(shown, rows))
    left_out = [name for name in headings if name not in shown]
    if left_out:
        results.print(f"not shown: {', '.join(left_out)}; --json prints everything")


# The columns of `runs`, the most important first. A narrow terminal shows those that fit.
_IMPORTANT = (
    "run",
    "step",
    "measure",
    "time",
    "findings",
    "data",
    "start",
    "saved",
    "seed",
    "loss",
    "recipe",
)
_ALWAYS_SHOWN = 4  # number of columns that even a very narrow terminal shows
_TEXTS = ("run", "recipe", "data", "loss", "start", "findings")  # columns that are aligned at the left


def _cells(run: RunSummary) -> dict[str, str]:
    """Return the cells of a run by the headings of their columns, in the order in which they are shown."""
    metrics = {
        heading: f"{run.metrics[name]:{form}}" if name in run.metrics else ""
        for heading, name, form in (("D loss", "d_loss", ".3f"), ("G loss", "g_loss", ".3f"))
    }
    accuracy = run.metrics.get("d_accuracy")
    return {
        "run": str(run.path),
        "recipe": run.recipe,
        "data": run.data,
        "loss": run.loss,
        "seed": str(run.seed),
        "start": run.start,
        "step": f"{run.step:,}/{run.steps:,}",
        **metrics,
        "D acc": "" if accuracy is None else f"{accuracy:.0%}",
        "measure": _describe_measure(run.measure),
        "findings": ", ".join(finding.name for finding in run.findings),
        "time": "" if run.seconds is None else _describe_time(run.seconds),
        "saved": f"{_describe_time(run.age)} ago",
    }


def _describe_measure(measure: Measured | None) -> str:
    """Return a measure as a short text, such as "Fréchet 0.216"; empty if nothing was measured."""
    from ganport.trainer.callbacks import MEASURE_LABELS

    return "" if measure is None else f"{MEASURE_LABELS[measure.name].split()[0]} {measure.value:.3g}"


def _describe_time(seconds: float) -> str:
    """Return a duration in its largest unit.

    >>> [_describe_time(each) for each in (0, 59, 150, 5000, 100_000)]
    ['0 s', '59 s', '2 min', '1.4 h', '28 h']
    """
    if seconds >= 86_400 * 3:
        return f"{seconds / 86_400:.0f} d"
    if seconds >= 3_600:
        return f"{seconds / 3_600:.{int(seconds < 36_000)}f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{max(0, seconds):.0f} s"


def _fitting(headings: list[str], rows: list[dict[str, str]]) -> list[str]:
    """Return the headings of the most important columns that fit beside each other, in their usual order."""
    ranked = sorted(
        headings, key=lambda name: _IMPORTANT.index(name) if name in _IMPORTANT else len(_IMPORTANT)
    )
    chosen: list[str] = []
    for rank, name in enumerate(ranked):
        candidate = [each for each in headings if each in (*chosen, name)]
        if rank < _ALWAYS_SHOWN or width_of(_table(candidate, rows)) <= results.width:
            chosen = candidate
    return chosen


def _table(headings: Sequence[str], rows: Sequence[dict[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in headings:
        table.add_column(name, justify="left" if name in _TEXTS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(row[name])) for name in headings))
    return table


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Run folders.", show_default="all runs under runs/"),
    ] = None,
    by: Annotated[
        Literal["images", "time", "steps"],
        typer.Option(help="Horizontal axis of the chart: images seen, training time or steps."),
    ] = "images",
    out: Annotated[Path, typer.Option("--out", "-o", help="The chart, .png.")] = Path("compare.png"),
    csv: Annotated[
        Path | None, typer.Option(help="Also write a table of all settings and measures.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: a chart of their measures and losses, and a table of the settings that differ."""
    from ganport.trainer.charts import check_chart
    from ganport.trainer.comparison import compare as compare_runs

    check_chart(out, by)
    comparison = compare_runs(runs)
    with messages.status("drawing"):
        comparison.draw(out, by=by)
    if csv is not None:
        comparison.write_csv(csv)
    if as_json:
        print(json.dumps(comparison.to_dict(), indent=2))
        return
    _print_comparison(comparison)
    results.print(", ".join(str(path) for path in (out, csv) if path is not None), markup=False)


def _print_comparison(comparison: Comparison) -> None:
    """Print a table with a column per run, in several parts if the runs do not fit beside each other."""
    left = list(comparison.runs)
    while left:
        count = next(
            (
                n
                for n in range(len(left), 1, -1)
                if width_of(_compared(comparison, left[:n])) <= results.width
            ),
            1,
        )
        print_whole(_compared(comparison, left[:count]))
        left = left[count:]
    others = [run.name for run in comparison.runs if not run.is_comparable]
    if others:
        first = comparison.runs[0]
        messages.print(
            f"* {', '.join(others)}: trained on other images than {first.name}, so the measures are not "
            "comparable",
            markup=False,
        )


def _compared(comparison: Comparison, chosen: Sequence[ComparedRun]) -> Table:
    """Return a table of some runs of a comparison: a row per setting that differs, then the measures."""
    from ganport.trainer.callbacks import MEASURE_LABELS
    from ganport.trainer.settings import describe_setting

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for run in chosen:
        table.add_column(
            Text(printable(run.name + "*" * (not run.is_comparable))), justify="right", no_wrap=True
        )
    for name in comparison.differences:
        values = [run.settings.get(name) for run in chosen]
        _add_row(table, name, ["" if each is None else describe_setting(each) for each in values])
    _add_row(table, "images", [f"{run.data['images']:,} of {run.data['name']}" for run in chosen])
    _add_row(table, "step", [f"{run.history.step:,}" for run in chosen])
    times = [run.history.seconds for run in chosen]
    _add_row(table, "time", ["" if each is None else _describe_time(each) for each in times])
    for name in comparison.measures:
        label = MEASURE_LABELS[name]
        end, best = [run.at_end(name) for run in chosen], [run.at_best(name) for run in chosen]
        _add_row(table, f"{label}, newest", ["" if each is None else f"{each:.3g}" for each in end])
        _add_row(table, f"{label}, best", ["" if each is None else f"{each.value:.3g}" for each in best])
        _add_row(table, "  at step", ["" if each is None else f"{each.step:,}" for each in best])
    return table


def _add_row(table: Table, name: str, cells: Sequence[str]) -> None:
    table.add_row(name, *(Text(printable(cell)) for cell in cells))
