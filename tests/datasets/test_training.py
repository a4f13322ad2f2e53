"""Data sets of a run: recorded when it starts, read while it trains, and found again when it resumes."""

import dataclasses
import re
import struct

import numpy as np
import pytest

from ganport.datasets import load_images
from ganport.datasets.errors import DatasetContentError
from ganport.datasets.folder import ImageFolder
from ganport.trainer.errors import CheckpointError
from ganport.trainer.plan import check_data_fits
from ganport.trainer.recipes import load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import load_run_data, start_run
from tests.datasets.test_folder import save
from tests.datasets.test_loading import idx_bytes


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 7, 1)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for index in range(12):
        save(tmp_path / "images" / f"{index:02d}.png", size=(28, 28), mode="L", seed=index)
    return tmp_path / "images"


@pytest.fixture
def small_recipe():
    """The networks of mnist-minimal, trained for a few steps without XLA."""
    return dataclasses.replace(
        load_recipe("mnist-minimal"), steps=25, batch_size=8, preview_interval=10, jit=False
    )


def train(recipe, data, run):
    from ganport.trainer.devices import Devices, load_tensorflow

    load_tensorflow()
    import tensorflow as tf

    from ganport.trainer.callbacks import Callbacks
    from ganport.trainer.loop import run_training

    devices = Devices("CPU", tf.distribute.get_strategy())
    assert run_training(recipe, data, run, Callbacks([]), devices) is None


@pytest.mark.parametrize("sampling", ["replacement", "epochs"])
def test_folder_that_is_read_while_training_gives_the_weights_of_one_in_memory(
    tmp_path, folder, small_recipe, sampling
):
    recipe = dataclasses.replace(small_recipe, sampling=sampling)
    checkpoints = []
    for limit in (0, 100):
        run = RunFolder(tmp_path / f"run-{limit}")
        data = load_images(folder, data_memory=limit)
        assert isinstance(data.images, ImageFolder) == (limit == 0)
        start_run(run, recipe, data)
        train(recipe, data, run)
        with np.load(run.checkpoint_file(25)) as state:
            # The fingerprint of images that are not in memory is made in another way.
            checkpoints.append({name: state[name] for name in state.files if name != "run/data.json"})
    assert checkpoints[0].keys() == checkpoints[1].keys()
    for name, array in checkpoints[0].items():
        np.testing.assert_array_equal(array, checkpoints[1][name], err_msg=name)


def test_image_that_is_damaged_while_training_is_named(tmp_path, folder, small_recipe):
    data = load_images(folder, data_memory=0)
    run = RunFolder(tmp_path / "run")
    start_run(run, small_recipe, data)
    (folder / "05.png").write_bytes(b"not an image any more")
    with pytest.raises(DatasetContentError, match=r"05\.png"):
        train(small_recipe, data, run)


def test_resumed_run_prepares_its_images_in_the_same_way(tmp_path, folder, small_recipe):
    run = RunFolder(tmp_path / "run")
    data = load_images(folder, image_size=10, channels=3, data_memory=0)
    start_run(run, small_recipe, data)
    again = load_run_data(run)
    assert again.image_shape == (10, 10, 3)
    assert isinstance(again.images, ImageFolder)
    assert again.fingerprint() == data.fingerprint()
    save(folder / "12.png", size=(28, 28), mode="L")
    with pytest.raises(CheckpointError, match="not the ones that the run was started with"):
        load_run_data(run)


def test_resumed_run_finds_a_named_set_and_its_labels(tmp_path, pixels):
    """A resumed run loads its file by path. The names of the labels come from the record of the run."""
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    many = np.repeat(pixels, 5, axis=0)[:20]
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(many))
    labels = struct.pack(">2I", 0x801, 20) + bytes(range(10)) * 2
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    data = load_images("fashion-mnist", data_dir=tmp_path)
    assert next(iter(data.classes)) == "t-shirt"
    run = RunFolder(tmp_path / "run")
    start_run(run, load_recipe("fashion-conditional"), data)
    again = load_run_data(run)
    np.testing.assert_array_equal(again.labels, data.labels)
    assert again.classes == data.classes


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(5, np.int64), r"shape \(5,\), expected one for each of 6"),
        (np.zeros((6, 40), np.uint8), "shape"),
        (np.zeros(6, np.float32), "float32"),
        (np.array(list("abcdef")), "whole numbers"),
    ],
    ids=["too few", "too many", "float", "text"],
)
def test_labels_that_do_not_fit_are_an_error_for_conditional_recipes_only(tmp_path, pixels, labels, words):
    np.savez(tmp_path / "set.npz", images=pixels, y_train=labels)
    data = load_images(tmp_path / "set.npz")
    np.testing.assert_array_equal(data.images, pixels)
    assert data.labels is None
    assert not data.is_labelled
    assert re.search(words, data.unlabelled)
    recipe = dataclasses.replace(load_recipe("mnist-conditional"), batch_size=2)
    with pytest.raises(DatasetContentError, match=words):
        check_data_fits(recipe, data)
    check_data_fits(dataclasses.replace(recipe, labels=()), data)
