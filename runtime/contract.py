"""The contract: a description of a model, which is stored in the model's file.

A contract is one JSON document under the key `ganport` of the file's ONNX metadata (docs/contract.md).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from .display import printable, shortened
from .errors import ContractError, ContractVersionError
from .seeds import SEED_LIMIT

METADATA_KEY = "ganport"
LABEL = "label"  # name of the graph input for labels
FORMAT = 4  # the newest format; a contract is written in the oldest format that can express it

_LONGEST_FACT = 60  # largest number of characters of one fact in a `repr`; longer facts are cut
# Limit for the number of latents, of labels, and of pixels per side. A larger number means a damaged file.
LARGEST_DIM = 65_536
_DEEPEST = 32  # limit for the nesting of a contract; recipes have dicts of lists
_MOST_VALUES = 3 * LARGEST_DIM  # limit for its values and keys, among which may be labels and seeds

InputKind = Literal["latent", "seed", "fixed"]
Distribution = Literal["normal", "uniform", "uniform01"]
Layout = Literal["NHWC", "NCHW"]
ImageType = Literal["uint8", "float32"]
# "float16" stands for weights that are stored in float16, and arithmetic in float32.
Precision = Literal["float32", "float16", "float16-arithmetic", "int8"]
LabelEncoding = Literal["index", "one-hot"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The input of a generator.

    Attributes:
        kind: "latent" for float32 latents of shape (batch, dim). "seed" for int64 seeds of shape (batch,),
            which the graph turns into latents. "fixed" for a graph that has no input, and always generates
            the images of the same seeds.
        name: Name of the graph input; empty if there is none.
        dim: Number of latents per image.
        distribution: Distribution of the latents: "normal" for the standard normal distribution, "uniform"
            for the uniform distribution on (-1, 1), "uniform01" for the uniform distribution on (0, 1).
        seeds: Seeds of a "fixed" graph; None for the other kinds.
        labels: Names of the labels, in the order of their indices; None for a generator without labels. A
            "latent" or "seed" graph takes labels as a second input "label". A "fixed" graph gives each seed
            the label that `latents.default_labels` returns.
        label_encoding: What the input "label" takes: "index" for label indices, int64 (batch,), "one-hot" for
            their one-hot codes, float32 (batch, number of labels).
    """

    kind: InputKind
    name: str
    dim: int
    distribution: Distribution
    seeds: tuple[int, ...] | None = None
    labels: tuple[str, ...] | None = None
    label_encoding: LabelEncoding = "index"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """The output of a generator: images (batch, height, width, channels), or with channels first.

    Attributes:
        name: Name of the graph output.
        height: Height in pixels.
        width: Width in pixels.
        channels: Number of channels, 1, 3 or 4.
        layout: "NHWC", or "NCHW" for channels first.
        dtype: "uint8" with range (0, 255), or "float32" with range (-1, 1). The float32 images of third-party
            generators have any range.
        range: The value of black and the value of white.
    """

    name: str
    height: int
    width: int
    channels: int
    layout: Layout
    dtype: ImageType
    range: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        return self.height, self.width, self.channels

    @property
    def graph_shape(self) -> tuple[int, int, int]:
        """The shape of one image in the graph, in the order of the layout."""
        return self.shape if self.layout == "NHWC" else (self.channels, self.height, self.width)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Contract:
    """The contract of a model file.

    The fields that a sampler needs are typed. The other fields are JSON objects.

    Attributes:
        name: Name of the model.
        created_by: Name and version of the program that wrote the file; empty for a third-party file.
        input: Input of the generator.
        image: Output of the generator.
        batch: Number of images per run of the graph; None ("dynamic" in the file) if any number is allowed.
        precision: Number type of the weights: "float32", "float16" or "int8". The arithmetic is in float32,
            and with "int8" in 8 bits where the provider can. "float16-arithmetic" stands for weights and
            arithmetic in float16.
        recipe: Resolved recipe that the generator was trained with; empty for a third-party model.
        data: Name, number of images and licence of the training data.
        training: Number of training steps, number of images seen, and metrics.
        verification: Comparisons that were made at export, and the largest differences.
        golden: Some seeds, and one PNG grid of the images that this file generated for these seeds at export.
    """

    name: str
    created_by: str
    input: InputSpec
    image: ImageSpec
    batch: int | None
    precision: Precision
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    verification: Mapping[str, Any]
    golden: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as a dict of JSON types."""
        document = {"format": _oldest_format(self.input), **dataclasses.asdict(self)}
        document["batch"] = "dynamic" if self.batch is None else self.batch
        if self.input.label_encoding == "index":
            del document["input"]["label_encoding"]  # older formats do not have this field
        # Before there were files that only store float16, "float16" stood for the arithmetic, too. The
        # optional field "arithmetic" tells the two apart, and older runtimes ignore it.
        if self.precision == "float16":
            document["arithmetic"] = "float32"
        elif self.precision == "float16-arithmetic":
            document["precision"] = "float16"
        return document

    def to_json(self) -> str:
        """Return the contract as JSON text. Equal contracts give equal texts."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def summary(self) -> dict[str, str]:
        """Return the most important facts, as a dict from the name of a fact to its text."""
        height, width, channels = self.image.shape
        latents = "latents" if self.input.distribution == "normal" else f"{self.input.distribution} latents"
        fixed = f"{self.batch} fixed seeds"
        given = {"latent": f"{self.input.dim} {latents}", "seed": "seeds", "fixed": fixed}
        facts = {
            "name": self.name,
            "images": f"{height}x{width}x{channels} {self.image.dtype}",
            "input": given[self.input.kind],
            "labels": ", ".join(self.input.labels or ()),
            "precision": self.precision,
            "data": str(self.data.get("name", "")),
            "created by": self.created_by,
        }
        return {name: fact for name, fact in facts.items() if fact}

    def __repr__(self) -> str:
        facts = {name: fact for name, fact in self.summary().items() if name != "name"}
        shown = ", ".join(f"{name}: {_cut(printable(fact))}" for name, fact in facts.items())
        return f"<Contract {self.name!r}, {shown}>"

    def _repr_html_(self) -> str:
        """Return the summary as a table, for a notebook."""
        rows = (_html_row(name, printable(fact)) for name, fact in self.summary().items())
        return f"<table>{''.join(rows)}</table>"

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Check the contract that a JSON text holds, and return the contract.

        Raises:
            ContractVersionError: The contract has a newer format than this runtime reads.
            ContractError: A field is missing, has the wrong type, or has a value that no generator can have.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ContractError(METADATA_KEY, f"it is not JSON ({error})") from error
        _check_extent(document)
        root = _Fields(document, METADATA_KEY)
        version = root.take("format", int)
        if not 1 <= version <= FORMAT:
            raise ContractVersionError(version, FORMAT)
        return cls(
            name=root.take("name", str),
            created_by=root.take("created_by", str),
            input=_read_input(root.nested("input"), version),
            image=_read_image(root.nested("image")),
            batch=_read_batch(root),
            precision=_read_precision(root),
            recipe=root.take("recipe", dict),
            data=_read_data(root),
            training=root.take("training", dict),
            verification=root.take("verification", dict),
            golden=_read_golden(root.nested("golden")),
        )


def _check_extent(document: object) -> None:
    """Raise ContractError if a JSON document is nested too deep, too large, or not Unicode.

    Code that shows, copies or sends the contract can then rely on it.
    """
    level, depth, count = [document], 0, 0
    while level:
        depth, count = depth + 1, count + len(level)
        if depth > _DEEPEST:
            raise ContractError(METADATA_KEY, f"it is nested more than {_DEEPEST} deep")
        if count > _MOST_VALUES:
            raise ContractError(METADATA_KEY, f"it has more than {_MOST_VALUES:,} values")
        for value in level:
            if isinstance(value, str) and not _is_unicode(value):
                raise ContractError(METADATA_KEY, f"{value[:40]!a} is not a Unicode text")
        level = [inner for value in level for inner in _values_in(value)]


def _is_unicode(text: str) -> bool:
    """Return whether a text can be encoded; one with half of a surrogate pair can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _values_in(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list) else ()


def _oldest_format(source: InputSpec) -> int:
    """Return the oldest format that can express the input, since more runtimes read an older format."""
    if source.labels and source.label_encoding != "index":
        return 4
    if source.distribution != "normal":
        return 3
    return 2 if source.labels else 1


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_FACT else f"{text[: _LONGEST_FACT - 3]}..."


def _html_row(name: str, fact: str) -> str:
    import html  # only notebooks need this module, and its import takes milliseconds

    left = "style='text-align: left'"
    return f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(fact)}</td></tr>"


class _Fields:
    """A JSON object, of which each field is checked when it is read.

    Errors give the path of the field in the whole document, such as "input.dim".
    """

    def __init__(self, document: object, path: str) -> None:
        if not isinstance(document, dict):
            raise ContractError(path, f"expected a JSON object, found {shortened(document)}")
        self.document, self.path = document, path

    def take(self, name: str, kind: type) -> Any:
        if name not in self.document:
            raise ContractError(self._named(name), "it is missing")
        value = self.document[name]
        # In Python a bool is an int. No field of a contract is a bool.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ContractError(self._named(name), f"expected {kind.__name__}, found {shortened(value)}")
        return value

    def choose(self, name: str, known: tuple[str, ...]) -> Any:
        value = self.take(name, str)
        if value not in known:
            raise ContractError(self._named(name), f"expected {' or '.join(known)}, found {shortened(value)}")
        return value

    def size(self, name: str) -> int:
        value: int = self.take(name, int)
        if not 1 <= value <= LARGEST_DIM:
            raise ContractError(self._named(name), f"expected 1 to {LARGEST_DIM}, found {value}")
        return value

    def nested(self, name: str) -> _Fields:
        return _Fields(self.take(name, dict), self._named(name))

    def _named(self, name: str) -> str:
        return name if self.path == METADATA_KEY else f"{self.path}.{name}"


def _read_input(fields: _Fields, version: int) -> InputSpec:
    known: tuple[Distribution, ...] = get_args(Distribution) if version >= 3 else ("normal",)
    kind: InputKind = fields.choose("kind", get_args(InputKind))
    return InputSpec(
        kind=kind,
        name=fields.take("name", str),
        dim=fields.size("dim"),
        distribution=fields.choose("distribution", known),
        seeds=tuple(_take_seeds(fields)) if kind == "fixed" else None,
        labels=_read_labels(fields),
        label_encoding=_read_encoding(fields, version),
    )


def _read_encoding(fields: _Fields, version: int) -> LabelEncoding:
    if version < 4 or "label_encoding" not in fields.document:
        return "index"
    encoding: LabelEncoding = fields.choose("label_encoding", get_args(LabelEncoding))
    return encoding


def _read_labels(fields: _Fields) -> tuple[str, ...] | None:
    if fields.document.get("labels") is None:  # a contract of format 1 does not have this field
        return None
    labels: list[object] = fields.take("labels", list)
    names = tuple(label for label in labels if isinstance(label, str) and label)
    if len(names) != len(labels) or len(set(names)) != len(names) or not 2 <= len(names) <= LARGEST_DIM:
        raise ContractError(
            "input.labels", f"expected two or more different names, found {shortened(labels)}"
        )
    return names


def _read_image(fields: _Fields) -> ImageSpec:
    channels = fields.size("channels")
    if channels not in (1, 3, 4):
        raise ContractError("image.channels", f"expected 1, 3 or 4, found {channels}")
    dtype: ImageType = fields.choose("dtype", get_args(ImageType))
    span = (0, 255) if dtype == "uint8" else (-1, 1)
    if tuple(fields.take("range", list)) != span:
        found = shortened(fields.document["range"])
        raise ContractError("image.range", f"expected {list(span)} for {dtype}, found {found}")
    return ImageSpec(
        name=fields.take("name", str),
        height=fields.size("height"),
        width=fields.size("width"),
        channels=channels,
        layout=fields.choose("layout", get_args(Layout)),
        dtype=dtype,
        range=span,
    )


def _read_batch(root: _Fields) -> int | None:
    return None if root.document.get("batch") == "dynamic" else root.size("batch")


def _read_precision(root: _Fields) -> Precision:
    """Return the precision. The fields "precision" and "arithmetic" of the document express it together."""
    stored: Literal["float32", "float16", "int8"] = root.choose("precision", ("float32", "float16", "int8"))
    if "arithmetic" not in root.document:
        return "float16-arithmetic" if stored == "float16" else stored
    arithmetic = root.choose("arithmetic", ("float32", "float16"))
    return "float16-arithmetic" if stored == arithmetic == "float16" else stored


def _read_data(root: _Fields) -> Mapping[str, Any]:
    fields = root.nested("data")
    if "name" in fields.document:  # the name of the data set is missing if it is unknown
        fields.take("name", str)
    return fields.document


def _read_golden(fields: _Fields) -> Mapping[str, Any]:
    _take_seeds(fields)
    fields.take("png_base64", str)
    return fields.document


def _take_seeds(fields: _Fields) -> list[int]:
    seeds: list[int] = fields.take("seeds", list)
    if not all(type(seed) is int and 0 <= seed < SEED_LIMIT for seed in seeds):
        raise ContractError(f"{fields.path}.seeds", f"expected a list of seeds, found {shortened(seeds)}")
    return seeds
