"""Folders of images: formats, sizes, classes, and folders that are too large for memory."""

import shutil

import numpy as np
import pytest
from PIL import Image

from ganport.datasets import load_images
from ganport.datasets.errors import UnreadableImagesError
from ganport.datasets.folder import ImageFolder, open_folder


def save(path, size=(12, 8), mode="RGB", seed=0, **options):
    """Save a smooth image, which lossy formats change little, and return its pixels."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    values = np.stack([rows * 8 + seed, columns * 8, rows * 0 + 100], axis=-1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).convert(mode).save(path, **options)
    return values


@pytest.mark.parametrize("ending", ["png", "webp", "jpg", "bmp", "gif", "tiff", "ppm", "tga", "avif"])
def test_any_format_of_pillow(tmp_path, ending):
    expected = save(tmp_path / f"1.{ending}")
    images = load_images(tmp_path).images
    assert images.shape == (1, 8, 12, 3)
    assert np.abs(images[0].astype(int) - expected).max() < 40


def test_resize_takes_the_largest_square_from_the_middle(tmp_path):
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 255  # the square in the middle is white
    Image.fromarray(image).save(tmp_path / "1.png")
    save(tmp_path / "2.png", size=(20, 60))
    images = load_images(tmp_path, image_size=16).images
    assert images.shape == (2, 16, 16, 3)
    assert images[0].min() > 230  # the filter also reads a few pixels outside of the square


@pytest.mark.parametrize(
    ("mode", "channels", "expected"), [("RGB", None, 3), ("L", None, 1), ("RGB", 1, 1), ("L", 3, 3)]
)
def test_channels_are_those_of_the_images_or_those_requested(tmp_path, mode, channels, expected):
    save(tmp_path / "1.png", mode=mode)
    images = load_images(tmp_path, channels=channels).images
    assert images.shape == (1, 8, 12, expected)


def test_arrays_are_prepared_like_folders(tmp_path):
    values = save(tmp_path / "images" / "1.png", size=(20, 20))
    np.savez(tmp_path / "array.npz", images=values[np.newaxis])
    folder = load_images(tmp_path / "images", image_size=9, channels=1)
    array = load_images(str(tmp_path / "array.npz"), image_size=9, channels=1)
    np.testing.assert_array_equal(folder.images, array.images)
    assert array.image_shape == (9, 9, 1)


def test_orientation_of_the_camera_is_applied(tmp_path):
    values = save(tmp_path / "upright.png", size=(12, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF orientation of a camera that was turned on its side
    Image.fromarray(np.rot90(values).copy()).save(tmp_path / "lying.png", exif=exif)
    images = load_images(tmp_path).images
    np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize(
    ("mode", "expected"), [("RGBA", [127, 127, 255]), ("LA", [177]), ("P", [255] * 3), ("I;16", [255])]
)
def test_transparent_pixels_lie_on_white(tmp_path, mode, expected):
    pixel = {"RGBA": (0, 0, 255, 128), "LA": (99, 128), "P": 1, "I;16": 1000}[mode]
    image = Image.new(mode, (4, 4), pixel)
    if mode == "P":
        image.putpalette([255, 0, 0, 0, 0, 0])
        image.info["transparency"] = 1
    image.save(tmp_path / "x.png", **({"transparency": 1000} if mode == "I;16" else {}))
    images = open_folder(tmp_path).take_all()
    assert images.shape == (1, 4, 4, len(expected))
    np.testing.assert_allclose(images[0, 0, 0], expected, atol=1)


def test_sub_folders_are_classes(tmp_path):
    for name in ("rock/1.png", "rock/2.png", "paper/a/1.png", "3.png"):
        save(tmp_path / name)
    data = load_images(tmp_path)
    assert data.classes == {"paper": 1, "rock": 2}
    assert data.count == 4


def test_named_image_folder_is_found_in_the_users_folder(tmp_path):
    save(tmp_path / "rock-paper-scissors" / "train" / "rock" / "1.webp")
    save(tmp_path / "rock-paper-scissors" / "test" / "rock" / "2.webp")
    data = load_images("rock-paper-scissors", data_dir=tmp_path)
    assert (data.name, data.count, data.licence) == ("rock-paper-scissors", 1, "CC BY 2.0")
    np.testing.assert_array_equal(load_images(data.source).images, data.images)


@pytest.fixture
def folder(tmp_path):
    for index in range(12):
        save(tmp_path / "images" / f"{index:02d}.png", size=(28, 28), mode="L", seed=index)
    return tmp_path / "images"


def test_folder_above_the_memory_limit_is_read_on_demand(folder):
    large = load_images(folder, data_memory=0)
    small = load_images(folder)
    assert isinstance(large.images, ImageFolder)
    assert large.image_shape == small.image_shape == (28, 28, 1)
    indices = np.array([3, 0, 3], np.int32)
    np.testing.assert_array_equal(large.take(indices), small.take(indices))


BAD = ("03.png", "05.png", "11.png")


def damage(folder, names=BAD):
    for name in names:
        (folder / name).write_bytes(b"")


def test_all_unreadable_images_are_named_at_once(folder):
    damage(folder)
    with pytest.raises(
        UnreadableImagesError, match=r"3 of 12 images can't be read: 03\.png \(the file is"
    ) as caught:
        load_images(folder, image_size=8)
    assert list(caught.value.unreadable) == list(BAD)
    assert "leave them out with `skip_bad=True`" in str(caught.value)
    assert caught.value.count == 12


def test_first_five_unreadable_images_are_named(folder):
    damage(folder, [f"{index:02d}.png" for index in range(4, 12)])
    with pytest.raises(UnreadableImagesError, match=r"8 of 12 .*08\.png .*\) and 3 more; repair") as caught:
        load_images(folder)
    assert "09.png" not in str(caught.value)
    assert len(caught.value.unreadable) == 8


def test_one_unreadable_image_is_named_with_its_path(folder):
    damage(folder, ["05.png"])
    with pytest.raises(
        UnreadableImagesError, match=r"images.05\.png: it can't be read as an image \(the file"
    ):
        load_images(folder)


@pytest.mark.parametrize("memory", [0, 100])
@pytest.mark.parametrize("first", [True, False])
def test_unreadable_images_are_skipped_on_request(folder, memory, first):
    expected = np.delete(load_images(folder).images, [3, 5, 11, *([0] if first else [])], axis=0)
    damage(folder, [*BAD, *(["00.png"] if first else [])])
    data = load_images(folder, skip_bad=True, data_memory=memory)
    assert isinstance(data.images, ImageFolder) == (memory == 0)
    assert data.count == len(expected)
    np.testing.assert_array_equal(data.take(range(data.count)), expected)
    assert dict.fromkeys(BAD, "the file is empty").items() <= data.skipped.items()


def test_labels_of_skipped_images_are_skipped_too(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png", "c/1.png"):
        save(tmp_path / name)
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "b" / "1.png").write_bytes(b"")
    data = load_images(tmp_path, skip_bad=True)
    assert data.classes == {"a": 1, "c": 1}
    assert data.labels.tolist() == [0, 1]


@pytest.mark.parametrize("skip_bad", [True, False])
def test_folder_in_which_no_image_can_be_read_is_an_error(folder, skip_bad):
    damage(folder, [f"{index:02d}.png" for index in range(12)])
    for size in (None, 8):
        with pytest.raises(UnreadableImagesError, match="12 of 12"):
            load_images(folder, image_size=size, skip_bad=skip_bad)


def test_progress_counts_all_images(folder):
    calls = []
    load_images(folder, progress=lambda done, count: calls.append((done, count)))
    assert calls == [(12, 12)]


def test_hash_of_a_folder_notices_an_image_of_equal_size(tmp_path):
    for name, seed in (("1.bmp", 1), ("2.bmp", 2)):
        save(tmp_path / "images" / name, size=(80, 80), seed=seed)
    first = load_images(tmp_path / "images", data_memory=0).fingerprint()
    assert load_images(tmp_path / "images", data_memory=0).fingerprint() == first
    size = (tmp_path / "images" / "2.bmp").stat().st_size
    save(tmp_path / "images" / "2.bmp", size=(80, 80), seed=3)
    assert (tmp_path / "images" / "2.bmp").stat().st_size == size > 3 * 4_096
    assert load_images(tmp_path / "images", data_memory=0).fingerprint() != first


@pytest.mark.parametrize("position", ["start", "middle", "end", "between"])
def test_hash_of_a_folder_covers_parts_of_each_file(folder, position):
    path = folder / "00.png"
    path.write_bytes(path.read_bytes() + bytes(40_000))
    folder_of_images = open_folder(folder)
    first = folder_of_images.fingerprint()
    content = bytearray(path.read_bytes())
    where = {"start": 0, "middle": len(content) // 2, "end": -1, "between": len(content) // 4}[position]
    content[where] ^= 255
    path.write_bytes(content)
    assert (folder_of_images.fingerprint() == first) == (position == "between")


def test_hash_of_a_copied_folder_is_the_same(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert open_folder(folder).fingerprint() == open_folder(tmp_path / "copy").fingerprint()
    (tmp_path / "copy" / "00.png").rename(tmp_path / "copy" / "0.png")
    assert open_folder(folder).fingerprint() != open_folder(tmp_path / "copy").fingerprint()


def test_image_that_is_damaged_after_loading_is_named(folder):
    data = load_images(folder, data_memory=0)
    damage(folder, ["05.png"])
    assert data.take(range(5)).shape == (5, 28, 28, 1)
    with pytest.raises(UnreadableImagesError, match=r"05\.png"):
        data.take(range(6))
