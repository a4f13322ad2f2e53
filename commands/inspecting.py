"""The commands `models`, `inspect`, `verify` (for model files) and `doctor` (for the machine)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from ganport.runtime.description import DescriptionOptions
from ganport.runtime.display import model_name, printable
from ganport.runtime.errors import UsageError
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

if TYPE_CHECKING:
    from ganport.runtime.golden import GoldenComparison


def models(as_json: JsonOption = False) -> None:
    """List the pretrained generators. Each has the name of the data set that it was trained on."""
    from ganport.runtime import PRETRAINED, Sampler
    from ganport.runtime.pretrained import measured_quality

    found = {name: (Sampler(name).contract, measured_quality(name)) for name in PRETRAINED}
    if as_json:
        documents = {
            name: {**contract.to_dict(), "quality": quality} for name, (contract, quality) in found.items()
        }
        print(json.dumps(documents, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "images", "labels", "MB", "Fréchet", "baseline", "data licence"):
        is_text = heading in ("model", "images", "data licence")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True)
    for name, (contract, quality) in found.items():
        shape = "x".join(map(str, contract.image.shape))
        size = f"{PRETRAINED[name].stat().st_size / 1e6:.2f}"
        distances = [f"{each['frechet']:.3f}" for each in (quality, quality["baseline"])]
        licence = contract.data["licence"]
        table.add_row(name, shape, str(len(contract.input.labels or ())), size, *distances, licence)
    print_whole(table)
    results.print("Fréchet: distance to real images; baseline: the same for other real images. More: --json")


@describes_generator
def inspect(
    model: ModelArgument = None,
    budget: BudgetOption = 1.0,
    as_json: JsonOption = False,
    description: DescriptionOptions | None = None,
) -> None:
    """Show the contract in a model file, which describes its input, images, training and verification.

    For a third-party file, the contract is derived from the graph, and `graph_inputs` says what each input of
    the graph gets.
    """
    from ganport.runtime import Sampler
    from ganport.runtime.command import say_note

    sampler = Sampler(find_model(model), budget=budget, **(description or {}))
    say_note(sampler)
    document = sampler.contract.to_dict()
    if sampler.model.feeds:
        document["graph_inputs"] = {feed.name: str(feed) for feed in sampler.model.feeds}
    if as_json:
        print(json.dumps(document, indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in _facts(document):
        table.add_row(printable(name), Text(printable(text)))
    results.print(table)


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each entry of a contract as a pair of its name and a text of one line.

    The entry "golden" holds the images that the command `verify` checks. The text shows only their seeds.
    """
    facts = []
    for name, value in document.items():
        shown = {"seeds": value["seeds"]} if name == "golden" else value
        if isinstance(shown, dict):
            text = (
                ", ".join(f"{key} {_brief(item)}" for key, item in shown.items() if item is not None)
                or "none"
            )
        else:
            text = str(shown)
        facts.append((name, text))
    return facts


def _brief(item: object) -> str:
    if isinstance(item, dict):
        return "(" + ", ".join(f"{name} {value}" for name, value in item.items()) + ")"
    if isinstance(item, (list, tuple)):
        return "(" + ", ".join(map(str, item)) + ")"
    return str(item)


@describes_generator
def verify(
    model: ModelArgument = None,
    provider: ProviderOption = "cpu",
    budget: BudgetOption = 1.0,
    against: Annotated[
        Literal["golden"], typer.Option(help="Images to compare with: the golden images in the file.")
    ] = "golden",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="PNG of the golden images, of those generated here, and of their amplified differences.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    description: DescriptionOptions | None = None,
) -> None:
    """Generate a file's golden images on this device, and compare them with those in the file."""
    from ganport.runtime import Sampler
    from ganport.runtime.command import say_provider
    from ganport.runtime.golden import check_description_beside, compare_golden, require_golden

    check_picture_path(out)

    sampler = Sampler(find_model(model), provider=provider, budget=budget, **(description or {}))
    say_provider(sampler, provider)
    check_description_beside(sampler)
    comparison = compare_golden(sampler)
    checks = comparison.checks
    if as_json:
        print(json.dumps([check._asdict() | {"verdict": check.verdict} for check in checks], indent=2))
    else:
        for check in checks:
            difference = f", up to {check.largest} levels off, {check.share:.2%} of the values differ"
            shown = f"{check.verdict}{difference if check.largest else ''}"
            results.print(Text(f"seed {check.seed}: {shown}", style="" if check.passed else "red"))
    if out is not None:
        write_picture(comparison, out)
    require_golden(sampler, checks)
    name = model_name(sampler.model.source)
    messages.print(f"{name}: {len(checks)} golden images verified on {sampler.provider}", markup=False)


def check_picture_path(path: Path | None) -> None:
    """Raise UsageError if the path of the picture of the differences does not end in .png."""
    if path is not None and path.suffix.lower() != ".png":
        raise UsageError(f"`out` is {path}; it must end in .png.")


def write_picture(comparison: GoldenComparison, path: Path) -> None:
    """Write the picture of a comparison, and say what it shows. Raises OutputError."""
    from ganport.runtime import encode_png
    from ganport.runtime.files import write_bytes
    from ganport.runtime.golden import difference_picture

    picture, factor = difference_picture(comparison)
    write_bytes(path, encode_png(picture))
    messages.print(f"{path}: golden, generated here, and differences times {factor}", markup=False)


def doctor(
    provider: Annotated[
        ProviderName | None, typer.Option(help="Fail unless this provider works, such as cuda.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, what works, and what to do about the rest."""
    from ganport.runtime.doctor import examine, is_healthy

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
    if not is_healthy(findings, provider):
        raise typer.Exit(1)


_STATE_STYLES = {"works": "green", "absent": "dim", "broken": "red"}
