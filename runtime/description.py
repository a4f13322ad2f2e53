"""What the user says about a third-party generator, as far as its file does not say it."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, cast, get_args

from .contract import LARGEST_DIM, Distribution, Layout
from .display import shortened, system_reason
from .errors import UsageError

RangeName = Literal["tanh", "sigmoid"]
ValueRange = RangeName | tuple[float, float]
RANGES: Mapping[str, tuple[float, float]] = {"tanh": (-1, 1), "sigmoid": (0, 1)}


class DescriptionOptions(TypedDict, total=False):
    """Keyword arguments that describe a third-party generator. `Description` explains each of them."""

    layout: Layout | None
    value_range: ValueRange | None
    clip: bool
    image_size: tuple[int, int, int] | None
    labels: int | Sequence[str] | None
    labels_at: int | None
    latents: Distribution | None
    input_values: Mapping[str, float]
    output_name: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """Facts about a third-party generator that its graph does not decide. All of them are optional.

    Attributes:
        layout: Layout of the images, "NHWC" or "NCHW". It is needed if the images' shape fits both layouts.
        value_range: Range of the images' values: "tanh" for -1 to 1, "sigmoid" for 0 to 1, or a pair of the
            values of black and white. It is needed if the last operations do not decide the range.
        clip: Whether values outside of the range are clipped. By default they are an error, because they
            show that the range is wrong.
        image_size: Height, width and channels of an image. It is needed for an output of shape (batch,
            pixels) that is not a square grey image.
        labels: Number of labels, or their names. It is needed for a generator that takes labels, unless the
            graph decides the number.
        labels_at: Index of the first element of a label's one-hot code, if the code is in one input together
            with the latents. By default the code follows the latents.
        latents: Distribution that the generator was trained with: "normal", "uniform" for -1 to 1, or
            "uniform01" for 0 to 1. By default "normal".
        input_values: Dict from the name of an input to its constant value, for inputs such as the truncation
            of StyleGAN.
        output_name: Name of the output that holds the images. It is needed if several outputs may hold them.
        layout_argument: Name of the argument that gave `layout`, for error messages.

    Raises:
        UsageError: A fact has an invalid value.
    """

    layout: Layout | None = None
    value_range: ValueRange | None = None
    clip: bool = False
    image_size: tuple[int, int, int] | None = None
    labels: int | Sequence[str] | None = None
    labels_at: int | None = None
    latents: Distribution | None = None
    input_values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    output_name: str | None = None
    layout_argument: str = "layout"

    def __post_init__(self) -> None:
        _check_choice(self.layout_argument, self.layout, get_args(Layout))
        _check_choice("latents", self.latents, get_args(Distribution))
        _check_range(self.value_range)
        _check_size(self.image_size)
        _check_labels(self.labels)
        _check_values(self.input_values)
        if self.labels_at is not None and not (isinstance(self.labels_at, int) and self.labels_at >= 0):
            raise UsageError(f"`labels_at` is {shortened(self.labels_at)}; it must be an index from 0 on.")

    @property
    def span(self) -> tuple[float, float] | None:
        """Values of black and white; None if the user does not say them."""
        if isinstance(self.value_range, str):
            return RANGES[self.value_range]
        return self.value_range

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names of the labels; None if the user says neither their number nor their names."""
        if isinstance(self.labels, int):
            return default_names(self.labels)
        return None if self.labels is None else tuple(self.labels)

    def given(self) -> dict[str, Any]:
        """Return the facts that the user gives, as a dict from their names."""
        default = Description()
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(default, field.name)
        }


def default_names(count: int) -> tuple[str, ...]:
    """Return the names of labels that have none: their indices.

    >>> default_names(3)
    ('0', '1', '2')
    """
    return tuple(map(str, range(count)))


def parse_range(text: str) -> ValueRange:
    """Return the range that a text names.

    >>> parse_range("tanh"), parse_range("0..255"), parse_range("-1..1")
    ('tanh', (0.0, 255.0), (-1.0, 1.0))

    Raises:
        UsageError: The text is not a range.
    """
    if text in RANGES:
        return cast("RangeName", text)
    low, dots, high = text.partition("..")
    try:
        found = float(low), float(high)
    except ValueError:
        found = math.nan, math.nan
    if not dots:
        found = math.nan, math.nan
    _check_range(found, text)
    return found


def parse_image_size(text: str) -> tuple[int, int, int]:
    """Return height, width and channels from a text.

    >>> parse_image_size("28x28x1"), parse_image_size("64x48x3"), parse_image_size("28x28")
    ((28, 28, 1), (64, 48, 3), (28, 28, 1))

    Raises:
        UsageError: The text is not the size of an image.
    """
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})(?:x(\d{1,9}))?", text)
    if match is None:
        raise UsageError(
            f"`image_size` is {shortened(text)}; expected HEIGHTxWIDTHxCHANNELS, such as 28x28x1."
        )
    size = int(match[1]), int(match[2]), int(match[3] or 1)
    _check_size(size)
    return size


def parse_labels(text: str) -> int | tuple[str, ...]:
    """Return the number of labels, or the names in a text file that has one name per line.

    Raises:
        UsageError: The text is neither a number nor the path of a file with names.
    """
    if re.fullmatch(r"\d{1,9}", text):  # int() rejects thousands of digits
        _check_labels(int(text))
        return int(text)
    try:
        lines = Path(os.path.expanduser(text)).read_text(encoding="utf-8").splitlines()  # noqa: PTH111
    # A ValueError means that the file is not text, or that the path has a null character.
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else "it is not text"
        raise UsageError(
            f"`labels` is {shortened(text)}, which is not a number, and not a file of names ({reason})."
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    _check_labels(names)
    return names


def parse_input_values(texts: Sequence[str]) -> dict[str, float]:
    """Return the values of inputs, from texts such as "psi=0.7".

    >>> parse_input_values(["psi=0.7", "noise=0"])
    {'psi': 0.7, 'noise': 0.0}

    Raises:
        UsageError: A text does not have this form.
    """
    values = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            values[name] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise UsageError(f"`input_values` is {text!r}; expected NAME=NUMBER, such as psi=0.7.")
    return values


def _check_choice(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"`{name}` is {value!r}; it must be {' or '.join(known)}.")


def _check_range(value: Any, shown: object = None) -> None:
    if value is None or (isinstance(value, str) and value in RANGES):
        return
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    are_numbers = is_pair and all(isinstance(each, (int, float)) and math.isfinite(each) for each in value)
    if not (are_numbers and value[0] < value[1]):
        raise UsageError(
            f"`value_range` is {shortened(value if shown is None else shown)}; it must be tanh for -1 to 1, "
            "sigmoid for 0 to 1, or the values of black and white: 0..255, or (0, 255) in Python."
        )


def _check_size(size: Any) -> None:
    if size is None:
        return
    is_triple = isinstance(size, (tuple, list)) and len(size) == 3
    if not is_triple or not all(isinstance(each, int) and 1 <= each <= LARGEST_DIM for each in size):
        raise UsageError(
            f"`image_size` is {shortened(size)}; it must be height, width and channels, such as 28x28x1, or "
            "(28, 28, 1) in Python."
        )
    if size[2] not in (1, 3, 4):
        raise UsageError(f"`image_size` has {size[2]} channels; it must have 1, 3 or 4.")


def _check_labels(labels: object) -> None:
    if labels is None or (type(labels) is int and 2 <= labels <= LARGEST_DIM):
        return
    names = tuple(labels) if isinstance(labels, Sequence) and not isinstance(labels, str) else ()
    are_names = len(names) >= 2 and all(isinstance(name, str) and name for name in names)
    if not are_names or len(set(names)) != len(names) or len(names) > LARGEST_DIM:
        raise UsageError(
            f"`labels` is {shortened(labels)}; it must be a number of labels of at least 2, or two or more "
            "different names."
        )


def _check_values(values: object) -> None:
    if not isinstance(values, Mapping) or not all(
        isinstance(name, str) and isinstance(value, (int, float)) for name, value in values.items()
    ):
        raise UsageError(
            f"`input_values` is {shortened(values)}; it must be a dict from the name of an input to a number."
        )


def parse_description(texts: Mapping[str, Any]) -> DescriptionOptions:
    """Return the arguments that describe a generator, from the values of the command line's options.

    Args:
        texts: Dict from the name of an argument to the value of its option. An option that was left out is
            None, False or an empty list.

    Raises:
        UsageError: A value is not valid.
    """
    parsers = {
        "value_range": parse_range,
        "image_size": parse_image_size,
        "labels": parse_labels,
        "input_values": parse_input_values,
    }
    found: dict[str, Any] = {}
    for name, value in texts.items():
        if value is None or value is False or value in ([], ()):
            continue
        found[name] = parsers[name](value) if name in parsers else value
    Description(**found)
    return cast("DescriptionOptions", found)
