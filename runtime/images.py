"""Pixels: from generator output to 8-bit images, grids and PNG files. Images are (batch, height, width, channels)."""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import UsageError
from .files import write_bytes

GRID_GAP = 2  # pixels between two images of a grid


def to_uint8(images: npt.NDArray[np.float32], lowest: int = -1) -> npt.NDArray[np.uint8]:
    """Map generator output to 8-bit pixels.

    Args:
        images: shape (batch, height, width, channels), range [lowest, 1]; values outside are clipped.
        lowest: -1 or 0.

    Returns:
        Same shape, range [0, 255], rounded half to even.

    >>> to_uint8(np.array([-1.0, 0.0, 1.0, 9.0], dtype=np.float32)).tolist()
    [0, 128, 255, 255]
    """
    scale = np.float32(255 / (1 - lowest))
    levels: npt.NDArray[np.float32] = np.rint((images - np.float32(lowest)) * scale)
    return np.clip(levels, 0, 255).astype(np.uint8)


def make_grid(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return one image with all of the images in rows, as near to a square as their number allows.

    Args:
        images: shape (n, height, width, channels), n >= 1.

    Returns:
        Shape (rows * (height + 2) - 2, columns * (width + 2) - 2, channels), the gaps and the empty places black.

    Raises:
        UsageError: no such images; `to_uint8` makes them of a generator's numbers.

    >>> make_grid(np.ones((3, 28, 28, 1), dtype=np.uint8)).shape
    (58, 58, 1)
    """
    images = np.asarray(images)
    _check_pixels(images)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height + GRID_GAP, width + GRID_GAP, channels), dtype=np.uint8)
    cells[:count, :height, :width] = images
    grid = cells.reshape(rows, columns, height + GRID_GAP, width + GRID_GAP, channels).swapaxes(1, 2)
    return grid.reshape(rows * (height + GRID_GAP), columns * (width + GRID_GAP), channels)[:-GRID_GAP, :-GRID_GAP]


def _check_pixels(images: npt.NDArray[Any]) -> None:
    """Raise UsageError for other arrays, which numpy would cut to 8 bits without a word."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in _COLOUR_TYPES or 0 in images.shape:
        raise UsageError(
            f"Images are uint8 (n, height, width, channels) with 1, 3 or 4 channels, these are {images.dtype} {images.shape}; "
            "to_uint8 makes them of numbers in [-1, 1]."
        )


def split_grid(grid: npt.NDArray[np.uint8], count: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Return the images that `make_grid` put into a grid.

    Args:
        grid: shape (height, width, channels).
        count: of the images.
        shape: height, width and channels of one image.

    Raises:
        ValueError: so many images of that shape do not make this grid.

    >>> split_grid(make_grid(np.arange(6, dtype=np.uint8).reshape(3, 2, 1, 1)), 3, (2, 1, 1)).ravel().tolist()
    [0, 1, 2, 3, 4, 5]
    """
    height, width, channels = shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    due = (rows * (height + GRID_GAP) - GRID_GAP, columns * (width + GRID_GAP) - GRID_GAP, channels)
    if grid.shape != due:
        raise ValueError(f"a grid of {count} images has shape {due}, this one has {grid.shape}")
    cells = np.pad(grid, ((0, GRID_GAP), (0, GRID_GAP), (0, 0)))
    cells = cells.reshape(rows, height + GRID_GAP, columns, width + GRID_GAP, channels).swapaxes(1, 2)
    return cells.reshape(-1, *cells.shape[2:])[:count, :height, :width]


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Return one image, shape (height, width, channels) with 1, 3 or 4 channels, as PNG. Raises UsageError."""
    image = np.asarray(image)
    if image.ndim != 3:
        raise UsageError(
            f"An image is uint8 (height, width, channels), this is {image.dtype} {image.shape}; make_grid joins many."
        )
    return encode_pngs(image[np.newaxis])[0]


def encode_pngs(images: npt.NDArray[np.uint8]) -> list[bytes]:
    """Return images, shape (n, height, width, channels) with 1, 3 or 4 channels, as PNGs (ISO/IEC 15948).

    Runs of one value are all that is looked for (zlib's RLE), in grey rows as they are and in coloured ones less the row above:
    a third to a quarter of Pillow's time, and files of its size, for digits and photographs (`benchmarks/sampling.py`).

    Raises:
        UsageError: no such images.
    """
    images = np.asarray(images)
    _check_pixels(images)
    count, height, width, channels = images.shape
    flat = images.reshape(count, height, width * channels)
    rows = np.zeros((count, height, 1 + width * channels), np.uint8)  # each row begins with its filter
    rows[:, :, 1:] = flat
    if channels > 1:
        rows[:, :, 0] = _FILTER_UP
        rows[:, 1:, 1:] -= flat[:, :-1]
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    start, end = _PNG_SIGNATURE + _png_chunk(b"IHDR", header), _png_chunk(b"IEND", b"")
    return [start + _png_chunk(b"IDAT", _deflate(each)) + end for each in rows]


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
_FILTER_UP = 2


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    tagged = kind + content
    return struct.pack(">I", len(content)) + tagged + struct.pack(">I", zlib.crc32(tagged))


def _deflate(rows: npt.NDArray[np.uint8]) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(rows.data) + packer.flush()


def save_png(image: npt.NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Write one image as a PNG file, whole or not at all.

    Raises:
        UsageError: the name ends as that of another kind of file.
        OutputError: it can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ""):
        raise UsageError(f"{path} would hold a PNG; give it a name that ends in .png.")
    write_bytes(path, encode_png(image))
