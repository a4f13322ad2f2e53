"""The averaged generator: the one that previews show and export ships."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from runtime import sample_latents
from runtime.seeds import SEED_LIMIT

from .networks import Networks
from .recipe import Recipe

# Latents for statistics are of the highest seeds, which nobody samples or evaluates by habit.
_CALIBRATION_BATCHES = 16
_CALIBRATION_BATCH = 512


def update_average(average: keras.Model, generator: keras.Model, decay: float, step: tf.Tensor) -> None:
    """Move the average towards the generator by one step.

    Polyak and Juditsky 1992; for GANs Yazici et al., ICLR 2019. The decay grows as (1 + t) / (10 + t) to its final value, so
    that the random initial weights are soon forgotten.
    """
    t = tf.cast(step, tf.float32)
    kept = tf.minimum(decay, (1.0 + t) / (10.0 + t))
    for mean, weight in zip(average.trainable_variables, generator.trainable_variables, strict=True):
        mean.assign(weight + kept * (mean - weight))


def shipped_generator(recipe: Recipe, networks: Networks) -> keras.Model:
    """Return the generator that previews show and export ships: the average with statistics of its own, where one is kept.

    Without an average (`ema_decay` 0, as published) it is the trained generator, untouched.
    """
    if not recipe.ema_decay:
        return networks.generator
    recalibrate_batch_norm(networks.average, recipe.latent_dim)
    return networks.average


def recalibrate_batch_norm(generator: keras.Model, latent_dim: int) -> None:
    """Set the moving statistics of every BatchNormalization to those of the generator's present weights.

    Averaged weights need statistics of their own: the ones that training left behind belong to other weights. Each becomes the
    mean over 16 batches of 512 latents ("standing statistics", Brock et al., ICLR 2019, section 4.2). A generator without
    BatchNormalization is left as it is.
    """
    layers = list(_batch_norm_layers(generator))
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for batch in range(_CALIBRATION_BATCHES):
        for layer in layers:
            layer.momentum = batch / (batch + 1)  # makes the moving average a plain mean
        first = SEED_LIMIT - (batch + 1) * _CALIBRATION_BATCH
        seeds = first + np.arange(_CALIBRATION_BATCH)
        generator(sample_latents(seeds, latent_dim), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _batch_norm_layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _batch_norm_layers(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer
