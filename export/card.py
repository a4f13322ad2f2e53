"""The model card: a page beside the file that says what it is, and a grid of what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganport.runtime import Contract, Sampler, encode_png, make_grid
from ganport.runtime.contract import LABEL
from ganport.runtime.files import write_bytes

_PREVIEW_SEEDS = range(64)


def card_files(folder: Path) -> tuple[Path, Path]:
    """Return where the page and the preview of a model in this folder lie."""
    return folder / "README.md", folder / "preview.png"


def write_card(model: Path, folder: Path) -> tuple[Path, Path]:
    """Write the page and the preview of a model file that lies in the folder, or below it; replace what is there.

    Raises:
        ModelError: the file is no generator.
        OutputError: the folder can't be written.
    """
    sampler = Sampler(model)
    contract = sampler.model
    seeds = contract.input.seeds or tuple(_PREVIEW_SEEDS)
    page, preview = card_files(folder)
    write_bytes(preview, encode_png(make_grid(sampler.sample(seeds))))
    write_bytes(page, _text(contract, model.relative_to(folder).as_posix(), model.stat().st_size).encode())
    return page, preview


def _text(contract: Contract, name: str, size: int) -> str:
    image = contract.image
    batch = "free" if contract.batch is None else str(contract.batch)
    sections = [
        f"# {contract.name}\n\nA generator of images, {image.height}x{image.width}x{image.channels}, in one file: "
        f"`{name}`, {size / 1e6:.2f} MB, {contract.precision}, made by {contract.created_by}.",
        "![what seeds draw](preview.png)",
        _section(
            "What goes in, what comes out", [("input", _input(contract)), ("output", _output(contract)), ("batch", batch)]
        ),
        _section("Trained on", contract.data.items()),
        _section("Training", [("recipe", contract.recipe.get("name", "")), *contract.training.items()]),
        _section("Proven when it was made", contract.verification.items()),
        _HOW.format(name=name, seeds=str(list((contract.input.seeds or range(64))[:3]))[1:-1]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _input(contract: Contract) -> str:
    source = contract.input
    if source.kind == "fixed":
        return f"none; seeds {', '.join(map(str, source.seeds or ()))} are baked in"
    classes = (
        f"; `{LABEL}`, int64 [batch]: 0 to {len(source.labels) - 1} for {', '.join(source.labels)}" if source.labels else ""
    )
    if source.kind == "seed":
        return f"`{source.name}`, int64 [batch]: any whole number from 0 to 2^63 - 1{classes}"
    return f"`{source.name}`, float32 [batch, {source.dim}], standard normal{classes}"


def _output(contract: Contract) -> str:
    image = contract.image
    low, high = image.range
    return f"`{image.name}`, {image.dtype} [batch, {', '.join(map(str, image.graph_shape))}] ({image.layout}), {low} to {high}"


def _section(title: str, facts: Any) -> str:
    rows = [f"| {label.replace('_', ' ')} | {_shown(value)} |" for label, value in facts if value not in ("", {}, None)]
    return "\n".join([f"## {title}", "", "| | |", "| --- | --- |", *rows]) if rows else ""


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{label.replace('_', ' ')} {_shown(number)}" for label, number in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


_HOW = """## Draw

With Python, without TensorFlow (`pip install 'ganport[cpu]'`):

```python
from ganport.runtime import Sampler

images = Sampler("{name}").sample([{seeds}])  # uint8 (n, height, width, channels)
```

An image belongs to its seed: the same one everywhere, but for the last digits of a device's arithmetic. `ganport verify
{name}` holds what the file draws on yours against what it drew when it was made."""
