"""Real images score like the baseline, damaged images score worse, and copies are found."""

import dataclasses

import numpy as np
import pytest

from ganport.evaluation import FeatureNetwork, build_reference, load_reference, measure_images
from ganport.evaluation.comparison import METRICS
from ganport.evaluation.errors import EvaluationError, TooFewImagesError
from ganport.evaluation.measures import label_figures


def test_real_digits_score_like_the_baseline_and_damaged_ones_worse(reference, digits):
    images, labels = digits.images[::2], digits.labels[::2]
    real = measure_images(reference, images, labels=labels)
    assert real.frechet < 10 * reference.baseline["frechet"]  # fewer images, other label frequencies
    assert min(real.precision, real.recall) > 0.7
    assert real.label_accuracy > 0.98
    assert real.baseline_label_matched
    assert real.baseline == reference.label_matched_baseline
    assert real.nearest_in_training is None
    assert real.shares == pytest.approx([0.1] * 10, abs=0.005)
    for damaged in (images // 2, np.roll(images, 9, axis=1), np.repeat(images[::250], 250, axis=0)):
        worse = measure_images(reference, damaged)
        assert worse.frechet > 5 * real.frechet
        assert worse.kernel > real.kernel
    sevens = measure_images(reference, images[labels == 7].repeat(2, axis=0))
    assert sevens.entropy < 0.2
    assert sevens.recall < 0.2


def test_images_without_requested_labels_have_the_baseline_without_matched_labels(reference, digits):
    report = measure_images(reference, digits.images[::2])
    assert not report.labels_requested
    assert not report.baseline_label_matched
    assert report.baseline == reference.baseline
    assert report.label_accuracy is None


@pytest.mark.slow
def test_batches_have_the_figures_of_one_array(reference, digits):
    images, labels = digits.images[:1200], digits.labels[:1200]
    whole = measure_images(reference, images, labels=labels)
    batches = (images[start : start + 512] for start in range(0, 1200, 512))
    parts = measure_images(reference, batches, labels=labels)
    for figure in ("images", *METRICS, "shares", "label_accuracy"):
        assert getattr(parts, figure) == pytest.approx(getattr(whole, figure), rel=1e-5)


@pytest.mark.slow
def test_copies_are_found_even_if_they_were_changed(reference, digits):
    training = digits.images[::2]
    copies = training[:600]
    dimmed, moved = (copies * 0.9).astype(np.uint8), np.roll(copies, 1, axis=2)
    for images in (copies, dimmed, moved):
        report = measure_images(reference, images, training=training)
        expected = report.baseline["nearest_in_training"]
        assert expected == 2_500 / 4_500
        assert report.nearest_in_training > expected + 0.15
    new = measure_images(reference, digits.images[1::2], training=training)
    assert new.nearest_in_training < expected + 0.1


@pytest.mark.slow
def test_own_images_are_compared_by_the_general_purpose_network_which_does_not_know_their_labels(digits):
    data = dataclasses.replace(digits, name="mine", images=digits.images[::4], labels=digits.labels[::4])
    own = build_reference(data)
    real = measure_images(own, digits.images[1::8])
    assert real.frechet < 3 * own.baseline["frechet"]
    assert real.recall > 0.6
    dark = measure_images(own, digits.images[1::8] // 2, labels=digits.labels[1::8])
    assert dark.frechet > 5 * real.frechet
    assert dark.labels == dark.shares == ()
    assert dark.entropy is dark.confidence is dark.label_accuracy is None


def test_a_hundred_images_are_enough_for_large_differences_and_the_margins_say_so(digits):
    few = dataclasses.replace(digits, name="mine", images=digits.images[:100], labels=None)
    own = build_reference(few)
    assert len(own.features) == 50
    real = measure_images(own, digits.images[100:150])
    assert abs(real.frechet - own.baseline["frechet"]) < 2 * real.margins["frechet"]
    dark = measure_images(own, digits.images[100:150] // 2)
    assert dark.frechet - own.baseline["frechet"] > 2 * dark.margins["frechet"]
    assert real.kernel + real.margins["kernel"] < dark.kernel - dark.margins["kernel"]


def test_large_sets_have_no_margins(digits, reference):
    assert set(measure_images(reference, digits.images[:600]).margins) == set(METRICS)
    assert measure_images(reference, digits.images[:2_001]).margins == {}


def test_labels_of_hands_are_predicted_by_their_classifier():
    """The hands are white, so that their labels are any; what matters is where the predictions come from."""
    reference = load_reference("rock-paper-scissors")
    images = np.full((60, 64, 64, 3), 255, np.uint8)
    report = measure_images(reference, images, labels=np.zeros(60, np.int64))
    _, probabilities = FeatureNetwork("rock-paper-scissors").extract(images)
    assert report.network == "imagenet"
    assert report.shares == label_figures(probabilities).shares
    assert report.label_accuracy == (probabilities.argmax(axis=1) == 0).mean()


def test_too_few_images_are_rejected(reference, digits):
    with pytest.raises(TooFewImagesError, match="49 images are too few; the metrics need at least 50"):
        measure_images(reference, digits.images[:49])
    with pytest.raises(TooFewImagesError, match="0 images are too few"):
        measure_images(load_reference("rock-paper-scissors"), np.zeros((0, 32, 32, 1), np.uint8))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"labels": [99] * 600}, "`labels` are not all labels of mnist; expected whole numbers from 0 to 9"),
        ({"labels": [-1] * 600}, "whole numbers from 0 to 9"),
        ({"labels": [0.5] * 600}, "whole numbers from 0 to 9"),
        ({"labels": [1] * 599}, r"`labels` have shape \(599,\); expected one label for each of 600 images"),
        ({"labels": [[1]] * 600}, r"`labels` have shape \(600, 1\)"),
        ({"training": np.zeros((0, 28, 28, 1), np.uint8)}, "`training` holds no images"),
    ],
)
def test_wrong_arguments_are_rejected_by_name(reference, digits, arguments, problem):
    with pytest.raises(EvaluationError, match=problem):
        measure_images(reference, digits.images[:600], **arguments)
