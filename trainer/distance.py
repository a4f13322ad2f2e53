"""How far what a generator draws is from what it learns from: a measure of progress that needs no other network."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from ganport.runtime.latents import generator_inputs
from ganport.runtime.seeds import SEED_LIMIT

from .datasets import Dataset

_PROJECTIONS = 256
_SIDE = 32  # larger images are averaged down to about this


def images_at_once(height: int, width: int) -> int:
    """Return how many images of a size are drawn together, so that a measure takes less memory than a training step."""
    return min(256, max(16, 2**19 // (height * width)))


class Reference:
    """Real images, ready to be compared with.

    The measure is the sliced Wasserstein distance (Rabin et al. 2011; Bonneel et al. 2015): the mean, over 256 fixed random
    directions, of the mean distance between the sorted projections of as many real images and fakes. It tells runs of one
    recipe on one set apart, and the steps of one run; it is no judge between data sets or image sizes.
    """

    def __init__(self, data: Dataset) -> None:
        height, width, _ = data.image_shape
        self._count = min(data.count, max(256, min(2048, 2**21 // (height * width))))
        self._factor = max(1, round(min(height, width) / _SIDE))
        rng = np.random.default_rng(0)
        places = np.sort(rng.permutation(data.count)[: self._count]).astype(np.int32)
        self._labels = None if data.labels is None else data.labels[places]
        self._at_once = images_at_once(height, width)
        parts = (places[first : first + self._at_once] for first in range(0, self._count, self._at_once))
        real = np.concatenate([self._small(data.take(part).astype(np.float32) / 127.5 - 1.0) for part in parts])
        self._directions = rng.normal(size=(real.shape[1], _PROJECTIONS)).astype(np.float32)
        self._directions /= np.linalg.norm(self._directions, axis=0)
        self._projected = np.sort(real @ self._directions, axis=0)  # (count, projections)

    def distance(self, generator: keras.Model, classes: int = 0) -> float:
        """Return how far the generator is from the real images, in units of the pixel range [-1, 1] per direction.

        Args:
            generator: float32 latents -> images.
            classes: that it draws on demand: here those of the real images.
        """
        fakes = []
        # Seeds from the upper half, which no preview shows.
        for first in range(0, self._count, self._at_once):
            last = min(first + self._at_once, self._count)
            labels = None if self._labels is None else self._labels[first:last]
            seeds = SEED_LIMIT // 2 + np.arange(first, last)
            inputs = generator_inputs(seeds, generator.input_shape[1] - classes, classes, labels)
            fakes.append(self._small(generator(inputs, training=False).numpy()))
        projected = np.sort(np.concatenate(fakes) @ self._directions, axis=0)
        return float(np.abs(projected - self._projected).mean())

    def _small(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return images averaged down, one row each."""
        count, height, width, channels = images.shape
        rows, columns = height // self._factor, width // self._factor
        cut = images[:, : rows * self._factor, : columns * self._factor]
        blocks = cut.reshape(count, rows, self._factor, columns, self._factor, channels)
        return np.asarray(blocks.mean(axis=(2, 4)).reshape(count, -1), dtype=np.float32)
