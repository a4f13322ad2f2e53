"""The survey of a folder before training: what it counts, what it says, and what it rejects."""

import dataclasses
import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from ganport.datasets import decoding, load_images
from ganport.datasets.errors import (
    BlankImagesError,
    DatasetNotFoundError,
    DuplicateImagesError,
    NoImagesError,
    SmallClassError,
    UnreadableImagesError,
)
from ganport.datasets.survey import survey_folder, survey_images, survey_source
from tests.datasets.sample_images import noise, save


@pytest.fixture
def folder(tmp_path):
    """A folder with one thing of everything."""
    path = tmp_path / "photos"
    for index in range(6):
        save(path / "rock" / f"{index}.png", noise(64, 48, seed=index))
    save(path / "rock" / "grey.png", noise(64, 48, channels=1, seed=20))
    save(path / "rock" / "grey-as-colour.png", noise(64, 48, channels=1, seed=21).repeat(3, -1))
    save(path / "paper" / "copy.bmp", noise(64, 48, seed=0))
    save(path / "paper" / "small.png", noise(32, 24, seed=1))
    transparent = noise(100, 200, channels=4, seed=30)
    save(path / "paper" / "transparent.png", transparent)
    save(
        path / "paper" / "opaque.webp", np.dstack([noise(64, 48, seed=40), np.full((48, 64), 255, np.uint8)])
    )
    save(path / "paper" / "blank.png", np.full((48, 64, 3), 90, np.uint8))
    save(path / "paper" / "long.png", noise(400, 20, seed=50))
    frames = [Image.fromarray(noise(64, 48, seed=seed)) for seed in (60, 61)]
    frames[0].save(path / "animated.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path / "lying.jpg", noise(48, 64, seed=70), exif=exif)
    (path / "paper" / "bad.png").write_bytes(b"")
    (path / "paper" / "gone.png").symlink_to(path / "nothing.png")
    return path


def test_animation_that_is_cut_in_its_second_frame_counts_as_an_image(tmp_path):
    frames = [Image.fromarray(noise(8, 8, seed=seed)) for seed in (1, 2)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    content = file.getvalue()
    second = content.index(b",\0\0\0\0", content.index(b",\0\0\0\0") + 1)
    for length in range(second, second + 12):
        (tmp_path / f"{length}.gif").write_bytes(content[:length])
    survey = survey_folder(tmp_path)
    assert (survey.count, dict(survey.unreadable)) == (12, {})


def test_survey_counts_what_the_images_are_like(folder):
    survey = survey_folder(folder)
    assert survey.count == 16
    assert survey.sizes == {(32, 24): 1, (64, 48): 13, (100, 200): 1, (400, 20): 1}
    assert (survey.smallest, survey.median, survey.largest) == ((32, 24), (64, 48), (100, 200))
    assert (survey.grey, survey.colour, survey.transparent) == (3, 13, 1)
    assert survey.classes == {"paper": 6, "rock": 8}
    assert survey.unclassed == 2
    assert survey.unreadable.keys() == {"paper/bad.png", "paper/gone.png"}
    assert survey.duplicates == (("paper/copy.bmp", "rock/0.png"),)
    assert (survey.copies, survey.distinct) == (1, 15)
    assert survey.near_count == 1
    assert survey.near_pairs == (("paper/small.png", "rock/1.png"),)
    assert (survey.animated, survey.rotated) == (1, 1)
    assert survey.blank == ("paper/blank.png",)
    assert survey.long == ("paper/long.png",)


def test_survey_of_faces_is_one_line(tmp_path):
    for index in range(5):
        save(tmp_path / f"{index}.png", noise(32, 32, seed=index))
    assert survey_folder(tmp_path).lines() == ["5 images of 32x32 in colour, no duplicates, no classes"]


def test_report_names_what_is_worth_knowing(folder):
    assert survey_folder(folder).lines() == [
        "16 images of 32x24 to 100x200 (median 64x48), 13 in colour and 3 in grey, 1 with transparency, "
        "2 unreadable, 1 exact duplicate, about 1 near duplicate, 2 classes",
        "classes: paper 6, rock 8",
        "2 images outside of the sub-folders, so without a class",
        "unreadable: paper/bad.png (the file is empty), "
        f"paper/gone.png (it is a link to {folder}/nothing.png, which does not exist)",
        "equal: paper/copy.bmp = rock/0.png",
        "nearly equal, for example: paper/small.png ~ rock/1.png",
        "of one single colour: paper/blank.png",
        "one side more than 3 times the other: paper/long.png",
        "1 animation; the first image is used",
        "1 image turned upright by the camera's orientation",
    ]


def test_report_is_json_too(folder):
    document = json.loads(json.dumps(survey_folder(folder).to_dict()))
    assert document["count"] == 16
    assert document["sizes"]["64x48"] == 13


def test_sizes_for_choosing_a_resolution(tmp_path):
    for index, side in enumerate([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]):
        save(tmp_path / f"{index}.png", noise(side, 200, seed=index))
    survey = survey_folder(tmp_path)
    assert [survey.shorter_side_at(share) for share in (0.0, 0.1, 0.5, 1.0)] == [10, 20, 60, 110]
    assert survey.size_at(0.5) == (60, 200)
    assert survey.aspect_ratio == pytest.approx(0.3)


def test_equal_images_in_other_files_are_exact_duplicates(tmp_path):
    save(tmp_path / "1.png", noise())
    save(tmp_path / "2.bmp", noise())
    save(tmp_path / "3.webp", noise(), lossless=True)
    save(tmp_path / "4.png", np.dstack([noise(), np.full((16, 16), 255, np.uint8)]))
    save(tmp_path / "5.png", noise(seed=5))
    assert survey_folder(tmp_path).duplicates == (("1.png", "2.bmp", "3.webp", "4.png"),)


def test_equal_pixels_in_another_shape_are_no_duplicates(tmp_path):
    save(tmp_path / "1.png", np.tile(noise(), (2, 1, 1)))
    save(tmp_path / "2.png", np.tile(noise(), (2, 1, 1)).reshape(16, 32, 3))
    assert survey_folder(tmp_path).copies == 0


def test_large_images_are_looked_at_in_a_small_size(tmp_path, monkeypatch):
    large = np.asarray(Image.fromarray(noise()).resize((2_048, 1_024), Image.Resampling.BICUBIC))
    save(tmp_path / "1.jpg", large)
    save(tmp_path / "2.png", large, compress_level=1)
    reserved = []

    class Recorder(decoding.PixelBudget):
        def reserve(self, pixels):
            reserved.append(pixels)
            return super().reserve(pixels)

    monkeypatch.setattr(decoding, "BUDGET", Recorder(10**8))
    survey = survey_folder(tmp_path)
    assert survey.sizes == {(2_048, 1_024): 2}
    assert survey.near_count == 1
    assert reserved == [512 * 256, 2_048 * 1_024]  # a PNG is always decoded in full


def test_each_image_is_read_once_and_progress_is_reported(tmp_path):
    for index in range(70):
        save(tmp_path / f"{index}.png", noise(seed=index))
    calls = []
    survey_folder(tmp_path, progress=lambda done, count: calls.append((done, count)))
    assert calls == [(32, 70), (64, 70), (70, 70)]


def test_faces_are_surveyed_at_300_images_a_second_and_core(tmp_path):
    content = io.BytesIO()
    Image.fromarray(noise(128, 128)).save(content, "WEBP", lossless=True)
    for index in range(300):
        (tmp_path / f"{index}.webp").write_bytes(content.getvalue())
    started = time.process_time()
    assert survey_folder(tmp_path).copies == 299
    assert time.process_time() - started < 1


# Arrays.


def test_arrays_are_surveyed_as_folders_are(tmp_path):
    images = np.stack([noise(seed=seed) for seed in (0, 1, 0, 2)] + [np.full((16, 16, 3), 7, np.uint8)])
    np.savez(tmp_path / "set.npz", images=images, labels=np.array([0, 0, 1, 1, 1]))
    survey = survey_images(load_images(tmp_path / "set.npz"))
    assert (survey.count, survey.sizes) == (5, {(16, 16): 5})
    assert survey.duplicates == (("0", "2"),)
    assert survey.blank == ("4",)
    assert survey.grey == 1
    assert survey.classes == {"0": 2, "1": 3}
    assert survey.lines()[0] == ("5 images of 16x16, 4 in colour and 1 in grey, 1 exact duplicate, 2 classes")


def test_grey_arrays_and_arrays_with_alpha(tmp_path):
    np.savez(tmp_path / "grey.npz", images=np.stack([noise(channels=1, seed=seed) for seed in range(3)]))
    assert survey_images(load_images(tmp_path / "grey.npz")).grey == 3
    np.savez(tmp_path / "alpha.npz", images=np.stack([noise(channels=4, seed=seed) for seed in range(3)]))
    assert survey_images(load_images(tmp_path / "alpha.npz")).transparent == 3


def test_folder_that_is_read_while_training_is_surveyed_by_its_files(folder):
    data = load_images(folder, image_size=8, skip_bad=True, data_memory=0)
    assert survey_images(data) == survey_folder(folder)


def test_any_source_of_images_is_surveyed(folder, tmp_path):
    assert survey_source(str(folder)) == survey_folder(folder)
    assert survey_source("digits").lines()[0].startswith("5,000 images of 28x28 in grey, ")
    with pytest.raises(DatasetNotFoundError):
        survey_source(str(tmp_path / "none"))


# Images that no generator can learn from.


def test_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(NoImagesError, match="it holds no image"):
        survey_folder(tmp_path)


def test_few_images_are_counted(tmp_path):
    """The recipe decides how many images it needs."""
    for index in range(3):
        save(tmp_path / f"{index}.png", noise(seed=index))
    survey = survey_folder(tmp_path)
    survey.check()
    assert (survey.count, survey.distinct) == (3, 3)


def test_only_duplicates_are_an_error(tmp_path):
    for index in range(3):
        save(tmp_path / f"{index}.png", noise())
    with pytest.raises(DuplicateImagesError, match="its 3 images are all the same image"):
        survey_folder(tmp_path).check()


@pytest.mark.parametrize(("count", "words"), [(1, "its image has one"), (3, "each of its 3 images has one")])
def test_only_images_of_one_colour_are_an_error(tmp_path, count, words):
    for index in range(count):
        save(tmp_path / f"{index}.png", np.full((9, 9, 3), 50 * index, np.uint8))
    with pytest.raises(BlankImagesError, match=words):
        survey_folder(tmp_path).check()


def test_unreadable_images_are_an_error_unless_they_are_skipped(folder):
    survey = survey_folder(folder)
    with pytest.raises(UnreadableImagesError, match=r"2 of 18 images.*bad\.png.*`skip_bad=True`"):
        survey.check()
    survey.check(skip_bad=True)


def test_folder_in_which_no_image_can_be_read_is_an_error_in_both_cases(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"")
    survey = survey_folder(tmp_path)
    assert survey.lines()[0] == "0 images, 3 unreadable, no duplicates, no classes"
    for skip_bad in (True, False):
        with pytest.raises(UnreadableImagesError, match="3 of 3"):
            survey.check(skip_bad=skip_bad)


def test_class_with_one_image_is_an_error_of_conditional_recipes_only(tmp_path):
    for name in ("a/1.png", "b/1.png", "b/2.png", "c/1.png"):
        save(tmp_path / name, noise(seed=hash(name) % 1_000))
    survey = survey_folder(tmp_path)
    survey.check()
    with pytest.raises(SmallClassError, match="the 2 classes a, c have one image; add images") as caught:
        survey.check_classes()
    assert caught.value.names == ("a", "c")
    with pytest.raises(SmallClassError, match="the class b has one image"):
        dataclasses.replace(survey, classes={"a": 2, "b": 1}).check_classes()
    dataclasses.replace(survey, classes={"a": 2, "b": 2}).check_classes()
