"""How good the images of a recipe are: as published and by our settings, after as many real images and at length, over seeds.

    python -m benchmarks.quality mnist-dense mnist-minimal --data-dir DATA --seeds 0 1 2

Trains, exports and evaluates by the command line, as a user does, and prints the rows of the tables in docs/quality.md: the
mean over the seeds, with the smallest and the largest in brackets. Runs are left in runs/quality/, with a grid of each; one
that is there already is gone on with, or taken as it is where it is finished.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ganport.trainer.recipes import RECIPES, load_recipe_module, published_recipe
from scripts.bundle_models import MADE_BY, evaluate, ganport, train

RUNS = Path("runs/quality")

# What a description says about the size of its pictures is more than two cores can train (docs/recipes.md): options, steps.
SMALLER = {"rps-dcgan": (["--image-size", "100"], 4000)}

FIGURES: tuple[tuple[str, Callable[[dict[str, Any]], float | None], str], ...] = (
    ("Fréchet", lambda report: report["frechet"], "#.3g"),
    ("kernel", lambda report: report["kernel"], "#.3g"),
    ("precision", lambda report: report["precision"], ".3f"),
    ("recall", lambda report: report["recall"], ".3f"),
    ("confidence", lambda report: report["confidence"], ".3f"),
    ("entropy", lambda report: report["entropy"], ".2f"),
    ("smallest class", lambda report: min(report["shares"]), ".1%"),
    ("agreement", lambda report: report["agreement"], ".1%"),
    ("next to training", lambda report: report["nearest_in_training"], ".1%"),
)

Options = tuple[list[str], list[str]]  # of `train`, of `export`


def variants(name: str) -> dict[str, Options]:
    """Return the ways to train a recipe that are compared."""
    bundled = {train[0]: (train[1:], export) for train, export in MADE_BY.values()}
    if name in bundled:
        return {"ours": bundled[name]}
    module = load_recipe_module(name)
    if not hasattr(module, "AS_PUBLISHED"):
        return {"ours": ([], [])}
    published = published_recipe(module)
    options, steps = SMALLER.get(name, ([], published.steps))
    # An epoch of the generator sees no real image.
    batches = steps / 2 if published.schedule == "alternating" else steps
    as_many = round(batches * published.batch_size / module.RECIPE.batch_size)
    ways: dict[str, Options] = {
        "as published": (["--as-published", *options, "--steps", str(steps)], []),
        "ours": ([*options, "--steps", str(as_many)], []),
    }
    if as_many < module.RECIPE.steps and not options:
        ways["ours at length"] = ([], [])
    return ways


def measure(name: str, variant: str, options: Options, seed: int, data_dir: Path) -> dict[str, Any]:
    """Return the report of `ganport evaluate`, and leave it beside the run."""
    run = RUNS / f"{name}-{variant.replace(' ', '-')}-{seed}"
    model, report = run / "generator.onnx", run / "report.json"
    train(run, name, *options[0], "--seed", seed, "--data-dir", data_dir)
    # Exported and measured anew each time: by the options, the classifiers and the measure of now, whatever was there.
    ganport("export", run, *options[1], "--out", model, "--overwrite")
    ganport("sample", model, "--out", run / "grid.png")
    found = evaluate(model, data_dir)
    report.write_text(json.dumps(found, indent=2))
    return found


def row(label: str, reports: Sequence[dict[str, Any]]) -> str:
    """Return a line of a Markdown table."""
    cells = []
    for _, figure, form in FIGURES:
        values = [value for value in map(figure, reports) if value is not None]
        cells.append(_spread(values, form) if values else "")
    return f"| {label} | {' | '.join(cells)} |"


def _spread(values: list[float], form: str) -> str:
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train, export and evaluate recipes; print their figures.")
    parser.add_argument("names", nargs="+", choices=RECIPES, metavar="RECIPE")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training")
    arguments = parser.parse_args()
    print(f"| recipe | {' | '.join(heading for heading, _, _ in FIGURES)} |\n{'| --- ' * (len(FIGURES) + 1)}|", flush=True)
    for name in arguments.names:
        for variant, options in variants(name).items():
            reports = [measure(name, variant, options, seed, arguments.data_dir) for seed in arguments.seeds]
            print(row(f"{name}, {variant}", reports), flush=True)
        print(row(f"real images of {reports[0]['data']}", [_floor(reports[0])]), flush=True)


def _floor(report: dict[str, Any]) -> dict[str, Any]:
    return {"nearest_in_training": None, **report["floor"]}


if __name__ == "__main__":
    main()
