"""The reference training loops, as published in the descriptions."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from ganport.trainer.recipe import Optimizer, Recipe
from ganport.trainer.recipes import load_recipe

Steps = Callable[[int], None]


def build(recipe: Recipe, images: np.ndarray) -> Steps:
    """Return the published training loop of a recipe: a function that runs a number of steps."""
    if recipe.schedule == "simultaneous":
        return _tape_loop(recipe, images)
    return _batch_loop(recipe, images)


def _optimizer(settings: Optimizer) -> keras.Optimizer:
    if settings.name == "sgd":
        return keras.optimizers.SGD(settings.learning_rate)
    return keras.optimizers.Adam(settings.learning_rate, settings.beta_1, settings.beta_2)


def _batch_loop(recipe: Recipe, images: np.ndarray) -> Steps:
    """Return the training loop of systems 000, 002 and 003.

    In each step `predict` generates fake images, `train_on_batch` trains the discriminator on real and on
    fake images, and then `train_on_batch` of the stacked networks trains the generator.
    """
    ours = load_recipe(recipe.name)
    generator = ours.build_generator(recipe.latent_dim, recipe.image_shape)
    core = ours.build_discriminator(recipe.image_shape)
    discriminator = keras.Sequential([core, keras.layers.Activation("sigmoid")])
    discriminator.compile(
        loss="binary_crossentropy", optimizer=_optimizer(recipe.discriminator_optimizer), metrics=["accuracy"]
    )
    stacked = keras.Sequential([keras.Input((recipe.latent_dim,)), generator, discriminator])
    stacked.compile(loss="binary_crossentropy", optimizer=_optimizer(recipe.generator_optimizer))
    floats = images / np.float32(127.5) - 1
    size = recipe.batch_size
    real, fake = np.ones((size, 1)), np.zeros((size, 1))

    def run(steps: int) -> None:
        for _ in range(steps):
            batch = floats[np.random.randint(0, len(floats), size)]
            fakes = generator.predict(np.random.normal(0, 1, (size, recipe.latent_dim)), verbose=0)
            if recipe.schedule == "stacked":
                discriminator.train_on_batch(np.concatenate([batch, fakes]), np.concatenate([real, fake]))
            else:
                discriminator.train_on_batch(batch, real)
                discriminator.train_on_batch(fakes, fake)
            stacked.train_on_batch(np.random.normal(0, 1, (size, recipe.latent_dim)), real)

    # Keras 3 decides which weights are trainable when it traces a train function. The descriptions freeze the
    # discriminator before the first step, so Keras 3 would never train it. Here the train function of the
    # discriminator is traced first, then the discriminator is frozen, and then the train function of the
    # stacked networks is traced.
    discriminator.train_on_batch(floats[:size], real)
    discriminator.trainable = False
    before = [weight.numpy().copy() for weight in core.weights]
    stacked.train_on_batch(np.zeros((size, recipe.latent_dim)), real)
    is_unchanged = all(np.array_equal(a, b) for a, b in zip(before, core.weights, strict=True))
    assert is_unchanged, "the stack trained the discriminator"
    discriminator.train_on_batch(floats[:size], real)
    assert not np.array_equal(before[0], core.weights[0]), "the discriminator is not trained"
    return run


def _tape_loop(recipe: Recipe, images: np.ndarray) -> Steps:
    """Return the training loop of systems 001 and 004.

    A tf.data pipeline shuffles the images. One `tf.function` with two gradient tapes trains both networks.
    """
    ours = load_recipe(recipe.name)
    generator = ours.build_generator(recipe.latent_dim, recipe.image_shape)
    core = ours.build_discriminator(recipe.image_shape)
    discriminator = keras.Sequential([core, keras.layers.Activation("sigmoid")])
    entropy = keras.losses.BinaryCrossentropy()
    g_optimizer = _optimizer(recipe.generator_optimizer)
    d_optimizer = _optimizer(recipe.discriminator_optimizer)
    floats = (images.astype("float32") - 127.5) / 127.5
    shuffled = tf.data.Dataset.from_tensor_slices(floats).shuffle(len(floats))
    batches = iter(shuffled.batch(recipe.batch_size, drop_remainder=True).repeat())

    @tf.function
    def train_step(real: tf.Tensor) -> None:
        noise = tf.random.normal([recipe.batch_size, recipe.latent_dim])
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            fakes = generator(noise, training=True)
            real_output, fake_output = discriminator(real, training=True), discriminator(fakes, training=True)
            g_loss = entropy(tf.ones_like(fake_output), fake_output)
            d_loss_real = entropy(tf.ones_like(real_output), real_output)
            d_loss = d_loss_real + entropy(tf.zeros_like(fake_output), fake_output)
        g_gradients = g_tape.gradient(g_loss, generator.trainable_variables)
        d_gradients = d_tape.gradient(d_loss, discriminator.trainable_variables)
        g_optimizer.apply_gradients(zip(g_gradients, generator.trainable_variables, strict=True))
        d_optimizer.apply_gradients(zip(d_gradients, discriminator.trainable_variables, strict=True))

    def run(steps: int) -> None:
        for _ in range(steps):
            train_step(next(batches))

    return run
