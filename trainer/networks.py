"""The trainable state of a run: two networks, the average of one of them, and two optimisers."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ganport.runtime.errors import RecipeError

from .adam import FusedAdam
from .recipe import Optimizer, Recipe
from .recipes import RecipeModule


@dataclasses.dataclass(frozen=True)
class Networks:
    """Attributes: `average` has the generator's shape, in float32, and holds the moving average of its weights."""

    generator: keras.Model
    discriminator: keras.Model
    average: keras.Model
    generator_optimizer: keras.Optimizer
    discriminator_optimizer: keras.Optimizer

    def read(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return every number that training changes, by name."""
        return {name: np.asarray(variable.numpy()) for name, variable in self.variables()}

    def variables(self) -> Iterator[tuple[str, keras.Variable]]:
        """Yield (name, variable) of everything that training changes, in a fixed order; names are unique.

        Not the states of layers that draw: each step sets them anew.
        """
        for field in dataclasses.fields(self):
            part = getattr(self, field.name)
            for index, variable in enumerate(part.weights if isinstance(part, keras.Model) else part.variables):
                yield f"{field.name}/{index:03d}/{variable.path}", variable

    def layer_states(self) -> list[keras.Variable]:
        """Return where each layer that draws random numbers (Dropout, say) stands, in a fixed order."""
        return [*states_of_layers(self.generator), *states_of_layers(self.discriminator)]


def states_of_layers(model: keras.Model) -> list[keras.Variable]:
    """Return where each layer of a model that draws random numbers stands: variables that are no weights."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def build_networks(
    recipe: Recipe, module: RecipeModule, strategy: tf.distribute.Strategy | None = None, images: int = 0
) -> Networks:
    """Return the networks of a recipe with their initial weights, a function of the recipe's seed.

    Args:
        recipe: its settings.
        module: its networks.
        strategy: whose devices hold them; BatchNormalization then takes its statistics over the whole batch that they share.
        images: in the whole set: the epochs of the schedule that alternates by them; only training needs it.

    Raises:
        RecipeError: a network gives another shape than is due, or probabilities in place of logits.
    """
    keras.backend.clear_session()  # so that layers are numbered from one, whatever was built before in this process
    keras.utils.set_random_seed(recipe.seed)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        classes = len(recipe.labels)
        with _precision(recipe):
            generator = module.build_generator(recipe.latent_dim + classes, recipe.image_shape)
            discriminator = _build_discriminator(recipe, module)
        _check_networks(recipe, generator, discriminator)
        average = module.build_generator(recipe.latent_dim + classes, recipe.image_shape)
        average.set_weights(generator.get_weights())
        for layer in (*batch_norm_layers(generator), *batch_norm_layers(discriminator)):
            layer.synchronized = strategy.num_replicas_in_sync > 1
        fused = strategy.num_replicas_in_sync == 1
        generator_updates, discriminator_updates = count_updates(recipe, images)
        generator_optimizer = _build_optimizer(recipe.generator_optimizer, generator_updates, fused)
        generator_optimizer.build(generator.trainable_variables)
        discriminator_optimizer = _build_optimizer(recipe.discriminator_optimizer, discriminator_updates, fused)
        discriminator_optimizer.build(discriminator.trainable_variables)
    return Networks(generator, discriminator, average, generator_optimizer, discriminator_optimizer)


def _build_discriminator(recipe: Recipe, module: RecipeModule) -> keras.Model:
    """Return the discriminator, with a logit for each class. Raises RecipeError where the recipe's module has no such one."""
    if not recipe.labels:
        return module.build_discriminator(recipe.image_shape)
    classes = len(recipe.labels)
    if "classes" not in inspect.signature(module.build_discriminator).parameters:
        due = "build_discriminator(image_shape, classes=1)"
        raise RecipeError(f"Recipe {recipe.name!r} has labels: its discriminator must take their number, as {due}.")
    return module.build_discriminator(recipe.image_shape, classes)


def _check_networks(recipe: Recipe, generator: keras.Model, discriminator: keras.Model) -> None:
    """Raise RecipeError where the networks don't fit the images, each other, or losses that take logits."""
    classes = len(recipe.labels)
    judged = f"(batch, {classes}), a logit for each class" if classes else "(batch, 1), a logit"
    for name, network, due, words in (
        ("generator", generator, recipe.image_shape, f"(batch, {', '.join(map(str, recipe.image_shape))}), the images"),
        ("discriminator", discriminator, (classes or 1,), judged),
    ):
        shape = network.output_shape
        if shape != (None, *due):
            raise RecipeError(f"Recipe {recipe.name!r}: its {name} must give {words}; it gives {_shown(shape)}.")
    last = discriminator.layers[-1]
    activation = getattr(last, "activation", None)
    if activation in (keras.activations.sigmoid, keras.activations.softmax) or isinstance(last, keras.layers.Softmax):
        name = getattr(activation, "__name__", "softmax")
        raise RecipeError(
            f"Recipe {recipe.name!r}: its discriminator ends in a {name}; the losses take logits, so leave the activation of "
            "its last layer out."
        )


def _shown(shape: object) -> str:
    return str(shape).replace("None", "batch")


def batch_norm_layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """Yield every BatchNormalization, also those of models inside the model."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from batch_norm_layers(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer


@contextlib.contextmanager
def _precision(recipe: Recipe) -> Iterator[None]:
    before = keras.config.dtype_policy()
    try:
        if recipe.mixed_precision:
            keras.config.set_dtype_policy("mixed_bfloat16")  # unlike float16 it has float32's range: no scaling of the loss
        yield
    finally:
        keras.config.set_dtype_policy(before)


def count_updates(recipe: Recipe, images: int) -> tuple[int, int]:
    """Return how many updates the generator and the discriminator get in all steps of a recipe.

    Args:
        recipe: its schedule, steps and batch size.
        images: in the whole set.
    """
    steps = recipe.steps
    if recipe.schedule == "separate":
        return steps, 2 * steps
    if recipe.schedule == "alternating":
        batches = max(1, -(-images // recipe.batch_size))
        cycles, rest = divmod(steps, 2 * batches - 1)
        generator = cycles * batches + min(rest, batches)
        return generator, steps - generator
    return steps, steps


def _build_optimizer(settings: Optimizer, updates: int, fused: bool) -> keras.Optimizer:
    rate = settings.learning_rate
    if settings.decay == "cosine":
        # Keras counts the updates of this optimizer, which are not the steps of every schedule.
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=max(1, updates))
    if settings.name == "sgd":
        return keras.optimizers.SGD(rate)
    adam = FusedAdam if fused else keras.optimizers.Adam
    return adam(rate, beta_1=settings.beta_1, beta_2=settings.beta_2, name="adam")
