"""All metrics of two sets of features, and margins that hold for other sets of the same kind."""

import numpy as np
import pytest

from ganport.evaluation.comparison import METRICS, compare_features, estimate_margins


def normal(rng, count, mean=0.0, dim=16):
    return (mean + rng.standard_normal((count, dim))).astype(np.float32)


def test_all_metrics_are_compared():
    rng = np.random.default_rng(0)
    figures = compare_features(normal(rng, 300), normal(rng, 300))
    assert tuple(figures) == METRICS
    worse = compare_features(normal(rng, 300), normal(rng, 300, mean=1))
    for name in METRICS:
        is_smaller = worse[name] < figures[name]
        assert is_smaller == (name not in ("frechet", "kernel")), name


@pytest.mark.parametrize("mean", [0, 0.5])
def test_margins_hold_for_most_other_sets(mean):
    """The mean of each metric lies within the margins for nearly all sets of 120 images."""
    figures, margins = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        real, fake = normal(rng, 120), normal(rng, 120, mean)
        figures.append(compare_features(real, fake))
        margins.append(estimate_margins(real, fake))
    for name in METRICS:
        values = np.array([each[name] for each in figures])
        sizes = np.array([each[name] for each in margins])
        assert np.mean(np.abs(values - values.mean()) < sizes) >= 0.8, name
        assert sizes.mean() < 6 * values.std(), name  # not so wide that the margins say nothing


def test_margins_are_narrower_for_more_images():
    rng = np.random.default_rng(1)
    few = estimate_margins(normal(rng, 100), normal(rng, 100))
    many = estimate_margins(normal(rng, 900), normal(rng, 900))
    for name in METRICS:
        assert many[name] < 0.6 * few[name], name
