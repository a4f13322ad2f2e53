"""The real images that figures compare with: as features, in small files, so that a device needs no data set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import EvaluationError
from runtime.files import replacing
from runtime.latents import labels_by_share

from .features import LABELS, FeatureNetwork, Pixels
from .measures import class_figures, frechet_distance, kernel_distance, precision_recall

REFERENCES = Path(__file__).parent / "references"


@dataclasses.dataclass(frozen=True)
class Reference:
    """Real images of a set.

    Attributes:
        name: of the set.
        features: float32 (n, 64).
        protocol: which images these are, and which score the floor.
        floor: what as many other real images score, by the name of the figure: as good as a generator can be; of several
            parts of them the mean.
        shares: of the classes in the training split.
    """

    name: str
    features: npt.NDArray[np.float32]
    protocol: tuple[str, str]
    floor: dict[str, Any]
    shares: tuple[float, ...]

    @property
    def is_unseen(self) -> bool:
        """Whether generators that learn from the training split have not seen these images."""
        return self.name != "rock-paper-scissors"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return LABELS[self.name]

    def draw_labels(self, count: int) -> npt.NDArray[np.int64]:
        """Return a class for each of so many images, shape (count,), as often as it comes in the training split.

        A generator that draws classes on demand is measured by these. In turn they would all be as frequent, which those of
        the real images may not be: the mix of classes would count as a distance.
        """
        return labels_by_share(count, self.shares)


def load_reference(name: str) -> Reference:
    """Return the real images of a set. Raises EvaluationError where there are none of that name."""
    if name not in LABELS:
        raise EvaluationError(f"there are no figures of {name!r}; --data takes {', '.join(LABELS)}")
    with np.load(REFERENCES / f"{name}.npz") as arrays:
        facts = json.loads(str(arrays["facts"]))
        features = arrays["features"].astype(np.float32)
    return Reference(name, features, tuple(facts["protocol"]), facts["floor"], tuple(facts["shares"]))


def write_reference(network: FeatureNetwork, train: Pixels, labels: npt.NDArray[np.integer], test: Pixels) -> Path:
    """Write the reference of a set; return where.

    That is the test split; as many images of the training split score the floor: all of them, part by part, since one part may
    score half as much again as another. The test split of rock-paper-scissors has hands of its own, few of them, which a
    generator can't have learned: there it is one half of the training split, and the other half scores the floor.

    Args:
        network: of the set.
        train: its images to learn from.
        labels: their classes, shape (n,).
        test: its other images.
    """
    shuffled = train[np.random.default_rng(0).permutation(len(train))]
    if network.name == "rock-paper-scissors":
        half = len(train) // 2
        reference, others = shuffled[:half], shuffled[half : 2 * half]
        protocol = "half of the training split", "of the other half"
    else:
        reference, others = test, shuffled
        protocol = "the test split", "of the training split"
    features = network.judge(reference)[0].astype(np.float16)  # 0.05 % of each number: 1e-4 of a distance
    size = len(reference)
    parts = [_score(network, features.astype(np.float32), others[at : at + size]) for at in range(0, len(others), size)]
    if len(parts) > 1:
        protocol = protocol[0], f"{protocol[1]}, the mean of {len(parts)} parts of it"
    floor = {figure: np.mean([part[figure] for part in parts], axis=0).tolist() for figure in parts[0]}
    floor |= {"images": size, "frechet_of_parts": [part["frechet"] for part in parts]}
    facts = {"protocol": protocol, "floor": floor, "shares": (np.bincount(labels) / len(labels)).tolist()}
    path = REFERENCES / f"{network.name}.npz"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, features=features, facts=np.array(json.dumps(facts)))
    return path


def _score(network: FeatureNetwork, real: npt.NDArray[np.float32], images: Pixels) -> dict[str, Any]:
    """Return the figures of real images against the reference's features."""
    features, probabilities = network.judge(images)
    precision, recall = precision_recall(real, features)
    return {
        "frechet": frechet_distance(real, features),
        "kernel": kernel_distance(real, features),
        "precision": precision,
        "recall": recall,
        **dataclasses.asdict(class_figures(probabilities)),
    }
