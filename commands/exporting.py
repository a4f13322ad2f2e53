"""The command `export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from ganport.runtime.command import with_options
from ganport.runtime.contract import InputKind, Layout, Precision
from ganport.runtime.description import DescriptionOptions

from .console import messages, results
from .describing import describes_generator, renamed

if TYPE_CHECKING:
    from ganport.export.c_source.source_files import SourceFacts
    from ganport.export.costs import Cost
    from ganport.export.exporting import Exported


@describes_generator
def export(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Run folder, .keras, .h5 or .onnx file, SavedModel, weights, or a pretrained generator.",
            show_default="the newest run",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file to write; for --format triton a folder.",
            show_default="generator.onnx in the run folder",
        ),
    ] = None,
    input_kind: Annotated[
        InputKind,
        typer.Option(
            "--input",
            help="Latents; seeds, for hosts without ganport; or no input, for the images of --seeds.",
        ),
    ] = "latent",
    seeds: Annotated[
        str, typer.Option(help="Seeds for --input fixed, such as 0-63.", show_default=False)
    ] = "",
    output: Annotated[
        Literal["uint8", "float"] | None,
        typer.Option(help="Output of the file: pixels 0..255, or float32 -1..1.", show_default="uint8"),
    ] = None,
    layout: Annotated[
        Layout | None, typer.Option(help="Channels last, or channels first.", show_default="NHWC")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="Precision of the weights; float16-arithmetic and int8 also compute in it."),
    ] = "float32",
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Write float16 or int8 even if the images differ too much.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option(help="Fixed number of images per run.", show_default="free")
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(help="Version of the ONNX operators, for older or newer hosts.", show_default="18"),
    ] = None,
    target: Annotated[
        Literal["portable", "unity", "webgpu", "ncnn", "coreml", "tensorrt"] | None,
        typer.Option(
            "--for", help="Runtime that reads less than onnxruntime: a set of options.", show_default=False
        ),
    ] = None,
    file_format: Annotated[
        Literal["onnx", "ort", "triton", "c"],
        typer.Option(
            "--format",
            help="ONNX; ort for small builds of onnxruntime; triton for a model repository; c for C source.",
        ),
    ] = "onnx",
    step: Annotated[
        int | None,
        typer.Option(
            help="Checkpoint of a run, by its step.",
            show_default="smallest Fréchet distance, or else the newest",
        ),
    ] = None,
    best: Annotated[
        bool,
        typer.Option(
            "--best", help="Without Fréchet distances: export the one with the smallest pixel distance."
        ),
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code in a Keras file (Lambda layers).")
    ] = False,
    title: Annotated[
        str | None,
        typer.Option(help="Name of the model on cards and pages.", show_default="the run's, or a file name"),
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card, README.md, and a preview beside the file.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each rewrite of the graph saves.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    custom_objects: Annotated[
        Path | None,
        typer.Option(
            help="Python file with the classes that a Keras file uses; needs --trust.", show_default=False
        ),
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            help="Python file with build_generator(), or JSON architecture, for a file of weights alone.",
            show_default=False,
        ),
    ] = None,
    signature: Annotated[
        str | None,
        typer.Option(help="Signature of a SavedModel that generates images.", show_default="serving_default"),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Name of the generator inside of a whole GAN.", show_default=False)
    ] = None,
    description: DescriptionOptions | None = None,
) -> None:
    """Turn a generator into one verified .onnx file."""
    from ganport.export.exporting import export_file

    with messages.status("exporting") as status:
        exported = export_file(
            source,
            path,
            step=step,
            best=best,
            trust=trust,
            input_kind=input_kind,
            seeds=seeds or (),
            output=output,
            layout=layout,
            precision=precision,
            allow_loss=allow_loss,
            batch=batch,
            opset=opset,
            file_format=file_format,
            target=target,
            title=title,
            card=card,
            overwrite=overwrite,
            custom_objects=custom_objects,
            network=network,
            signature=signature,
            layer=layer,
            **renamed(description or {}),
            note=lambda line: messages.print(with_options(line, {"step": "--step"}), markup=False),
            progress=status.update,
        )
    if explain:
        _print_rewrites(exported.measure_rewrites())
    if exported.c_source is None:
        _print_precisions(exported)
    _print_result(exported)


def _print_rewrites(rows: list[tuple[str, Cost]]) -> None:
    table = _cost_table("rewrite", rows[0][1])
    for name, cost in rows:
        table.add_row(name, *_cost_cells(cost))
    messages.print(table)


def _print_precisions(exported: Exported) -> None:
    """Print a table of the graph's size and speed, in float32 and in the precision of the exported file.

    The row of the exported file also says how much the images of this file differ from those of the
    Keras generator.
    """
    rows = exported.measure_costs()
    measured = exported.contract.verification
    table = _cost_table("precision", rows[0][1])
    for title in ("mean diff.\n(levels)", "max diff.\n(levels)"):
        table.add_column(title, justify="right", no_wrap=True)
    for precision, cost in rows:
        differences = []
        if precision == exported.contract.precision:
            differences = [f"{measured['mean_levels']:.3f}", str(measured["max_levels"])]
        table.add_row(precision, *_cost_cells(cost), *differences)
    messages.print(table)


def _print_result(exported: Exported) -> None:
    image, verification = exported.contract.image, exported.contract.verification
    shape = f"{image.height}x{image.width}x{image.channels} {image.dtype}"
    batches = ", ".join(map(str, verification["batch_sizes"]))
    original, seeds = exported.verified.source.original, verification["seeds"]
    results.print(
        f"{exported.path}: {exported.size / 1e6:.2f} MB, {shape}, {exported.contract.precision}; verified "
        f"against {original} with {seeds} seeds in batches of {batches}",
        markup=False,
    )
    if exported.c_source is not None:
        _print_source(exported.c_source, exported.contract.verification)
    if exported.card:
        results.print(", ".join(map(str, exported.card)), markup=False)


def _print_source(source: SourceFacts, measured: Mapping[str, Any]) -> None:
    """Print the memory that the C code needs, its difference from the original, and the self-test."""
    results.print(
        f"flash: {source.flash:,} bytes of constants; RAM: {source.ram:,} bytes; mean difference "
        f"{measured['mean_levels']:.3f} levels, largest {measured['max_levels']}",
        markup=False,
    )
    if source.compiler:
        results.print(f"self-test with {source.compiler}: {source.selftest}", markup=False)
    else:
        results.print(
            "self-test: not run, since no C compiler was found; see -DGANPORT_SELFTEST", markup=False
        )


def _cost_table(heading: str, cost: Cost) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(heading, no_wrap=True)
    for title in ("nodes", "parameters", "MB", *(f"ms at {batch}" for batch in cost.milliseconds)):
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _cost_cells(cost: Cost) -> list[str]:
    return [
        f"{cost.nodes:,}",
        f"{cost.parameters:,}",
        f"{cost.size / 1e6:.2f}",
        *(f"{time:.3f}" for time in cost.milliseconds.values()),
    ]
