"""Feeds: the sources of the training images, either the memory of the devices or files on disk.

Both kinds of feed give the same images in the same order, without those that the recipe holds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from ganport.datasets.dataset import Dataset
from ganport.datasets.errors import DatasetContentError
from ganport.datasets.folder import ImageFolder
from ganport.runtime.arrays import Pixels

from .held_out import Split, split_images
from .random_numbers import Indices, image_order
from .recipe import Recipe
from .step import CHUNK_STEPS

# Largest size of the streamed images of one chunk, in bytes. While the device computes a chunk, a second
# chunk of this size is read.
_BUFFER_BYTES = 64_000_000

# Images, the indices of the images that each step uses, and the label indices of these images.
ChunkInputs = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class Feed(Protocol):
    """Source of the images of a run.

    Attributes:
        chunk_steps: Largest number of steps in a chunk.
    """

    chunk_steps: int

    def chunk(self, first: int, stop: int) -> ChunkInputs:
        """Return the inputs of a chunk with the steps first .. stop - 1.

        The image indices and the label indices always have CHUNK_STEPS rows; the rows after the last step
        are zero.
        """


def open_feed(recipe: Recipe, data: Dataset, strategy: tf.distribute.Strategy, first: int) -> Feed:
    """Return a feed of the images for the steps from `first` on."""
    if isinstance(data.images, ImageFolder):
        return StreamedFeed(recipe, data, first)
    return ResidentFeed(recipe, data, data.images, strategy)


class ResidentFeed:
    """Feed that keeps all images, uint8, in the memory of each device for the whole run."""

    chunk_steps = CHUNK_STEPS

    def __init__(
        self, recipe: Recipe, data: Dataset, images: Pixels, strategy: tf.distribute.Strategy
    ) -> None:
        self._recipe, self._data, self._split = recipe, data, split_images(recipe, data.count)
        if strategy.num_replicas_in_sync > 1:
            self._images = strategy.experimental_distribute_values_from_function(
                lambda _: tf.constant(images)
            )
        else:
            self._images = tf.constant(images)

    def chunk(self, first: int, stop: int) -> ChunkInputs:
        """Return the inputs of a chunk; see `Feed.chunk`."""
        order = _training_order(self._recipe, self._split, first, stop)
        labels = _label_indices(self._recipe, self._data, order)
        return self._images, tf.constant(_padded(order)), tf.constant(_padded(labels))


class StreamedFeed:
    """Feed that reads images from disk with tf.data, up to one chunk ahead, while the device computes."""

    def __init__(self, recipe: Recipe, data: Dataset, first: int) -> None:
        self._recipe, self._data, self._split = recipe, data, split_images(recipe, data.count)
        batch_bytes = recipe.batch_size * int(np.prod(recipe.image_shape))
        self.chunk_steps = max(1, min(CHUNK_STEPS, _BUFFER_BYTES // batch_bytes))
        self._failure: DatasetContentError | None = None
        self._batches = self._open(first)
        self._buffer = np.zeros((self.chunk_steps * recipe.batch_size, *recipe.image_shape), dtype=np.uint8)

    def chunk(self, first: int, stop: int) -> ChunkInputs:
        """Return the inputs of a chunk, which must begin where the last chunk ended; see `Feed.chunk`."""
        size = self._recipe.batch_size
        for row in range(stop - first):
            self._buffer[row * size : (row + 1) * size] = self._next_batch()
        rows = np.arange((stop - first) * size, dtype=np.int32).reshape(-1, size)
        order = _training_order(self._recipe, self._split, first, stop)
        labels = _label_indices(self._recipe, self._data, order)
        return tf.constant(self._buffer), tf.constant(_padded(rows)), tf.constant(_padded(labels))

    def _next_batch(self) -> Pixels:
        try:
            return next(self._batches)
        except tf.errors.OpError:
            if self._failure is None:
                raise
            raise self._failure from None  # this error names the image; TensorFlow's error does not

    def _open(self, first: int) -> Iterator[Pixels]:
        shape = (self._recipe.batch_size, *self._recipe.image_shape)

        def read(step: np.int64) -> Pixels:
            (indices,) = _training_order(self._recipe, self._split, int(step), int(step) + 1)
            try:
                return self._data.take(indices)
            except DatasetContentError as error:
                self._failure = error
                raise

        batches = tf.data.Dataset.range(first, self._recipe.steps).map(
            lambda step: tf.ensure_shape(tf.numpy_function(read, [step], tf.uint8), shape),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return batches.prefetch(self.chunk_steps).as_numpy_iterator()


def _training_order(recipe: Recipe, split: Split, first: int, stop: int) -> Indices:
    """Return the indices of the images for the steps first .. stop - 1, int32 (stop - first, batch_size)."""
    return split.training[image_order(recipe, len(split.training), first, stop)]


def _label_indices(recipe: Recipe, data: Dataset, order: Indices) -> Indices:
    """Return the label index of each image in `order`; zeros for an unconditional recipe."""
    if not recipe.labels:
        return np.zeros_like(order)
    assert data.labels is not None  # noqa: S101 (`plan.check_data_fits` rejects other data)
    return data.labels[order]


def _padded(order: Indices) -> Indices:
    """Return indices with rows of zeros appended, int32 (CHUNK_STEPS, batch_size).

    So the inputs of all chunks have the same shape, and one compiled program runs chunks of any length.
    """
    return np.concatenate([order, np.zeros((CHUNK_STEPS - len(order), order.shape[1]), dtype=np.int32)])
