"""The distance: small for what is like the real images, larger for what is not."""

import dataclasses

import keras
import numpy as np
import pytest

from ganport.trainer.distance import Reference
from ganport.trainer.networks import build_networks
from ganport.trainer.recipes import load_recipe_module
from tests.trainer.conftest import load_squares


class Fixed:
    """A generator that draws given images, one after the other."""

    input_shape = (None, 100)

    def __init__(self, images):
        self.images = images.astype(np.float32) / 127.5 - 1

    def __call__(self, latents, training):
        return keras.ops.convert_to_tensor(self.images[: len(latents)])


def test_real_images_themselves_are_at_distance_zero():
    data = load_squares()
    assert Reference(data).distance(Fixed(data.images)) == pytest.approx(0, abs=1e-6)


def test_classes_on_demand_are_asked_for_as_the_real_images_have_them():
    data = load_squares()
    classes = (np.arange(data.count) % 10 == 0).astype(np.int32)  # one in ten is of the second

    class OnDemand(Fixed):
        input_shape = (None, 102)

        def __call__(self, latents, training):
            return keras.ops.convert_to_tensor(self.images[latents[:, -1].astype(int)])

    shades = np.stack([np.full((28, 28, 1), value, np.uint8) for value in (40, 220)])
    labelled = dataclasses.replace(data, images=shades[classes], labels=classes)
    assert Reference(labelled).distance(OnDemand(shades), classes=2) == pytest.approx(0, abs=1e-6)


def test_distance_grows_with_the_damage():
    data = load_squares()
    reference = Reference(data)
    distances = [reference.distance(Fixed(np.clip(data.images.astype(int) + shift, 0, 255))) for shift in (0, 20, 60)]
    assert distances == sorted(distances)
    assert distances[1] > 0.01


def test_one_image_again_and_again_is_far(small_recipe):
    data = load_squares()
    reference = Reference(data)
    assert reference.distance(Fixed(np.repeat(data.images[:1], 50, axis=0))) > 0.05


def test_distance_is_repeatable(small_recipe, small_data):
    networks = build_networks(small_recipe, load_recipe_module("mnist-minimal"))
    assert Reference(small_data).distance(networks.average) == Reference(small_data).distance(networks.average)
