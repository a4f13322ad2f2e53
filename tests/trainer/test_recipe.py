import dataclasses
import json
import math

import pytest

from ganport.runtime.errors import RecipeError, UnknownRecipeError
from ganport.trainer.recipe import Recipe
from ganport.trainer.recipes import DEFAULT_RECIPE, RECIPES, load_recipe_module, published_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_the_way_through_json(name):
    recipe = load_recipe_module(name).RECIPE
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
    module = load_recipe_module(name)
    assert module.build_generator(100, (28, 28, 1)).count_params() == generator
    assert module.build_discriminator((28, 28, 1)).count_params() == discriminator


@pytest.mark.parametrize("name", RECIPES)
def test_networks_follow_the_image_shape(name):
    module = load_recipe_module(name)
    assert module.build_generator(7, (10, 12, 3)).output_shape == (None, 10, 12, 3)
    assert module.build_discriminator((10, 12, 3)).output_shape == (None, 1)


def test_clothes_are_made_and_judged_by_a_layer_of_their_own_size():
    module = load_recipe_module("fashion-conditional")
    *_, last = module.build_generator(74, (28, 28, 1)).layers
    assert last.input.shape[1:] == (28, 28, 32)
    first, *_ = module.build_discriminator((28, 28, 1), 10).layers
    assert first.output.shape[1:] == (28, 28, 16)


def test_published_settings_are_the_described_ones():
    dense = published_recipe(load_recipe_module("mnist-dense"))
    assert (dense.steps, dense.batch_size, dense.schedule, dense.preview_interval) == (10_000, 32, "separate", 200)
    assert (dense.generator_optimizer.name, dense.generator_optimizer.learning_rate) == ("sgd", 0.01)
    minimal = published_recipe(load_recipe_module("mnist-minimal"))
    assert (minimal.steps, minimal.batch_size, minimal.schedule, minimal.preview_interval) == (20_000, 128, "separate", 1_000)
    assert dataclasses.astuple(minimal.generator_optimizer) == ("adam", 1e-3, 0.9, 0.999, "none")
    fashion = published_recipe(load_recipe_module("fashion-dense"))
    assert (fashion.batch_size, fashion.schedule, fashion.sampling) == (256, "simultaneous", "epochs")
    assert dataclasses.astuple(fashion.generator_optimizer) == ("adam", 2e-4, 0.5, 0.999, "none")
    dropout = published_recipe(load_recipe_module("mnist-dropout"))
    assert (dropout.steps, dropout.batch_size, dropout.schedule) == (5 * 128, 128, "stacked")
    assert dataclasses.astuple(dropout.discriminator_optimizer) == ("adam", 2e-4, 0.5, 0.999, "none")
    assert dataclasses.astuple(dropout.generator_optimizer) == ("adam", 1e-3, 0.9, 0.999, "none")
    hands = published_recipe(load_recipe_module("rps-dcgan"))
    assert (hands.image_shape, hands.schedule, hands.sampling) == ((300, 300, 3), "alternating", "epochs")
    assert hands.steps == 100 * (2 * math.ceil(2520 / hands.batch_size) - 1)
    for name in RECIPES:
        published = getattr(load_recipe_module(name), "AS_PUBLISHED", None)
        if published:
            assert (published.r1_weight, published.ema_decay, published.diff_augment) == (0.0, 0.0, ())
    with pytest.raises(RecipeError, match="follows no description"):
        published_recipe(load_recipe_module(DEFAULT_RECIPE))


def test_unknown_recipe_names_the_known_ones():
    with pytest.raises(UnknownRecipeError, match=r"mnst.*digits, mnist-dense, fashion-dense"):
        load_recipe_module("mnst")
    with pytest.raises(UnknownRecipeError, match=r"There is no recipe file 'mine\.py'; .*digits"):
        load_recipe_module("mine.py")


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


@pytest.mark.parametrize("side", [8, 28, 64, 100, 150, 300])
@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_follow_the_size(side, channels):
    module = load_recipe_module("rps-dcgan")
    assert module.build_generator(100, (side, side, channels)).output_shape == (None, side, side, channels)
    assert module.build_discriminator((side, side, channels)).output_shape == (None, 1)
    sides = module.block_sides((side, side, channels))
    assert sides[-1][0] <= 10
    # A mirror: the generator's pictures on the way have the sides that the discriminator's have.
    drawn = [layer.output.shape[1] for layer in module.build_generator(100, (side, side, channels)).layers[1:]]
    assert set(drawn) == {here for here, _ in sides}


@pytest.mark.parametrize(
    ("content", "words"),
    [("def (\n", "line 1: SyntaxError"), ("", "has no RECIPE"), ("x = 1\nx / 0\n", "line 2: ZeroDivisionError")],
)
def test_file_that_is_no_recipe_says_where(tmp_path, content, words):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(RecipeError, match=words):
        load_recipe_module(str(tmp_path / "mine.py"))
