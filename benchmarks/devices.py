"""One generator on many engines: a matrix of every model file and every engine, as Markdown tables.

    python -m benchmarks.devices                                # everything
    python -m benchmarks.devices --engines x86-64,tract --models mnist
    python -m benchmarks.devices --json devices.json            # also one JSON document
    python -m benchmarks.devices --write docs/devices.md        # the tables of the docs

The rows are engines, and the columns are the pretrained generators and six third-party generators. Each
engine generates the file's golden images, one at a time on one thread. A cell shows how many pixel values
differ from the golden images, the median time of one image, and the size of what the engine loads. A cell
without images shows the reason.

The first run downloads the engines into ganport's cache folder (see `benchmarks.device_packages`). Each cell
is measured in a process of its own with a time limit. The tables are printed on stdout, and the progress on
stderr. The exit code is 1 if images differ more than rounding explains: in more than 0.01 % of the values
(or in more than two, if that is more), or by more than one level. Weights that are rounded to float16 or int8
are not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.device_engines import ENGINES
from benchmarks.device_models import THIRD_PARTY, pretrained_models, third_party_model
from benchmarks.device_packages import ROOT, NotAvailableError, last_line
from benchmarks.device_results import Cell, Measured, Skipped, compare, read_case

CELL_S = 900.0  # seconds for one cell
LARGEST_SHARE = 1e-4  # share of the values that may differ
MOST_OF_FEW = 2  # values that may differ even if they are a larger share, as small images have few
LARGEST_DIFFERENCE = 1  # levels
FEW = 0.01  # share of the values below which their number is shown
BEGIN, END = "<!-- devices -->", "<!-- /devices -->"  # lines around the tables
LEGEND = (
    "Each engine generated the golden images of a file, one at a time on one thread. A cell shows how "
    "many pixel values differ from the golden images, the median time of one image, and the size of what "
    "the engine loads. Emulated machines have no time; their RAM includes the stack. A number in brackets "
    "leads to a reason below."
)

Matrix = Mapping[str, Mapping[str, Cell]]  # from the name of an engine, and the name of a model, to a cell


def measure_cell(engine: str, path: Path) -> Cell:
    """Return the cell of one engine and one model file, measured in this process."""
    case = read_case(path)
    try:
        return compare(case, ENGINES[engine].run(case))
    except NotAvailableError as error:
        return Skipped(str(error))
    except ValueError as error:
        return Skipped(f"the images are wrong: {error}")


def measure_elsewhere(engine: str, path: Path, *, limit_s: float = CELL_S) -> Cell:
    """Return the cell of one engine and one model file, measured in a process of its own.

    After `limit_s` seconds the process is ended, with all that it started.
    """
    command = [sys.executable, "-m", "benchmarks.devices", "--cell", engine, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, problems = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            _end_session(process.pid)
            return Skipped(f"it took longer than {limit_s:.0f} s")
        except BaseException:
            _end_session(process.pid)
            raise
    if process.returncode:
        return Skipped(f"it ended with exit code {process.returncode}: {last_line(problems)}")
    return read_cell(json.loads(output.splitlines()[-1]))


def _end_session(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def read_cell(document: Mapping[str, Any]) -> Cell:
    """Return the cell of a JSON object that `dataclasses.asdict` made."""
    return Skipped(**document) if "reason" in document else Measured(**document)


def measure_matrix(engines: Iterable[str], models: Mapping[str, Path]) -> Matrix:
    """Return the cells of all engines and models, measured one after the other."""
    matrix: dict[str, dict[str, Cell]] = {}
    for engine in engines:
        unavailable = prepare(engine)
        matrix[engine] = {}
        for model, path in models.items():
            cell = unavailable or measure_elsewhere(engine, path)
            matrix[engine][model] = cell
            print(f"{engine}, {model}: {describe(cell)}", file=sys.stderr, flush=True)
    return matrix


def prepare(engine: str) -> Skipped | None:
    """Download what an engine needs. Returns the reason if that is not possible."""
    try:
        ENGINES[engine].prepare()
    except NotAvailableError as error:
        return Skipped(str(error))
    return None


def exceeds_bounds(engine: str, cell: Cell) -> bool:
    """Return whether the images of a cell differ more than rounding explains."""
    if isinstance(cell, Skipped) or not ENGINES[engine].is_exact:
        return False
    allowed = max(MOST_OF_FEW, LARGEST_SHARE * cell.values)
    return cell.off > allowed or cell.largest > LARGEST_DIFFERENCE


def describe(cell: Cell) -> str:
    """Return the text of a cell."""
    if isinstance(cell, Skipped):
        return cell.reason
    parts = ["0 off"]
    if cell.share >= FEW:
        parts = [f"{100 * cell.share:.1f} % off, by {cell.largest} at most"]
    elif cell.off:
        parts = [f"{cell.off:,} of {cell.values:,} off, by {cell.largest} at most"]
    if cell.milliseconds is not None:
        rounded = f"{cell.milliseconds:.3g}" if cell.milliseconds < 100 else f"{cell.milliseconds:,.0f}"
        parts.append(f"{rounded} ms")
    parts.append(f"{cell.bytes / 1e6:.2f} MB")
    return "; ".join([*parts, *filter(None, [cell.note])])


def make_table(matrix: Matrix, models: Sequence[str]) -> str:
    """Return a Markdown table of some models, and below it the reasons of its cells without images."""
    reasons: dict[str, int] = {}
    lines = [f"| engine | {' | '.join(models)} |", f"| --- |{' --- |' * len(models)}"]
    for engine, cells in matrix.items():
        texts = []
        for model in models:
            cell = cells[model]
            if isinstance(cell, Skipped):
                texts.append(f"[{reasons.setdefault(cell.reason, len(reasons) + 1)}]")
            else:
                texts.append(describe(cell))
        lines.append(f"| {ENGINES[engine].title} | {' | '.join(texts)} |")
    notes = [f"\\[{number}] {_without_markup(reason)}" for reason, number in reasons.items()]
    return "\n\n".join(["\n".join(lines), *notes])


def _without_markup(reason: str) -> str:
    return reason.translate(str.maketrans({"<": "&lt;", ">": "&gt;", "|": "\\|", "*": "\\*", "_": "\\_"}))


def make_tables(matrix: Matrix, models: Iterable[str]) -> str:
    """Return the tables of the pretrained and of the third-party generators."""
    names = list(models)
    groups = {
        "Pretrained generators": [name for name in names if name not in THIRD_PARTY],
        "Third-party generators, float32, with random weights": [
            name for name in names if name in THIRD_PARTY
        ],
    }
    parts = [LEGEND]
    for title, group in groups.items():
        if group:
            parts += [f"**{title}**", make_table(matrix, group)]
    return "\n\n".join(parts)


def write_tables(path: Path, tables: str) -> None:
    """Replace the tables in a page, between the two lines that mark them."""
    page = path.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        sys.exit(f"{path} needs one line {BEGIN} and, below it, one line {END}.")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


def write_json(path: Path, matrix: Matrix) -> None:
    """Write the cells as one JSON document."""
    document = {
        engine: {model: dataclasses.asdict(cell) for model, cell in cells.items()}
        for engine, cells in matrix.items()
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def choose(names: str | None, known: Iterable[str], option: str) -> list[str]:
    """Return the names of a list with commas; all known names if there is no list."""
    everything = list(known)
    chosen = names.split(",") if names else everything
    unknown = [name for name in chosen if name not in everything]
    if unknown:
        sys.exit(f"{option} has no {', '.join(unknown)}; choose from {', '.join(everything)}.")
    return chosen


def find_models(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Return the paths of model files by their names. Third-party generators are exported into the folder."""
    pretrained = pretrained_models()
    return {name: pretrained.get(name) or third_party_model(name, folder) for name in names}


def main() -> None:
    """Measure the matrix, and print or write its tables."""
    parser = argparse.ArgumentParser(description="Compare the images of many engines with the golden images.")
    parser.add_argument("--engines", help=f"names with commas between them: {', '.join(ENGINES)}")
    parser.add_argument("--models", help="names with commas between them; by default all")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument(
        "--write", type=Path, help=f"page to write the tables into, between {BEGIN} and {END}"
    )
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)  # of the processes that measure one cell
    arguments = parser.parse_args()
    if arguments.cell:
        engine, path = arguments.cell
        print(json.dumps(dataclasses.asdict(measure_cell(engine, Path(path)))))
        return
    engines = choose(arguments.engines, ENGINES, "--engines")
    names = choose(arguments.models, [*pretrained_models(), *THIRD_PARTY], "--models")
    with tempfile.TemporaryDirectory() as temporary:
        models = find_models(names, Path(temporary))
        matrix = measure_matrix(engines, models)
    tables = make_tables(matrix, names)
    print(tables)
    if arguments.json:
        write_json(arguments.json, matrix)
    if arguments.write:
        write_tables(arguments.write, tables)
    outside = [
        f"{engine}, {model}: {describe(cell)}"
        for engine, cells in matrix.items()
        for model, cell in cells.items()
        if exceeds_bounds(engine, cell)
    ]
    if outside:
        sys.exit("These images differ more than rounding explains:\n" + "\n".join(outside))


if __name__ == "__main__":
    main()
