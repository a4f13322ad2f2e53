"""Decoding image files, with limits for pixels and memory.

A file's content decides its format, not its name. Only formats that Pillow decodes in this process are read,
and never one for which Pillow starts another program, such as EPS.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from ganport.runtime.display import first_line
from ganport.runtime.file_kinds import recognise

# Version of the pixels that this package returns for a file. A new version makes all caches obsolete.
DECODING_VERSION = 1

# Largest image that is read. Pillow's own limit is 179 million pixels, so this one comes first.
MAX_PIXELS = 175_000_000

# Limit for the pixels of all images that are decoded at once, of 4 bytes each. A larger image waits until it
# is alone.
PIXELS_AT_ONCE = 64_000_000

# Formats that are recognised by the first bytes of a file.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO", "ICNS", "PSD", "QOI"),
    *("DDS", "CUR", "DCX", "PCX", "SGI", "SUN", "MSP", "PIXAR", "XBM", "XPM", "BLP", "FLI", "FTEX", "GBR"),
    *("FITS", "DIB"),
)
# Formats without such bytes. They are tried only if the name of the file has the ending of the format,
# because these decoders take many other files for images.
UNMARKED_FORMATS = ("PCD", "TGA")

# Memory for decoding a pixel, as a multiple of the 4 bytes of other formats. The libraries of these formats
# decode into frames of their own, from which Pillow copies the pixels.
_WEIGHTS = {"WEBP": 4, "AVIF": 3}

_LARGE_PIXELS = 16_000_000  # the memory of an image of at least this size is given back to the system
_ANIMATIONS = frozenset({"GIF", "WEBP", "PNG", "AVIF", "FLI"})
_START = 4_096  # number of bytes by which a file that is not an image is recognised


class UnreadableError(Exception):
    """An image file can't be read. The text is the reason, without the name of the file."""


@dataclasses.dataclass(frozen=True)
class DecodedImage:
    """An image whose pixels are decoded.

    Attributes:
        image: The image as it is stored, which may lie on its side.
        orientation: EXIF orientation, from 1 to 8. It is 1 if the image is stored upright.
        size: Width and height of the upright image in the file. A JPEG may have been decoded smaller.
    """

    image: ImageFile.ImageFile
    orientation: int
    size: tuple[int, int]


# Returns how many times smaller an image of this (width, height) may be decoded.
Shrink = Callable[[tuple[int, int]], float]


@contextlib.contextmanager
def decoded(path: Path, shrink: Shrink | None = None) -> Iterator[DecodedImage]:
    """Yield the first image of a file, decoded. Within the block, its pixels count for the limit at once.

    Args:
        path: Path of the file.
        shrink: How many times smaller a JPEG may be decoded, as a function of its size. By default it is
            decoded in full.

    Raises:
        UnreadableError: The file can't be read as an image.
    """
    with _pillow_errors(path):
        image = Image.open(path, formats=_formats_for(path.suffix.lower()))
    with image:
        orientation, size = 1, image.size
        with _pillow_errors(path):
            _check_pixels(size)
            if shrink is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
                orientation = orientation_of(image)
                _draft(image, shrink(_upright_size(size, orientation)))
        is_smaller = image.size != size
        pixels = image.width * image.height * _WEIGHTS.get(image.format or "", 1)
        # The image is closed, which frees its pixels, before its share of the limit is given back.
        with BUDGET.reserve(pixels), _returning_memory(pixels), contextlib.closing(image):
            with _pillow_errors(path):
                image.load()
                # A PNG may hold its orientation behind its pixels. A TIFF was turned upright while it was
                # decoded, and its size may have changed.
                orientation = orientation_of(image)
            full = size if is_smaller else image.size
            yield DecodedImage(image, orientation, _upright_size(full, orientation))


@contextlib.contextmanager
def _returning_memory(pixels: int) -> Iterator[None]:
    """Give the memory that was freed within the block back to the system, if a large image was decoded.

    glibc keeps freed memory for each thread. Without this, four threads that decode a large image one after
    the other would take four times its memory, until the process ends.
    """
    try:
        yield
    finally:
        trim = _malloc_trim()
        if trim is not None and pixels >= _LARGE_PIXELS:
            trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function that gives free memory back to the system; None with another C library."""
    if sys.platform != "linux":
        return None
    function: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return function


@contextlib.contextmanager
def header(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Yield an image whose pixels are not decoded. Raises UnreadableError."""
    with _pillow_errors(path):
        with Image.open(path, formats=_formats_for(path.suffix.lower())) as image:
            _check_pixels(image.size)
            yield image


@contextlib.contextmanager
def _pillow_errors(path: Path) -> Iterator[None]:
    """Raise UnreadableError for any error that Pillow raises in the block."""
    try:
        yield
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableError(_kind_of(path)) from error
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"it has more than {MAX_PIXELS:,} pixels, which is the limit") from error
    except MemoryError as error:
        raise UnreadableError("there is too little memory to decode it") from error
    # A damaged file can make a decoder raise errors of any type: RuntimeError (AVIF), NotImplementedError
    # (DDS), SyntaxError, struct.error and others.
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UnreadableError(reason.lower() if reason else first_line(error)) from error


@functools.cache
def _formats_for(ending: str) -> tuple[str, ...]:
    """Return the formats that a file with this ending may have. Older versions of Pillow lack some."""
    Image.init()
    own = Image.registered_extensions().get(ending)
    known = (*FORMATS, own) if own in UNMARKED_FORMATS else FORMATS
    return tuple(kind for kind in known if kind in Image.OPEN)


def _check_pixels(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"it has {width:,}x{height:,} pixels; the limit is {MAX_PIXELS:,} pixels")
    if width * height == 0:
        raise UnreadableError("it has no pixels")


def _kind_of(path: Path) -> str:
    """Return why a file is not an image that is read here, by its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        return first_line(error)
    if not start:
        return "the file is empty"
    kind = recognise(memoryview(start))
    if kind is None:
        return "it is not an image that is read here"
    if kind.name == "an image":
        return "the file is damaged"
    return f"it is not an image that is read here, but {kind.name}"


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, from 1 to 8. It is 1 if the image is stored upright.

    EXIF data that can't be read is ignored, as image viewers do.
    """
    with contextlib.suppress(Exception):
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        if value in range(1, 9):
            return int(value)
    return 1


# The transposition that turns an image upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image turned by its EXIF orientation."""
    return image if orientation == 1 else image.transpose(_UPRIGHT[orientation])


def swaps_sides(orientation: int) -> bool:
    """Return whether an image with this EXIF orientation is stored lying on its side."""
    return orientation >= 5


def _upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    width, height = size
    return (height, width) if swaps_sides(orientation) else (width, height)


def is_animated(image: ImageFile.ImageFile) -> bool:
    """Return whether an image is an animation. The frames are not decoded.

    Only the first frame is used. So an image whose second frame is damaged is no animation, and no error.
    """
    with contextlib.suppress(Exception):  # Pillow reads the start of the second frame
        return image.format in _ANIMATIONS and bool(getattr(image, "is_animated", False))
    return False


def _draft(image: JpegImagePlugin.JpegImageFile, shrink: float) -> None:
    """Let a JPEG be decoded smaller: by the largest of 1, 2, 4 and 8 that is at most `shrink`.

    libjpeg scales within the transform of each block. This takes less time and memory than decoding in full.
    """
    if shrink >= 2:
        width, height = image.size
        image.draft(None, (max(1, int(width / shrink)), max(1, int(height / shrink))))


def has_grey_levels(image: Image.Image) -> bool:
    """Return whether the mode of an image has no colour."""
    return image.mode in ("1", "L", "LA", "La", "I") or image.mode.startswith("I;16")


def to_8_bit(image: Image.Image, strip: Image.Image) -> Image.Image:
    """Return a part of an image with 8 bits per channel, in a mode that Pillow converts to all others.

    Args:
        image: The decoded image file, which knows its format.
        strip: The part, in the mode of the image.

    Raises:
        UnreadableError: The image does not say which of its values is white.
    """
    if strip.mode == "La":  # Pillow converts premultiplied grey to LA only
        return strip.convert("LA")
    if strip.mode == "I" and image.format == "PPM":  # Pillow scales the levels of PPM files to 16 bits
        return Image.fromarray((np.asarray(strip) // 257).clip(0, 255).astype(np.uint8))
    if strip.mode in ("I", "F"):
        # In these modes a pixel is a 32-bit integer or float. The file does not say which value is white.
        raise UnreadableError(f"its pixels have mode {strip.mode}; convert it to 8 or 16 bits")
    if not strip.mode.startswith("I;16"):
        return strip
    # The 16-bit levels are scaled here. Pillow's own conversion would clip all levels above 255, and nearly
    # all of the image would be white.
    levels = np.asarray(strip)
    grey = Image.fromarray((levels // _levels_per_step(image)).astype(np.uint8))
    hidden = image.info.get("transparency")  # the 16-bit level that is transparent, if any
    if not isinstance(hidden, int):
        return grey
    alpha = Image.fromarray(np.where(levels == hidden, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))


def _levels_per_step(image: Image.Image) -> int:
    """Return how many levels of a 16-bit image make one of 256 levels. A TIFF may use 12 of the 16 bits."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(ExifTags.Base.BitsPerSample)
        if bits == (12,):
            return 16
    return 257


class PixelBudget:
    """A limit for the pixels that several threads decode at the same time.

    Args:
        limit: Largest number of pixels at once. A larger image has to wait until it is alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._freed = threading.Condition()
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until the pixels are within the limit, and hold them for the block."""
        pixels = min(pixels, self._limit)
        # The lock `_turn` makes later images wait behind a large one, which would else never get its turn.
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._used + pixels <= self._limit)
            self._used += pixels
        try:
            yield
        finally:
            with self._freed:
                self._used -= pixels
                self._freed.notify_all()


BUDGET = PixelBudget(PIXELS_AT_ONCE)  # shared by all threads of the process


class _Quietness:
    """Counts the blocks of `quiet_pillow` that are active, in all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active = 0
        self.saved = warnings.catch_warnings()


_quietness = _Quietness()
# Without a handler, Python prints the log messages of a library on standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore the warnings of Pillow within the block.

    Pillow warns about damaged metadata and large images. Python's filters for warnings belong to the whole
    process, so the first of several threads sets the filter, and the last one restores the filters.
    """
    with _quietness.lock:
        if _quietness.active == 0:
            _quietness.saved = warnings.catch_warnings()
            _quietness.saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
        _quietness.active += 1
    try:
        yield
    finally:
        with _quietness.lock:
            _quietness.active -= 1
            if _quietness.active == 0:
                _quietness.saved.__exit__(None, None, None)
