"""The trainable state of a run: two networks, the average of one of them, and two optimisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from .recipe import Optimizer, Recipe
from .recipes import RecipeModule


@dataclasses.dataclass(frozen=True)
class Networks:
    """Attributes: `average` has the generator's shape and holds the moving average of its weights."""

    generator: keras.Model
    discriminator: keras.Model
    average: keras.Model
    generator_optimizer: keras.Optimizer
    discriminator_optimizer: keras.Optimizer

    def are_finite(self) -> bool:
        """Return whether every number is one."""
        return all(bool(np.isfinite(variable.numpy()).all()) for _, variable in self.variables())

    def variables(self) -> Iterator[tuple[str, keras.Variable]]:
        """Yield (name, variable) of everything that training changes, in a fixed order; names are unique."""
        for field in dataclasses.fields(self):
            for index, variable in enumerate(getattr(self, field.name).variables):
                yield f"{field.name}/{index:03d}/{variable.path}", variable


def build_networks(recipe: Recipe, module: RecipeModule) -> Networks:
    """Return the networks of a recipe with their initial weights, a function of the recipe's seed."""
    keras.backend.clear_session()  # so that layers are numbered from one, whatever was built before in this process
    keras.utils.set_random_seed(recipe.seed)
    generator = module.build_generator(recipe.latent_dim, recipe.image_shape)
    discriminator = module.build_discriminator(recipe.image_shape)
    average = keras.models.clone_model(generator)
    average.set_weights(generator.get_weights())
    networks = Networks(
        generator=generator,
        discriminator=discriminator,
        average=average,
        generator_optimizer=_build_optimizer(recipe.generator_optimizer, recipe.steps),
        discriminator_optimizer=_build_optimizer(recipe.discriminator_optimizer, recipe.steps),
    )
    networks.generator_optimizer.build(generator.trainable_variables)
    networks.discriminator_optimizer.build(discriminator.trainable_variables)
    return networks


def _build_optimizer(settings: Optimizer, steps: int) -> keras.Optimizer:
    rate = settings.learning_rate
    if settings.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=steps)
    if settings.name == "sgd":
        return keras.optimizers.SGD(rate)
    return keras.optimizers.Adam(rate, beta_1=settings.beta_1, beta_2=settings.beta_2)
