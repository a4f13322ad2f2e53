"""How good the images of `ganport train FOLDER` are, beside other recipes and peers with the same minutes.

    python -m benchmarks.images faces64 --data FOLDER --minutes 30 --seeds 0 1 2 --out results
    python -m benchmarks.images faces64 --data FOLDER --cpu-minutes 30 --only ours pytorch-dcgan --out results
    python -m benchmarks.images few --data FOLDER --from runs/images --out results
    python -m benchmarks.images sizes --out results
    python -m benchmarks.images faces64 --out results --tables --write docs/images.md

    faces64, faces128   6,000 training images and 2,000 held-out ones, of 64x64 and 128x128
    hands64, hands128   Rock-Paper-Scissors, a folder with a sub-folder per label, of which 630 are held out
    few                 300 training images of 64x64: from scratch, and from a run on other images
    sizes               speed, memory and file size for images of 32x32 to 256x256, of random colours

The images of FOLDER are split at random, once for all seeds. Each candidate is trained on the training images
in a process of its own, one after the other, and generates as many images as are held out. They are compared
with the held-out images by the features of `ganport evaluate`. The baseline compares other real images with
them.

The minutes are the same for all candidates, and are those of training alone (see
`benchmarks.images_candidates`). `--cpu-minutes` counts CPU time divided by the number of cores, for a machine
on which other programs run.

Results are added to OUT/NAME/results.jsonl. The images are kept beside it, with a grid of 64 images. A
benchmark that was stopped continues with what is missing; results of another machine are not continued, since
the same minutes are another training there. `--tables` measures nothing, and prints the tables
of what was measured. `--held-out 200` makes a trial short. The PyTorch peers need torch, lightweight-gan
1.2.1, einops and tqdm; without them they are left out, with a message. The tables are printed on stdout, and
the progress on stderr.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import images_candidates as candidates
from benchmarks.generators import replace_tables
from benchmarks.images_candidates import Budget, Candidate, Job
from benchmarks.images_data import BenchmarkError, Split, split_images
from benchmarks.images_results import (
    BASELINE,
    Measure,
    Result,
    ResultFile,
    by_budget_and_machine,
    conclude,
    find_result,
    result_table,
)
from benchmarks.images_sizes import measure_sizes, size_table
from benchmarks.machine import describe_machine
from ganport.runtime.cores import usable_cores
from ganport.runtime.errors import GanportError
from ganport.runtime.images import make_grid
from ganport.runtime.png import save_png

GRID_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of candidates on the same images.

    Attributes:
        name: Name on the command line.
        image_size: Pixels per side.
        candidates: What is compared.
        minutes: Default minutes of each training.
        training: Number of training images; None for all that are not held out.
        held_out: Number of held-out images.
    """

    name: str
    image_size: int
    candidates: tuple[Candidate, ...]
    minutes: float
    training: int | None = None
    held_out: int = 2_000

    @property
    def titles(self) -> dict[str, str]:
        """Titles of the candidates by name."""
        return {each.name: each.title for each in self.candidates}


_OURS, _RPS = candidates.OURS, candidates.RPS_CONDITIONAL
_PEERS = (candidates.PYTORCH_DCGAN, candidates.LIGHTWEIGHT, candidates.LIGHTWEIGHT_TRAINER)
_ALL = (_OURS, candidates.RPS_DCGAN, _RPS, *_PEERS)
COMPARISONS = {
    each.name: each
    for each in (
        Comparison("faces64", 64, _ALL, 30),
        Comparison("faces128", 128, (_OURS, _RPS), 180),
        Comparison("hands64", 64, (_OURS, _RPS), 30, held_out=630),
        Comparison("hands128", 128, (_OURS, _RPS), 30, held_out=630),
        Comparison("few", 64, (_OURS, candidates.FROM), 20, training=300),
    )
}
SIZES = "sizes"


def compare(
    comparison: Comparison,
    split: Split,
    out: Path,
    *,
    seeds: Sequence[int],
    budget: Budget,
    only: Sequence[str] = (),
    start: Path | None = None,
) -> None:
    """Train and measure the candidates that have no result yet.

    Args:
        comparison: The comparison.
        split: The images.
        out: Folder of the results.
        seeds: Seeds of training.
        budget: Minutes of each training.
        only: Names of the candidates; all by default.
        start: Run folder for the candidate "from".
    """
    file = ResultFile(out / "results.jsonl")
    machine = describe_machine()
    chosen = list(_choose(comparison, only, start))
    trainings = [
        (candidate, {"candidate": candidate.name, "seed": seed, "budget": str(budget), "machine": machine})
        for seed in seeds
        for candidate in chosen
    ]
    missing = [each for each in trainings if not find_result(file.read(), **each[1])]
    if not missing:
        return
    measure = Measure(split)
    if find_result(file.read(), candidate=BASELINE) is None:
        file.add({"candidate": BASELINE, "figures": measure.baseline()})
    for candidate, facts in missing:
        seed = facts["seed"]
        print(f"{comparison.name}: {candidate.name}, seed {seed}, {budget}", file=sys.stderr, flush=True)
        name = f"{candidate.name}-{seed}-{str(budget).replace(' ', '-')}"
        (out / name).mkdir(parents=True, exist_ok=True)
        given = start if candidate is candidates.FROM else None
        trained = candidate.train(Job(split, seed, budget, out / name, len(split.held_out), given))
        np.savez_compressed(out / f"{name}.npz", images=trained.images)
        save_png(make_grid(trained.images[:GRID_IMAGES]), out / f"{name}.png")
        cpu_minutes = trained.facts["cpu_seconds"] / 60 / usable_cores()
        figures = measure.figures(trained.images)
        file.add({**facts, **trained.facts, "cpu_minutes": cpu_minutes, "figures": figures})


def _choose(comparison: Comparison, only: Sequence[str], start: Path | None) -> Iterator[Candidate]:
    """Yield the chosen candidates that can be trained. A message says why another can't."""
    for candidate in comparison.candidates:
        if only and candidate.name not in only:
            continue
        if missing := candidate.missing():
            print(f"{candidate.name} is left out: pip install {' '.join(missing)}", file=sys.stderr)
        elif candidate is candidates.FROM and start is None:
            print("from is left out: give the run folder as --from", file=sys.stderr)
        else:
            yield candidate


def show_results(comparison: Comparison, results: Sequence[Result]) -> str:
    """Return the table of a comparison, and a conclusion for each budget and machine."""
    blocks = [result_table(results, comparison.titles)]
    for (budget, machine), equal in by_budget_and_machine(results).items():
        conclusion = conclude(equal)
        blocks += [f"After {budget} on {machine}: {conclusion}"] if conclusion else []
    return "\n\n".join(blocks)


def marker(name: str) -> str:
    """Return the line of a page before the table of a comparison."""
    return f"<!-- made by python -m benchmarks.images {name} -->"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the images of `ganport train FOLDER` with others.")
    parser.add_argument("name", choices=[*COMPARISONS, SIZES])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    minutes = parser.add_mutually_exclusive_group()
    minutes.add_argument("--minutes", type=float, help="time of each training")
    minutes.add_argument("--cpu-minutes", type=float, help="CPU time of each training / number of cores")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of training")
    parser.add_argument("--held-out", type=int, metavar="N", help="number of held-out images, for a trial")
    parser.add_argument("--only", nargs="+", default=[], metavar="CANDIDATE")
    parser.add_argument("--from", type=Path, dest="start", metavar="RUN", help="run folder, for `few`")
    parser.add_argument("--tables", action="store_true", help="measure nothing, print the tables")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table in a page, too")
    found = parser.parse_args(arguments)
    known = [each.name for each in COMPARISONS[found.name].candidates] if found.name != SIZES else []
    for name in found.only:
        if name not in known:
            parser.error(f"{found.name} has no candidate {name}; it has {', '.join(known) or 'none'}")
    if found.name != SIZES and not found.tables and found.data is None:
        parser.error("--data is missing; give a folder of images")
    return found


def _measure(options: argparse.Namespace, out: Path) -> None:
    """Measure what is missing."""
    if options.name == SIZES:
        measure_sizes(ResultFile(out / "results.jsonl"), options.data)
        return
    comparison = COMPARISONS[options.name]
    budget = Budget(options.minutes or comparison.minutes, "wall")
    if options.cpu_minutes:
        budget = Budget(options.cpu_minutes, "cpu")
    split = split_images(
        options.data,
        out,
        image_size=comparison.image_size,
        training=comparison.training,
        held_out=options.held_out or comparison.held_out,
    )
    chosen = {"seeds": options.seeds, "only": options.only, "start": options.start}
    compare(comparison, split, out, budget=budget, **chosen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and return the exit code."""
    options = parse_arguments(arguments)
    out = options.out / options.name
    begin = marker(options.name)
    try:
        if options.write is not None:
            # A page without the marker is an error at once.
            replace_tables(options.write.read_text(), "", begin)
        if not options.tables:
            out.mkdir(parents=True, exist_ok=True)
            _measure(options, out)
        results = ResultFile(out / "results.jsonl").read()
    except (BenchmarkError, GanportError, ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = size_table(results) if options.name == SIZES else show_results(COMPARISONS[options.name], results)
    print(table)
    if options.write is not None:
        options.write.write_text(replace_tables(options.write.read_text(), table, begin))
    return 0


if __name__ == "__main__":
    sys.exit(main())
