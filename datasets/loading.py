"""Loading images: a named set, a folder of images, an IDX or NPZ file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from ganport.runtime.arrays import Pixels
from ganport.runtime.display import shortened
from ganport.runtime.errors import UsageError

from .array_files import find_idx_images, load_array_file
from .dataset import Dataset
from .errors import DatasetNotFoundError
from .fitting import fit_arrays
from .folder import Progress, load_folder, open_folder
from .named import LABELS, LICENCES, NAMED_DATASETS, find_named, load_without_files
from .preparation import MEMORY_LIMIT, Crop, ImageSize, Preparation

_MOST_CLASSES = 1_000  # limit for the number of classes in an array file


def load_images(
    source: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: ImageSize | None = None,
    channels: int | None = None,
    crop: Crop = "center",
    background: str = "white",
    skip_bad: bool = False,
    data_memory: int = MEMORY_LIMIT,
    progress: Progress | None = None,
) -> Dataset:
    """Return the images of a named set, a folder or a file.

    The decoded images of a folder are kept in the user's cache, if decoding takes long.

    Args:
        source: One of NAMED_DATASETS; or a folder of images or of IDX files; or an .npz file; or an IDX file,
            plain or gzipped.
        data_dir: Folder to search first for a named set. $GANPORT_DATA and Keras' own cache are searched
            next. If the set is in none of these folders, Keras downloads it.
        image_size: Pixels per side, or (height, width). Each image is cropped or padded as `crop` says, and
            resized. By default images stay as they are, and must have the same size.
        channels: Number of channels: 1 for grey, 3 for colour, 4 for colour with alpha. By default a folder
            gives 1 or 3, and the images of a file keep their channels.
        crop: Part of an image that is used if `image_size` has another aspect ratio: "center", the largest
            rectangle in the middle; "random", the largest rectangle at a random position that depends on the
            name of the file only; or "none", the whole image, padded.
        background: Colour of padding, and of what lies behind transparent pixels; a name, or "#rrggbb". With
            4 channels padding is transparent, and transparent pixels have this colour.
        skip_bad: Whether images that can't be read are left out. `Dataset.skipped` then names them.
        data_memory: Largest number of MB that a folder may take in memory. A larger folder is read image by
            image.
        progress: Function that is called with the number of decoded images, and with the number of all
            images, while a folder is decoded.

    Raises:
        DatasetNotFoundError: There is no such name, file or folder.
        NoImagesError: The folder holds no image.
        UnreadableImagesError: Images can't be read.
        DatasetContentError: The images have different sizes, or a file does not hold images.
        MissingPackageError: The package that holds or downloads the named set is not installed.
        UsageError: An argument has a value that is not valid.
    """
    name = os.fspath(source) if isinstance(source, os.PathLike) else source
    folder = None if data_dir is None else Path(data_dir)
    preparation = Preparation(image_size, channels, data_memory, crop, background, skip_bad)
    return load_prepared(name, preparation, folder, progress)


def load_prepared(
    source: str,
    preparation: Preparation,
    data_dir: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the images of a source, prepared with settings that a training run has recorded.

    Arguments and errors are those of `load_images`. The record of a run may be damaged.
    """
    if not isinstance(source, str):
        raise UsageError(f"`source` is {shortened(source)}; it must be a path or the name of a data set.")
    path = find_source(source, data_dir)
    name, licence = _name_of(source, path)
    if is_image_folder(path):
        folder, pixels = load_folder(path, preparation, progress)
        return Dataset(
            name,
            str(path),
            licence,
            folder if pixels is None else pixels,
            folder.classes(),
            preparation,
            folder.labels(),
            skipped=folder.skipped,
        )
    images, labels = load_without_files(source) if path is None else _load_file(path)
    data = Dataset(
        name, str(path or source), licence, fit_arrays(images, preparation), preparation=preparation
    )
    return data if labels is None else _with_labels(data, labels)


def find_source(source: str, data_dir: Path | None = None) -> Path | None:
    """Return the path of a data set; None for a named set that a package holds or that Keras downloads.

    Raises:
        DatasetNotFoundError: There is no such name, file or folder.
    """
    if source in LICENCES:
        return find_named(source, data_dir) if source != "digits" else None
    path = _existing_path(source)
    if path is None:
        names = ", ".join(NAMED_DATASETS)
        remedy = f"name one of {names}, a folder of images, or an .npz or IDX file that exists."
        raise DatasetNotFoundError(source, remedy)
    return path


def is_image_folder(path: Path | None) -> TypeGuard[Path]:
    """Return whether a path is a folder whose images are files, and not a folder of IDX files."""
    return path is not None and path.is_dir() and find_idx_images(path) is None


def find_training_images(name: str, data_dir: Path | None = None) -> Pixels | None:
    """Return the training images of a named set; None if no folder has them.

    Only `data_dir` and $GANPORT_DATA are searched, and nothing is downloaded.

    Raises:
        DatasetNotFoundError: `data_dir`, or $GANPORT_DATA, is not a folder.
        DatasetContentError: The images can't be read.
    """
    path = find_named(name, data_dir)
    if path is None:
        return None
    return open_folder(path).take_all() if is_image_folder(path) else _load_file(path)[0]


def _name_of(source: str, path: Path | None) -> tuple[str, str]:
    """Return the name and the licence of a data set."""
    if source in LICENCES or path is None:
        return source, LICENCES[source]
    name = path.stem if path.is_file() else path.name
    # A file called mnist, say, may contain other images than MNIST. If the Dataset of this file were also
    # called mnist, `evaluate` would compare with the bundled images of MNIST instead of with those of the
    # file.
    return (f"own-{name}" if name in LICENCES else name), "unknown"


def _existing_path(source: str) -> Path | None:
    try:
        path = Path(source).expanduser().resolve()
        return path if source and path.exists() else None
    # These errors mean that a name is too long, a folder is not accessible, the user in ~user is unknown, or
    # a name has a null character.
    except (OSError, RuntimeError, ValueError):
        return None


def _load_file(path: Path) -> tuple[Pixels, npt.NDArray[Any] | None]:
    """Return the images of a file, or of a folder of IDX files, and their labels. They are not checked."""
    return load_array_file(find_idx_images(path) or path if path.is_dir() else path)


def _with_labels(data: Dataset, labels: npt.NDArray[Any]) -> Dataset:
    """Return the data with its labels, or with the reason why they can't be used."""
    problem = _problem_of(labels, data.count)
    if problem:
        return dataclasses.replace(data, unlabelled=problem)
    values, indices, counts = np.unique(labels.ravel(), return_inverse=True, return_counts=True)
    known = LABELS.get(data.name, ())
    names = known if len(known) == len(values) else [str(value) for value in values.tolist()]
    classes = dict(zip(names, counts.tolist(), strict=True))
    return dataclasses.replace(data, classes=classes, labels=indices.astype(np.int32))


def _problem_of(labels: npt.NDArray[Any], count: int) -> str:
    """Return the reason why labels can't be used as the classes of the images; empty if they can."""
    if labels.size != count or len(labels) != count:
        return f"the labels have shape {labels.shape}, expected one for each of {count:,} images"
    if labels.dtype.kind not in "iu":
        return f"the labels are {labels.dtype}, expected whole numbers"
    classes = len(np.unique(labels))
    if classes > _MOST_CLASSES:
        return f"the labels have {classes:,} classes, the limit is {_MOST_CLASSES:,}"
    return ""
