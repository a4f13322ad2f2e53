"""Loading images: a named set, a folder of images, an IDX or NPZ file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganport.runtime.arrays import Pixels
from ganport.runtime.display import shortened
from ganport.runtime.errors import UsageError

from .array_files import ClassIndices, find_idx_images, load_array_file
from .dataset import MEMORY_LIMIT, Dataset, Preparation
from .errors import DatasetNotFoundError
from .folder import ImageFolder, fit_all, open_folder
from .named import LABELS, LICENCES, NAMED_DATASETS, find_named, load_without_files

_MOST_CLASSES = 1_000  # limit for the number of classes in an array file


def load_images(
    source: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    data_memory: int = MEMORY_LIMIT,
) -> Dataset:
    """Return the images of a named set, a folder or a file.

    Args:
        source: One of NAMED_DATASETS; or a folder of images or of IDX files; or an .npz file; or an IDX file,
            plain or gzipped.
        data_dir: Folder to search first for a named set. $GANPORT_DATA and Keras' own cache are searched
            next. If the set is in none of these folders, Keras downloads it.
        image_size: Pixels per side. Each image is cropped to its largest centred square and resized. By
            default images stay as they are, and must have the same size.
        channels: Number of channels, 1 for grey or 3 for colour. By default images keep their channels.
        data_memory: Largest number of MB that a folder may take in memory. A larger folder is read image by
            image.

    Raises:
        DatasetNotFoundError: There is no such name, file or folder.
        DatasetContentError: There is no image, an image can't be read, or the images have different sizes.
        MissingPackageError: The package that holds or downloads the named set is not installed.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(f"`source` is {shortened(source)}; it must be a path or the name of a data set.")
    name = os.fspath(source)
    folder = None if data_dir is None else Path(data_dir)
    return load_prepared(name, Preparation(image_size, channels, data_memory), folder)


def load_prepared(source: str, preparation: Preparation, data_dir: Path | None = None) -> Dataset:
    """Return the images of a source, prepared with settings that a training run has recorded.

    Arguments and errors are those of `load_images`.
    """
    path = find_named(source, data_dir) if source in LICENCES and source != "digits" else None
    if source not in LICENCES:
        path = _existing_path(source)
        if path is None:
            names = ", ".join(NAMED_DATASETS)
            remedy = f"name one of {names}, a folder of images, or an .npz or IDX file that exists."
            raise DatasetNotFoundError(source, remedy)
    images, labels = load_without_files(source) if path is None else _load_path(path, preparation)
    name, licence = _name_of(source, path)
    where = str(path or source)
    if isinstance(images, ImageFolder):
        fits = images.nbytes <= preparation.memory_limit * 1_000_000
        pixels = images.take_all() if fits else images
        return Dataset(name, where, licence, pixels, images.classes(), preparation, images.labels())
    images = fit_all(images, preparation.image_size, preparation.channels)
    data = Dataset(name, where, licence, images, preparation=preparation)
    return data if labels is None else _with_labels(data, labels)


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
    images, _ = _load_path(path, Preparation())
    return images.take_all() if isinstance(images, ImageFolder) else images


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
    # These errors mean that a name is too long, a folder is not accessible, or the user in ~user is unknown.
    except (OSError, RuntimeError):
        return None


def _load_path(
    path: Path, preparation: Preparation
) -> tuple[Pixels | ImageFolder, ClassIndices | npt.NDArray[Any] | None]:
    """Return images and their labels. The labels are not checked.

    The labels are None if an array file has no labels. They are also None for a folder of images, because
    `ImageFolder.labels` returns the labels of a folder.
    """
    if path.is_dir():
        file = find_idx_images(path)
        if file is None:
            return open_folder(path, preparation.image_size, preparation.channels), None
        path = file
    return load_array_file(path)


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
