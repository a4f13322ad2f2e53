"""The pixel distance is small for images like the real ones, and larger for other images."""

import dataclasses

import keras
import numpy as np
import pytest

from ganport.trainer.measures import PixelDistance, RealImages
from ganport.trainer.networks import build_networks
from tests.trainer.conftest import load_squares


class Fixed:
    """A generator that returns given images, one after the other."""

    input_shape = (None, 100)

    def __init__(self, images):
        self.images = images.astype(np.float32) / 127.5 - 1

    def __call__(self, latents, training):
        return keras.ops.convert_to_tensor(self.images[: len(latents)])


def test_real_images_have_distance_zero():
    data = load_squares()
    assert PixelDistance(data).measure(Fixed(data.images)) == pytest.approx(0, abs=1e-6)


def test_generated_images_have_the_labels_of_the_real_ones():
    data = load_squares()
    classes = (np.arange(data.count) % 10 == 0).astype(np.int32)  # one in ten has the second label

    class Conditional(Fixed):
        input_shape = (None, 102)

        def __call__(self, latents, training):
            return keras.ops.convert_to_tensor(self.images[latents[:, -1].astype(int)])

    shades = np.stack([np.full((28, 28, 1), value, np.uint8) for value in (40, 220)])
    labelled = dataclasses.replace(data, images=shades[classes], labels=classes)
    assert PixelDistance(labelled).measure(Conditional(shades), label_count=2) == pytest.approx(0, abs=1e-6)


def test_distance_grows_with_the_damage():
    data = load_squares()
    distance = PixelDistance(data)
    shifted = [np.clip(data.images.astype(int) + shift, 0, 255) for shift in (0, 20, 60)]
    distances = [distance.measure(Fixed(images)) for images in shifted]
    assert distances == sorted(distances)
    assert distances[1] > 0.01


def test_images_that_are_not_trained_on_are_not_compared_with():
    data, training = load_squares(), np.arange(0, 50, 2, dtype=np.int32)
    chosen = RealImages.choose(data, 40, np.random.default_rng(0), training)
    np.testing.assert_array_equal(chosen.indices, training)
    some = RealImages.choose(data, 10, np.random.default_rng(0), training)
    assert set(some.indices.tolist()) < set(training.tolist())
    shaded = dataclasses.replace(data, images=data.images.copy())
    shaded.images[1::2] = 255
    assert PixelDistance(shaded, training).measure(Fixed(shaded.images[::2])) == pytest.approx(0, abs=1e-6)


def test_one_repeated_image_has_a_large_distance():
    data = load_squares()
    distance = PixelDistance(data)
    assert distance.measure(Fixed(np.repeat(data.images[:1], 50, axis=0))) > 0.05


def test_distance_is_repeatable(small_recipe, small_data):
    generator = build_networks(small_recipe).average
    first, second = (PixelDistance(small_data).measure(generator) for _ in range(2))
    assert first == second
