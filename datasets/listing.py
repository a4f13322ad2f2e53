"""Listing the images of a folder and its sub-folders, in the order of their names."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from ganport.runtime.display import first_line, system_reason

from .decoding import FORMATS, UNMARKED_FORMATS
from .errors import NoImagesError

# Folders of other programs, which hold no images of the user.
_LEFT_OUT = frozenset({"__MACOSX"})


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder that have the ending of an image.

    Attributes:
        path: Path of the folder.
        names: Names of the images, relative to the folder and with "/" between their parts. They are sorted
            part by part.
        unreadable: Mapping from the name of each broken link and of each folder that can't be opened to the
            reason.
    """

    path: Path
    names: tuple[str, ...]
    unreadable: Mapping[str, str]


def list_images(path: Path) -> Listing:
    """Return the images of a folder and its sub-folders. No image is opened.

    Files and folders whose names begin with a dot are left out, and so is the folder __MACOSX of archives.
    Symbolic links are followed. Each folder is read once, even if several links lead to it, so loops end.

    Raises:
        NoImagesError: The folder holds no image.
    """
    walk = _Walk(path)
    walk.read_all()
    if not walk.names and not walk.unreadable:
        raise NoImagesError(path, _remedy(walk.other_endings))
    names = tuple(sorted(walk.names, key=_parts))
    return Listing(path, names, dict(sorted(walk.unreadable.items())))


@functools.cache
def image_endings() -> frozenset[str]:
    """Return the endings of the files that are listed as images, in lower case, such as ".png"."""
    Image.init()
    known = {*FORMATS, *UNMARKED_FORMATS}
    kinds = Image.registered_extensions()
    # Pillow registers the ending .mpo for a format of its own, which it opens as a JPEG.
    return frozenset(ending for ending, kind in kinds.items() if kind in known or kind == "MPO")


class _Walk:
    """The state of one walk through a folder.

    Attributes:
        names: Relative names of the images.
        unreadable: Reasons by relative name; see `Listing`.
        other_endings: Number of files with each other ending.
    """

    def __init__(self, path: Path) -> None:
        self.names: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.other_endings: collections.Counter[str] = collections.Counter()
        self._root = path
        self._visited: set[tuple[int, int]] = set()  # device and inode of each folder that was read
        self._links: list[str] = []  # relative names of folders that are symbolic links

    def read_all(self) -> None:
        """Read the folder itself, and then the folders that symbolic links lead to.

        The links come last. So if a link leads to another place in the folder, its images are listed below
        their real name.
        """
        self._read_tree("")
        while self._links:
            links, self._links = sorted(self._links, key=_parts), []
            for link in links:
                self._read_tree(link)

    def _read_tree(self, folder: str) -> None:
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            try:
                waiting += self._read_folder(current)
            except OSError as error:
                self.unreadable[current or "."] = system_reason(error)

    def _read_folder(self, folder: str) -> list[str]:
        """Read one folder, and return the names of the folders in it."""
        path = os.path.join(self._root, folder) if folder else os.fspath(self._root)  # noqa: PTH118  # fast
        status = os.stat(path)  # noqa: PTH116
        # Some file systems have no inodes; then every folder has the number 0.
        if status.st_ino and (status.st_dev, status.st_ino) in self._visited:
            return []
        self._visited.add((status.st_dev, status.st_ino))
        folders = []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _LEFT_OUT:
                    continue
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                else:
                    self._add(entry, name)
        return folders

    def _add(self, entry: os.DirEntry[str], name: str) -> None:
        """Note a file, or a symbolic link to a file or a folder."""
        ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  # Path would take four times as long
        is_image = ending in image_endings()
        if entry.is_symlink():
            try:
                is_folder = entry.is_dir()
                is_file = entry.is_file()
            except OSError as error:  # a link that leads to itself
                self.unreadable[name] = first_line(error)
                return
            if is_folder:
                self._links.append(name)
                return
            if not is_file and (is_image or not ending):
                target = os.readlink(entry.path)  # noqa: PTH115
                self.unreadable[name] = f"it is a link to {target}, which does not exist"
                return
        if is_image and entry.is_file():
            self.names.append(name)
        elif ending:
            self.other_endings[ending] += 1


def _parts(name: str) -> list[str]:
    return name.split("/")


def _remedy(other_endings: collections.Counter[str]) -> str:
    """Return what to do about a folder without images, which may have files with other endings."""
    remedy = "give a folder of images, such as PNG, JPEG or WebP."
    if other_endings:
        ((ending, count),) = other_endings.most_common(1)
        files = "file ends" if count == 1 else "files end"
        return f"{count:,} {files} in {ending}, which is not read as an image; {remedy}"
    return remedy


def class_of(name: str) -> str:
    """Return the class of an image, which is the first folder in its name; empty if there is none."""
    return name.split("/", 1)[0] if "/" in name else ""


def batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the names in batches of at most `size`, in order.

    >>> list(batched(("a", "b", "c"), 2))
    [('a', 'b'), ('c',)]
    """
    for first in range(0, len(names), size):
        yield names[first : first + size]
