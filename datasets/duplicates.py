"""Finding equal and nearly equal images, by thumbnails of 18x16 pixels.

Nearly equal images have a similar difference hash: 64 bits that say whether a pixel of the 9x8 image is
brighter than its neighbour (N. Krawetz, "Kind of like that", hackerfactor.com, 2013). Here it has to be
brighter by 4 levels, so that the noise of JPEG does not change the bits of plain areas. Similar hashes are
found by sorting, as G. Manku, A. Jain and A. Das Sarma find web pages ("Detecting near-duplicates for web
crawling", WWW 2007), whose limit of 3 different bits is used here too. Then the thumbnails are compared,
because images of one kind, such as portraits, can have equal hashes.

Of 300 cartoon faces of 128x128, all copies are found that were stored as JPEG of quality 50, or resized to
one half or to 0.7. Copies that are cropped by 2 pixels, or mirrored, are not found. Among 4,000 different
faces one pair is found.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from ganport.runtime.arrays import Pixels

THUMBNAIL_SHAPE = (16, 18, 3)  # height, width, channels: 2x2 pixels for each of the 9x8 pixels of the hash

_LEAST_LEVELS = 4  # a pixel of the hash is brighter than another one by more than this, of 255 levels
_MOST_BITS = 3  # limit for the number of bits in which the hashes of nearly equal images differ
_MOST_LEVELS = 16  # limit for the difference of two thumbnails in each pixel, of 255 levels
_BLOCKS = 4  # two hashes that differ in 3 bits agree in at least one of 4 blocks of 16 bits
_NEIGHBOURS = 24  # number of following hashes, in sorted order, that a hash is compared with
_PAIRS_AT_ONCE = 10_000

Hashes = npt.NDArray[np.uint64]  # (n,)
Pairs = npt.NDArray[np.int64]  # (n, 2), indices of images


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Images that are equal or nearly equal to others.

    Attributes:
        groups: Groups of equal images, as indices; each group has at least two.
        near_pairs: Pairs of nearly equal images that are not equal, as indices.
        near_count: Number of images that could be removed, so that no two of the others are nearly equal.
            Equal images are not counted.
    """

    groups: tuple[tuple[int, ...], ...]
    near_pairs: tuple[tuple[int, int], ...]
    near_count: int


def find_duplicates(contents: Sequence[Hashable], thumbnails: Pixels) -> Duplicates:
    """Return the equal and the nearly equal images.

    The time grows nearly linearly with the number of images. Of very many images with similar hashes, some
    pairs are not found.

    Args:
        contents: Hash of the pixels of each image. Equal images have equal hashes.
        thumbnails: The images, uint8 (n, 16, 18, 3).
    """
    members: dict[Hashable, list[int]] = {}
    for index, content in enumerate(contents):
        members.setdefault(content, []).append(index)
    groups = tuple(tuple(group) for group in members.values() if len(group) > 1)
    firsts = np.array([group[0] for group in members.values()], np.int64)
    pairs = firsts[near_pairs(thumbnails[firsts])]
    near_count = _count_removable(pairs)
    return Duplicates(groups, tuple((int(one), int(other)) for one, other in pairs), near_count)


def make_thumbnail(image: Image.Image) -> bytes:
    """Return the thumbnail of an image in mode L or RGB, uint8 (16, 18, 3), as bytes."""
    height, width, _ = THUMBNAIL_SHAPE
    return image.resize((width, height), Image.Resampling.BILINEAR).convert("RGB").tobytes()


def difference_hashes(thumbnails: Pixels) -> Hashes:
    """Return the 64-bit difference hash of each thumbnail, uint8 (n, 16, 18, 3)."""
    weights = np.array([299, 587, 114], np.int32)  # thousandths, of ITU-R BT.601, as in Pillow
    grey = thumbnails.astype(np.int32) @ weights  # (n, 16, 18)
    small = grey.reshape(-1, 8, 2, 9, 2).sum(axis=(2, 4))  # (n, 8, 9), 4,000 for each level
    bits = small[:, :, 1:] > small[:, :, :-1] + 4_000 * _LEAST_LEVELS  # (n, 8, 8)
    return np.packbits(bits.reshape(-1, 64), axis=1).view(">u8").astype(np.uint64).ravel()


def near_pairs(thumbnails: Pixels) -> Pairs:
    """Return the pairs of nearly equal thumbnails, as indices (n, 2) in ascending order."""
    candidates = _similar_hashes(difference_hashes(thumbnails))
    flat = thumbnails.reshape(len(thumbnails), math.prod(THUMBNAIL_SHAPE))
    # A few values of each thumbnail exclude most candidates.
    candidates = _alike(flat[:, :: flat.shape[1] // 32], candidates)
    return _alike(flat, candidates)


def _alike(values: Pixels, pairs: Pairs) -> Pairs:
    """Return the pairs of rows, uint8 (n, values), whose values differ little."""
    is_alike = np.zeros(len(pairs), dtype=bool)
    for first in range(0, len(pairs), _PAIRS_AT_ONCE):
        one, other = pairs[first : first + _PAIRS_AT_ONCE].T
        differences = np.abs(values[one].astype(np.int16) - values[other])
        is_alike[first : first + len(one)] = differences.max(axis=1) <= _MOST_LEVELS
    return pairs[is_alike]


def _similar_hashes(hashes: Hashes) -> Pairs:
    """Return pairs of hashes that differ in at most 3 bits, as indices (n, 2) in ascending order.

    The hashes are sorted four times, each time by another block of bits first. Each hash is compared with
    the hashes that follow it.
    """
    found = [np.zeros((0, 2), np.int64)]
    width = 64 // _BLOCKS
    for block in range(_BLOCKS):
        shift = np.uint64(block * width)
        rotated = (hashes << shift) | (hashes >> np.uint64((64 - block * width) % 64))
        order = np.argsort(rotated, kind="stable")
        ordered = hashes[order]
        for distance in range(1, min(_NEIGHBOURS, len(hashes) - 1) + 1):
            bits = np.bitwise_count(ordered[distance:] ^ ordered[:-distance])
            first = np.flatnonzero(bits <= _MOST_BITS)
            found.append(np.stack([order[first], order[first + distance]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def _count_removable(pairs: Pairs) -> int:
    """Return the number of images in the pairs, less the number of connected groups that the pairs form."""
    parents: dict[int, int] = {}

    def root(index: int) -> int:
        while parents.setdefault(index, index) != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    merged = 0
    for one, other in pairs.tolist():
        first, second = root(one), root(other)
        if first != second:
            parents[second] = first
            merged += 1
    return merged
