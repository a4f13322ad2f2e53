"""How good a generator is while it trains: the Fréchet distance of `evaluate`, against images that it trains on."""

from __future__ import annotations

import keras
import numpy as np

from ganport.evaluation import FeatureNetwork
from ganport.evaluation.features import whole_set
from ganport.evaluation.measures import frechet_distance
from ganport.evaluation.references import FEWEST
from ganport.runtime import to_uint8
from ganport.runtime.errors import EvaluationError
from ganport.runtime.latents import generator_inputs
from ganport.runtime.seeds import SEED_LIMIT

from .datasets import Dataset
from .distance import images_at_once

# Of each kind, at most. The numbers don't compare with those of `evaluate`: fewer images make them larger, training images with
# the very classes that are asked for smaller.
IMAGES = 5_000
# Seeds that no preview, no golden image and no evaluation takes, so that the best checkpoint is not chosen by those.
_FIRST_SEED = SEED_LIMIT // 2 + 2**40


class Quality:
    """Real images, ready to be compared with, in the features of their set's classifier, or of that for folders.

    Raises:
        EvaluationError: too few images.
        MissingPackageError: onnxruntime is not installed.
    """

    def __init__(self, data: Dataset) -> None:
        if data.count < FEWEST:
            raise EvaluationError(f"{data.count:,} images are too few to be compared with, which takes {FEWEST:,}")
        name = whole_set(data.name)
        is_known = name in ("mnist", "fashion-mnist") and data.image_shape == (28, 28, 1)
        self._network = FeatureNetwork(name if is_known else "rock-paper-scissors")
        self._count = min(data.count, IMAGES)
        places = np.sort(np.random.default_rng(0).permutation(data.count)[: self._count]).astype(np.int32)
        self._at_once = images_at_once(*data.image_shape[:2])
        parts = (places[start : start + self._at_once] for start in range(0, self._count, self._at_once))
        self._real = np.concatenate([self._network.judge(data.take(part))[0] for part in parts])
        self._labels = None if data.labels is None else data.labels[places]

    def frechet(self, generator: keras.Model, classes: int = 0) -> float:
        """Return the distance of as many images of the generator; see `evaluation.measures.frechet_distance`.

        Args:
            generator: float32 latents -> images.
            classes: that it draws on demand: here those of the real images, or the mix of classes would count as a distance.
        """
        features = []
        for start in range(0, self._count, self._at_once):
            part = slice(start, min(start + self._at_once, self._count))
            labels = None if self._labels is None else self._labels[part]
            seeds = _FIRST_SEED + np.arange(part.start, part.stop)
            inputs = generator_inputs(seeds, generator.input_shape[1] - classes, classes, labels)
            features.append(self._network.judge(to_uint8(generator(inputs, training=False).numpy()))[0])
        return frechet_distance(self._real, np.concatenate(features))
