"""Proposal: the settings with which the recipe `images` is trained on a folder, chosen from its survey."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ganport.datasets.errors import DatasetContentError
from ganport.datasets.survey import Survey

from .recipe import DiffAugment
from .start_weights import Start

FEWEST_IMAGES = 50  # with fewer images, a generator repeats its training images
SIZES = (32, 64, 128, 256)  # sides in pixels that are proposed
_USUAL_SIZE = 64  # largest side that is proposed by itself; a larger one takes four times as long or more
_FEWEST_PER_CLASS = 50  # with fewer images in a class, the generator is trained without labels
_MOST_CLASSES = 100
_NEARLY_SQUARE = 1.1  # largest ratio of the sides of images that become squares
_GREY_SHARE = 0.99  # share of grey images from which on the images are trained without colour
_SHARE_OF_SMALLER = 0.1  # share of the images that may be smaller than the proposed size
# Numbers of images below which each transformation is used. With few images augmentation helps much, and with
# tens of thousands it harms (Zhao et al., "Differentiable augmentation", NeurIPS 2020, section 4).
_AUGMENTED_BELOW: Mapping[DiffAugment, int] = {"color": 10_000, "translation": 30_000, "cutout": 10_000}


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Settings for a folder of images.

    Attributes:
        image_size: Height and width of the images.
        channels: 1 for grey, 3 for colour.
        uses_labels: Whether the generator takes the class of an image as a label.
        diff_augment: Augmentation of the images that the discriminator sees.
        reasons: One line for each choice, and one about what to expect.
    """

    image_size: tuple[int, int]
    channels: int
    uses_labels: bool
    diff_augment: tuple[DiffAugment, ...]
    reasons: tuple[str, ...]


def propose(
    survey: Survey,
    *,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    start: Start | None = None,
) -> Proposal:
    """Return settings for the images of a survey.

    Args:
        survey: What the images are like.
        image_size: Height and width that the user chose; None to choose them.
        channels: Number of channels that the user chose; None to choose it.
        start: Trained networks from which the training starts. They decide what the user did not choose.

    Raises:
        DatasetContentError: There are too few images.
    """
    if survey.distinct < FEWEST_IMAGES:
        raise DatasetContentError(
            survey.source,
            f"it has {survey.distinct} different images; a generator needs {FEWEST_IMAGES} or more, and a "
            "few thousand to make images that differ from those.",
        )
    if image_size is not None:
        size, size_reason = image_size, "as you chose"
    elif start is not None:
        size, size_reason = start.image_shape[:2], f"as in {start.source}, where the training starts"
    else:
        size, size_reason = _choose_size(survey)
    uses_labels, label_reason = _choose_labels(survey, start)
    is_grey = survey.grey >= _GREY_SHARE * survey.count
    usual = 1 if is_grey else 3
    chosen = channels or (usual if start is None else start.image_shape[2])
    augment = tuple(each for each, limit in _AUGMENTED_BELOW.items() if survey.distinct < limit)
    height, width = size
    order = "" if height == width else " (height x width)"
    reasons = (
        f"size: {height}x{width}{order}, {size_reason}",
        *([f"channels: {chosen}, as in {start.source}"] if start and chosen not in (channels, usual) else []),
        *([f"labels: {label_reason}"] if survey.classes else []),
        *(
            [f"augmentation: {', '.join(augment)}, since {survey.distinct:,} images are few"]
            if augment
            else []
        ),
        f"expect: {_expectation(survey.distinct)}",
    )
    return Proposal(size, chosen, uses_labels, augment, reasons)


def _choose_size(survey: Survey) -> tuple[tuple[int, int], str]:
    """Return the height and the width of the images, and the reason."""
    if len(survey.sizes) == 1 and max(survey.largest) <= _USUAL_SIZE:
        width, height = survey.largest
        return (height, width), "the size of all images"
    shortest = survey.shorter_side_at(_SHARE_OF_SMALLER)
    fitting = [side for side in SIZES if side <= shortest] or [SIZES[0]]
    side = min(max(fitting), _USUAL_SIZE)
    if shortest < SIZES[0]:
        reason = f"larger than many images, whose shorter side is {shortest}"
    elif max(fitting) > side:
        larger = 2 * side
        reason = f"the usual size; {larger}x{larger} is possible, and takes several times as long"
    else:
        reason = f"since the shorter side of many images is {shortest}"
    ratio = survey.aspect_ratio
    if 1 / _NEARLY_SQUARE <= ratio <= _NEARLY_SQUARE:
        return (side, side), reason
    # The longer side is a multiple of 8, so that the layers of the networks divide it.
    longer = max(side, round(side * max(ratio, 1 / ratio) / 8) * 8)
    return ((side, longer) if ratio > 1 else (longer, side)), reason


def _choose_labels(survey: Survey, start: Start | None) -> tuple[bool, str]:
    """Return whether the classes of the images become labels, and the reason."""
    count = len(survey.classes)
    if start is not None and not start.labels:
        return False, f"none, since {start.source} has none"
    if start is not None and len(start.labels) == count and not survey.unclassed:
        return True, f"the {count} classes, since {start.source} has as many labels"
    if count < 2:
        return False, "none, since there is one class only"
    if survey.unclassed:
        return False, f"none, since {survey.unclassed:,} images lie beside the {count} classes"
    smallest = min(survey.classes, key=lambda name: survey.classes[name])
    if survey.classes[smallest] < _FEWEST_PER_CLASS:
        return False, f"none, since the class {smallest} has {survey.classes[smallest]} images only"
    if count > _MOST_CLASSES:
        return False, f"none, since {count} classes are more than {_MOST_CLASSES}"
    return True, f"the {count} classes"


def _expectation(count: int) -> str:
    """Return what a generator usually learns from a number of different images."""
    if count < 500:
        return f"{count:,} images are few; most results will resemble one of them"
    if count < 3_000:
        return f"{count:,} images give the common shapes and colours, and little variety in details"
    if count < 20_000:
        return f"{count:,} images are enough for varied images of one kind of motif"
    return f"{count:,} images are many; the result is limited by the time of training"
