"""PNG files: 8-bit images, compressed by zlib, or faster by ISA-L (`pip install 'ganport[fast]'`).

Single images and grids are always compressed by zlib, so that a file has the same bytes whether or not ISA-L
is installed. Where many images are encoded, as in shards and in the HTTP service, the fast encoder is used.
"""

from __future__ import annotations

import functools
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .arrays import Pixels
from .errors import UsageError
from .files import write_bytes
from .images import check_pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # PNG's colour type, by number of channels
_SHORT_BLOCK = 4  # bytes; ISA-L begins its table of matches with 4 bytes, and its other path with 17
_FILTER_UP = 2  # PNG's filter type Up: each row is stored as its difference from the row above


class Encoder(NamedTuple):
    """A way to compress the rows of a PNG.

    Attributes:
        name: Name and version of the compressor. Encoders of one name write the same bytes for an image.
        deflate: Function that returns bytes as a compressed zlib stream.
        crc32: Function that returns the CRC-32 checksum of bytes.
    """

    name: str
    deflate: Callable[[memoryview], bytes]
    crc32: Callable[[bytes], int]


def _deflate_runs(rows: memoryview) -> bytes:
    """Return the zlib stream of some rows. Only runs of equal bytes are compressed (zlib's RLE strategy)."""
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return packer.compress(rows) + packer.flush()


ZLIB = Encoder(f"zlib {zlib.ZLIB_RUNTIME_VERSION}", _deflate_runs, zlib.crc32)


@functools.cache
def fast_encoder() -> Encoder:
    """Return the encoder for many images: ISA-L if the package isal is installed, or else zlib."""
    try:
        from importlib import metadata

        from isal import isal_zlib
    except ImportError:
        return ZLIB

    def deflate(rows: memoryview) -> bytes:
        # ISA-L 2.31 hashes the third byte of a stream with an uninitialised register, which holds an address
        # (levels 1 and 2; label .write_first_byte of igzip_icf_body_h1_gr_bt.asm). So one image in some ten
        # thousand had other bytes in another thread. A short first block takes another path. It costs 8
        # bytes.
        packer = isal_zlib.compressobj(1)
        first = packer.compress(rows[:_SHORT_BLOCK]) + packer.flush(isal_zlib.Z_SYNC_FLUSH)
        return first + packer.compress(rows[_SHORT_BLOCK:]) + packer.flush()

    return Encoder(f"isal {metadata.version('isal')}, two blocks", deflate, isal_zlib.crc32)


def encoder_of(name: str) -> Encoder:
    """Return the encoder with a name.

    Raises:
        UsageError: The compressor is not installed here, or it has another version.
    """
    for encoder in (fast_encoder(), ZLIB):
        if encoder.name == name:
            return encoder
    raise UsageError(
        f"PNGs are to be compressed by {name}, and this Python has {fast_encoder().name}; install the same "
        "packages on all machines."
    )


def encode_png(image: Pixels, *, encoder: Encoder = ZLIB) -> bytes:
    """Return one image, uint8 (height, width, channels) with 1, 3 or 4 channels, as PNG.

    Raises:
        UsageError: The image has another shape or type.
    """
    image = np.asarray(image)
    if image.ndim != 3:
        raise UsageError(
            f"An image must be uint8 (height, width, channels); this array is {image.dtype} {image.shape}. "
            "make_grid joins several images."
        )
    return encode_pngs(image[np.newaxis], encoder=encoder)[0]


def encode_pngs(images: Pixels, *, encoder: Encoder = ZLIB) -> list[bytes]:
    """Return images, uint8 (n, height, width, channels) with 1, 3 or 4 channels, as PNGs (ISO/IEC 15948).

    Grey rows are compressed as they are. In colour images the row above is subtracted from each row first
    (PNG's filter type Up). With zlib, encoding takes a quarter to a third of Pillow's time, and the files
    have about the size of Pillow's. This holds for digits and for photographs (`benchmarks/sampling.py`).

    Raises:
        UsageError: The images have another shape or type.
    """
    images = np.asarray(images)
    check_pixels(images)
    count, height, width, channels = images.shape
    flat = images.reshape(count, height, width * channels)
    rows = np.zeros((count, height, 1 + width * channels), np.uint8)  # each row begins with its filter type
    rows[:, :, 1:] = flat
    if channels > 1:
        rows[:, :, 0] = _FILTER_UP
        rows[:, 1:, 1:] -= flat[:, :-1]
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    start, end = _SIGNATURE + _chunk(b"IHDR", header, encoder), _chunk(b"IEND", b"", encoder)
    return [
        start + _chunk(b"IDAT", encoder.deflate(each.data), encoder) + end for each in rows.reshape(count, -1)
    ]


def _chunk(kind: bytes, content: bytes, encoder: Encoder) -> bytes:
    tagged = kind + content
    return struct.pack(">I", len(content)) + tagged + struct.pack(">I", encoder.crc32(tagged))


def save_png(image: Pixels, path: str | os.PathLike[str]) -> None:
    """Write one image as a PNG file, whole or not at all.

    Args:
        image: uint8 (height, width, channels) with 1, 3 or 4 channels. `make_grid` joins several images.
        path: Path of the file, which ends in .png or has no ending.

    Raises:
        UsageError: The image has another shape or type, or the path has the ending of another kind of file.
        OutputError: The file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ""):
        raise UsageError(
            f"{path} has the ending of another kind of file; save_png writes PNG, so it must end in .png."
        )
    write_bytes(path, encode_png(image))
