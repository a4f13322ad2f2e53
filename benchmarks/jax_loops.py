"""The networks and training steps of the recipes in JAX: a compiled loop over steps (jit and lax.scan)."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ganport.trainer.recipe import Optimizer, Recipe

try:
    import jax
    import jax.numpy as jnp
    from jax import lax
except ModuleNotFoundError:
    AVAILABLE, VERSION = False, ""
else:
    AVAILABLE, VERSION = True, jax.__version__

Steps = Callable[[int], None]
Weights = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer: a function that creates its weights, and a function that applies it.

    `apply` takes the weights, the input, a random key and whether the layer is in training mode. It returns
    the output and the changed weights. The weights whose names begin with "mean" or "var" are statistics,
    which the optimizer does not change.
    """

    create: Callable[[Any], dict[str, Any]]
    apply: Callable[[dict[str, Any], Any, Any, bool], tuple[Any, dict[str, Any]]]


def build(recipe: Recipe, images: np.ndarray) -> Steps:
    """Return a loop with the same training steps as ganport's, for the published schedules."""
    generator, discriminator = networks(recipe)
    pixels, size = jnp.asarray(images), recipe.batch_size
    g_settings, d_settings = recipe.generator_optimizer, recipe.discriminator_optimizer
    softplus = jax.nn.softplus

    def latents(key: Any) -> Any:
        return jax.random.normal(key, (size, recipe.latent_dim))

    def d_step(weights: Weights, slots: Any, batches: list[Any], key: Any) -> tuple[Weights, Any]:
        """Update the discriminator once. A batch is a pair: images, and the signs of their logits."""

        def loss(weights: Weights) -> Any:
            costs = [
                softplus(sign * run_network(discriminator, weights, batch, key, True)[0]).mean()
                for batch, sign in batches
            ]
            return sum(costs)

        return _update(d_settings, weights, jax.grad(loss)(weights), slots)

    def g_step(g: Weights, d: Weights, slots: Any, key: Any) -> tuple[Weights, Any]:
        def loss(g: Weights) -> Any:
            fake, changed = run_network(generator, g, latents(key), key, True)
            return softplus(-run_network(discriminator, d, fake, key, True)[0]).mean(), changed

        gradients, changed = jax.grad(loss, has_aux=True)(g)
        return _update(g_settings, changed, gradients, slots)

    def simultaneous(state: Any, real: Any, keys: Any) -> Any:
        g, d, g_slots, d_slots = state
        fake, _ = run_network(generator, g, latents(keys[0]), keys[0], True)
        new_d, d_slots = d_step(d, d_slots, [(real, -1), (lax.stop_gradient(fake), 1)], keys[1])
        new_g, g_slots = g_step(g, d, g_slots, keys[0])
        return new_g, new_d, g_slots, d_slots

    def in_turns(state: Any, real: Any, keys: Any) -> Any:
        g, d, g_slots, d_slots = state
        fake, _ = run_network(generator, g, latents(keys[0]), keys[0], False)
        if recipe.schedule == "stacked":
            both, ones = jnp.concatenate([real, fake]), jnp.ones((size, 1))
            d, d_slots = d_step(d, d_slots, [(both, jnp.concatenate([-ones, ones]))], keys[1])
        else:
            d, d_slots = d_step(d, d_slots, [(real, -1)], keys[1])
            d, d_slots = d_step(d, d_slots, [(fake, 1)], keys[2])
        g, g_slots = g_step(g, d, g_slots, keys[3])
        return g, d, g_slots, d_slots

    make = simultaneous if recipe.schedule == "simultaneous" else in_turns

    @functools.partial(jax.jit, static_argnums=1, donate_argnums=0)
    def steps_of(carry: Any, steps: int) -> Any:
        def step(carry: Any, _: None) -> tuple[Any, None]:
            state, key = carry
            key, chosen, *keys = jax.random.split(key, 6)
            indices = jax.random.randint(chosen, (size,), 0, len(pixels))
            real = pixels[indices].astype(jnp.float32) / 127.5 - 1
            return (make(state, real, keys), key), None

        return lax.scan(step, carry, None, length=steps)[0]

    key = jax.random.key(0)
    g, d = ([layer.create(each) for each, layer in _keyed(net, key)] for net in (generator, discriminator))
    carry = ((g, d, _slots(g_settings, g), _slots(d_settings, d)), key)

    def run(steps: int) -> None:
        nonlocal carry
        carry = jax.block_until_ready(steps_of(carry, steps))

    return run


def run_network(
    layers: list[Layer], weights: Weights, values: Any, key: Any, training: bool
) -> tuple[Any, Weights]:
    """Return the output of a network, and its weights with updated statistics."""
    changed = []
    for (each, layer), own in zip(_keyed(layers, key), weights, strict=True):
        values, new = layer.apply(own, values, each, training)
        changed.append(new)
    return values, changed


def _keyed(layers: list[Layer], key: Any) -> list[tuple[Any, Layer]]:
    return [(jax.random.fold_in(key, index), layer) for index, layer in enumerate(layers)]


def _slots(settings: Optimizer, weights: Weights) -> Any:
    if settings.name == "sgd":
        return ()
    zeros = jax.tree.map(jnp.zeros_like, weights)
    return jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.copy, zeros)


def _update(settings: Optimizer, weights: Weights, gradients: Weights, slots: Any) -> tuple[Weights, Any]:
    """Return the weights after an update by SGD or Adam (Kingma and Ba, ICLR 2015), and the new slots.

    Statistics have a gradient of 0, so the update does not change them.
    """
    rate = settings.learning_rate
    if settings.name == "sgd":
        return jax.tree.map(lambda weight, gradient: weight - rate * gradient, weights, gradients), ()
    count, first, second = slots
    count, b1, b2 = count + 1, settings.beta_1, settings.beta_2
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
    rate = rate * jnp.sqrt(1 - b2**count) / (1 - b1**count)
    new = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, first, second)
    return new, (count, first, second)


def networks(recipe: Recipe) -> tuple[list[Layer], list[Layer]]:
    out = math.prod(recipe.image_shape)
    if recipe.name == "mnist-dense":
        generator = _dense_layers(
            [100, 256, 512, 1024, out], lambda n: [_leaky(0.2), _batch_norm(n, 0.8, 1e-3)]
        )
        discriminator = _dense_layers([out, 512, 256, 1], lambda n: [_leaky(0.2)])
    elif recipe.name == "fashion-dense":
        generator = _dense_layers(
            [100, 128, 256, 512, 1024, out],
            lambda n: [*([_batch_norm(n, 0.1, 0.8)] if n > 128 else []), _leaky(0.2)],
        )
        discriminator = _dense_layers([out, 512, 256, 1], lambda n: [_leaky(0.2)])
    elif recipe.name == "mnist-dropout":
        dropped = {1024: 0.2, 512: 0.3, 256: 0.3}
        generator = _dense_layers([100, 256, 512, 1024, out], lambda n: [] if n == 512 else [_leaky(0.2)])
        discriminator = _dense_layers(
            [out, 1024, 512, 256, 128, 1],
            lambda n: [_leaky(0.2), *([_dropout(dropped[n])] if n in dropped else [])],
        )
    elif recipe.name == "mnist-minimal":
        generator = _dense_layers([100, 128, out], lambda n: [_leaky(0.01)])
        discriminator = _dense_layers([out, 128, 1], lambda n: [_leaky(0.01)])
    else:
        return _convolutional(recipe)
    generator += [_function(jnp.tanh), _function(lambda x: x.reshape(-1, *recipe.image_shape))]
    return generator, [_function(lambda x: x.reshape(len(x), -1)), *discriminator]


def _dense_layers(widths: list[int], between: Callable[[int], list[Layer]]) -> list[Layer]:
    layers: list[Layer] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers.append(_dense(inputs, outputs))
        if outputs != widths[-1]:
            layers += between(outputs)
    return layers


def _convolutional(recipe: Recipe) -> tuple[list[Layer], list[Layer]]:
    from ganport.trainer.recipes.rps_dcgan import block_sides, block_widths

    sides = [side for side, _ in block_sides(recipe.image_shape)]
    widths, channels = block_widths(len(sides) - 1), recipe.image_shape[2]
    deepest = sides[-1] ** 2 * widths[-1]
    shrinking: list[Layer] = []
    for inputs, outputs in itertools.pairwise([channels, *widths]):
        shrinking += [_convolution(inputs, outputs), _function(_max_pool), _leaky(0.2), _dropout(0.3)]
    shrinking += [_function(lambda x: x.reshape(len(x), -1)), _dense(deepest, 1)]
    growing = [_dense(recipe.latent_dim, deepest)]
    growing.append(_function(lambda x: x.reshape(-1, sides[-1], sides[-1], widths[-1])))
    pairs = itertools.pairwise([*widths[::-1], channels])
    for side, (inputs, outputs) in zip(sides[-2::-1], pairs, strict=True):
        growing += [
            _batch_norm(inputs, 0.99, 1e-3),
            _leaky(0.2),
            _transposed_convolution(inputs, outputs, side),
        ]
    return [*growing, _function(jnp.tanh)], shrinking


def _function(apply: Callable[[Any], Any]) -> Layer:
    return Layer(lambda key: {}, lambda weights, values, key, training: (apply(values), weights))


def _leaky(slope: float) -> Layer:
    return _function(lambda values: jnp.where(values >= 0, values, slope * values))


def _max_pool(values: Any) -> Any:
    return lax.reduce_window(values, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")


def _dense(inputs: int, outputs: int) -> Layer:
    def create(key: Any) -> dict[str, Any]:
        limit = math.sqrt(6 / (inputs + outputs))
        kernel = jax.random.uniform(key, (inputs, outputs), minval=-limit, maxval=limit)
        return {"kernel": kernel, "bias": jnp.zeros(outputs)}

    return Layer(create, lambda own, values, key, training: (values @ own["kernel"] + own["bias"], own))


def _kernel(key: Any, side: int, inputs: int, outputs: int) -> dict[str, Any]:
    limit = math.sqrt(6 / (side * side * (inputs + outputs)))
    kernel = jax.random.uniform(key, (side, side, inputs, outputs), minval=-limit, maxval=limit)
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def _convolution(inputs: int, outputs: int) -> Layer:
    def apply(own: dict[str, Any], values: Any, key: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        axes = ("NHWC", "HWIO", "NHWC")
        result = lax.conv_general_dilated(values, own["kernel"], (1, 1), "SAME", dimension_numbers=axes)
        return result + own["bias"], own

    return Layer(lambda key: _kernel(key, 3, inputs, outputs), apply)


def _transposed_convolution(inputs: int, outputs: int, side: int) -> Layer:
    padding = (2, 3 - side % 2)  # doubles a side, less 1 if `side` is odd

    def apply(own: dict[str, Any], values: Any, key: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        axes = ("NHWC", "HWIO", "NHWC")
        result = lax.conv_transpose(values, own["kernel"], (2, 2), [padding, padding], dimension_numbers=axes)
        return result + own["bias"], own

    return Layer(lambda key: _kernel(key, 5, inputs, outputs), apply)


def _batch_norm(channels: int, momentum: float, epsilon: float) -> Layer:
    def create(key: Any) -> dict[str, Any]:
        ones, zeros = jnp.ones(channels), jnp.zeros(channels)
        return {"gamma": ones, "beta": zeros, "mean": jnp.copy(zeros), "var": jnp.copy(ones)}

    def apply(own: dict[str, Any], values: Any, key: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        mean, var = lax.stop_gradient((own["mean"], own["var"]))
        if training:
            axes = tuple(range(values.ndim - 1))
            mean, var = values.mean(axes), values.var(axes)
            moved = lax.stop_gradient({"mean": mean, "var": var})
            averaged = {name: momentum * own[name] + (1 - momentum) * moved[name] for name in moved}
            own = {**own, **lax.stop_gradient(averaged)}
        scale = own["gamma"] * lax.rsqrt(var + epsilon)
        return values * scale + (own["beta"] - mean * scale), own

    return Layer(create, apply)


def _dropout(rate: float) -> Layer:
    def apply(own: dict[str, Any], values: Any, key: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        if not training:
            return values, own
        kept = jax.random.bernoulli(key, 1 - rate, values.shape)
        return jnp.where(kept, values / (1 - rate), 0), own

    return Layer(lambda key: {}, apply)
