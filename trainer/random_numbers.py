"""The random numbers of a run. They are a function of (seed, step), without any hidden state.

So a step can be repeated exactly, and a resumed run ends with the same weights as a run that was never
interrupted. If several devices share a batch, each image has the same random numbers as on a single device.
Only the random numbers of layers such as Dropout are different.
"""

from __future__ import annotations

import dataclasses
import enum
import functools

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ganport.runtime.latents import signed_normal_table

from .recipe import Recipe

_ALGORITHM = "philox"  # stated explicitly, because TensorFlow may choose another algorithm with XLA

Indices = npt.NDArray[np.int32]


class Purpose(enum.IntEnum):
    """A purpose of random numbers. In one step, different purposes have different random numbers.

    The values must not change, or runs that are resumed would continue with other random numbers.
    """

    LATENTS = 1
    GENERATOR_LATENTS = 2
    FLIPS = 3
    AUGMENTATION = 4
    MIX = 5
    LAYERS = 6


def image_order(recipe: Recipe, images: int, first: int, stop: int) -> Indices:
    """Return the indices of the images that each step uses, int32 (stop - first, batch_size).

    Args:
        recipe: The recipe, of which `seed`, `batch_size` and `sampling` are used.
        images: Number of images in the data set. Indices are from 0 to images - 1.
        first: The first step.
        stop: The step after the last step.
    """
    size = recipe.batch_size
    if recipe.sampling == "replacement":
        batches = [
            np.random.default_rng((recipe.seed, step)).integers(0, images, size)
            for step in range(first, stop)
        ]
        return np.array(batches, dtype=np.int32).reshape(-1, size)
    positions = np.arange(first * size, stop * size)
    epochs = positions // images
    order = np.empty_like(positions)
    for epoch in np.unique(epochs):
        is_here = epochs == epoch
        order[is_here] = _permutation(recipe.seed, int(epoch), images)[positions[is_here] % images]
    return order.astype(np.int32).reshape(-1, size)


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, images: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(images)


@dataclasses.dataclass(frozen=True)
class StepRandom:
    """The random numbers of one step, for the part of the batch that one device works on.

    Attributes:
        seed: Seed of the run.
        step: The step, an int32 scalar.
        batch_size: Size of the batch over all devices.
        shard: Index of this device. Each device computes the random numbers of the whole batch, and keeps
            those of its own part.
        shards: Number of devices.
    """

    seed: int
    step: tf.Tensor
    batch_size: int
    shard: tf.Tensor | int = 0
    shards: int = 1

    def normal(self, purpose: Purpose, width: int) -> tf.Tensor:
        """Return standard normal numbers from the table of `runtime.latents`, float32.

        The shape is (batch_size / shards, width). The latents of an exported generator come from the same
        table, so the latents of the training have exactly the same distribution.
        """
        words = self._words(purpose, -(-width // 2))
        # Each 32-bit word gives two numbers, one from each 16-bit half. The upper 13 bits of a half (a sign
        # bit and 12 bits of the magnitude) are the index of the number in the table.
        high = tf.bitwise.right_shift(words, tf.constant(19, tf.uint32))
        shifted = tf.bitwise.right_shift(words, tf.constant(3, tf.uint32))
        low = tf.bitwise.bitwise_and(shifted, tf.constant(0x1FFF, tf.uint32))
        indices = tf.reshape(tf.stack([high, low], axis=-1), [-1, 2 * words.shape[1]])[:, :width]
        return tf.gather(tf.constant(signed_normal_table()), tf.cast(indices, tf.int32))

    def uniform(self, purpose: Purpose, width: int) -> tf.Tensor:
        """Return uniform numbers in [0, 1), multiples of 2**-24, float32 (batch_size / shards, width)."""
        words = tf.bitwise.right_shift(self._words(purpose, width), tf.constant(8, tf.uint32))
        return tf.cast(words, tf.float32) * 2.0**-24

    def _words(self, purpose: Purpose, width: int) -> tf.Tensor:
        """Return random words, uint32 (batch_size / shards, width).

        TensorFlow generates the same words with and without XLA, on a CPU and on a GPU. But the normal and
        uniform floating-point numbers that TensorFlow generates differ. So the methods `normal` and `uniform`
        compute their numbers from the words.
        """
        words = tf.random.stateless_uniform(
            [self.batch_size, width],
            self.key(purpose),
            minval=None,
            maxval=None,
            dtype=tf.uint32,
            alg=_ALGORITHM,
        )
        return self.part(words)

    def part(self, batch: tf.Tensor) -> tf.Tensor:
        """Return this device's rows of an array that has one row for each image of the whole batch."""
        if self.shards == 1:
            return batch
        size = self.batch_size // self.shards
        return batch[self.shard * size : (self.shard + 1) * size]

    def key(self, purpose: Purpose) -> tf.Tensor:
        """Return a key for TensorFlow's stateless generators, int32 (2,)."""
        return _fold_in(tf.stack([tf.constant(self.seed), self.step]), int(purpose))

    def layer_state(self, index: int) -> tf.Tensor:
        """Return the random state of a layer at the start of this step, int64 (2,), not negative.

        Each device has a different state. Otherwise images with the same index on two devices would have the
        same random numbers.

        Args:
            index: Index of the layer among the layers that use random numbers.
        """
        key = _fold_in(_fold_in(self.key(Purpose.LAYERS), index), self.shard)
        return tf.cast(key, tf.int64) & 0x7FFFFFFF


def _fold_in(key: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(key, number, alg=_ALGORITHM)
