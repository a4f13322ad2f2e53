"""Held-out images: which they are, and that no kind of feed trains on them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ganport.datasets.errors import DatasetContentError
from ganport.datasets.loading import load_images
from ganport.trainer.feeds import open_feed
from ganport.trainer.held_out import count_held_out, split_images
from ganport.trainer.plan import check_data_fits
from ganport.trainer.recipes import RECIPES, load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run


@pytest.fixture(scope="module")
def recipe():
    return dataclasses.replace(load_recipe("images"), batch_size=8, image_shape=(8, 8, 3), labels=())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with 200 images of 8x8, each of one colour, which is its index."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(200):
        Image.fromarray(np.full((8, 8, 3), index, np.uint8)).save(folder / f"{index:03}.png")
    return folder


def test_every_image_is_in_one_part(recipe):
    split = split_images(recipe, 1_000)
    assert len(split.held_out) == 50
    assert sorted([*split.training, *split.held_out]) == list(range(1_000))


def test_held_out_images_do_not_depend_on_other_settings(recipe):
    other = dataclasses.replace(recipe, seed=7, steps=3, batch_size=4, sampling="epochs")
    for one, two in zip(
        dataclasses.astuple(split_images(recipe, 1_000)),
        dataclasses.astuple(split_images(other, 1_000)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("images", "count"), [(50, 0), (159, 0), (160, 16), (8_000, 400), (100_000, 500)])
def test_few_images_are_all_used(recipe, images, count):
    assert count_held_out(recipe, images) == count
    assert len(split_images(recipe, images).training) == images - count


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "images"])
def test_other_recipes_train_on_all_images(name):
    assert load_recipe(name).held_out_share == 0
    split = split_images(load_recipe(name), 1_000)
    np.testing.assert_array_equal(split.training, np.arange(1_000))
    assert len(split.held_out) == 0


@pytest.mark.parametrize("sampling", ["replacement", "epochs"])
@pytest.mark.parametrize("data_memory", [0, 100], ids=["streamed", "in memory"])
def test_no_feed_gives_a_held_out_image(recipe, photos, sampling, data_memory):
    recipe = dataclasses.replace(recipe, sampling=sampling, steps=200)
    data = load_images(photos, data_memory=data_memory)
    feed = open_feed(recipe, data, tf.distribute.get_strategy(), 0)
    seen = set()
    for first in range(0, 200, 50):
        images, rows, _ = feed.chunk(first, first + 50)
        used = tf.gather(images, rows[:50]).numpy()
        seen |= set(used[..., 0, 0, 0].ravel().tolist())
    assert seen == set(split_images(recipe, 200).training.tolist())


def test_labels_stay_those_of_their_images(recipe, photos):
    data = load_images(photos)
    labelled = dataclasses.replace(
        data, labels=np.arange(200, dtype=np.int32), classes={str(index): 1 for index in range(200)}
    )
    named = dataclasses.replace(recipe, labels=tuple(labelled.classes))
    images, rows, labels = open_feed(named, labelled, tf.distribute.get_strategy(), 0).chunk(0, 20)
    colours = tf.gather(images, rows[:20]).numpy()[..., 0, 0, 0]
    np.testing.assert_array_equal(colours, labels[:20])


def test_run_records_the_number_of_held_out_images(recipe, photos, tmp_path):
    run = RunFolder(tmp_path / "run")
    start_run(run, recipe, load_images(photos))
    assert run.read_data()["held_out"] == 16
    assert run.read_recipe().held_out_share == 0.05


def test_a_batch_needs_enough_images_that_are_not_held_out(recipe, photos):
    data = load_images(photos)
    check_data_fits(dataclasses.replace(recipe, batch_size=184), data)
    with pytest.raises(DatasetContentError, match="184 images are fewer than one batch of 185"):
        check_data_fits(dataclasses.replace(recipe, batch_size=185), data)
