"""The Fréchet distance during training uses the classifier of the data set, and the labels of its images."""

import dataclasses

import numpy as np
import pytest

from ganport.evaluation.errors import EvaluationError
from ganport.trainer.measures import FrechetDistance


class FixedGenerator:
    """A generator that takes latents like a Keras model, and returns real digits."""

    def __init__(self, images, label_count=0):
        self.input_shape = (None, 3 + label_count)
        self.images = images
        self.inputs = []

    def __call__(self, inputs, training):
        self.inputs.append(inputs)
        self.chosen = self.images[:: len(self.images) // len(inputs)].astype(np.float32) / 127.5 - 1
        return self

    def numpy(self):
        return self.chosen


def measure(distance, generator, label_count=0):
    return distance.between(distance.generated_features(generator, label_count))


def test_quality_in_training_uses_the_classifier_of_the_set(digits):
    with pytest.raises(EvaluationError, match="49 images are too few"):
        FrechetDistance(dataclasses.replace(digits, images=digits.images[:49]))
    distance = FrechetDistance(digits)
    assert distance._network.name == "mnist"
    assert 0 < measure(distance, FixedGenerator(digits.images)) < 20


@pytest.mark.slow
def test_other_images_are_compared_by_the_general_network_and_fewer_of_them(digits):
    few = dataclasses.replace(digits, name="mine", images=digits.images[::40], labels=None)
    distance = FrechetDistance(few)
    assert distance._network.name == "imagenet"
    alike, copies = FixedGenerator(digits.images[1::40]), FixedGenerator(digits.images[[7] * 125])
    assert measure(distance, copies) > 3 * measure(distance, alike)
    generator = FixedGenerator(digits.images)
    measure(FrechetDistance(dataclasses.replace(digits, name="mine", labels=None)), generator)
    assert sum(map(len, generator.inputs)) == FrechetDistance.MOST_IMAGES


def test_generated_images_have_the_labels_of_the_real_images(digits):
    fives = np.flatnonzero(digits.labels == 5)
    images = digits.images.take(np.resize(fives, 600), axis=0)
    only_fives = dataclasses.replace(digits, images=images, labels=np.full(600, 5, np.int32))
    generator = FixedGenerator(digits.images, label_count=10)
    measure(FrechetDistance(only_fives), generator, label_count=10)
    assert np.concatenate(generator.inputs)[:, -10:].argmax(axis=1).tolist() == [5] * 600
