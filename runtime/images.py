"""Pixels: from generator output to 8-bit images and grids.

Images have the shape (n, height, width, channels).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .arrays import Pixels
from .contract import ImageSpec
from .errors import UsageError

GRID_GAP = 2  # pixels between two images of a grid
LARGEST_SIDE = 16_384  # largest side of an enlarged image in pixels


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
        images = to_uint8(images, value_range=spec.range)
    return np.ascontiguousarray(images)


def to_uint8(images: npt.NDArray[np.float32], *, value_range: tuple[float, float] = (-1, 1)) -> Pixels:
    """Return generator output as 8-bit pixels, of the same shape, in [0, 255], rounded half to even.

    Args:
        images: Values of pixels; values outside of the range are clipped.
        value_range: The value of black and the value of white.

    >>> to_uint8(np.array([-1.0, 0.0, 1.0, 9.0], dtype=np.float32)).tolist()
    [0, 128, 255, 255]
    """
    low, high = value_range
    scale = np.float32(255 / (high - low))
    levels: npt.NDArray[np.float32] = np.rint((images - np.float32(low)) * scale)
    return np.clip(levels, 0, 255).astype(np.uint8)


def to_image(pixels: Pixels) -> Image.Image:
    """Return one image, uint8 (height, width, channels), as a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def check_scale(scale: int, shape: tuple[int, int, int]) -> None:
    """Raise UsageError if images, enlarged by a factor, would be larger than 16,384 pixels per side.

    Args:
        scale: The factor, a whole number of at least 1.
        shape: Height, width and channels of one image.
    """
    height, width, _ = shape
    largest = max(1, LARGEST_SIDE // max(height, width))
    if scale > largest:
        raise UsageError(
            f"`scale` is {scale}, which would make images of {width}x{height} as large as "
            f"{scale * width}x{scale * height}; give at most {largest}."
        )


def enlarge(images: Pixels, factor: int) -> Pixels:
    """Return images in which each pixel is a square of `factor` x `factor` pixels (nearest neighbour).

    Args:
        images: uint8 (n, height, width, channels).
        factor: Whole number of at least 1.

    Returns:
        uint8 (n, factor * height, factor * width, channels).

    >>> enlarge(np.array([[[[1], [2]]]], dtype=np.uint8), 2)[..., 0].tolist()
    [[[1, 1, 2, 2], [1, 1, 2, 2]]]
    """
    return images if factor == 1 else images.repeat(factor, axis=1).repeat(factor, axis=2)


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
    check_pixels(images)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height + GRID_GAP, width + GRID_GAP, channels), dtype=np.uint8)
    cells[:count, :height, :width] = images
    grid = cells.reshape(rows, columns, height + GRID_GAP, width + GRID_GAP, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + GRID_GAP), columns * (width + GRID_GAP), channels)
    return grid[:-GRID_GAP, :-GRID_GAP]


def check_pixels(images: npt.NDArray[Any]) -> None:
    """Raise UsageError unless an array holds 8-bit images, (n, height, width, channels).

    NumPy would convert other types to uint8 without an error, and this would change the values.
    """
    is_image = images.ndim == 4 and images.shape[3] in (1, 3, 4) and 0 not in images.shape
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
