"""The networks of a recipe that was made in memory, as Keras configurations.

Such a recipe is a Recipe object that the user created in Python. It is neither bundled nor loaded from a
recipe file. The run keeps the configurations in networks.json. So the run can be resumed and exported without
the code that built the networks.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ganport.runtime.display import first_line

from .errors import RecipeError
from .recipe import DiscriminatorBuilder, GeneratorBuilder, ImageShape, Recipe

if TYPE_CHECKING:
    import keras

_KERAS_ERRORS = (TypeError, ValueError, KeyError, AttributeError, NotImplementedError)


def describe_networks(recipe: Recipe) -> dict[str, Any]:
    """Return the Keras configurations of a recipe's networks as a JSON document.

    A configuration states the precision of each layer. With mixed precision, the trained generator and the
    averaged generator have layers of different precision. So the document has a configuration of the
    generator for each Keras dtype policy.

    Raises:
        RecipeError: The networks can't be rebuilt from their configurations.
    """
    import keras

    from .networks import MIXED_PRECISION, build_networks

    networks = build_networks(recipe)
    serialize = keras.saving.serialize_keras_object
    policy = MIXED_PRECISION if recipe.mixed_precision else keras.config.dtype_policy().name
    try:
        generators = {
            keras.config.dtype_policy().name: serialize(networks.average),
            policy: serialize(networks.generator),
        }
        configs = {"generators": generators, "discriminator": serialize(networks.discriminator)}
        document: dict[str, Any] = json.loads(json.dumps(configs))
        generator, discriminator = load_builders(document, recipe.name)
        rebuilt = build_networks(
            dataclasses.replace(recipe, build_generator=generator, build_discriminator=discriminator)
        )
    except _KERAS_ERRORS as error:
        raise _not_rebuilt(recipe.name, error) from error
    if [array.shape for array in networks.read().values()] != [
        array.shape for array in rebuilt.read().values()
    ]:
        raise _not_rebuilt(recipe.name, ValueError("the rebuilt weights have different shapes"))
    return document


def load_builders(document: Mapping[str, Any], name: str) -> tuple[GeneratorBuilder, DiscriminatorBuilder]:
    """Return the functions build_generator and build_discriminator for networks in a JSON document.

    Args:
        document: Document that `describe_networks` returned.
        name: Name of the recipe, for error messages.
    """

    def build_generator(latent_dim: int, image_shape: ImageShape, /) -> keras.Model:
        import keras

        return _rebuild(name, lambda: document["generators"][keras.config.dtype_policy().name])

    def build_discriminator(image_shape: ImageShape, classes: int = 1) -> keras.Model:
        return _rebuild(name, lambda: document["discriminator"])

    return build_generator, build_discriminator


def _rebuild(name: str, config: Callable[[], Any]) -> keras.Model:
    import keras

    try:
        return keras.saving.deserialize_keras_object(config())
    except _KERAS_ERRORS as error:
        raise _not_rebuilt(name, error) from error


def _not_rebuilt(name: str, error: Exception) -> RecipeError:
    return RecipeError(
        f"Recipe {name!r}: Keras can't rebuild its networks from their configurations ({first_line(error)}); "
        "write the recipe to a file, NAME.py, and train with this file, so that the run keeps the code of "
        "its layers."
    )
