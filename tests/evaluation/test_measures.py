"""The figures equal values computed by hand, and have the properties that the papers state."""

import numpy as np
import pytest

from ganport.evaluation.measures import frechet_distance, kernel_distance, label_figures, variety

RNG = np.random.default_rng(3)


def features(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)


def normal(count, mean=0.0, spread=1.0, dim=4):
    return (mean + spread * np.random.default_rng(count).standard_normal((count, dim))).astype(np.float32)


def test_frechet_distance_of_gaussians_follows_the_formula():
    """The points are the corners of a box, whose mean and covariance are known exactly."""
    corners = np.array(np.meshgrid([-1, 1], [-1, 1])).reshape(2, -1).T.astype(np.float64)
    narrow, wide = corners, corners * [3, 1] + [2, 0]
    variance = 4 / 3  # variance of a coordinate of the corners, divided by n - 1
    # |2, 0|^2 + (sqrt(9 v) - sqrt(v))^2
    assert frechet_distance(narrow, wide) == pytest.approx(4 + (3 - 1) ** 2 * variance)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert frechet_distance(narrow @ turn, wide @ turn) == pytest.approx(4 + 4 * variance)


def test_frechet_distance_of_covariances_that_do_not_commute():
    """For 2x2 matrices, tr((C1 C2)^(1/2)) is sqrt(tr + 2 sqrt(det))."""
    first = RNG.standard_normal((50, 2)) @ np.array([[2, 0.5], [0, 0.3]])
    second = RNG.standard_normal((60, 2)) @ np.array([[0.4, 0], [1, 1.5]])
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = np.sqrt(np.trace(c1 @ c2) + 2 * np.sqrt(np.linalg.det(c1 @ c2)))
    gap = first.mean(0) - second.mean(0)
    expected = gap @ gap + np.trace(c1) + np.trace(c2) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero_even_if_a_feature_is_constant():
    features = normal(200)
    features[:, 1] = 5
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_unbiased_and_equals_a_value_computed_by_hand():
    x, y = np.float64([[0, 0], [1, 1]]), np.float64([[1, 0], [2, 0]])
    # k(x1, x2) = 1; k(y1, y2) = 2^3; k(x, y): 1, 1, 1.5^3, 2^3
    assert kernel_distance(x, y) == pytest.approx(1 + 8 - 2 * (1 + 1 + 3.375 + 8) / 4)
    assert abs(kernel_distance(normal(3_000), normal(3_001))) < 0.01
    assert kernel_distance(normal(3_000), normal(3_001, mean=0.5)) > 0.3


def test_kernel_distance_is_unbiased_if_the_number_of_images_per_label_was_chosen():
    """With exactly ten images per label, two of 30 images share a label less often than independent ones."""
    rng = np.random.default_rng(5)
    centres, labels = rng.normal(0, 2, (3, 4)), np.repeat(np.arange(3), 10)

    def sample(labels):
        return centres[labels] + rng.normal(0, 0.3, (len(labels), 4))

    pairs = [(sample(rng.integers(0, 3, 30)), sample(labels)) for _ in range(600)]
    corrected = np.array([kernel_distance(first, second, labels=labels) for first, second in pairs])
    biased = np.array([kernel_distance(first, second) for first, second in pairs])
    error = corrected.std() / np.sqrt(len(corrected))
    assert abs(corrected.mean()) < 3 * error
    assert biased.mean() < -10 * error
    order = rng.permutation(30)
    first, second = pairs[0]
    assert kernel_distance(first, second[order], labels=labels[order]) == pytest.approx(corrected[0])
    assert kernel_distance(first, second, labels=np.zeros(30, np.int64)) == pytest.approx(biased[0])


def test_kernel_distance_takes_all_pairs():
    x, y = normal(1_500), normal(2_100, mean=0.1)  # more rows than one block of the computation
    kernels = [(a.astype(np.float64) @ b.T / 4 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    same = [(table.sum() - np.trace(table)) / (len(table) * (len(table) - 1)) for table in kernels[:2]]
    expected = sum(same) - 2 * kernels[2].mean()
    assert kernel_distance(x, y) == pytest.approx(expected)
    assert kernel_distance(x[::-1], np.roll(y, 7, axis=0)) == pytest.approx(expected)


def test_label_figures():
    probabilities = np.eye(4)[[0, 0, 1, 1, 2, 2, 2, 2]] * 0.9 + 0.025
    figures = label_figures(probabilities)
    assert figures.shares == (0.25, 0.25, 0.5, 0.0)
    assert figures.entropy == pytest.approx(1.5)
    assert figures.confidence == pytest.approx(0.925)


def test_variety_is_that_of_the_real_images_or_less():
    real = features(500)
    assert variety(real, features(500, 1)) == pytest.approx(1, abs=0.05)
    assert variety(real, 0.3 * features(500, 1)) == pytest.approx(0.3, abs=0.05)
    assert variety(real, np.repeat(real[:1], 500, axis=0)) == pytest.approx(0, abs=1e-5)


def test_one_image_per_label_is_no_variety():
    labels = np.arange(500, dtype=np.int32) % 10
    real, centres = features(500), 5 * features(10, 2)
    alike = centres[labels]
    assert variety(real + alike, alike) > 0.9
    assert variety(real + alike, alike, labels) == pytest.approx(0, abs=1e-5)
    assert variety(real + alike, features(500, 1) + alike, labels) == pytest.approx(1, abs=0.05)
