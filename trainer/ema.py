"""The averaged generator, which previews show and `export` exports."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from ganport.runtime.latents import generator_inputs, labels_by_share
from ganport.runtime.seeds import SEED_LIMIT

from .networks import Networks, batch_norm_layers, random_states
from .recipe import Recipe

# Number of batches for the statistics of BatchNormalization. The latents of these batches come from the
# highest seeds, because images of these seeds are hardly ever sampled or evaluated.
_CALIBRATION_BATCHES = 16
_CALIBRATION_PIXELS = 2**19  # target number of pixels in a batch; a batch has 32 to 512 images


def update_average(average: keras.Model, generator: keras.Model, decay: float, step: tf.Tensor) -> None:
    """Update the averaged generator with the generator's weights after one training step.

    Polyak and Juditsky 1992; for GANs Yazici et al., ICLR 2019. At step t the decay is the smaller of
    (1 + t) / (10 + t) and `decay`. So the random initial weights soon have no influence on the average.
    """
    t = tf.cast(step, tf.float32)
    kept = tf.minimum(decay, (1.0 + t) / (10.0 + t))
    for mean, weight in zip(average.trainable_variables, generator.trainable_variables, strict=True):
        mean.assign(weight + kept * (mean - weight))


def shipped_generator(recipe: Recipe, networks: Networks, classes: Mapping[str, int]) -> keras.Model:
    """Return the generator that previews show and `export` exports, in float32.

    It is the averaged generator, after its BatchNormalization statistics were recalibrated. For a recipe
    without an average (`ema_decay` 0, as in the published settings), it is a copy of the trained generator
    with the BatchNormalization statistics that were computed during the training.

    Args:
        recipe: The settings.
        networks: The networks of a checkpoint.
        classes: Number of training images by class; empty if the data has no classes.
    """
    if recipe.ema_decay:
        recalibrate_batch_norm(networks.average, recipe.latent_dim, classes if recipe.labels else {})
    else:
        networks.average.set_weights(networks.generator.get_weights())
    return networks.average


def recalibrate_batch_norm(generator: keras.Model, latent_dim: int, classes: Mapping[str, int]) -> None:
    """Compute the moving statistics of every BatchNormalization with the generator's present weights.

    The moving statistics of the training belong to the trained weights, not to the averaged weights. So the
    statistics are computed again with the averaged weights: each becomes the mean over 16 batches ("standing
    statistics", Brock et al., ICLR 2019, section 4.2). A batch has 512 images if they are 32x32 or smaller,
    and fewer if they are larger. A generator without BatchNormalization is not changed.

    Args:
        generator: The generator, whose moving statistics are changed.
        latent_dim: Number of latents per image.
        classes: Number of training images by class, for a conditional generator. The labels of each batch
            have the same proportions. Empty for an unconditional generator.
    """
    layers = list(batch_norm_layers(generator))
    if not layers:
        return
    _, height, width, _ = generator.output_shape
    size = min(512, max(32, _CALIBRATION_PIXELS // (height * width)))
    # With fixed random states, layers such as Dropout have the same masks in every call.
    for state in random_states(generator):
        state.assign(tf.zeros_like(state))
    images = sum(classes.values())
    labels = labels_by_share(size, [count / images for count in classes.values()]) if classes else None
    momenta = [layer.momentum for layer in layers]
    for batch in range(_CALIBRATION_BATCHES):
        for layer in layers:
            layer.momentum = batch / (
                batch + 1
            )  # the moving average becomes the mean over all batches so far
        seeds = SEED_LIMIT - (batch + 1) * size + np.arange(size)
        generator(generator_inputs(seeds, latent_dim, len(classes), labels), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
