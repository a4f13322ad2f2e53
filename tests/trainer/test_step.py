"""One training step, compared with the same step written out by hand."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from ganport.trainer.networks import build_networks
from ganport.trainer.random_numbers import Purpose, StepRandom, image_order
from ganport.trainer.recipe import Optimizer
from ganport.trainer.recipes import load_recipe
from ganport.trainer.step import CHUNK_STEPS, compile_chunk, train_step

SGD = Optimizer(name="sgd", learning_rate=0.1)


@pytest.fixture
def setting(small_recipe, small_data):
    """A recipe with dense networks, which have BatchNormalization, and plain SGD; images on the device."""
    recipe = dataclasses.replace(
        with_networks_of(small_recipe, "mnist-dense"),
        generator_optimizer=SGD,
        discriminator_optimizer=SGD,
        r1_weight=0.0,
        jit=False,
    )
    return recipe, tf.constant(small_data.images)


def with_networks_of(recipe, name):
    ours = load_recipe(name)
    networks = {"build_generator": ours.build_generator, "build_discriminator": ours.build_discriminator}
    return dataclasses.replace(recipe, name=name, **networks)


def bce(label, logits):
    """Return the binary cross-entropy from probabilities, as the descriptions write it."""
    probabilities = tf.sigmoid(logits)
    return -tf.reduce_mean(tf.math.log(probabilities if label else 1 - probabilities))


def step_of(recipe, images, step):
    """Return the arguments of `train_step` for a step: the real images and the random numbers."""
    (indices,) = image_order(recipe, len(images), step, step + 1)
    return tf.gather(images, indices), StepRandom(recipe.seed, tf.constant(step), recipe.batch_size)


def make_step(recipe, networks, images, step):
    return train_step(recipe, networks, *step_of(recipe, images, step), images=len(images))


def pixels(real):
    return tf.cast(real, tf.float32) / 127.5 - 1


def descend(tape, cost, variables):
    for variable, gradient in zip(variables, tape.gradient(cost, variables), strict=True):
        variable.assign_sub(0.1 * gradient)


def assert_same_weights(model, expected):
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_joint_step_is_that_of_the_paper(setting):
    recipe, images = setting
    ours, hand = build_networks(recipe), build_networks(recipe)
    make_step(recipe, ours, images, 3)

    real, rng = step_of(recipe, images, 3)
    real, latents = pixels(real), rng.normal(Purpose.LATENTS, recipe.latent_dim)
    with tf.GradientTape() as tape:
        fake = hand.generator(latents, training=True)
        cost = bce(1, hand.discriminator(real)) + bce(0, hand.discriminator(fake))
    descend(tape, cost, hand.discriminator.trainable_variables)
    statistics = hand.generator.get_weights()  # statistics after one pass, without the second pass below
    with tf.GradientTape() as tape:
        cost = bce(1, hand.discriminator(hand.generator(latents, training=True)))
    trained_once = hand.generator
    trained_once.set_weights(statistics)
    descend(tape, cost, trained_once.trainable_variables)
    assert_same_weights(ours.discriminator, hand.discriminator)
    assert_same_weights(ours.generator, trained_once)


def test_separate_step_is_that_of_the_descriptions(setting):
    recipe, images = setting
    recipe = dataclasses.replace(recipe, schedule="separate", ema_decay=0.0)
    ours, hand = build_networks(recipe), build_networks(recipe)
    make_step(recipe, ours, images, 3)

    real, rng = step_of(recipe, images, 3)
    real = pixels(real)
    fake = hand.generator(rng.normal(Purpose.LATENTS, recipe.latent_dim), training=False)  # predict()
    for label, batch in ((1, real), (0, fake)):
        with tf.GradientTape() as tape:
            cost = bce(label, hand.discriminator(batch))
        descend(tape, cost, hand.discriminator.trainable_variables)
    with tf.GradientTape() as tape:
        latents = rng.normal(Purpose.GENERATOR_LATENTS, recipe.latent_dim)
        cost = bce(1, hand.discriminator(hand.generator(latents, training=True)))
    descend(tape, cost, hand.generator.trainable_variables)
    assert_same_weights(ours.discriminator, hand.discriminator)
    assert_same_weights(ours.generator, hand.generator)


@pytest.mark.parametrize("penalty", ["r1_weight", "gradient_penalty_weight"])
def test_penalty_is_applied_every_penalty_interval_steps(setting, penalty):
    recipe, images = setting
    penalized = dataclasses.replace(recipe, **{penalty: 5.0}, penalty_interval=2)
    for step, is_penalized in ((4, True), (5, False)):
        plain, with_penalty = build_networks(recipe), build_networks(penalized)
        make_step(recipe, plain, images, step)
        make_step(penalized, with_penalty, images, step)
        first, second = (each.discriminator.get_weights()[0] for each in (plain, with_penalty))
        assert np.array_equal(first, second) is not is_penalized


@pytest.mark.parametrize(
    ("schedule", "penalty", "factor"),
    [
        ("joint", "r1_weight", 0.5),
        ("stacked", "r1_weight", 0.5),
        ("simultaneous", "gradient_penalty_weight", 1.0),
    ],
)
def test_penalty_has_the_weight_of_the_paper(setting, schedule, penalty, factor):
    """gamma / 2 E|dD/dx|^2 (Mescheder et al.), lambda E(|dD/dx| - 1)^2 (Gulrajani et al.)."""
    recipe, images = setting
    recipe = dataclasses.replace(recipe, schedule=schedule, ema_decay=0.0)
    gamma, interval = 0.5, 4
    penalized = dataclasses.replace(recipe, **{penalty: gamma}, penalty_interval=interval)
    plain, with_penalty = build_networks(recipe), build_networks(penalized)
    hand = build_networks(recipe)
    make_step(recipe, plain, images, 4)
    make_step(penalized, with_penalty, images, 4)

    real, rng = step_of(recipe, images, 4)
    real = pixels(real)
    fake = hand.generator(rng.normal(Purpose.LATENTS, recipe.latent_dim), training=True)
    mix = rng.uniform(Purpose.MIX, 1)
    points = real if penalty == "r1_weight" else fake + tf.reshape(mix, (-1, 1, 1, 1)) * (real - fake)
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(points)
            logits = tf.reduce_sum(hand.discriminator(points, training=True))
        squares = tf.reduce_sum(tf.square(inner.gradient(logits, points)), axis=(1, 2, 3))
        values = squares if penalty == "r1_weight" else tf.square(tf.sqrt(squares) - 1)
        cost = factor * gamma * interval * tf.reduce_mean(values)
    variables = hand.discriminator.trainable_variables
    expected = tape.gradient(cost, variables)
    compared = 0
    both = (each.discriminator.trainable_variables for each in (plain, with_penalty))
    for without, penalized_weight, gradient in zip(*both, expected, strict=True):
        if gradient is not None and np.abs(gradient).max() > 1e-4:
            found, tolerance = (without - penalized_weight).numpy() / 0.1, 0.02 * np.abs(gradient).max()
            np.testing.assert_allclose(found, gradient, rtol=0.02, atol=tolerance)
            compared += 1
    assert compared


@pytest.mark.parametrize("schedule", ["joint", "simultaneous", "stacked", "separate", "alternating"])
def test_rates_that_decay_reach_zero_with_the_last_step(setting, schedule):
    recipe, images = setting
    decaying = dataclasses.replace(recipe.generator_optimizer, decay="cosine")
    recipe = dataclasses.replace(
        recipe,
        schedule=schedule,
        penalty_interval=1,
        steps=26 if schedule == "alternating" else 6,
        generator_optimizer=decaying,
        discriminator_optimizer=decaying,
    )
    networks = build_networks(recipe, images=len(images))
    optimizers = networks.generator_optimizer, networks.discriminator_optimizer
    first = [float(each.learning_rate) for each in optimizers]
    for step in range(recipe.steps):
        if step == recipe.steps // 2:
            middle = [float(each.learning_rate) for each in optimizers]
        make_step(recipe, networks, images, step)
    for each, start, halfway in zip(optimizers, first, middle, strict=True):
        assert 0.2 * start < halfway < 0.8 * start
        assert float(each.learning_rate) == pytest.approx(0, abs=1e-6)


def compare_by_hand(setting, schedule, update, loss="non-saturating"):
    """Make one step of a schedule, and the same step by `update`. Both must end with the same weights."""
    recipe, images = setting
    recipe = dataclasses.replace(recipe, schedule=schedule, loss=loss, ema_decay=0.0)
    ours, hand = build_networks(recipe), build_networks(recipe)
    make_step(recipe, ours, images, 3)
    real, rng = step_of(recipe, images, 3)

    def latents(purpose):
        return rng.normal(purpose, recipe.latent_dim)

    update(hand.generator, hand.discriminator, pixels(real), latents)
    assert_same_weights(ours.discriminator, hand.discriminator)
    assert_same_weights(ours.generator, hand.generator)


def test_simultaneous_step_has_the_gradients_before_the_step(setting):
    def update(generator, discriminator, real, latents):
        with tf.GradientTape(persistent=True) as tape:
            fake = generator(latents(Purpose.LATENTS), training=True)
            d_cost = bce(1, discriminator(real)) + bce(0, discriminator(fake))
            g_cost = bce(1, discriminator(fake))
        d_gradients = tape.gradient(d_cost, discriminator.trainable_variables)
        descend(tape, g_cost, generator.trainable_variables)
        for variable, gradient in zip(discriminator.trainable_variables, d_gradients, strict=True):
            variable.assign_sub(0.1 * gradient)

    compare_by_hand(setting, "simultaneous", update)


def test_stacked_step_takes_the_mean_over_one_batch_of_both(setting):
    def update(generator, discriminator, real, latents):
        fake = generator(latents(Purpose.LATENTS), training=False)
        labels = np.repeat([1.0, 0.0], len(real))[:, np.newaxis]
        with tf.GradientTape() as tape:
            probabilities = tf.sigmoid(discriminator(tf.concat([real, fake], 0)))
            cost = tf.keras.losses.BinaryCrossentropy()(labels, probabilities)
        descend(tape, cost, discriminator.trainable_variables)
        with tf.GradientTape() as tape:
            cost = bce(1, discriminator(generator(latents(Purpose.GENERATOR_LATENTS), training=True)))
        descend(tape, cost, generator.trainable_variables)

    compare_by_hand(setting, "stacked", update)


def relativistic_joint(generator, discriminator, real, latents):
    with tf.GradientTape() as outer:
        fake = generator(latents(Purpose.LATENTS), training=True)
        with outer.stop_recording():
            with tf.GradientTape() as tape:
                real_logits = discriminator(real)
                cost = bce(1, real_logits - discriminator(fake))
            descend(tape, cost, discriminator.trainable_variables)
        cost = bce(1, discriminator(fake) - real_logits)
    descend(outer, cost, generator.trainable_variables)


def relativistic_simultaneous(generator, discriminator, real, latents):
    with tf.GradientTape(persistent=True) as tape:
        fake = generator(latents(Purpose.LATENTS), training=True)
        real_logits, fake_logits = discriminator(real), discriminator(fake)
        d_cost, g_cost = bce(1, real_logits - fake_logits), bce(1, fake_logits - real_logits)
    d_gradients = tape.gradient(d_cost, discriminator.trainable_variables)
    descend(tape, g_cost, generator.trainable_variables)
    for variable, gradient in zip(discriminator.trainable_variables, d_gradients, strict=True):
        variable.assign_sub(0.1 * gradient)


def relativistic_stacked(generator, discriminator, real, latents):
    fake = generator(latents(Purpose.LATENTS), training=False)
    with tf.GradientTape() as tape:
        real_logits = discriminator(real)
        cost = bce(1, real_logits - discriminator(fake)) / 2  # the stacked schedule halves the cost
    descend(tape, cost, discriminator.trainable_variables)
    with tf.GradientTape() as tape:
        fake = generator(latents(Purpose.GENERATOR_LATENTS), training=True)
        cost = bce(1, discriminator(fake) - real_logits)
    descend(tape, cost, generator.trainable_variables)


@pytest.mark.parametrize(
    ("schedule", "update"),
    [
        ("joint", relativistic_joint),
        ("simultaneous", relativistic_simultaneous),
        ("stacked", relativistic_stacked),
    ],
)
def test_relativistic_step_compares_each_generated_image_with_a_real_one(setting, schedule, update):
    compare_by_hand(setting, schedule, update, loss="relativistic")


def test_alternating_epochs_update_one_network_at_a_time(setting):
    """Fifty images in batches of eight: seven updates of the generator, then six of the discriminator."""
    recipe, images = setting
    recipe = dataclasses.replace(recipe, schedule="alternating", penalty_interval=1, ema_decay=0.0)
    networks, moved = build_networks(recipe), []
    for step in range(15):
        before = first_weights(networks)
        make_step(recipe, networks, images, step)
        after = first_weights(networks)
        changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
        assert sum(changed) == 1
        moved.append("GD"[changed.index(True)])
    assert "".join(moved) == "GGGGGGGDDDDDDGG"


def first_weights(networks):
    return [model.trainable_variables[0].numpy() for model in (networks.generator, networks.discriminator)]


@pytest.mark.parametrize(
    ("name", "jit"),
    [
        pytest.param("mnist-dense", True, marks=pytest.mark.slow),
        pytest.param("mnist-minimal", True, marks=pytest.mark.slow),
        ("mnist-minimal", False),
        pytest.param("mnist-dropout", False, marks=pytest.mark.slow),
    ],
)
def test_chunks_of_any_length_give_the_same_bits(small_recipe, small_data, name, jit):
    recipe = dataclasses.replace(with_networks_of(small_recipe, name), jit=jit)
    images = tf.constant(small_data.images)
    endings = []
    for cuts in ([0, 6], [0, 1, 4, 6]):
        networks = build_networks(recipe)
        chunk = compile_chunk(recipe, networks, len(images), tf.distribute.get_strategy())
        for first, last in itertools.pairwise(cuts):
            order = np.zeros((CHUNK_STEPS, recipe.batch_size), np.int32)
            order[: last - first] = image_order(recipe, len(images), first, last)
            span = tf.constant(first), tf.constant(last - first)
            metrics = chunk(images, tf.constant(order), tf.zeros_like(order), *span)
        endings.append(networks.read())
        assert np.isfinite(metrics.numpy()).all()
    for variable_name, value in endings[0].items():
        np.testing.assert_array_equal(value, endings[1][variable_name], err_msg=variable_name)


def test_random_layers_start_from_the_step_not_from_their_last_state(setting):
    """The same step is made twice from the same weights. Dropout must drop the same values."""
    recipe, images = setting
    recipe = with_networks_of(recipe, "mnist-dropout")
    endings = []
    for history in ([3], [5, 4, 3]):
        networks = build_networks(recipe)
        start = networks.read()
        for step in history:
            for name, variable in networks.variables():
                variable.assign(start[name])
            make_step(recipe, networks, images, step)
        endings.append(networks.discriminator.get_weights())
    for a, b in zip(*endings, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_keeps_float32_weights_and_average(setting):
    recipe, images = setting
    recipe = dataclasses.replace(recipe, mixed_precision=True)
    networks = build_networks(recipe)
    assert networks.generator.layers[0].compute_dtype == "bfloat16"
    assert {variable.dtype for _, variable in networks.variables()} <= {"float32", "int32", "int64"}
    assert networks.average.layers[0].compute_dtype == "float32"
    assert np.isfinite(make_step(recipe, networks, images, 3).numpy()).all()
