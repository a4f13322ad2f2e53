"""Watch: the facts at a checkpoint that show whether a training goes wrong; `findings` decides from them."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import numpy.typing as npt

from ganport.datasets.dataset import Dataset
from ganport.evaluation.measures import Features, variety
from ganport.evaluation.neighbours import share_of_copies
from ganport.runtime.arrays import Pixels
from ganport.runtime.seeds import SEED_LIMIT

from .findings import COPIES, GROWTH, MEMORISING, VARIETY
from .held_out import Split
from .measures import FrechetDistance, Images, Indices, RealImages
from .networks import Networks
from .recipe import Recipe

Logits = npt.NDArray[np.float32]  # (n,)


class Watch:
    """Measures the facts of a run at its checkpoints.

    Args:
        recipe: The recipe.
        data: The images.
        split: The images that the run trains on, and those that it holds out.
        networks: The networks of the run.
        frechet: The Fréchet distance, whose features are used; None if it is not measured.
        initial_sizes: Sizes of the generator's kernels before the first step; see `kernel_sizes`.
    """

    _MOST_IMAGES = 500  # largest number of training images, and of generated images, that are discriminated
    # First seed of the generated images that are discriminated. Previews, golden images, evaluations and the
    # measures use other seeds.
    _FIRST_SEED = SEED_LIMIT // 2 + 2**41

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        split: Split,
        networks: Networks,
        frechet: FrechetDistance | None,
        initial_sizes: list[float],
    ) -> None:
        self._initial_sizes = initial_sizes
        self._recipe, self._networks, self._frechet = recipe, networks, frechet
        self._held_out = RealImages(data, split.held_out)
        count = min(self._MOST_IMAGES, len(split.training))
        self._training = RealImages.choose(data, count, np.random.default_rng(0), split.training)

    def measure(self, generator: keras.Model, fake: Features | None) -> dict[str, float]:
        """Return the facts of a checkpoint by their names in the history.

        Args:
            generator: The generator in the form that is exported.
            fake: Features of generated images, from `FrechetDistance.generated_features`; None if the Fréchet
                distance is not measured at this step. Then the facts that need features are missing.
        """
        facts = {GROWTH: growth(self._initial_sizes, kernel_sizes(self._networks.generator))}
        if len(self._held_out.indices):
            facts[MEMORISING] = self._memorising(generator)
        if fake is not None and self._frechet is not None:
            labels = self._frechet.images.labels if self._recipe.labels else None
            facts[VARIETY] = variety(self._frechet.real, fake, labels)
            facts[COPIES] = share_of_copies(self._frechet.real, fake)
        return facts

    def _memorising(self, generator: keras.Model) -> float:
        """Return how much the discriminator knows the training images by heart; see `memorising`."""
        labels = len(self._recipe.labels)
        generated = self._training.generated(generator, labels, self._FIRST_SEED)
        return memorising(
            self._logits(map(to_images, self._training.batches()), self._training.labels),
            self._logits(map(to_images, self._held_out.batches()), self._held_out.labels),
            self._logits(generated, self._training.labels),
        )

    def _logits(self, batches: Iterable[Images], labels: Indices | None) -> Logits:
        """Return the discriminator's logits of images, without augmentation, for the label of each image."""
        network = self._networks.discriminator
        logits = np.concatenate([np.asarray(network(batch, training=False), np.float32) for batch in batches])
        if not self._recipe.labels:
            return logits[:, 0]
        return logits[np.arange(len(logits)), labels]


def to_images(pixels: Pixels) -> Images:
    """Return uint8 pixels as float32 images in [-1, 1]."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def memorising(training: Logits, held_out: Logits, fake: Logits) -> float:
    """Return the share of the discriminator's distance from training to generated images that is memory.

    A discriminator that has learned what real images look like has the same logits for training images and
    for held-out ones, and the result is about 0. If it knows the training images by heart, it takes held-out
    images for generated ones, and the result is about 1. This is r_v of Karras et al., "Training generative
    adversarial networks with limited data", NeurIPS 2020, equation 1. The result is 0 if the means of
    training and held-out images differ by less than three standard errors.

    Args:
        training: Logits of images that the run trains on.
        held_out: Logits of real images that the run does not train on.
        fake: Logits of generated images.
    """
    gap = float(training.mean()) - float(held_out.mean())
    error = float(np.sqrt(training.var() / len(training) + held_out.var() / len(held_out)))
    whole = float(training.mean()) - float(fake.mean())
    if whole <= 0 or gap < 3 * error:
        return 0.0
    return gap / whole


def kernel_sizes(network: keras.Model) -> list[float]:
    """Return the root mean square of each kernel of a network."""
    kernels = [variable.numpy() for variable in network.trainable_variables if len(variable.shape) > 1]
    return [float(np.sqrt(np.mean(np.square(kernel, dtype=np.float64)))) for kernel in kernels]


def growth(initial: list[float], sizes: list[float]) -> float:
    """Return the geometric mean of the growth of kernels: their size over their initial size.

    Updates that are too large make the kernels grow in the first steps, since they are mostly noise. A kernel
    that is zero at first, as at the end of a residual block, does not count.

    >>> growth([0.1, 0.2, 0.0], [0.2, 1.6, 0.1])
    4.0
    """
    pairs = [(size, first) for size, first in zip(sizes, initial, strict=True) if first > 0]
    if not pairs:
        return 1.0
    ratios = np.array([size / first for size, first in pairs])
    return float(np.exp(np.log(np.maximum(ratios, 1e-12)).mean()))
