"""All the figures of a generator, with their protocol: how many images, in what features, against which real ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from runtime.errors import EvaluationError

from .features import FeatureNetwork, Pixels
from .measures import class_figures, frechet_distance, kernel_distance, nearest_distances, precision_recall
from .references import Reference

FEWEST = 500  # images: below, the covariance of 64 features is noise


@dataclasses.dataclass(frozen=True)
class Report:
    """What a generator scores.

    Attributes:
        data: the set whose images and classifier were used.
        protocol: which of its images, and which score the floor.
        images: drawn.
        real: images that they were compared with.
        frechet, kernel, precision, recall: see `measures`.
        labels: of the classes.
        shares, entropy, confidence: see `measures.ClassFigures`.
        copies: share of the drawn images that lie nearer to a training image than all but 1 % of the reference's images do, in
            the same features: 0.01 is what images have that are as new as those. None without the training images, and where
            the reference is of these.
        agreement: share of the images that the classifier takes for the class that was asked for; None without labels.
        floor: what as many real training images score.
    """

    data: str
    protocol: tuple[str, str]
    images: int
    real: int
    frechet: float
    kernel: float
    precision: float
    recall: float
    labels: tuple[str, ...]
    shares: tuple[float, ...]
    entropy: float
    confidence: float
    copies: float | None
    agreement: float | None
    floor: dict[str, Any]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the figures for people: name, value, that of real images, and what it is."""
        floor, most = self.floor, np.log2(len(self.labels))
        rows = [
            (
                "Fréchet distance",
                f"{self.frechet:.3f}",
                f"{floor['frechet']:.3f}",
                "less is better",
            ),
            ("kernel distance", f"{self.kernel:.4f}", f"{floor['kernel']:.4f}", "less is better"),
            ("precision", f"{self.precision:.3f}", f"{floor['precision']:.3f}", "images that lie among real ones"),
            ("recall", f"{self.recall:.3f}", f"{floor['recall']:.3f}", "real images that lie among these"),
            ("confidence", f"{self.confidence:.3f}", f"{floor['confidence']:.3f}", "mean, in the likeliest class"),
            (
                "entropy",
                f"{self.entropy:.3f}",
                f"{floor['entropy']:.3f}",
                f"of the classes, of {most:.3f} bits",
            ),
        ]
        rows += [
            (f"  {label}", f"{share:.1%}", f"{real:.1%}", "")
            for label, share, real in zip(self.labels, self.shares, floor["shares"], strict=True)
        ]
        if self.agreement is not None:
            rows.append(("agreement", f"{self.agreement:.1%}", "", "images of the class asked for"))
        if self.copies is not None:
            rows.append(("copies", f"{self.copies:.1%}", "1.0%", "nearer to a training image than 99 % of others"))
        return rows

    def describe(self) -> str:
        """Return what was compared with what."""
        reference, others = self.protocol
        few = "" if self.images >= self.floor["images"] else "; so few images score worse than as many as those would"
        asked = "" if self.agreement is None else "; classes as often as in the training split"
        return (
            f"{self.images:,} images against {self.real:,}, {reference} of {self.data}, in 64 features of its classifier"
            f"{asked}; real images: {self.floor['images']:,} {others}{few}"
        )


def evaluate(
    network: FeatureNetwork,
    reference: Reference,
    images: Pixels,
    training: Pixels | None = None,
    asked: np.ndarray[Any, np.dtype[np.int64]] | None = None,
) -> Report:
    """Return the figures of drawn images.

    Args:
        network: to measure in.
        reference: real images of the same set.
        images: uint8 (n, height, width, channels), n at least 500.
        training: images of the set's training split, to look for copies.
        asked: the class that each image was drawn for, shape (n,).

    Raises:
        EvaluationError: too few images, or of a shape that the network does not take.
    """
    if len(images) < FEWEST:
        raise EvaluationError(f"{len(images):,} images are too few for these figures, which take {FEWEST:,}")
    features, probabilities = network.judge(images)
    precision, recall = precision_recall(reference.features, features)
    copies = None
    if training is not None and reference.is_unseen:
        seen = network.judge(training)[0]
        limit = np.quantile(nearest_distances(reference.features, seen), 0.01)
        copies = float((nearest_distances(features, seen) < limit).mean())
    return Report(
        data=reference.name,
        protocol=reference.protocol,
        images=len(images),
        real=len(reference.features),
        frechet=frechet_distance(reference.features, features),
        kernel=kernel_distance(reference.features, features),
        precision=precision,
        recall=recall,
        labels=network.labels,
        **dataclasses.asdict(class_figures(probabilities)),
        copies=copies,
        agreement=None if asked is None else float((probabilities.argmax(axis=1) == asked).mean()),
        floor=reference.floor,
    )
