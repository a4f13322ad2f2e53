"""Folders of pictures, in any format that Pillow reads -> uint8 images of one size. No TensorFlow."""

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

from ganport.runtime.errors import DatasetContentError

Pixels = npt.NDArray[np.uint8]

_GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B"})
_MODES = {1: "L", 3: "RGB"}
# What Pillow names but does not decode by itself, or only by calling another program.
_NOT_DECODED = frozenset({".bufr", ".grib", ".h5", ".hdf", ".mpeg", ".mpg", ".eps", ".ps", ".wmf", ".emf"})


@dataclasses.dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder and its sub-folders, in the order of their names; read when they are asked for.

    Attributes:
        path: of the folder.
        files: the pictures.
        shape: (n, height, width, channels), channels 1 or 3, as of an array that held them all.
        resized: pictures of another size are brought to this one.
    """

    path: Path
    files: tuple[Path, ...]
    shape: tuple[int, int, int, int]
    resized: bool

    @property
    def nbytes(self) -> int:
        """Return the memory that all the pictures would take."""
        return int(np.prod(self.shape, dtype=np.int64))

    def take(self, places: npt.NDArray[np.int32] | range) -> Pixels:
        """Return some of the pictures. Raises DatasetContentError for one that can't be read, or has another size."""
        pixels = np.empty((len(places), *self.shape[1:]), dtype=np.uint8)
        for row, place in enumerate(places):
            pixels[row] = self._read(self.files[place])
        return pixels

    def take_all(self) -> Pixels:
        """Return all of them, decoded on all cores."""
        pixels = np.empty(self.shape, dtype=np.uint8)

        def read(place: int) -> None:
            pixels[place] = self._read(self.files[place])

        with concurrent.futures.ThreadPoolExecutor() as pool:  # Pillow decodes without the interpreter's lock
            for _ in pool.map(read, range(len(self.files))):
                pass
        return pixels

    def fingerprint(self) -> str:
        """Return a hash of the shape, and of the files' names and sizes: their content would take long to read."""
        digest = hashlib.sha256(repr(self.shape).encode())
        for file in self.files:
            digest.update(f"{file.relative_to(self.path)}\0{file.stat().st_size}\0".encode())
        return digest.hexdigest()

    def classes(self) -> dict[str, int]:
        """Return the sub-folders that pictures lie in, with their numbers; none where all lie in the folder itself."""
        names = (file.relative_to(self.path).parts[0] for file in self.files if file.parent != self.path)
        return dict(sorted(collections.Counter(names).items()))

    def labels(self) -> npt.NDArray[np.int32] | None:
        """Return the class of each picture, its place among `classes`; None unless each lies in a sub-folder."""
        if any(file.parent == self.path for file in self.files):
            return None
        places = {name: place for place, name in enumerate(self.classes())}
        return np.array([places[file.relative_to(self.path).parts[0]] for file in self.files], np.int32)

    def _read(self, file: Path) -> Pixels:
        _, height, width, channels = self.shape
        picture = _open_picture(file).convert(_MODES[channels])
        if picture.size != (width, height):
            if not self.resized:
                sizes = f"{self.files[0].name} is {width}x{height}, {file.name} is {picture.width}x{picture.height}"
                remedy = "bring them to one size; `ganport train` crops and resizes them to squares with --image-size"
                raise DatasetContentError(self.path, f"its images differ in size ({sizes}); {remedy}.")
            picture = fit(picture, height)
        return np.asarray(picture, dtype=np.uint8).reshape(height, width, channels)


def open_folder(path: Path, image_size: int | None, channels: int | None) -> PictureFolder:
    """Return the pictures of a folder.

    Args:
        path: of the folder.
        image_size: bring each picture to a square with so many pixels a side; by default they must all be of one size.
        channels: 1 for grey or 3 for colour; by default grey where all pictures are, and colour where one is.

    Raises:
        DatasetContentError: no picture in it, or one whose header can't be read.
    """
    endings = _endings()
    files = tuple(sorted(file for file in path.rglob("*") if file.suffix.lower() in endings and file.is_file()))
    if not files:
        raise DatasetContentError(path, "no image in it; give a folder that has some, as PNG, JPEG or WebP, say.")
    width, height = (image_size, image_size) if image_size else _open_picture(files[0]).size
    if channels is None:
        channels = 1 if all(_is_grey(file) for file in files) else 3
    return PictureFolder(path, files, (len(files), height, width, channels), resized=image_size is not None)


def fit(picture: Image.Image, side: int) -> Image.Image:
    """Return the largest square from the middle of a picture, resized."""
    return ImageOps.fit(picture, (side, side), method=Image.Resampling.LANCZOS)


def fit_all(pixels: Pixels, image_size: int | None, channels: int | None) -> Pixels:
    """Return images, shape (n, height, width, 1 or 3), as `open_folder` would give them with these arguments."""
    _, height, width, there = pixels.shape
    channels = channels or there
    if channels == there and image_size in (None, height) and image_size in (None, width):
        return pixels
    fitted = []
    for image in pixels:
        picture = Image.fromarray(image[..., 0] if there == 1 else image).convert(_MODES[channels])
        fitted.append(np.asarray(fit(picture, image_size) if image_size else picture, dtype=np.uint8))
    return np.stack(fitted).reshape(len(pixels), image_size or height, image_size or width, channels)


@functools.cache
def _endings() -> frozenset[str]:
    Image.init()
    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN) - _NOT_DECODED


def _is_grey(file: Path) -> bool:
    try:
        with Image.open(file) as picture:
            return picture.mode in _GREY_MODES
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error


def _open_picture(file: Path) -> Image.Image:
    """Return a picture, upright as its camera noted it, with 8 bits a channel; what is transparent lies on white."""
    try:
        with Image.open(file) as picture:
            picture.load()
            return _on_white(_to_8_bit(file, ImageOps.exif_transpose(picture)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error


def _on_white(picture: Image.Image) -> Image.Image:
    """Return a picture without transparency, as a viewer shows it: beneath, a file may have any colours.

    A colour that is transparent in a PNG of 16 bits in colour, or of 2 or 4 in grey, is not known by Pillow.
    """
    if not picture.has_transparency_data:
        return picture
    seen = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _unreadable(file: Path, error: Exception) -> DatasetContentError:
    return DatasetContentError(file, f"it can't be read as an image ({error}); mend it or take it away.")


def _to_8_bit(file: Path, picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F"):
        # 32 bits per pixel, whole or floating: nobody knows which value is white.
        raise DatasetContentError(file, f"its pixels have mode {picture.mode}; bring it to 8 or 16 bits first.")
    if not picture.mode.startswith("I;16"):
        return picture
    # Pillow's own conversion clips instead of scaling: nearly all of the picture would be white.
    levels = np.asarray(picture)
    hidden = picture.info.get("transparency")  # one level, of 16 bits
    return Image.fromarray(np.where(levels == hidden, 255, levels // 257).astype(np.uint8))
