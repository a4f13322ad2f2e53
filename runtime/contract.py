"""What a model file says about itself: one JSON document under the key `ganport` of its ONNX metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from .errors import ContractError, ContractVersionError
from .seeds import SEED_LIMIT

METADATA_KEY = "ganport"
LABEL = "label"  # name of the input for classes
FORMAT = 2  # the newest; what has no labels is written as 1, which older runtimes read

LARGEST_DIM = 65_536  # latents and pixels per side; a size beyond it is damage, not a generator


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What goes in.

    Attributes:
        kind: "latent": float32 latents of shape (batch, dim). "seed": int64 seeds of shape (batch,), which the graph turns into
            latents. "fixed": nothing; the graph draws the images of `seeds`.
        name: of the graph input; empty where there is none.
        dim: latents per image.
        distribution: "normal": standard normal.
        seeds: the seeds that are baked in; None unless the kind is "fixed".
        labels: names of the classes that can be asked for, by their places, with a second input "label", int64 (batch,); in a
            "fixed" graph each seed has its own of `latents.labels_of`. None where no class can be asked for.
    """

    kind: str
    name: str
    dim: int
    distribution: str
    seeds: tuple[int, ...] | None = None
    labels: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """What comes out: images of shape (batch, height, width, channels), in layout "NCHW" (batch, channels, height, width).

    Attributes:
        name: of the graph output.
        channels: 1, 3 or 4.
        layout: "NHWC", or "NCHW" with the channels before the height.
        dtype: "uint8" with range (0, 255), or "float32" with range (-1, 1); of a foreign generator also (0, 1).
        range: lowest and highest value.
    """

    name: str
    height: int
    width: int
    channels: int
    layout: str
    dtype: str
    range: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        return self.height, self.width, self.channels

    @property
    def graph_shape(self) -> tuple[int, int, int]:
        """The same in the order of the layout."""
        return self.shape if self.layout == "NHWC" else (self.channels, self.height, self.width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contract:
    """The whole document. What a sampler needs is typed; what only people read is kept as it is.

    Attributes:
        batch: images per call of the graph, or None where the caller chooses ("dynamic").
        precision: of weights and arithmetic: "float32", "float16", or "int8" where both can be.
        created_by: name and version of what wrote the file; empty for a foreign ONNX file.
        recipe: the resolved recipe that the generator was trained with; empty for a foreign model.
        data: name, number of images and licence of the training set.
        training: steps, images seen, metrics.
        verification: what was compared at export, and the largest differences.
        golden: seeds, and one PNG grid of their images as this file drew them when it was made.
    """

    name: str
    created_by: str
    input: InputSpec
    image: ImageSpec
    batch: int | None
    precision: str
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    verification: Mapping[str, Any]
    golden: Mapping[str, Any]

    def to_json(self) -> str:
        """Return the document as JSON text, the same text for the same contract."""
        document = {"format": FORMAT if self.input.labels else 1, **dataclasses.asdict(self)}
        document["batch"] = "dynamic" if self.batch is None else self.batch
        return json.dumps(document, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read and check the document.

        Raises:
            ContractVersionError: another format than this runtime reads.
            ContractError: a field is missing, of the wrong type, or says what no generator can be.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ContractError(METADATA_KEY, f"not JSON ({error})") from error
        root = _Fields(document, METADATA_KEY)
        version = root.take("format", int)
        if not 1 <= version <= FORMAT:
            raise ContractVersionError(version, FORMAT)
        return cls(
            name=root.take("name", str),
            created_by=root.take("created_by", str),
            input=_read_input(root.nested("input")),
            image=_read_image(root.nested("image")),
            batch=_read_batch(root),
            precision=root.choose("precision", ("float32", "float16", "int8")),
            recipe=root.take("recipe", dict),
            data=_read_data(root),
            training=root.take("training", dict),
            verification=root.take("verification", dict),
            golden=_read_golden(root.nested("golden")),
        )


class _Fields:
    """One JSON object, whose fields are taken by name and type; an error names the field by its path."""

    def __init__(self, document: object, path: str) -> None:
        if not isinstance(document, dict):
            raise ContractError(path, f"a JSON object is due, there is {_shown(document)}")
        self.document, self.path = document, path

    def take(self, name: str, kind: type) -> Any:
        if name not in self.document:
            raise ContractError(self._named(name), "it is missing")
        value = self.document[name]
        # In Python True is an int; in a contract it is a mistake.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ContractError(self._named(name), f"{kind.__name__} is due, there is {_shown(value)}")
        return value

    def choose(self, name: str, known: tuple[str, ...]) -> str:
        value: str = self.take(name, str)
        if value not in known:
            raise ContractError(self._named(name), f"this runtime knows {', '.join(known)}, there is {_shown(value)}")
        return value

    def size(self, name: str) -> int:
        value: int = self.take(name, int)
        if not 1 <= value <= LARGEST_DIM:
            raise ContractError(self._named(name), f"1 to {LARGEST_DIM} is due, there is {value}")
        return value

    def nested(self, name: str) -> _Fields:
        return _Fields(self.take(name, dict), self._named(name))

    def _named(self, name: str) -> str:
        return name if self.path == METADATA_KEY else f"{self.path}.{name}"


def _read_input(fields: _Fields) -> InputSpec:
    kind = fields.choose("kind", ("latent", "seed", "fixed"))
    return InputSpec(
        kind=kind,
        name=fields.take("name", str),
        dim=fields.size("dim"),
        distribution=fields.choose("distribution", ("normal",)),
        seeds=tuple(_take_seeds(fields)) if kind == "fixed" else None,
        labels=_read_labels(fields),
    )


def _read_labels(fields: _Fields) -> tuple[str, ...] | None:
    if fields.document.get("labels") is None:  # files of before there were classes do not have it
        return None
    labels: list[object] = fields.take("labels", list)
    names = tuple(label for label in labels if isinstance(label, str) and label)
    if len(names) != len(labels) or len(set(names)) != len(names) or not 2 <= len(names) <= LARGEST_DIM:
        raise ContractError("input.labels", f"two different names or more are due, there is {_shown(labels)}")
    return names


def _read_image(fields: _Fields) -> ImageSpec:
    channels = fields.size("channels")
    if channels not in (1, 3, 4):
        raise ContractError("image.channels", f"1, 3 or 4 is due, there is {channels}")
    dtype = fields.choose("dtype", ("uint8", "float32"))
    span = (0, 255) if dtype == "uint8" else (-1, 1)
    if tuple(fields.take("range", list)) != span:
        raise ContractError("image.range", f"{list(span)} is due for {dtype}, there is {_shown(fields.document['range'])}")
    return ImageSpec(
        name=fields.take("name", str),
        height=fields.size("height"),
        width=fields.size("width"),
        channels=channels,
        layout=fields.choose("layout", ("NHWC", "NCHW")),
        dtype=dtype,
        range=span,
    )


def _read_batch(root: _Fields) -> int | None:
    return None if root.document.get("batch") == "dynamic" else root.size("batch")


def _read_data(root: _Fields) -> Mapping[str, Any]:
    fields = root.nested("data")
    if "name" in fields.document:  # it may be unknown
        fields.take("name", str)
    return fields.document


def _read_golden(fields: _Fields) -> Mapping[str, Any]:
    _take_seeds(fields)
    fields.take("png_base64", str)
    return fields.document


def _take_seeds(fields: _Fields) -> list[int]:
    seeds: list[int] = fields.take("seeds", list)
    if not all(type(seed) is int and 0 <= seed < SEED_LIMIT for seed in seeds):
        raise ContractError(f"{fields.path}.seeds", f"a list of seeds is due, there is {_shown(seeds)}")
    return seeds


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
