"""The real images that figures compare with: as features, in small files, so that a device needs no data set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganport.runtime.errors import EvaluationError
from ganport.runtime.files import replacing
from ganport.runtime.latents import labels_by_share

from .features import FOLDERS, LABELS, FeatureNetwork, Pixels
from .measures import class_figures, compare

Labels = npt.NDArray[np.integer[Any]]

REFERENCES = Path(__file__).parent / "references"
FEWEST = 500  # images: below, the covariance of 64 features is noise
_MOST = 20_000  # of one's own pictures that are looked at
_PART = 250  # pictures in memory at once
_FEWEST_WAYS, _MOST_WAYS = 3, 10  # to halve one's own pictures
_PAIRS = 100_000_000  # that all of these may take together: 12 s on two cores


@dataclasses.dataclass(frozen=True)
class Reference:
    """Real images of a set.

    Attributes:
        name: of the set.
        network: name of the classifier that sees the features, a key of LABELS.
        features: float32 (n, 64).
        protocol: which images these are, and which score the floor.
        floor: what as many other real images score, by the name of the figure: as good as a generator can be; of several
            parts of them the mean. "agreement" is how many of these images the classifier takes for what they are.
        labels: names of the classes of the set; none where it has none.
        shares: of the classes in the training split.
        is_recognised: whether the classifier learned from this set, so that it tells these classes.
        floor_by_class: what they score where there are as many of each class as `draw_labels` asks for: a little less, since
            chance does not mix the classes. None where that was not measured.
    """

    name: str
    network: str
    features: npt.NDArray[np.float32]
    protocol: tuple[str, str]
    floor: dict[str, Any]
    labels: tuple[str, ...]
    shares: tuple[float, ...]
    is_recognised: bool = True
    floor_by_class: dict[str, Any] | None = None

    @property
    def is_unseen(self) -> bool:
        """Whether generators that learn from the training split have not seen these images."""
        return self.network != FOLDERS

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
    reference = Reference(name, name, features, tuple(facts["protocol"]), facts["floor"], LABELS[name], tuple(facts["shares"]))
    return dataclasses.replace(reference, floor_by_class=facts.get("floor_by_class"))


def own_reference(
    name: str,
    count: int,
    take: Callable[[npt.NDArray[np.int32]], Pixels],
    classes: Sequence[str] = (),
    labels: Labels | None = None,
) -> Reference:
    """Return pictures of any kind as a reference: one half of them, or 10,000; halves against halves score the floor.

    The features are those of the network for folders, which learned from hands: they tell textures and shapes, and know nothing
    of the classes.

    Args:
        name: for people.
        count: of the pictures.
        take: gives those of some places, uint8 (n, height, width, channels).
        classes: names, where the pictures have some.
        labels: the class of each picture, its place among `classes`, shape (count,). Without these, classes don't count.

    Raises:
        EvaluationError: fewer pictures than 1,000.
    """
    if count < 2 * FEWEST:
        raise EvaluationError(f"{name} has {count:,} pictures; to compare with one half of them takes {2 * FEWEST:,}")
    network = FeatureNetwork(FOLDERS)
    places = np.random.default_rng(0).permutation(count)[:_MOST].astype(np.int32)
    parts = [network.judge(take(places[at : at + _PART]))[0] for at in range(0, len(places), _PART)]
    features = np.concatenate(parts)
    half = len(places) // 2
    some = "half" if len(places) == count else f"{half:,}"
    floor = _floor_of_halves(features, half)
    known: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    if labels is not None:
        known, shares = tuple(classes), tuple((np.bincount(labels, minlength=len(classes)) / count).tolist())
    ways = len(floor["frechet_of_parts"])
    protocol = f"{some} of the pictures", f"against as many others of them, the mean of {ways} ways to halve them"
    return Reference(name, FOLDERS, features[:half], protocol, floor, known, shares, is_recognised=False)


def _floor_of_halves(features: npt.NDArray[np.float32], half: int) -> dict[str, Any]:
    """Return the mean figures of one half of some pictures against the other, halved in several ways.

    One way is chance: a few odd pictures on one side moved the Fréchet distance of 3,000 clothes from 0.08 to 0.68.
    """
    ways = int(np.clip(_PAIRS // half**2, _FEWEST_WAYS, _MOST_WAYS))
    draws = np.random.default_rng(0)
    halved = [features[draws.permutation(len(features))] for _ in range(ways)]
    figures = [compare(each[:half], each[half : 2 * half]) for each in halved]
    means = {figure: float(np.mean([each[figure] for each in figures])) for figure in figures[0]}
    parts = {f"{figure}_of_parts": [each[figure] for each in figures] for figure in ("frechet", "kernel")}
    return {**means, "images": half, **parts}


def write_reference(
    network: FeatureNetwork,
    train: tuple[Pixels, Labels],
    test: tuple[Pixels, Labels],
) -> Path:
    """Write the reference of a set; return where.

    That is the test split; as many images of the training split score the floor: all of them, part by part, since one part may
    score half as much again as another; once as they come, and once as many of each class as `draw_labels` asks for. The test
    split of rock-paper-scissors has hands of its own, few of them, which a generator can't have learned: there it is one half
    of the training split, and the other half scores the floor, as it comes.

    Args:
        network: of the set.
        train: its images to learn from, and their classes, shape (n,).
        test: its other images, and theirs.
    """
    order = np.random.default_rng(0).permutation(len(train[0]))
    shuffled, classes = train[0][order], train[1][order]
    if network.name == FOLDERS:
        half = len(shuffled) // 2
        (images, known), others = (shuffled[:half], classes[:half]), slice(half, 2 * half)
        protocol = "half of the training split", "of the other half"
    else:
        (images, known), others = test, slice(None)
        protocol = "the test split", "of the training split"
    features, probabilities = network.judge(images)
    features = features.astype(np.float16)  # 0.05 % of each number: 1e-4 of a distance
    real, size = features.astype(np.float32), len(features)
    shares = tuple((np.bincount(classes) / len(classes)).tolist())
    judged, judged_classes = network.judge(shuffled[others]), classes[others]
    count = len(judged_classes) // size
    if count > 1:
        protocol = protocol[0], f"{protocol[1]}, the mean of {count} parts of it"
    agreement = {"agreement": float((probabilities.argmax(axis=1) == known).mean())}
    facts: dict[str, Any] = {"protocol": protocol, "shares": shares}
    facts["floor"] = _floor(real, judged, np.arange(count * size).reshape(count, size)) | agreement
    if count > 1:
        asked = labels_by_share(size, shares)
        facts["floor_by_class"] = _floor(real, judged, _parts_by_class(judged_classes, asked, count), asked) | agreement
    path = REFERENCES / f"{network.name}.npz"
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, features=features, facts=np.array(json.dumps(facts)))
    return path


def _parts_by_class(classes: Labels, asked: Labels, count: int) -> npt.NDArray[np.int64]:
    """Return places of images in so many parts, each with the classes that were asked for, shape (count, len(asked)).

    No image comes twice in a part; where a class is short of a few, the last part has some of the first's.
    """
    parts = np.empty((count, len(asked)), np.int64)
    for each in np.unique(asked):
        there, wanted = np.flatnonzero(classes == each), asked == each
        parts[:, wanted] = np.resize(there, (count, np.count_nonzero(wanted)))
    return parts


def _floor(
    real: npt.NDArray[np.float32],
    judged: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    parts: npt.NDArray[np.int64],
    asked: Labels | None = None,
) -> dict[str, Any]:
    """Return the mean figures of parts of real images against the reference's features.

    Args:
        real: the reference's features.
        judged: features and probabilities of the images.
        parts: places of images, shape (parts, images).
        asked: their classes, where each part has as many of each.
    """
    features, probabilities = judged
    figures = [compare(real, features[part], asked) | dataclasses.asdict(class_figures(probabilities[part])) for part in parts]
    means = {figure: np.mean([each[figure] for each in figures], axis=0).tolist() for figure in figures[0]}
    return means | {"images": parts.shape[1], "frechet_of_parts": [each["frechet"] for each in figures]}
