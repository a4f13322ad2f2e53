"""Augmentation: its effect on pixels, and its gradients."""

import numpy as np
import pytest
import tensorflow as tf

from ganport.trainer.augment import diff_augment, flip
from ganport.trainer.random_numbers import Purpose, StepRandom

BATCH = 64


def step_random(step=0):
    return StepRandom(0, tf.constant(step), BATCH)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return tf.constant(rng.uniform(-1, 1, (BATCH, 16, 24, 3)).astype(np.float32))


def test_flip_mirrors_about_half(images):
    flipped = flip(images, step_random()).numpy()
    pairs = list(zip(flipped, images.numpy(), strict=True))
    mirrored = sum(np.array_equal(new, old[:, ::-1]) for new, old in pairs)
    kept = sum(np.array_equal(new, old) for new, old in pairs)
    assert mirrored + kept == BATCH
    assert 20 < mirrored < 44


def test_no_policy_keeps_the_images(images):
    assert diff_augment(images, (), step_random(), 1) is images


def test_translation_shifts_by_up_to_an_eighth_and_leaves_grey(images):
    shifts = set()
    translated = diff_augment(images, ("translation",), step_random(), 1).numpy()
    for old, new in zip(images.numpy(), translated, strict=True):
        found = [
            (down, right)
            for down in range(-3, 4)
            for right in range(-4, 5)
            if np.allclose(shifted(old, down, right), new, atol=1e-6)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    downs, rights = zip(*shifts, strict=True)
    assert (min(downs), max(downs)) == (-2, 2)  # an eighth of 16
    assert (min(rights), max(rights)) == (-3, 3)  # an eighth of 24


def shifted(image, down, right):
    height, width, _ = image.shape
    result = np.zeros_like(image)
    result[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = image[
        max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)
    ]
    return result


def test_cutout_leaves_a_grey_rectangle_of_half_the_side(images):
    holes = []
    for old, new in zip(
        images.numpy(), diff_augment(images, ("cutout",), step_random(), 1).numpy(), strict=True
    ):
        hole = (new == 0).all(axis=-1)
        np.testing.assert_array_equal(new[~hole], old[~hole])
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        holes.append((len(rows), len(columns)))
    assert max(rows for rows, _ in holes) == 8
    assert max(columns for _, columns in holes) == 12
    assert len(set(holes)) > 5  # some extend over the border


def test_colour_by_hand():
    """The images are a grey one and a coloured one. Saturation changes only the coloured one."""
    grey, red = np.full((1, 4, 4, 3), 0.2, np.float32), np.zeros((1, 4, 4, 3), np.float32)
    red[..., 0] = 0.9
    images = tf.constant(np.concatenate([grey, red]))
    small = StepRandom(0, tf.constant(0), 2)
    brightness, saturation, contrast = small.uniform(Purpose.AUGMENTATION, 7).numpy()[:, :3].T
    new = diff_augment(images, ("color",), small, 1).numpy()
    np.testing.assert_allclose(new[0], 0.2 + brightness[0] - 0.5, atol=1e-6)
    lit = np.array([0.9, 0.0, 0.0]) + brightness[1] - 0.5
    saturated = lit.mean() + (lit - lit.mean()) * 2 * saturation[1]
    expected = saturated.mean() + (saturated - saturated.mean()) * (contrast[1] + 0.5)
    np.testing.assert_allclose(new[1], np.broadcast_to(expected, (4, 4, 3)), atol=1e-6)


def test_copies_have_the_same_random_numbers(images):
    policy = ("color", "translation", "cutout")
    twice = diff_augment(tf.concat([images, images], axis=0), policy, step_random(), 2).numpy()
    np.testing.assert_allclose(twice[:BATCH], twice[BATCH:], atol=1e-6)
    once = diff_augment(images, policy, step_random(), 1).numpy()
    np.testing.assert_allclose(twice[:BATCH], once, atol=1e-6)


def test_gradients_pass_and_steps_differ(images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        augmented = diff_augment(images, ("color", "translation", "cutout"), step_random(), 1)
        total = tf.reduce_sum(tf.square(augmented))
    gradient = tape.gradient(total, images).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).reshape(BATCH, -1).max(axis=1) > 0).all()
    other = diff_augment(images, ("color", "translation", "cutout"), step_random(1), 1)
    assert not np.array_equal(augmented.numpy(), other.numpy())
