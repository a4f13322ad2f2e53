"""The figures, each with its paper. Features have shape (n, d); float32 in, arithmetic in float64 where sums are long."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]
Numbers = npt.NDArray[np.float64]
Classes = npt.NDArray[np.integer]

NEIGHBOURS = 3  # k of precision and recall, as in the paper
_ROWS = 1_000  # of a table of pairs that are in memory at once


def frechet_distance(first: Features, second: Features) -> float:
    """Return the Fréchet distance of the Gaussians with the features' means and covariances.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)): Heusel et al., "GANs trained by a two time-scale update rule", NIPS 2017,
    equation 6; there in features of Inception, here in those of a classifier of the set itself, as TF-GAN does for MNIST.
    The covariances are divided by n - 1. Few images score worse than many of the same quality: compare at the same n.

    >>> frechet_distance(np.float64([[0], [2]]), np.float64([[3], [5]]))
    9.0
    """
    means = [each.mean(axis=0, dtype=np.float64) for each in (first, second)]
    covariances = [np.atleast_2d(np.cov(each, rowvar=False, dtype=np.float64)) for each in (first, second)]
    # The eigenvalues of C1 C2 are those of C1^(1/2) C2 C1^(1/2), which is symmetric: no root of a matrix that is not.
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ covariances[1] @ root), 0, None)).sum()
    gap = means[0] - means[1]
    return float(max(0.0, gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared))


def kernel_distance(first: Features, second: Features, asked: Classes | None = None) -> float:
    """Return the squared maximum mean discrepancy, unbiased, with the kernel (x y / d + 1)^3.

    Binkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4 and equation 4, over all pairs: what the mean over random
    subsets comes to, as it is often computed, and no draw moves it. It may fall below 0; its mean does not depend on the number
    of images.

    Args:
        first: shape (n, d).
        second: shape (m, d).
        asked: the class that each of the second was drawn for, shape (m,), where so many were drawn of each class. Two of them
            are then less often of one class than two independent ones are, which is made up for: by up to (what they have in
            common within a class) / m.

    >>> kernel_distance(np.float64([[0], [0]]), np.float64([[1], [1]]))
    7.0
    """
    x, y = (each.astype(np.float64) for each in (first, second))
    across = sum(_kernel_sum(x[start : start + _ROWS] @ y.T, x.shape[1]) for start in range(0, len(x), _ROWS))
    same = _mean_among(x, np.zeros(len(x), np.int64)) + _mean_among(y, np.zeros(len(y), np.int64) if asked is None else asked)
    return float(same - 2 * across / (len(x) * len(y)))


def _mean_among(points: Numbers, classes: Classes) -> float:
    """Return the mean of the kernel over two independent points, of classes as frequent as here.

    Pairs of one class stand for those that a point makes with itself, too; with one class that is the mean over all pairs of
    two different points.
    """
    groups = [points[classes == each] for each in np.unique(classes)]
    within = [_sum_among(members) for members in groups]
    whole = within[0] if len(groups) == 1 else _sum_among(points)
    made_up = 0.0
    for members, together in zip(groups, within, strict=True):
        itself = _kernel_sum(np.einsum("ij,ij->i", members, members), members.shape[1])
        made_up += (together - itself) * len(members) / (len(members) - 1) if len(members) > 1 else together
    return (whole - sum(within) + made_up) / len(points) ** 2


def _sum_among(points: Numbers) -> float:
    """Return the sum of the kernel over all pairs, of a point with itself too; k(x, y) is k(y, x), and is worked out once."""
    total = 0.0
    for start in range(0, len(points), _ROWS):
        part, rest = points[start : start + _ROWS], points[start + _ROWS :]
        total += _kernel_sum(part @ part.T, points.shape[1]) + 2 * _kernel_sum(part @ rest.T, points.shape[1])
    return total


def _kernel_sum(products: Numbers, dim: int) -> float:
    base: Numbers = products / dim + 1
    return float(np.vdot(base * base, base))  # many times as fast as ** 3


def precision_recall(real: Features, fake: Features, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Return the share of the fakes that lie among the real images, and of the real images that lie among the fakes.

    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019, equations 1 and
    2: "among" is no further from one of them than its k-th neighbour of its own kind.

    >>> precision_recall(np.float64([[0], [1], [2], [3]]), np.float64([[0.5], [1.5], [9], [9.1]]), neighbours=1)
    (0.5, 0.75)
    """
    around_real, around_fake = (_squared_radii(each, neighbours) for each in (real, fake))
    precise, recalled = [], np.zeros(len(real), bool)
    for start, table in zip(range(0, len(fake), _ROWS), _squares(fake, real), strict=True):
        precise.append((table <= around_real).any(axis=1))
        recalled |= (table <= around_fake[start : start + _ROWS, np.newaxis]).any(axis=0)
    return float(np.concatenate(precise).mean()), float(recalled.mean())


def _squared_radii(points: Features, neighbours: int) -> npt.NDArray[np.float32]:
    """Return the squared distance of each point to its k-th neighbour, shape (n,)."""
    radii = []
    for table in _squares(points, points):
        rows = np.arange(len(table))
        # The nearest is the point itself. To strike out the nearest k times takes a seventh of the time of np.partition.
        for _ in range(neighbours):
            table[rows, table.argmin(axis=1)] = np.inf
        radii.append(table.min(axis=1))
    return np.concatenate(radii)


def compare(real: Features, fake: Features, asked: Classes | None = None) -> dict[str, float]:
    """Return the distances, precision and recall, by the name of the figure; `asked` as for `kernel_distance`."""
    precision, recall = precision_recall(real, fake)
    return {
        "frechet": frechet_distance(real, fake),
        "kernel": kernel_distance(real, fake, asked),
        "precision": precision,
        "recall": recall,
    }


def nearest_share(points: Features, some: Features, others: Features) -> float:
    """Return the share of the points whose nearest neighbour among some and others is one of some.

    Of training images and of images that a generator has not seen: where it draws new ones, this is as large as the training
    images' share of both; of one that copies it is larger. Meehan et al., "A non-parametric test to detect data-copying in
    generative models", AISTATS 2020, compare such distances, too.

    >>> nearest_share(np.float64([[0], [1], [9]]), np.float64([[0.1]]), np.float64([[2], [10]]))
    0.6666666666666666
    """
    return float((nearest_distances(points, some) < nearest_distances(points, others)).mean())


def nearest_distances(points: Features, others: Features) -> Numbers:
    """Return the Euclidean distance of each point to the nearest of the others, shape (n,)."""
    return np.sqrt(np.concatenate([part.min(axis=1) for part in _squares(points, others)]).astype(np.float64))


def _squares(points: Features, others: Features) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the squared distances of the points to all others, some rows at a time, each (rows, others)."""
    x, y = (np.asarray(each, np.float32) - np.float32(others.mean()) for each in (points, others))
    norms = np.einsum("ij,ij->i", y, y)
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        table = part @ y.T
        table *= -2
        table += np.einsum("ij,ij->i", part, part)[:, np.newaxis] + norms
        yield np.maximum(table, 0, out=table)


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """What a classifier makes of images.

    Attributes:
        shares: of the images, by class.
        entropy: of the shares, in bits; log2 of the number of classes where all are as frequent.
        confidence: mean probability of the class that is most probable.
    """

    shares: tuple[float, ...]
    entropy: float
    confidence: float


def class_figures(probabilities: Features) -> ClassFigures:
    """Return the shares of the classes in images.

    Args:
        probabilities: shape (n, classes).

    >>> class_figures(np.float64([[0.9, 0.1], [0.2, 0.8]]))
    ClassFigures(shares=(0.5, 0.5), entropy=1.0, confidence=0.85)
    """
    shares = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)
    there = shares[shares > 0]
    entropy = max(0.0, float(-(there * np.log2(there)).sum()))  # -0.0 looks odd
    return ClassFigures(tuple(shares.tolist()), entropy, round(float(probabilities.max(axis=1).mean()), 6))
