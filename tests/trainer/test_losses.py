"""Losses and penalties against values worked by hand."""

import math

import keras
import pytest
import tensorflow as tf

from trainer.losses import fake_loss, generator_loss, r1_penalty, real_loss


def test_losses_are_cross_entropies():
    logits = tf.constant([[0.0], [math.log(3.0)]])  # D = 1/2 and 3/4
    real = (math.log(2) + math.log(4 / 3)) / 2
    fake = (math.log(2) + math.log(4)) / 2
    assert float(real_loss(logits)) == pytest.approx(real, rel=1e-6)
    assert float(fake_loss(logits)) == pytest.approx(fake, rel=1e-6)
    assert float(generator_loss(logits)) == pytest.approx(real, rel=1e-6)
    labels = keras.losses.BinaryCrossentropy()
    assert float(fake_loss(logits)) == pytest.approx(float(labels(tf.zeros((2, 1)), tf.sigmoid(logits))), rel=1e-5)


def test_losses_stay_finite_for_a_discriminator_that_is_sure():
    logits = tf.constant([[-200.0]])
    assert float(real_loss(logits)) == pytest.approx(200.0)
    assert float(fake_loss(logits)) == 0.0


def test_r1_is_the_squared_gradient():
    """D(x) = 3 a^2 + 4 b for two pixels: dD = (6 a, 4), so |dD|^2 = 36 a^2 + 16."""
    a_and_b = tf.constant([[1.0, 5.0], [2.0, -7.0]])
    images = tf.reshape(a_and_b, (2, 1, 2, 1))

    def discriminator(x, training):
        a, b = x[:, 0, 0, :], x[:, 0, 1, :]
        return 3 * a**2 + 4 * b

    assert float(r1_penalty(discriminator, images)) == pytest.approx(((36 + 16) + (144 + 16)) / 2)
