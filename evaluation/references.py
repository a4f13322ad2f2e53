"""References: the features of real images, with which generated images are compared.

A reference also has a baseline: the result of comparing other real images with those of the reference.

The references of the public data sets are bundled as small files, so an evaluation needs no data set. A
reference of the user's own images is built from a Dataset.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganport.datasets import Dataset
from ganport.datasets.named import LABELS
from ganport.runtime.arrays import LabelIndices, Pixels
from ganport.runtime.files import replacing
from ganport.runtime.latents import labels_by_share

from .comparison import compare_features
from .errors import EvaluationError, TooFewImagesError
from .features import GENERAL_NETWORK, GENERAL_SIDE, SET_NETWORKS, extract_all
from .measures import Features, Probabilities, label_figures

REFERENCES = Path(__file__).parent / "references"
MIN_IMAGES = 50  # least number of images; with fewer, even large differences are within the margins
SMALL_SIDE = 64  # pixels per side of the real images with which generated images below 96x96 are compared
_MAX_IMAGES = 20_000  # limit for the number of the user's images that are used
_READ_AT_ONCE = 250  # number of images that are read into memory at a time
_MIN_SPLITS, _MAX_SPLITS = 3, 10  # limits for the number of random splits of the user's images into halves
_MAX_PAIRS = 100_000_000  # limit for the image pairs of all splits; 1e8 pairs take 12 s on two cores


@dataclasses.dataclass(frozen=True)
class Reference:
    """The features of real images to compare with, and a baseline.

    Attributes:
        name: Name of the data set.
        network: Name of the network that extracted the features, as for `FeatureNetwork`.
        features: Features of the real images, float32 (n, d).
        protocol: Two texts: what the real images are, and what the images of the baseline are.
        baseline: Mapping from the names of the metrics to their values for a second set of real images. It is
            compared with the first set, as generated images are, and a generator can't be expected to score
            better. The second set may have several parts of the size of the first set. The values are then
            means over the parts. The entry "label_accuracy" is the accuracy of the classifier on the first
            set.
        labels: Names of the labels of the data set; empty if it has no labels.
        shares: Share of each label in the training split, or in the user's own images; empty without labels.
        classifier: Name of the network that predicts these labels, as for `FeatureNetwork`; empty if there is
            none.
        side: Pixels per side to which images are resized first; see `features.prepare_images`. None keeps
            their size.
        label_matched_baseline: Like `baseline`, but the label frequencies of each part are exactly those of
            `matching_labels`. These parts score a little better than random parts, because the label
            frequencies of random parts vary by chance. None if this baseline was not measured.
    """

    name: str
    network: str
    features: Features
    protocol: tuple[str, str]
    baseline: dict[str, Any]
    labels: tuple[str, ...]
    shares: tuple[float, ...]
    classifier: str = ""
    side: int | None = None
    label_matched_baseline: dict[str, Any] | None = None

    @property
    def is_held_out(self) -> bool:
        """Whether the real images are known to be outside of the training split.

        A generator that was trained on the training split has then not seen them.
        """
        return self.network in SET_NETWORKS

    def matching_labels(self, count: int) -> LabelIndices:
        """Return the labels to request for this number of images, shape (count,).

        The labels are as frequent as in the training split. If all labels were equally frequent, the
        difference from the label frequencies of the real images would increase the distances.
        """
        return labels_by_share(count, self.shares)


def load_reference(name: str, *, image_side: int = GENERAL_SIDE) -> Reference:
    """Return the bundled reference of a public data set.

    Args:
        name: Name of the data set, a key of LABELS.
        image_side: Smaller side of the generated images, in pixels. Rock-Paper-Scissors has two references:
            real images in 96x96 pixels, and for smaller generated images real ones in 64x64 pixels.

    Raises:
        EvaluationError: There is no bundled reference of this name.
    """
    if name not in LABELS:
        raise EvaluationError(
            f"there is no bundled reference {name!r}; the references are {', '.join(LABELS)}"
        )
    is_small = name not in SET_NETWORKS and image_side < GENERAL_SIDE
    with np.load(_path(name, SMALL_SIDE if is_small else None)) as arrays:
        facts = json.loads(str(arrays["facts"]))
        features = arrays["features"].astype(np.float32)
    return Reference(
        name=name,
        network=facts["network"],
        features=features,
        protocol=tuple(facts["protocol"]),
        baseline=facts["baseline"],
        labels=LABELS[name],
        shares=tuple(facts["shares"]),
        classifier=name,
        side=facts["side"],
        label_matched_baseline=facts.get("label_matched_baseline"),
    )


def build_reference(data: Dataset) -> Reference:
    """Return a reference of the user's own images.

    One half of the images are the real images of the reference, and the other half gives the baseline. Each
    half has at most 10,000 images. The features come from the general-purpose network. It does not know the
    labels of the user's images.

    Args:
        data: Images of any kind and size.

    Raises:
        TooFewImagesError: There are fewer than 100 images.
        DatasetContentError: An image can't be read.
    """
    if data.count < 2 * MIN_IMAGES:
        what = f"images in `data` ({data.name})"
        raise TooFewImagesError(data.count, 2 * MIN_IMAGES, what)
    indices = np.random.default_rng(0).permutation(data.count)[:_MAX_IMAGES].astype(np.int32)
    starts = range(0, len(indices), _READ_AT_ONCE)
    batches = (data.take(indices[start : start + _READ_AT_ONCE]) for start in starts)
    features, _ = extract_all(GENERAL_NETWORK, "", batches)
    half = len(indices) // 2
    baseline = _baseline_of_halves(features, half)
    labels: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    if data.labels is not None:
        labels = tuple(data.classes)
        shares = tuple((np.bincount(data.labels, minlength=len(labels)) / data.count).tolist())
    is_whole = len(indices) == data.count
    splits = len(baseline["frechet_of_parts"])
    return Reference(
        name=data.name,
        network=GENERAL_NETWORK,
        features=features[:half],
        protocol=(
            "half of the images" if is_whole else f"{half:,} of the images",
            f"{'the other half' if is_whole else 'as many others'}, mean of {splits} random splits",
        ),
        baseline=baseline,
        labels=labels,
        shares=shares,
    )


def _baseline_of_halves(features: Features, half: int) -> dict[str, Any]:
    """Return the metrics of one half of the images against the other half, as means over random splits.

    The result of a single split depends on chance: a few odd images in one half moved the Fréchet distance
    of 3,000 images of Fashion-MNIST from 0.08 to 0.68.
    """
    splits = int(np.clip(_MAX_PAIRS // half**2, _MIN_SPLITS, _MAX_SPLITS))
    random = np.random.default_rng(0)
    figures = []
    for _ in range(splits):
        shuffled = features[random.permutation(len(features))]
        figures.append(compare_features(shuffled[:half], shuffled[half : 2 * half]))
    means = {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
    parts = {f"{name}_of_parts": [each[name] for each in figures] for name in ("frechet", "kernel")}
    return {**means, "images": half, **parts}


def _path(name: str, side: int | None) -> Path:
    """Return the path of a bundled reference, whose images are resized to `side` pixels per side first."""
    return REFERENCES / (f"{name}.npz" if side is None else f"{name}-{side}.npz")


def write_reference(
    name: str,
    *,
    train: tuple[Pixels, LabelIndices],
    test: tuple[Pixels, LabelIndices],
    side: int | None = None,
) -> Path:
    """Write the bundled reference of a public data set, and return its path.

    The real images are the test split. The baseline comes from parts of the training split, each with as many
    images as the test split. All parts are measured, because the distances of two parts may differ by a
    factor of 1.5. There are two baselines: one of random parts, and one of parts with the label frequencies
    of `Reference.matching_labels`.

    Rock-Paper-Scissors is an exception. The hands in its test split are not in its training split, so no
    generator can learn them. So the real images are one half of the training split, and the baseline comes
    from the other half.

    Args:
        name: Name of the data set, a key of LABELS.
        train: Images of the training split, and their labels, shape (n,).
        test: Images of the test split, and their labels.
        side: Pixels per side to which the images are resized first; see `features.prepare_images`.
    """
    order = np.random.default_rng(0).permutation(len(train[0]))
    shuffled, shuffled_labels = train[0][order], train[1][order]
    network = name if name in SET_NETWORKS else GENERAL_NETWORK
    if name in SET_NETWORKS:
        (images, labels), others = test, slice(None)
        protocol = "the test split", "the training split"
    else:
        half = len(shuffled) // 2
        (images, labels), others = (shuffled[:half], shuffled_labels[:half]), slice(half, 2 * half)
        protocol = "half of the training split", "the other half"
    if side is not None:
        protocol = f"{protocol[0]} in {side}x{side} pixels", protocol[1]
    extract = functools.partial(extract_all, network, name, side=side)
    features, probabilities = extract([images])
    # float16 changes each value by at most 0.05 %, and a Fréchet distance by less than 0.01 %.
    features = features.astype(np.float16)
    real, size = features.astype(np.float32), len(features)
    shares = tuple((np.bincount(shuffled_labels) / len(shuffled_labels)).tolist())
    other_images, other_labels = extract([shuffled[others]]), shuffled_labels[others]
    count = len(other_labels) // size
    if count > 1:
        protocol = protocol[0], f"{protocol[1]}, mean of {count} parts"
    accuracy = {"label_accuracy": float((probabilities.argmax(axis=1) == labels).mean())}
    facts: dict[str, Any] = {"network": network, "side": side, "protocol": protocol, "shares": shares}
    parts = np.arange(count * size).reshape(count, size)
    facts["baseline"] = _baseline_of_parts(real, other_images, parts) | accuracy
    if count > 1:
        requested = labels_by_share(size, shares)
        parts = _label_matched_parts(other_labels, requested, count)
        matched = _baseline_of_parts(real, other_images, parts, labels=requested)
        facts["label_matched_baseline"] = matched | accuracy
    path = _path(name, side)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, features=features, facts=np.array(json.dumps(facts)))
    return path


def _label_matched_parts(labels: LabelIndices, requested: LabelIndices, count: int) -> npt.NDArray[np.int64]:
    """Choose groups of images with the requested labels; return the image indices, shape (count, images).

    No group contains an image twice. If a label has too few images, the last group reuses images of the
    first group.

    Args:
        labels: Labels of the images, shape (n,).
        requested: Label of each image in a group, shape (images,).
        count: Number of groups.
    """
    parts = np.empty((count, len(requested)), np.int64)
    for label in np.unique(requested):
        found, is_requested = np.flatnonzero(labels == label), requested == label
        parts[:, is_requested] = np.resize(found, (count, np.count_nonzero(is_requested)))
    return parts


def _baseline_of_parts(
    real: Features,
    others: tuple[Features, Probabilities],
    parts: npt.NDArray[np.int64],
    *,
    labels: LabelIndices | None = None,
) -> dict[str, Any]:
    """Return the metrics of other real images against the real images of a reference.

    The metrics are means over parts of the other real images.

    Args:
        real: Features of the real images of the reference.
        others: Features and label probabilities of the other real images.
        parts: Image indices of each part, shape (parts, images).
        labels: Label of each image in a part, if the parts were chosen by label; see `kernel_distance`.
    """
    features, probabilities = others
    figures = []
    for part in parts:
        distances = compare_features(real, features[part], labels=labels)
        figures.append(distances | dataclasses.asdict(label_figures(probabilities[part])))
    means = {name: np.mean([each[name] for each in figures], axis=0).tolist() for name in figures[0]}
    return means | {"images": parts.shape[1], "frechet_of_parts": [each["frechet"] for each in figures]}
