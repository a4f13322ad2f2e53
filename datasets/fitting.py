"""Fitting images: cropped, padded, resized and converted to 8-bit arrays of one shape."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ganport.runtime.arrays import Pixels

from .decoding import UnreadableError, decoded, swaps_sides, to_8_bit, turn_upright
from .preparation import Crop, Preparation, Rgb

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's mode, by number of channels

# A large image is averaged over blocks of pixels before it is resized by the filter. The blocks are chosen
# such that the filter still reduces by this factor. Pillow's documentation calls the result of a factor of 3
# indistinguishable from the filter alone in most cases.
_GAP = 3.0
_LARGE_PIXELS = 2_000_000  # an image with more pixels is averaged
_STRIP_PIXELS = 500_000  # images are converted in strips of about this size, which limits the memory
_LANCZOS_SUPPORT = 3.0  # the filter reads this number of output pixels to each side

Box = tuple[float, float, float, float]  # left, top, right, bottom
Convert = Callable[[Image.Image], Image.Image]


def read_pixels(path: Path, name: str, channels: int, preparation: Preparation) -> Pixels:
    """Return the image in a file, uint8 (height, width, channels), prepared.

    Args:
        path: Path of the file.
        name: Name of the file in its folder. The position of a random crop depends on it.
        channels: Number of channels: 1, 3 or 4.
        preparation: Settings. Its `channels` are not used.

    Raises:
        UnreadableError: The file can't be read as an image.
    """

    def shrink(size: tuple[int, int]) -> float:
        if preparation.size is None:
            return 1.0
        height, width = preparation.size
        box, inner = _geometry(size, (width, height), preparation.crop, name)
        return min(_ratios(box, inner)) / _GAP

    with decoded(path, shrink) as found:
        return _fit(found.image, found.orientation, name=name, channels=channels, preparation=preparation)


def fit_array(pixels: Pixels, *, name: str, channels: int, preparation: Preparation) -> Pixels:
    """Return one image, uint8 (height, width, channels), prepared; see `read_pixels`."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return _fit(image, 1, name=name, channels=channels, preparation=preparation)


def fit_arrays(pixels: Pixels, preparation: Preparation) -> Pixels:
    """Return images, uint8 (n, height, width, 1, 3 or 4), prepared. Without settings they stay the same."""
    count, height, width, present = pixels.shape
    channels: int = preparation.channels or present
    size = preparation.size or (height, width)
    if channels == present and size == (height, width):
        return pixels if channels < 4 else without_hidden_colours(pixels, preparation.background_rgb)
    fitted = np.empty((count, *size, channels), np.uint8)
    for index, image in enumerate(pixels):
        fitted[index] = fit_array(image, name=str(index), channels=channels, preparation=preparation)
    return fitted


def without_hidden_colours(pixels: Pixels, colour: Rgb) -> Pixels:
    """Return images with alpha, uint8 (..., 4), whose transparent pixels have the given colour.

    A pixel with alpha 0 shows nothing, so files hold arbitrary colours there. A generator must not learn
    them.
    """
    pixels = np.array(pixels)
    pixels[pixels[..., 3] == 0, :3] = colour
    return pixels


def flatten(image: Image.Image, strip: Image.Image, channels: int, background: Rgb) -> Image.Image:
    """Return a part of an image in mode L, RGB or RGBA.

    With 1 or 3 channels, transparent pixels are shown on the background. One case is not handled: Pillow
    does not report the transparent colour of a PNG with 16-bit colours, or with 2-bit or 4-bit grey.

    Args:
        image: The decoded image.
        strip: The part, in the mode of the image.
        channels: Number of channels: 1, 3 or 4.
        background: Colour behind transparent pixels.

    Raises:
        UnreadableError: Pillow does not convert the mode of the image.
    """
    try:
        shown = to_8_bit(image, strip)
        if channels != 4 and shown.has_transparency_data:
            shown = shown.convert("RGBA")
            ground = Image.new("RGBA", shown.size, (*background, 255))
            shown = Image.alpha_composite(ground, shown).convert("RGB")
        return shown.convert(MODES[channels])
    # There is no conversion from LAB, and a damaged image in mode P may have no palette.
    except (ValueError, OSError, AssertionError) as error:
        raise UnreadableError(f"its pixels have mode {image.mode}, which can't be converted") from error
    except MemoryError as error:
        raise UnreadableError("there is too little memory to convert it") from error


def shrink_in_strips(
    image: Image.Image, region: tuple[int, int, int, int], blocks: tuple[int, int], convert: Convert
) -> Image.Image:
    """Return a region of an image, converted, and averaged over blocks of pixels.

    Only one strip of the region is held in converted form at a time, because a converted image can need
    several times the memory of the decoded one.

    Args:
        image: The decoded image.
        region: Left, top, right and bottom, in pixels.
        blocks: Width and height of the blocks that become one pixel.
        convert: Function that converts a strip.
    """
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    columns, rows = blocks
    strip_height = max(1, _STRIP_PIXELS // width // rows) * rows
    whole: Image.Image | None = None
    for start in range(0, height, strip_height):
        strip = image
        if region != (0, 0, *image.size) or strip_height < height:
            stop = min(start + strip_height, height)
            strip = image.crop((left, top + start, right, top + stop))
        part = convert(strip)
        if blocks != (1, 1):
            part = part.reduce(blocks)
        if strip_height >= height:
            return part
        if whole is None:
            whole = Image.new(part.mode, (-(-width // columns), -(-height // rows)))
        whole.paste(part, (0, start // rows))
    assert whole is not None  # noqa: S101  # a region has at least one pixel
    return whole


def _fit(
    image: Image.Image, orientation: int, *, name: str, channels: int, preparation: Preparation
) -> Pixels:
    """Return a decoded image, which may lie on its side, as uint8 (height, width, channels)."""
    background = preparation.background_rgb

    def convert(strip: Image.Image) -> Image.Image:
        return flatten(image, strip, channels, background)

    if preparation.size is None:
        upright = turn_upright(shrink_in_strips(image, (0, 0, *image.size), (1, 1), convert), orientation)
    else:
        height, width = preparation.size
        lying = (height, width) if swaps_sides(orientation) else (width, height)
        box, inner = _geometry(image.size, lying, preparation.crop, name)
        upright = turn_upright(_resize(image, box, inner, convert), orientation)
        upright = _pad(upright, (width, height), background)
    pixels = np.asarray(upright, dtype=np.uint8).reshape(upright.height, upright.width, channels)
    return pixels if channels < 4 else without_hidden_colours(pixels, background)


def _geometry(
    size: tuple[int, int], target: tuple[int, int], crop: Crop, name: str
) -> tuple[Box, tuple[int, int]]:
    """Return the part of an image that is used, and the width and height that the part is resized to.

    Args:
        size: Width and height of the image.
        target: Width and height of the result, with its padding.
        crop: Part that is used; see `Preparation`.
        name: Name of the image, which determines the position of a random crop.
    """
    width, height = size
    if crop == "none":
        scale = min(target[0] / width, target[1] / height)
        inner = (min(target[0], round(width * scale)), min(target[1], round(height * scale)))
        return (0.0, 0.0, width, height), (max(1, inner[0]), max(1, inner[1]))
    ratio = target[0] / target[1]
    used_width, used_height = min(float(width), ratio * height), min(float(height), width / ratio)
    across, down = (0.5, 0.5) if crop == "center" else _position(name)
    left, top = (width - used_width) * across, (height - used_height) * down
    return (left, top, left + used_width, top + used_height), target


def _position(name: str) -> tuple[float, float]:
    """Return two numbers in [0, 1) that depend on a name only, and are uniformly distributed over names."""
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return int.from_bytes(digest[:6], "big") / 2**48, int.from_bytes(digest[6:12], "big") / 2**48


def _ratios(box: Box, inner: tuple[int, int]) -> tuple[float, float]:
    """Return how many times smaller a part becomes in width and in height."""
    left, top, right, bottom = box
    return (right - left) / inner[0], (bottom - top) / inner[1]


def _resize(image: Image.Image, box: Box, inner: tuple[int, int], convert: Convert) -> Image.Image:
    """Return a part of an image, converted and resized by the Lanczos filter."""
    region, blocks = (0, 0, *image.size), (1, 1)
    if image.width * image.height > _LARGE_PIXELS:
        across, down = _ratios(box, inner)
        region = _region(image.size, box, (across, down))
        blocks = (max(1, int(across / _GAP)), max(1, int(down / _GAP)))
    part = shrink_in_strips(image, region, blocks, convert)
    left, top = region[:2]
    columns, rows = blocks
    inside = (
        (box[0] - left) / columns,
        (box[1] - top) / rows,
        min((box[2] - left) / columns, part.width),
        min((box[3] - top) / rows, part.height),
    )
    if part.size == inner and inside == (0, 0, *inner):
        return part
    return part.resize(inner, Image.Resampling.LANCZOS, box=inside)


def _region(size: tuple[int, int], box: Box, ratios: tuple[float, float]) -> tuple[int, int, int, int]:
    """Return the whole pixels that the filter reads for a part of an image."""
    across, down = (max(1.0, ratio) * _LANCZOS_SUPPORT for ratio in ratios)
    return (
        max(0, math.floor(box[0] - across)),
        max(0, math.floor(box[1] - down)),
        min(size[0], math.ceil(box[2] + across)),
        min(size[1], math.ceil(box[3] + down)),
    )


def _pad(image: Image.Image, size: tuple[int, int], background: Rgb) -> Image.Image:
    """Return an image in the middle of a larger one: on the background, or on transparency in RGBA."""
    if image.size == size:
        return image
    colour = (*background, 0) if image.mode == "RGBA" else background
    whole = Image.new("RGBA" if image.mode == "RGBA" else "RGB", size, colour)
    whole = whole if image.mode != "L" else whole.convert("L")
    whole.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return whole
