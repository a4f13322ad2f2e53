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
    """Real images of a set's test split.

    Attributes:
        name: of the set.
        features: float32 (n, 64).
        floor: what as many real images of the training split score, by the name of the figure: as good as a generator can be.
    """

    name: str
    features: npt.NDArray[np.float32]
    floor: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return LABELS[self.name]


def load_reference(name: str) -> Reference:
    """Return the real images of a set. Raises EvaluationError where there are none of that name."""
    if name not in LABELS:
        raise EvaluationError(f"there are no figures of {name!r}; --data takes {', '.join(LABELS)}")
    with np.load(REFERENCES / f"{name}.npz") as arrays:
        return Reference(name, arrays["features"].astype(np.float32), json.loads(str(arrays["floor"])))


def write_reference(network: FeatureNetwork, train: Pixels, test: Pixels) -> Path:
    """Write the reference of a set; return where.

    Args:
        network: of the set.
        train: its images to learn from.
        test: its other images.
    """
    features = network.judge(test)[0].astype(np.float16)  # 0.05 % of each number: 1e-4 of a distance
    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[: len(test)])
    drawn, probabilities = network.judge(train[chosen])
    real = features.astype(np.float32)
    precision, recall = precision_recall(real, drawn)
    floor = {
        "images": len(chosen),
        "frechet": frechet_distance(real, drawn),
        "kernel": kernel_distance(real, drawn),
        "precision": precision,
        "recall": recall,
        **dataclasses.asdict(class_figures(probabilities)),
    }
    path = REFERENCES / f"{network.name}.npz"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, features=features, floor=np.array(json.dumps(floor)))
    return path
