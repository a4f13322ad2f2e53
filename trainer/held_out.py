"""Held-out images: images of the data set that a run does not train on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .random_numbers import Indices
    from .recipe import Recipe

FEWEST_HELD_OUT, MOST_HELD_OUT = 16, 500  # with fewer images, a mean over them says too little
# Fewer images are not split, because the training would miss more than a tenth of them.
FEWEST_IMAGES = 10 * FEWEST_HELD_OUT


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of a data set that a run trains on, and those that it does not train on.

    Attributes:
        training: Indices of the images for training, in ascending order.
        held_out: Indices of the other images, in ascending order; empty if all images are used for training.
    """

    training: Indices
    held_out: Indices

    @classmethod
    def without_held_out(cls, count: int) -> Split:
        """Return the split of `count` images that are all used for training."""
        return cls(np.arange(count, dtype=np.int32), np.empty(0, np.int32))


def count_held_out(recipe: Recipe, images: int) -> int:
    """Return how many of a number of images are held out; 0 if there are too few images.

    >>> from ganport.trainer.recipes import load_recipe
    >>> [count_held_out(load_recipe("images"), images) for images in (159, 160, 8_000, 70_000)]
    [0, 16, 400, 500]
    """
    if not recipe.held_out_share or images < FEWEST_IMAGES:
        return 0
    return min(MOST_HELD_OUT, max(FEWEST_HELD_OUT, round(recipe.held_out_share * images)))


def split_images(recipe: Recipe, images: int) -> Split:
    """Return the split of a data set, which depends on the recipe's `held_out_share` alone.

    It does not depend on the recipe's seed. So runs on the same images hold out the same ones, and a resumed
    run, too.

    Args:
        recipe: The recipe.
        images: Number of images in the data set.
    """
    count = count_held_out(recipe, images)
    if not count:
        return Split.without_held_out(images)
    order = np.random.default_rng(0).permutation(images).astype(np.int32)
    return Split(np.sort(order[count:]), np.sort(order[:count]))
