"""The figures against values worked by hand, and against what they are defined to do."""

import numpy as np
import pytest

from ganport.evaluation.measures import (
    class_figures,
    frechet_distance,
    kernel_distance,
    nearest_distances,
    nearest_share,
    precision_recall,
)

RNG = np.random.default_rng(3)


def normal(count, mean=0.0, spread=1.0, dim=4):
    return (mean + spread * np.random.default_rng(count).standard_normal((count, dim))).astype(np.float32)


def test_frechet_distance_of_gaussians_is_the_one_of_the_formula():
    """Two samples whose means and covariances are exactly known: the corners of boxes."""
    corners = np.array(np.meshgrid([-1, 1], [-1, 1])).reshape(2, -1).T.astype(np.float64)
    narrow, wide = corners, corners * [3, 1] + [2, 0]
    variance = 4 / 3  # of a coordinate of the corners, divided by n - 1
    # |2, 0|^2 + (sqrt(9 v) - sqrt(v))^2
    assert frechet_distance(narrow, wide) == pytest.approx(4 + (3 - 1) ** 2 * variance)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert frechet_distance(narrow @ turn, wide @ turn) == pytest.approx(4 + 4 * variance)


def test_frechet_distance_of_covariances_that_do_not_commute():
    """tr((C1 C2)^(1/2)) of 2x2 matrices by the formula sqrt(tr + 2 sqrt(det))."""
    first = RNG.standard_normal((50, 2)) @ np.array([[2, 0.5], [0, 0.3]])
    second = RNG.standard_normal((60, 2)) @ np.array([[0.4, 0], [1, 1.5]])
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = np.sqrt(np.trace(c1 @ c2) + 2 * np.sqrt(np.linalg.det(c1 @ c2)))
    gap = first.mean(0) - second.mean(0)
    expected = gap @ gap + np.trace(c1) + np.trace(c2) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero_even_where_a_feature_never_changes():
    features = normal(200)
    features[:, 1] = 5
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_unbiased_and_worked_by_hand():
    x, y = np.float64([[0, 0], [1, 1]]), np.float64([[1, 0], [2, 0]])
    # k(x1, x2) = 1; k(y1, y2) = 2^3; k(x, y): 1, 1, 1.5^3, 2^3
    assert kernel_distance(x, y) == pytest.approx(1 + 8 - 2 * (1 + 1 + 3.375 + 8) / 4)
    assert abs(kernel_distance(normal(3_000), normal(3_001))) < 0.01
    assert kernel_distance(normal(3_000), normal(3_001, mean=0.5)) > 0.3


def test_kernel_distance_is_unbiased_where_so_many_of_each_class_are_drawn():
    """Two of 30 images, ten of each class, are less often of one class than two independent ones are."""
    rng = np.random.default_rng(5)
    centres, classes = rng.normal(0, 2, (3, 4)), np.repeat(np.arange(3), 10)

    def draw(labels):
        return centres[labels] + rng.normal(0, 0.3, (len(labels), 4))

    pairs = [(draw(rng.integers(0, 3, 30)), draw(classes)) for _ in range(600)]
    known = np.array([kernel_distance(first, second, classes) for first, second in pairs])
    ignored = np.array([kernel_distance(first, second) for first, second in pairs])
    error = known.std() / np.sqrt(len(known))
    assert abs(known.mean()) < 3 * error
    assert ignored.mean() < -10 * error
    order = rng.permutation(30)
    first, second = pairs[0]
    assert kernel_distance(first, second[order], classes[order]) == pytest.approx(known[0])
    assert kernel_distance(first, second, np.zeros(30, np.int64)) == pytest.approx(ignored[0])


def test_kernel_distance_is_of_all_pairs():
    x, y = normal(1_500), normal(2_100, mean=0.1)  # more than one part of rows
    kernels = [(a.astype(np.float64) @ b.T / 4 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    same = [(table.sum() - np.trace(table)) / (len(table) * (len(table) - 1)) for table in kernels[:2]]
    expected = sum(same) - 2 * kernels[2].mean()
    assert kernel_distance(x, y) == pytest.approx(expected)
    assert kernel_distance(x[::-1], np.roll(y, 7, axis=0)) == pytest.approx(expected)


def test_precision_and_recall_tell_quality_from_variety():
    real = normal(1_000)
    good, narrow, wide = normal(1_001), normal(1_001, spread=0.2), normal(1_001, spread=4)
    assert min(precision_recall(real, good)) > 0.9
    precision, recall = precision_recall(real, narrow)
    assert precision > 0.95
    assert recall < 0.3
    precision, recall = precision_recall(real, wide)
    assert precision < 0.4
    assert precision_recall(real, normal(1_001, mean=50)) == (0, 0)


def test_neighbours_are_counted_without_the_point_itself():
    real = np.float32([[0], [1], [3]])  # with k = 1 the radii are 1, 1 and 2
    fake = np.float32([[-0.9], [-1.1], [4.9], [5.1], [2.1]])
    assert precision_recall(real, fake, neighbours=1)[0] == pytest.approx(3 / 5)


def test_nearest_distances_are_euclidean():
    points, others = normal(30), normal(2_500, mean=1.0)
    slow = np.linalg.norm(points[:, np.newaxis].astype(np.float64) - others, axis=2).min(axis=1)
    np.testing.assert_allclose(nearest_distances(points, others), slow, rtol=1e-3)
    np.testing.assert_allclose(nearest_distances(others[:5], others), 0, atol=2e-3)


def test_nearest_share_of_new_points_is_that_of_the_points_there():
    some, others = normal(3_000), normal(1_000)
    assert nearest_share(normal(2_000), some, others) == pytest.approx(0.75, abs=0.03)
    assert nearest_share(some[:500] + 0.01, some, others) > 0.95
    assert nearest_share(others[:500] + 0.01, some, others) < 0.05


def test_class_figures():
    probabilities = np.eye(4)[[0, 0, 1, 1, 2, 2, 2, 2]] * 0.9 + 0.025
    figures = class_figures(probabilities)
    assert figures.shares == (0.25, 0.25, 0.5, 0.0)
    assert figures.entropy == pytest.approx(1.5)
    assert figures.confidence == pytest.approx(0.925)
