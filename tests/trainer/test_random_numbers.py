"""The random numbers of a step are a function of seed, step and purpose."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ganport.runtime.latents import signed_normal_table
from ganport.trainer.random_numbers import Purpose, StepRandom, image_order


def rng(seed=0, step=3, shard=0, shards=1):
    return StepRandom(seed, tf.convert_to_tensor(step), 8, shard, shards)


def test_numbers_are_a_function_of_seed_step_and_purpose():
    first = rng().normal(Purpose.LATENTS, 5).numpy()
    assert first.shape == (8, 5)
    np.testing.assert_array_equal(first, rng().normal(Purpose.LATENTS, 5).numpy())
    for other, purpose in (
        (rng(step=4), Purpose.LATENTS),
        (rng(), Purpose.MIX),
        (rng(seed=1), Purpose.LATENTS),
    ):
        assert not np.array_equal(first, other.normal(purpose, 5).numpy())


def test_xla_gives_the_same_bits():
    def both(step):
        some = rng(step=step)
        return some.normal(Purpose.LATENTS, 101), some.uniform(Purpose.MIX, 51)

    # The step is an argument. With a constant, TensorFlow would compute the numbers before XLA compiles.
    for step in (0, 3, 10**6):
        plain = tf.function(both)(tf.constant(step))
        compiled = tf.function(both, jit_compile=True)(tf.constant(step))
        for ours, theirs in zip(plain, compiled, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_normal_numbers_are_those_of_the_runtimes_table():
    numbers = StepRandom(0, tf.constant(3), 20_000).normal(Purpose.LATENTS, 11).numpy()
    assert numbers.shape == (20_000, 11)
    assert set(np.unique(numbers)) <= set(signed_normal_table())
    assert len(np.unique(numbers)) > 8_000
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.std() - 1) < 0.01
    assert np.abs(np.corrcoef(numbers.T) - np.eye(11)).max() < 0.03


def test_uniform_numbers_fill_their_range():
    numbers = StepRandom(0, tf.constant(3), 20_000).uniform(Purpose.MIX, 5).numpy()
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 0.01


def test_purposes_have_different_numbers():
    assert len({int(purpose) for purpose in Purpose}) == len(Purpose)
    assert Purpose.LATENTS == 1  # a change of this number would change every run


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_devices_share_the_numbers_of_one_device(kind):
    whole = getattr(rng(), kind)(Purpose.LATENTS, 5).numpy()
    parts = [getattr(rng(shard=shard, shards=4), kind)(Purpose.LATENTS, 5).numpy() for shard in range(4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_layers_and_devices_have_different_states():
    states = [
        rng(shard=shard, shards=2).layer_state(index).numpy() for shard in range(2) for index in range(3)
    ]
    assert len({tuple(state) for state in states}) == 6
    assert all((state >= 0).all() for state in states)


@pytest.mark.parametrize("sampling", ["replacement", "epochs"])
def test_order_does_not_depend_on_where_it_is_split(small_recipe, sampling):
    recipe = dataclasses.replace(small_recipe, sampling=sampling)
    whole = image_order(recipe, 50, 0, 20)
    assert whole.shape == (20, 8)
    assert whole.dtype == np.int32
    np.testing.assert_array_equal(
        whole, np.concatenate([image_order(recipe, 50, 0, 7), image_order(recipe, 50, 7, 20)])
    )
    other = image_order(dataclasses.replace(recipe, seed=1), 50, 0, 20)
    assert not np.array_equal(whole, other)


def test_an_epoch_sees_every_image_once_in_a_new_order(small_recipe):
    recipe = dataclasses.replace(small_recipe, sampling="epochs", batch_size=10)
    first, second = image_order(recipe, 50, 0, 10).reshape(2, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert list(first) != list(second)


def test_replacement_reaches_every_image(small_recipe):
    order = image_order(dataclasses.replace(small_recipe, batch_size=2000), 50, 0, 1)
    assert set(order.ravel()) == set(range(50))


def test_order_of_no_steps_is_empty(small_recipe):
    for sampling in ("replacement", "epochs"):
        assert image_order(dataclasses.replace(small_recipe, sampling=sampling), 50, 4, 4).shape == (0, 8)
