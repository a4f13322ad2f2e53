import dataclasses
import json
import math

import pytest

from ganport.trainer.errors import RecipeError, UnknownRecipeError
from ganport.trainer.recipe import Recipe
from ganport.trainer.recipes import DEFAULT_RECIPE, RECIPES, has_published_settings, load_recipe
from ganport.trainer.recipes.rps_dcgan import block_sides


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_conversion_to_json(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [
        ("mnist-dense", 1_493_520, 533_505),
        ("fashion-dense", 1_513_616, 533_505),
        ("mnist-dropout", 1_486_352, 1_492_993),
        ("mnist-minimal", 114_064, 100_609),
    ],
)
def test_networks_have_the_published_sizes(name, generator, discriminator):
    recipe = load_recipe(name)
    assert recipe.build_generator(100, (28, 28, 1)).count_params() == generator
    assert recipe.build_discriminator((28, 28, 1)).count_params() == discriminator


@pytest.mark.parametrize("name", RECIPES)
def test_networks_follow_the_image_shape(name):
    recipe = load_recipe(name)
    assert recipe.build_generator(7, (10, 12, 3)).output_shape == (None, 10, 12, 3)
    assert recipe.build_discriminator((10, 12, 3)).output_shape == (None, 1)


def test_fashion_networks_have_a_layer_at_full_resolution():
    recipe = load_recipe("fashion-conditional")
    *_, last = recipe.build_generator(74, (28, 28, 1)).layers
    assert last.input.shape[1:] == (28, 28, 32)
    first, *_ = recipe.build_discriminator((28, 28, 1), 10).layers
    assert first.output.shape[1:] == (28, 28, 16)


def test_published_settings_are_those_of_the_descriptions():
    dense = load_recipe("mnist-dense", as_published=True)
    assert (dense.steps, dense.batch_size, dense.schedule, dense.preview_interval) == (
        10_000,
        32,
        "separate",
        200,
    )
    assert (dense.generator_optimizer.name, dense.generator_optimizer.learning_rate) == ("sgd", 0.01)
    minimal = load_recipe("mnist-minimal", as_published=True)
    assert (minimal.steps, minimal.batch_size, minimal.schedule, minimal.preview_interval) == (
        20_000,
        128,
        "separate",
        1_000,
    )
    assert dataclasses.astuple(minimal.generator_optimizer) == ("adam", 1e-3, 0.9, 0.999, "none")
    fashion = load_recipe("fashion-dense", as_published=True)
    assert (fashion.batch_size, fashion.schedule, fashion.sampling) == (256, "simultaneous", "epochs")
    assert dataclasses.astuple(fashion.generator_optimizer) == ("adam", 2e-4, 0.5, 0.999, "none")
    dropout = load_recipe("mnist-dropout", as_published=True)
    assert (dropout.steps, dropout.batch_size, dropout.schedule) == (5 * 128, 128, "stacked")
    assert dataclasses.astuple(dropout.discriminator_optimizer) == ("adam", 2e-4, 0.5, 0.999, "none")
    assert dataclasses.astuple(dropout.generator_optimizer) == ("adam", 1e-3, 0.9, 0.999, "none")
    rps = load_recipe("rps-dcgan", as_published=True)
    assert (rps.image_shape, rps.schedule, rps.sampling) == ((300, 300, 3), "alternating", "epochs")
    assert rps.steps == 100 * (2 * math.ceil(2520 / rps.batch_size) - 1)
    for name in RECIPES:
        if has_published_settings(name):
            published = load_recipe(name, as_published=True)
            assert (published.r1_weight, published.ema_decay, published.diff_augment) == (0.0, 0.0, ())
    with pytest.raises(RecipeError, match="follows no description"):
        load_recipe(DEFAULT_RECIPE, as_published=True)


def test_unknown_recipe_names_the_known_ones():
    with pytest.raises(UnknownRecipeError, match=r"mnst.*digits, mnist-dense, fashion-dense"):
        load_recipe("mnst")
    with pytest.raises(UnknownRecipeError, match=r"There is no recipe file 'mine\.py'; .*digits"):
        load_recipe("mine.py")


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"steps": 1e1},
        {"batch_size": True},
        {"seed": 0.5},
        {"batch_size": 0},
        {"latent_dim": 0},
        {"seed": -1},
        {"seed": 2**31},
        {"ema_decay": 1.0},
        {"schedule": "odd"},
        {"r1_weight": -1.0},
        {"r1_weight": float("nan")},
        {"gradient_penalty_weight": -1.0},
        {"penalty_interval": 0},
        {"penalty_interval": 2, "schedule": "alternating"},
        {"log_interval": 0},
        {"loss": "odd"},
        {"sampling": "odd"},
        {"diff_augment": ("colour",)},
        {"label_smoothing": 1.0},
        {"label_smoothing": 0.1, "loss": "hinge"},
        {"loss": "relativistic", "schedule": "separate"},
    ],
    ids=str,
)
def test_setting_out_of_range_is_rejected(change):
    with pytest.raises(RecipeError, match=next(iter(change))):
        dataclasses.replace(load_recipe("digits"), **change)


@pytest.mark.parametrize(
    "change", [{"name": "rmsprop"}, {"decay": "linear"}, {"learning_rate": 0.0}, {"learning_rate": -1.0}]
)
def test_optimizer_setting_out_of_range_is_rejected(change):
    with pytest.raises(RecipeError, match=str(next(iter(change.values())))):
        dataclasses.replace(load_recipe("digits").generator_optimizer, **change)


@pytest.mark.parametrize("document", [{}, {"name": "x"}, {"unknown": 1}])
def test_document_that_is_not_a_recipe_is_rejected(document):
    with pytest.raises(RecipeError):
        Recipe.from_dict(document)


@pytest.mark.parametrize("field", ["r2_weight", "jit", "title", "generator_optimizer"])
def test_missing_setting_is_named_and_not_replaced_by_the_default(field):
    document = load_recipe("images").to_dict()
    del document[field]
    with pytest.raises(RecipeError, match=f"missing fields: {field}"):
        Recipe.from_dict(document)


@pytest.mark.parametrize("value", [None, 3, "adam", [1]])
def test_optimizer_of_another_type_is_rejected(value):
    with pytest.raises(RecipeError, match="use the version that wrote the settings"):
        Recipe.from_dict(load_recipe("images").to_dict() | {"generator_optimizer": value})


@pytest.mark.parametrize("side", [8, 28, 64, 100, 150, 300])
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_follow_the_size(side, channels):
    recipe = load_recipe("rps-dcgan")
    assert recipe.build_generator(100, (side, side, channels)).output_shape == (None, side, side, channels)
    assert recipe.build_discriminator((side, side, channels)).output_shape == (None, 1)
    sides = block_sides((side, side, channels))
    assert sides[-1][0] <= 10
    # The generator mirrors the discriminator: its blocks have the same sides.
    generator = recipe.build_generator(100, (side, side, channels))
    assert {layer.output.shape[1] for layer in generator.layers[1:]} == {height for height, _ in sides}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def (\n", "line 1: SyntaxError"),
        ("", "has no RECIPE"),
        ("x = 1\nx / 0\n", "line 2: ZeroDivisionError"),
    ],
)
def test_error_of_a_recipe_file_names_the_line(tmp_path, content, words):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(RecipeError, match=words):
        load_recipe(tmp_path / "mine.py")
