"""All the figures of a generator, with their protocol: how many images, in what features, against which real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ganport.runtime.errors import EvaluationError

from .features import FeatureNetwork, Pixels, check_shape
from .measures import class_figures, compare, nearest_share
from .references import FEWEST, Reference


@dataclasses.dataclass(frozen=True)
class Report:
    """What a generator scores.

    Attributes:
        data: the set whose images were used.
        network: the set whose classifier was used.
        protocol: which of its images, and which score the floor.
        images: drawn.
        real: images that they were compared with.
        frechet, kernel, precision, recall: see `measures`.
        labels: of the classes that the classifier tells; none where it learned from another set.
        shares, entropy, confidence: see `measures.ClassFigures`; empty and None without labels.
        nearest_in_training: share of the images whose nearest real image, of the training images and the reference's, is a
            training image: see `measures.nearest_share`. None without the training images, and where the reference is of these.
        agreement: share of the images that the classifier takes for the class that was asked for; None without labels.
        floor: what real images score; the number of images that its distances are of is "images".
        asked: whether each image was drawn for a class, as many of each as the real images have.
        by_class: whether those that score the floor have as many of each, too.
    """

    data: str
    network: str
    protocol: tuple[str, str]
    images: int
    real: int
    frechet: float
    kernel: float
    precision: float
    recall: float
    labels: tuple[str, ...]
    shares: tuple[float, ...]
    entropy: float | None
    confidence: float | None
    nearest_in_training: float | None
    agreement: float | None
    floor: dict[str, Any]
    asked: bool
    by_class: bool

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the figures for people: name, value, that of real images, and what it is."""
        floor = self.floor
        spread, kernels = (_range_of(floor.get(f"{figure}_of_parts", ()), form) for figure, form in _RANGED)
        rows = [
            ("Fréchet distance", f"{self.frechet:.3f}", f"{floor['frechet']:.3f}{spread}", "less is better"),
            ("kernel distance", f"{self.kernel:.4f}", f"{floor['kernel']:.4f}{kernels}", "less is better"),
            ("precision", f"{self.precision:.3f}", f"{floor['precision']:.3f}", "images among real ones"),
            ("recall", f"{self.recall:.3f}", f"{floor['recall']:.3f}", "real images among these"),
        ]
        if self.labels:
            most = np.log2(len(self.labels))
            rows += [
                ("confidence", f"{self.confidence:.3f}", f"{floor['confidence']:.3f}", "of the likeliest class"),
                ("entropy", f"{self.entropy:.3f}", f"{floor['entropy']:.3f}", f"in bits, at most {most:.3f}"),
            ]
            rows += [
                (f"  {label}", f"{share:.1%}", f"{real:.1%}", "")
                for label, share, real in zip(self.labels, self.shares, floor["shares"], strict=True)
            ]
        if self.agreement is not None:
            rows.append(("agreement", f"{self.agreement:.1%}", f"{floor['agreement']:.1%}", "of the class asked for"))
        if self.nearest_in_training is not None:
            new = f"{floor['nearest_in_training']:.1%}"
            rows.append(("next to training", f"{self.nearest_in_training:.1%}", new, "nearest real image is one"))
        return rows

    def describe(self) -> str:
        """Return what was compared with what."""
        reference, others = self.protocol
        network = "its classifier" if self.network == self.data else f"the classifier of {self.network}"
        whole = "pictures" if self.network != self.data else "training split"
        asked = f"; classes as often as in the {whole}" if self.asked else ""
        as_many = self.floor["images"]
        other = ""
        if self.images != as_many:
            other = (
                "; figures of other numbers of images don't compare: of fewer the Fréchet distance and recall come out larger"
            )
        return (
            f"{self.images:,} images against {self.real:,}, {reference} of {self.data}, in 64 features of {network}"
            f"{asked}; real images: {as_many:,} {others}{', of such classes' if self.by_class else ''}{other}"
        )


_RANGED = (("frechet", ".3f"), ("kernel", ".4f"))


def _range_of(parts: Sequence[float], form: str) -> str:
    return f" ({min(parts):{form}} to {max(parts):{form}})" if len(parts) > 1 else ""


def check_images(reference: Reference, count: int, shape: tuple[int, ...]) -> None:
    """Raise EvaluationError where so many images, of this height, width and channels, can't be measured."""
    check_count(count)
    check_shape(reference.network, shape)


def check_count(count: int) -> None:
    """Raise EvaluationError where so many images are too few."""
    if count < FEWEST:
        raise EvaluationError(f"{count:,} images are too few for these figures, which take {FEWEST:,}")


def _check_classes(asked: npt.NDArray[Any], count: int, reference: Reference) -> None:
    if asked.shape != (count,):
        raise EvaluationError(
            f"there are {count:,} images, and classes of the shape {asked.shape}; it takes one for each image"
        )
    classes = len(reference.labels)
    if asked.dtype.kind not in "iu" or asked.min() < 0 or asked.max() >= classes:
        raise EvaluationError(
            f"the classes that were asked for are whole numbers from 0 to {classes - 1}, as {reference.name} has"
        )


def evaluate(
    reference: Reference,
    images: Pixels | Iterable[Pixels],
    training: Pixels | None = None,
    asked: npt.NDArray[np.int64] | Sequence[int] | None = None,
) -> Report:
    """Return the figures of drawn images.

    Args:
        reference: real images to hold them against.
        images: uint8 (n, height, width, channels), n at least 500; or such arrays one after the other, as `Sampler.sample`
            draws them, of which only the features are kept.
        training: images of the set's training split, to look for copies.
        asked: the class that each image was drawn for, shape (n,), as many of each as `Reference.draw_labels` says.

    Raises:
        EvaluationError: too few images, no uint8, or of a shape that the classifier does not take; not one class of
            the set for each; no training images.
    """
    network = FeatureNetwork(reference.network)
    parts = [images] if isinstance(images, np.ndarray) else images
    judged = [network.judge(part) for part in parts if len(part)]
    count = sum(len(features) for features, _ in judged)
    check_count(count)
    features, probabilities = (np.concatenate(each) for each in zip(*judged, strict=True))
    if asked is not None:
        asked = np.asarray(asked)
        _check_classes(asked, count, reference)
    by_class = None if asked is None else reference.floor_by_class
    floor, nearest, classes, agreement = by_class or reference.floor, None, None, None
    if training is not None and not len(training):
        raise EvaluationError("there are no training images to look for copies among; leave them out")
    if training is not None and reference.is_unseen:
        nearest = nearest_share(features, network.judge(training)[0], reference.features)
        floor = {**floor, "nearest_in_training": len(training) / (len(training) + len(reference.features))}
    if reference.is_recognised:
        classes = class_figures(probabilities)
        agreement = None if asked is None else float((probabilities.argmax(axis=1) == asked).mean())
    return Report(
        data=reference.name,
        network=reference.network,
        protocol=reference.protocol,
        images=count,
        real=len(reference.features),
        **compare(reference.features, features, asked),
        labels=network.labels if classes else (),
        shares=classes.shares if classes else (),
        entropy=classes.entropy if classes else None,
        confidence=classes.confidence if classes else None,
        nearest_in_training=nearest,
        agreement=agreement,
        floor=floor,
        asked=asked is not None,
        by_class=by_class is not None,
    )
