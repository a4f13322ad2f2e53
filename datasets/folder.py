"""Folders of images: read image by image, all at once, or from the cache of decoded images."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ganport.runtime.arrays import Pixels
from ganport.runtime.cores import usable_cores
from ganport.runtime.errors import OutputError

from .decoding import UnreadableError, decoded, has_grey_levels, header, quiet_pillow
from .errors import DatasetContentError, UnreadableImagesError
from .fitting import read_pixels
from .image_cache import CachedImages, ImageCache
from .listing import Listing, batched, class_of, list_images
from .preparation import Preparation

Progress = Callable[[int, int], None]  # called with the number of images that are done, and the number of all

_SAMPLED_BYTES = 4_096  # bytes at the start, in the middle and at the end of a file that a fingerprint covers
_FILES_PER_TASK = 256  # number of files that a thread reads at a time for a fingerprint
_PROGRESS_INTERVAL = 50  # number of images between two reports of the progress
_CHUNK_BYTES = 64_000_000  # pixels of this size are decoded before they are written to the cache


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """The images of a folder and its sub-folders, sorted by name. An image is read when it is needed.

    Attributes:
        path: Path of the folder.
        names: Names of the images, relative to the folder, with "/" between their parts.
        shape: Shape of all images together, (n, height, width, channels), with 1, 3 or 4 channels.
        preparation: How the images are prepared.
        skipped: Mapping from the name of each image that is left out to the reason.
        cached: The same images in the cache, already decoded; None if they are not there.
    """

    path: Path
    names: tuple[str, ...]
    shape: tuple[int, int, int, int]
    preparation: Preparation = dataclasses.field(default_factory=Preparation)
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cached: CachedImages | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        """Number of bytes that an array of all images would take."""
        return int(np.prod(self.shape, dtype=np.int64))

    def take(self, indices: npt.NDArray[np.int32] | range) -> Pixels:
        """Return the images with the given indices.

        Raises:
            DatasetContentError: An image can't be read, or it has a different size.
        """
        if self.cached is not None:
            return self.cached.take(indices)
        pixels = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)
        with quiet_pillow():
            for row, index in enumerate(indices):
                name = self.names[index]
                try:
                    pixels[row] = self._read(name)
                except UnreadableError as error:
                    raise UnreadableImagesError(self.path, {name: str(error)}, 1) from error
        return pixels

    def take_all(self) -> Pixels:
        """Return all images, decoded on all cores.

        Raises:
            UnreadableImagesError: Images can't be read.
            DatasetContentError: The images have different sizes.
        """
        if self.cached is not None:
            return self.cached.take_all()
        pixels = np.empty(self.shape, dtype=np.uint8)
        unreadable = self.decode_into(pixels)
        if unreadable:
            raise UnreadableImagesError(self.path, unreadable, len(self.names))
        return pixels

    def decode_into(self, pixels: Pixels, progress: Progress | None = None) -> dict[str, str]:
        """Decode all images into an array on all cores, and return the reason for each unreadable image.

        Args:
            pixels: Array of the shape `shape`. The rows of unreadable images become 0.
            progress: Function that is called with the number of images that are done, and of all images.

        Raises:
            DatasetContentError: The images have different sizes.
        """
        unreadable: dict[str, str] = {}
        for first, chunk, failures in self._decoded_chunks(progress):
            pixels[first : first + len(chunk)] = chunk
            unreadable |= failures
        return unreadable

    def decode_into_cache(self, cache: ImageCache, progress: Progress | None = None) -> None:
        """Decode all images into the cache.

        Raises:
            OutputError: The cache can't be written.
            UnreadableImagesError: Images can't be read, and `skip_bad` is not set.
            DatasetContentError: The images have different sizes.
        """
        unreadable: dict[str, str] = dict(self.skipped)
        with cache.writing(self.shape) as writer:
            for first, chunk, failures in self._decoded_chunks(progress):
                names = self.names[first : first + len(chunk)]
                is_read = [name not in failures for name in names]
                writer.write(chunk if all(is_read) else chunk[is_read])
                unreadable |= failures
            self.check_readable(unreadable)
            writer.skipped = unreadable

    def find_unreadable(self, progress: Progress | None = None) -> dict[str, str]:
        """Return the reason for each unreadable image, by its name. All images are decoded for this."""
        unreadable: dict[str, str] = {}
        for _, _, failures in self._decoded_chunks(progress):
            unreadable |= failures
        return unreadable

    def check_readable(self, unreadable: Mapping[str, str]) -> None:
        """Raise UnreadableImagesError if there are unreadable images and they may not be left out."""
        count = len(self.names) + len(self.skipped)
        if unreadable and (not self.preparation.skip_bad or len(unreadable) == count):
            raise UnreadableImagesError(self.path, dict(sorted(unreadable.items())), count)

    def without(self, unreadable: Mapping[str, str]) -> ImageFolder:
        """Return the folder without some images, which are not all of its images."""
        names = tuple(name for name in self.names if name not in unreadable)
        skipped = dict(self.skipped) | dict(unreadable)
        return dataclasses.replace(self, names=names, shape=(len(names), *self.shape[1:]), skipped=skipped)

    def fingerprint(self) -> str:
        """Return a hash of the shape, of the preparation, and of the files.

        Of each file the name, the size, and 4 KB at the start, in the middle and at the end are used. So the
        hash changes if an image is replaced by another one, and files that are copied keep their hash.
        """
        crop, background = self.preparation.crop, self.preparation.background_rgb
        digest = hashlib.sha256(repr((self.shape, crop, background)).encode())
        with concurrent.futures.ThreadPoolExecutor(usable_cores()) as pool:
            for content in pool.map(self._sample, batched(self.names, _FILES_PER_TASK)):
                digest.update(content)
        return digest.hexdigest()

    def classes(self) -> dict[str, int]:
        """Return the number of images in each sub-folder; empty if all images lie in the folder itself."""
        counts = collections.Counter(map(class_of, self.names))
        return {name: counts[name] for name in sorted(counts) if name}

    def labels(self) -> npt.NDArray[np.int32] | None:
        """Return the class of each image, as an index into `classes`, int32 (n,).

        The result is None if an image lies in the folder itself.
        """
        indices = {name: index for index, name in enumerate(self.classes())}
        if not all(map(class_of, self.names)):
            return None
        return np.array([indices[class_of(name)] for name in self.names], np.int32)

    def _decoded_chunks(self, progress: Progress | None) -> Iterator[tuple[int, Pixels, dict[str, str]]]:
        """Yield the images in chunks: the index of the first one, the pixels, and the unreadable images."""
        count, *image_shape = self.shape
        at_once = max(1, min(count, _CHUNK_BYTES // int(np.prod(image_shape))))
        pixels = np.empty((at_once, *image_shape), dtype=np.uint8)
        with quiet_pillow(), concurrent.futures.ThreadPoolExecutor(usable_cores()) as pool:
            for first in range(0, count, at_once):
                names = self.names[first : first + at_once]
                # Pillow decodes most formats without Python's global lock, so threads use several cores.
                reasons = pool.map(lambda row, name: self._read_row(pixels, row, name), range(at_once), names)
                failures: dict[str, str] = {}
                for done, (name, reason) in enumerate(zip(names, reasons, strict=True), first + 1):
                    if reason:
                        failures[name] = reason
                    if progress is not None and (done % _PROGRESS_INTERVAL == 0 or done == count):
                        progress(done, count)
                yield first, pixels[: len(names)], failures

    def _read_row(self, pixels: Pixels, row: int, name: str) -> str:
        """Decode an image into a row of an array, and return the reason if it can't be read."""
        try:
            pixels[row] = self._read(name)
        except UnreadableError as error:
            pixels[row] = 0
            return str(error)
        return ""

    def _read(self, name: str) -> Pixels:
        _, height, width, channels = self.shape
        pixels = read_pixels(self.path / name, name, channels, self.preparation)
        if pixels.shape[:2] != (height, width):
            sizes = f"{self.names[0]} is {width}x{height}, {name} is {pixels.shape[1]}x{pixels.shape[0]}"
            raise DatasetContentError(
                self.path,
                f"its images differ in size ({sizes}); `image_size=N` crops and resizes them to squares.",
            )
        return pixels

    def _sample(self, names: Sequence[str]) -> bytes:
        """Return a hash of some files: of their names, their sizes, and a part of their content."""
        digest = hashlib.sha256()
        for name in names:
            digest.update(os.fsencode(name) + b"\0" + self._sample_file(name))
        return digest.digest()

    def _sample_file(self, name: str) -> bytes:
        """Return the size of a file, and bytes at its start, in its middle and at its end."""
        try:
            with (self.path / name).open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size <= 3 * _SAMPLED_BYTES:
                    return size.to_bytes(8, "big") + file.read(size)
                parts = [size.to_bytes(8, "big")]
                for offset in (0, (size - _SAMPLED_BYTES) // 2, size - _SAMPLED_BYTES):
                    file.seek(offset)
                    parts.append(file.read(_SAMPLED_BYTES))
                return b"".join(parts)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableImagesError(self.path, {name: reason.lower()}, 1) from error


def load_folder(
    path: Path, preparation: Preparation | None = None, progress: Progress | None = None
) -> tuple[ImageFolder, Pixels | None]:
    """Return the images of a folder, and all their pixels if these fit into the memory limit.

    The decoded images are read from the user's cache. If they are not in it, they are decoded and written
    to it. Images that do not fit into the cache either are decoded when they are used.

    Args:
        path: Path of the folder.
        preparation: Settings; by default the images stay as they are.
        progress: Function that is called with the number of images that are done, and of all images.

    Raises:
        NoImagesError: The folder holds no image.
        UnreadableImagesError: Images can't be read. With `skip_bad`, no image can be read.
        DatasetContentError: The images have different sizes.
    """
    settings = preparation or Preparation()
    folder, cache = _open(path, settings)
    fits = folder.nbytes <= settings.memory_limit * 1_000_000
    if folder.cached is not None:
        return folder, folder.take_all() if fits else None
    if fits:
        return _load_into_memory(folder, cache, progress)
    return _load_into_cache(folder, cache, progress), None


def open_folder(path: Path, preparation: Preparation | None = None) -> ImageFolder:
    """Return the images of a folder. They are decoded when they are used, unless they are in the cache.

    Without a number of channels, the images are grey if all of them have a grey mode. Without an image size,
    the first image has the size of all images.

    Raises:
        NoImagesError: The folder holds no image.
        UnreadableImagesError: The header of an image can't be read.
    """
    return _open(path, preparation or Preparation())[0]


def _open(path: Path, preparation: Preparation) -> tuple[ImageFolder, ImageCache | None]:
    listing = list_images(path)
    if not listing.names:
        raise UnreadableImagesError(path, listing.unreadable, len(listing.unreadable))
    cache = ImageCache.of(listing, preparation)
    cached = cache.find() if cache is not None else None
    if cached is not None and (preparation.skip_bad or not cached.skipped):
        return _cached_folder(path, preparation, cached), cache
    with quiet_pillow():
        size = preparation.size or _first_size(path, listing)
        channels = preparation.channels or _channels_of(path, listing.names)
    shape = (len(listing.names), *size, channels)
    return ImageFolder(path, listing.names, shape, preparation, dict(listing.unreadable)), cache


def _first_size(path: Path, listing: Listing) -> tuple[int, int]:
    """Return the height and the width of the first image that can be read, upright."""
    reasons = dict(listing.unreadable)
    for name in listing.names:
        try:
            with decoded(path / name) as found:
                width, height = found.size
                return height, width
        except UnreadableError as error:
            reasons[name] = str(error)
    raise UnreadableImagesError(path, reasons, len(reasons))


def _channels_of(path: Path, names: Sequence[str]) -> int:
    """Return 1 if all images have a grey mode, or else 3. Images whose header can't be read don't count."""
    for name in names:
        try:
            with header(path / name) as image:
                if not has_grey_levels(image):
                    return 3
        except UnreadableError:
            continue  # decoding this image will say what is wrong with it
    return 1


def _load_into_memory(
    folder: ImageFolder, cache: ImageCache | None, progress: Progress | None
) -> tuple[ImageFolder, Pixels]:
    pixels = np.empty(folder.shape, dtype=np.uint8)
    unreadable = folder.decode_into(pixels, progress)
    folder.check_readable({**folder.skipped, **unreadable})
    if unreadable:
        pixels = pixels[[name not in unreadable for name in folder.names]]
        folder = folder.without(unreadable)
    if cache is not None and cache.has_room(folder.nbytes):
        with contextlib.suppress(OutputError):  # the images are used without the cache
            with cache.writing(folder.shape) as writer:
                writer.write(pixels)
                writer.skipped = folder.skipped
    return folder, pixels


def _load_into_cache(folder: ImageFolder, cache: ImageCache | None, progress: Progress | None) -> ImageFolder:
    if cache is not None and cache.has_room(folder.nbytes):
        with contextlib.suppress(OutputError):  # the images are decoded when they are used
            folder.decode_into_cache(cache, progress)
        cached = cache.find()
        if cached is not None:
            return _cached_folder(folder.path, folder.preparation, cached)
    unreadable = folder.find_unreadable(progress) if folder.preparation.skip_bad else {}
    folder.check_readable({**folder.skipped, **unreadable})
    return folder.without(unreadable)


def _cached_folder(path: Path, preparation: Preparation, cached: CachedImages) -> ImageFolder:
    return ImageFolder(path, cached.names, cached.shape, preparation, cached.skipped, cached)
