"""Comparing the features of generated images with those of real images: all metrics, and their margins."""

from __future__ import annotations

import numpy as np

from .measures import Features, Integers, frechet_distance, kernel_distance
from .neighbours import compare_neighbourhoods

METRICS = ("frechet", "kernel", "precision", "recall", "density", "coverage")
MOST_FOR_MARGINS = 2_000  # largest number of images of a set for which margins are computed, which take 3 s
_HALVES = 40  # number of random halves; the margins then vary by about a tenth


def compare_features(real: Features, fake: Features, *, labels: Integers | None = None) -> dict[str, float]:
    """Return a dict from METRICS to the values of these metrics.

    Args:
        real: Features of the real images, shape (n, d).
        fake: Features of the generated images, shape (m, d).
        labels: Requested labels of the generated images; see `kernel_distance`.
    """
    distances = {
        "frechet": frechet_distance(real, fake),
        "kernel": kernel_distance(real, fake, labels=labels),
    }
    return distances | compare_neighbourhoods(real, fake).figures()


def estimate_margins(real: Features, fake: Features) -> dict[str, float]:
    """Return a dict from METRICS to the margin of each metric.

    The interval from (metric - margin) to (metric + margin) is a confidence interval of 95 %: if other real
    images and other seeds are chosen, as many as these, the mean metric lies in the interval of at least 95 %
    of the choices. The bootstrap draws images with replacement. An image that is drawn twice is its own
    nearest neighbour, which changes precision, recall and coverage. So random halves of the images are drawn
    without replacement. The standard deviation of a metric over the halves estimates that of the metric of
    all images: Jun Shao and C. F. J. Wu, "A general theory for jackknife variance estimation", Annals of
    Statistics 17, 1989. For a mean the two are equal. For the metrics here the intervals are a little too
    wide (docs/quality.md).

    Args:
        real: Features of the real images, shape (n, d).
        fake: Features of the generated images, shape (m, d).
    """
    random = np.random.default_rng(0)
    figures = []
    for _ in range(_HALVES):
        first, second = (
            features[random.permutation(len(features))[: len(features) // 2]] for features in (real, fake)
        )
        figures.append(compare_features(first, second))
    return {name: 1.96 * float(np.std([each[name] for each in figures])) for name in METRICS}
