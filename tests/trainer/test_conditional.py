"""Classes on demand, in training: who sees which class, and that nothing of the rest has changed."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ganport.runtime.errors import CheckpointError, DatasetContentError, RecipeError
from ganport.runtime.latents import generator_inputs, latents_of
from ganport.trainer.checkpoints import load_checkpoint
from ganport.trainer.draws import Draws
from ganport.trainer.feeds import open_feed
from ganport.trainer.networks import build_networks
from ganport.trainer.recipe import Recipe
from ganport.trainer.recipes import load_recipe_module
from ganport.trainer.runs import Run, check_images, check_same_images
from ganport.trainer.step import Game
from tests.conftest import failure

LABELS = ("left", "right")


@pytest.fixture
def halves(small_data):
    """Squares, by the side that they are on."""
    on_the_right = small_data.images[..., 14:, 0].sum(axis=(1, 2)) > small_data.images[..., :14, 0].sum(axis=(1, 2))
    labels = on_the_right.astype(np.int32)
    classes = dict(zip(LABELS, np.bincount(labels).tolist(), strict=True))
    return dataclasses.replace(small_data, labels=labels, classes=classes)


@pytest.fixture
def recipe(small_recipe):
    conditional = load_recipe_module("mnist-conditional").RECIPE
    return dataclasses.replace(conditional, steps=12, batch_size=8, preview_interval=4, labels=LABELS)


def test_conditional_run_resumes_bit_identical(recipe, halves, run_on):
    run = run_on(recipe, halves)
    networks = build_networks(recipe, run.load_module())
    load_checkpoint(run, 12, networks)
    whole = networks.read()
    run.checkpoint_file(12).unlink()
    run_on(recipe, halves, resume=True)
    load_checkpoint(run, 12, networks)
    for name, value in networks.read().items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_step_sees_the_classes_of_its_images(recipe, halves):
    feed = open_feed(recipe, halves, tf.distribute.get_strategy(), 0)
    pictures, order, classes = (tensor.numpy() for tensor in feed.chunk(3, 5))
    np.testing.assert_array_equal(classes[:2], halves.labels[order[:2]])
    assert pictures.shape == halves.images.shape
    plain = open_feed(dataclasses.replace(recipe, labels=()), halves, tf.distribute.get_strategy(), 0)
    assert not plain.chunk(3, 5)[2].numpy().any()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("small", r"its generator must give \(batch, 28, 28, 1\), the images; it gives \(batch, 14, 14, 1\)"),
        ("two", r"its discriminator must give \(batch, 1\), a logit; it gives \(batch, 2\)"),
        ("sigmoid", "its discriminator ends in a sigmoid; the losses take logits"),
    ],
)
def test_networks_that_do_not_fit_are_refused(recipe, mistake, words):
    ours = load_recipe_module("mnist-dcgan")

    def build_generator(latent_dim, image_shape):
        return ours.build_generator(latent_dim, (14, 14, 1) if mistake == "small" else image_shape)

    def build_discriminator(image_shape):
        model = ours.build_discriminator(image_shape, 2 if mistake == "two" else 1)
        if mistake == "sigmoid":
            model.add(keras.layers.Activation("sigmoid"))
        return model

    module = types.SimpleNamespace(build_generator=build_generator, build_discriminator=build_discriminator)
    with pytest.raises(RecipeError, match=words):
        build_networks(dataclasses.replace(recipe, labels=()), module)


def test_image_is_judged_by_the_logit_of_its_own_class(recipe):
    networks = build_networks(recipe, load_recipe_module("mnist-conditional"))
    asked = tf.one_hot([0, 1, 1], 2)
    game = Game(recipe, networks, Draws(0, tf.constant(0), 3), asked)
    images = tf.random.stateless_uniform((3, 28, 28, 1), [1, 2])
    logits = networks.discriminator(images, training=True).numpy()
    np.testing.assert_allclose(game.judge(images).numpy()[:, 0], logits[[0, 1, 2], [0, 1, 1]], rtol=1e-6)
    both = game.judge(tf.concat([images, images], axis=0), copies=2).numpy()[:, 0]
    np.testing.assert_allclose(both, np.tile(logits[[0, 1, 2], [0, 1, 1]], 2), rtol=1e-4)


def test_inputs_are_latents_and_the_class_of_the_seed():
    seeds = np.array([0, 1, 5, 2**62])
    inputs = generator_inputs(seeds, 6, 3)
    np.testing.assert_array_equal(inputs[:, :6], latents_of(seeds, 6))
    np.testing.assert_array_equal(inputs[:, 6:], np.eye(3)[[0, 1, 2, 2**62 % 3]])
    np.testing.assert_array_equal(generator_inputs(seeds, 6, 0), latents_of(seeds, 6))


def test_resume_with_other_classes_is_refused(recipe, halves, run_on):
    run = run_on(dataclasses.replace(recipe, steps=1), halves)
    check_same_images(run, halves)
    for labels in (1 - halves.labels, None):
        with pytest.raises(CheckpointError, match="not the ones"):
            check_same_images(run, dataclasses.replace(halves, labels=labels))


def test_discriminator_without_a_logit_for_each_class_is_refused(recipe):
    ours = load_recipe_module("mnist-conditional")

    def build(image_shape, classes=1):
        return ours.build_discriminator(image_shape, 1)

    for discriminator, words in ((lambda image_shape: None, "must take their number"), (build, r"must give \(batch, 2\)")):
        module = types.SimpleNamespace(build_generator=ours.build_generator, build_discriminator=discriminator)
        with pytest.raises(RecipeError, match=words):
            build_networks(recipe, module)


def test_images_without_classes_are_refused(recipe, small_data, halves):
    check_images(recipe, halves)
    for data in (dataclasses.replace(small_data, labels=None), dataclasses.replace(halves, classes={"left": 50})):
        with pytest.raises(DatasetContentError, match="a sub-folder per class"):
            check_images(recipe, data)


def test_recipe_of_before_there_were_classes_is_read(recipe):
    document = dataclasses.replace(recipe, labels=()).to_dict()
    del document["labels"]
    assert Recipe.from_dict(document).labels == ()
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    for labels in (("one",), ("one", "one")):
        with pytest.raises(RecipeError, match="labels"):
            dataclasses.replace(recipe, labels=labels)


@pytest.mark.parametrize(("folders", "labels"), [(("cats", "dogs"), ("cats", "dogs")), (("pets",), ())])
def test_the_default_recipe_draws_classes_where_the_pictures_have_some(ganport, tmp_path, folders, labels):
    for index in range(8):
        picture = tmp_path / "pictures" / folders[index % len(folders)] / f"{index}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 30 * index, np.uint8)).save(picture)
    arguments = ("--data", "pictures", "--steps", "2", "--batch-size", "4")
    result = ganport("train", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert Run(tmp_path / "runs" / "digits").read_recipe().labels == labels
    assert ("digits: draws no classes on demand, since the images have none" in result.stderr) is not bool(labels)


def test_a_recipe_that_was_asked_for_is_not_changed(ganport, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "0.png")
    result = ganport("train", "digits", "--data", ".", "--steps", "2", cwd=tmp_path)
    assert "the recipe draws classes on demand, and the images have none" in failure(result)
