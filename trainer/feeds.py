"""How images reach the step: from the device's memory, or from disk. Either way the same images, in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from ganport.runtime.errors import DatasetContentError

from .datasets import Dataset
from .draws import Order, image_order
from .pictures import PictureFolder, Pixels
from .recipe import Recipe
from .step import CHUNK_STEPS

_BUFFER_BYTES = 64_000_000  # of streamed images per chunk; as much again is being read meanwhile


class Feed(Protocol):
    """Where the images of a run come from.

    Attributes:
        chunk_steps: how many steps a chunk may have.
    """

    chunk_steps: int

    def chunk(self, first: int, stop: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return what a chunk takes for the steps first .. stop - 1: pictures, and their order and classes, of full height."""


def open_feed(recipe: Recipe, data: Dataset, strategy: tf.distribute.Strategy, first: int) -> Feed:
    """Return the feed of a run from step `first` on."""
    if isinstance(data.images, PictureFolder):
        return StreamedFeed(recipe, data, first)
    return ResidentFeed(recipe, data, data.images, strategy)


class ResidentFeed:
    """All the images, uint8, on each device for the whole run."""

    chunk_steps = CHUNK_STEPS

    def __init__(self, recipe: Recipe, data: Dataset, images: Pixels, strategy: tf.distribute.Strategy) -> None:
        self._recipe, self._data = recipe, data
        if strategy.num_replicas_in_sync > 1:
            self._pictures = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(images))
        else:
            self._pictures = tf.constant(images)

    def chunk(self, first: int, stop: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """See Feed."""
        order = image_order(self._recipe, self._data.count, first, stop)
        return self._pictures, tf.constant(_padded(order)), tf.constant(_padded(_classes(self._recipe, self._data, order)))


class StreamedFeed:
    """Images read and decoded by tf.data while the device works; a few chunks of them are in memory, however many there are."""

    def __init__(self, recipe: Recipe, data: Dataset, first: int) -> None:
        self._recipe, self._data = recipe, data
        batch_bytes = recipe.batch_size * int(np.prod(recipe.image_shape))
        self.chunk_steps = max(1, min(CHUNK_STEPS, _BUFFER_BYTES // batch_bytes))
        self._failure: DatasetContentError | None = None
        self._batches = self._open(first)
        self._buffer = np.zeros((self.chunk_steps * recipe.batch_size, *recipe.image_shape), dtype=np.uint8)

    def chunk(self, first: int, stop: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """See Feed. Chunks must be asked for one after the other."""
        size = self._recipe.batch_size
        for row in range(stop - first):
            self._buffer[row * size : (row + 1) * size] = self._next_batch()
        rows = np.arange((stop - first) * size, dtype=np.int32).reshape(-1, size)
        classes = _classes(self._recipe, self._data, image_order(self._recipe, self._data.count, first, stop))
        return tf.constant(self._buffer), tf.constant(_padded(rows)), tf.constant(_padded(classes))

    def _next_batch(self) -> Pixels:
        try:
            return next(self._batches)
        except tf.errors.OpError:
            if self._failure is None:
                raise
            raise self._failure from None  # ours says which picture it is

    def _open(self, first: int) -> Iterator[Pixels]:
        shape = (self._recipe.batch_size, *self._recipe.image_shape)

        def read(step: np.int64) -> Pixels:
            (places,) = image_order(self._recipe, self._data.count, int(step), int(step) + 1)
            try:
                return self._data.take(places)
            except DatasetContentError as error:
                self._failure = error
                raise

        batches = tf.data.Dataset.range(first, self._recipe.steps).map(
            lambda step: tf.ensure_shape(tf.numpy_function(read, [step], tf.uint8), shape),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return batches.prefetch(self.chunk_steps).as_numpy_iterator()


def _classes(recipe: Recipe, data: Dataset, order: Order) -> Order:
    """Return the classes of the images of an order; zeros for a recipe that asks for none."""
    if not recipe.labels:
        return np.zeros_like(order)
    assert data.labels is not None  # noqa: S101 (`runs.check_images` has seen to it)
    return data.labels[order]


def _padded(order: Order) -> Order:
    """Return an order with as many rows as every chunk has, so that one compiled program fits all."""
    return np.concatenate([order, np.zeros((CHUNK_STEPS - len(order), order.shape[1]), dtype=np.int32)])
