"""Finding the images of a folder: hidden files, symbolic links, order and speed."""

import os
import time

import pytest

from ganport.datasets import load_images
from ganport.datasets.errors import DatasetContentError, NoImagesError, UnreadableImagesError
from ganport.datasets.listing import image_endings, list_images
from tests.datasets.sample_images import noise, save

links = pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_names_are_sorted_part_by_part(tmp_path):
    names = ["b/1.png", "a-b/2.png", "a/2.png", "a/10.png", "a/c/1.png", "Z.png", "é.png"]
    touch(tmp_path, *names)
    expected = ["Z.png", "a/10.png", "a/2.png", "a/c/1.png", "a-b/2.png", "b/1.png", "é.png"]
    assert list(list_images(tmp_path).names) == expected
    paths = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.png"))]
    assert paths == expected  # the order of earlier versions, on which fingerprints depend


def test_hidden_files_and_those_of_other_programs_are_left_out(tmp_path):
    touch(
        tmp_path,
        *(".name.part.png", "._a.png", ".hidden/1.png", "__MACOSX/1.png", "a/__MACOSX/._1.png"),
        *("Thumbs.db", "a/.ipynb_checkpoints/1.png", "a/1.png", "notes.txt", "a.png.bak"),
    )
    assert list_images(tmp_path).names == ("a/1.png",)


def test_endings_are_those_of_formats_that_are_decoded_here():
    assert {".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".bmp", ".mpo", ".pgm"} <= image_endings()
    assert not image_endings() & {".eps", ".ps", ".wmf", ".emf", ".h5", ".mpg", ".grib", ".iim", ".pdf"}


def test_endings_may_be_in_capitals(tmp_path):
    touch(tmp_path, "1.PNG", "2.JpG")
    assert list_images(tmp_path).names == ("1.PNG", "2.JpG")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "give a folder of images"),
        (["1.heic", "2.HEIC", "3.txt"], r"2 files end in \.heic, which is not read as an image"),
        (["movie.mp4"], r"1 file ends in \.mp4"),
        ([".1.png"], "it holds no image"),
    ],
)
def test_folder_without_images_is_an_error_that_names_its_other_files(tmp_path, names, words):
    touch(tmp_path, *names)
    with pytest.raises(NoImagesError, match=words) as caught:
        load_images(tmp_path)
    assert isinstance(caught.value, DatasetContentError)


@links
def test_class_folder_that_is_a_link_is_followed(tmp_path):
    save(tmp_path / "elsewhere" / "1.png", noise())
    save(tmp_path / "set" / "b" / "1.png", noise(seed=1))
    (tmp_path / "set" / "a").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set" / "b" / "2.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    data = load_images(tmp_path / "set")
    assert data.classes == {"a": 1, "b": 2}
    assert data.labels.tolist() == [0, 1, 1]


@links
def test_loops_end_and_each_folder_is_read_once(tmp_path):
    touch(tmp_path, "a/1.png", "a/b/2.png")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "0-again").symlink_to(tmp_path / "a", target_is_directory=True)
    listing = list_images(tmp_path)
    assert listing.names == ("a/1.png", "a/b/2.png")
    assert list(listing.unreadable) == ["a/self"]


@links
def test_links_to_each_other_end(tmp_path):
    for name, other in ("ab", "ba"):
        touch(tmp_path, f"{name}/1.png")
        (tmp_path / name / "other").symlink_to(tmp_path / other, target_is_directory=True)
    assert list_images(tmp_path / "a").names == ("1.png", "other/1.png")


@links
def test_broken_links_are_named(tmp_path):
    save(tmp_path / "1.png", noise())
    (tmp_path / "2.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "rock").symlink_to(tmp_path / "gone", target_is_directory=True)
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone.txt")  # not an image, so not missed
    with pytest.raises(
        UnreadableImagesError, match=r"2 of 3 images.*2\.png \(it is a link to .*gone"
    ) as caught:
        load_images(tmp_path)
    assert list(caught.value.unreadable) == ["2.png", "rock"]
    data = load_images(tmp_path, skip_bad=True)
    assert (data.count, list(data.skipped)) == (1, ["2.png", "rock"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every folder")
def test_folder_that_may_not_be_opened_is_named(tmp_path):
    touch(tmp_path, "1.png", "closed/2.png")
    (tmp_path / "closed").chmod(0)
    assert list_images(tmp_path).unreadable == {"closed": "permission denied"}


def test_names_that_are_not_text_are_read_and_shown_safely(tmp_path):
    name = os.fsdecode(b"\xff\n\x1b[2J.png")
    try:
        save(tmp_path / name, noise())
    except OSError:
        pytest.skip("this file system takes only names that are text")
    data = load_images(tmp_path, data_memory=0)
    assert data.count == 1
    assert data.fingerprint()
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnreadableImagesError, match="the file is empty") as caught:
        load_images(tmp_path)
    assert str(caught.value).isprintable()


def test_10_000_files_are_listed_in_a_second(tmp_path):
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for number in range(1_000):
            os.close(os.open(f"{tmp_path}/{folder}/{number}.png", os.O_CREAT))
    started = time.process_time()
    assert len(list_images(tmp_path).names) == 10_000
    assert time.process_time() - started < 1.0
