"""`models`, `inspect`, `verify`, `doctor`: what is there, and whether it works."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ganport.runtime.errors import DrawingError, printable

from .console import LayoutOption, ModelArgument, ProviderOption, RangeOption, find_model, messages, print_whole, results


def models(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """List the generators in the box; each has the name of the data set that it was trained on."""
    from ganport.runtime import BUNDLED, Sampler
    from ganport.runtime.bundled import figures

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
    print_whole(table)
    results.print("Fréchet: the distance to real images, and what other real ones have; --json has all that was measured.")


def inspect(
    model: ModelArgument = None,
    layout: LayoutOption = None,
    value_range: RangeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole contract as JSON.")] = False,
) -> None:
    """Show what a model file says about itself."""
    from ganport.runtime import Sampler

    path = find_model(model)
    contract = Sampler(path, layout=layout, value_range=value_range).model
    if as_json:
        print(json.dumps(json.loads(contract.to_json()), indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for label, text in _facts(json.loads(contract.to_json())):
        table.add_row(printable(label), Text(printable(text)))
    results.print(table)


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


def verify(
    model: ModelArgument = None,
    provider: ProviderOption = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Draw a file's golden images on this device, and compare them with those it drew when it was made."""
    from ganport.runtime import Sampler, check_golden
    from ganport.runtime.command import say_provider

    path = find_model(model)
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


def doctor(
    provider: Annotated[str | None, typer.Option(help="That has to work, such as cuda.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say what is installed, what works, and what to do about the rest."""
    from ganport.runtime.doctor import examine
    from ganport.runtime.providers import check_provider

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
