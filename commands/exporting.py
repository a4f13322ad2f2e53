"""`export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from .console import RangeOption, load_tensorflow, messages, needs, results

if TYPE_CHECKING:
    from ganport.export import Cost, Proven
    from ganport.runtime import Contract


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
    from ganport.runtime import parse_seeds
    from ganport.runtime.writers import LARGEST_GRID
    from ganport.trainer.runs import RUNS, newest_run

    if source is None:
        source = newest_run(RUNS, prefer_trained=True).path
        passed_over = newest_run(RUNS).path != source
        messages.print(f"run: {source} (the newest{' with a checkpoint' if passed_over else ''})", markup=False)
    target = _export_target(source, out, form)
    baked = tuple(parse_seeds(seeds, at_most=LARGEST_GRID).tolist()) if seeds else ()
    load_tensorflow("export", "export")
    with needs("export", "export"):
        from ganport import export as exporter

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
    elif loaded.training and loaded.training["steps"] < loaded.recipe["steps"]:
        messages.print(f"checkpoint: step {loaded.training['steps']:,} of {loaded.recipe['steps']:,}", markup=False)
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
    from ganport.trainer.runs import Run

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
    from ganport.export import measure_costs

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
