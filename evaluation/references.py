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
        floor: what as many other real images score, by the name of the figure: as good as a generator can be.
    """

    name: str
    features: npt.NDArray[np.float32]
    protocol: tuple[str, str]
    floor: dict[str, Any]

    @property
    def is_unseen(self) -> bool:
        """Whether generators that learn from the training split have not seen these images."""
        return self.name != "rock-paper-scissors"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return LABELS[self.name]


def load_reference(name: str) -> Reference:
    """Return the real images of a set. Raises EvaluationError where there are none of that name."""
    if name not in LABELS:
        raise EvaluationError(f"there are no figures of {name!r}; --data takes {', '.join(LABELS)}")
    with np.load(REFERENCES / f"{name}.npz") as arrays:
        facts = json.loads(str(arrays["facts"]))
        return Reference(name, arrays["features"].astype(np.float32), tuple(facts["protocol"]), facts["floor"])


def write_reference(network: FeatureNetwork, train: Pixels, test: Pixels) -> Path:
    """Write the reference of a set; return where.

    That is the test split, and as many images of the training split score the floor. The test split of rock-paper-scissors has
    hands of its own, few of them, which a generator can't have learned: there it is one half of the training split, and the
    other half scores the floor.

    Args:
        network: of the set.
        train: its images to learn from.
        test: its other images.
    """
    shuffled = train[np.random.default_rng(0).permutation(len(train))]
    if network.name == "rock-paper-scissors":
        half = len(train) // 2
        reference, others = shuffled[:half], shuffled[half : 2 * half]
        protocol = "half of the training split", "of the other half"
    else:
        reference, others = test, shuffled[: len(test)]
        protocol = "the test split", "of the training split"
    features = network.judge(reference)[0].astype(np.float16)  # 0.05 % of each number: 1e-4 of a distance
    drawn, probabilities = network.judge(others)
    real = features.astype(np.float32)
    precision, recall = precision_recall(real, drawn)
    floor = {
        "images": len(others),
        "frechet": frechet_distance(real, drawn),
        "kernel": kernel_distance(real, drawn),
        "precision": precision,
        "recall": recall,
        **dataclasses.asdict(class_figures(probabilities)),
    }
    path = REFERENCES / f"{network.name}.npz"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, features=features, facts=np.array(json.dumps({"protocol": protocol, "floor": floor})))
    return path
