"""Image quality of recipes: as published, with our settings, and with our settings and our number of steps.

    python -m benchmarks.quality mnist-dense mnist-minimal --data-dir DATA --seeds 0 1 2

The script trains, exports and evaluates with the command line, as a user does. It prints the rows of the
tables in docs/quality.md: the mean over the training seeds, with the smallest and the largest value in
brackets. Runs are kept in runs/quality/, each with a grid of images. An unfinished run is continued, and a
finished run is used again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ganport.trainer.recipes import RECIPES, has_published_settings, load_recipe
from scripts.bundle_models import MADE_BY, evaluate, ganport, train

RUNS = Path("runs/quality")

# Options of `ganport train` and number of steps for recipes whose published image size is too large to be
# trained on two cores (docs/recipes.md).
SMALLER = {"rps-dcgan": (["--image-size", "100"], 4000)}

# Each column of the table: heading, function that takes the figure from a report, and number format.
FIGURES: tuple[tuple[str, Callable[[dict[str, Any]], float | None], str], ...] = (
    ("Fréchet", lambda report: report["frechet"], "#.3g"),
    ("kernel", lambda report: report["kernel"], "#.3g"),
    ("precision", lambda report: report["precision"], ".3f"),
    ("recall", lambda report: report["recall"], ".3f"),
    ("confidence", lambda report: report["confidence"], ".3f"),
    ("entropy", lambda report: report["entropy"], ".2f"),
    ("smallest class", lambda report: min(report["shares"]), ".1%"),
    ("label accuracy", lambda report: report["label_accuracy"], ".1%"),
    ("nearest in training", lambda report: report["nearest_in_training"], ".1%"),
)

Options = tuple[list[str], list[str]]  # options of `ganport train`, and options of `ganport export`


def variants(name: str) -> dict[str, Options]:
    """Return the options of training and export for each variant of a recipe, by name of the variant."""
    bundled = {train[0]: (train[1:], export) for train, export in MADE_BY.values()}
    if name in bundled:
        return {"ours": bundled[name]}
    if not has_published_settings(name):
        return {"ours": ([], [])}
    recipe, published = load_recipe(name), load_recipe(name, as_published=True)
    options, steps = SMALLER.get(name, ([], published.steps))
    # The alternating schedule trains only the generator in every other epoch. Those epochs use no real
    # images, so only half of the steps count as batches of real images.
    batches = steps / 2 if published.schedule == "alternating" else steps
    as_many = round(batches * published.batch_size / recipe.batch_size)
    found: dict[str, Options] = {
        "as published": (["--as-published", *options, "--steps", str(steps)], []),
        "ours": ([*options, "--steps", str(as_many)], []),
    }
    if as_many < recipe.steps and not options:
        found["ours at length"] = ([], [])
    return found


def measure(name: str, variant: str, options: Options, seed: int, data_dir: Path) -> dict[str, Any]:
    """Train, export and evaluate one variant. Returns the report, which is also written to the run folder."""
    run = RUNS / f"{name}-{variant.replace(' ', '-')}-{seed}"
    model, report = run / "generator.onnx", run / "report.json"
    train(run, name, *options[0], "--seed", seed, "--data-dir", data_dir)
    # The model of a finished run is also exported and measured again, with the current options and measures.
    ganport("export", run, *options[1], "--out", model, "--overwrite")
    ganport("sample", model, "--out", run / "grid.png")
    measured = evaluate(model, data_dir)
    report.write_text(json.dumps(measured, indent=2))
    return measured


def row(label: str, reports: Sequence[dict[str, Any]]) -> str:
    """Return a row of the Markdown table, with the spread of each figure over the reports."""
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of training")
    arguments = parser.parse_args()
    headings = ["recipe", *(heading for heading, _, _ in FIGURES)]
    print(f"| {' | '.join(headings)} |\n{'| --- ' * len(headings)}|", flush=True)
    for name in arguments.names:
        for variant, options in variants(name).items():
            reports = [measure(name, variant, options, seed, arguments.data_dir) for seed in arguments.seeds]
            print(row(f"{name}, {variant}", reports), flush=True)
        baseline = {"nearest_in_training": None, **reports[0]["baseline"]}
        print(row(f"baseline of {reports[0]['data']}", [baseline]), flush=True)


if __name__ == "__main__":
    main()
