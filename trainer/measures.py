"""Two measures of progress: distances between generated images and the images that the run trains on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np
import numpy.typing as npt

from ganport.datasets.dataset import Dataset
from ganport.datasets.named import whole_set
from ganport.evaluation import FeatureNetwork
from ganport.evaluation.errors import EvaluationError
from ganport.evaluation.features import GENERAL_NETWORK, network_for
from ganport.evaluation.measures import Features, frechet_distance
from ganport.evaluation.references import MIN_IMAGES
from ganport.runtime import to_uint8
from ganport.runtime.arrays import Pixels
from ganport.runtime.latents import generator_inputs
from ganport.runtime.seeds import SEED_LIMIT

Images = npt.NDArray[np.float32]  # (n, height, width, channels) in [-1, 1]
Indices = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class RealImages:
    """A random choice of real images, with which a measure compares generated images.

    Attributes:
        data: The data set.
        indices: Indices of the images in the data set, in ascending order.
    """

    data: Dataset
    indices: Indices

    @classmethod
    def choose(
        cls, data: Dataset, count: int, rng: np.random.Generator, training: Indices | None = None
    ) -> RealImages:
        """Return `count` random training images of a data set, or all of them if there are fewer.

        Args:
            data: The data set.
            count: Number of images.
            rng: Source of the random numbers.
            training: Indices of the images that the run trains on; by default all images.
        """
        indices = np.arange(data.count, dtype=np.int32) if training is None else training
        return cls(data, np.sort(indices[rng.permutation(len(indices))[:count]]))

    @property
    def labels(self) -> Indices | None:
        """Class of each image; None if the data has no classes."""
        return None if self.data.labels is None else self.data.labels[self.indices]

    def batches(self) -> Iterator[Pixels]:
        """Yield the real images in batches, uint8 (n, height, width, channels)."""
        for part in self._parts():
            yield self.data.take(self.indices[part])

    def generated(self, generator: keras.Model, label_count: int, first_seed: int) -> Iterator[Images]:
        """Yield as many generated images as there are real images, in batches of the same sizes.

        Args:
            generator: The network, which maps float32 latents to images.
            label_count: Number of the generator's labels. The generated images have the labels of the real
                images. With other labels, a difference between the proportions of the labels would increase
                the distance.
            first_seed: Seed of the first generated image. Each further image has the next seed.
        """
        dim = generator.input_shape[1] - label_count
        for part in self._parts():
            labels = None if self.data.labels is None else self.data.labels[self.indices[part]]
            seeds = first_seed + np.arange(part.start, part.stop)
            yield generator(generator_inputs(seeds, dim, label_count, labels), training=False).numpy()

    def _parts(self) -> Iterator[slice]:
        """Yield slices of `indices`, one for each batch.

        A batch has at most 256 images, and fewer if the images are large. So generating a batch takes less
        memory than a training step.
        """
        height, width, _ = self.data.image_shape
        size = min(256, max(16, 2**19 // (height * width)))
        for start in range(0, len(self.indices), size):
            yield slice(start, min(start + size, len(self.indices)))


class PixelDistance:
    """Sliced Wasserstein distance of the pixels (Rabin et al. 2011; Bonneel et al. 2015).

    The images are projected on 256 fixed random directions. For each direction, the projections of the real
    and of the generated images are sorted. The distance is the mean absolute difference between the sorted
    projections, over all images and directions.

    Distances are comparable for the steps of one run, and for runs of one recipe on one data set. They are
    not comparable for different data sets or image sizes.

    Args:
        data: The data set.
        training: Indices of the images that the run trains on; by default all images.
    """

    _PROJECTIONS = 256
    _SIDE = 32  # target side in pixels: larger images are averaged down to about this side
    _FIRST_SEED = SEED_LIMIT // 2  # first seed of the generated images, far above the seeds of previews

    def __init__(self, data: Dataset, training: Indices | None = None) -> None:
        height, width, _ = data.image_shape
        count = min(data.count, max(256, min(2048, 2**21 // (height * width))))
        self._factor = max(1, round(min(height, width) / self._SIDE))
        rng = np.random.default_rng(0)
        self._images = RealImages.choose(data, count, rng, training)
        real = np.concatenate(
            [self._shrink(batch.astype(np.float32) / 127.5 - 1.0) for batch in self._images.batches()]
        )
        self._directions = rng.normal(size=(real.shape[1], self._PROJECTIONS)).astype(np.float32)
        self._directions /= np.linalg.norm(self._directions, axis=0)
        self._projected = np.sort(real @ self._directions, axis=0)  # (count, projections)

    def measure(self, generator: keras.Model, label_count: int = 0) -> float:
        """Return the distance of a generator's images to the real images, for pixel values in [-1, 1].

        Args:
            generator: The network, which maps float32 latents to images.
            label_count: Number of the generator's labels.
        """
        batches = self._images.generated(generator, label_count, self._FIRST_SEED)
        fake = np.concatenate([self._shrink(batch) for batch in batches])
        projected = np.sort(fake @ self._directions, axis=0)
        return float(np.abs(projected - self._projected).mean())

    def _shrink(self, images: Images) -> npt.NDArray[np.float32]:
        """Return the images averaged down to about 32 pixels per side, float32 (n, values per image)."""
        count, height, width, channels = images.shape
        rows, columns = height // self._factor, width // self._factor
        cropped = images[:, : rows * self._factor, : columns * self._factor]
        blocks = cropped.reshape(count, rows, self._factor, columns, self._factor, channels)
        return np.asarray(blocks.mean(axis=(2, 4)).reshape(count, -1), dtype=np.float32)


class FrechetDistance:
    """Fréchet distance between generated images and the images that the run trains on.

    The distance compares features of the images: those of the data set's classifier for MNIST and
    Fashion-MNIST, and those of the general-purpose network for all other images. The distance is defined as
    in `evaluate`, but the values are not comparable with those of `evaluate`. Two differences have opposite
    effects. This measure uses fewer images, which makes the distance larger. The real images are training
    images, and the generated images have the same labels as the real images, which makes the distance
    smaller.

    Args:
        data: The data set.
        training: Indices of the images that the run trains on; by default all images.

    Attributes:
        images: The real images.
        real: Features of the real images, shape (n, d).

    Raises:
        EvaluationError: There are too few training images.
        MissingPackageError: onnxruntime is not installed.
    """

    # Largest number of real images, and of generated images, that are compared. The general-purpose network
    # takes 1.2 seconds on two cores for the features of 1,000 images.
    MOST_IMAGES = 1_000
    MOST_IMAGES_OF_SETS = 5_000
    # First seed of the generated images. Previews, golden images and evaluations use other seeds. So the best
    # checkpoint is chosen by images that are not shown or evaluated later.
    _FIRST_SEED = SEED_LIMIT // 2 + 2**40

    def __init__(self, data: Dataset, training: Indices | None = None) -> None:
        known = data.count if training is None else len(training)
        if known < MIN_IMAGES:
            raise EvaluationError(
                f"{known:,} images are too few for the Fréchet distance, which needs {MIN_IMAGES:,}; "
                "add images, or train without `evaluate_interval`"
            )
        self._network = FeatureNetwork(network_for(whole_set(data.name), data.image_shape))
        is_general = self._network.name == GENERAL_NETWORK
        count = min(known, self.MOST_IMAGES if is_general else self.MOST_IMAGES_OF_SETS)
        self.images = RealImages.choose(data, count, np.random.default_rng(0), training)
        self.real = np.concatenate([self._features(batch) for batch in self.images.batches()])

    def between(self, fake: Features) -> float:
        """Return the distance of generated images, given their features from `generated_features`."""
        return frechet_distance(self.real, fake)

    def generated_features(self, generator: keras.Model, label_count: int = 0) -> Features:
        """Return the features of generated images, one for each real image, shape (n, d).

        Args:
            generator: The network, which maps float32 latents to images.
            label_count: Number of the generator's labels.
        """
        batches = self.images.generated(generator, label_count, self._FIRST_SEED)
        return np.concatenate([self._features(to_uint8(batch)) for batch in batches])

    def _features(self, images: Pixels) -> Features:
        return self._network.extract(images)[0]
