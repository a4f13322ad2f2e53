"""The model card: a page beside a model file that describes the model, and a preview of its images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ganport.runtime import Contract, Sampler, encode_png, make_grid
from ganport.runtime.contract import LABEL, Distribution
from ganport.runtime.files import write_bytes

_PREVIEW_SEEDS = range(64)


def card_files(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the model card and of its preview in a folder."""
    return folder / "README.md", folder / "preview.png"


def write_card(model: Path, folder: Path) -> tuple[Path, Path]:
    """Write the card and the preview of a model file, and return their paths. Existing files are replaced.

    Args:
        model: Model file in `folder` or in a folder below it.
        folder: Folder to write to.

    Raises:
        ModelError: The file is not a generator.
        OutputError: The folder can't be written.
    """
    with Sampler(model) as sampler:
        contract = sampler.contract
        preview_image = encode_png(make_grid(sampler.sample(contract.input.seeds or _PREVIEW_SEEDS)))
    card, preview = card_files(folder)
    write_bytes(preview, preview_image)
    text = _text(contract, model.relative_to(folder).as_posix(), model.stat().st_size)
    write_bytes(card, text.encode())
    return card, preview


def _text(contract: Contract, name: str, size: int) -> str:
    image = contract.image
    batch = "any number of images per run" if contract.batch is None else f"{contract.batch} images per run"
    seeds = contract.input.seeds or _PREVIEW_SEEDS
    sections = [
        f"# {contract.name}",
        f"This model generates images of {image.height}x{image.width}x{image.channels} pixels. It is one "
        f"file, `{name}`, of {size / 1e6:.2f} MB in {contract.precision}, made by {contract.created_by}.",
        "![Images of the model](preview.png)",
        _section(
            "Input and output", [("input", _input(contract)), ("output", _output(contract)), ("batch", batch)]
        ),
        _section("Training data", contract.data.items()),
        _section("Training", [("recipe", contract.recipe.get("name", "")), *contract.training.items()]),
        _section("Verification at export, against the Keras model", contract.verification.items()),
        _USAGE.format(name=name, seeds=", ".join(map(str, seeds[:3]))),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _input(contract: Contract) -> str:
    source = contract.input
    if source.kind == "fixed":
        return f"none; the file holds the images of the seeds {', '.join(map(str, source.seeds or ()))}"
    labels = ""
    if source.labels:
        kind = "int64 [batch]: index"
        if source.label_encoding == "one-hot":
            kind = f"float32 [batch, {len(source.labels)}]: one-hot code"
        labels = f"; `{LABEL}`, {kind} of a label in {', '.join(source.labels)}"
    if source.kind == "seed":
        return f"`{source.name}`, int64 [batch]: any whole number from 0 to 2^63 - 1{labels}"
    return f"`{source.name}`, float32 [batch, {source.dim}], {_DISTRIBUTIONS[source.distribution]}{labels}"


def _output(contract: Contract) -> str:
    image = contract.image
    low, high = image.range
    shape = ", ".join(map(str, image.graph_shape))
    return f"`{image.name}`, {image.dtype} [batch, {shape}] ({image.layout}), {low} to {high}"


def _section(title: str, facts: Iterable[tuple[str, object]]) -> str:
    """Return a Markdown heading and a table of the known facts; an empty text if no fact is known."""
    rows = [f"| {_label(name)} | {_format(value)} |" for name, value in facts if value not in ("", {}, None)]
    if not rows:
        return ""
    return "\n".join([f"## {title}", "", "| | |", "| --- | --- |", *rows])


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _format(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(name)} {_format(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_format, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


_DISTRIBUTIONS: Mapping[Distribution, str] = {
    "normal": "standard normal",
    "uniform": "uniform on (-1, 1)",
    "uniform01": "uniform on (0, 1)",
}

# Maps the name of a fact in the contract to the text that the card shows instead of this name. If a name is
# clear to readers, it is missing here and the card shows the name itself.
_LABELS = {
    "max_abs_error": "largest difference of the float output",
    "pixel_mismatch": "share of 8-bit pixels that differ",
    "mean_levels": "mean difference of 8-bit pixels",
    "max_levels": "largest difference of 8-bit pixels",
    "seeds": "number of seeds compared",
    "batch_sizes": "batch sizes compared",
    "distance": "pixel distance",
    "frechet": "Fréchet distance",
}

_USAGE = """## Usage

In Python, without TensorFlow (`pip install 'ganport[cpu]'`):

```python
from ganport import Sampler

images = Sampler("{name}").sample([{seeds}])  # uint8 (n, height, width, channels)
```

An image belongs to its seed: every machine generates the same image, up to the rounding of its arithmetic.
The command `ganport verify {name}` compares the images that the file generates on your machine with those
that it generated at export."""
