"""The trainable state of a run: generator, discriminator, averaged generator, and two optimizers."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from .adam import FusedAdam
from .errors import RecipeError
from .recipe import DiscriminatorBuilder, GeneratorBuilder, Optimizer, Recipe

MIXED_PRECISION = "mixed_bfloat16"  # name of Keras' dtype policy


@dataclasses.dataclass(frozen=True)
class Networks:
    """The networks of a run and their optimizers.

    Attributes:
        generator: The network that generates images; it is trained.
        discriminator: The network that discriminates real from generated images; it is trained.
        average: The averaged generator: a network of the same layers, in float32, whose weights are the
            moving average of the generator's weights.
        generator_optimizer, discriminator_optimizer: The optimizers.
    """

    generator: keras.Model
    discriminator: keras.Model
    average: keras.Model
    generator_optimizer: keras.Optimizer
    discriminator_optimizer: keras.Optimizer

    def read(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the values of all variables that training changes.

        The keys are the names that `variables` yields.
        """
        return {name: np.asarray(variable.numpy()) for name, variable in self.variables()}

    def variables(self) -> Iterator[tuple[str, keras.Variable]]:
        """Yield (unique name, variable) for each variable that training changes, in a fixed order.

        The random states of layers, such as Dropout, are left out, because each step sets them to new values.
        """
        for field in dataclasses.fields(self):
            part = getattr(self, field.name)
            for index, variable in enumerate(
                part.weights if isinstance(part, keras.Model) else part.variables
            ):
                yield f"{field.name}/{index:03d}/{variable.path}", variable

    def layer_states(self) -> list[keras.Variable]:
        """Return the random state of each layer that uses random numbers, such as Dropout."""
        return [*random_states(self.generator), *random_states(self.discriminator)]


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Return the random states of a model's layers: the variables of the model that are not weights."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def build_networks(
    recipe: Recipe, strategy: tf.distribute.Strategy | None = None, images: int = 0
) -> Networks:
    """Return the networks of a recipe with their initial weights, which are a function of the recipe's seed.

    Args:
        recipe: The settings, and the functions that build the networks.
        strategy: TensorFlow's strategy whose devices hold the networks; by default one device. With several
            devices, BatchNormalization computes its statistics over the whole batch that the devices share.
        images: Number of images in the data set. This number determines the length of an epoch, and so the
            number of updates with the schedule "alternating". Only training needs this argument.

    Raises:
        RecipeError: A network does not return the expected shape, or the discriminator returns probabilities
            instead of logits.
    """
    build_generator, _ = _builders(recipe)
    # Keras adds numbers to the names of layers. This call resets the numbers, so that the names are the same
    # in every call of this function.
    keras.backend.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        inputs = recipe.latent_dim + len(recipe.labels)
        with _precision(recipe):
            generator = build_generator(inputs, recipe.image_shape)
            discriminator = _build_discriminator(recipe)
        _check_networks(recipe, generator, discriminator)
        average = build_generator(inputs, recipe.image_shape)
        average.set_weights(generator.get_weights())
        for layer in (*batch_norm_layers(generator), *batch_norm_layers(discriminator)):
            layer.synchronized = strategy.num_replicas_in_sync > 1
        fused = strategy.num_replicas_in_sync == 1
        generator_updates, discriminator_updates = count_updates(recipe, images)
        generator_optimizer = _build_optimizer(recipe.generator_optimizer, generator_updates, fused)
        generator_optimizer.build(generator.trainable_variables)
        discriminator_optimizer = _build_optimizer(
            recipe.discriminator_optimizer, discriminator_updates, fused
        )
        discriminator_optimizer.build(discriminator.trainable_variables)
    return Networks(generator, discriminator, average, generator_optimizer, discriminator_optimizer)


def _builders(recipe: Recipe) -> tuple[GeneratorBuilder, DiscriminatorBuilder]:
    if recipe.build_generator is None or recipe.build_discriminator is None:
        raise RecipeError(
            f"Recipe {recipe.name!r} has no networks; give it the functions `build_generator` and "
            "`build_discriminator`."
        )
    return recipe.build_generator, recipe.build_discriminator


def _build_discriminator(recipe: Recipe) -> keras.Model:
    """Return the discriminator, which returns one logit, or one logit per label for a recipe with labels.

    Raises:
        RecipeError: The recipe has labels, but its function `build_discriminator` has no argument `classes`.
    """
    _, build = _builders(recipe)
    if not recipe.labels:
        return build(recipe.image_shape)
    if "classes" not in inspect.signature(build).parameters:
        raise RecipeError(
            f"Recipe {recipe.name!r} has labels, so its function build_discriminator must take the number of "
            "labels as the argument `classes`: build_discriminator(image_shape, classes=1)."
        )
    return build(recipe.image_shape, len(recipe.labels))


def _check_networks(recipe: Recipe, generator: keras.Model, discriminator: keras.Model) -> None:
    """Raise RecipeError if a network returns the wrong shape, or the discriminator returns probabilities.

    The generator must return images of the recipe's shape. The discriminator must return one logit per image,
    or one logit per label for a recipe with labels. The losses take logits, so the discriminator must not end
    in a sigmoid or softmax.
    """
    classes = len(recipe.labels)
    logits = f"(batch, {classes}), a logit for each label" if classes else "(batch, 1), a logit"
    images = f"(batch, {', '.join(map(str, recipe.image_shape))}), the images"
    for name, network, expected, words in (
        ("generator", generator, recipe.image_shape, images),
        ("discriminator", discriminator, (classes or 1,), logits),
    ):
        shape = network.output_shape
        if shape != (None, *expected):
            found = str(shape).replace("None", "batch")
            raise RecipeError(f"Recipe {recipe.name!r}: its {name} must return {words}; it returns {found}.")
    last = discriminator.layers[-1]
    activation = getattr(last, "activation", None)
    is_probability = activation in (keras.activations.sigmoid, keras.activations.softmax)
    if is_probability or isinstance(last, keras.layers.Softmax):
        name = getattr(activation, "__name__", "softmax")
        raise RecipeError(
            f"Recipe {recipe.name!r}: its discriminator ends in a {name}; the losses take logits, so remove "
            "the activation of the last layer."
        )


def batch_norm_layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """Yield every BatchNormalization layer of a model, including the layers of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from batch_norm_layers(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer


@contextlib.contextmanager
def _precision(recipe: Recipe) -> Iterator[None]:
    """Set Keras' dtype policy to the precision of the recipe, and restore the policy afterwards."""
    before = keras.config.dtype_policy()
    try:
        if recipe.mixed_precision:
            # Unlike float16, bfloat16 has the range of float32, so the loss needs no scaling.
            keras.config.set_dtype_policy(MIXED_PRECISION)
        yield
    finally:
        keras.config.set_dtype_policy(before)


def count_updates(recipe: Recipe, images: int) -> tuple[int, int]:
    """Return the number of updates of the generator and of the discriminator in all steps of a recipe.

    Args:
        recipe: The schedule, the steps and the batch size.
        images: Number of images in the data set.
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
        # Keras computes the learning rate from the number of updates that this optimizer has made. With some
        # schedules this number is larger or smaller than the number of steps.
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=max(1, updates))
    if settings.name == "sgd":
        return keras.optimizers.SGD(rate)
    adam = FusedAdam if fused else keras.optimizers.Adam
    return adam(rate, beta_1=settings.beta_1, beta_2=settings.beta_2, name="adam")
