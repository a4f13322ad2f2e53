"""All the figures of images: real digits score like real ones, damaged ones worse, and each mistake has its words."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from ganport.evaluation import LABELS, FeatureNetwork, evaluate, load_reference, own_reference
from ganport.evaluation.features import FOLDERS, MODELS, prepare
from ganport.evaluation.references import REFERENCES, _parts_by_class
from ganport.runtime import BUNDLED, Sampler
from ganport.runtime.errors import EvaluationError
from ganport.trainer.datasets import load_dataset
from ganport.trainer.quality import Quality
from tests.conftest import failure
from tests.tiny_generator import tiny_model


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def reference():
    """Fewer images than there are, so that tables of distances take no time."""
    whole = load_reference("mnist")
    return dataclasses.replace(whole, features=whole.features[::5])


@pytest.fixture(scope="module")
def network():
    return FeatureNetwork("mnist")


@pytest.mark.parametrize("name", sorted(LABELS))
def test_what_comes_along_is_small_and_says_what_it_is(name):
    reference = load_reference(name)
    assert (MODELS / f"{name}.onnx").stat().st_size <= 500_000
    assert (REFERENCES / f"{name}.npz").stat().st_size <= 1_200_000
    assert reference.features.shape[1] == 64
    assert np.isfinite(reference.features).all()
    assert len(reference.floor["shares"]) == len(reference.labels) == len(reference.shares) == len(LABELS[name])
    assert 0 < reference.floor["frechet"] < 3
    side = 64 if name == "rock-paper-scissors" else 28
    features, probabilities = FeatureNetwork(name).judge(np.zeros((3, side, side, 3 if side == 64 else 1), np.uint8))
    assert features.shape == (3, 64)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_the_classes_of_what_is_measured_come_as_often_as_in_the_training_split(reference):
    asked = np.bincount(reference.draw_labels(10_000), minlength=10)
    np.testing.assert_allclose(asked / 10_000, reference.shares, atol=1e-4)
    assert asked[[5, 1]].tolist() == [904, 1124]  # of MNIST's 60,000 images 5,421 are a five, 6,742 a one
    rare = dataclasses.replace(reference, shares=(0.0, 0.9996, 0.0004))
    assert np.bincount(rare.draw_labels(1_000), minlength=3).tolist() == [0, 1000, 0]
    assert np.bincount(rare.draw_labels(10_000), minlength=3).tolist() == [0, 9996, 4]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_images_of_classes_on_demand_are_held_beside_real_ones_of_the_same_classes(name):
    """Chance mixes the classes of real images as they come, and that is a part of their distance, not of these."""
    whole = load_reference(name)
    assert whole.floor_by_class["frechet"] < 0.9 * whole.floor["frechet"]
    assert min(whole.floor_by_class["frechet_of_parts"]) > 0.02
    assert abs(whole.floor_by_class["kernel"]) < 0.003  # without bias the same images have it around 0
    np.testing.assert_allclose(whole.floor_by_class["shares"], whole.shares, atol=0.006)
    assert whole.floor_by_class["agreement"] == whole.floor["agreement"]


def test_parts_of_real_images_have_the_classes_that_were_asked_for():
    classes = np.random.default_rng(2).choice(3, 200, p=(0.5, 0.3, 0.2))
    asked = np.repeat([0, 1, 2], (20, 12, 8))
    parts = _parts_by_class(classes, asked, 4)
    assert parts.shape == (4, 40)
    for part in parts:
        assert (classes[part] == asked).all()
        assert len(set(part)) == 40
    assert len(np.unique(parts)) == 160


def test_digits_are_recognised(network, digits):
    _, probabilities = network.judge(digits.images)
    assert (probabilities.argmax(axis=1) == digits.labels).mean() > 0.98


def test_real_digits_score_like_real_ones_and_damaged_ones_worse(reference, digits):
    images, labels = digits.images[::2], digits.labels[::2]
    real = evaluate(reference, images, asked=labels)
    assert real.frechet < 10 * reference.floor["frechet"]  # fewer images, and another mix of digits
    assert min(real.precision, real.recall) > 0.7
    assert real.agreement > 0.98
    assert real.by_class
    assert real.floor == reference.floor_by_class
    assert "of the training split, the mean of 6 parts of it, of such classes" in real.describe()
    as_they_come = evaluate(reference, images)
    assert not as_they_come.by_class
    assert as_they_come.floor == reference.floor
    assert "of such classes" not in as_they_come.describe()
    assert real.nearest_in_training is None
    assert real.shares == pytest.approx([0.1] * 10, abs=0.005)
    for damage in (images // 2, np.roll(images, 9, axis=1), np.repeat(images[::250], 250, axis=0)):
        worse = evaluate(reference, damage)
        assert worse.frechet > 5 * real.frechet
        assert worse.kernel > real.kernel
    one_digit = evaluate(reference, images[labels == 7].repeat(2, axis=0))
    assert one_digit.entropy < 0.2
    assert one_digit.recall < 0.2


def test_parts_are_measured_as_one_array_is(reference, digits):
    images, labels = digits.images[:1200], digits.labels[:1200]
    whole = evaluate(reference, images, asked=labels)
    parts = evaluate(reference, (images[at : at + 512] for at in range(0, 1200, 512)), asked=labels)
    for figure in ("images", "frechet", "kernel", "precision", "recall", "shares", "agreement"):
        assert getattr(parts, figure) == pytest.approx(getattr(whole, figure), rel=1e-5)


def test_copies_are_found_even_where_they_were_changed(reference, digits):
    training = digits.images[::2]
    copies = training[:600]
    dimmed, moved = (copies * 0.9).astype(np.uint8), np.roll(copies, 1, axis=2)
    for images in (copies, dimmed, moved):
        report = evaluate(reference, images, training)
        new = report.floor["nearest_in_training"]
        assert new == 2_500 / 4_500
        assert report.nearest_in_training > new + 0.15
    assert evaluate(reference, digits.images[1::2], training).nearest_in_training < new + 0.1


@pytest.mark.parametrize("side", [64, 32])
def test_what_lies_beneath_transparency_is_not_seen(side):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, side, side, 4), np.uint8)
    images[..., 3] = np.where(np.arange(side) < side // 2, 255, 0)
    seen = images[..., :3].copy()
    seen[:, :, side // 2 :] = 255
    np.testing.assert_array_equal(prepare(FOLDERS, images), prepare(FOLDERS, seen))
    half = np.full((1, 64, 64, 4), 100, np.uint8) | np.array([0, 0, 0, 128], np.uint8)  # opacity 228
    expected = round(100 * 228 / 255 + 255 * 27 / 255)
    assert np.unique(prepare(FOLDERS, half)).tolist() == [expected]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"asked": [99] * 600}, "whole numbers from 0 to 9, as mnist has"),
        ({"asked": [-1] * 600}, "whole numbers from 0 to 9"),
        ({"asked": [0.5] * 600}, "whole numbers from 0 to 9"),
        ({"asked": [1] * 599}, "one for each image"),
        ({"training": np.zeros((0, 28, 28, 1), np.uint8)}, "no training images"),
    ],
)
def test_arguments_that_say_nothing_are_refused(reference, digits, arguments, problem):
    with pytest.raises(EvaluationError, match=problem):
        evaluate(reference, digits.images[:600], **arguments)


def test_pictures_of_ones_own_are_a_reference(digits):
    images, labels = digits.images[::4], digits.labels[::4]
    own = own_reference("mine", len(images), lambda places: images[places], list("0123456789"), labels)
    assert own.features.shape == (625, 64)
    assert own.floor["images"] == 625
    assert own.shares == pytest.approx([0.1] * 10, abs=0.03)
    assert own_reference("mine", len(images), lambda places: images[places], list("0123456789")).labels == ()
    real = evaluate(own, digits.images[1::8])
    assert real.frechet < 3 * own.floor["frechet"]
    assert real.recall > 0.6
    dark = evaluate(own, digits.images[1::8] // 2, asked=digits.labels[1::8].astype(np.int64))
    assert dark.frechet > 5 * real.frechet
    assert dark.labels == dark.shares == ()
    assert dark.entropy is dark.confidence is dark.agreement is None  # its classifier knows hands, not digits
    assert [row[0] for row in dark.rows()] == ["Fréchet distance", "kernel distance", "precision", "recall"]
    assert dark.describe() == (
        "625 images against 625, half of the pictures of mine, in 64 features of the classifier of rock-paper-scissors; "
        "classes as often as in the pictures; "
        "real images: 625 against as many others of them, the mean of 10 ways to halve them"
    )
    assert evaluate(own, digits.images[1::8]).describe().count("as often") == 0
    assert own.floor["frechet"] == pytest.approx(np.mean(own.floor["frechet_of_parts"]))
    assert min(own.floor["kernel_of_parts"]) < own.floor["kernel"] < max(own.floor["kernel_of_parts"])
    with pytest.raises(EvaluationError, match="mine has 999 pictures; to compare with one half of them takes 1,000"):
        own_reference("mine", 999, lambda places: images[places])


def test_images_that_cant_be_measured(reference, digits):
    with pytest.raises(EvaluationError, match="499 images are too few"):
        evaluate(reference, digits.images[:499])
    with pytest.raises(EvaluationError, match="28x28x1, these are 32x32x3; give --data"):
        evaluate(reference, np.zeros((500, 32, 32, 3), np.uint8))
    hands = load_reference("rock-paper-scissors")
    for shape in [(500, 32, 32, 2), (500, 32, 32), (500, 0, 32, 1)]:
        with pytest.raises(EvaluationError, match="images of 1, 3 or 4 channels"):
            evaluate(hands, np.zeros(shape, np.uint8))
    with pytest.raises(EvaluationError, match="0 images are too few"):
        evaluate(hands, np.zeros((0, 32, 32, 1), np.uint8))
    for asked in (digits.labels[:499], digits.labels[:1], digits.labels[:500, np.newaxis]):
        with pytest.raises(EvaluationError, match="500 images, and classes of the shape"):
            evaluate(reference, digits.images[:500], asked=asked)
    with pytest.raises(EvaluationError, match="images are uint8, not float32"):
        evaluate(reference, digits.images[:500].astype(np.float32))
    with pytest.raises(EvaluationError, match="mnist, fashion-mnist, rock-paper-scissors"):
        load_reference("cats")


def test_pictures_of_any_size_become_64x64_in_colour():
    grey = np.random.default_rng(0).integers(0, 256, (2, 30, 50, 1)).astype(np.uint8)
    assert prepare("rock-paper-scissors", grey).shape == (2, 64, 64, 3)
    assert prepare("rock-paper-scissors", np.repeat(grey, 4, axis=-1)).shape == (2, 64, 64, 3)
    right = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    np.testing.assert_array_equal(prepare("rock-paper-scissors", right), right)
    flat = np.full((1, 640, 640, 3), 200, np.uint8)
    flat[:, ::2, ::2] = 0  # a fine pattern is averaged, not picked from
    assert 140 <= prepare("rock-paper-scissors", flat).mean() <= 160


def test_quality_in_training_uses_the_classifier_of_the_set(digits):
    class Fixed:
        def __init__(self, classes=0):
            self.input_shape = (None, 3 + classes)
            self.inputs = []

        def __call__(self, inputs, training):
            self.inputs.append(inputs)

            class Images:
                def numpy(self):
                    return digits.images[:: len(digits.images) // len(inputs)].astype(np.float32) / 127.5 - 1

            return Images()

    with pytest.raises(EvaluationError, match="499 images are too few"):
        Quality(dataclasses.replace(digits, images=digits.images[:499]))
    quality = Quality(digits)
    assert quality._network.name == "mnist"
    assert 0 < quality.frechet(Fixed()) < 20
    fives = np.flatnonzero(digits.labels == 5)  # a set of one class is compared with that class alone
    few = dataclasses.replace(
        digits, images=digits.images.take(np.resize(fives, 600), axis=0), labels=np.full(600, 5, np.int32)
    )
    generator = Fixed(classes=10)
    Quality(few).frechet(generator, classes=10)
    assert np.concatenate(generator.inputs)[:, -10:].argmax(axis=1).tolist() == [5] * 600
    assert Quality(dataclasses.replace(digits, name="mine"))._network.name == "rock-paper-scissors"


def test_evaluate_on_the_command_line(ganport, tmp_path):
    result = ganport("evaluate", "mnist", "--seeds", "0-599")
    assert result.returncode == 0, result.stderr
    assert "Fréchet distance" in result.stdout
    assert "600 images against 10,000, the test split of mnist" in result.stdout
    assert "runtime/models/mnist.onnx, seeds 0-599: 600 images" in result.stdout
    report = json.loads(ganport("evaluate", "mnist", "--seeds", "0-599", "--json").stdout)
    assert (report["model"], report["seeds"], report["truncation"], report["provider"]) == ("mnist.onnx", "0-599", 1.0, "cpu")
    assert report["sha256"] == hashlib.sha256(BUNDLED["mnist"].read_bytes()).hexdigest()
    cut = ganport("evaluate", "mnist", "--seeds", "0-599", "--truncation", "0.5", "--data", "digits")
    assert "seeds 0-599, truncation 0.5: 600 images against 10,000, the test split of mnist" in cut.stdout
    reference, labels = load_reference("mnist"), load_reference("mnist").draw_labels(600)
    expected = evaluate(reference, Sampler("mnist").sample(range(600), labels=labels), asked=labels)
    assert report["frechet"] == pytest.approx(expected.frechet, rel=1e-4)
    assert report["agreement"] == expected.agreement > 0.9
    assert "too few" in failure(ganport("evaluate", "mnist", "--seeds", "0-99"))
    assert "lists a seed twice" in failure(ganport("evaluate", "mnist", "--seeds", "0-499,7"), 2)
    assert "No data set 'cats'" in failure(ganport("evaluate", "mnist", "--data", "cats"))
    assert "No data set ''" in failure(ganport("evaluate", "mnist", "--data", ""))
    (tmp_path / "tiny.onnx").write_bytes(tiny_model("uint8").SerializeToString())
    np.savez(tmp_path / "mine.npz", images=np.zeros((1000, 6, 8, 1), np.uint8))
    other = failure(ganport("evaluate", "tiny.onnx", "--data", "mine.npz"))
    assert "the model draws 3x4, the pictures of mine.npz are 6x8; give some of its size" in other
    assert "give --data and the images, or mnist" in failure(ganport("evaluate", "tiny.onnx"))
    assert "these are 3x4x1" in failure(ganport("evaluate", "tiny.onnx", "--data", "mnist"))


def test_evaluate_looks_for_copies_where_the_training_images_lie(ganport, tmp_path, digits):
    folder = tmp_path / "sets" / "mnist"
    folder.mkdir(parents=True)
    header = np.array([2051, 5000, 28, 28], ">i4").tobytes()
    (folder / "train-images-idx3-ubyte").write_bytes(header + digits.images.tobytes())
    report = json.loads(ganport("evaluate", "mnist", "--seeds", "0-599", "--json", "--data-dir", "sets").stdout)
    assert report["floor"]["nearest_in_training"] == 1 / 3
    assert 0.2 < report["nearest_in_training"] < 0.5
    (tmp_path / "empty").mkdir()
    where = failure(ganport("evaluate", "mnist", "--data-dir", "empty"))
    assert "--data-dir is empty, where its training images are not" in where
    line = failure(ganport("evaluate", "rock-paper-scissors", "--data-dir", "sets"), 2)
    assert "--data-dir is for copies, which are not looked for with rock-paper-scissors" in line


def test_evaluate_takes_pictures_of_ones_own(ganport, tmp_path, digits):
    np.savez(tmp_path / "mine.npz", images=digits.images[::4])
    result = ganport("evaluate", "mnist", "--data", "mine.npz")
    assert result.returncode == 0, result.stderr
    assert "The model was trained on mnist, and is held against mine" in result.stderr
    assert "Its classes are not those of mine: drawn in turn, without agreement" in result.stderr
    assert "625 images against 625, half of the pictures of mine" in result.stdout
    assert "entropy" not in result.stdout
    assert "The model has seen" not in result.stderr
    result = ganport("evaluate", "rock-paper-scissors", "--seeds", "0-499")
    assert "The model has seen the images of rock-paper-scissors: copies of them would score as real ones do" in result.stderr


@pytest.mark.parametrize("name", LABELS)
def test_the_table_fits_a_terminal_even_for_noise(name):
    reference = load_reference(name)
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28, 1), dtype=np.uint8)
    classes = reference.draw_labels(500)
    training = images if reference.is_unseen else None
    rows = [("figure", "value", "real images", "what it is"), *evaluate(reference, images, training, classes).rows()]
    assert sum(max(map(len, column)) for column in zip(*rows, strict=True)) + 2 * 3 <= 80
