"""Settings of a recipe that are changed by name: their names, their types, and what is rejected."""

import dataclasses

import pytest

from ganport.runtime.errors import UsageError
from ganport.trainer.arguments import TrainingArguments
from ganport.trainer.errors import RecipeError, UnknownSettingError
from ganport.trainer.plan import plan_training
from ganport.trainer.recipe import Optimizer, Recipe
from ganport.trainer.recipes import RECIPES, load_recipe
from ganport.trainer.settings import change_recipe, describe_setting, parse_settings

NETWORKS = ("build_generator", "build_discriminator")
DIGITS = load_recipe("digits")


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("loss", "hinge", "loss", "hinge"),
        ("r1_weight", "0.5", "r1_weight", 0.5),
        ("r1_weight", 1, "r1_weight", 1.0),
        ("ema_decay", "9e-1", "ema_decay", 0.9),
        ("penalty_interval", "4", "penalty_interval", 4),
        ("flip", "on", "flip", True),
        ("jit", "False", "jit", False),
        ("flip", True, "flip", True),
        ("diff_augment", "color, translation", "diff_augment", ("color", "translation")),
        ("diff_augment", ["cutout"], "diff_augment", ("cutout",)),
        ("diff_augment", "none", "diff_augment", ()),
        ("title", "My digits", "title", "My digits"),
    ],
)
def test_setting_is_read_in_the_type_of_its_field(name, value, field, expected):
    changed = change_recipe(DIGITS, {name: value})
    assert getattr(changed, field) == expected
    assert type(getattr(changed, field)) is type(expected)
    assert dataclasses.replace(changed, **{field: getattr(DIGITS, field)}) == DIGITS


def test_fields_of_one_optimizer_have_dotted_names():
    changed = change_recipe(DIGITS, {"generator_optimizer.learning_rate": "2e-3"})
    expected = dataclasses.replace(DIGITS.generator_optimizer, learning_rate=2e-3)
    assert changed == dataclasses.replace(DIGITS, generator_optimizer=expected)


def test_field_of_optimizers_alone_sets_both_and_the_dotted_name_decides():
    changed = change_recipe(
        DIGITS,
        {"discriminator_optimizer.learning_rate": 4e-3, "learning_rate": 1e-3, "decay": "none"},
    )
    generator, discriminator = changed.generator_optimizer, changed.discriminator_optimizer
    assert (generator.learning_rate, discriminator.learning_rate) == (1e-3, 4e-3)
    assert generator.decay == discriminator.decay == "none"
    assert generator.beta_2 == DIGITS.generator_optimizer.beta_2


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_every_recipe_can_be_written_as_a_text(name):
    """The settings of a recipe are written as texts, and give the same recipe when they are read."""
    recipe = load_recipe(name)
    texts = {}
    for field in dataclasses.fields(Recipe):
        value = getattr(recipe, field.name)
        if isinstance(value, Optimizer):
            own = dataclasses.asdict(value)
            texts |= {f"{field.name}.{each}": describe_setting(own[each]) for each in own}
        elif field.name not in ("name", "dataset", "image_shape", "labels", *NETWORKS):
            texts[field.name] = describe_setting(value)
    assert len(texts) > 25
    other = dataclasses.replace(load_recipe("rps-dcgan"), image_shape=recipe.image_shape)
    same = {field: getattr(recipe, field) for field in ("name", "dataset", "labels", *NETWORKS)}
    assert change_recipe(dataclasses.replace(other, **same), texts) == recipe


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("loss", "hing", "`loss` is 'hing'; it must be one of non-saturating, minimax"),
        ("batch_size", "many", "`batch_size` is 'many'; it must be a whole number"),
        ("batch_size", "2.5", "`batch_size` is '2.5'; it must be a whole number"),
        ("batch_size", 2.5, "`batch_size` is 2.5; it must be a whole number"),
        ("batch_size", True, "it must be a whole number"),
        ("r1_weight", "strong", "`r1_weight` is 'strong'; it must be a number"),
        ("r1_weight", "-1", "`r1_weight` is -1.0; it must be at least 0"),
        ("r1_weight", "nan", "`r1_weight` is nan; it must be at least 0"),
        ("r1_weight", None, "`r1_weight` is None; it must be a number"),
        ("flip", "maybe", "`flip` is 'maybe'; it must be true or false"),
        ("flip", 1, "`flip` is 1; it must be true or false"),
        ("diff_augment", "colour", "none, or some of color, translation, cutout, separated by commas"),
        ("diff_augment", 3, "none, or some of color"),
        ("learning_rate", "-1", "`learning_rate` is -1.0; it must be above 0"),
        ("generator_optimizer.name", "rms", "one of sgd, adam"),
        ("title", 5, "`title` is 5; it must be a text"),
        ("title", "a\nb", "it must be one line of text of at most 100 characters"),
        ("label_smoothing", "2", "`label_smoothing` is 2.0; it must be in [0, 1)"),
    ],
)
def test_wrong_value_is_an_error_that_says_what_is_expected(name, value, words):
    with pytest.raises(RecipeError) as caught:
        change_recipe(DIGITS, {name: value})
    assert words in str(caught.value)


def test_values_that_contradict_each_other_are_an_error():
    with pytest.raises(RecipeError, match=r"`label_smoothing` is 0\.1; it must be 0 for the loss 'hinge'"):
        change_recipe(DIGITS, {"loss": "hinge", "label_smoothing": 0.1})


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("lss", "loss"),
        ("lr_rate", "learning_rate"),
        ("r1", "r1_weight"),
        ("generator_optimiser.learning_rate", "generator_optimizer.learning_rate"),
        ("augment", "diff_augment"),
    ],
)
def test_unknown_setting_is_an_error_with_the_closest_names(name, closest):
    with pytest.raises(UnknownSettingError, match=closest) as caught:
        change_recipe(DIGITS, {name: "1"})
    assert caught.value.got == name
    assert closest in caught.value.closest
    assert len(caught.value.closest) < 8


def test_name_that_resembles_nothing_is_an_error_with_all_names():
    with pytest.raises(UnknownSettingError) as caught:
        change_recipe(DIGITS, {"qqq": "1"})
    assert {"loss", "learning_rate", "generator_optimizer.decay"} <= set(caught.value.closest)
    assert not {"image_shape", "labels", "generator_optimizer", "name"} & set(caught.value.closest)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("image_shape", "`image_size` and `channels`"),
        ("labels", "`data`"),
        ("dataset", "`data`"),
        ("name", "`title`"),
        ("build_generator", "recipe file"),
        ("generator_optimizer", "`generator_optimizer.learning_rate`"),
    ],
)
def test_fields_that_something_else_decides_are_an_error_that_says_what(name, instead):
    with pytest.raises(UsageError, match="can't change") as caught:
        change_recipe(DIGITS, {name: "1"})
    assert instead in str(caught.value)


@pytest.mark.parametrize("text", ["loss", "=hinge", ""])
def test_text_without_name_and_value_is_rejected(text):
    with pytest.raises(UsageError, match="it must be NAME=VALUE, such as loss=hinge"):
        parse_settings([text])


def test_setting_given_twice_is_rejected():
    with pytest.raises(UsageError, match="has loss twice"):
        parse_settings(["loss=hinge", "loss=minimax"])
    with pytest.raises(UsageError, match="`steps` is given twice, also in `settings`"):
        TrainingArguments(steps=5, settings={"steps": 6})
    with pytest.raises(UsageError, match="`mixed_precision` is given twice"):
        TrainingArguments(mixed_precision="auto", settings={"mixed_precision": "on"})


def test_plan_has_the_settings_and_the_other_arguments():
    arguments = TrainingArguments(seed=7, title="My digits", settings={"loss": "hinge", "steps": "12"})
    plan = plan_training("digits", arguments)
    expected = {"seed": 7, "title": "My digits", "loss": "hinge", "steps": 12}
    assert plan.recipe == dataclasses.replace(DIGITS, **expected)


def test_published_settings_can_be_changed():
    arguments = TrainingArguments(as_published=True, settings={"learning_rate": 0.5})
    plan = plan_training("mnist-dense", arguments)
    published = load_recipe("mnist-dense", as_published=True)
    assert plan.recipe.generator_optimizer.name == "sgd"
    assert plan.recipe.discriminator_optimizer.learning_rate == 0.5
    assert plan.recipe.steps == published.steps


def test_given_names_the_arguments_that_are_not_the_default():
    assert TrainingArguments().given() == []
    assert TrainingArguments(seed=0, evaluate_interval=5, as_published=True).given() == [
        "seed",
        "evaluate_interval",
        "as_published",
    ]
