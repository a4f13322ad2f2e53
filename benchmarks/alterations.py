"""Ways to alter colour images: damage that a person sees, damage that nobody sees, and a loss of variety.

Each function takes images, uint8 (n, side, side, 3), and returns as many images of this shape.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from ganport.runtime.arrays import Pixels

SCALE = 64  # Lengths in pixels are those of an image with this side.


def alterations(base: Pixels) -> Iterator[tuple[str, str, Pixels]]:
    """Yield the kind and the strength of each alteration, and the altered images.

    The alterations of one kind come in the order of their strength.
    """
    scale = base.shape[1] / SCALE
    for pixels in (1, 4, 8):
        yield "moved to the right", f"{pixels} pixels", move(base, round(pixels * scale))
    for sigma in (0.5, 1, 2, 4):
        yield "blurred", f"{sigma} pixels", blur(base, sigma * scale)
    for cells in (32, 16, 8, 4):
        yield "smeared", f"{cells}x{cells} cells", smear(base, cells)
    for levels in (2, 4, 8, 16, 32):
        yield "noise", f"{levels} grey levels", add_noise(base, levels)
    for quality in (95, 75, 50, 25, 10):
        yield "JPEG", f"quality {quality}", compress(base, quality)
    for kept in (0.9, 0.7, 0.5):
        yield "less contrast", f"{kept:.0%}", reduce_contrast(base, kept)
    for pixels in (0.5, 1, 2, 4):
        yield "warped", f"{pixels} pixels", warp(base, pixels * scale)
    for strength in (0.25, 0.5, 1):
        yield "haze around the centre", f"{strength:.0%}", haze(base, strength)
    for share in (0.1, 0.25, 0.5, 1):
        yield "halves of two images", f"{share:.0%} of the images", mix_halves(base, share)
    for share in (0.03, 0.1, 0.3, 1):
        yield "squares of other images", f"{share:.0%} of the squares", mix_squares(base, share)
    for kept in (500, 200, 50, 10):
        yield "copies", f"{kept} different images", base[np.resize(np.arange(kept), len(base))]


def move(images: Pixels, pixels: int) -> Pixels:
    """Return images that are moved to the right. The left edge is repeated."""
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, 0), (0, 0)), mode="edge")
    return padded[:, :, : images.shape[2]]


def blur(images: Pixels, sigma: float) -> Pixels:
    """Return blurred images."""
    return _each(images, lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))


def smear(images: Pixels, cells: int) -> Pixels:
    """Return images with the detail of `cells` pixels per side."""
    size, small = images.shape[2:0:-1], (cells, cells)
    bicubic = Image.Resampling.BICUBIC
    return _each(images, lambda image: image.resize(small, Image.Resampling.BOX).resize(size, bicubic))


def add_noise(images: Pixels, levels: float) -> Pixels:
    """Return images with Gaussian noise of this standard deviation."""
    return _round(images + np.random.default_rng(1).normal(0, levels, images.shape))


def compress(images: Pixels, quality: int) -> Pixels:
    """Return images as they look after JPEG compression."""

    def reopen(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _each(images, reopen)


def reduce_contrast(images: Pixels, kept: float) -> Pixels:
    """Return images whose levels are nearer to the middle grey."""
    return _round(128 + kept * (images - 128.0))


def warp(images: Pixels, pixels: float) -> Pixels:
    """Return images whose pixels are moved by a smooth random field of this standard deviation."""
    random = np.random.default_rng(2)
    height, width = images.shape[1:3]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    warped = np.empty_like(images)
    for index, image in enumerate(images.astype(np.float32)):
        row = (rows + pixels * _smooth_field(random, height, width)).clip(0, height - 1.001)
        column = (columns + pixels * _smooth_field(random, height, width)).clip(0, width - 1.001)
        top, left = row.astype(int), column.astype(int)
        down, right = (row - top)[..., np.newaxis], (column - left)[..., np.newaxis]
        upper = image[top, left] * (1 - right) + image[top, left + 1] * right
        lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
        warped[index] = np.rint(upper * (1 - down) + lower * down)
    return warped


def _smooth_field(random: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float32]:
    coarse = Image.fromarray(random.normal(size=(8, 8)).astype(np.float32))
    field = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return field / field.std()


def haze(images: Pixels, strength: float) -> Pixels:
    """Return images that are blurred except in their middle. A face is recognised, and its hair is a haze."""
    height, width = images.shape[1:3]
    row, column = (np.mgrid[:height, :width].T / (width, height)).T
    distance = np.hypot((column - 0.5) / 0.28, (row - 0.58) / 0.3)
    share = strength * np.clip(5 * (distance - 0.9), 0, 1)[..., np.newaxis]
    return _round(images * (1 - share) + blur(images, height / 12) * share)


def mix_halves(images: Pixels, share: float) -> Pixels:
    """Return images, of which a share has the right half of another image."""
    is_mixed = np.random.default_rng(3).permutation(len(images)) < share * len(images)
    mixed, middle = images.copy(), images.shape[2] // 2
    mixed[is_mixed, :, middle:] = np.roll(images, 1, axis=0)[is_mixed, :, middle:]
    return mixed


def mix_squares(images: Pixels, share: float) -> Pixels:
    """Return images whose 8x8 squares are replaced with those of other images, at the same place."""
    random = np.random.default_rng(4)
    mixed, side = images.copy(), images.shape[1] // 8
    for row in range(0, 8 * side, side):
        for column in range(0, 8 * side, side):
            square = (slice(None), slice(row, row + side), slice(column, column + side))
            others = images[random.permutation(len(images))][square]
            is_replaced = random.random((len(images), 1, 1, 1)) < share
            mixed[square] = np.where(is_replaced, others, images[square])
    return mixed


def read_attributes(path: Path) -> dict[str, npt.NDArray[np.str_]]:
    """Return the columns of the file attributes.csv of the cartoon faces, by name."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def dropped_attributes(
    attributes: Mapping[str, npt.NDArray[np.str_]],
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield the description of a choice of faces, and which faces belong to it."""
    hair, colours = attributes["hair"], attributes["hairColor"]
    yield "no glasses", attributes["glasses"] == ""
    yield "only glasses", attributes["glasses"] != ""
    yield "half of the hair colours", np.isin(colours, np.unique(colours)[::2])
    yield "half of the hair styles", np.isin(hair, np.unique(hair)[::2])
    yield "a quarter of the hair styles", np.isin(hair, np.unique(hair)[::4])
    yield "only long hair", np.char.startswith(hair, "long")
    yield "one hair style", hair == np.unique(hair)[0]
    background = attributes["primaryBackgroundColor"]
    yield "three of five backgrounds", np.isin(background, ["#b6e3f4", "#c0aede", "#d1d4f9"])
    yield "one background", background == "#b6e3f4"


def _each(images: Pixels, alter: Callable[[Image.Image], Image.Image]) -> Pixels:
    return np.stack([np.asarray(alter(Image.fromarray(image))) for image in images])


def _round(images: npt.NDArray[np.floating]) -> Pixels:
    return np.rint(images).clip(0, 255).astype(np.uint8)
