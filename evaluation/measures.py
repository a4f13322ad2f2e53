"""Distances and variety of the features of images, and metrics of the labels that a classifier predicts.

The features of n images have shape (n, d).

Long sums are computed in float64.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]  # (n, d)
Probabilities = npt.NDArray[np.floating]  # (n, labels)
Float64s = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer]

_ROWS = 1_000  # A table of pairs is computed this number of rows at a time, to limit the memory.


def frechet_distance(first: Features, second: Features) -> float:
    """Return the Fréchet distance of two Gaussians that have the means and covariances of the features.

    With means m1, m2 and covariances C1, C2 the result is |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). See
    Heusel et al., "GANs trained by a two time-scale update rule", NIPS 2017, equation 6. The paper uses
    features of the Inception network. Here the features come from smaller networks. The sums in the
    covariances are divided by n - 1. For fewer images of the same quality the distance is larger. So compare
    only distances that were computed from the same number of images.

    >>> frechet_distance(np.float64([[0], [2]]), np.float64([[3], [5]]))
    9.0
    """
    means = [features.mean(axis=0, dtype=np.float64) for features in (first, second)]
    covariances = [
        np.atleast_2d(np.cov(features, rowvar=False, dtype=np.float64)) for features in (first, second)
    ]
    # C1 C2 has the same eigenvalues as C1^(1/2) C2 C1^(1/2). The latter is symmetric, so `eigvalsh` takes it.
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    cross_trace = np.sqrt(np.clip(np.linalg.eigvalsh(root @ covariances[1] @ root), 0, None)).sum()
    gap = means[0] - means[1]
    traces = gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1])
    return float(max(0.0, traces - 2 * cross_trace))


def kernel_distance(first: Features, second: Features, *, labels: Integers | None = None) -> float:
    """Return an unbiased estimate of the squared maximum mean discrepancy.

    The kernel of two feature vectors x and y is (x y / d + 1)^3, where x y is their scalar product.

    Binkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4 and equation 4. The paper averages the
    estimates of random subsets. Here all pairs are used, which gives the value that the average approaches.
    The result may be below 0. Its expectation does not depend on the number of images.

    Args:
        first: Features, shape (n, d).
        second: Features, shape (m, d).
        labels: Requested label of each image of `second`, shape (m,). Give the labels if the number of images
            per label was chosen, not random. Two different images then have the same label less often than if
            the labels were random, and without a correction the estimate would be biased. The correction is
            at most (the kernel's mean within a label) / m.

    >>> kernel_distance(np.float64([[0], [0]]), np.float64([[1], [1]]))
    7.0
    """
    x, y = (features.astype(np.float64) for features in (first, second))
    cross = sum(_kernel_sum(x[start : start + _ROWS] @ y.T, x.shape[1]) for start in range(0, len(x), _ROWS))
    strata = np.zeros(len(y), np.int64) if labels is None else labels
    within = _mean_of_pairs(x, np.zeros(len(x), np.int64)) + _mean_of_pairs(y, strata)
    return float(within - 2 * cross / (len(x) * len(y)))


def _mean_of_pairs(points: Float64s, labels: Integers) -> float:
    """Return an estimate of the mean of the kernel k(x, y) over independent random points x and y.

    Random points have the same label frequencies as `points`. The result is the mean of k over all pairs of
    `points`. The pair of a point x and itself would add k(x, x), which is too large. The mean of k over all
    pairs of different points that have the label of x replaces k(x, x).
    """
    groups = [points[labels == label] for label in np.unique(labels)]
    within = [_sum_of_pairs(group) for group in groups]
    total = within[0] if len(groups) == 1 else _sum_of_pairs(points)
    replaced = 0.0
    for group, group_sum in zip(groups, within, strict=True):
        if len(group) > 1:
            own_pairs = _kernel_sum(np.einsum("ij,ij->i", group, group), group.shape[1])
            replaced += (group_sum - own_pairs) * len(group) / (len(group) - 1)
        else:
            replaced += group_sum
    return (total - sum(within) + replaced) / len(points) ** 2


def _sum_of_pairs(points: Float64s) -> float:
    """Return the sum of the kernel over all pairs, including each point with itself.

    The points are taken in parts. The kernel is symmetric, so pairs of points from different parts are
    computed once and counted twice.
    """
    total = 0.0
    for start in range(0, len(points), _ROWS):
        part, rest = points[start : start + _ROWS], points[start + _ROWS :]
        total += _kernel_sum(part @ part.T, points.shape[1]) + 2 * _kernel_sum(part @ rest.T, points.shape[1])
    return total


def _kernel_sum(products: Float64s, dim: int) -> float:
    """Return the sum of the kernel (x y / d + 1)^3 over a table of scalar products x y."""
    base: Float64s = products / dim + 1
    return float(np.vdot(base * base, base))  # np.vdot is many times as fast as ** 3


def variety(real: Features, fake: Features, labels: Integers | None = None) -> float:
    """Return the standard deviation of generated images' features, divided by that of real images' features.

    Args:
        real: Features of real images, shape (n, d).
        fake: Features of generated images, shape (n, d).
        labels: Label of each image, shape (n,), the same for both sets. If it is given, the deviation is that
            within the labels: a generator that makes one image per label has the variety 0.
    """
    return _deviation(fake, labels) / _deviation(real, labels)


def _deviation(features: Features, labels: Integers | None) -> float:
    if labels is None:
        return float(np.sqrt(features.var(axis=0, dtype=np.float64).sum()))
    groups = [features[labels == label] for label in np.unique(labels)]
    squares = sum(len(group) * group.var(axis=0, dtype=np.float64).sum() for group in groups)
    return float(np.sqrt(squares / len(features)))


@dataclasses.dataclass(frozen=True)
class LabelFigures:
    """Metrics of the labels that a classifier predicts for images.

    Attributes:
        shares: Share of the images with each predicted label.
        entropy: Entropy of the shares in bits; its maximum is log2 of the number of labels.
        confidence: Mean probability of the predicted label.
    """

    shares: tuple[float, ...]
    entropy: float
    confidence: float


def label_figures(probabilities: Probabilities) -> LabelFigures:
    """Return metrics of the labels that a classifier predicts for images.

    Args:
        probabilities: Label probabilities of the images, shape (n, labels).

    >>> label_figures(np.float64([[0.9, 0.1], [0.2, 0.8]]))
    LabelFigures(shares=(0.5, 0.5), entropy=1.0, confidence=0.85)
    """
    shares = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)
    present = shares[shares > 0]
    entropy = max(0.0, float(-(present * np.log2(present)).sum()))  # `max` turns -0.0 into 0.0
    return LabelFigures(tuple(shares.tolist()), entropy, round(float(probabilities.max(axis=1).mean()), 6))
