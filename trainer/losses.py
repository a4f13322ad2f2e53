"""Adversarial losses and penalties, each with the paper that defines it.

Logits have shape (batch, 1) and are large for real images. Losses are scalars.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from .recipe import LossName

LogitsLoss = Callable[[tf.Tensor], tf.Tensor]  # function from logits to a loss
Critic = Callable[[tf.Tensor], tf.Tensor]  # function from images to logits


@dataclasses.dataclass(frozen=True)
class Loss:
    """The losses that the two networks minimize.

    Attributes:
        real: Function of logits and label smoothing that returns the discriminator's loss for real images.
        fake: Function of logits that returns the discriminator's loss for generated images.
        generator: Function of the logits of generated images that returns the generator's loss.
        boundary: Logit above which an image is classified as real.
        is_relativistic: Whether the loss is computed for pairs of a real and a generated image. `real` then
            takes the logit of the real image minus the logit of the generated image. `generator` takes the
            negative of this difference, and `fake` is not used.
    """

    real: Callable[[tf.Tensor, float], tf.Tensor]
    fake: LogitsLoss
    generator: LogitsLoss
    boundary: float = 0.0
    is_relativistic: bool = False

    def of_discriminator(self, real: tf.Tensor, fake: tf.Tensor, smoothing: float) -> tf.Tensor:
        """Return the discriminator's loss from the logits of real and of generated images."""
        if self.is_relativistic:
            return self.real(real - fake, smoothing)
        return self.real(real, smoothing) + self.fake(fake)

    def of_generator(self, fake: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        """Return the generator's loss from the logits of generated images.

        Only a relativistic loss uses the logits of real images, `real`.
        """
        return self.generator(fake - tf.stop_gradient(real) if self.is_relativistic else fake)

    def accuracy(self, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """Return the share of images that the discriminator classifies correctly.

        For a relativistic loss, return the share of pairs in which the real image has the larger logit.
        """
        if self.is_relativistic:
            return tf.reduce_mean(tf.cast(real > fake, tf.float32))
        return tf.reduce_mean(
            tf.cast(tf.concat([real > self.boundary, fake < self.boundary], axis=0), tf.float32)
        )


def _cross_entropy_real(logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    # With D = sigmoid(logits): -log D = softplus(-logits), and -log(1 - D) = softplus(logits).
    return tf.reduce_mean(
        (1.0 - smoothing) * tf.math.softplus(-logits) + smoothing * tf.math.softplus(logits)
    )


def _cross_entropy_fake(logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.math.softplus(logits))


def _half_squares(logits: tf.Tensor, target: float) -> tf.Tensor:
    return tf.reduce_mean(tf.square(logits - target)) / 2


LOSSES: Mapping[LossName, Loss] = {
    # Goodfellow et al., "Generative adversarial nets", NIPS 2014. The discriminator's loss follows
    # equation 1. The generator maximizes log D(G(z)), as section 3 recommends.
    "non-saturating": Loss(
        _cross_entropy_real, _cross_entropy_fake, lambda logits: _cross_entropy_real(logits, 0.0)
    ),
    # Goodfellow et al., NIPS 2014. Both losses follow equation 1: the generator minimizes log(1 - D(G(z))).
    "minimax": Loss(_cross_entropy_real, _cross_entropy_fake, lambda logits: -_cross_entropy_fake(logits)),
    # Mao et al., "Least squares generative adversarial networks", ICCV 2017, equation 9: a = 0, b = c = 1.
    "least-squares": Loss(
        real=lambda logits, smoothing: _half_squares(logits, 1.0 - smoothing),
        fake=lambda logits: _half_squares(logits, 0.0),
        generator=lambda logits: _half_squares(logits, 1.0),
        boundary=0.5,
    ),
    # Lim and Ye, "Geometric GAN", 2017, and Miyato et al., "Spectral normalization", ICLR 2018, equations 16
    # and 17.
    "hinge": Loss(
        real=lambda logits, _: tf.reduce_mean(tf.nn.relu(1.0 - logits)),
        fake=lambda logits: tf.reduce_mean(tf.nn.relu(1.0 + logits)),
        generator=lambda logits: -tf.reduce_mean(logits),
    ),
    # Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019, equations 7 and 8 with the logistic
    # function. Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024, combine this loss
    # with the R1 penalty.
    "relativistic": Loss(
        real=_cross_entropy_real,
        fake=lambda logits: tf.zeros(()),
        generator=lambda logits: _cross_entropy_real(logits, 0.0),
        is_relativistic=True,
    ),
    # Arjovsky et al., "Wasserstein GAN", ICML 2017, equation 3; to be used with `gradient_penalty`. The paper
    # updates the discriminator several times per step. Here the number of updates is the same as with the
    # other losses, so give the discriminator a higher learning rate than the generator (Heusel et al.,
    # NIPS 2017).
    "wasserstein": Loss(
        real=lambda logits, _: -tf.reduce_mean(logits),
        fake=lambda logits: tf.reduce_mean(logits),
        generator=lambda logits: -tf.reduce_mean(logits),
    ),
}


def zero_centred_penalty(critic: Critic, images: tf.Tensor) -> tf.Tensor:
    """Return the mean over the batch of |dD(x)/dx|^2, where D(x) is the logit of an image x.

    Mescheder et al., "Which training methods for GANs do actually converge?", ICML 2018: R1 is this penalty
    on real images (equation 9), R2 on generated images (equation 10), both without the factor gamma / 2 of
    the equations.
    """
    return tf.reduce_mean(_squared_gradients(critic, images))


def gradient_penalty(critic: Critic, real: tf.Tensor, fake: tf.Tensor, mix: tf.Tensor) -> tf.Tensor:
    """Return the mean over the batch of (|dD(x)/dx| - 1)^2 at points between real and generated images.

    Gulrajani et al., "Improved training of Wasserstein GANs", NIPS 2017, equation 3, without the factor
    lambda of the equation.

    Args:
        critic: Function from images to logits.
        real: Real images, (batch, height, width, channels).
        fake: Generated images of the same shape.
        mix: Share of the real image at each point, in [0, 1], (batch, 1).
    """
    share = mix[:, :, tf.newaxis, tf.newaxis]
    squares = _squared_gradients(critic, share * real + (1.0 - share) * fake)
    # The small constant keeps the gradient of the square root finite at 0.
    return tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - 1.0))


def _squared_gradients(critic: Critic, images: tf.Tensor) -> tf.Tensor:
    """Return |dD(x)/dx|^2 for each image x, (batch,)."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        # The logit of an image depends on this image alone. So the gradient of the sum of all logits with
        # respect to an image is the gradient of the image's logit.
        total = tf.reduce_sum(critic(images))
    return tf.reduce_sum(tf.square(tape.gradient(total, images)), axis=[1, 2, 3])
