"""The bundled recipes, and functions that load a recipe by its name or by the path of its file.

Importing a bundled recipe does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Mapping
from types import ModuleType

from ganport.runtime.files import expand_home

from ..errors import UnknownRecipeError
from ..recipe import Recipe
from ..recipe_file import has_networks_of, load_recipe_file, recipe_of

RECIPES = (
    *("digits", "mnist-dense", "fashion-dense", "mnist-dropout", "mnist-minimal", "rps-dcgan"),
    *("mnist-dcgan", "mnist-conditional", "fashion-dcgan", "fashion-conditional", "rps-conditional"),
    "images",
)
DEFAULT_RECIPE = "digits"
IMAGES_RECIPE = "images"  # the recipe for a folder of images, if no other is named

# Results of complete runs by recipe: minutes of training on two cores of 2.6 GHz, and the Fréchet distance
# that `evaluate` reports (docs/quality.md). All convolutional recipes except `digits` were trained with mixed
# precision. If other programs used the machine during a run, the minutes of this run are computed from the
# steps per second of a run without other programs. Recipes without an entry were not measured in this way.
_MEASURED: Mapping[str, tuple[float, float]] = {
    "digits": (1.2, 0.22),
    "mnist-dense": (7.6, 1.23),
    "mnist-dropout": (7.8, 19.7),
    "mnist-minimal": (1.7, 7.71),
    "mnist-dcgan": (28, 0.216),
    "fashion-dcgan": (40, 0.691),
    "mnist-conditional": (28, 0.053),
    "fashion-conditional": (40, 0.129),
    "rps-conditional": (27, 0.53),
}


def is_recipe_file(name: str) -> bool:
    """Return whether a name is the path of a recipe file."""
    return name.endswith(".py")


def load_recipe(recipe: str | os.PathLike[str], *, as_published: bool = False) -> Recipe:
    """Return the bundled recipe of the given name, or the recipe in the file of the given path.

    Args:
        recipe: One of RECIPES, or the path of a recipe file, NAME.py. The file is executed.
        as_published: Whether to return the settings of the published description that the recipe follows,
            instead of the default settings.

    Raises:
        UnknownRecipeError: No bundled recipe has this name, or the file does not exist.
        RecipeError: The file defines no valid recipe; or `as_published` is true and the recipe follows no
            description.
    """
    name = os.fspath(recipe)
    if is_recipe_file(name):
        path = expand_home(name)
        if not path.is_file():
            raise UnknownRecipeError(name, RECIPES)
        return load_recipe_file(path, as_published=as_published)
    return recipe_of(_module(name), name, as_published=as_published)


def is_bundled(recipe: Recipe) -> bool:
    """Return whether a recipe's networks are those of the bundled recipe with the same name."""
    return recipe.name in RECIPES and has_networks_of(recipe, load_recipe(recipe.name))


def has_published_settings(name: str) -> bool:
    """Return whether a bundled recipe follows a published description, and so has published settings."""
    return hasattr(_module(name), "AS_PUBLISHED")


@dataclasses.dataclass(frozen=True)
class RecipeSummary:
    """One row of the table of bundled recipes.

    Attributes:
        name: Name of the recipe.
        dataset: Name of the data set that the recipe trains on.
        steps: Number of training steps.
        summary: Sentence about the recipe's networks.
        minutes: Measured minutes of training on two cores; None if they were not measured.
        frechet: Measured Fréchet distance; None if it was not measured.
    """

    name: str
    dataset: str
    steps: int
    summary: str
    minutes: float | None
    frechet: float | None


def list_recipes() -> list[RecipeSummary]:
    """Return a summary of each bundled recipe."""
    return [_summarize(name) for name in RECIPES]


def _summarize(name: str) -> RecipeSummary:
    module = _module(name)
    settings: Recipe = module.RECIPE
    summary = (module.__doc__ or "").splitlines()[0].removesuffix(".")
    minutes, frechet = _MEASURED.get(name, (None, None))
    return RecipeSummary(name, settings.dataset, settings.steps, summary, minutes, frechet)


def _module(name: str) -> ModuleType:
    if name not in RECIPES:
        raise UnknownRecipeError(name, RECIPES)
    return importlib.import_module(f".{name.replace('-', '_')}", __name__)
