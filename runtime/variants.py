"""Variants of one image for web pages: in another size, and in other kinds of files than PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import PIL
from PIL import Image, features

from .arrays import Pixels
from .errors import UsageError
from .images import to_image
from .png import encode_png, fast_encoder

FileKind = Literal["png", "webp", "jpg"]
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)
MEDIA_TYPES: Mapping[FileKind, str] = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}
LARGEST_SIZE = 1_024  # largest side in pixels of an enlarged image

_JPEG_QUALITY = 92
# Of 0 to 6. 1 takes a third to four fifths of the time of the default, 4, and its files are up to 6 % larger.
_WEBP_EFFORT = 1


def encoders() -> str:
    """Return the names and versions of everything that the bytes of a variant depend on."""
    libraries = f"jpeg {features.version('jpg')}, webp {features.version('webp')}"
    return f"{fast_encoder().name}, Pillow {PIL.__version__}, {libraries}"


def check_variant(shape: tuple[int, int, int], size: int | None, kind: FileKind) -> None:
    """Raise UsageError if images of a shape are not available in a size, or as files of a kind.

    Args:
        shape: Height, width and channels of the images.
        size: Longer side in pixels, or None for the size of the images.
        kind: Kind of the file.
    """
    largest = max(LARGEST_SIZE, *shape[:2])
    if size is not None and not 1 <= size <= largest:
        raise UsageError(f"`size` is {size}; it must be the longer side in pixels, from 1 to {largest:,}.")
    if kind == "jpg" and shape[2] == 4:
        raise UsageError(
            "The images have transparent parts, which JPEG files can't hold; choose png or webp."
        )


def resize(image: Pixels, size: int) -> Pixels:
    """Return an image that is enlarged or reduced, so that its longer side has `size` pixels.

    The filter is bicubic, and a reduced image averages all pixels that it replaces. So edges are smooth, as
    browsers show an enlarged image.

    Args:
        image: uint8 (height, width, channels).
        size: Longer side in pixels. The other side keeps the proportions.

    Returns:
        uint8 (new height, new width, channels).

    >>> resize(np.zeros((28, 14, 3), dtype=np.uint8), 256).shape
    (256, 128, 3)
    """
    height, width, channels = image.shape
    longer = max(height, width)
    if size == longer:
        return image
    new_height, new_width = (max(1, round(side * size / longer)) for side in (height, width))
    resized = to_image(image).resize((new_width, new_height), Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(new_height, new_width, channels)


def encode_image(image: Pixels, kind: FileKind) -> bytes:
    """Return one image as a file of a kind.

    PNG and WebP files hold the exact pixels. JPEG files have quality 92, and colours in full resolution.

    Args:
        image: uint8 (height, width, channels). A JPEG file has 1 or 3 channels.
        kind: Kind of the file.
    """
    if kind == "png":
        return encode_png(image, encoder=fast_encoder())
    file = io.BytesIO()
    if kind == "webp":
        to_image(image).save(file, "WEBP", lossless=True, exact=True, method=_WEBP_EFFORT)
    else:
        to_image(image).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()
