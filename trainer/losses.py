"""Adversarial losses and penalties, each with its paper. Logits have shape (batch, 1), large for "real"; costs are scalars."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from .recipe import LossName

Cost = Callable[[tf.Tensor], tf.Tensor]
Critic = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Loss:
    """What the two networks are to make small.

    Attributes:
        real: (logits, label smoothing) -> cost of real images for the discriminator.
        fake: logits -> cost of fakes for the discriminator.
        generator: logits of fakes -> cost of the generator.
        boundary: logits above it mean "real".
        is_relativistic: it takes how much more real than its partner in the batch an image looks, not how real: `real` the
            logits of real images less those of fakes, `generator` the other way round; and there is no cost of fakes alone.
    """

    real: Callable[[tf.Tensor, float], tf.Tensor]
    fake: Cost
    generator: Cost
    boundary: float = 0.0
    is_relativistic: bool = False

    def of_discriminator(self, real: tf.Tensor, fake: tf.Tensor, smoothing: float) -> tf.Tensor:
        """Return the discriminator's cost of a batch of real images and one of fakes, from the logits of both."""
        if self.is_relativistic:
            return self.real(real - fake, smoothing)
        return self.real(real, smoothing) + self.fake(fake)

    def of_generator(self, fake: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        """Return the generator's cost of fakes, from their logits; those of their real partners count for some losses only."""
        return self.generator(fake - tf.stop_gradient(real) if self.is_relativistic else fake)

    def told_apart(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """Return the share of images that the discriminator is right about; or of pairs."""
        if self.is_relativistic:
            return tf.reduce_mean(tf.cast(real > fake, tf.float32))
        return tf.reduce_mean(tf.cast(tf.concat([real > self.boundary, fake < self.boundary], axis=0), tf.float32))


def _cross_entropy_real(logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    # With D = sigmoid(logits): -log D = softplus(-logits), and -log(1 - D) = softplus(logits).
    return tf.reduce_mean((1.0 - smoothing) * tf.math.softplus(-logits) + smoothing * tf.math.softplus(logits))


def _cross_entropy_fake(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.math.softplus(logits))


def _half_squares(logits: tf.Tensor, label: float) -> tf.Tensor:
    return tf.reduce_mean(tf.square(logits - label)) / 2


LOSSES: Mapping[LossName, Loss] = {
    # Goodfellow et al., "Generative adversarial nets", NIPS 2014: the discriminator's side of equation 1; the generator makes
    # log D(G(z)) large, as section 3 advises.
    "non-saturating": Loss(_cross_entropy_real, _cross_entropy_fake, lambda logits: _cross_entropy_real(logits, 0.0)),
    # The same paper, equation 1 to the letter: the generator makes log(1 - D(G(z))) small.
    "minimax": Loss(_cross_entropy_real, _cross_entropy_fake, lambda logits: -_cross_entropy_fake(logits)),
    # Mao et al., "Least squares generative adversarial networks", ICCV 2017, equation 9: a = 0, b = c = 1.
    "least-squares": Loss(
        real=lambda logits, smoothing: _half_squares(logits, 1.0 - smoothing),
        fake=lambda logits: _half_squares(logits, 0.0),
        generator=lambda logits: _half_squares(logits, 1.0),
        boundary=0.5,
    ),
    # Lim and Ye, "Geometric GAN", 2017, and Miyato et al., "Spectral normalization", ICLR 2018, equations 16 and 17.
    "hinge": Loss(
        real=lambda logits, _: tf.reduce_mean(tf.nn.relu(1.0 - logits)),
        fake=lambda logits: tf.reduce_mean(tf.nn.relu(1.0 + logits)),
        generator=lambda logits: -tf.reduce_mean(logits),
    ),
    # Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019, equations 7 and 8 with the logistic function. With R1 it
    # is what Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024, build on.
    "relativistic": Loss(
        real=_cross_entropy_real,
        fake=lambda logits: tf.zeros(()),
        generator=lambda logits: _cross_entropy_real(logits, 0.0),
        is_relativistic=True,
    ),
    # Arjovsky et al., "Wasserstein GAN", ICML 2017, equation 3; meant to go with `gradient_penalty`. One critic update a step:
    # give the discriminator a higher learning rate than the generator (Heusel et al., NIPS 2017) instead of more updates.
    "wasserstein": Loss(
        real=lambda logits, _: -tf.reduce_mean(logits),
        fake=lambda logits: tf.reduce_mean(logits),
        generator=lambda logits: -tf.reduce_mean(logits),
    ),
}


def r1_penalty(critic: Critic, real: tf.Tensor) -> tf.Tensor:
    """Return the mean over the batch of |dD(x)/dx|^2, D in logits.

    Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018, equation 9, without its factor
    gamma / 2.
    """
    return tf.reduce_mean(_squared_gradients(critic, real))


def gradient_penalty(critic: Critic, real: tf.Tensor, fake: tf.Tensor, mix: tf.Tensor) -> tf.Tensor:
    """Return the mean over the batch of (|dD(x)/dx| - 1)^2 at points between real images and fakes.

    Gulrajani et al., "Improved training of Wasserstein GANs", NIPS 2017, equation 3, without its factor lambda.

    Args:
        critic: images -> logits.
        real: shape (batch, height, width, channels).
        fake: as real.
        mix: the share of the real image, in [0, 1], shape (batch, 1).
    """
    share = mix[:, :, tf.newaxis, tf.newaxis]
    squares = _squared_gradients(critic, share * real + (1.0 - share) * fake)
    # The square root has no gradient at 0.
    return tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - 1.0))


def _squared_gradients(critic: Critic, images: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(images)
        # A sample's logit depends on that sample alone, so the gradient of the sum holds the gradient of each.
        total = tf.reduce_sum(critic(images))
    return tf.reduce_sum(tf.square(tape.gradient(total, images)), axis=[1, 2, 3])
