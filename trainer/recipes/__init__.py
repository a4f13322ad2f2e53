"""The recipes by name. A recipe is a module with two networks and its numbers; importing one does not import TensorFlow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from runtime.errors import RecipeError, UnknownRecipeError

from ..recipe import Recipe

if TYPE_CHECKING:
    import keras

RECIPES = ("digits", "mnist-dense", "mnist-minimal")
DEFAULT_RECIPE = "digits"


class RecipeModule(Protocol):
    """What a recipe module holds."""

    __doc__: str
    RECIPE: Recipe  # our settings

    def build_generator(self, latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
        """Return latents (batch, latent_dim) -> images (batch, *image_shape) in [-1, 1]."""

    def build_discriminator(self, image_shape: tuple[int, int, int]) -> keras.Model:
        """Return images (batch, *image_shape) in [-1, 1] -> logits (batch, 1), positive for real."""


def load_recipe_module(name: str) -> RecipeModule:
    """Return the module of a recipe. Raises UnknownRecipeError."""
    if name not in RECIPES:
        raise UnknownRecipeError(name, RECIPES)
    module = importlib.import_module(f".{name.replace('-', '_')}", __name__)
    return cast(RecipeModule, module)


def published_recipe(module: RecipeModule) -> Recipe:
    """Return the settings exactly as the recipe's description has them. Raises RecipeError where there is none."""
    published: Recipe | None = getattr(module, "AS_PUBLISHED", None)
    if published is None:
        raise RecipeError(f"Recipe {module.RECIPE.name!r} is our own; there is no published version of it.")
    return published
