"""Reading folders of images, in any format that Pillow decodes, as uint8 arrays of one size."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ganport.runtime.arrays import Pixels

from .errors import DatasetContentError

_GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B"})
_MODES = {1: "L", 3: "RGB"}  # Pillow's mode, by number of channels
# Endings of formats that Pillow registers but does not decode, or decodes only with another program.
_NOT_DECODED = frozenset({".bufr", ".grib", ".h5", ".hdf", ".mpeg", ".mpg", ".eps", ".ps", ".wmf", ".emf"})
_READ_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """The images of a folder and its sub-folders, sorted by name. An image is read when it is needed.

    Attributes:
        path: Path of the folder.
        files: Paths of the images.
        shape: Shape of all images together, (n, height, width, channels), with 1 or 3 channels.
        resized: Whether images of a different size are cropped and resized to `shape`.
    """

    path: Path
    files: tuple[Path, ...]
    shape: tuple[int, int, int, int]
    resized: bool

    @property
    def nbytes(self) -> int:
        """Number of bytes that an array of all images would take."""
        return int(np.prod(self.shape, dtype=np.int64))

    def take(self, indices: npt.NDArray[np.int32] | range) -> Pixels:
        """Return the images with the given indices.

        Raises:
            DatasetContentError: An image can't be read, or it has a different size.
        """
        pixels = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)
        for row, index in enumerate(indices):
            pixels[row] = self._read(self.files[index])
        return pixels

    def take_all(self) -> Pixels:
        """Return all images, decoded on all cores."""
        pixels = np.empty(self.shape, dtype=np.uint8)

        def read(index: int) -> None:
            pixels[index] = self._read(self.files[index])

        with concurrent.futures.ThreadPoolExecutor() as pool:  # Pillow decodes without the GIL
            for _ in pool.map(read, range(len(self.files))):
                pass
        return pixels

    def fingerprint(self) -> str:
        """Return a hash of the shape, and of the files' names and sizes.

        The content of the files is not read, because that would take long.
        """
        digest = hashlib.sha256(repr(self.shape).encode())
        for file in self.files:
            digest.update(f"{file.relative_to(self.path)}\0{file.stat().st_size}\0".encode())
        return digest.hexdigest()

    def classes(self) -> dict[str, int]:
        """Return the number of images in each sub-folder; empty if all images lie in the folder itself."""
        names = (file.relative_to(self.path).parts[0] for file in self.files if file.parent != self.path)
        return dict(sorted(collections.Counter(names).items()))

    def labels(self) -> npt.NDArray[np.int32] | None:
        """Return the class of each image, as an index into `classes`, int32 (n,).

        The result is None if an image lies in the folder itself.
        """
        if any(file.parent == self.path for file in self.files):
            return None
        indices = {name: index for index, name in enumerate(self.classes())}
        return np.array([indices[file.relative_to(self.path).parts[0]] for file in self.files], np.int32)

    def _read(self, file: Path) -> Pixels:
        _, height, width, channels = self.shape
        image = _open_image(file).convert(_MODES[channels])
        if image.size != (width, height):
            if not self.resized:
                sizes = (
                    f"{self.files[0].name} is {width}x{height}, {file.name} is {image.width}x{image.height}"
                )
                raise DatasetContentError(
                    self.path,
                    f"its images differ in size ({sizes}); `image_size=N` crops and resizes them to squares.",
                )
            image = fit(image, height)
        return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def open_folder(path: Path, image_size: int | None, channels: int | None) -> ImageFolder:
    """Return the images of a folder.

    Args:
        path: Path of the folder.
        image_size: Pixels per side; each image is cropped and resized to a square. By default all images must
            have the same size.
        channels: Number of channels, 1 for grey or 3 for colour. By default 1 if all images are grey, else 3.

    Raises:
        DatasetContentError: The folder contains no image, or the header of an image can't be read.
    """
    endings = _endings()
    files = tuple(
        sorted(file for file in path.rglob("*") if file.suffix.lower() in endings and file.is_file())
    )
    if not files:
        raise DatasetContentError(
            path, "it holds no image; give a folder of images, such as PNG, JPEG or WebP."
        )
    width, height = (image_size, image_size) if image_size else _open_image(files[0]).size
    if channels is None:
        channels = 1 if all(_is_grey(file) for file in files) else 3
    return ImageFolder(path, files, (len(files), height, width, channels), resized=image_size is not None)


def fit(image: Image.Image, side: int) -> Image.Image:
    """Return the largest centred square of an image, resized to (side, side)."""
    return ImageOps.fit(image, (side, side), method=Image.Resampling.LANCZOS)


def fit_all(pixels: Pixels, image_size: int | None, channels: int | None) -> Pixels:
    """Return images, uint8 (n, height, width, 1 or 3), cropped, resized and converted.

    If `image_size` is None, the images keep their size. If `channels` is None, they keep their channels.
    """
    _, height, width, present = pixels.shape
    wanted: int = channels or present
    if wanted == present and image_size in (None, height) and image_size in (None, width):
        return pixels
    fitted = []
    for array in pixels:
        image = Image.fromarray(array[..., 0] if present == 1 else array).convert(_MODES[wanted])
        fitted.append(np.asarray(fit(image, image_size) if image_size else image, dtype=np.uint8))
    return np.stack(fitted).reshape(len(pixels), image_size or height, image_size or width, wanted)


@functools.cache
def _endings() -> frozenset[str]:
    Image.init()
    return (
        frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)
        - _NOT_DECODED
    )


def _is_grey(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            return image.mode in _GREY_MODES
    except _READ_ERRORS as error:
        raise _unreadable(file, error) from error


def _open_image(file: Path) -> Image.Image:
    """Return the image in a file, with 8 bits per channel.

    The image is turned upright by its EXIF data, and transparent pixels are shown on white.
    """
    try:
        with Image.open(file) as image:
            image.load()
            return _on_white(_to_8_bit(file, ImageOps.exif_transpose(image)))
    except _READ_ERRORS as error:
        raise _unreadable(file, error) from error


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image on a white background, without transparency.

    The colours of transparent pixels are arbitrary, so they are not used. One case is not handled: Pillow
    does not report the transparent colour of a PNG with 16-bit colours, or with 2-bit or 4-bit grey.
    """
    if not image.has_transparency_data:
        return image
    shown = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")


def _unreadable(file: Path, error: Exception) -> DatasetContentError:
    return DatasetContentError(file, f"it can't be read as an image ({error}); repair or remove it.")


def _to_8_bit(file: Path, image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        # In modes I and F a pixel is a 32-bit integer or float. The file does not say which value is white.
        raise DatasetContentError(
            file, f"its pixels have mode {image.mode}; convert it to 8 or 16 bits first."
        )
    if not image.mode.startswith("I;16"):
        return image
    # The 16-bit levels are scaled here. Pillow's own conversion would clip all levels above 255, and nearly
    # all of the image would be white.
    levels = np.asarray(image)
    hidden = image.info.get("transparency")  # the 16-bit level that is transparent, if any
    return Image.fromarray(np.where(levels == hidden, 255, levels // 257).astype(np.uint8))
