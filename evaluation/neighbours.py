"""Metrics from nearest neighbours: precision, recall, density, coverage, and copies of training images.

The features of n images have shape (n, d). Distances are computed in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .measures import Features, Float64s

Float32s = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]

MANIFOLD_NEIGHBOURS = 3  # number k of neighbours for precision and recall, as in the paper cited below
DENSITY_NEIGHBOURS = 5  # number k of neighbours for density and coverage, as in the paper cited below
_FOLLOWING = 5  # number of training images after the nearest one with which its distance is compared
_ROWS = 1_000  # A table of pairs is computed this number of rows at a time, to limit the memory.


@dataclasses.dataclass(frozen=True)
class Neighbourhoods:
    """For each image, whether it lies near images of the other set.

    The neighbourhood of an image is a ball in the space of the features. Its radius is the distance from the
    image to its k-th neighbour in its own set. The union of all neighbourhoods of a set is called its
    manifold.

    Tuomas Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models",
    NeurIPS 2019, equations 1 and 2, define precision and recall, with k = 3. Muhammad Ferjad Naeem et al.,
    "Reliable fidelity and diversity metrics for generative models", ICML 2020, equations 3 and 4, define
    density and coverage, with k = 5. A single odd real image has a large neighbourhood, which raises
    precision; density counts it once among many. A generator that makes odd images raises recall; coverage
    uses neighbourhoods of real images only.

    Attributes:
        is_realistic: Whether each generated image lies on the manifold of the real images, shape (m,).
        is_covered: Whether each real image lies on the manifold of the generated images, shape (n,).
        counts: Number of real images whose neighbourhood holds the generated image, divided by k, shape (m,).
        is_found: Whether the neighbourhood of each real image holds a generated image, shape (n,).
    """

    is_realistic: Booleans
    is_covered: Booleans
    counts: Float64s
    is_found: Booleans

    def figures(self) -> dict[str, float]:
        """Return a dict with the entries "precision", "recall", "density" and "coverage"."""
        return {name: float(values.mean()) for name, values in self.by_image().items()}

    def by_image(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the values of which each metric is the mean, by name of the metric.

        Precision and density are means over the generated images, recall and coverage over the real images.
        """
        return {
            "precision": self.is_realistic,
            "recall": self.is_covered,
            "density": self.counts,
            "coverage": self.is_found,
        }


def compare_neighbourhoods(
    real: Features,
    fake: Features,
    *,
    manifold_neighbours: int = MANIFOLD_NEIGHBOURS,
    density_neighbours: int = DENSITY_NEIGHBOURS,
) -> Neighbourhoods:
    """Return which images lie near images of the other set.

    Args:
        real: Features of the real images, shape (n, d).
        fake: Features of the generated images, shape (m, d).
        manifold_neighbours: Number k of neighbours for precision and recall.
        density_neighbours: Number k of neighbours for density and coverage.

    >>> real, fake = np.float64([[0], [1], [2], [3]]), np.float64([[0.5], [1.5], [9], [9.1]])
    >>> compare_neighbourhoods(real, fake, manifold_neighbours=1, density_neighbours=1).figures()
    {'precision': 0.5, 'recall': 0.75, 'density': 1.0, 'coverage': 0.75}
    """
    manifold_radii, density_radii = _squared_radii(real, (manifold_neighbours, density_neighbours))
    (fake_radii,) = _squared_radii(fake, (manifold_neighbours,))
    is_realistic, counts = [], []
    is_covered, is_found = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start, table in zip(range(0, len(fake), _ROWS), _squared_distances(fake, real), strict=True):
        is_realistic.append((table <= manifold_radii).any(axis=1))
        is_covered |= (table <= fake_radii[start : start + _ROWS, np.newaxis]).any(axis=0)
        is_inside = table <= density_radii
        counts.append(is_inside.sum(axis=1) / density_neighbours)
        is_found |= is_inside.any(axis=0)
    return Neighbourhoods(np.concatenate(is_realistic), is_covered, np.concatenate(counts), is_found)


def _squared_radii(points: Features, neighbours: tuple[int, ...]) -> list[Float32s]:
    """Return the squared distances of the points to their k-th neighbours, shape (n,), for several k.

    Args:
        points: Features, shape (n, d).
        neighbours: Numbers k, in ascending order, all smaller than n.
    """
    radii: list[list[Float32s]] = [[] for _ in neighbours]
    for table in _squared_distances(points, points):
        rows = np.arange(len(table))
        # The smallest distance in each row is the distance of a point to itself. So when the k smallest
        # distances are removed, the smallest remaining one is the distance to the k-th neighbour. This takes
        # a seventh of the time of np.partition.
        removed = 0
        for parts, count in zip(radii, neighbours, strict=True):
            for _ in range(count - removed):
                table[rows, table.argmin(axis=1)] = np.inf
            removed = count
            parts.append(table.min(axis=1))
    return [np.concatenate(parts) for parts in radii]


def nearest_in_training(images: Features, training: Features, held_out: Features) -> float:
    """Return the share of the images whose nearest real image is a training image, and not a held-out one.

    For a generator that makes new images, the expected result is the number of training images divided by
    the number of all real images. For a generator that copies training images, the result is larger.
    Meehan et al., "A non-parametric test to detect data-copying in generative models", AISTATS 2020, describe
    a related test.

    >>> nearest_in_training(np.float64([[0], [1], [9]]), np.float64([[0.1]]), np.float64([[2], [10]]))
    0.6666666666666666
    """
    return float((nearest_distances(images, training) < nearest_distances(images, held_out)).mean())


def share_of_copies(training: Features, fake: Features) -> float:
    """Return the share of the generated images that are unusually near to a single training image.

    For each image, the distance to its nearest training image is divided by the mean distance to the five
    training images that follow, as in Carlini et al., "Extracting training data from diffusion models",
    USENIX Security 2023, section 4.2. A copy has a small ratio, and a typical image, which is near to many
    training images, has not. An image counts as a copy if its ratio is smaller than that of 99 % of the
    training images, each compared with the other ones. So the result is about 0.01 without copies.

    Args:
        training: Features of training images, shape (n, d).
        fake: Features of generated images, shape (m, d).
    """
    usual = _nearest_ratios(training, training, skipped=1)
    ratios = _nearest_ratios(fake, training, skipped=0)
    return float((ratios < np.quantile(usual, 0.01)).mean())


def _nearest_ratios(points: Features, others: Features, skipped: int) -> Float64s:
    """Return, for each point, its nearest distance to `others` over the mean of the five that follow.

    Args:
        points: Features, shape (m, d).
        others: Features, shape (n, d).
        skipped: Number of smallest distances that are left out: 1 if each point is one of `others`.
    """
    count = skipped + 1 + _FOLLOWING
    tables = _squared_distances(points, others)
    nearest = np.concatenate([np.partition(table, count - 1, axis=1)[:, :count] for table in tables])
    smallest = np.sqrt(np.sort(nearest, axis=1).astype(np.float64))
    following = smallest[:, skipped + 1 :].mean(axis=1)
    return np.asarray(smallest[:, skipped] / np.maximum(following, 1e-12))


def nearest_distances(points: Features, others: Features) -> Float64s:
    """Return the Euclidean distance of each point to the nearest point in `others`, shape (n,)."""
    nearest = [table.min(axis=1) for table in _squared_distances(points, others)]
    return np.sqrt(np.concatenate(nearest).astype(np.float64))


def _squared_distances(points: Features, others: Features) -> Iterator[npt.NDArray[np.float32]]:
    """Yield tables of the squared distances from `points` to `others`.

    A table has one row for each of the next _ROWS points, and one column for each of `others`.
    """
    # Subtracting a common mean does not change the distances, and it reduces rounding errors in float32.
    x, y = (np.asarray(features, np.float32) - np.float32(others.mean()) for features in (points, others))
    norms = np.einsum("ij,ij->i", y, y)
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        table = part @ y.T
        table *= -2
        table += np.einsum("ij,ij->i", part, part)[:, np.newaxis] + norms
        yield np.maximum(table, 0, out=table)
