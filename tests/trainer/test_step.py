"""One training step, held against the same step written out by hand."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainer.networks import build_networks
from trainer.recipe import Optimizer
from trainer.recipes import load_recipe_module
from trainer.step import compile_chunk, draw_images, draw_latents, train_step

SGD = Optimizer(name="sgd", learning_rate=0.1)


@pytest.fixture
def setting(small_recipe, small_data):
    """A recipe with the dense networks (they have BatchNormalization) and plain SGD, and the images on the device."""
    recipe = dataclasses.replace(
        small_recipe, name="mnist-dense", generator_optimizer=SGD, discriminator_optimizer=SGD, r1_weight=0.0, jit=False
    )
    return recipe, load_recipe_module("mnist-dense"), tf.constant(small_data.images)


def bce(label, logits):
    """Binary cross-entropy from probabilities, as the descriptions have it."""
    probabilities = tf.sigmoid(logits)
    return -tf.reduce_mean(tf.math.log(probabilities if label else 1 - probabilities))


def descend(tape, cost, variables):
    for variable, gradient in zip(variables, tape.gradient(cost, variables), strict=True):
        variable.assign_sub(0.1 * gradient)


def assert_same_weights(model, expected):
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_joint_step_is_the_one_of_the_paper(setting):
    recipe, module, images = setting
    ours, hand = build_networks(recipe, module), build_networks(recipe, module)
    step = tf.constant(3)
    train_step(recipe, ours, images, step)

    real, latents = draw_images(images, recipe, step), draw_latents(recipe, step, 1)
    with tf.GradientTape() as tape:
        fake = hand.generator(latents, training=True)
        cost = bce(1, hand.discriminator(real)) + bce(0, hand.discriminator(fake))
    descend(tape, cost, hand.discriminator.trainable_variables)
    statistics = hand.generator.get_weights()  # of one pass; the second one below must not count
    with tf.GradientTape() as tape:
        cost = bce(1, hand.discriminator(hand.generator(latents, training=True)))
    trained_once = hand.generator
    trained_once.set_weights(statistics)
    descend(tape, cost, trained_once.trainable_variables)
    assert_same_weights(ours.discriminator, hand.discriminator)
    assert_same_weights(ours.generator, trained_once)


def test_separate_step_is_the_one_that_the_descriptions_write(setting):
    recipe, module, images = setting
    recipe = dataclasses.replace(recipe, schedule="separate", ema_decay=0.0)
    ours, hand = build_networks(recipe, module), build_networks(recipe, module)
    step = tf.constant(3)
    train_step(recipe, ours, images, step)

    real = draw_images(images, recipe, step)
    fake = hand.generator(draw_latents(recipe, step, 1), training=False)  # predict()
    for label, batch in ((1, real), (0, fake)):
        with tf.GradientTape() as tape:
            cost = bce(label, hand.discriminator(batch))
        descend(tape, cost, hand.discriminator.trainable_variables)
    with tf.GradientTape() as tape:
        cost = bce(1, hand.discriminator(hand.generator(draw_latents(recipe, step, 2), training=True)))
    descend(tape, cost, hand.generator.trainable_variables)
    assert_same_weights(ours.discriminator, hand.discriminator)
    assert_same_weights(ours.generator, hand.generator)


def test_r1_acts_on_the_steps_that_are_due(setting):
    recipe, module, images = setting
    penalised = dataclasses.replace(recipe, r1_weight=5.0, r1_interval=2)
    for step, due in ((4, True), (5, False)):
        plain, with_r1 = build_networks(recipe, module), build_networks(penalised, module)
        train_step(recipe, plain, images, tf.constant(step))
        train_step(penalised, with_r1, images, tf.constant(step))
        same = np.array_equal(plain.discriminator.get_weights()[0], with_r1.discriminator.get_weights()[0])
        assert same is not due


def test_draws_are_a_function_of_seed_step_and_purpose(setting):
    recipe, _, images = setting
    other = dataclasses.replace(recipe, seed=1)
    first = draw_latents(recipe, tf.constant(3), 1).numpy()
    np.testing.assert_array_equal(first, draw_latents(recipe, tf.constant(3), 1).numpy())
    for latents in (
        draw_latents(recipe, tf.constant(4), 1),
        draw_latents(recipe, tf.constant(3), 2),
        draw_latents(other, tf.constant(3), 1),
    ):
        assert not np.array_equal(first, latents.numpy())
    real = draw_images(images, recipe, tf.constant(3)).numpy()
    assert (real.min(), real.max()) == (-1, 1)


@pytest.mark.parametrize(("name", "jit"), [("mnist-dense", True), ("mnist-dense", False), ("mnist-minimal", True)])
def test_chunks_of_any_length_give_the_same_bits(small_recipe, small_data, name, jit):
    recipe = dataclasses.replace(small_recipe, name=name, jit=jit)
    module, images = load_recipe_module(name), tf.constant(small_data.images)
    endings = []
    for cuts in ([0, 6], [0, 1, 4, 6]):
        networks = build_networks(recipe, module)
        chunk = compile_chunk(recipe, networks)
        for first, last in itertools.pairwise(cuts):
            metrics = chunk(images, tf.constant(first), tf.constant(last - first))
        endings.append({variable_name: np.asarray(variable.value) for variable_name, variable in networks.variables()})
        assert np.isfinite(metrics.numpy()).all()
    for variable_name, value in endings[0].items():
        np.testing.assert_array_equal(value, endings[1][variable_name], err_msg=variable_name)


def test_the_dataset_is_used_from_end_to_end(setting):
    recipe, _, _ = setting
    big = dataclasses.replace(recipe, batch_size=2000)
    positions = tf.reshape(tf.range(50, dtype=tf.int32), (50, 1, 1, 1))
    drawn = draw_images(positions, big, tf.constant(0)).numpy()
    assert len(np.unique(drawn)) == 50
