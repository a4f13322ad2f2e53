"""The command line: one function per command; it parses, calls one function of the library, and prints one result."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.errors import GanportError, MissingPackageError, UsageError, system_reason

if TYPE_CHECKING:
    from trainer.datasets import Dataset
    from trainer.recipe import Recipe
    from trainer.runs import Run

LARGEST_GRID = 16_384  # images; a grid of 28x28 pixels is then a PNG of 3,838 x 3,838

app = typer.Typer(
    help="Train a GAN in Keras, export its generator to one ONNX file, draw images from it anywhere.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
results = Console(highlight=False, soft_wrap=True)  # stdout
messages = Console(highlight=False, soft_wrap=True, stderr=True)


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="See `ganport recipes`.", show_default="digits")] = None,
    data: Annotated[str | None, typer.Option(help="Set by name, image folder, .npz or IDX file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the named sets lie; else $GANPORT_DATA.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default="the recipe's")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Real images per step.", show_default="the recipe's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Of weights and draws.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder.", show_default="runs/RECIPE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, or with the newest one.")] = False,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Train exactly as the recipe's description does.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe as JSON, and stop.")] = False,
) -> None:
    """Train a GAN: progress, preview grids, checkpoints; all in a run folder."""
    asked: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "seed": seed}
    changes = {name: value for name, value in asked.items() if value is not None}
    if resume:
        if changes or data is not None or data_dir or as_published or dry_run:
            raise typer.BadParameter("--resume goes on as the run was started; of the other options it takes --out alone.")
        _resume(recipe, out)
        return

    from trainer.datasets import load_dataset
    from trainer.recipes import DEFAULT_RECIPE, load_recipe_module, published_recipe
    from trainer.runs import RUNS, Run, check_enough_images, start_run, unused_run

    module = load_recipe_module(recipe or DEFAULT_RECIPE)
    resolved = published_recipe(module) if as_published else module.RECIPE
    resolved = dataclasses.replace(resolved, **changes)
    if dry_run and data is None:
        results.print_json(data=resolved.to_dict())
        return
    images = load_dataset(resolved.dataset if data is None else data, data_dir)
    resolved = dataclasses.replace(resolved, dataset=images.name, image_shape=images.images.shape[1:])
    check_enough_images(resolved, images)
    if dry_run:
        results.print_json(data=resolved.to_dict())
        return
    _load_tensorflow("training", "train")
    run = Run(out) if out else unused_run(RUNS, resolved.name)
    start_run(run, resolved, images)
    _train(run, resolved, images, first=0)


@app.command()
def recipes() -> None:
    """List the recipes: what they train, on what, in how many steps."""
    from trainer.recipes import RECIPES, load_recipe_module

    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "data", "steps", "batch", "what it is"):
        table.add_column(heading, justify="right" if heading in ("steps", "batch") else "left")
    for name in RECIPES:
        module = load_recipe_module(name)
        recipe = module.RECIPE
        summary = module.__doc__.splitlines()[0]
        table.add_row(name, recipe.dataset, f"{recipe.steps:,}", str(recipe.batch_size), summary)
    results.print(table)


@app.command()
def export(
    source: Annotated[Path | None, typer.Argument(help="Run folder or .keras file.", show_default="the newest run")] = None,
    out: Annotated[Path | None, typer.Option(help="The .onnx file.", show_default="generator.onnx in the run folder")] = None,
    output: Annotated[Literal["uint8", "float"], typer.Option(help="Pixels 0..255, or float32 -1..1.")] = "uint8",
    batch: Annotated[int | None, typer.Option(min=1, help="Images per call, fixed.", show_default="free")] = None,
) -> None:
    """Turn a generator into one verified .onnx file."""
    from trainer.runs import RUNS, Run, newest_run

    if source is None:
        source = newest_run(RUNS).path
        messages.print(f"run: {source} (the newest)", markup=False)
    target = out or (Run(source).onnx_file if source.is_dir() else source.with_suffix(".onnx"))
    if target.suffix != ".onnx":
        raise typer.BadParameter(f"--out is {target}; it takes a name that ends in .onnx.")
    _load_tensorflow("export", "export")
    with _needs("export", "export"):
        from export import export_generator, load_source

    contract = export_generator(load_source(source), target, output, batch)
    checks = contract.verification
    results.print(
        f"{target}: {target.stat().st_size / 1e6:.2f} MB, "
        f"{contract.image.height}x{contract.image.width}x{contract.image.channels} {contract.image.dtype}; "
        f"verified against Keras: largest error {checks['max_abs_error']:.1e}, "
        f"{checks['pixel_mismatch']:.4%} of the pixels one level off",
        markup=False,
    )


@app.command()
def sample(
    model: Annotated[Path | None, typer.Argument(help="The .onnx file.", show_default="the newest export")] = None,
    seeds: Annotated[str, typer.Option(help="Such as 0-63 or 0,5,9-12; one seed, one image.")] = "0-63",
    provider: Annotated[str, typer.Option(help="cpu or cuda; there is no fallback.")] = "cpu",
    out: Annotated[Path, typer.Option(help="The PNG file, one grid of all the images.")] = Path("grid.png"),
) -> None:
    """Draw images."""
    from runtime import Sampler, make_grid, parse_seeds, save_png

    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"--out is {out}; it takes a name that ends in .png.")
    wanted = parse_seeds(seeds, at_most=LARGEST_GRID)
    path = _chosen_model(model)
    sampler = Sampler(path, provider)
    started = time.perf_counter()
    images = sampler.sample(wanted)
    seconds = time.perf_counter() - started
    save_png(make_grid(images), out)
    results.print(f"{out}: {len(images):,} images of {path}, drawn on {provider} in {1e3 * seconds:.1f} ms", markup=False)


@app.command()
def inspect(
    model: Annotated[Path | None, typer.Argument(help="The .onnx file.", show_default="the newest export")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole contract as JSON.")] = False,
) -> None:
    """Show what a model file says about itself."""
    from runtime import Sampler

    path = _chosen_model(model)
    contract = Sampler(path).model
    if as_json:
        print(json.dumps(json.loads(contract.to_json()), indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for label, text in _facts(json.loads(contract.to_json())):
        table.add_row(label, Text(text))
    results.print(table)


def main() -> None:
    """Run the command line; mistakes of the user end in one red line and exit code 1, or 2 for wrong usage."""
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except UsageError as error:
        status = _fail(str(error), 2)
    except GanportError as error:
        status = _fail(str(error), 1)
    except typer.TyperException as error:
        status = _fail(f"{_usage_message(error)} See: ganport {' '.join(sys.argv[1:2])} --help", 2)
    except OSError as error:
        # What the library has no error of its own for: a place that may not be looked into, say.
        status = _fail(f"{error.filename or 'the system'}: {system_reason(error)}", 1)
    sys.exit(status)


def _fail(message: str, status: int) -> int:
    messages.print(Text(" ".join(f"error: {message}".split()), style="red"))
    return status


def _usage_message(error: typer.TyperException) -> str:
    message = getattr(error, "format_message", lambda: str(error))().strip()
    return message if message.endswith((".", "!", "?")) else f"{message}."


def _chosen_model(model: Path | None) -> Path:
    """Return the model that was named, or the newest one, and say which."""
    if model is not None:
        return model
    from trainer.runs import RUNS, newest_model

    newest = newest_model(RUNS)
    messages.print(f"model: {newest} (the newest export)", markup=False)
    return newest


def _load_tensorflow(purpose: str, extra: str) -> None:
    from trainer.devices import load_tensorflow

    with messages.status("loading TensorFlow"), _needs(purpose, extra):
        load_tensorflow()


@contextlib.contextmanager
def _needs(purpose: str, extra: str) -> Iterator[None]:
    """Turn a failed import into an error with the install line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "a package", purpose, extra) from error


def _resume(recipe: str | None, out: Path | None) -> None:
    from trainer.datasets import load_dataset
    from trainer.recipes import load_recipe_module
    from trainer.runs import RUNS, Run, check_same_images, newest_run

    if recipe:
        load_recipe_module(recipe)  # a name that there is not should be called that, not a missing run
    run = Run(out) if out else newest_run(RUNS, recipe)
    resolved = run.read_recipe()
    if recipe not in (None, resolved.name):
        raise typer.BadParameter(f"{run.path} is a run of {resolved.name}, not of {recipe}.")
    steps = run.checkpoint_steps()
    images = dataclasses.replace(load_dataset(run.read_data()["source"]), name=resolved.dataset)
    check_same_images(run, images)
    _load_tensorflow("training", "train")
    _train(run, resolved, images, first=steps[-1] if steps else 0)


def _train(run: Run, recipe: Recipe, data: Dataset, first: int) -> None:
    from trainer.loop import train as train_run
    from trainer.report import Report

    height, width, channels = recipe.image_shape
    where = f"from step {first:,} to {recipe.steps:,}" if first else f"{recipe.steps:,} steps"
    messages.print(
        f"{recipe.name}: {len(data.images):,} images of {height}x{width}x{channels} ({data.name}), "
        f"batch {recipe.batch_size}, {where} -> {run.path}",
        markup=False,
    )
    started = time.perf_counter()
    try:
        with Report(messages, recipe.steps, first) as report:
            train_run(recipe, data, run, report, first)
    except KeyboardInterrupt:
        messages.print(f"Stopped; go on with: ganport train --resume --out {run.path}", markup=False)
        raise typer.Exit(130) from None
    seconds = time.perf_counter() - started
    preview = run.preview_file(recipe.steps)
    results.print(f"{run.path}: trained to step {recipe.steps:,} in {seconds:.0f} s; preview: {preview}", markup=False)


def _facts(document: dict[str, object]) -> list[tuple[str, str]]:
    """Return the contract as (label, text), one line each; the golden picture by its seeds only."""
    facts = []
    for label, value in document.items():
        if label == "golden" and isinstance(value, dict):
            value = {"seeds": value["seeds"]}
        if isinstance(value, dict):
            value = ", ".join(f"{name} {_brief(item)}" for name, item in value.items()) or "none"
        facts.append((label, str(value)))
    return facts


def _brief(item: object) -> str:
    if isinstance(item, dict):
        return "(" + ", ".join(f"{name} {value}" for name, value in item.items()) + ")"
    return str(item)


if __name__ == "__main__":
    main()
