"""The cache of decoded images: when it is used, when it is not, and how it is kept small."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from ganport.datasets import image_cache, load_images
from ganport.datasets.errors import UnreadableImagesError
from ganport.datasets.folder import ImageFolder
from tests.datasets.sample_images import noise, save


@pytest.fixture(autouse=True)
def small_folders_are_cached(monkeypatch):
    monkeypatch.setattr(image_cache, "LEAST_BYTES", 1)


@pytest.fixture
def folder(tmp_path):
    for index in range(10):
        save(tmp_path / "images" / "ab"[index % 2] / f"{index}.png", noise(seed=index))
    return tmp_path / "images"


def cached_files(cache_home):
    return sorted(path.suffix for path in (cache_home / "ganport" / "images").glob("*"))


class Watch:
    """Counts the images that are decoded."""

    def __init__(self):
        self.calls = []

    def __call__(self, done, count):
        self.calls.append((done, count))


def load(folder, **settings):
    """Return the images, and whether they were decoded."""
    watch = Watch()
    data = load_images(folder, progress=watch, **settings)
    return data, bool(watch.calls)


@pytest.mark.parametrize("memory", [0, 100])
def test_images_are_decoded_once(folder, cache_home, memory):
    first, was_decoded = load(folder, image_size=8, data_memory=memory)
    assert was_decoded
    assert cached_files(cache_home) == [".json", ".npy"]
    second, was_decoded = load(folder, image_size=8, data_memory=memory)
    assert not was_decoded
    assert isinstance(second.images, ImageFolder) == (memory == 0)
    np.testing.assert_array_equal(first.take(range(10)), second.take(range(10)))
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.classes == second.classes == {"a": 5, "b": 5}
    assert first.fingerprint() == second.fingerprint()


def test_images_in_the_cache_are_those_of_the_files(folder):
    load(folder, image_size=8, data_memory=0)
    cached, was_decoded = load(folder, image_size=8, data_memory=0)
    assert not was_decoded
    shutil.rmtree(image_cache.image_cache_folder())
    fresh, _ = load(folder, image_size=8, data_memory=100)
    np.testing.assert_array_equal(cached.take(range(10)), fresh.images)
    np.testing.assert_array_equal(cached.take(np.array([7, 0, 7], np.int32)), fresh.images[[7, 0, 7]])


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 9},
        {"image_size": (8, 9)},
        {"image_size": 8, "channels": 1},
        {"image_size": 8, "crop": "random"},
        {"image_size": 8, "background": "black"},
    ],
    ids=str,
)
def test_other_settings_are_other_images(folder, settings):
    load(folder, image_size=8)
    _, was_decoded = load(folder, **settings)
    assert was_decoded


def test_settings_that_do_not_change_the_images_use_the_same_cache(folder):
    load(folder, image_size=8)
    for settings in ({"data_memory": 0}, {"skip_bad": True}):
        assert not load(folder, image_size=8, **settings)[1]


def replace_content(folder):
    save(folder / "a" / "0.png", noise(seed=99))


def replace_with_equal_size_and_time(folder):
    path = folder / "a" / "0.bmp"
    before = path.stat()
    save(path, noise(seed=99))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def rename(folder):
    (folder / "a" / "0.png").rename(folder / "b" / "0.png")


def remove(folder):
    (folder / "a" / "0.png").unlink()


@pytest.mark.parametrize("change", [replace_content, replace_with_equal_size_and_time, rename, remove])
def test_changed_folder_is_decoded_again(folder, change):
    save(folder / "a" / "0.bmp", noise(seed=50))
    before, _ = load(folder)
    time.sleep(0.02)  # a file system may count time in steps of 10 ms
    change(folder)
    after, was_decoded = load(folder)
    assert was_decoded
    assert not np.array_equal(before.images, after.images) or before.classes != after.classes


@pytest.mark.parametrize("memory", [0, 100])
def test_new_version_of_the_decoder_decodes_again(folder, monkeypatch, memory):
    load(folder, data_memory=memory)
    monkeypatch.setattr(image_cache, "DECODING_VERSION", -1)
    assert load(folder, data_memory=memory)[1]


@pytest.mark.parametrize("name", ["*.npy", "*.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x93NUMPY\x01\0v\0{"])
def test_damaged_cache_is_written_again(folder, cache_home, name, content):
    expected, _ = load(folder)
    (path,) = (cache_home / "ganport" / "images").glob(name)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    data, was_decoded = load(folder)
    assert was_decoded
    np.testing.assert_array_equal(data.images, expected.images)
    assert not load(folder)[1]


def test_cut_cache_is_written_again(folder, cache_home):
    load(folder, data_memory=0)
    (path,) = (cache_home / "ganport" / "images").glob("*.npy")
    os.truncate(path, path.stat().st_size - 1)
    assert load(folder, data_memory=0)[1]
    assert not load(folder, data_memory=0)[1]


def test_small_folders_are_not_cached(folder, cache_home, monkeypatch):
    monkeypatch.setattr(image_cache, "LEAST_BYTES", 4_000_000)
    load(folder)
    load(folder, data_memory=0)
    assert not (cache_home / "ganport").exists()


def test_without_a_home_there_is_no_cache_and_no_error(folder, monkeypatch):
    for variable in ("XDG_CACHE_HOME", "HOME", "USERPROFILE"):
        monkeypatch.delenv(variable, raising=False)
    assert image_cache.image_cache_folder() is None
    for memory in (0, 100):
        data, _ = load(folder, data_memory=memory)
        assert data.take(range(10)).shape == (10, 16, 16, 3)


def test_cache_is_in_the_folder_that_the_user_chose(monkeypatch, tmp_path):
    assert image_cache.image_cache_folder().is_relative_to(os.environ["XDG_CACHE_HOME"])
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert image_cache.image_cache_folder() == tmp_path / ".cache" / "ganport" / "images"


@pytest.mark.parametrize("memory", [0, 100])
def test_cache_that_can_not_be_written_is_not_an_error(folder, monkeypatch, tmp_path, memory):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    data, was_decoded = load(folder, data_memory=memory)
    assert data.take(range(10)).shape == (10, 16, 16, 3)
    assert was_decoded == (memory > 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_leaves_nothing_and_is_not_an_error(folder, cache_home, monkeypatch):
    class FullWriter(image_cache.CacheWriter):
        def write(self, pixels):
            with Path("/dev/full").open("wb", buffering=0) as file:
                file.write(pixels.tobytes())

    monkeypatch.setattr(image_cache, "CacheWriter", FullWriter)
    for memory in (0, 100):
        data, _ = load(folder, data_memory=memory)
        assert data.take(range(10)).shape == (10, 16, 16, 3)
    assert cached_files(cache_home) == []


def test_oldest_files_are_removed_when_the_cache_is_full(folder, cache_home, monkeypatch):
    size = 10 * 8 * 8 * 3
    monkeypatch.setattr(image_cache, "CACHE_LIMIT", 3 * (size + 200))
    backgrounds = ["white", "black", "red"]
    for age, background in enumerate(backgrounds):
        load(folder, image_size=8, background=background)
        for path in (cache_home / "ganport" / "images").glob("*.npy"):
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**10 * (age + 1)))
    load(folder, image_size=8, background="white")  # now white was used last, and black is the oldest
    load(folder, image_size=8, background="blue")
    assert len(cached_files(cache_home)) == 6
    assert not load(folder, image_size=8, background="white")[1]
    assert not load(folder, image_size=8, background="red")[1]
    assert load(folder, image_size=8, background="black")[1]


def test_set_that_is_larger_than_the_cache_is_read_image_by_image(folder, cache_home, monkeypatch):
    monkeypatch.setattr(image_cache, "CACHE_LIMIT", 1_000)
    data, was_decoded = load(folder, data_memory=0)
    assert not was_decoded
    assert data.images.cached is None
    assert data.take(np.array([3], np.int32)).shape == (1, 16, 16, 3)
    assert not (cache_home / "ganport").exists()


def test_leftovers_of_killed_processes_are_removed_after_a_day(folder, cache_home):
    images = cache_home / "ganport" / "images"
    images.mkdir(parents=True)
    for name, age in (("old", 100_000), ("new", 10)):
        leftover = images / f".{name}.01234567.part.npy"
        leftover.touch()
        os.utime(leftover, (time.time() - age, time.time() - age))
    load(folder)
    assert [path.name for path in images.glob(".*")] == [".new.01234567.part.npy"]


@pytest.mark.parametrize("memory", [0, 100])
def test_skipped_images_are_known_from_the_cache(folder, memory):
    (folder / "a" / "4.png").write_bytes(b"")
    first, was_decoded = load(folder, skip_bad=True, data_memory=memory)
    assert was_decoded
    second, was_decoded = load(folder, skip_bad=True, data_memory=memory)
    assert not was_decoded
    for data in (first, second):
        assert dict(data.skipped) == {"a/4.png": "the file is empty"}
        assert data.count == 9
        np.testing.assert_array_equal(data.labels, [0] * 4 + [1] * 5)
        np.testing.assert_array_equal(data.take(range(9))[2], noise(seed=6))
    with pytest.raises(UnreadableImagesError, match=r"a/4\.png"):
        load(folder, data_memory=memory)


def test_error_while_images_are_written_leaves_nothing(folder, cache_home):
    (folder / "a" / "4.png").write_bytes(b"")
    with pytest.raises(UnreadableImagesError):
        load(folder, data_memory=0)
    assert cached_files(cache_home) == []
