"""Targets for images: files of every format that is read, .npz files and IDX files."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
from collections.abc import Iterable
from random import Random

import numpy as np
from PIL import Image

from ganport.datasets import load_images
from ganport.datasets.decoding import FORMATS, quiet_pillow
from ganport.datasets.errors import DatasetContentError
from ganport.datasets.survey import survey_folder

from .mutations import mutate_bytes, mutate_gzip, mutate_image, mutate_zip
from .target import Target

_MODES = ("L", "RGB", "RGBA", "P", "1", "LA", "I;16", "CMYK", "F", "I")
_FITS_HEADER = (b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 2", b"NAXIS1  = 4", b"NAXIS2  = 4", b"END")
# Pillow does not write these formats: the start of a file of each, by hand.
_UNWRITTEN = {
    "fits": b"".join(line.ljust(80) for line in _FITS_HEADER).ljust(2880) + bytes(16),
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 1, 4, 4, 8, 1) + bytes(12) + b"\0\0" + bytes(16),
    "fli": struct.pack("<IHHHHHHI", 128 + 6, 0xAF11, 1, 4, 4, 8, 3, 1).ljust(128, b"\0")
    + struct.pack("<IH", 6, 0xF1FA),
    "xpm": b'/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"a c #ff0000",\n"b c #00ff00",\n"ab"};\n',
    "gbr": struct.pack(">IIIII", 21, 1, 2, 2, 1) + b"\0" + bytes(4),
    "cur": struct.pack("<HHH", 0, 2, 1) + struct.pack("<BBBBHHII", 2, 2, 0, 0, 0, 0, 56, 22) + bytes(56),
    "ftex": b"FTEX" + struct.pack("<iiiiiiii", 0x10002, 4, 4, 1, 1, 1, 32, 8) + bytes(20),
}


class ImageTarget(Target):
    """An image in a folder, which is loaded and surveyed. The first byte of an input decides its ending."""

    _ENDINGS = ("png", "tga", "pcd", "jpg")

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        return content[:1] + mutate_image(rng, content[1:], other[1:])

    def examples(self) -> Iterable[bytes]:
        Image.init()
        pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4)).astype(np.uint8)
        image = Image.fromarray(pixels)
        for kind in (*FORMATS, "TGA"):
            for mode in _MODES if kind in ("PNG", "TIFF", "JPEG", "WEBP", "GIF", "TGA") else _MODES[:3]:
                content = self._written(image, kind, mode)
                if content:
                    yield (b"\1" if kind == "TGA" else b"\0") + content
        for content in _UNWRITTEN.values():
            yield b"\0" + content
        yield b"\2" + bytes(2048) + b"PCD_" + bytes(96 * 2048 + 768 * 512 * 2 // 8)
        with_orientation = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        image.convert("RGB").save(with_orientation, "JPEG", exif=exif)
        yield b"\3" + with_orientation.getvalue()
        frames = io.BytesIO()
        image.save(frames, "GIF", save_all=True, append_images=[image.rotate(90)])
        yield b"\0" + frames.getvalue()

    @staticmethod
    def _written(image: Image.Image, kind: str, mode: str) -> bytes:
        file = io.BytesIO()
        try:
            grey = image.convert("L").convert("I") if mode == "I;16" else image.convert("L")
            (grey.convert(mode) if mode in ("F", "I", "I;16") else image.convert(mode)).save(file, kind)
        except (KeyError, OSError, ValueError):  # Pillow does not write this format or mode
            return b""
        return file.getvalue()

    def run(self, content: bytes) -> None:
        folder = self.folder / "images"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        ending = self._ENDINGS[content[0] % 4] if content else "png"
        (folder / f"a.{ending}").write_bytes(content[1:])
        try:
            load_images(folder, image_size=4, channels=3)
        except DatasetContentError:
            survey_folder(folder)  # has another way through the file
            raise
        survey_folder(folder)
        with quiet_pillow():
            load_images(folder, channels=4, data_memory=0).take(range(1))


class NpzTarget(Target):
    """Images in an .npz file, with labels."""

    mutate = staticmethod(mutate_zip)

    def examples(self) -> Iterable[bytes]:
        for arrays in (
            {"images": np.zeros((3, 4, 5), np.uint8), "labels": np.arange(3)},
            {"x_train": np.zeros((2, 4, 4, 3), np.uint8), "y_train": np.array(["a", "b"])},
            {"a": np.zeros((1, 2, 2, 4), np.uint8), "b": np.zeros(3, np.float32)},
        ):
            for save in (np.savez, np.savez_compressed):
                file = io.BytesIO()
                save(file, **arrays)
                yield file.getvalue()

    def run(self, content: bytes) -> None:
        path = self.folder / "a.npz"
        path.write_bytes(content)
        load_images(path, image_size=4)


class IdxTarget(Target):
    """IDX files, plain or gzipped. The first byte of an input says whether they are images or labels."""

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        return content[:1] + rng.choice((mutate_bytes, mutate_gzip))(rng, content[1:], other[1:])

    def examples(self) -> Iterable[bytes]:
        images = struct.pack(">IIII", 0x803, 3, 4, 5) + bytes(60)
        labels = struct.pack(">II", 0x801, 3) + bytes(range(3))
        self._whole = images
        for content in (images, gzip.compress(images, mtime=0)):
            yield b"\0" + content
        for content in (labels, gzip.compress(labels, mtime=0)):
            yield b"\1" + content

    def run(self, content: bytes) -> None:
        images, labels = self.folder / "train-images-idx3-ubyte", self.folder / "train-labels-idx1-ubyte"
        is_labels = content[:1] == b"\1"
        images.write_bytes(self._whole if is_labels else content[1:])
        labels.write_bytes(content[1:] if is_labels else b"")
        load_images(self.folder if is_labels else images)
