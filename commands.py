"""The commands but `sample`: one function each; it parses, calls one function of the library, and prints one result."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.errors import DrawingError, MissingPackageError, UsageError

if TYPE_CHECKING:
    from evaluation import Reference
    from export import Cost, Proven
    from runtime import Contract, Sampler
    from runtime.sampler import Pixels, Seeds
    from server import Settings
    from trainer.datasets import Dataset
    from trainer.devices import Devices
    from trainer.recipe import Recipe
    from trainer.report import Observer
    from trainer.runs import Run

ModelArgument = Annotated[
    Path | None,
    typer.Argument(help="The .onnx file, or a name in the box: see `ganport models`.", show_default="the newest export"),
]
ProviderOption = Annotated[
    str, typer.Option("--provider", help="cpu, cuda, tensorrt, openvino, directml, coreml; or auto. There is no fallback.")
]
LayoutOption = Annotated[
    Literal["NHWC", "NCHW"] | None,
    typer.Option("--layout", help="Of a foreign model's images.", show_default="by their shape"),
]
RangeOption = Annotated[
    Literal["tanh", "sigmoid"] | None,
    typer.Option("--range", help="Of a foreign model's images: -1..1 or 0..1.", show_default="by its last activation"),
]

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

    from trainer.datasets import Preparation, load_dataset
    from trainer.recipes import DEFAULT_RECIPE, is_recipe_file, load_recipe_module, published_recipe
    from trainer.runs import RUNS, Run, await_run, check_images, start_run, unused_run

    name = recipe or DEFAULT_RECIPE
    if is_recipe_file(name) and Path(name).is_file():
        _load_tensorflow("training", "train")  # the user's file may import it in its first line
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
    if chosen.is_chief:
        start_run(run, resolved, images, Path(name) if is_recipe_file(name) else None)
    else:
        await_run(run)
    _train(run, resolved, images, chosen, tensorboard)


@app.command()
def recipes() -> None:
    """List the recipes: what they train, on what, in how many steps, and what comes of it."""
    from trainer.recipes import EXPECTED, RECIPES, load_recipe_module

    table = Table(box=None, pad_edge=False)
    for heading in ("recipe", "steps", "minutes", "Fréchet", "what it is"):
        table.add_column(heading, justify="left" if heading in ("recipe", "what it is") else "right")
    for name in RECIPES:
        module = load_recipe_module(name)
        expected = [f"{number:g}" for number in EXPECTED.get(name, ())] or ["", ""]
        summary = (module.__doc__ or "").splitlines()[0]
        table.add_row(name, f"{module.RECIPE.steps:,}", *expected, f"{summary} ({module.RECIPE.dataset})")
    results.print(table)
    results.print("minutes: on two cores of 2.6 GHz; Fréchet: the distance to real images, where both were measured.")


@app.command()
def runs(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """List the runs under runs/, the one worked on last first."""
    from trainer.runs import RUNS, list_runs

    found = list_runs(RUNS)
    if as_json:
        print(json.dumps([{**dataclasses.asdict(run), "path": str(run.path)} for run in found], indent=2))
        return
    if not found:
        messages.print(f"No run in {RUNS}; make one with: ganport train", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "recipe", "step", "D loss", "G loss", "D right", "distance", "Fréchet", "saved"):
        table.add_column(heading, justify="left" if heading in ("run", "recipe") else "right", no_wrap=True, overflow="fold")
    for run in found:
        shown = [f"{run.metrics[name]:{form}}" if name in run.metrics else "" for name, form in _RUN_METRICS]
        table.add_row(str(run.path), run.recipe, f"{run.step:,} of {run.steps:,}", *shown, f"{_age(run.age)} ago")
    results.print(table)


_RUN_METRICS = (("d_loss", ".3f"), ("g_loss", ".3f"), ("d_accuracy", ".0%"), ("distance", ".3f"), ("frechet", ".3f"))


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


@app.command()
def export(
    source: Annotated[
        Path | None, typer.Argument(help="Run folder, .keras or .h5 file, or SavedModel.", show_default="the newest run")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The .onnx file.", show_default="generator.onnx in the run folder")] = None,
    input_kind: Annotated[
        Literal["latent", "seed", "fixed"],
        typer.Option("--input", help="Latents; seeds, for hosts without our runtime; or nothing, with --seeds baked in."),
    ] = "latent",
    seeds: Annotated[str | None, typer.Option(help="For --input fixed, such as 0-63.")] = None,
    output: Annotated[Literal["uint8", "float"], typer.Option(help="Pixels 0..255, or float32 -1..1.")] = "uint8",
    layout: Annotated[Literal["NHWC", "NCHW"], typer.Option(help="Channels last, or first.")] = "NHWC",
    precision: Annotated[Literal["float32", "float16", "int8"], typer.Option(help="Of weights and arithmetic.")] = "float32",
    allow_loss: Annotated[bool, typer.Option("--allow-loss", help="Whatever float16 or int8 loses.")] = False,
    batch: Annotated[int | None, typer.Option(min=1, help="Images per call, fixed.", show_default="free")] = None,
    opset: Annotated[int, typer.Option(min=13, help="Of ONNX, for older or newer hosts.")] = 18,
    form: Annotated[
        Literal["onnx", "ort", "triton"],
        typer.Option("--format", help="ONNX; onnxruntime's own for small builds; a folder for a Triton server."),
    ] = "onnx",
    value_range: RangeOption = None,
    best: Annotated[
        bool, typer.Option("--best", help="The best checkpoint, not the last: see `train --evaluate-every`.")
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code in a Keras file: Lambda layers.")] = False,
    card: Annotated[bool, typer.Option("--card", help="Write a model card, README.md, and a preview beside it.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each rewrite of the graph saves.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Turn a generator into one verified .onnx file."""
    from runtime import parse_seeds
    from runtime.command import LARGEST_GRID
    from trainer.runs import RUNS, newest_run

    if source is None:
        source = newest_run(RUNS).path
        messages.print(f"run: {source} (the newest)", markup=False)
    target = _export_target(source, out, form)
    baked = tuple(parse_seeds(seeds, at_most=LARGEST_GRID).tolist()) if seeds else ()
    _load_tensorflow("export", "export")
    with _needs("export", "export"):
        import export as exporter

    options = exporter.Options(
        input=input_kind,
        seeds=baked,
        output=output,
        layout=layout,
        precision=precision,
        allow_loss=allow_loss,
        batch=batch,
        opset=opset,
    )
    exporter.check_target(target, options, form, overwrite)
    folder = target if form == "triton" else target.parent
    for path in exporter.card_files(folder) if card else ():
        exporter.check_free(path, overwrite)
    loaded = exporter.load_source(source, best, value_range, trust)
    if best:
        messages.print(f"checkpoint: {_why_best(loaded.training)}", markup=False)
    proven = exporter.prove(loaded, options)
    if explain:
        _print_costs("rewrite", exporter.explain(proven.plain))
    contract = exporter.write_model(proven, target, form, overwrite)
    _print_bill(proven, contract)
    checks = contract.verification
    shape = f"{contract.image.height}x{contract.image.width}x{contract.image.channels}"
    size = sum(path.stat().st_size for path in (target.rglob("*") if target.is_dir() else [target])) / 1e6
    results.print(
        f"{target}: {size:.2f} MB, {shape} {contract.image.dtype}, {contract.precision}; "
        f"verified against Keras with {checks['seeds']} seeds at batches of {', '.join(map(str, checks['batch_sizes']))}",
        markup=False,
    )
    if card:
        page, preview = exporter.write_card(exporter.model_file(target, form), folder)
        results.print(f"{page}, {preview}", markup=False)


def _why_best(training: Mapping[str, Any]) -> str:
    """Return which checkpoint of a run was taken, and what for."""
    step, metrics = f"step {training['steps']:,}", training["metrics"]
    if "frechet" in metrics:
        return f"{step}, with the smallest Fréchet distance to training images, {metrics['frechet']:.3f}"
    if "distance" in metrics:
        pixels = f"the smallest distance of pixels, {metrics['distance']:.3f}"
        return f"{step}, with {pixels}: the run had no --evaluate-every, and has no Fréchet distances"
    return f"{step}, the newest: none was measured"


def _export_target(source: Path, out: Path | None, form: Literal["onnx", "ort", "triton"]) -> Path:
    """Return where an export goes."""
    from trainer.runs import Run

    is_run = source.is_dir() and not (source / "saved_model.pb").exists()
    source = source if source.name else source.resolve()  # "." has no name
    default = Run(source).onnx_file if is_run else source.with_suffix(".onnx")
    if form == "triton":
        return out or default.with_name("triton") / (source.name if is_run else source.stem)
    target = out or default.with_suffix(f".{form}")
    if target.suffix != f".{form}":
        raise typer.BadParameter(f"--out is {target}; it takes a name that ends in .{form}.")
    return target


def _print_bill(proven: Proven, contract: Contract) -> None:
    """Print what the file costs, and what another precision than float32 saves and loses."""
    from export import measure_costs

    checks = contract.verification
    if contract.precision == "float32":
        rows = [("float32", proven.model, checks)]
    else:
        rows = [("float32", proven.float32, {}), (contract.precision, proven.model, checks)]
    costs = measure_costs([model for _, model, _ in rows])
    table = _cost_table("precision", costs[0])
    for title in ("mean off", "at most"):
        table.add_column(title, justify="right", no_wrap=True)
    for (name, _, measured), cost in zip(rows, costs, strict=True):
        off = [f"{measured['mean_levels']:.3f}", str(measured["max_levels"])] if measured else []
        table.add_row(name, *_cost_cells(cost), *off)
    messages.print(table)


def _print_costs(heading: str, rows: list[tuple[str, Cost]]) -> None:
    table = _cost_table(heading, rows[0][1])
    for name, cost in rows:
        table.add_row(name, *_cost_cells(cost))
    messages.print(table)


def _cost_table(heading: str, cost: Cost) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(heading, no_wrap=True)
    for title in ("nodes", "numbers", "MB", *(f"ms at {batch}" for batch in cost.milliseconds)):
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _cost_cells(cost: Cost) -> list[str]:
    return [
        f"{cost.nodes:,}",
        f"{cost.parameters:,}",
        f"{cost.size / 1e6:.2f}",
        *(f"{time:.3f}" for time in cost.milliseconds.values()),
    ]


@app.command(add_help_option=False)
def sample() -> None:
    """Draw images."""
    raise UsageError("Write sample first: ganport sample ...")  # listed here; it runs without typer: cli.py


@app.command()
def walk(
    model: ModelArgument = None,
    seeds: Annotated[str, typer.Option(help="To go through, such as 0,5,9.")] = "0-7",
    frames: Annotated[int, typer.Option(min=1, help="From one seed to the next.")] = 15,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Frames a second.")] = 25.0,
    loop: Annotated[bool, typer.Option(help="Come back to the first seed.")] = True,
    label: Annotated[
        str | None, typer.Option(help="Class to draw, of a model that has some.", show_default="the first seed's")
    ] = None,
    provider: ProviderOption = "cpu",
    out: Annotated[Path, typer.Option(help="The animation, .gif or .webp; - for raw RGB on stdout.")] = Path("walk.gif"),
    layout: LayoutOption = None,
    value_range: RangeOption = None,
) -> None:
    """Draw an animation that goes from seed to seed."""
    from runtime import Sampler, parse_seeds
    from runtime.command import LARGEST_GRID, say_provider
    from runtime.progress import shown
    from runtime.writers import ANIMATIONS, STDOUT, write_animation, write_frames

    if out != STDOUT and out.suffix.lower() not in ANIMATIONS:
        raise typer.BadParameter(f"--out is {out}; it takes a name that ends in {' or '.join(ANIMATIONS)}, or - for stdout.")
    wanted = parse_seeds(seeds, at_most=LARGEST_GRID)
    count = frames * (len(wanted) - (not loop)) + (not loop)
    if out != STDOUT and count > LARGEST_GRID:
        raise typer.BadParameter(f"That would be {count:,} frames; {LARGEST_GRID:,} fit into an animation.")
    path = _find_model(model)
    with Sampler(path, provider, layout=layout, value_range=value_range) as sampler:
        say_provider(sampler, provider)
        batches = shown(sampler.walk(wanted.tolist(), frames, loop, label), count)
        if out == STDOUT:
            write_frames(batches, sys.stdout.buffer)
            height, width, _ = sampler.model.image.shape
            messages.print(
                f"raw video, rgb24, {width}x{height}: {count:,} frames through {len(wanted)} seeds of {path}", markup=False
            )
            return
        pictures = [frame for batch in batches for frame in batch]
    write_animation(pictures, [1 / rate] * len(pictures), out)
    results.print(f"{out}: {len(pictures):,} frames through {len(wanted)} seeds of {path}", markup=False)


@app.command()
def bench(
    model: ModelArgument = None,
    provider: Annotated[str | None, typer.Option(help="Only this one.", show_default="each that works")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of drawing, for each line.")] = 1.0,
    layout: LayoutOption = None,
    value_range: RangeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how long a model takes here: to open, for one image, for many; by provider and threads."""
    from runtime.bench import measure
    from runtime.doctor import working_providers
    from runtime.providers import usable_cores

    path = _find_model(model)
    providers = (working_providers() or ["cpu"]) if provider is None else [provider]  # which then says what is missing
    threads = sorted({1, usable_cores()})
    table = Table(box=None, pad_edge=False)
    for heading in ("provider", "threads", "batch", "cold ms", "p50 ms", "p95 ms", "p99 ms", "images/s"):
        table.add_column(heading, justify="left" if heading == "provider" else "right", no_wrap=True)
    found = []
    with messages.status("measuring"):
        for speed in measure(path, providers, threads, seconds=seconds, layout=layout, value_range=value_range):
            found.append(speed)
            times = [f"{each:.3f}" for each in (speed.p50, speed.p95, speed.p99)]
            cells = [str(speed.threads), str(speed.batch), f"{speed.cold:.1f}", *times, f"{speed.rate:,.0f}"]
            table.add_row(speed.provider, *cells)
    if as_json:
        print(json.dumps([dataclasses.asdict(speed) for speed in found], indent=2))
    else:
        results.print(table)


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """List the generators in the box; each has the name of the data set that it was trained on."""
    from runtime import BUNDLED, Sampler
    from runtime.bundled import figures

    found = {name: (Sampler(name).model, figures(name)) for name in BUNDLED}
    if as_json:
        documents = {name: {**json.loads(model.to_json()), "figures": scores} for name, (model, scores) in found.items()}
        print(json.dumps(documents, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "images", "classes", "MB", "Fréchet", "real", "data licence"):
        is_text = heading in ("model", "images", "data licence")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for name, (model, scores) in found.items():
        shape = "x".join(map(str, model.image.shape))
        size = f"{BUNDLED[name].stat().st_size / 1e6:.2f}"
        distances = [f"{each['frechet']:.3f}" for each in (scores, scores["floor"])]
        table.add_row(name, shape, str(len(model.input.labels or ())), size, *distances, model.data["licence"])
    results.print(table)
    results.print("Fréchet: the distance to real images, and what other real ones have; --json has all that was measured.")


@app.command()
def evaluate(
    model: ModelArgument = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="mnist, fashion-mnist, rock-paper-scissors; or a folder of pictures, .npz or IDX file of your own.",
            show_default="what the model was trained on",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="To draw.", show_default="as many as the real images' figures are of")
    ] = None,
    truncation: Annotated[float, typer.Option(min=0, max=1, help="Below 1: nearer to the average image.")] = 1.0,
    provider: ProviderOption = "cpu",
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the training images lie, to look for copies; else $GANPORT_DATA.")
    ] = None,
    layout: LayoutOption = None,
    value_range: RangeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how good a model's images are, beside real ones: distances, precision and recall, classes, copies."""
    from evaluation import check_images
    from evaluation import evaluate as evaluate_images
    from runtime import Sampler
    from runtime.command import say_provider

    path = _find_model(model)
    with Sampler(path, provider, layout=layout, value_range=value_range) as sampler:
        say_provider(sampler, provider)
        image, source = sampler.model.image, sampler.model.input
        with messages.status("reading real images"):
            reference = _load_real_images(data, sampler.model)
        wanted = _evaluated_seeds(seeds, reference)
        check_images(reference, len(wanted), image.shape)
        training = _training_images(reference, data_dir)
        asked = None
        if source.labels and source.labels != reference.labels:
            messages.print(f"Its classes are not those of {reference.name}: drawn in turn, without agreement", markup=False)
        elif source.labels and source.kind != "fixed":
            asked = reference.draw_labels(len(wanted))
        with messages.status("drawing and measuring"):
            parts = [slice(at, at + sampler.batch_size) for at in range(0, len(wanted), sampler.batch_size)]
            drawn = (sampler.sample(wanted[part], truncation, None if asked is None else asked[part]) for part in parts)
            report = evaluate_images(reference, drawn, training, asked)
    if as_json:
        print(json.dumps(dataclasses.asdict(report), indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("figure", "value", "real images", "what it is"):
        table.add_column(heading, justify="right" if heading in ("value", "real images") else "left")
    for row in report.rows():
        table.add_row(*row)
    results.print(table)
    results.print(f"{path}: {report.describe()}", markup=False)


def _load_real_images(data: str | None, model: Contract) -> Reference:
    """Return what a model is held against: by default the set that it was trained on."""
    from evaluation import LABELS, load_reference, own_reference
    from runtime.errors import EvaluationError
    from trainer.datasets import Preparation, load_dataset

    known = model.data.get("name", "")
    trained_on = {"digits": "mnist"}.get(known, known)  # those digits are a part of MNIST
    if data is None and trained_on not in LABELS:
        made_of = f"{known!r}, whose images are not in the box" if known else "something that it does not say"
        raise EvaluationError(f"the model was trained on {made_of}; give --data and the images, or {', '.join(LABELS)}")
    name = data or trained_on
    if name in LABELS:
        reference = load_reference(name)
    else:
        height, width, channels = model.image.shape
        images = load_dataset(name, preparation=Preparation(height if height == width else None, channels))
        reference = own_reference(images.name, images.count, images.take, tuple(images.classes), images.labels)
    if trained_on not in ("", reference.name):
        messages.print(f"The model was trained on {known}, and is held against {reference.name}", markup=False)
    return reference


def _evaluated_seeds(text: str | None, reference: Reference) -> Seeds:
    import numpy as np

    from runtime import parse_seeds
    from runtime.command import LARGEST_GRID
    from runtime.errors import SeedError

    if text is None:
        return np.arange(reference.floor["images"])
    seeds = parse_seeds(text, at_most=LARGEST_GRID)
    if len(np.unique(seeds)) < len(seeds):
        raise SeedError(text, "lists a seed twice, which would count as two images")
    return seeds


def _training_images(reference: Reference, data_dir: Path | None) -> Pixels | None:
    """Return the training images of a set whose real images are others; None where they don't lie here."""
    from runtime.errors import DatasetNotFoundError
    from trainer.datasets import find_training_images

    if not reference.is_unseen:
        if data_dir:
            raise typer.BadParameter(f"--data-dir is for copies, which are not looked for with {reference.name}; leave it out.")
        return None
    training = find_training_images(reference.name, data_dir)
    if training is None and data_dir:
        raise DatasetNotFoundError(reference.name, f"--data-dir is {data_dir}, where its training images are not.")
    return training


@app.command()
def inspect(
    model: ModelArgument = None,
    layout: LayoutOption = None,
    value_range: RangeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole contract as JSON.")] = False,
) -> None:
    """Show what a model file says about itself."""
    from runtime import Sampler

    path = _find_model(model)
    contract = Sampler(path, layout=layout, value_range=value_range).model
    if as_json:
        print(json.dumps(json.loads(contract.to_json()), indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for label, text in _facts(json.loads(contract.to_json())):
        table.add_row(label, Text(text))
    results.print(table)


@app.command()
def verify(
    model: ModelArgument = None,
    provider: ProviderOption = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Draw a file's golden images on this device, and compare them with those it drew when it was made."""
    from runtime import Sampler, check_golden
    from runtime.command import say_provider

    path = _find_model(model)
    sampler = Sampler(path, provider)
    say_provider(sampler, provider)
    checks = check_golden(sampler)
    failed = [check.seed for check in checks if not check.passed]
    if as_json:
        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            off = f"up to {check.largest} levels off, on {check.share:.2%} of the pixels"
            shown = off if check.largest else "the same bytes"
            results.print(Text(f"seed {check.seed}: {shown}", style="" if check.passed else "red"))
    if failed:
        raise DrawingError(path, sampler.provider, failed)
    messages.print(f"{path}: {len(checks)} golden images are drawn on {sampler.provider} as they were made", markup=False)


@app.command()
def web(
    model: ModelArgument = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("site"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a site that is there.")] = False,
    onnxruntime_web: Annotated[
        Path | None, typer.Option(help="The npm package's folder dist.", show_default="got by npm, once")
    ] = None,
) -> None:
    """Write a page that draws the model's images in the browser: a folder for any web server."""
    from web import write_site

    path = _find_model(model)
    with messages.status("putting the site together"):
        site = write_site(path, out, overwrite, onnxruntime_web)
    results.print(
        f"{out}: {site.contract.name}, {site.transfer / 1e6:.1f} MB to a browser, {site.compressed / 1e6:.1f} MB compressed; "
        f"{site.webgpu / 1e6:.1f} MB more where WebGPU may be worth it",
        markup=False,
    )
    results.print(f"Look at it: python -m http.server --bind 127.0.0.1 --directory {out}", markup=False)


@app.command()
def serve(
    model: ModelArgument = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of the machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for one that is free.")] = 8000,
    provider: ProviderOption = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="To compute with.", show_default="all that there are")] = None,
    queue: Annotated[int, typer.Option(min=1, help="Images that may wait; beyond, clients are told to come again.")] = 2048,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until a request is given up.")] = 30.0,
    page: Annotated[bool, typer.Option("--page/--no-page", help="The browser page at /.")] = True,
    engine: Annotated[Literal["ray"] | None, typer.Option(help="Serve from a cluster, by Ray Serve; without the page.")] = None,
    address: Annotated[str | None, typer.Option(help="Of the cluster.", show_default="one on this machine")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="On the cluster.", show_default="one for each core")] = None,
) -> None:
    """Serve the model's images over HTTP; with GANPORT_API_KEY set, to those who know it."""
    if engine is None and (address or replicas):
        raise UsageError("--address and --replicas are of a cluster: name it with --engine ray.")
    if engine == "ray" and threads:
        raise UsageError("--threads is of one process: on a cluster each replica has one; choose --replicas.")
    with _needs("serve", "server"):
        import server
    import os
    import tempfile

    from runtime import Sampler
    from runtime.command import say_provider

    path, api_key = _find_model(model), os.environ.get("GANPORT_API_KEY") or None
    settings = server.Settings(most_waiting=queue, patience=timeout, api_key=api_key)
    with Sampler(path, provider, threads, repeatable=True) as sampler, tempfile.TemporaryDirectory() as folder:
        say_provider(sampler, provider)
        said = f"{sampler.model.name} on {sampler.provider}{'' if api_key is None else ', with a key'}"
        if engine == "ray":
            _serve_on_ray(sampler, settings, host, port, replicas, address, said)
            return
        site = _make_site(path, Path(folder) / "site") if page and api_key is None else None
        server.serve(sampler, settings, host, port, site, lambda at: messages.print(f"{at} serves {said}; Ctrl-C stops it"))


def _serve_on_ray(
    sampler: Sampler, settings: Settings, host: str, port: int, replicas: int | None, address: str | None, said: str
) -> None:
    from cluster.replicas import serve_on_ray

    def started(where: str, count: int) -> None:
        messages.print(f"{where} serves {said}, {count} replicas on Ray; Ctrl-C stops them")

    serve_on_ray(sampler, settings, host, port, replicas, address, started)


def _make_site(model: Path, folder: Path) -> Path | None:
    """Return the folder of the browser page; None, and the reason said, where it can't be put together."""
    from runtime.errors import OutputError, WebError
    from web import write_site

    try:
        return write_site(model, folder).folder
    except (UsageError, WebError, OutputError) as error:
        messages.print(f"there is no page at /: {error}", markup=False)
        return None


@app.command()
def doctor(
    provider: Annotated[str | None, typer.Option(help="That has to work, such as cuda.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is installed, what works, and what to do about the rest."""
    from runtime.doctor import examine
    from runtime.providers import check_provider

    if provider is not None:
        check_provider(provider)
    findings = examine()
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in findings:
            detail = f"{finding.detail}; {finding.remedy}" if finding.remedy else finding.detail
            table.add_row(finding.name, Text(finding.state, _STATE_STYLES[finding.state]), Text(detail))
        results.print(table)
    asked = [finding for finding in findings if finding.name == f"provider {provider}"]
    if any(finding.state == "broken" for finding in findings) or any(finding.state != "works" for finding in asked):
        raise typer.Exit(1)
    if provider is not None and not asked:
        raise typer.Exit(1)  # without onnxruntime there are no providers


_STATE_STYLES = {"works": "green", "absent": "dim", "broken": "red"}


def run(arguments: list[str]) -> int:
    """Run a command; return its exit code.

    Raises:
        UsageError: the arguments are malformed.
        GanportError: whatever the command raises.
    """
    try:
        status: int | None = app(arguments, standalone_mode=False)
    except typer.TyperException as error:
        raise UsageError(f"{_usage_message(error)} See: ganport {' '.join(arguments[:1])} --help") from error
    return status or 0


def _usage_message(error: typer.TyperException) -> str:
    message = getattr(error, "format_message", lambda: str(error))().strip()
    return message if message.endswith((".", "!", "?")) else f"{message}."


def _find_model(model: Path | None) -> Path:
    from runtime.command import find_model
    from trainer.runs import default_model

    return find_model(model, default_model)


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


def _choose_devices(device: Literal["auto", "cpu", "gpu"], count: int) -> Devices:
    _load_tensorflow("training", "train")
    if importlib.util.find_spec("matplotlib") is None:  # of the same extra; without it the run would end at its first curves
        raise MissingPackageError("matplotlib", "training", "train")
    from trainer.devices import choose_devices

    return choose_devices(device, count)


def _resume(
    recipe: str | None, out: Path | None, device: Literal["auto", "cpu", "gpu"], devices: int, tensorboard: bool
) -> None:
    from trainer.recipes import is_recipe_file, load_recipe_module
    from trainer.runs import RUNS, Run, load_run_data, newest_run

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


def _train(run: Run, recipe: Recipe, data: Dataset, devices: Devices, tensorboard: bool) -> None:
    from trainer.loop import train as train_run
    from trainer.report import Report, TensorBoard

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
        stopped_by = train_run(recipe, data, run, observers, devices)
    seconds = time.perf_counter() - started
    if stopped_by is not None:
        remedy = f"go on with: ganport train --resume --out {run.path}"
        messages.print(f"Stopped and saved at step {run.newest_step():,}; {remedy}", markup=False)
        raise typer.Exit(128 + stopped_by)
    if not devices.is_chief:
        return
    preview = run.preview_file(recipe.steps)
    took = "" if is_complete else f" in {seconds:.0f} s"
    results.print(f"{run.path}: trained to step {recipe.steps:,}{took}; preview: {preview}", markup=False)


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
