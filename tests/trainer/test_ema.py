import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ganport.runtime import sample_latents
from ganport.trainer.ema import recalibrate_batch_norm, shipped_generator, update_average
from ganport.trainer.networks import build_networks
from ganport.trainer.recipes import load_recipe


def dense_recipe(recipe):
    """Return a recipe with the networks of mnist-dense, which have BatchNormalization."""
    dense = load_recipe("mnist-dense")
    networks = {"build_generator": dense.build_generator, "build_discriminator": dense.build_discriminator}
    return dataclasses.replace(recipe, name="mnist-dense", **networks)


@pytest.fixture
def dense():
    return load_recipe("mnist-dense").build_generator(100, (28, 28, 1))


def test_average_moves_by_the_decay():
    recipe = load_recipe("mnist-minimal")
    average, generator = (recipe.build_generator(100, (28, 28, 1)) for _ in range(2))
    before, target = average.get_weights()[0], generator.get_weights()[0]
    update_average(average, generator, 0.999, tf.constant(10**6))
    np.testing.assert_allclose(average.get_weights()[0], 0.999 * before + 0.001 * target, atol=1e-6)
    update_average(average, generator, 0.999, tf.constant(0))
    # At the start of the average, each update keeps a tenth of the previous value.
    np.testing.assert_allclose(average.get_weights()[0], target, rtol=0.2, atol=0.02)
    np.testing.assert_array_equal(generator.get_weights()[0], target)


def test_statistics_are_those_of_the_current_weights(dense):
    latents = sample_latents(np.arange(4000), 100)

    def gap() -> float:
        """Return the mean difference between inference and a pass with the statistics of the batch."""
        return float(np.abs(dense(latents, training=False).numpy() - in_training).mean())

    in_training = dense(latents, training=True).numpy()
    untrained = gap()
    before = [variable.numpy() for variable in dense.trainable_variables]
    momenta = [layer.momentum for layer in dense.layers if hasattr(layer, "momentum")]
    recalibrate_batch_norm(dense, 100, {})
    assert gap() < untrained / 5
    np.testing.assert_array_equal(before[0], dense.trainable_variables[0].numpy())
    assert momenta == [layer.momentum for layer in dense.layers if hasattr(layer, "momentum")]


def test_shipped_generator_is_the_average_with_its_own_statistics(small_recipe):
    recipe = dense_recipe(small_recipe)
    networks = build_networks(recipe)
    before = networks.average.get_weights()
    shipped = shipped_generator(recipe, networks, {})
    assert shipped is networks.average
    changed = [not np.array_equal(a, b) for a, b in zip(before, shipped.get_weights(), strict=True)]
    assert sum(changed) == 6  # mean and variance of three layers, and no weight


def test_shipped_generator_is_the_trained_one_without_an_average(small_recipe):
    recipe = dataclasses.replace(dense_recipe(small_recipe), ema_decay=0.0)
    networks = build_networks(recipe)
    before = [weight + 1 for weight in networks.generator.get_weights()]
    networks.generator.set_weights(before)
    for a, b in zip(before, shipped_generator(recipe, networks, {}).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_statistics_of_a_nested_model_are_found_too(dense):
    import keras

    outer = keras.Sequential([keras.Input((100,)), dense])
    before = [weight.copy() for weight in dense.get_weights()]
    recalibrate_batch_norm(outer, 100, {})
    assert any(not np.array_equal(a, b) for a, b in zip(before, dense.get_weights(), strict=True))


def test_recalibration_is_repeatable_with_random_layers():
    import keras

    layers = [
        keras.layers.Dense(8),
        keras.layers.Dropout(0.5),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(4),
    ]
    generator = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Reshape((2, 2, 1))])
    recalibrate_batch_norm(generator, 3, {})
    first = generator.get_weights()
    recalibrate_batch_norm(generator, 3, {})
    for before, after in zip(first, generator.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_recalibration_is_repeatable(dense):
    recalibrate_batch_norm(dense, 100, {})
    first = dense.get_weights()
    recalibrate_batch_norm(dense, 100, {})
    for a, b in zip(first, dense.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_statistics_have_the_labels_of_the_training_images():
    import keras

    share = keras.layers.Dense(1, use_bias=False)  # 1 for an image of the second class
    layers = [keras.Input((5,)), share, keras.layers.BatchNormalization(), keras.layers.Reshape((1, 1, 1))]
    generator = keras.Sequential(layers)
    share.set_weights([np.array([[0], [0], [0], [0], [1]], np.float32)])
    recalibrate_batch_norm(generator, 3, {"often": 900, "rarely": 100})
    assert generator.layers[1].moving_mean.numpy() == pytest.approx(0.1, abs=0.002)
    recalibrate_batch_norm(generator, 3, {"often": 1, "as often": 1})
    assert generator.layers[1].moving_mean.numpy() == pytest.approx(0.5)
