"""The recipes by name, and those of the user by path. A recipe is a module with two networks and its numbers.

Importing one of ours does not import TensorFlow.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ganport.runtime.errors import RecipeError, UnknownRecipeError, first_line

from ..recipe import Recipe

if TYPE_CHECKING:
    import keras

RECIPES = (
    *("digits", "mnist-dense", "fashion-dense", "mnist-dropout", "mnist-minimal", "rps-dcgan"),
    *("mnist-dcgan", "mnist-conditional", "fashion-dcgan", "fashion-conditional", "rps-conditional"),
)
DEFAULT_RECIPE = "digits"

# What a run to the end came to: minutes of training on two cores of 2.6 GHz, the convolutions with --mixed-precision but
# `digits`, and the Fréchet distance by `evaluate` (docs/quality.md); where other work ran beside, the minutes are by
# the rate of a run alone. Those that are not here were not measured so.
EXPECTED: Mapping[str, tuple[float, float]] = {
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


class RecipeModule(Protocol):
    """What a recipe module holds; AS_PUBLISHED, a Recipe too, where there is a description that it follows."""

    __doc__: str | None
    RECIPE: Recipe

    def build_generator(self, latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
        """Return latents (batch, latent_dim) -> images (batch, *image_shape) in [-1, 1].

        For a recipe with labels, latent_dim counts one number for each of them too.
        """

    def build_discriminator(self, image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
        """Return images (batch, *image_shape) in [-1, 1] -> logits (batch, classes), large for real.

        `classes` is given for a recipe with labels only.
        """


def is_recipe_file(name: str) -> bool:
    """Return whether what was named is a file of the user's, not a recipe of ours."""
    return name.endswith(".py")


def load_recipe_module(name: str) -> RecipeModule:
    """Return the module of a recipe of ours by name, or of the user's by path.

    Raises:
        UnknownRecipeError: no such name, or no such file.
        RecipeError: the file can't be imported, or lacks what a recipe has.
    """
    if is_recipe_file(name):
        return _load_file(Path(name))
    if name not in RECIPES:
        raise UnknownRecipeError(name, RECIPES)
    return cast(RecipeModule, importlib.import_module(f".{name.replace('-', '_')}", __name__))


def _load_file(path: Path) -> RecipeModule:
    spec = importlib.util.spec_from_file_location(f"ganport_recipe_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UnknownRecipeError(str(path), RECIPES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the module that they are made in
    try:
        spec.loader.exec_module(module)
    except RecipeError:
        raise
    except Exception as error:  # whatever the user's code does
        raise RecipeError(f"{path}, line {_line_in(path, error)}: {type(error).__name__}: {first_line(error)}.") from error
    if not isinstance(getattr(module, "RECIPE", None), Recipe):
        raise RecipeError(f"{path} has no RECIPE, a trainer.recipe.Recipe; docs/recipes.md shows a complete one.")
    for name in ("build_generator", "build_discriminator"):
        if not callable(getattr(module, name, None)):
            raise RecipeError(f"{path} has no function {name}; docs/recipes.md shows a complete recipe.")
    return cast(RecipeModule, module)


def _line_in(path: Path, error: Exception) -> int | str:
    """Return the last line of the file that an error went through, or that it could not be parsed at."""
    if isinstance(error, SyntaxError) and error.lineno:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path.resolve()]
    return next((line for line in reversed(lines) if line), "?")


def published_recipe(module: RecipeModule) -> Recipe:
    """Return the settings exactly as the recipe's description has them. Raises RecipeError where there is none."""
    published: Recipe | None = getattr(module, "AS_PUBLISHED", None)
    if published is None:
        raise RecipeError(f"Recipe {module.RECIPE.name!r} follows no description; there is no published version of it.")
    return published
