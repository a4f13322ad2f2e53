"""Equal and nearly equal images: what is found, what is not, and how long it takes."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from ganport.datasets.duplicates import (
    THUMBNAIL_SHAPE,
    difference_hashes,
    find_duplicates,
    make_thumbnail,
    near_pairs,
)


def thumbnails(images):
    """Return the thumbnails of images, uint8 (height, width, 3) each."""
    content = b"".join(make_thumbnail(Image.fromarray(image)) for image in images)
    return np.frombuffer(content, np.uint8).reshape(-1, *THUMBNAIL_SHAPE)


def photographs(count, seed=0):
    """Return different smooth images, uint8 (count, 128, 128, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return [np.asarray(Image.fromarray(each).resize((128, 128), Image.Resampling.BICUBIC)) for each in coarse]


def drawings(count):
    """Return different drawings with sharp edges on a plain ground, uint8 (count, 128, 128, 3)."""
    rng = np.random.default_rng(1)
    images = []
    for _ in range(count):
        image = np.full((128, 128, 3), rng.integers(100, 256, 3), np.uint8)
        for _ in range(6):
            top, left, height, width = rng.integers(0, 90), rng.integers(0, 90), *rng.integers(4, 60, 2)
            image[top : top + height, left : left + width] = rng.integers(0, 256, 3)
        images.append(image)
    return images


def as_jpeg(image, quality=75):
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content).convert("RGB"))


def resized(image):
    return np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.LANCZOS))


def brighter(image):
    return (image.astype(int) + 6).clip(0, 255).astype(np.uint8)


def with_a_mark(image):
    marked = image.copy()
    marked[56:72, 56:72] = 255 - marked[56:72, 56:72]
    return marked


@pytest.mark.parametrize("change", [as_jpeg, resized, brighter])
@pytest.mark.parametrize("make", [photographs, drawings])
def test_changed_copies_are_nearly_equal(make, change):
    images = make(30)
    pairs = near_pairs(thumbnails([*images, *map(change, images)]))
    assert pairs.tolist() == [[index, index + 30] for index in range(30)]


def test_images_that_differ_in_one_place_are_not_nearly_equal():
    images = photographs(30)
    assert len(near_pairs(thumbnails([*images, *map(with_a_mark, images)]))) == 0


def test_different_images_are_not_nearly_equal():
    assert len(near_pairs(thumbnails([*photographs(500), *drawings(500)]))) == 0


def test_hash_says_which_pixel_is_brighter_than_its_neighbour():
    image = np.zeros((16, 18, 3), np.uint8)
    image[0:2, 2:4] = 200  # the second pixel of the first row of 9x8
    (number,) = difference_hashes(image[np.newaxis]).tolist()
    assert number == 1 << 63
    (number,) = difference_hashes(image[np.newaxis, ::-1]).tolist()
    assert number == 1 << 7


def test_equal_images_are_grouped_and_are_not_nearly_equal_too():
    images = photographs(5)
    images = [images[0], images[1], images[0], as_jpeg(images[0]), images[0], images[2]]
    found = find_duplicates([image.tobytes() for image in images], thumbnails(images))
    assert found.groups == ((0, 2, 4),)
    assert found.near_pairs == ((0, 3),)
    assert found.near_count == 1


def test_number_of_nearly_equal_images_is_what_could_be_removed():
    """A frame of a film equals both of its neighbours; of a chain of 4 frames, 3 could be removed."""
    base, other = photographs(2)
    chain = [(base.astype(int) + 9 * step).clip(0, 255).astype(np.uint8) for step in range(4)]
    found = find_duplicates(range(5), thumbnails([*chain, other]))
    assert found.near_count == 3


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_has_no_duplicates(count):
    found = find_duplicates(range(count), thumbnails(photographs(2))[:count])
    assert (found.groups, found.near_pairs, found.near_count) == ((), (), 0)


@pytest.mark.parametrize("kind", ["different", "similar"])
def test_time_grows_nearly_linearly(kind):
    """5,000 images have 12 million pairs. Nearly empty images have many equal hashes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5_000, 16, 18, 3)).astype(np.uint8)
    if kind == "similar":
        images[:, 2:] = 0
    started = time.process_time()
    near_pairs(images)
    assert time.process_time() - started < 8
