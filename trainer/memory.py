"""Memory: what a training needs on a CPU, estimated before it starts, and what this process can get."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import keras
import tensorflow as tf

from ganport.datasets.dataset import Dataset
from ganport.datasets.folder import ImageFolder

from .errors import NotEnoughMemoryError
from .networks import build_networks
from .recipe import Recipe

# Measured for the recipe `images` with sizes from 64x64 to 512x512 and batches of 8 and 32, in float32.
# Python and TensorFlow take 0.7 to 1.1 GB. A step takes 1.75 times the outputs of all layers, and up to 2.3
# times with augmentation.
_PROGRAM_BYTES = 1_000_000_000
_COPIES_OF_OUTPUTS = 2.3
# Weights, gradients, the two moments of Adam, and the average of the generator, in float32.
_BYTES_PER_PARAMETER = 5 * 4
_COPIES_OF_IMAGES = 2  # the array, and TensorFlow's copy of it


def check_memory(recipe: Recipe, data: Dataset) -> int | None:
    """Return the memory that a training needs, in bytes, after a check that this process can get it.

    Returns:
        The estimate; None if GPUs are used, because their memory is not known before the training.

    Raises:
        NotEnoughMemoryError: The process can't get it.
    """
    if tf.config.get_visible_devices("GPU"):
        return None
    needed, usable = needed_bytes(recipe, data), usable_bytes()
    if usable is not None and needed > usable:
        raise NotEnoughMemoryError(recipe.image_shape, recipe.batch_size, needed, usable)
    return needed


def needed_bytes(recipe: Recipe, data: Dataset) -> int:
    """Return an estimate of the memory that a training needs on a CPU, in bytes.

    Args:
        recipe: The recipe, fitted to the data.
        data: The images. Those of a folder that is read during the training need no memory.
    """
    networks = build_networks(recipe)
    # In a step, the discriminator sees a batch of real and a batch of generated images.
    outputs = _count_outputs(networks.generator) + 2 * _count_outputs(networks.discriminator)
    parameters = networks.generator.count_params() + networks.discriminator.count_params()
    images = 0 if isinstance(data.images, ImageFolder) else data.images.nbytes
    return int(
        _PROGRAM_BYTES
        + _COPIES_OF_OUTPUTS * 4 * recipe.batch_size * outputs
        + _BYTES_PER_PARAMETER * parameters
        + _COPIES_OF_IMAGES * images
    )


def _count_outputs(model: keras.Model) -> int:
    """Return the number of values that the layers of a model compute for one image."""
    return sum(
        _count_outputs(layer) if isinstance(layer, keras.Model) else _size_of_output(layer)
        for layer in model.layers
    )


def _size_of_output(layer: keras.Layer) -> int:
    """Return the number of values that a layer computes for one image; 0 if Keras does not know it."""
    try:
        return math.prod(side or 1 for side in layer.output.shape[1:])
    except (AttributeError, ValueError):  # a layer with several outputs, or one that is used several times
        return 0


def usable_bytes() -> int | None:
    """Return the memory that this process has or can still get, in bytes; None if the system does not tell.

    It is the memory that Linux calls available, or what is left of the control group's limit if that is
    smaller, and the memory that the process already has.
    """
    free = None
    with contextlib.suppress(OSError, ValueError, StopIteration):
        free = _kilobytes(Path("/proc/meminfo"), "MemAvailable:")
    with contextlib.suppress(OSError, ValueError):
        # If the control group has no limit, memory.max holds "max". Then int("max") raises ValueError.
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = limit - used if free is None else min(free, limit - used)
    with contextlib.suppress(OSError, ValueError, StopIteration):
        return None if free is None else free + _kilobytes(Path("/proc/self/status"), "VmRSS:")
    return free


def _kilobytes(file: Path, name: str) -> int:
    """Return a value of a file of Linux' process file system, in bytes. The file has it in kB."""
    line = next(line for line in file.read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
