"""`train`, `recipes`, `runs`."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from ganport.runtime.errors import MissingPackageError, printable

from .console import load_tensorflow, messages, print_whole, results

if TYPE_CHECKING:
    from ganport.trainer.datasets import Dataset
    from ganport.trainer.devices import Devices
    from ganport.trainer.recipe import Recipe
    from ganport.trainer.report import Observer
    from ganport.trainer.runs import Run


def train(
    recipe: Annotated[str | None, typer.Argument(help="See `ganport recipes`.", show_default="digits")] = None,
    data: Annotated[str | None, typer.Option(help="Set by name, image folder, .npz or IDX file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the named sets lie; else $GANPORT_DATA.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default="the recipe's")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Real images per step.", show_default="the recipe's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Of weights and draws.")] = None,
    image_size: Annotated[int | None, typer.Option(min=8, help="Crop and resize images to squares of this side.")] = None,
    channels: Annotated[int | None, typer.Option(min=1, max=3, help="1 for grey, 3 for colour.")] = None,
    data_memory: Annotated[
        int | None, typer.Option(min=0, help="MB; a larger folder is read while training.", show_default="2048")
    ] = None,
    preview_interval: Annotated[
        int | None, typer.Option(min=1, help="Steps between previews and checkpoints.", show_default="the recipe's")
    ] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between measures of quality; the best checkpoint is kept by them.")
    ] = None,
    mixed_precision: Annotated[bool, typer.Option("--mixed-precision", help="Compute in bfloat16.")] = False,
    device: Annotated[Literal["auto", "cpu", "gpu"], typer.Option(help="There is no fallback from gpu.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="So many of them share each batch.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Run folder.", show_default="runs/RECIPE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, or with the newest one.")] = False,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Train exactly as the recipe's description does.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write logs for TensorBoard too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe as JSON, and stop.")] = False,
) -> None:
    """Train a GAN: progress, preview grids, checkpoints; all in a run folder."""
    numbers = {"steps": steps, "batch_size": batch_size, "seed": seed, "preview_interval": preview_interval}
    numbers["evaluate_interval"] = evaluate_every
    changes: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    if mixed_precision:
        changes["mixed_precision"] = True
    if channels == 2:
        raise typer.BadParameter("--channels is 2; it takes 1 for grey or 3 for colour.")
    sizes = {"image_size": image_size, "channels": channels, "memory_limit": data_memory}
    preparation: dict[str, Any] = {name: value for name, value in sizes.items() if value is not None}
    if resume:
        if changes or preparation or data is not None or data_dir or as_published or dry_run:
            raise typer.BadParameter(
                "--resume goes on as the run was started; of the other options it takes --out, --device, --devices and "
                "--tensorboard."
            )
        _resume(recipe, out, device, devices, tensorboard)
        return

    from ganport.trainer.datasets import Preparation, load_dataset
    from ganport.trainer.recipes import DEFAULT_RECIPE, is_recipe_file, load_recipe_module, published_recipe
    from ganport.trainer.runs import RUNS, Run, await_run, check_images, start_run, unused_run

    name = recipe or DEFAULT_RECIPE
    if is_recipe_file(name) and Path(name).is_file():
        load_tensorflow("training", "train")  # the user's file may import it in its first line
    module = load_recipe_module(name)
    resolved = published_recipe(module) if as_published else module.RECIPE
    resolved = dataclasses.replace(resolved, **changes)
    if dry_run and data is None and not preparation:
        results.print_json(data=resolved.to_dict())
        return
    if image_size is None and data in (None, resolved.dataset):  # the recipe's own set comes in the recipe's size
        height, width, _ = resolved.image_shape
        preparation |= {"image_size": height} if height == width else {}
    with messages.status("reading images"):
        images = load_dataset(resolved.dataset if data is None else data, data_dir, Preparation(**preparation))
    if recipe is None and resolved.labels and not images.is_labelled:  # nobody asked for classes
        messages.print(f"{name}: draws no classes on demand, since {images.unlabelled or 'the images have none'}", markup=False)
        resolved = dataclasses.replace(resolved, labels=())
    labels = tuple(images.classes) if resolved.labels else ()
    resolved = dataclasses.replace(resolved, dataset=images.name, image_shape=images.image_shape)
    check_images(resolved, images)
    resolved = dataclasses.replace(resolved, labels=labels)
    if dry_run:
        results.print_json(data=resolved.to_dict())
        return
    chosen = _choose_devices(device, devices)
    if resolved.evaluate_interval and importlib.util.find_spec("onnxruntime") is None:
        raise MissingPackageError("onnxruntime", "--evaluate-every", "cpu")
    if chosen.hosts > 1 and out is None:
        raise typer.BadParameter("Hosts that train together need --out, a folder that all of them see.")
    run = Run(out) if out else unused_run(RUNS, resolved.name)
    if is_recipe_file(name):
        from ganport.trainer.networks import build_networks

        build_networks(resolved, module)  # a mistake in these should leave no run behind
    if chosen.is_chief:
        start_run(run, resolved, images, Path(name) if is_recipe_file(name) else None)
    else:
        await_run(run)
    _train(run, resolved, images, chosen, tensorboard)


def _resume(
    recipe: str | None, out: Path | None, device: Literal["auto", "cpu", "gpu"], devices: int, tensorboard: bool
) -> None:
    from ganport.trainer.recipes import is_recipe_file, load_recipe_module
    from ganport.trainer.runs import RUNS, Run, load_run_data, newest_run

    if recipe and is_recipe_file(recipe):
        raise typer.BadParameter("--resume takes the recipe from the run; name the run with --out.")
    if recipe:
        load_recipe_module(recipe)  # a name that there is not should be called that, not a missing run
    run = Run(out) if out else newest_run(RUNS, recipe)
    resolved = run.read_recipe()
    if recipe not in (None, resolved.name):
        raise typer.BadParameter(f"{run.path} is a run of {resolved.name}, not of {recipe}.")
    images = load_run_data(run)
    _train(run, resolved, images, _choose_devices(device, devices), tensorboard)


def _choose_devices(device: Literal["auto", "cpu", "gpu"], count: int) -> Devices:
    load_tensorflow("training", "train")
    if importlib.util.find_spec("matplotlib") is None:  # of the same extra; without it the run would end at its first curves
        raise MissingPackageError("matplotlib", "training", "train")
    from ganport.trainer.devices import choose_devices

    return choose_devices(device, count)


def _train(run: Run, recipe: Recipe, data: Dataset, devices: Devices, tensorboard: bool) -> None:
    from ganport.trainer.loop import train as train_run
    from ganport.trainer.report import Report, TensorBoard

    height, width, channels = recipe.image_shape
    first = max(run.checkpoint_steps(), default=0)
    is_complete = first == recipe.steps
    if is_complete:
        where = f"all {recipe.steps:,} steps are made"
    else:
        where = f"from step {first:,} to {recipe.steps:,}" if first else f"{recipe.steps:,} steps"
    messages.print(
        f"{recipe.name}: {data.count:,} images of {height}x{width}x{channels} ({data.name}), "
        f"batch {recipe.batch_size}, {where}, on {devices.description} -> {run.path}",
        markup=False,
    )
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        observers: list[Observer] = []
        if devices.is_chief:
            observers.append(stack.enter_context(Report(messages, recipe.steps)))
        if devices.is_chief and tensorboard:
            observers.append(stack.enter_context(TensorBoard(run.tensorboard_folder)))
        try:
            stopped_by = train_run(recipe, data, run, observers, devices)
        except KeyboardInterrupt:  # before the first step, or for the second time
            messages.print(f"Stopped; go on with: {run.resume_command}", markup=False)
            raise
    seconds = time.perf_counter() - started
    if stopped_by is not None:
        messages.print(f"Stopped and saved at step {run.newest_step():,}; go on with: {run.resume_command}", markup=False)
        raise typer.Exit(128 + stopped_by)
    if not devices.is_chief:
        return
    preview = run.preview_file(recipe.steps)
    took = "" if is_complete else f" in {seconds:.0f} s"
    results.print(f"{run.path}: trained to step {recipe.steps:,}{took}; preview: {preview}", markup=False)


def recipes() -> None:
    """List the recipes: what they train, on what, in how many steps, and what comes of it."""
    from ganport.trainer.recipes import EXPECTED, RECIPES, load_recipe_module

    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "steps", "minutes", "Fréchet", "what it is"):
        table.add_column(heading, justify="left" if heading in ("recipe", "what it is") else "right")
    for name in RECIPES:
        module = load_recipe_module(name)
        expected = [f"{number:g}" for number in EXPECTED.get(name, ())] or ["", ""]
        summary = (module.__doc__ or "").splitlines()[0].removesuffix(".")
        table.add_row(name, f"{module.RECIPE.steps:,}", *expected, f"{summary} ({module.RECIPE.dataset})")
    results.print(table)
    results.print("minutes: on two cores of 2.6 GHz; Fréchet: the distance to real images, where both were measured.")
    results.print("All of convolutions but digits: by train --mixed-precision; those of 28x28 with --evaluate-every N, then")
    results.print("export --best.")


def runs(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """List the runs under runs/, the one worked on last first."""
    from ganport.trainer.runs import RUNS, list_runs

    found = list_runs(RUNS)
    if as_json:
        print(json.dumps([{**dataclasses.asdict(run), "path": str(run.path)} for run in found], indent=2))
        return
    if not found:
        messages.print(f"No run in {RUNS}; make one with: ganport train", markup=False)
        return
    measured = [each for each in _RUN_METRICS if any(each[1] in run.metrics for run in found)]
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "recipe", "step", *(each[0] for each in measured), "saved"):
        table.add_column(heading, justify="left" if heading in ("run", "recipe") else "right", no_wrap=True)
    for run in found:
        shown = [f"{run.metrics[name]:{form}}" if name in run.metrics else "" for _, name, form in measured]
        cells = (str(run.path), run.recipe, f"{run.step:,} of {run.steps:,}", *shown, f"{_age(run.age)} ago")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    print_whole(table)
    results.print("distance, Fréchet: to the training images; they compare runs on the same images.")


_RUN_METRICS = (
    ("D loss", "d_loss", ".3f"),
    ("G loss", "g_loss", ".3f"),
    ("D right", "d_accuracy", ".0%"),
    ("distance", "distance", ".3f"),
    ("Fréchet", "frechet", ".3f"),
)


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
