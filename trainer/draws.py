"""Every random number of a run, as a function of (seed, step): nothing is drawn from hidden state.

So a step can be repeated, a resumed run ends as if it had never stopped, and devices that share a batch draw together what one
alone would draw.
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

_ALGORITHM = "philox"  # left to itself TensorFlow may take another one under XLA

Order = npt.NDArray[np.int32]


class Purpose(enum.IntEnum):
    """What a draw is for; part of its key. Never renumber: a resumed run would go on differently."""

    LATENTS = 1
    GENERATOR_LATENTS = 2
    FLIPS = 3
    AUGMENTATION = 4
    MIX = 5
    LAYERS = 6


def image_order(recipe: Recipe, images: int, first: int, stop: int) -> Order:
    """Return which images the steps first .. stop - 1 see: int32, shape (stop - first, batch_size), values below `images`."""
    size = recipe.batch_size
    if recipe.sampling == "replacement":
        batches = [np.random.default_rng((recipe.seed, step)).integers(0, images, size) for step in range(first, stop)]
        return np.array(batches, dtype=np.int32).reshape(-1, size)
    positions = np.arange(first * size, stop * size)
    epochs = positions // images
    order = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        order[here] = _shuffled(recipe.seed, int(epoch), images)[positions[here] % images]
    return order.astype(np.int32).reshape(-1, size)


@functools.lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, images: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(images)


@dataclasses.dataclass(frozen=True)
class Draws:
    """The draws of one step, for the part of the batch that one device works on.

    Attributes:
        seed: of the run.
        step: int32 scalar.
        batch_size: over all devices.
        shard, shards: which device this is, of how many. Each draws for the whole batch and keeps its part.
    """

    seed: int
    step: tf.Tensor
    batch_size: int
    shard: tf.Tensor | int = 0
    shards: int = 1

    def normal(self, purpose: Purpose, width: int) -> tf.Tensor:
        """Return standard normal numbers, float32 (batch_size / shards, width), by the table that `runtime.latents` has.

        So training sees the very distribution that is sampled from later.
        """
        words = self._words(purpose, -(-width // 2))
        # Of each half word the upper 13 bits: sign and magnitude.
        high = tf.bitwise.right_shift(words, tf.constant(19, tf.uint32))
        low = tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, tf.constant(3, tf.uint32)), tf.constant(0x1FFF, tf.uint32))
        places = tf.reshape(tf.stack([high, low], axis=-1), [-1, 2 * words.shape[1]])[:, :width]
        return tf.gather(tf.constant(signed_normal_table()), tf.cast(places, tf.int32))

    def uniform(self, purpose: Purpose, width: int) -> tf.Tensor:
        """Return numbers in [0, 1), multiples of 2**-24, float32 (batch_size / shards, width)."""
        return tf.cast(tf.bitwise.right_shift(self._words(purpose, width), tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24

    def _words(self, purpose: Purpose, width: int) -> tf.Tensor:
        """Return random words, uint32 (batch_size / shards, width).

        TensorFlow's generators make the same words with XLA as without, on a CPU as on a GPU; what they make of them, normal
        numbers say, is not the same. So that is done here.
        """
        return self.part(
            tf.random.stateless_uniform(
                [self.batch_size, width], self.key(purpose), minval=None, maxval=None, dtype=tf.uint32, alg=_ALGORITHM
            )
        )

    def part(self, batch: tf.Tensor) -> tf.Tensor:
        """Return this device's rows of what was drawn for the whole batch."""
        if self.shards == 1:
            return batch
        size = self.batch_size // self.shards
        return batch[self.shard * size : (self.shard + 1) * size]

    def key(self, purpose: Purpose) -> tf.Tensor:
        """Return a key for TensorFlow's stateless generators, int32 (2,)."""
        return _fold_in(tf.stack([tf.constant(self.seed), self.step]), int(purpose))

    def layer_state(self, index: int) -> tf.Tensor:
        """Return where the layer number `index` that draws (Dropout, say) starts this step, int64 (2,), not negative.

        Devices draw differently, as one device draws differently for the images of a batch.
        """
        key = _fold_in(_fold_in(self.key(Purpose.LAYERS), index), self.shard)
        return tf.cast(key, tf.int64) & 0x7FFFFFFF


def _fold_in(key: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(key, number, alg=_ALGORITHM)
