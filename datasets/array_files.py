"""Images in array files: IDX and NPZ, with their labels."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganport.runtime.arrays import Pixels

from .errors import DatasetContentError
from .npz import read_npz

ClassIndices = npt.NDArray[np.int32]  # (n,), indices into a data set's classes

_IDX_IMAGES = 0x00000803  # magic number of unsigned bytes in three dimensions
_IDX_LABELS = 0x00000801  # magic number of unsigned bytes in one dimension
_IDX_TRAINING_IMAGES = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte")


def find_idx_images(folder: Path) -> Path | None:
    """Return the IDX file of training images in a folder; None if there is none."""
    return next((folder / name for name in _IDX_TRAINING_IMAGES if (folder / name).is_file()), None)


def load_array_file(path: Path) -> tuple[Pixels, npt.NDArray[Any] | None]:
    """Return the images of an .npz or IDX file, and their labels, if any. The labels are not checked.

    The images are uint8 (n, height, width, channels) with 1, 3 or 4 channels.

    Raises:
        DatasetContentError: The file can't be read, or it does not hold one array of images.
    """
    if path.suffix == ".npz":
        return _load_npz(path)
    images = _load_idx(path, _IDX_IMAGES)
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels: npt.NDArray[Any] | None
    try:
        labels = _load_idx(beside, _IDX_LABELS) if beside != path and beside.is_file() else None
    except DatasetContentError:
        # An empty array stands for labels that can't be read. `load_images` then explains in the attribute
        # `Dataset.unlabelled` why the labels are not used.
        labels = np.zeros(0)
    return images[..., np.newaxis], labels


def _load_idx(path: Path, magic: int) -> npt.NDArray[np.uint8]:
    """Return the content of an IDX file, plain or gzipped.

    An IDX file holds the magic number and the sizes, as big-endian 32-bit numbers, and then one byte per
    entry.

    Args:
        path: Path of the file.
        magic: Expected magic number. Its last byte is the number of sizes, 3 for images and 1 for labels.
    """
    start = 4 + 4 * (magic & 0xFF)
    try:
        with path.open("rb") as file:
            is_gzipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if is_gzipped else file
            header = stream.read(start)
            found, *sizes = struct.unpack(f">{start // 4}I", header) if len(header) == start else (0,)
            # A small gzipped file may hold gigabytes, so no more is unpacked than the header promises.
            content = stream.read(math.prod(sizes)) if found == magic else b""
            rest = stream.read(1)
    except (OSError, EOFError, zlib.error, OverflowError, MemoryError) as error:
        raise DatasetContentError(path, f"the file can't be read ({error}); copy it again.") from error
    if found != magic:
        what = "images; give one, an .npz file, or a folder of images" if magic == _IDX_IMAGES else "labels"
        raise DatasetContentError(path, f"it is not an IDX file of {what}.")
    if len(content) != math.prod(sizes) or rest:
        promised = (
            f"{sizes[0]:,} images of {sizes[2]}x{sizes[1]}" if len(sizes) == 3 else f"{sizes[0]:,} labels"
        )
        held = "more" if rest else f"{len(content):,} bytes"
        raise DatasetContentError(
            path, f"its header promises {promised}, and it holds {held}; copy it again."
        )
    return _not_empty(path, np.frombuffer(content, dtype=np.uint8).reshape(sizes))


def _load_npz(path: Path) -> tuple[Pixels, npt.NDArray[Any] | None]:
    """Return the images and the labels of an .npz file.

    The images in the file are uint8 (n, height, width) or (n, height, width, 1, 3 or 4). The returned images
    always have four dimensions.
    """
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise DatasetContentError(path, f"it can't be read as .npz ({error}).") from error
    images = {name: array for name, array in arrays.items() if _is_images(array)}
    for name in ("images", "x_train"):
        if name in images:
            images = {name: images[name]}
    if len(images) != 1:
        expected = (
            "one uint8 array (n, height, width) or (n, height, width, 1, 3 or 4), named 'images' or 'x_train'"
        )
        raise DatasetContentError(path, f"expected {expected}; it holds {_describe_arrays(arrays)}.")
    (pixels,) = images.values()
    labels = next((arrays[name] for name in ("labels", "y_train") if name in arrays), None)
    return _not_empty(path, pixels if pixels.ndim == 4 else pixels[..., np.newaxis]), labels


def _is_images(array: npt.NDArray[Any]) -> bool:
    has_channels = array.ndim == 4 and array.shape[-1] in (1, 3, 4)
    return array.dtype == np.uint8 and (array.ndim == 3 or has_channels)


def _describe_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    return ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()) or "no array"


def _not_empty(path: Path, pixels: Pixels) -> Pixels:
    if pixels.size == 0:
        raise DatasetContentError(path, "it holds no image; give a file with images.")
    return pixels
