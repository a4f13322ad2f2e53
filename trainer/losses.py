"""Adversarial losses on logits, and penalties. Logits have shape (batch, 1), positive for "real"."""

from __future__ import annotations

import keras
import tensorflow as tf


def real_loss(logits: tf.Tensor) -> tf.Tensor:
    """Return the mean of -log D(x), the cost of real images for the discriminator.

    Goodfellow et al., "Generative adversarial nets", NIPS 2014, equation 1. With D = sigmoid(logits) this is softplus(-logits),
    which is also binary cross-entropy against the label 1.
    """
    return tf.reduce_mean(tf.math.softplus(-logits))


def fake_loss(logits: tf.Tensor) -> tf.Tensor:
    """Return the mean of -log(1 - D(G(z))), the cost of fakes for the discriminator: equation 1, second term."""
    return tf.reduce_mean(tf.math.softplus(logits))


def generator_loss(logits: tf.Tensor) -> tf.Tensor:
    """Return the mean of -log D(G(z)), the non-saturating cost of the generator: section 3 of the same paper."""
    return tf.reduce_mean(tf.math.softplus(-logits))


def r1_penalty(discriminator: keras.Model, real: tf.Tensor) -> tf.Tensor:
    """Return the mean over the batch of |dD(x)/dx|^2, D in logits.

    Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018, equation 9, without its factor
    gamma / 2.
    """
    with tf.GradientTape() as tape:
        tape.watch(real)
        # A sample's logit depends on that sample alone, so the gradient of the sum holds the gradient of each.
        total = tf.reduce_sum(discriminator(real, training=True))
    gradients = tape.gradient(total, real)
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3]))
