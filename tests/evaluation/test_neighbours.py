"""Precision, recall, density and coverage equal values computed by hand, and see what their papers say."""

import numpy as np
import pytest

from ganport.evaluation.neighbours import (
    compare_neighbourhoods,
    nearest_distances,
    nearest_in_training,
    share_of_copies,
)


def features(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)


def normal(count, mean=0.0, spread=1.0, dim=4):
    return (mean + spread * np.random.default_rng(count).standard_normal((count, dim))).astype(np.float32)


def test_precision_and_density_measure_quality_and_recall_and_coverage_measure_variety():
    real = normal(1_000)
    good = compare_neighbourhoods(real, normal(1_001)).figures()
    assert min(good["precision"], good["recall"], good["coverage"]) > 0.9
    # The expected coverage of images of the same distribution is 1 - 1 / 2^k for k = 5, and the density is 1.
    assert good["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)
    assert good["density"] == pytest.approx(1, abs=0.1)
    narrow = compare_neighbourhoods(real, normal(1_001, spread=0.2)).figures()
    assert narrow["precision"] > 0.95
    assert narrow["density"] > 0.9
    assert narrow["recall"] < 0.3
    assert narrow["coverage"] < 0.6
    wide = compare_neighbourhoods(real, normal(1_001, spread=4)).figures()
    assert max(wide["precision"], wide["density"], wide["coverage"]) < 0.4
    far = compare_neighbourhoods(real, normal(1_001, mean=50)).figures()
    assert far == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_neighbours_are_counted_without_the_point_itself():
    real = np.float32([[0], [1], [3]])  # with k = 1 the radii are 1, 1 and 2
    fake = np.float32([[-0.9], [-1.1], [4.9], [5.1], [2.1]])
    found = compare_neighbourhoods(real, fake, manifold_neighbours=1, density_neighbours=1)
    assert found.is_realistic.tolist() == [True, False, True, False, True]
    assert found.counts.tolist() == [1, 0, 1, 0, 1]
    assert found.is_found.tolist() == [True, False, True]


def test_density_counts_the_neighbourhoods_and_coverage_the_real_images():
    """With k = 2, the real points 0, 1, 2 and 10 have the radii 2, 1, 2 and 9."""
    real = np.float32([[0], [1], [2], [10]])
    fake = np.float32([[0.5], [3.5], [30]])
    found = compare_neighbourhoods(real, fake, manifold_neighbours=1, density_neighbours=2)
    assert found.counts.tolist() == [3 / 2, 2 / 2, 0]
    assert found.figures()["density"] == pytest.approx((3 / 2 + 1) / 3)
    assert found.is_found.tolist() == [True, True, True, True]
    without_first = compare_neighbourhoods(real, fake[1:], manifold_neighbours=1, density_neighbours=2)
    assert without_first.is_found.tolist() == [False, False, True, True]


def test_one_odd_real_image_raises_precision_and_hardly_density():
    """The neighbourhood of an outlier is large, and holds images that are far from all other real images."""
    real, fake = normal(400), normal(400, mean=3, spread=0.3)
    odd = np.full((1, 4), 12, np.float32)
    without, found = (
        compare_neighbourhoods(points, fake).figures() for points in (real, np.concatenate([real, odd]))
    )
    assert without["precision"] < 0.1
    assert found["precision"] > 0.9
    assert found["density"] - without["density"] < 0.25


def test_large_sets_are_compared_in_parts():
    real, fake = normal(1_500), normal(2_100, mean=0.3)
    distances = np.linalg.norm(fake[:, np.newaxis].astype(np.float64) - real, axis=2)
    own = np.sort(np.linalg.norm(real[:, np.newaxis].astype(np.float64) - real, axis=2), axis=1)
    found = compare_neighbourhoods(real, fake)
    expected = (distances <= own[:, 5]).sum(axis=1) / 5
    assert np.mean(found.counts != expected) < 0.01  # rounding of float32 at the edge of a neighbourhood
    assert np.mean(found.is_realistic != (distances <= own[:, 3]).any(axis=1)) < 0.01


def test_nearest_distances_are_euclidean():
    points, others = normal(30), normal(2_500, mean=1.0)
    slow = np.linalg.norm(points[:, np.newaxis].astype(np.float64) - others, axis=2).min(axis=1)
    np.testing.assert_allclose(nearest_distances(points, others), slow, rtol=1e-3)
    np.testing.assert_allclose(nearest_distances(others[:5], others), 0, atol=2e-3)


def test_nearest_in_training_of_new_points_is_the_share_of_the_training_points():
    training, held_out = normal(3_000), normal(1_000)
    assert nearest_in_training(normal(2_000), training, held_out) == pytest.approx(0.75, abs=0.03)
    assert nearest_in_training(training[:500] + 0.01, training, held_out) > 0.95
    assert nearest_in_training(held_out[:500] + 0.01, training, held_out) < 0.05


def test_copies_are_found_and_new_images_are_none():
    training = features(400)
    assert share_of_copies(training, features(400, 1)) < 0.05
    noise = 0.05 * features(400, 2)
    assert share_of_copies(training, training + noise) > 0.95
    half = np.concatenate([training[:200] + noise[:200], features(200, 1)])
    assert share_of_copies(training, half) == pytest.approx(0.5, abs=0.05)


def test_typical_images_are_no_copies():
    """They are nearer to their neighbours than real images, but to many of them."""
    assert share_of_copies(features(400), 0.3 * features(400, 1)) < 0.05
