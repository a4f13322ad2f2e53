"""The classifiers recognise their labels, and images of any kind are prepared as a viewer shows them."""

import numpy as np
import pytest

from ganport.datasets import LABELS
from ganport.evaluation import FeatureNetwork
from ganport.evaluation.errors import EvaluationError, ImageShapeError
from ganport.evaluation.features import GENERAL_NETWORK, MODELS, prepare_images


@pytest.mark.parametrize("name", sorted(LABELS))
def test_a_classifier_is_small_and_gives_features_and_probabilities(name):
    assert (MODELS / f"{name}.onnx").stat().st_size <= 500_000
    shape = (64, 64, 3) if name == GENERAL_NETWORK else (28, 28, 1)
    features, probabilities = FeatureNetwork(name).extract(np.zeros((3, *shape), np.uint8))
    assert features.shape == (3, 64)
    assert probabilities.shape == (3, len(LABELS[name]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_digits_are_recognised(network, digits):
    _, probabilities = network.extract(digits.images)
    assert (probabilities.argmax(axis=1) == digits.labels).mean() > 0.98


def test_images_of_any_size_become_64x64_in_colour():
    grey = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 1)).astype(np.uint8)
    assert prepare_images(GENERAL_NETWORK, grey).shape == (2, 64, 64, 3)
    assert prepare_images(GENERAL_NETWORK, np.repeat(grey, 4, axis=-1)).shape == (2, 64, 64, 3)
    right_size = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    np.testing.assert_array_equal(prepare_images(GENERAL_NETWORK, right_size), right_size)
    flat = np.full((1, 640, 640, 3), 200, np.uint8)
    flat[:, ::2, ::2] = 0  # the mean of this fine pattern is 150, and its pixels are 0 or 200
    assert 140 <= prepare_images(GENERAL_NETWORK, flat).mean() <= 160


@pytest.mark.parametrize("side", [64, 32])
def test_transparent_pixels_are_white(side):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, side, side, 4), np.uint8)
    images[..., 3] = np.where(np.arange(side) < side // 2, 255, 0)
    visible = images[..., :3].copy()
    visible[:, :, side // 2 :] = 255
    expected = prepare_images(GENERAL_NETWORK, visible)
    np.testing.assert_array_equal(prepare_images(GENERAL_NETWORK, images), expected)
    translucent = np.full((1, 64, 64, 4), 100, np.uint8) | np.array([0, 0, 0, 128], np.uint8)  # opacity 228
    level = round(100 * 228 / 255 + 255 * 27 / 255)
    assert np.unique(prepare_images(GENERAL_NETWORK, translucent)).tolist() == [level]


def test_images_of_another_shape_or_type_are_rejected(network):
    with pytest.raises(
        ImageShapeError, match=r"32x32x3, and those of mnist are 28x28x1; give .* as `data`"
    ) as caught:
        network.extract(np.zeros((5, 32, 32, 3), np.uint8))
    assert caught.value.got == (32, 32, 3)
    for shape in [(5, 32, 32, 2), (5, 32, 32), (5, 0, 32, 1)]:
        with pytest.raises(ImageShapeError, match="with 1, 3 or 4 channels"):
            prepare_images(GENERAL_NETWORK, np.zeros(shape, np.uint8))
    with pytest.raises(EvaluationError, match="the images are float32, expected uint8"):
        network.extract(np.zeros((5, 28, 28, 1), np.float32))
