import dataclasses
import json

import pytest

from runtime.errors import RecipeError, UnknownRecipeError
from trainer.recipe import Recipe
from trainer.recipes import DEFAULT_RECIPE, RECIPES, load_recipe_module, published_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_the_way_through_json(name):
    recipe = load_recipe_module(name).RECIPE
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [("digits", 1_493_520, 533_505), ("mnist-dense", 1_493_520, 533_505), ("mnist-minimal", 114_064, 100_609)],
)
def test_networks_have_the_published_sizes(name, generator, discriminator):
    module = load_recipe_module(name)
    assert module.build_generator(100, (28, 28, 1)).count_params() == generator
    assert module.build_discriminator((28, 28, 1)).count_params() == discriminator


@pytest.mark.parametrize("name", RECIPES)
def test_networks_follow_the_image_shape(name):
    module = load_recipe_module(name)
    assert module.build_generator(7, (10, 12, 3)).output_shape == (None, 10, 12, 3)
    assert module.build_discriminator((10, 12, 3)).output_shape == (None, 1)


def test_published_settings_are_the_described_ones():
    dense = published_recipe(load_recipe_module("mnist-dense"))
    assert (dense.steps, dense.batch_size, dense.schedule, dense.preview_interval) == (10_000, 32, "separate", 200)
    assert (dense.generator_optimizer.name, dense.generator_optimizer.learning_rate) == ("sgd", 0.01)
    minimal = published_recipe(load_recipe_module("mnist-minimal"))
    assert (minimal.steps, minimal.batch_size, minimal.schedule, minimal.preview_interval) == (20_000, 128, "separate", 1_000)
    assert dataclasses.astuple(minimal.generator_optimizer) == ("adam", 1e-3, 0.9, 0.999, "none")
    with pytest.raises(RecipeError, match="our own"):
        published_recipe(load_recipe_module(DEFAULT_RECIPE))


def test_unknown_recipe_names_the_known_ones():
    with pytest.raises(UnknownRecipeError, match=r"mnst.*digits, mnist-dense, mnist-minimal"):
        load_recipe_module("mnst")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"latent_dim": 0},
        {"seed": -1},
        {"seed": 2**31},
        {"ema_decay": 1.0},
        {"schedule": "odd"},
        {"r1_weight": -1.0},
        {"r1_weight": float("nan")},
    ],
    ids=str,
)
def test_number_that_cant_be_is_refused(change):
    with pytest.raises(RecipeError, match=next(iter(change))):
        dataclasses.replace(load_recipe_module("digits").RECIPE, **change)


@pytest.mark.parametrize("change", [{"name": "rmsprop"}, {"decay": "linear"}, {"learning_rate": 0.0}, {"learning_rate": -1.0}])
def test_optimiser_that_cant_be_is_refused(change):
    with pytest.raises(RecipeError, match=str(next(iter(change.values())))):
        dataclasses.replace(load_recipe_module("digits").RECIPE.generator_optimizer, **change)


@pytest.mark.parametrize("document", [{}, {"name": "x"}, {"unknown": 1}])
def test_other_document_is_no_recipe(document):
    with pytest.raises(RecipeError):
        Recipe.from_dict(document)
