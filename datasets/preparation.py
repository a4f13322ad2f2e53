"""Preparation: how images are cropped, resized and converted before they are used."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal, get_args

from PIL import ImageColor

from ganport.runtime.display import shortened
from ganport.runtime.errors import UsageError

Crop = Literal["center", "none", "random"]
ImageSize = int | tuple[int, int]  # side of a square, or (height, width), in pixels
Rgb = tuple[int, int, int]

MEMORY_LIMIT = 2_048  # limit in MB; the images of a larger folder are read when they are used
LARGEST_SIDE = 16_384  # limit for the height and for the width of prepared images, in pixels


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Settings for preparing images.

    Attributes:
        image_size: Pixels per side, or (height, width). Each image is cropped or padded as `crop` says, and
            resized. None keeps the images as they are; they must then have the same size.
        channels: Number of channels: 1 for grey, 3 for colour, 4 for colour with alpha. None gives grey if
            all images of a folder are grey, or else colour. The channels of an array file stay as they are.
        memory_limit: Largest number of MB that a folder may take in memory. A larger folder is read image by
            image.
        crop: Part of an image that is used if `image_size` has another aspect ratio. "center" is the largest
            rectangle in the middle. "random" is the largest rectangle at a random position, which depends on
            the name of the file only (or on the index in an array), so it is the same each time. "none" is
            the whole image, which is padded.
        background: Colour of padding, and of what lies behind transparent pixels; a name such as "white", or
            "#rrggbb". In images with 4 channels padding is transparent, and transparent pixels
            (alpha 0) have this colour.
        skip_bad: Whether images that can't be read are left out. By default they are an error.
    """

    image_size: ImageSize | None = None
    channels: int | None = None
    memory_limit: int = MEMORY_LIMIT
    crop: Crop = "center"
    background: str = "white"
    skip_bad: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError if a setting has an invalid value."""
        if self.image_size is not None:
            # A run's record holds (height, width) as a list of JSON.
            object.__setattr__(self, "image_size", parse_image_size(self.image_size))
        if self.channels not in (None, 1, 3, 4) or isinstance(self.channels, bool):
            expected = "1 for grey, 3 for colour, or 4 for colour with alpha"
            raise UsageError(f"`channels` is {shortened(self.channels)}; it must be {expected}.")
        if not (type(self.memory_limit) is int and self.memory_limit >= 0):
            given = shortened(self.memory_limit)
            raise UsageError(f"`data_memory` is {given}; it must be a whole number of at least 0.")
        if self.crop not in get_args(Crop):
            known = ", ".join(get_args(Crop))
            raise UsageError(f"`crop` is {shortened(self.crop)}; it must be one of {known}.")
        parse_colour(self.background)
        if not isinstance(self.skip_bad, bool):
            raise UsageError(f"`skip_bad` is {shortened(self.skip_bad)}; it must be True or False.")

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the prepared images; None if they keep their size."""
        if isinstance(self.image_size, int):
            return self.image_size, self.image_size
        return self.image_size

    @property
    def background_rgb(self) -> Rgb:
        """Red, green and blue of the background, each from 0 to 255."""
        return parse_colour(self.background)


def parse_image_size(value: object) -> ImageSize:
    """Return an image size: the side of a square, or (height, width) if they differ.

    Args:
        value: A number of pixels, a pair (height, width), or a text such as "64" or "64x48", which is height
            64 and width 48.

    Raises:
        UsageError: The value is not an image size.

    >>> parse_image_size("64"), parse_image_size("64x48"), parse_image_size([32, 32])
    (64, (64, 48), 32)
    """
    sides = _sides(value)
    if sides is None or not all(1 <= side <= LARGEST_SIDE for side in sides):
        expected = f"pixels per side from 1 to {LARGEST_SIDE:,}, such as 64, or height x width, such as 64x48"
        raise UsageError(f"`image_size` is {shortened(value)}; expected {expected}.")
    height, width = sides
    return height if height == width else (height, width)


def _sides(value: object) -> tuple[int, int] | None:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*[xX×]\s*(\d{1,9}))?\s*", value, re.ASCII)
        return None if match is None else (int(match[1]), int(match[2] or match[1]))
    if type(value) is int:
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(type(side) is int for side in value):
        height, width = value
        return height, width
    return None


def parse_colour(text: str) -> Rgb:
    """Return the red, green and blue of a colour, each from 0 to 255.

    Args:
        text: Name of a colour as in CSS, such as "white", or "#rrggbb".

    Raises:
        UsageError: The text is not a colour, or it has an alpha value.

    >>> parse_colour("navy"), parse_colour("#fffefd")
    ((0, 0, 128), (255, 254, 253))
    """
    try:
        values = ImageColor.getrgb(text)
    except (ValueError, TypeError, AttributeError) as error:
        expected = "the name of a colour, such as white, or #rrggbb"
        raise UsageError(f"`background` is {shortened(text)}; it must be {expected}.") from error
    if len(values) != 3:
        raise UsageError(f"`background` is {shortened(text)}; it must not have an alpha value.")
    return values
