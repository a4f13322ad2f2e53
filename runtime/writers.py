"""Writing images: a grid, a folder of PNGs, an array file, an animation. Each file is whole or absent."""

from __future__ import annotations

import glob
import io
import itertools
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .arrays import Pixels, Seeds
from .display import system_reason
from .errors import OutputError, UsageError
from .files import remove_leftovers, replacing, write_bytes
from .images import make_grid, to_image
from .png import encode_png

STDOUT = Path("-")
SHARDS = ".tar"
GRIDS = (".png", ".webp")
ARRAYS = (".npz", ".npy")
ANIMATIONS = (".gif", ".webp")
_WRITERS = 4  # threads that encode PNGs; they run in parallel, because zlib releases Python's global lock
LARGEST_GRID = 16_384  # most images in one grid; if they are 28x28, the PNG has 3,838 x 3,838 pixels
# Limits for the size in bytes of all pixels in one file. Such a file is made in memory. The limit for a grid
# is the lowest, because several copies of a grid are in memory at once.
_GRID_BYTES, _ARRAY_BYTES, _ANIMATION_BYTES = 2**28, 2**31, 2**30


def check_output(path: Path) -> None:
    """Raise UsageError if a path has an ending for which there is no image writer.

    Args:
        path: Output path. These paths are accepted: a file with the ending of a grid, an array or shards, a
            folder, which has no ending, and "-" for standard output.
    """
    if path.suffix.lower() not in (*GRIDS, *ARRAYS, SHARDS, ""):
        raise UsageError(
            f"`out` is {path}; it must end in .png or .webp (a grid), .npz or .npy (an array), or .tar "
            "(shards); or give a folder name without an ending, or - for standard output."
        )


def check_size(path: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Raise UsageError if there are too many images for a file that is made in memory: a grid or an array.

    Args:
        path: Output path that `check_output` has accepted.
        count: Number of images.
        shape: Height, width and channels of one image.
    """
    suffix = path.suffix.lower()
    remedy = "for more images, choose a folder, a .tar for shards, or - for raw RGB on standard output"
    if suffix in GRIDS:
        _check_fit(path, count, "images", shape, min(LARGEST_GRID, _GRID_BYTES // math.prod(shape)), remedy)
    elif suffix in ARRAYS:
        _check_fit(path, count, "images", shape, _ARRAY_BYTES // math.prod(shape), remedy)


def check_animation(path: Path) -> None:
    """Raise UsageError unless a path ends in .gif or .webp, or is "-" for standard output."""
    if path != STDOUT:
        _check_animation_file(path)


def _check_animation_file(path: Path) -> None:
    if path.suffix.lower() not in ANIMATIONS:
        raise UsageError(
            f"`out` is {path}; it must be a file name that ends in {' or '.join(ANIMATIONS)}, or - for "
            "standard output."
        )


def check_frames(path: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Raise UsageError if there are too many frames for an animation. Arguments are as for `check_size`."""
    if path != STDOUT:
        fitting = min(LARGEST_GRID, _ANIMATION_BYTES // math.prod(shape))
        remedy = "for more frames, choose - for raw RGB on standard output"
        _check_fit(path, count, "frames", shape, fitting, remedy)


def _check_fit(
    path: Path, count: int, what: str, shape: tuple[int, int, int], fitting: int, remedy: str
) -> None:
    if count > fitting:
        size = "x".join(map(str, shape))
        raise UsageError(
            f"{path} would hold {count:,} {what} of {size}. The file is made in memory, so the limit is "
            f"{fitting:,}; {remedy}."
        )


def write_images(batches: Iterable[Pixels], seeds: Sequence[int] | Seeds, path: Path) -> None:
    """Write images as a grid, an array, or a folder of PNGs. The ending of the path decides which.

    The name of each PNG in a folder holds the seed of the image. An .npz file holds the seeds as well.

    Args:
        batches: Batches of images, uint8 (n, height, width, channels), in the order of the seeds.
        seeds: Seeds of the images.
        path: Output path that `check_output` has accepted.

    Raises:
        OutputError: The path can't be written.
    """
    if not path.suffix:
        _write_folder(batches, seeds, path)
        return
    suffix = path.suffix.lower()
    images = _gather(batches, len(seeds))
    remove_leftovers(path.parent, glob.escape(path.stem))
    if suffix == ".png":
        write_bytes(path, encode_png(make_grid(images)))
    elif suffix == ".webp":
        write_bytes(path, _encode(to_image(make_grid(images)), suffix, lossless=True))
    else:
        with replacing(path) as temporary, temporary.open("wb") as file:
            if suffix == ".npy":
                np.save(file, images)
            else:
                np.savez_compressed(file, images=images, seeds=np.asarray(seeds, np.int64))


def write_frames(batches: Iterable[Pixels], stream: BinaryIO) -> int:
    """Write images as raw RGB, 24 bits a pixel (ffmpeg's rgb24), and return their number.

    Args:
        batches: Batches of images, uint8 (n, height, width, channels). Grey images are written in three
            channels, and alpha is left out.
        stream: Binary stream to write to.

    Raises:
        OutputError: The stream was closed by its reader.
    """
    count = 0
    try:
        for images in batches:
            colours = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
            stream.write(np.ascontiguousarray(colours).data)
            count += len(images)
        stream.flush()
    except OSError as error:
        raise OutputError(
            STDOUT,
            system_reason(error),
            "the program that reads standard output must run until the last image.",
        ) from error
    return count


def write_animation(frames: Sequence[Pixels], seconds: Sequence[float], path: Path) -> None:
    """Write an animation that loops forever. The ending of the path decides between GIF and WebP.

    Args:
        frames: One or more images (height, width, channels) of one shape.
        seconds: Time in seconds that each frame is shown. A GIF file stores hundredths of a second.
        path: Path of the file.

    Raises:
        UsageError: The path does not end in .gif or .webp.
        OutputError: The file can't be written.
    """
    suffix = path.suffix.lower()
    _check_animation_file(path)
    images = [to_image(frame) for frame in frames]
    durations = [round(1000 * each) for each in seconds]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    remove_leftovers(path.parent, glob.escape(path.stem))
    settings = {"append_images": images[1:], "duration": durations, "loop": 0, **lossless}
    write_bytes(path, _encode(images[0], suffix, save_all=True, **settings))


def image_name(seed: int) -> str:
    """Return the file name of the image of a seed."""
    return f"seed{seed:07d}.png"


def _gather(batches: Iterable[Pixels], count: int) -> Pixels:
    """Return the images of all batches as one array. A batch is released after it is copied."""
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
    remove_leftovers(folder, "seed*")
    # This import takes 30 ms, and a grid does not need it.
    from concurrent.futures import ThreadPoolExecutor

    paths = (folder / image_name(int(seed)) for seed in seeds)
    with ThreadPoolExecutor(min(_WRITERS, os.cpu_count() or 1)) as writers:
        for batch in batches:  # list() waits until the batch is written, to bound the memory
            list(writers.map(_write_png, batch, itertools.islice(paths, len(batch))))


def _write_png(image: Pixels, path: Path) -> None:
    write_bytes(path, encode_png(image))


def _encode(image: Image.Image, suffix: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, format=suffix.removeprefix("."), **settings)
    except ValueError as error:
        size = f"{image.width}x{image.height}"
        raise UsageError(f"{size} pixels do not fit into {suffix}: {error}; choose a .png.") from error
    return buffer.getvalue()
