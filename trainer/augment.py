"""Augmentation: more from few images. Images are float32 (batch, height, width, channels) in [-1, 1]."""

from __future__ import annotations

import tensorflow as tf

from .draws import Draws, Purpose
from .recipe import DiffAugment

_LARGEST_SHIFT = 1 / 8  # of the image's side
_CUTOUT = 1 / 2  # of the image's side
_NUMBERS = 7  # random numbers per image: brightness, saturation, contrast, two for the shift, two for the hole


def flip(images: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Return the images, about half of them mirrored left to right."""
    mirrored = draws.uniform(Purpose.FLIPS, 1)[:, :, tf.newaxis, tf.newaxis] < 0.5
    return tf.where(mirrored, images[:, :, ::-1, :], images)


def diff_augment(images: tf.Tensor, policy: tuple[DiffAugment, ...], draws: Draws, copies: int) -> tf.Tensor:
    """Return the images as the discriminator is to see them: differentiable, and the same draws for real and fake.

    Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020, section 3.2: colour by
    brightness, saturation and contrast; translation by up to an eighth of the side, cutout of half the side; both leave grey.

    Args:
        images: `copies` batches, one after the other; image i of each gets the draws of image i.
        policy: any of "color", "translation", "cutout"; they are applied in that order.
        draws: of this step.
        copies: how many.
    """
    if not policy:
        return images
    numbers = tf.tile(draws.uniform(Purpose.AUGMENTATION, _NUMBERS), [copies, 1])  # (copies * batch, 7)
    if "color" in policy:
        images = _color(images, numbers[:, 0:3])
    if "translation" in policy:
        images = _translate(images, numbers[:, 3:5])
    if "cutout" in policy:
        images = _cut_out(images, numbers[:, 5:7])
    return images


def _color(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    brightness, saturation, contrast = tf.unstack(numbers[:, :, tf.newaxis, tf.newaxis, tf.newaxis], axis=1)
    images = images + brightness - 0.5
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    images = grey + (images - grey) * (2.0 * saturation)
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translate(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Shift each image by whole pixels. Products with shifted unit matrices: they have fast gradients, a gather has not."""
    _, height, width, _ = images.shape
    down = _shift_matrices(numbers[:, 0], height)  # (batch, height, height)
    right = _shift_matrices(numbers[:, 1], width)
    return tf.einsum("bih,bhwc,bjw->bijc", down, images, right)


def _shift_matrices(numbers: tf.Tensor, side: int) -> tf.Tensor:
    largest = int(side * _LARGEST_SHIFT + 0.5)
    shift = tf.cast(tf.floor(numbers * (2 * largest + 1)), tf.int32) - largest  # -largest .. largest
    places = tf.range(side)
    return tf.cast(places[tf.newaxis, :, tf.newaxis] == places + shift[:, tf.newaxis, tf.newaxis], tf.float32)


def _cut_out(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    _, height, width, _ = images.shape
    rows, columns = _hole(numbers[:, 0], height), _hole(numbers[:, 1], width)  # (batch, side)
    hole = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
    return tf.where(hole, 0.0, images)


def _hole(numbers: tf.Tensor, side: int) -> tf.Tensor:
    """Return which places lie within half a hole of a random centre, which is anywhere in the image."""
    size = int(side * _CUTOUT + 0.5)
    start = tf.cast(tf.floor(numbers * (side + 1 - size % 2)), tf.int32)[:, tf.newaxis] - size // 2
    places = tf.range(side)[tf.newaxis, :]
    return (places >= start) & (places < start + size)
