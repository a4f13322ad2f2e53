"""Keras models in memory become functions, and the generator inside of a whole GAN is found."""

import numpy as np
import pytest
import tensorflow as tf

from ganport.export.errors import GeneratorError
from ganport.export.keras_models import function_of_model
from ganport.export.loading import load_function
from ganport.export.paths import LoadingOptions
from tests.export.keras_networks import (
    FRAMEWORKS,
    LATENTS,
    assert_generates,
    discriminator,
    expected_images,
    generator,
    randomise,
)

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")  # in Keras 2
BOTH = pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
FOUND = "the whole model returns no images, but a model inside of it does: "


def problem_of(model, **options):
    with pytest.raises(GeneratorError) as error:
        function_of_model(model, **options)
    return error.value.problem


def sequential_gan(framework):
    gan = framework.Sequential([generator(framework), discriminator(framework)])
    gan(LATENTS)
    return gan


def functional_gan(framework):
    latent = framework.layers.Input((8,))
    return framework.Model(latent, discriminator(framework)(generator(framework)(latent)))


def nested_gan(framework):
    latent = framework.layers.Input((8,))
    inner = functional_gan(framework)
    return framework.Model(latent, framework.layers.Dense(2)(inner(latent)))


def wrapped_gan(framework, *, calls=True):
    """Return a model of an own class with a generator and a discriminator as attributes."""

    class Gan(framework.Model):
        def __init__(self):
            super().__init__()
            self.maker, self.critic = generator(framework), discriminator(framework)

        def call(self, latents, training=False):
            return self.critic(self.maker(latents, training=training), training=training)

    gan = Gan()
    if calls:
        gan(LATENTS)
    return gan


@BOTH
def test_model_in_memory_is_not_changed(framework):
    model = generator(framework)
    before, weights = expected_images(model), model.get_weights()
    assert_generates(function_of_model(model), before)
    np.testing.assert_array_equal(expected_images(model), before)
    for weight, kept in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, kept)


@BOTH
def test_dicts_of_inputs_and_outputs_are_taken_by_their_names(framework):
    layers = framework.layers
    latent, noise = layers.Input((8,), name="z"), layers.Input((8,), name="noise")
    images = layers.Reshape((4, 4, 1))(layers.Dense(16)(layers.concatenate([latent, noise])))
    model = randomise(framework.Model({"z": latent, "noise": noise}, {"image": images, "flat": latent}))
    function = function_of_model(model)
    assert [spec.name for spec in function.inputs] == ["noise", "z"]
    assert function.outputs == ("flat", "image")
    other = LATENTS[::-1]
    expected = np.asarray(model({"z": LATENTS, "noise": other})["image"])
    np.testing.assert_allclose(function.run({"z": LATENTS, "noise": other})["image"], expected, atol=1e-6)
    assert function.run({"z": other, "noise": LATENTS})["image"] != pytest.approx(expected, abs=0.01)


@BOTH
def test_dropout_and_noise_are_off_in_inference(framework):
    end = (framework.layers.GaussianNoise(1.0), framework.layers.Dropout(0.5))
    model = generator(framework, end=end)
    assert_generates(function_of_model(model), expected_images(model))


@BOTH
def test_model_of_an_own_class_takes_what_it_was_called_with(framework):
    class Own(framework.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.reshape = framework.layers.Dense(64), framework.layers.Reshape((8, 8, 1))

        def call(self, latents, training=False):
            return self.reshape(tf.tanh(self.dense(latents)))

    model = Own()
    assert "was never built" in problem_of(model)
    images = np.asarray(model(LATENTS[:1]))  # a call with one image does not fix the batch
    function = function_of_model(model)
    assert function.inputs[0].shape.as_list() == [None, 8]
    np.testing.assert_allclose(
        function.run({function.inputs[0].name: LATENTS})[function.outputs[0]][:1], images, atol=1e-6
    )


@BOTH
def test_error_of_a_layer_is_given_in_one_line(framework):
    class Own(framework.Model):
        works = True

        def call(self, latents, training=False):
            if not self.works:
                raise ZeroDivisionError("no images today\nand a second line")
            return latents

    model = Own()
    model(LATENTS)
    model.works = False
    assert problem_of(model).startswith("TensorFlow can't run the model (")
    assert "no images today" in problem_of(model)
    assert len(problem_of(model).splitlines()) == 1


@BOTH
@pytest.mark.parametrize("gan", [sequential_gan, functional_gan, nested_gan])
def test_generator_inside_of_a_gan_is_found_and_taken(framework, gan):
    model = gan(framework)
    problem = problem_of(model)
    assert problem == f"{FOUND}generator (batch, 8) -> (batch, 8, 8, 1); use `layer='generator'`."
    images = expected_images(generator(framework))
    assert_generates(function_of_model(model, layer="generator"), images)
    listed = problem_of(model, layer="critic")
    assert "it contains no model `layer='critic'`; the models in it are: " in listed
    assert "discriminator (batch, 8, 8, 1) -> (batch, 1)" in listed


@BOTH
@pytest.mark.parametrize("calls", [True, False])
def test_generator_of_an_own_class_is_found_by_its_attribute(framework, calls):
    model = wrapped_gan(framework, calls=calls)
    assert problem_of(model).startswith(FOUND)
    images = expected_images(generator(framework))
    for name in ("maker", "generator"):
        assert_generates(function_of_model(model, layer=name), images)


@BOTH
def test_generator_whose_layers_are_those_of_the_gan_is_found_by_its_last_layer(framework):
    layers = framework.layers
    latent = layers.Input((8,))
    images = layers.Conv2D(1, 3, padding="same", activation="tanh", name="images")(
        layers.Reshape((8, 8, 3), name="hidden")(layers.Dense(192)(latent))
    )
    made = framework.Model(latent, images)
    gan = framework.Model(latent, discriminator(framework)(images))
    assert problem_of(gan).endswith("images (batch, 8) -> (batch, 8, 8, 1); use `layer='images'`.")
    assert_generates(function_of_model(gan, layer="images"), expected_images(made))


@BOTH
def test_layer_is_taken_from_a_file(framework, tmp_path):
    functional_gan(framework).save(tmp_path / "gan.h5")
    function = load_function(tmp_path / "gan.h5", LoadingOptions(layer="generator"))
    assert_generates(function, expected_images(generator(framework)))


@BOTH
def test_model_with_small_outputs_alone_is_left_to_the_checks_of_the_export(framework):
    function = function_of_model(discriminator(framework))
    assert function.outputs
