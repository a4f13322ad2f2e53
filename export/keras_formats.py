"""The formats of Keras' files, which are recognised by their content, and the endings that Keras expects."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import h5py

# "zip" is the format of .keras files. "hdf5" is that of whole models, and of weights alone, in the layout of
# Keras 1 and 2. "weights" is HDF5 in the layout of the weights in .keras files.
Format = Literal["zip", "hdf5", "weights"]

_ENDINGS: dict[Format, tuple[str, ...]] = {
    "zip": (".keras",),
    "hdf5": (".h5", ".hdf5"),
    "weights": (".weights.h5",),
}
_HDF5 = b"\x89HDF\r\n\x1a\n"  # first bytes of a file in HDF5
_ZIP = b"PK\x03\x04"
_GROUPS = ("layers", "vars", "_layer_checkpoint_dependencies")  # groups in weights, the last one in Keras 2


def may_be_keras(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a Keras file. It may be damaged."""
    with path.open("rb") as file:
        start = file.read(len(_HDF5))
    if not start.startswith(_ZIP):
        return start == _HDF5
    return path.suffix.lower() == ".keras" or "config.json" in _names_in(path)


def _names_in(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []


def format_of(path: Path) -> Format | None:
    """Return the format of a file or of a folder with the content of a .keras file; None for another one.

    Raises:
        OSError: The file is damaged.
    """
    if path.is_dir() or zipfile.is_zipfile(path):
        return "zip"
    with h5py.File(path) as file:
        if "model_config" in file.attrs or "layer_names" in file.attrs or "model_weights" in file:
            return "hdf5"
        return "weights" if any(name in file for name in _GROUPS) else None


@contextlib.contextmanager
def with_expected_ending(path: Path, kind: Format) -> Iterator[Path]:
    """Give a path of the same content whose ending tells Keras the format.

    Args:
        path: File, or folder with the content of a .keras file.
        kind: Format of the file.
    """
    if path.is_file() and path.name.endswith(_ENDINGS[kind]):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"copy{_ENDINGS[kind][0]}"
        if path.is_dir():
            with zipfile.ZipFile(copy, "w") as archive:
                for file in filter(Path.is_file, path.iterdir()):
                    archive.write(file, file.name)
        else:
            shutil.copyfile(path, copy)
        yield copy
