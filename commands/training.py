"""The commands `train`, `recipes` and `runs`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from ganport.runtime.display import printable

from .console import JsonOption, messages, print_whole, results

if TYPE_CHECKING:
    from ganport.trainer.terminal import TerminalProgress


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe (see `ganport recipes`), a recipe file, or a folder of images.",
            show_default="digits",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data set by name, image folder, .npz or IDX file.", show_default="the recipe's"),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of the named data sets.", show_default="$GANPORT_DATA"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps.", show_default="the recipe's")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Real images per step.", show_default="the recipe's")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**31 - 1, help="Seed of weights and random numbers.", show_default="the recipe's"
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=8, help="Crop and resize images to squares of this side.")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, max=3, help="1 for grey, 3 for colour.")] = None,
    data_memory: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="MB of images in memory; larger folders are read during training.",
            show_default="2048",
        ),
    ] = None,
    preview_interval: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between previews and checkpoints.", show_default="the recipe's"),
    ] = None,
    evaluate_interval: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between measurements of the Fréchet distance.", show_default="none"),
    ] = None,
    mixed_precision: Annotated[
        Literal["auto", "on", "off"] | None,
        typer.Option(help="Compute in bfloat16; auto: if that is faster here.", show_default="the recipe's"),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "gpu"], typer.Option(help="There is no fallback from gpu to cpu.")
    ] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Number of devices that share each batch.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder.", show_default="runs/RECIPE")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, or the newest run.")
    ] = False,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Use the settings of the recipe's description.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write logs for TensorBoard.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe as JSON.")] = False,
) -> None:
    """Train a GAN: progress, preview grids and checkpoints in a run folder."""
    shape: dict[str, Any] = {
        "data": data,
        "data_dir": data_dir,
        "steps": steps,
        "batch_size": batch_size,
        "seed": seed,
        "image_size": image_size,
        "channels": channels,
        "data_memory": data_memory,
        "preview_interval": preview_interval,
        "evaluate_interval": evaluate_interval,
        "mixed_precision": mixed_precision,
        "as_published": as_published,
    }
    if dry_run:
        if resume:
            raise typer.BadParameter("--dry-run shows a new run; leave out --resume.")
        _print_plan(recipe, shape)
        return
    from ganport.trainer.terminal import TerminalProgress

    progress = TerminalProgress(messages)
    arguments = {
        "out": out,
        "device": device,
        "devices": devices,
        "resume": resume,
        "tensorboard": tensorboard,
    }
    _train(recipe, {**shape, **arguments}, progress)


def _print_plan(recipe: str | None, shape: dict[str, Any]) -> None:
    from ganport.trainer.plan import plan_training

    with messages.status("reading images"):
        plan = plan_training(recipe, **shape)
    for note in plan.notes:
        messages.print(note, markup=False)
    results.print_json(data=plan.recipe.to_dict())


def _train(recipe: str | None, arguments: dict[str, Any], progress: TerminalProgress) -> None:
    from ganport.trainer.errors import TrainingInterrupted
    from ganport.trainer.run_folder import RunFolder
    from ganport.trainer.training import train

    try:
        run = train(recipe, **arguments, callbacks=[progress])
    except TrainingInterrupted as stop:
        command = RunFolder(stop.path).resume_command
        messages.print(f"Stopped and saved at step {stop.step:,}; continue with: {command}", markup=False)
        raise typer.Exit(128 + stop.signal) from None
    except KeyboardInterrupt:  # Ctrl-C came before the first step, or a second time
        if progress.start:
            command = RunFolder(progress.start.run.path).resume_command
            messages.print(f"Stopped; continue with: {command}", markup=False)
        raise
    start = progress.start
    if start is None:  # this process is part of a cluster, and another process shows the progress
        return
    took = "" if start.first_step == start.recipe.steps else f" in {progress.seconds:.0f} s"
    preview = RunFolder(run.path).preview_file(run.step)
    results.print(f"{run.path}: trained to step {run.step:,}{took}; preview: {preview}", markup=False)


def recipes() -> None:
    """List the recipes with their networks, data, steps, training minutes and Fréchet distances."""
    from ganport.trainer.recipes import list_recipes

    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "steps", "minutes", "Fréchet", "networks and data"):
        is_text = heading in ("recipe", "networks and data")
        table.add_column(heading, justify="left" if is_text else "right")
    for each in list_recipes():
        measured = ["" if value is None else f"{value:g}" for value in (each.minutes, each.frechet)]
        table.add_row(each.name, f"{each.steps:,}", *measured, f"{each.summary} ({each.dataset})")
    results.print(table)
    results.print("minutes: on two cores of 2.6 GHz. Fréchet: distance to real images.")
    results.print("Convolutional recipes except digits were trained with --mixed-precision, and")
    results.print("those for 28x28 images with --evaluate-interval and `export --best`.")


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
    columns = [column for column in _METRIC_COLUMNS if any(column[1] in run.metrics for run in found)]
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "recipe", "step", *(column[0] for column in columns), "saved"):
        table.add_column(heading, justify="left" if heading in ("run", "recipe") else "right", no_wrap=True)
    for run in found:
        metrics = [f"{run.metrics[name]:{form}}" if name in run.metrics else "" for _, name, form in columns]
        steps = f"{run.step:,} of {run.steps:,}"
        cells = (str(run.path), run.recipe, steps, *metrics, f"{_format_age(run.age)} ago")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    print_whole(table)
    results.print("pixel dist, Fréchet: to the training images. Compare runs on the same images.")


# Columns of metrics: the heading, the name of the metric in the history of a run, and the number format.
_METRIC_COLUMNS = (
    ("D loss", "d_loss", ".3f"),
    ("G loss", "g_loss", ".3f"),
    ("D acc", "d_accuracy", ".0%"),
    ("pixel dist", "distance", ".3f"),
    ("Fréchet", "frechet", ".3f"),
)


def _format_age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
