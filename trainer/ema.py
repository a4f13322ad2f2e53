"""The averaged generator: the one that previews show and export ships."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from ganport.runtime.latents import generator_inputs, labels_by_share
from ganport.runtime.seeds import SEED_LIMIT

from .networks import Networks, batch_norm_layers, states_of_layers
from .recipe import Recipe

# Latents for statistics are of the highest seeds, which nobody samples or evaluates by habit.
_CALIBRATION_BATCHES = 16
_CALIBRATION_PIXELS = 2**19  # per batch, which has 32 to 512 images


def update_average(average: keras.Model, generator: keras.Model, decay: float, step: tf.Tensor) -> None:
    """Move the average towards the generator by one step.

    Polyak and Juditsky 1992; for GANs Yazici et al., ICLR 2019. The decay grows as (1 + t) / (10 + t) to its final value, so
    that the random initial weights are soon forgotten.
    """
    t = tf.cast(step, tf.float32)
    kept = tf.minimum(decay, (1.0 + t) / (10.0 + t))
    for mean, weight in zip(average.trainable_variables, generator.trainable_variables, strict=True):
        mean.assign(weight + kept * (mean - weight))


def shipped_generator(recipe: Recipe, networks: Networks, classes: Mapping[str, int]) -> keras.Model:
    """Return the generator that previews show and export ships, in float32.

    It is the average with statistics of its own, where one is kept. Without (`ema_decay` 0, as published) it is a copy of the
    trained generator, its statistics too.

    Args:
        recipe: its settings.
        networks: of a checkpoint.
        classes: number of training images by class, of data that have some.
    """
    if recipe.ema_decay:
        recalibrate_batch_norm(networks.average, recipe.latent_dim, classes if recipe.labels else {})
    else:
        networks.average.set_weights(networks.generator.get_weights())
    return networks.average


def recalibrate_batch_norm(generator: keras.Model, latent_dim: int, classes: Mapping[str, int]) -> None:
    """Set the moving statistics of every BatchNormalization to those of the generator's present weights.

    Averaged weights need statistics of their own: the ones that training left behind belong to other weights. Each becomes the
    mean over 16 batches ("standing statistics", Brock et al., ICLR 2019, section 4.2), of 512 latents for images up to 32x32,
    of fewer for larger ones, which have more pixels to average over. A generator without BatchNormalization is left as it is.

    Args:
        generator: is changed.
        latent_dim: latents per image.
        classes: number of training images by class, for a generator that draws them on demand: each batch has them in that
            proportion, as those of training have.
    """
    layers = list(batch_norm_layers(generator))
    if not layers:
        return
    _, height, width, _ = generator.output_shape
    size = min(512, max(32, _CALIBRATION_PIXELS // (height * width)))
    for state in states_of_layers(generator):  # of Dropout, say: each time the same masks
        state.assign(tf.zeros_like(state))
    images = sum(classes.values())
    labels = labels_by_share(size, [count / images for count in classes.values()]) if classes else None
    momenta = [layer.momentum for layer in layers]
    for batch in range(_CALIBRATION_BATCHES):
        for layer in layers:
            layer.momentum = batch / (batch + 1)  # makes the moving average a plain mean
        seeds = SEED_LIMIT - (batch + 1) * size + np.arange(size)
        generator(generator_inputs(seeds, latent_dim, len(classes), labels), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
