"""Pixels: from generator output to 8-bit images, grids and PNG files.

Images have the shape (n, height, width, channels).
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .arrays import Pixels
from .contract import ImageSpec
from .errors import UsageError
from .files import write_bytes

GRID_GAP = 2  # pixels between two images of a grid


def to_pixels(images: npt.NDArray[Any], spec: ImageSpec) -> Pixels:
    """Return the output of a graph as images, uint8 (n, height, width, channels).

    Args:
        images: Output of the graph, of shape (n, *spec.graph_shape).
        spec: Description of the output.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    if spec.layout == "NCHW":
        images = images.transpose(0, 2, 3, 1)
    if images.dtype != np.uint8:
        finite = np.isfinite(images)
        if not finite.all():
            raise ValueError(f"{int((~finite).sum()):,} of {images.size:,} values are NaN or infinite")
        images = to_uint8(images, lowest=spec.range[0])
    return np.ascontiguousarray(images)


def to_uint8(images: npt.NDArray[np.float32], *, lowest: int = -1) -> Pixels:
    """Return generator output as 8-bit pixels, of the same shape, in [0, 255], rounded half to even.

    Args:
        images: Values in [lowest, 1]; values outside are clipped.
        lowest: Value that stands for black, -1 or 0.

    >>> to_uint8(np.array([-1.0, 0.0, 1.0, 9.0], dtype=np.float32)).tolist()
    [0, 128, 255, 255]
    """
    scale = np.float32(255 / (1 - lowest))
    levels: npt.NDArray[np.float32] = np.rint((images - np.float32(lowest)) * scale)
    return np.clip(levels, 0, 255).astype(np.uint8)


def to_image(pixels: Pixels) -> Image.Image:
    """Return one image, uint8 (height, width, channels), as a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def make_grid(images: Pixels) -> Pixels:
    """Return one image that shows all images in rows. The grid is as square as their number allows.

    Args:
        images: uint8 (n, height, width, channels), n >= 1.

    Returns:
        Grid, uint8 (rows * (height + 2) - 2, columns * (width + 2) - 2, channels). Gaps and empty cells are
        black.

    Raises:
        UsageError: The images have another shape or type. `to_uint8` converts floats.

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
    grid = grid.reshape(rows * (height + GRID_GAP), columns * (width + GRID_GAP), channels)
    return grid[:-GRID_GAP, :-GRID_GAP]


def _check_pixels(images: npt.NDArray[Any]) -> None:
    """Raise UsageError unless an array holds 8-bit images.

    NumPy would convert other types to uint8 without an error, and this would change the values.
    """
    is_image = images.ndim == 4 and images.shape[3] in _COLOUR_TYPES and 0 not in images.shape
    if images.dtype != np.uint8 or not is_image:
        raise UsageError(
            f"Images must be uint8 (n, height, width, channels) with 1, 3 or 4 channels; this array is "
            f"{images.dtype} {images.shape}. to_uint8 converts floats in [-1, 1]."
        )


def split_grid(grid: Pixels, count: int, shape: tuple[int, int, int]) -> Pixels:
    """Return the images that `make_grid` put into a grid.

    Args:
        grid: uint8 (height, width, channels).
        count: Number of images.
        shape: Height, width and channels of one image.

    Raises:
        ValueError: The grid does not have the shape of a grid of `count` images.

    >>> split_grid(make_grid(np.arange(6, dtype=np.uint8).reshape(3, 2, 1, 1)), 3, (2, 1, 1)).ravel().tolist()
    [0, 1, 2, 3, 4, 5]
    """
    height, width, channels = shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    expected = (rows * (height + GRID_GAP) - GRID_GAP, columns * (width + GRID_GAP) - GRID_GAP, channels)
    if grid.shape != expected:
        raise ValueError(f"a grid of {count} images has shape {expected}, this one has {grid.shape}")
    cells = np.pad(grid, ((0, GRID_GAP), (0, GRID_GAP), (0, 0)))
    cells = cells.reshape(rows, height + GRID_GAP, columns, width + GRID_GAP, channels).swapaxes(1, 2)
    return cells.reshape(-1, *cells.shape[2:])[:count, :height, :width]


def encode_png(image: Pixels) -> bytes:
    """Return one image, uint8 (height, width, channels) with 1, 3 or 4 channels, as PNG.

    Raises:
        UsageError: The image has another shape or type.
    """
    image = np.asarray(image)
    if image.ndim != 3:
        raise UsageError(
            f"An image must be uint8 (height, width, channels); this array is {image.dtype} {image.shape}. "
            "make_grid joins several images."
        )
    return encode_pngs(image[np.newaxis])[0]


def encode_pngs(images: Pixels) -> list[bytes]:
    """Return images, uint8 (n, height, width, channels) with 1, 3 or 4 channels, as PNGs (ISO/IEC 15948).

    The encoder compresses only runs of equal bytes (zlib's RLE strategy). Grey rows are compressed as they
    are. In colour images the row above is subtracted from each row first (PNG's filter type Up). Encoding
    takes a quarter to a third of Pillow's time, and the files have about the size of Pillow's. This holds for
    digits and for photographs (`benchmarks/sampling.py`).

    Raises:
        UsageError: The images have another shape or type.
    """
    images = np.asarray(images)
    _check_pixels(images)
    count, height, width, channels = images.shape
    flat = images.reshape(count, height, width * channels)
    rows = np.zeros((count, height, 1 + width * channels), np.uint8)  # each row begins with its filter type
    rows[:, :, 1:] = flat
    if channels > 1:
        rows[:, :, 0] = _FILTER_UP
        rows[:, 1:, 1:] -= flat[:, :-1]
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    start, end = _PNG_SIGNATURE + _png_chunk(b"IHDR", header), _png_chunk(b"IEND", b"")
    return [start + _png_chunk(b"IDAT", _deflate(each)) + end for each in rows]


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # PNG's colour type, by number of channels
_FILTER_UP = 2  # PNG's filter type Up: each row is stored as its difference from the row above


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    tagged = kind + content
    return struct.pack(">I", len(content)) + tagged + struct.pack(">I", zlib.crc32(tagged))


def _deflate(rows: Pixels) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(rows.data) + packer.flush()


def save_png(image: Pixels, path: str | os.PathLike[str]) -> None:
    """Write one image as a PNG file, whole or not at all.

    Args:
        image: uint8 (height, width, channels) with 1, 3 or 4 channels. `make_grid` joins several images.
        path: Path of the file, which ends in .png or has no ending.

    Raises:
        UsageError: The image has another shape or type, or the path has the ending of another kind of file.
        OutputError: The file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ""):
        raise UsageError(
            f"{path} has the ending of another kind of file; save_png writes PNG, so it must end in .png."
        )
    write_bytes(path, encode_png(image))
