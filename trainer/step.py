"""One training step: the maths, testable alone, and the same whether called once or compiled into a chunk of many.

All randomness is a function of (seed, step, purpose); nothing is drawn from hidden state. So a step can be repeated, and a
resumed run ends as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import tensorflow as tf

from .ema import update_average
from .losses import fake_loss, generator_loss, r1_penalty, real_loss
from .networks import Networks
from .recipe import Recipe

METRICS = ("d_loss", "g_loss", "d_accuracy")

# What a random draw is for; part of its key.
_IMAGES, _LATENTS, _GENERATOR_LATENTS = range(3)

Chunk = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def compile_chunk(recipe: Recipe, networks: Networks) -> Chunk:
    """Return a function that makes many steps in one call.

    It takes the images, uint8 (n, height, width, channels), the first step and the number of steps, both int32 scalars, and
    returns the mean of METRICS over these steps, float32 (3,). The number of steps is data, not part of the program: chunks of
    any length run the same compiled code, and so give the same bits; one of length 0 compiles it, and its means are NaN.
    """

    def chunk(images: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor, totals: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return step + 1, totals + train_step(recipe, networks, images, step)

        _, totals = tf.while_loop(lambda step, _: step < first + count, body, (first, tf.zeros(len(METRICS))))
        return totals / tf.cast(count, tf.float32)

    return cast(Chunk, tf.function(chunk, jit_compile=recipe.jit, autograph=False))


def train_step(recipe: Recipe, networks: Networks, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Update both networks and the average once; return METRICS, float32 (3,).

    d_loss is the mean of the costs of real and of fake images, without the penalty; d_accuracy is the share of both that the
    discriminator told apart.
    """
    real = draw_images(images, recipe, step)  # (batch, height, width, channels)
    update = _separate_update if recipe.schedule == "separate" else _joint_update
    real_logits, fake_logits, g_loss = update(recipe, networks, real, step)
    if recipe.ema_decay:
        update_average(networks.average, networks.generator, recipe.ema_decay, step)
    d_loss = (real_loss(real_logits) + fake_loss(fake_logits)) / 2
    hits = tf.concat([real_logits > 0, fake_logits < 0], axis=0)
    return tf.stack([d_loss, g_loss, tf.reduce_mean(tf.cast(hits, tf.float32))])


def draw_images(images: tf.Tensor, recipe: Recipe, step: tf.Tensor) -> tf.Tensor:
    """Return a batch, drawn with replacement, in [-1, 1]."""
    chosen = tf.random.stateless_uniform(
        [recipe.batch_size], _key(recipe, step, _IMAGES), maxval=tf.shape(images)[0], dtype=tf.int32
    )
    return tf.cast(tf.gather(images, chosen), tf.float32) / 127.5 - 1.0


def draw_latents(recipe: Recipe, step: tf.Tensor, purpose: int) -> tf.Tensor:
    """Return standard normal latents, float32 (batch, latent_dim)."""
    return tf.random.stateless_normal([recipe.batch_size, recipe.latent_dim], _key(recipe, step, purpose))


def _key(recipe: Recipe, step: tf.Tensor, purpose: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(tf.stack([tf.constant(recipe.seed), step]), purpose)


def _joint_update(
    recipe: Recipe, networks: Networks, real: tf.Tensor, step: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    generator, discriminator = networks.generator, networks.discriminator
    with tf.GradientTape() as generator_tape:
        fake = generator(draw_latents(recipe, step, _LATENTS), training=True)

        with generator_tape.stop_recording(), tf.GradientTape() as discriminator_tape:
            logits = discriminator(tf.concat([real, fake], axis=0), training=True)
            real_logits, fake_logits = tf.split(logits, 2)
            cost = real_loss(real_logits) + fake_loss(fake_logits)
        with generator_tape.stop_recording():
            gradients = discriminator_tape.gradient(cost, discriminator.trainable_variables)
            gradients = _add_r1_gradients(recipe, networks, real, step, gradients)
            networks.discriminator_optimizer.apply(gradients, discriminator.trainable_variables)

        # The generator answers the discriminator that has just learned; its images are still the ones drawn above.
        g_loss = generator_loss(discriminator(fake, training=True))
    gradients = generator_tape.gradient(g_loss, generator.trainable_variables)
    networks.generator_optimizer.apply(gradients, generator.trainable_variables)
    return real_logits, fake_logits, g_loss


def _add_r1_gradients(
    recipe: Recipe, networks: Networks, real: tf.Tensor, step: tf.Tensor, gradients: list[tf.Tensor]
) -> list[tf.Tensor]:
    """Add the gradients of the R1 penalty on the steps that are due, scaled up for those that are not."""
    if not recipe.r1_weight:
        return gradients
    weight = recipe.r1_weight / 2 * recipe.r1_interval

    def penalised() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            penalty = weight * r1_penalty(networks.discriminator, real)
        # The last bias has no part in dD/dx, so its gradient is None.
        extra = tape.gradient(penalty, networks.discriminator.trainable_variables)
        return [gradient if e is None else gradient + e for gradient, e in zip(gradients, extra, strict=True)]

    return tf.cond(step % recipe.r1_interval == 0, penalised, lambda: gradients)


def _separate_update(
    recipe: Recipe, networks: Networks, real: tf.Tensor, step: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    generator, discriminator = networks.generator, networks.discriminator
    fake = generator(draw_latents(recipe, step, _LATENTS), training=False)

    with tf.GradientTape() as tape:
        real_logits = discriminator(real, training=True)
        cost = real_loss(real_logits)
    gradients = tape.gradient(cost, discriminator.trainable_variables)
    networks.discriminator_optimizer.apply(gradients, discriminator.trainable_variables)

    with tf.GradientTape() as tape:
        fake_logits = discriminator(fake, training=True)
        cost = fake_loss(fake_logits)
    gradients = tape.gradient(cost, discriminator.trainable_variables)
    networks.discriminator_optimizer.apply(gradients, discriminator.trainable_variables)

    with tf.GradientTape() as tape:
        own = generator(draw_latents(recipe, step, _GENERATOR_LATENTS), training=True)
        g_loss = generator_loss(discriminator(own, training=True))
    gradients = tape.gradient(g_loss, generator.trainable_variables)
    networks.generator_optimizer.apply(gradients, generator.trainable_variables)
    return real_logits, fake_logits, g_loss
