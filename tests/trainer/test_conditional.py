"""Conditional training: which image has which label, and what is rejected."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ganport.datasets.errors import DatasetContentError
from ganport.runtime.latents import generator_inputs, sample_latents
from ganport.trainer.checkpoints import load_checkpoint
from ganport.trainer.errors import CheckpointError, RecipeError
from ganport.trainer.feeds import open_feed
from ganport.trainer.networks import build_networks
from ganport.trainer.plan import check_data_fits
from ganport.trainer.random_numbers import StepRandom
from ganport.trainer.recipe import Recipe
from ganport.trainer.recipes import load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import check_same_images
from ganport.trainer.step import Updates
from tests.conftest import failure

LABELS = ("left", "right")


@pytest.fixture
def halves(small_data):
    """Images of squares, whose label is the half of the image that contains the square."""
    left, right = small_data.images[..., :14, 0], small_data.images[..., 14:, 0]
    labels = (right.sum(axis=(1, 2)) > left.sum(axis=(1, 2))).astype(np.int32)
    classes = dict(zip(LABELS, np.bincount(labels).tolist(), strict=True))
    return dataclasses.replace(small_data, labels=labels, classes=classes)


@pytest.fixture
def recipe(small_recipe):
    conditional = load_recipe("mnist-conditional")
    return dataclasses.replace(conditional, steps=12, batch_size=8, preview_interval=4, labels=LABELS)


@pytest.mark.slow
def test_conditional_run_resumes_bit_identical(recipe, halves, run_on):
    run = run_on(recipe, halves)
    networks = build_networks(run.load_recipe())
    load_checkpoint(run, 12, networks)
    whole = networks.read()
    run.checkpoint_file(12).unlink()
    run_on(recipe, halves, resume=True)
    load_checkpoint(run, 12, networks)
    for name, value in networks.read().items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_step_sees_the_labels_of_its_images(recipe, halves):
    feed = open_feed(recipe, halves, tf.distribute.get_strategy(), 0)
    images, order, labels = (tensor.numpy() for tensor in feed.chunk(3, 5))
    np.testing.assert_array_equal(labels[:2], halves.labels[order[:2]])
    assert images.shape == halves.images.shape
    unconditional = open_feed(dataclasses.replace(recipe, labels=()), halves, tf.distribute.get_strategy(), 0)
    assert not unconditional.chunk(3, 5)[2].numpy().any()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (
            "small",
            r"its generator must return \(batch, 28, 28, 1\), the images; it returns \(batch, 14, 14, 1\)",
        ),
        ("two", r"its discriminator must return \(batch, 1\), a logit; it returns \(batch, 2\)"),
        ("sigmoid", "its discriminator ends in a sigmoid; the losses take logits"),
    ],
)
def test_networks_that_do_not_fit_are_rejected(recipe, mistake, words):
    ours = load_recipe("mnist-dcgan")

    def build_generator(latent_dim, image_shape):
        return ours.build_generator(latent_dim, (14, 14, 1) if mistake == "small" else image_shape)

    def build_discriminator(image_shape):
        model = ours.build_discriminator(image_shape, 2 if mistake == "two" else 1)
        if mistake == "sigmoid":
            model.add(keras.layers.Activation("sigmoid"))
        return model

    networks = {"build_generator": build_generator, "build_discriminator": build_discriminator}
    with pytest.raises(RecipeError, match=words):
        build_networks(dataclasses.replace(recipe, labels=(), **networks))


def test_image_has_the_logit_of_its_own_label(recipe):
    networks = build_networks(recipe)
    updates = Updates(recipe, networks, StepRandom(0, tf.constant(0), 3), tf.one_hot([0, 1, 1], 2))
    images = tf.random.stateless_uniform((3, 28, 28, 1), [1, 2])
    logits = networks.discriminator(images, training=True).numpy()
    np.testing.assert_allclose(
        updates.discriminate(images).numpy()[:, 0], logits[[0, 1, 2], [0, 1, 1]], rtol=1e-6
    )
    both = updates.discriminate(tf.concat([images, images], axis=0), copies=2).numpy()[:, 0]
    np.testing.assert_allclose(both, np.tile(logits[[0, 1, 2], [0, 1, 1]], 2), rtol=1e-4)


def test_inputs_are_latents_and_the_label_of_the_seed():
    seeds = np.array([0, 1, 5, 2**62])
    inputs = generator_inputs(seeds, 6, 3)
    np.testing.assert_array_equal(inputs[:, :6], sample_latents(seeds, 6))
    np.testing.assert_array_equal(inputs[:, 6:], np.eye(3)[[0, 1, 2, 2**62 % 3]])
    np.testing.assert_array_equal(generator_inputs(seeds, 6, 0), sample_latents(seeds, 6))


@pytest.mark.slow
def test_resume_with_other_labels_is_rejected(recipe, halves, run_on):
    run = run_on(dataclasses.replace(recipe, steps=1), halves)
    check_same_images(run, halves)
    for labels in (1 - halves.labels, None):
        with pytest.raises(CheckpointError, match="not the ones"):
            check_same_images(run, dataclasses.replace(halves, labels=labels))


def test_discriminator_without_a_logit_for_each_label_is_rejected(recipe):
    def build_one_logit(image_shape, classes=1):
        return load_recipe("mnist-conditional").build_discriminator(image_shape, 1)

    def build_without_classes(image_shape):
        return None

    cases = {
        "must take the number of labels": build_without_classes,
        r"must return \(batch, 2\)": build_one_logit,
    }
    for words, discriminator in cases.items():
        with pytest.raises(RecipeError, match=words):
            build_networks(dataclasses.replace(recipe, build_discriminator=discriminator))


def test_images_without_labels_are_rejected(recipe, small_data, halves):
    check_data_fits(recipe, halves)
    for data in (
        dataclasses.replace(small_data, labels=None),
        dataclasses.replace(halves, classes={"left": 50}),
    ):
        with pytest.raises(DatasetContentError, match="a sub-folder per label"):
            check_data_fits(recipe, data)


def test_settings_of_an_early_run_without_labels_are_read(recipe):
    document = dataclasses.replace(recipe, labels=()).to_dict()
    del document["labels"]
    assert Recipe.from_dict(document).labels == ()
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    for labels in (("one",), ("one", "one")):
        with pytest.raises(RecipeError, match="labels"):
            dataclasses.replace(recipe, labels=labels)


@pytest.mark.slow
@pytest.mark.parametrize("is_labelled", [True, False])
def test_default_recipe_is_conditional_if_the_images_have_labels(ganport, tmp_path, is_labelled):
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), np.uint8)
    labels = {"labels": np.arange(8) % 2} if is_labelled else {}
    np.savez(tmp_path / "pets.npz", images=images, **labels)
    result = ganport("train", "--data", "pets.npz", "--steps", "2", "--batch-size", "4", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert RunFolder(tmp_path / "runs" / "digits").read_recipe().labels == (("0", "1") if is_labelled else ())
    is_noted = "digits: trained without labels, since the images have none" in result.stderr
    assert is_noted is not is_labelled


def test_requested_recipe_is_not_changed(ganport, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "0.png")
    result = ganport("train", "digits", "--data", ".", "--steps", "2", cwd=tmp_path)
    assert "the recipe 'digits' needs labels, and the images have none" in failure(result)
