"""TrainingArguments: the arguments of `train` that decide what a new run trains, and with which settings."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from ganport.datasets.preparation import Crop, Preparation, parse_image_size
from ganport.runtime.display import shortened
from ganport.runtime.errors import UsageError

MixedPrecision = Literal["auto", "on", "off"]

# Smallest values of the arguments that are whole numbers.
_SMALLEST = {
    "steps": 1,
    "batch_size": 1,
    "seed": 0,
    "data_memory": 0,
    "preview_interval": 1,
    "evaluate_interval": 0,
    "early_stop": 0,
}
_SMALLEST_SIDE = 8  # smallest side of the images, in pixels
# Arguments that replace the field of the recipe with the same name.
_RECIPE_FIELDS = (
    "steps",
    "batch_size",
    "seed",
    "preview_interval",
    "evaluate_interval",
    "early_stop",
    "title",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingArguments:
    """The arguments of `train` that decide what a new run trains. `train` describes each of them.

    Raises:
        UsageError: An argument has a value that is not valid, or two arguments contradict each other.
    """

    data: str | os.PathLike[str] | None = None
    data_dir: str | os.PathLike[str] | None = None
    start_from: str | os.PathLike[str] | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    seed: int | None = None
    image_size: int | str | tuple[int, int] | None = None
    channels: int | None = None
    crop: Crop | None = None
    background: str | None = None
    skip_bad: bool = False
    data_memory: int | None = None
    preview_interval: int | None = None
    evaluate_interval: int | None = None
    early_stop: int | None = None
    mixed_precision: MixedPrecision | None = None
    title: str | None = None
    settings: Mapping[str, Any] | None = None
    as_published: bool = False

    def __post_init__(self) -> None:
        for name, smallest in _SMALLEST.items():
            _check_whole_number(name, getattr(self, name), smallest)
        if self.mixed_precision not in (None, *get_args(MixedPrecision)):
            known = ", ".join(get_args(MixedPrecision))
            raise UsageError(f"`mixed_precision` is {self.mixed_precision!r}; it must be one of {known}.")
        self._check_minutes()
        if self.size is not None and min(self.size) < _SMALLEST_SIDE:
            given = shortened(self.image_size)
            raise UsageError(
                f"`image_size` is {given}; both sides must have at least {_SMALLEST_SIDE} pixels."
            )
        for name in (*_RECIPE_FIELDS, "mixed_precision"):
            if getattr(self, name) is not None and name in (self.settings or {}):
                raise UsageError(f"`{name}` is given twice, also in `settings`; give it once.")

    def _check_minutes(self) -> None:
        if self.minutes is None:
            return
        if not isinstance(self.minutes, (int, float)) or not 0 < self.minutes < math.inf:
            raise UsageError(f"`minutes` is {shortened(self.minutes)}; it must be a number above 0.")
        if self.steps is not None or "steps" in (self.settings or {}):
            raise UsageError("`minutes` and `steps` are both given; give one of them.")

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the images; None if they are not given."""
        return self.preparation().size

    def preparation(self, default_size: tuple[int, int] | None = None) -> Preparation:
        """Return how images are prepared.

        Args:
            default_size: Height and width if `image_size` is not given; None keeps the images' size.
        """
        size = default_size if self.image_size is None else parse_image_size(self.image_size)
        fields: dict[str, Any] = {
            "channels": self.channels,
            "memory_limit": self.data_memory,
            "crop": self.crop,
            "background": self.background,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return Preparation(size, skip_bad=self.skip_bad, **given)

    def given(self) -> list[str]:
        """Return the names of the arguments whose value is not the default."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return [name for name, value in values.items() if value is not None and value is not False]

    def gives(self, name: str) -> bool:
        """Return whether an argument, or a setting of this name in `settings`, is given."""
        return getattr(self, name) is not None or name in (self.settings or {})

    def recipe_fields(self) -> dict[str, Any]:
        """Return the fields of the recipe that the arguments replace, without those in `settings`."""
        fields = {name: getattr(self, name) for name in _RECIPE_FIELDS}
        fields["mixed_precision"] = {"on": True, "off": False}.get(self.mixed_precision or "")
        return {name: value for name, value in fields.items() if value is not None}


def _check_whole_number(name: str, value: object, smallest: int) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
        raise UsageError(f"`{name}` is {value!r}; it must be a whole number of at least {smallest}.")
