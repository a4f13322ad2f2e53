"""The commands `train` and `recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from .console import messages, results

if TYPE_CHECKING:
    from ganport.trainer.arguments import TrainingArguments
    from ganport.trainer.devices import DeviceName
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
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Start from the trained networks of a run folder, or from pretrained networks by name.",
            show_default="random weights",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Training steps; with --resume, a new number for the run.",
            show_default="the recipe's",
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time of the training; the steps follow from the measured speed.")
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
        str | None,
        typer.Option(help="Pixels per side, such as 64, or height x width, such as 64x48."),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, max=4, help="1 for grey, 3 for colour, 4 for colour with alpha.")
    ] = None,
    crop: Annotated[
        Literal["center", "none", "random"] | None,
        typer.Option(help="Part of an image that is used; none pads the whole image.", show_default="center"),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(help="Colour behind transparent pixels and of padding.", show_default="white"),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that can't be read.")
    ] = False,
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
        typer.Option(
            min=0,
            help="Steps between measurements of the Fréchet distance; 0 for none.",
            show_default="the recipe's",
        ),
    ] = None,
    early_stop: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Stop after N measurements without a smaller Fréchet distance.",
            show_default="never",
        ),
    ] = None,
    mixed_precision: Annotated[
        Literal["auto", "on", "off"] | None,
        typer.Option(help="Compute in bfloat16; auto: if that is faster here.", show_default="the recipe's"),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(help="Name of the model on cards and pages.", show_default="the recipe's name"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a setting of the recipe, such as loss=hinge; several times for several settings.",
        ),
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
    from ganport.trainer.arguments import TrainingArguments
    from ganport.trainer.settings import parse_settings
    from ganport.trainer.terminal import TerminalProgress

    arguments: dict[str, Any] = {
        "data": data,
        "data_dir": data_dir,
        "start_from": start_from,
        "steps": steps,
        "minutes": minutes,
        "batch_size": batch_size,
        "seed": seed,
        "image_size": image_size,
        "channels": channels,
        "crop": crop,
        "background": background,
        "skip_bad": skip_bad,
        "data_memory": data_memory,
        "preview_interval": preview_interval,
        "evaluate_interval": evaluate_interval,
        "early_stop": early_stop,
        "mixed_precision": mixed_precision,
        "title": title,
        "settings": parse_settings(settings or ()) or None,
        "as_published": as_published,
    }
    if dry_run:
        if resume:
            raise typer.BadParameter("--dry-run shows a new run; leave out --resume.")
        _print_plan(recipe, TrainingArguments(**arguments), device, devices)
        return
    progress = TerminalProgress(messages)
    how = {
        "out": out,
        "device": device,
        "devices": devices,
        "resume": resume,
        "tensorboard": tensorboard,
    }
    _train(recipe, {**arguments, **how}, progress)


def _print_plan(recipe: str | None, arguments: TrainingArguments, device: DeviceName, devices: int) -> None:
    from ganport.trainer.terminal import TerminalProgress
    from ganport.trainer.training import preview_plan

    progress = TerminalProgress(messages)
    try:
        plan = preview_plan(recipe, arguments, progress, device, devices)
    finally:
        progress.on_end()
    results.print_json(data=plan.recipe.to_dict())


def _train(recipe: str | None, arguments: dict[str, Any], progress: TerminalProgress) -> None:
    from ganport.trainer.errors import TrainingInterrupted
    from ganport.trainer.history import History
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
    findings = History(run.history).findings
    if findings:
        names = ", ".join(f"{finding.name} (step {finding.step:,})" for finding in findings)
        messages.print(f"found: {names}; curves: {RunFolder(run.path).curves_file}", markup=False)
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
    results.print("those for 28x28 images with --evaluate-interval.")
