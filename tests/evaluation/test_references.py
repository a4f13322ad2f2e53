"""Bundled references are small and complete. A reference of own images has a baseline of its own."""

import dataclasses

import numpy as np
import pytest

from ganport.datasets import LABELS
from ganport.evaluation import build_reference, load_reference
from ganport.evaluation.comparison import METRICS
from ganport.evaluation.errors import EvaluationError, TooFewImagesError
from ganport.evaluation.references import REFERENCES, _label_matched_parts


@pytest.mark.parametrize(
    ("file", "name", "image_side"),
    [
        ("mnist", "mnist", 28),
        ("fashion-mnist", "fashion-mnist", 28),
        ("rock-paper-scissors", "rock-paper-scissors", 104),
        ("rock-paper-scissors-64", "rock-paper-scissors", 64),
    ],
)
def test_a_bundled_reference_is_small_and_complete(file, name, image_side):
    reference = load_reference(name, image_side=image_side)
    assert (REFERENCES / f"{file}.npz").stat().st_size <= 1_200_000
    assert reference.side == (64 if file.endswith("64") else None)
    assert reference.features.shape[1] == (128 if name == "rock-paper-scissors" else 64)
    assert np.isfinite(reference.features).all()
    assert reference.classifier == name
    for baseline in filter(None, (reference.baseline, reference.label_matched_baseline)):
        assert set(METRICS) < set(baseline)
        assert baseline["density"] == pytest.approx(1, abs=0.1)
        assert 0.9 < baseline["coverage"] < 1
    assert (
        len(reference.baseline["shares"])
        == len(reference.labels)
        == len(reference.shares)
        == len(LABELS[name])
    )
    assert 0 < reference.baseline["frechet"] < 3
    assert reference.is_held_out == (name != "rock-paper-scissors")


def test_every_bundled_file_is_tested():
    files = {path.stem for path in REFERENCES.iterdir()}
    assert files == {*LABELS, "rock-paper-scissors-64"}


def test_matching_labels_are_as_frequent_as_in_the_training_split(reference):
    counts = np.bincount(reference.matching_labels(10_000), minlength=10)
    np.testing.assert_allclose(counts / 10_000, reference.shares, atol=1e-4)
    # Of MNIST's 60,000 training images, 5,421 are a five and 6,742 are a one.
    assert counts[[5, 1]].tolist() == [904, 1124]
    rare = dataclasses.replace(reference, shares=(0.0, 0.9996, 0.0004))
    assert np.bincount(rare.matching_labels(1_000), minlength=3).tolist() == [0, 1000, 0]
    assert np.bincount(rare.matching_labels(10_000), minlength=3).tolist() == [0, 9996, 4]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_baseline_with_matched_labels_is_smaller(name):
    """Without matching, label frequencies differ by chance between the parts, which adds to the distance."""
    whole = load_reference(name)
    matched = whole.label_matched_baseline
    assert matched["frechet"] < 0.9 * whole.baseline["frechet"]
    assert min(matched["frechet_of_parts"]) > 0.02
    assert abs(matched["kernel"]) < 0.003  # the estimate is unbiased, so real images have about 0
    np.testing.assert_allclose(matched["shares"], whole.shares, atol=0.006)
    assert matched["label_accuracy"] == whole.baseline["label_accuracy"]


def test_label_matched_parts_have_the_requested_labels():
    labels = np.random.default_rng(2).choice(3, 200, p=(0.5, 0.3, 0.2))
    requested = np.repeat([0, 1, 2], (20, 12, 8))
    parts = _label_matched_parts(labels, requested, 4)
    assert parts.shape == (4, 40)
    for part in parts:
        assert (labels[part] == requested).all()
        assert len(set(part)) == 40
    assert len(np.unique(parts)) == 160


@pytest.mark.slow
def test_a_reference_of_own_images_is_one_half_of_them(digits):
    images, labels = digits.images[::4], digits.labels[::4]
    data = dataclasses.replace(digits, name="mine", images=images, labels=labels)
    own = build_reference(data)
    assert own.features.shape == (625, 128)
    assert own.baseline["images"] == 625
    assert own.labels == LABELS["mnist"]
    assert own.shares == pytest.approx([0.1] * 10, abs=0.03)
    assert build_reference(dataclasses.replace(data, labels=None)).labels == ()
    assert own.baseline["frechet"] == pytest.approx(np.mean(own.baseline["frechet_of_parts"]))
    assert (
        min(own.baseline["kernel_of_parts"]) < own.baseline["kernel"] < max(own.baseline["kernel_of_parts"])
    )
    assert own.protocol == ("half of the images", "the other half, mean of 10 random splits")
    assert not own.is_held_out
    assert own.classifier == ""


def test_too_few_images_and_unknown_names_are_rejected(digits):
    few = dataclasses.replace(digits, name="mine", images=digits.images[:99], labels=None)
    with pytest.raises(
        TooFewImagesError, match=r"99 images in `data` \(mine\).* need at least 100"
    ) as caught:
        build_reference(few)
    assert (caught.value.got, caught.value.expected) == (99, 100)
    with pytest.raises(EvaluationError, match="mnist, fashion-mnist, rock-paper-scissors"):
        load_reference("cats")
