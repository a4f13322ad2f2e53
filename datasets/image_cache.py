"""The cache of decoded images, in the user's cache folder.

The prepared images of a folder are kept as one .npy file, uint8 (n, height, width, channels), and a JSON file
with the names of images that were left out. The files are found by a hash of the folder's file names, sizes
and times, and of the settings. If the cache can't be used, images are decoded each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import PIL

from ganport.runtime.arrays import Pixels
from ganport.runtime.files import cache_folder, replacing, write_bytes

from .decoding import DECODING_VERSION
from .listing import Listing
from .preparation import Preparation

CACHE_LIMIT = (
    10_000_000_000  # bytes of all files in the cache; the files that were unused for longest go first
)
LEAST_BYTES = 4_000_000  # folders with smaller files than this in total are decoded quickly, and not cached

_FREE_BYTES = 1_000_000_000  # space on the disk that the cache leaves free
_LEFTOVER_AGE_S = 86_400  # a temporary file that is older was left by a process that was killed


def image_cache_folder() -> Path | None:
    """Return the folder of decoded images in the user's cache; None if the user has no home folder."""
    folder = cache_folder()
    return None if folder is None else folder / "images"


@dataclasses.dataclass(frozen=True)
class CachedImages:
    """The images of a folder in the cache.

    Attributes:
        names: Names of the images, relative to their folder.
        skipped: Mapping from the name of each image that was left out to the reason.
        pixels: The images, uint8 (n, height, width, channels). They are mapped into memory, not read.
    """

    names: tuple[str, ...]
    skipped: Mapping[str, str]
    pixels: Pixels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number, height, width and channels of the images."""
        count, height, width, channels = self.pixels.shape
        return count, height, width, channels

    def take(self, indices: npt.NDArray[np.int32] | range) -> Pixels:
        """Return the images with the given indices."""
        return np.array(self.pixels[np.asarray(indices)])

    def take_all(self) -> Pixels:
        """Return all images in memory."""
        return np.array(self.pixels)


class CacheWriter:
    """Writes images into a new file of the cache.

    Attributes:
        skipped: Reason for each image that is left out, by its name. The caller sets it.
    """

    def __init__(self, file: IO[bytes], image_shape: tuple[int, ...]) -> None:
        self.skipped: Mapping[str, str] = {}
        self._file, self._image_shape, self._count = file, image_shape, 0
        self._write_header()

    def write(self, pixels: Pixels) -> None:
        """Write some images, uint8 (n, height, width, channels)."""
        self._file.write(np.ascontiguousarray(pixels).data)
        self._count += len(pixels)

    def finish(self) -> None:
        """Write the final number of images into the header of the file."""
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for a longer first axis, so the header keeps its length.
        shape = (self._count, *self._image_shape)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class ImageCache:
    """The place of one folder's prepared images in the cache.

    Args:
        folder: Folder of the cache.
        key: Hash of the images' files and of the settings.
        names: Names of all images of the folder.
    """

    def __init__(self, folder: Path, key: str, names: tuple[str, ...]) -> None:
        self._folder, self._names = folder, names
        self._pixels_file, self._facts_file = folder / f"{key}.npy", folder / f"{key}.json"

    @classmethod
    def of(cls, listing: Listing, preparation: Preparation) -> ImageCache | None:
        """Return the place in the cache; None without a cache, or if the images are quick to decode."""
        folder = image_cache_folder()
        if folder is None:
            return None
        digest = hashlib.sha256(_facts_of(preparation).encode())
        digest.update(os.fsencode(listing.path))
        size = 0
        for name in listing.names:
            try:
                status = os.stat(f"{listing.path}/{name}")  # noqa: PTH116  # Path would take four times as long
            except OSError:
                return None  # decoding the images then says what is wrong
            size += status.st_size
            # The time of the last change (ctime) can't be set by a program that copies times and sizes.
            facts = f"\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\0"
            digest.update(os.fsencode(name) + facts.encode())
        return cls(folder, digest.hexdigest(), listing.names) if size >= LEAST_BYTES else None

    def find(self) -> CachedImages | None:
        """Return the images in the cache; None if they are not there, or if a file is damaged."""
        try:
            facts = json.loads(self._facts_file.read_bytes())
            pixels = np.load(self._pixels_file, mmap_mode="r")
            skipped = {str(name): str(reason) for name, reason in facts["skipped"].items()}
            os.utime(self._pixels_file)  # the time of the last use
        except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        names = tuple(name for name in self._names if name not in skipped)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != len(names):
            return None
        return CachedImages(names, skipped, pixels)

    def has_room(self, size: int) -> bool:
        """Return whether a file of `size` bytes fits into the cache and on the disk."""
        existing = next(folder for folder in (self._folder, *self._folder.parents) if folder.exists())
        try:
            return size <= CACHE_LIMIT and size + _FREE_BYTES <= shutil.disk_usage(existing).free
        except OSError:
            return False

    @contextlib.contextmanager
    def writing(self, shape: tuple[int, int, int, int]) -> Iterator[CacheWriter]:
        """Yield a writer. When the block ends, the images are in the cache; if it raises, they are not.

        Args:
            shape: Shape of all images, (n, height, width, channels). Fewer images may be written.

        Raises:
            OutputError: The cache can't be written.
        """
        _make_room(self._folder, int(np.prod(shape, dtype=np.int64)))
        with replacing(self._pixels_file) as temporary:
            with temporary.open("wb") as file:
                writer = CacheWriter(file, shape[1:])
                yield writer
                writer.finish()
            # `find` needs both files. The file of the images comes last, when this block ends.
            write_bytes(self._facts_file, json.dumps({"skipped": dict(writer.skipped)}).encode())


def _facts_of(preparation: Preparation) -> str:
    """Return the settings that change the pixels, as a text. `skip_bad` does not change them."""
    facts = [preparation.size, preparation.channels, preparation.crop, preparation.background_rgb]
    return repr([DECODING_VERSION, PIL.__version__, *facts])


def _make_room(folder: Path, size: int) -> None:
    """Remove the files that were unused for longest, until `size` more bytes are within the limit."""
    if not folder.is_dir():
        return
    files = []
    for file in folder.glob("*.npy"):
        with contextlib.suppress(OSError):  # another process may remove it at the same time
            status = file.stat()
            files.append((status.st_mtime, status.st_size, file))
    total = size + sum(each for _, each, _ in files)
    for _, freed, file in sorted(files):
        if total <= CACHE_LIMIT:
            break
        _remove(file)
        total -= freed
    for file in folder.glob(".*.part.*"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > _LEFTOVER_AGE_S:
                file.unlink()


def _remove(file: Path) -> None:
    # On Windows a file can't be removed while a process uses it. It then stays until the next time.
    with contextlib.suppress(OSError):
        file.unlink()
        file.with_suffix(".json").unlink()
