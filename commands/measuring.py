"""The commands `bench` and `evaluate`: how fast a model is, and how good its images are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ganport.runtime.description import DescriptionOptions
from ganport.runtime.providers import ProviderName

from .console import (
    BudgetOption,
    JsonOption,
    ModelArgument,
    ProviderOption,
    find_model,
    messages,
    print_whole,
    results,
)
from .describing import describes_generator


@describes_generator
def bench(
    model: ModelArgument = None,
    provider: Annotated[
        ProviderName | None,
        typer.Option(help="Measure this provider only.", show_default="each that works"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds of generating for each line.")] = 1.0,
    budget: BudgetOption = 1.0,
    as_json: JsonOption = False,
    description: DescriptionOptions | None = None,
) -> None:
    """Measure how long a model takes on this machine, by provider, threads and batch size."""
    from ganport.runtime.bench import measure_speed
    from ganport.runtime.cores import usable_cores
    from ganport.runtime.doctor import working_providers

    path = find_model(model)
    with messages.status("measuring"):
        speeds = list(
            measure_speed(
                path,
                # If no provider works, opening the model on the CPU raises an error that says why.
                providers=[provider] if provider else working_providers() or ["cpu"],
                threads=sorted({1, usable_cores()}),
                seconds=seconds,
                budget=budget,
                **(description or {}),
            )
        )
    if as_json:
        print(json.dumps([dataclasses.asdict(speed) for speed in speeds], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("provider", "threads", "batch", "cold ms", "p50 ms", "p95 ms", "p99 ms", "images/s"):
        table.add_column(heading, justify="left" if heading == "provider" else "right", no_wrap=True)
    for speed in speeds:
        times = [f"{milliseconds:.3f}" for milliseconds in (speed.p50, speed.p95, speed.p99)]
        rate = f"{speed.rate:,.0f}"
        table.add_row(speed.provider, str(speed.threads), str(speed.batch), f"{speed.cold:.1f}", *times, rate)
    print_whole(table)


@describes_generator
def evaluate(
    model: ModelArgument = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Real images: mnist, fashion-mnist, rock-paper-scissors, or a folder, .npz or IDX file.",
            show_default="the set that the model was trained on",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds to generate, such as 0-999.", show_default="as many as the baseline has images"
        ),
    ] = None,
    truncation: Annotated[
        float, typer.Option(min=0, max=1, help="Below 1, images are nearer to the average image.")
    ] = 1.0,
    provider: ProviderOption = "cpu",
    budget: BudgetOption = 1.0,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the training images, to search for copies.", show_default="$GANPORT_DATA"
        ),
    ] = None,
    as_json: JsonOption = False,
    description: DescriptionOptions | None = None,
) -> None:
    """Measure how good a model's images are: distances to real images, precision, recall, labels, copies."""
    from ganport.evaluation import evaluate as evaluate_model
    from ganport.evaluation.report import HEADINGS
    from ganport.runtime import Sampler
    from ganport.runtime.command import say_note, say_provider

    with (
        Sampler(find_model(model), provider=provider, budget=budget, **(description or {})) as sampler,
        messages.status("opening the model") as status,
    ):
        say_note(sampler)
        say_provider(sampler, provider)
        report = evaluate_model(
            sampler,
            data=data,
            seeds=seeds,
            truncation=truncation,
            data_dir=data_dir,
            progress=status.update,
        )
    for note in report.notes:
        messages.print(note, markup=False)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in HEADINGS[1:3] else "left")
    for row in report.rows():
        table.add_row(*row)
    results.print(table)
    results.print(report.describe(), markup=False)
