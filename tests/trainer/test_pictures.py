"""Folders of pictures: formats, sizes, classes, and sets that are read while training."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from ganport.runtime.errors import DatasetContentError
from ganport.trainer.datasets import Preparation, load_dataset
from ganport.trainer.pictures import PictureFolder, open_folder
from ganport.trainer.runs import Run, load_run_data, start_run


def save(path, size=(12, 8), mode="RGB", seed=0, **options):
    """Save a smooth picture, so that formats with losses keep it nearly as it is."""
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    values = np.stack([rows * 8 + seed, columns * 8, rows * 0 + 100], axis=-1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).convert(mode).save(path, **options)
    return values


@pytest.mark.parametrize("ending", ["png", "webp", "jpg", "bmp", "gif", "tiff", "ppm", "tga", "avif"])
def test_any_format_of_pillow(tmp_path, ending):
    expected = save(tmp_path / f"1.{ending}")
    images = load_dataset(str(tmp_path)).images
    assert images.shape == (1, 8, 12, 3)
    assert np.abs(images[0].astype(int) - expected).max() < 40


def test_resize_takes_the_largest_square_from_the_middle(tmp_path):
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = 255  # the square in the middle is white
    Image.fromarray(picture).save(tmp_path / "1.png")
    save(tmp_path / "2.png", size=(20, 60))
    images = load_dataset(str(tmp_path), preparation=Preparation(image_size=16)).images
    assert images.shape == (2, 16, 16, 3)
    assert images[0].min() > 230  # the filter looks a little over the border


@pytest.mark.parametrize(("mode", "channels", "there"), [("RGB", None, 3), ("L", None, 1), ("RGB", 1, 1), ("L", 3, 3)])
def test_grey_or_colour(tmp_path, mode, channels, there):
    save(tmp_path / "1.png", mode=mode)
    images = load_dataset(str(tmp_path), preparation=Preparation(channels=channels)).images
    assert images.shape == (1, 8, 12, there)


def test_arrays_are_prepared_like_folders(tmp_path):
    values = save(tmp_path / "pictures" / "1.png", size=(20, 20))
    np.savez(tmp_path / "array.npz", images=values[np.newaxis])
    preparation = Preparation(image_size=9, channels=1)
    folder = load_dataset(str(tmp_path / "pictures"), preparation=preparation)
    array = load_dataset(str(tmp_path / "array.npz"), preparation=preparation)
    np.testing.assert_array_equal(folder.images, array.images)
    assert array.image_shape == (9, 9, 1)


def test_orientation_of_the_camera_is_respected(tmp_path):
    values = save(tmp_path / "upright.png", size=(12, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Image.fromarray(np.rot90(values).copy()).save(tmp_path / "lying.png", exif=exif)
    images = load_dataset(str(tmp_path)).images
    np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize(("mode", "seen"), [("RGBA", [127, 127, 255]), ("LA", [177]), ("P", [255] * 3), ("I;16", [255])])
def test_what_is_transparent_lies_on_white(tmp_path, mode, seen):
    pixel = {"RGBA": (0, 0, 255, 128), "LA": (99, 128), "P": 1, "I;16": 1000}[mode]
    picture = Image.new(mode, (4, 4), pixel)
    if mode == "P":
        picture.putpalette([255, 0, 0, 0, 0, 0])
        picture.info["transparency"] = 1
    picture.save(tmp_path / "x.png", **({"transparency": 1000} if mode == "I;16" else {}))
    drawn = open_folder(tmp_path, None, None).take_all()
    assert drawn.shape == (1, 4, 4, len(seen))
    np.testing.assert_allclose(drawn[0, 0, 0], seen, atol=1)


def test_sub_folders_are_classes(tmp_path):
    for name in ("rock/1.png", "rock/2.png", "paper/a/1.png", "3.png"):
        save(tmp_path / name)
    data = load_dataset(str(tmp_path))
    assert data.classes == {"paper": 1, "rock": 2}
    assert data.count == 4


def test_named_set_of_pictures_is_found_in_the_users_folder(tmp_path):
    save(tmp_path / "rock-paper-scissors" / "train" / "rock" / "1.webp")
    save(tmp_path / "rock-paper-scissors" / "test" / "rock" / "2.webp")
    data = load_dataset("rock-paper-scissors", tmp_path)
    assert (data.name, data.count, data.licence) == ("rock-paper-scissors", 1, "CC BY 2.0")
    np.testing.assert_array_equal(load_dataset(data.source).images, data.images)


@pytest.fixture
def folder(tmp_path):
    for index in range(12):
        save(tmp_path / "pictures" / f"{index:02d}.png", size=(28, 28), mode="L", seed=index)
    return tmp_path / "pictures"


def test_folder_above_the_limit_is_not_loaded(folder):
    large = load_dataset(str(folder), preparation=Preparation(memory_limit=0))
    small = load_dataset(str(folder))
    assert isinstance(large.images, PictureFolder)
    assert large.image_shape == small.image_shape == (28, 28, 1)
    places = np.array([3, 0, 3], np.int32)
    np.testing.assert_array_equal(large.take(places), small.take(places))


@pytest.mark.parametrize("sampling", ["replacement", "epochs"])
def test_streamed_run_ends_bit_identical_to_one_in_memory(tmp_path, folder, small_recipe, sampling):
    from rich.console import Console

    from ganport.trainer.loop import train
    from ganport.trainer.report import Report
    from tests.trainer.conftest import one_device

    recipe = dataclasses.replace(small_recipe, sampling=sampling)
    endings = []
    for limit in (0, 100):
        run = Run(tmp_path / f"run-{limit}")
        data = load_dataset(str(folder), preparation=Preparation(memory_limit=limit))
        start_run(run, recipe, data)
        with Report(Console(quiet=True), recipe.steps) as report:
            train(recipe, data, run, [report], one_device())
        with np.load(run.checkpoint_file(25)) as state:
            endings.append({name: state[name] for name in state.files})
    for name, array in endings[0].items():
        np.testing.assert_array_equal(array, endings[1][name], err_msg=name)


def test_picture_that_goes_bad_while_training_is_named(tmp_path, folder, small_recipe):
    from rich.console import Console

    from ganport.trainer.loop import train
    from ganport.trainer.report import Report
    from tests.trainer.conftest import one_device

    data = load_dataset(str(folder), preparation=Preparation(memory_limit=0))
    run = Run(tmp_path / "run")
    start_run(run, small_recipe, data)
    (folder / "05.png").write_bytes(b"no picture any more")
    with Report(Console(quiet=True), 25) as report, pytest.raises(DatasetContentError, match=r"05\.png"):
        train(small_recipe, data, run, [report], one_device())


def test_resumed_run_prepares_its_images_as_it_did(tmp_path, folder, small_recipe):
    run = Run(tmp_path / "run")
    data = load_dataset(str(folder), preparation=Preparation(image_size=10, channels=3, memory_limit=0))
    start_run(run, small_recipe, data)
    again = load_run_data(run)
    assert again.image_shape == (10, 10, 3)
    assert isinstance(again.images, PictureFolder)
    assert again.fingerprint() == data.fingerprint()
    save(folder / "12.png", size=(28, 28), mode="L")
    with pytest.raises(Exception, match="not the ones"):
        load_run_data(run)
