"""Augmentation for small data sets. Images are float32 (batch, height, width, channels) in [-1, 1]."""

from __future__ import annotations

import tensorflow as tf

from .random_numbers import Purpose, StepRandom
from .recipe import DiffAugment

_LARGEST_SHIFT = 1 / 8  # largest shift, as a share of the image's side
_CUTOUT = 1 / 2  # side of the cutout, as a share of the image's side
# Random numbers per image: brightness, saturation, contrast, two for the shift, two for the cutout.
_NUMBERS = 7


def flip(images: tf.Tensor, rng: StepRandom) -> tf.Tensor:
    """Mirror a random half (on average) of the images left to right, and return all images."""
    is_mirrored = rng.uniform(Purpose.FLIPS, 1)[:, :, tf.newaxis, tf.newaxis] < 0.5
    return tf.where(is_mirrored, images[:, :, ::-1, :], images)


def diff_augment(
    images: tf.Tensor, policy: tuple[DiffAugment, ...], rng: StepRandom, copies: int
) -> tf.Tensor:
    """Return the images, transformed at random. Real and generated images get the same transformations.

    Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020, section 3.2.
    "color" changes brightness, saturation and contrast. "translation" shifts an image by up to an eighth of
    its side. "cutout" covers a rectangle of half the image's height and width. Pixels that are covered, or
    that the shift leaves empty, become grey.

    Args:
        images: `copies` batches, concatenated along the first axis, for example a batch of real images and a
            batch of generated images. Images with the same index in their batches are transformed with the
            same random numbers.
        policy: Any of "color", "translation", "cutout". The transformations are applied in this order.
        rng: The random numbers of this step.
        copies: Number of batches in `images`.
    """
    if not policy:
        return images
    numbers = tf.tile(rng.uniform(Purpose.AUGMENTATION, _NUMBERS), [copies, 1])  # (copies * batch, 7)
    if "color" in policy:
        images = _change_color(images, numbers[:, 0:3])
    if "translation" in policy:
        images = _translate(images, numbers[:, 3:5])
    if "cutout" in policy:
        images = _cut_out(images, numbers[:, 5:7])
    return images


def _change_color(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    brightness, saturation, contrast = tf.unstack(numbers[:, :, tf.newaxis, tf.newaxis, tf.newaxis], axis=1)
    images = images + brightness - 0.5
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    images = grey + (images - grey) * (2.0 * saturation)
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Return the images, each shifted by a whole number of pixels.

    The shift is computed as a product with matrices of zeros and ones. The gradient of this product is faster
    to compute than the gradient of `tf.gather`.
    """
    _, height, width, _ = images.shape
    down = _shift_matrices(numbers[:, 0], height)  # (batch, height, height)
    right = _shift_matrices(numbers[:, 1], width)
    return tf.einsum("bih,bhwc,bjw->bijc", down, images, right)


def _shift_matrices(numbers: tf.Tensor, side: int) -> tf.Tensor:
    """Return for each image the matrix that shifts its rows or columns, float32 (batch, side, side)."""
    largest = int(side * _LARGEST_SHIFT + 0.5)
    shift = tf.cast(tf.floor(numbers * (2 * largest + 1)), tf.int32) - largest  # -largest .. largest
    indices = tf.range(side)
    is_one = indices[tf.newaxis, :, tf.newaxis] == indices + shift[:, tf.newaxis, tf.newaxis]
    return tf.cast(is_one, tf.float32)


def _cut_out(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    _, height, width, _ = images.shape
    rows, columns = _covered(numbers[:, 0], height), _covered(numbers[:, 1], width)  # (batch, side)
    is_covered = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
    return tf.where(is_covered, 0.0, images)


def _covered(numbers: tf.Tensor, side: int) -> tf.Tensor:
    """Return a mask of the rows (or columns) of each image that the cutout overlaps, bool (batch, side).

    The centre of the cutout can be at any row or column, so the cutout may reach over the edge of the image.
    """
    size = int(side * _CUTOUT + 0.5)
    start = tf.cast(tf.floor(numbers * (side + 1 - size % 2)), tf.int32)[:, tf.newaxis] - size // 2
    indices = tf.range(side)[tf.newaxis, :]
    return (indices >= start) & (indices < start + size)
