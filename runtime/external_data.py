"""Weights in files beside a model's file, also behind symbolic links, as in the cache of Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from .display import shortened
from .rejection import RejectedError, UnsupportedError

_MOST_LINKS = 40  # limit for the length of a chain of symbolic links, as on Linux
_MOST_BYTES = 2**10  # largest number of bytes of a tensor that are read from another file


class Span(NamedTuple):
    """The part of a file that holds one tensor.

    Attributes:
        path: The file.
        offset: Index of the first byte.
        length: Number of bytes.
    """

    path: Path
    offset: int
    length: int

    def read_start(self) -> bytes:
        """Return the bytes of the tensor, at most the first thousand."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(min(self.length, _MOST_BYTES))


class WeightFiles:
    """Finds and checks the files beside a model that hold its weights.

    A model may be opened through symbolic links. In the cache of Hugging Face, a model and its weights are
    links in one folder, and lead to files with other names in another folder. So the weights are looked for
    beside each link on the way to the model's file.

    Attributes:
        model: Path of the model beside which the weights were found. It is the given path or the path of a
            link behind it. onnxruntime finds the weights if it opens this path. None if the model was given
            as bytes.
        found: Files that hold weights.
    """

    def __init__(self, model: Path | None) -> None:
        self.model = model
        self.found: set[Path] = set()

    def locate(self, entries: Mapping[str, str]) -> Span:
        """Return the place of one tensor.

        Args:
            entries: The entries of a tensor's field `external_data`: location, offset and length.

        Raises:
            RejectedError: The location is not in the model's folder, or the file is too short.
            UnsupportedError: The file is missing, or it is a pointer of Git LFS.
        """
        path = self._find(entries.get("location", ""))
        location, size = shortened(entries["location"]), path.stat().st_size
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise RejectedError(f"offset or length of its weights in {location} is not a number") from None
        if offset < 0 or length < 0 or offset + length > size:
            from .file_kinds import recognise  # not at the top, because most files are what they should be

            if kind := recognise(memoryview(path.read_bytes() if size <= _MOST_BYTES else b"")):
                raise UnsupportedError(
                    f"its weights are in {location}, which is {kind.name}", kind.remedy_for(path)
                )
            span = f"{offset:,} to {offset + length:,}"
            raise RejectedError(f"its weights are bytes {span} of {location}, which has {size:,} bytes")
        return Span(path, offset, length)

    def _find(self, location: str) -> Path:
        """Return the path of a file with weights, after checking that it belongs to the model."""
        where = f"its weights are in {shortened(location)}"
        if self.model is None:
            raise UnsupportedError(f"{where}, another file", "open the model by its path")
        is_absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
        if is_absolute or ".." in Path(location).parts:
            raise RejectedError(f"{where}, outside of the model's folder")
        if not self.found:  # the first file decides, because onnxruntime opens one path of the model
            self.model = _beside(self.model, location)
        path = self.model.parent / location
        if not _exists(path):
            raise UnsupportedError(f"{where}, which is missing", "copy this file into the model's folder")
        if not path.is_file() or not _is_within_folder(path, self.model):
            raise RejectedError(f"{where}, which is not a file in the model's folder")
        self.found.add(path)
        return path


def _beside(model: Path, location: str) -> Path:
    """Return the first path on the way through links to a model beside which there is the given file."""
    for path in _through_links(model):
        if _exists(path.parent / location):
            return path
    return model


def _through_links(path: Path) -> Iterator[Path]:
    """Yield a path, and then the path of each symbolic link that it leads to, up to the file itself."""
    for _ in range(_MOST_LINKS):
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _is_within_folder(path: Path, model: Path) -> bool:
    """Return whether a path leads to a file in the folder of the model, or in that of the model's real file.

    The latter is true in the cache of Hugging Face, where both are links into the same folder.
    """
    target = path.resolve()
    return target.is_relative_to(model.parent.resolve()) or target.is_relative_to(model.resolve().parent)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long, or a folder must not be read
        return False
