"""Where drawn images go: a grid, a folder of PNGs named by seed, an array file, an animation. Whole or not at all."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import OutputError, UsageError, system_reason
from .files import replacing, write_bytes
from .images import encode_png, make_grid

Pixels = npt.NDArray[np.uint8]

STDOUT = Path("-")
SHARDS = ".tar"
GRIDS = (".png", ".webp")
ARRAYS = (".npz", ".npy")
ANIMATIONS = (".gif", ".webp")
_WRITERS = 4  # threads that encode PNGs; zlib works outside of Python's lock
LARGEST_GRID = 16_384  # images; a grid of 28x28 pixels is then a PNG of 3,838 x 3,838
# Bytes of pixels of what is held in memory. Grids are held several times, and viewers end before them.
_MOST_OF_GRID, _MOST_OF_ARRAY, _MOST_OF_ANIMATION = 2**28, 2**31, 2**30


def check_output(path: Path) -> None:
    """Raise UsageError where images can't go to a path, as its ending is none of ours.

    Args:
        path: a file for a grid or an array, or shards, by its ending; "-", which is standard output; else a folder.
    """
    if path.suffix.lower() not in (*GRIDS, *ARRAYS, SHARDS, ""):
        raise UsageError(
            f"{path} is no place for images: a grid ends in .png or .webp, an array in .npz or .npy, shards in .tar, a folder "
            "in none; - is standard output."
        )


def check_size(path: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Raise UsageError where so many images are too many for a file that is made in memory: a grid, an array.

    Args:
        path: as for `check_output`.
        count: of the images.
        shape: height, width and channels of one.
    """
    suffix, remedy = path.suffix.lower(), "name a folder, a .tar for shards, or - for raw RGB, for more"
    if suffix in GRIDS:
        _check_fit(path, count, "images", shape, min(LARGEST_GRID, _MOST_OF_GRID // math.prod(shape)), remedy)
    elif suffix in ARRAYS:
        _check_fit(path, count, "images", shape, _MOST_OF_ARRAY // math.prod(shape), remedy)


def check_frames(path: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Raise UsageError where so many frames are too many for an animation; as `check_size`."""
    if path != STDOUT:
        fitting = min(LARGEST_GRID, _MOST_OF_ANIMATION // math.prod(shape))
        _check_fit(path, count, "frames", shape, fitting, "name - for raw RGB, for more")


def _check_fit(path: Path, count: int, what: str, shape: tuple[int, int, int], fitting: int, remedy: str) -> None:
    if count > fitting:
        size = "x".join(map(str, shape))
        raise UsageError(
            f"{path} would hold {count:,} {what} of {size}, and is made in memory, where {fitting:,} fit; {remedy}."
        )


def write_images(batches: Iterable[Pixels], seeds: Sequence[int] | npt.NDArray[np.int64], path: Path) -> None:
    """Write images as the ending of the path says: one grid, one array (with the seeds in an .npz), or a folder of PNGs.

    Args:
        batches: of images, uint8 (n, height, width, channels), in the order of the seeds.
        seeds: of the images.
        path: as for `check_output`.

    Raises:
        OutputError: it can't be written.
    """
    if not path.suffix:
        _write_folder(batches, seeds, path)
        return
    suffix = path.suffix.lower()
    images = _gather(batches, len(seeds))
    if suffix == ".png":
        write_bytes(path, encode_png(make_grid(images)))
    elif suffix == ".webp":
        write_bytes(path, _encode(_picture(make_grid(images)), suffix, lossless=True))
    else:
        with replacing(path) as temporary, temporary.open("wb") as file:
            if suffix == ".npy":
                np.save(file, images)
            else:
                np.savez_compressed(file, images=images, seeds=np.asarray(seeds, np.int64))


def write_frames(batches: Iterable[Pixels], stream: BinaryIO) -> int:
    """Write images one behind the other as raw RGB, 24 bits a pixel (ffmpeg's rgb24); return how many.

    Args:
        batches: of images, uint8 (n, height, width, channels); grey ones are written in three channels, and alpha is left out.
        stream: to write to.

    Raises:
        OutputError: nobody reads any more.
    """
    count = 0
    try:
        for images in batches:
            colours = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
            stream.write(np.ascontiguousarray(colours).data)
            count += len(images)
        stream.flush()
    except OSError as error:
        raise OutputError(STDOUT, system_reason(error), "it takes a reader until the last image.") from error
    return count


def write_animation(frames: Sequence[Pixels], seconds: Sequence[float], path: Path) -> None:
    """Write an animation that goes round and round, as GIF or WebP by the ending of the path.

    Args:
        frames: one or more images, shape (height, width, channels), all of one shape.
        seconds: how long each is shown; GIF counts in hundredths.
        path: of the file.

    Raises:
        UsageError: another ending.
        OutputError: it can't be written.
    """
    suffix = path.suffix.lower()
    if suffix not in ANIMATIONS:
        raise UsageError(f"{path} is no animation; it takes a name that ends in .gif or .webp.")
    pictures = [_picture(frame) for frame in frames]
    durations = [round(1000 * each) for each in seconds]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    write_bytes(
        path, _encode(pictures[0], suffix, save_all=True, append_images=pictures[1:], duration=durations, loop=0, **lossless)
    )


def image_name(seed: int) -> str:
    """Return the name of the file of one image."""
    return f"seed{seed:07d}.png"


def _gather(batches: Iterable[Pixels], count: int) -> Pixels:
    """Return the batches as one array, each let go of once it is there."""
    images, start = np.empty(0, np.uint8), 0
    for batch in batches:
        images = images if start else np.empty((count, *batch.shape[1:]), np.uint8)
        images[start : start + len(batch)] = batch
        start += len(batch)
    return images[:start]


def _write_folder(batches: Iterable[Pixels], seeds: Iterable[int], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(folder, system_reason(error)) from error
    from concurrent.futures import ThreadPoolExecutor  # 30 ms, which a grid need not take

    places = (folder / image_name(int(seed)) for seed in seeds)
    with ThreadPoolExecutor(min(_WRITERS, os.cpu_count() or 1)) as writers:
        for batch in batches:  # a batch is encoded before the next but one is taken, so that memory is bounded
            list(writers.map(_write_png, batch, _take(places, len(batch))))


def _take(places: Iterator[Path], count: int) -> list[Path]:
    return [next(places) for _ in range(count)]


def _write_png(image: Pixels, path: Path) -> None:
    write_bytes(path, encode_png(image))


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _encode(picture: Image.Image, suffix: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format=suffix.removeprefix("."), **settings)
    except ValueError as error:
        raise UsageError(f"{picture.width}x{picture.height} pixels do not fit into {suffix}: {error}; write a .png.") from error
    return buffer.getvalue()
