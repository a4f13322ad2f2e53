"""Losses and penalties, compared with values computed by hand."""

import math

import keras
import pytest
import tensorflow as tf

from ganport.trainer.losses import LOSSES, gradient_penalty, zero_centred_penalty

LOGITS = tf.constant([[0.0], [math.log(3.0)]])  # D = 1/2 and 3/4


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator"),
    [
        (
            "non-saturating",
            (math.log(2) + math.log(4 / 3)) / 2,
            (math.log(2) + math.log(4)) / 2,
            (math.log(2) + math.log(4 / 3)) / 2,
        ),
        (
            "minimax",
            (math.log(2) + math.log(4 / 3)) / 2,
            (math.log(2) + math.log(4)) / 2,
            (math.log(1 / 2) + math.log(1 / 4)) / 2,
        ),
        (
            "least-squares",
            (1 + (math.log(3) - 1) ** 2) / 4,
            math.log(3) ** 2 / 4,
            (1 + (math.log(3) - 1) ** 2) / 4,
        ),
        ("hinge", 0.5, (1 + 1 + math.log(3)) / 2, -math.log(3) / 2),
        ("wasserstein", -math.log(3) / 2, math.log(3) / 2, -math.log(3) / 2),
    ],
)
def test_loss_by_hand(name, real, fake, generator):
    loss = LOSSES[name]
    assert float(loss.real(LOGITS, 0.0)) == pytest.approx(real, rel=1e-6)
    assert float(loss.fake(LOGITS)) == pytest.approx(fake, rel=1e-6)
    assert float(loss.generator(LOGITS)) == pytest.approx(generator, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_keras_from_probabilities(smoothing):
    keras_loss = keras.losses.BinaryCrossentropy()
    probabilities = tf.sigmoid(LOGITS)
    loss = LOSSES["non-saturating"]
    expected = float(keras_loss(tf.fill((2, 1), 1.0 - smoothing), probabilities))
    assert float(loss.real(LOGITS, smoothing)) == pytest.approx(expected, rel=1e-5)
    expected = float(keras_loss(tf.zeros((2, 1)), probabilities))
    assert float(loss.fake(LOGITS)) == pytest.approx(expected, rel=1e-5)


def test_smoothing_moves_the_target_of_least_squares():
    assert float(LOSSES["least-squares"].real(tf.constant([[0.9]]), 0.1)) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("name", ["non-saturating", "minimax"])
def test_cross_entropies_stay_finite_for_extreme_logits(name):
    extreme = tf.constant([[-200.0]])
    assert float(LOSSES[name].real(extreme, 0.0)) == pytest.approx(200.0)
    assert float(LOSSES[name].fake(extreme)) == 0.0


@pytest.mark.parametrize(
    ("name", "boundary"), [("non-saturating", 0.0), ("least-squares", 0.5), ("hinge", 0.0)]
)
def test_losses_of_real_and_fake_are_equal_at_the_boundary(name, boundary):
    loss = LOSSES[name]
    assert loss.boundary == boundary
    here = tf.constant([[boundary]])
    assert float(loss.real(here, 0.0)) == pytest.approx(float(loss.fake(here)), rel=1e-6)


def test_relativistic_loss_by_hand():
    """Logits of 0 and log 3 are compared with logits of log 3, so the differences are -log 3 and 0."""
    loss, partners = LOSSES["relativistic"], tf.fill((2, 1), math.log(3.0))
    less_real, more_real = (math.log(4) + math.log(2)) / 2, (math.log(4 / 3) + math.log(2)) / 2
    assert float(loss.of_discriminator(LOGITS, partners, 0.0)) == pytest.approx(less_real, rel=1e-6)
    assert float(loss.of_discriminator(partners, LOGITS, 0.0)) == pytest.approx(more_real, rel=1e-6)
    assert float(loss.of_generator(LOGITS, partners)) == pytest.approx(less_real, rel=1e-6)
    assert float(loss.of_generator(LOGITS + 100.0, partners + 100.0)) == pytest.approx(less_real, rel=1e-5)
    assert float(loss.accuracy(partners, LOGITS)) == 0.5


def as_images(rows):
    return tf.reshape(tf.constant(rows), (len(rows), 1, 2, 1))


def test_r1_is_the_squared_gradient():
    """D(x) = 3 a^2 + 4 b for two pixels: dD = (6 a, 4), so |dD|^2 = 36 a^2 + 16."""

    def critic(x):
        a, b = x[:, 0, 0, :], x[:, 0, 1, :]
        return 3 * a**2 + 4 * b

    images = as_images([[1.0, 5.0], [2.0, -7.0]])
    assert float(zero_centred_penalty(critic, images)) == pytest.approx(((36 + 16) + (144 + 16)) / 2)


def test_gradient_penalty_is_computed_between_real_and_fake():
    """D(x) = a^2 / 2, so |dD| = |a|. Halfway between 1 and 5 it is 3; with 1/4 of 2 and 3/4 of 6 it is 5.

    The squared distances to 1 are 2^2 and 4^2.
    """

    def critic(x):
        return x[:, 0, 0, :] ** 2 / 2

    real, fake = as_images([[1.0, 0.0], [2.0, 0.0]]), as_images([[5.0, 0.0], [6.0, 0.0]])
    mix = tf.constant([[0.5], [0.25]])
    assert float(gradient_penalty(critic, real, fake, mix)) == pytest.approx((4 + 16) / 2, rel=1e-5)


def test_gradient_penalty_has_a_gradient_where_the_critic_is_flat():
    slope = tf.Variable(0.0)
    images = as_images([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(lambda x: slope * x[:, 0, 0, :], images, images, tf.constant([[0.5]]))
    assert math.isfinite(float(tape.gradient(penalty, slope)))
