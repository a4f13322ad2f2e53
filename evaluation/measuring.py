"""Measuring images: comparing the features of generated images with those of real images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ganport.runtime.arrays import LabelIndices, Pixels

from .comparison import MOST_FOR_MARGINS, compare_features, estimate_margins
from .errors import EvaluationError, TooFewImagesError
from .features import check_image_shape, extract_all
from .measures import label_figures
from .neighbours import nearest_in_training
from .references import MIN_IMAGES, Reference
from .report import Report


def measure_images(
    reference: Reference,
    images: Pixels | Iterable[Pixels],
    *,
    training: Pixels | None = None,
    labels: npt.NDArray[np.integer] | Sequence[int] | None = None,
) -> Report:
    """Return a report on generated images, which are compared with a reference.

    Args:
        reference: Real images to compare with.
        images: At least 50 generated images, uint8 (n, height, width, channels). Or an iterable that yields
            the images in batches of this shape, such as the result of `Sampler.stream`. Of earlier batches
            only the features are kept in memory, not the images.
        training: Images of the data set's training split, to detect copies of training images.
        labels: Requested label of each image, shape (n,). Each label should be as frequent as in the
            result of `Reference.matching_labels`.

    Raises:
        TooFewImagesError: There are fewer than 50 images.
        ImageShapeError: The network of the reference does not take images of this shape.
        EvaluationError: The images are not uint8, `labels` does not have one label of the data set for each
            image, or `training` is empty.
    """
    if training is not None and not len(training):
        raise EvaluationError(
            "`training` holds no images; leave `training` out if copies need not be detected"
        )
    batches = [images] if isinstance(images, np.ndarray) else images
    features, probabilities = extract_all(
        reference.network, reference.classifier, batches, side=reference.side
    )
    count = len(features)
    check_count(count)
    requested = None if labels is None else _check_labels(np.asarray(labels), count, reference)
    baseline, is_matched = reference.baseline, False
    if requested is not None and reference.label_matched_baseline is not None:
        baseline, is_matched = reference.label_matched_baseline, True
    nearest = None
    if training is not None and reference.is_held_out:
        training_features, _ = extract_all(reference.network, "", [training], side=reference.side)
        nearest = nearest_in_training(features, training_features, reference.features)
        share = len(training) / (len(training) + len(reference.features))
        baseline = {**baseline, "nearest_in_training": share}
    found = label_figures(probabilities) if reference.classifier else None
    accuracy = None
    if found is not None and requested is not None:
        accuracy = float((probabilities.argmax(axis=1) == requested).mean())
    margins: dict[str, float] = {}
    if max(count, len(reference.features)) <= MOST_FOR_MARGINS:
        margins = estimate_margins(reference.features, features)
    figures = compare_features(reference.features, features, labels=requested)
    return Report(
        data=reference.name,
        network=reference.network,
        protocol=reference.protocol,
        images=count,
        real=len(reference.features),
        frechet=figures["frechet"],
        kernel=figures["kernel"],
        precision=figures["precision"],
        recall=figures["recall"],
        density=figures["density"],
        coverage=figures["coverage"],
        margins=margins,
        labels=reference.labels if found else (),
        shares=found.shares if found else (),
        entropy=found.entropy if found else None,
        confidence=found.confidence if found else None,
        nearest_in_training=nearest,
        label_accuracy=accuracy,
        baseline=baseline,
        labels_requested=requested is not None,
        baseline_label_matched=is_matched,
    )


def check_measurable(reference: Reference, count: int, shape: tuple[int, ...]) -> None:
    """Raise an EvaluationError unless images of this number and shape can be compared with a reference.

    Args:
        reference: Real images to compare with.
        count: Number of images.
        shape: Height, width and channels of the images.
    """
    check_count(count)
    check_image_shape(reference.network, shape)


def check_count(count: int, what: str = "images") -> None:
    """Raise TooFewImagesError if the count is less than the number of images that the metrics need."""
    if count < MIN_IMAGES:
        raise TooFewImagesError(count, MIN_IMAGES, what)


def _check_labels(labels: npt.NDArray[np.integer], count: int, reference: Reference) -> LabelIndices:
    """Return the labels as int64.

    Raises:
        EvaluationError: The number of labels is not the number of images, or a label is not an index into the
            labels of the reference.
    """
    if labels.shape != (count,):
        problem = f"`labels` have shape {labels.shape}; expected one label for each of {count:,} images"
        raise EvaluationError(problem)
    known = len(reference.labels)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= known:
        problem = (
            f"`labels` are not all labels of {reference.name}; expected whole numbers from 0 to {known - 1}"
        )
        raise EvaluationError(problem)
    return labels.astype(np.int64)
