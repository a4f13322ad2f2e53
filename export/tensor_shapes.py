"""Shapes of inputs and outputs: which may be latents or images, and how messages show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

# Sizes of the axes, None for a free one; None instead of a tuple if even the number of axes is free.
Shape: TypeAlias = tuple[int | None, ...] | None

_CHANNELS = (1, 3, 4)
_FEWEST_PIXELS = 16  # a flat output with fewer values is no image


def may_be_latents(shape: Shape) -> bool:
    """Return whether an input of a shape may take latents: (batch, dim) or (batch, 1, 1, dim)."""
    return shape is not None and (len(shape) == 2 or (len(shape) == 4 and shape[1:3] == (1, 1)))


def may_be_images(shape: Shape) -> bool:
    """Return whether an output of a shape may hold images, with or without channels, or as flat vectors.

    >>> may_be_images((None, 28, 28, 1)), may_be_images((None, 784)), may_be_images((None, 1))
    (True, True, False)
    """
    if shape is None:
        return True
    if len(shape) == 4:
        return shape[3] in (*_CHANNELS, None) or shape[1] in _CHANNELS
    return len(shape) == 3 or (len(shape) == 2 and (shape[1] is None or shape[1] >= _FEWEST_PIXELS))


def shape_text(shape: Shape) -> str:
    """Return a shape as messages show it.

    >>> shape_text((None, 28, 28, 1))
    '(batch, 28, 28, 1)'
    """
    if shape is None:
        return "(any shape)"
    return f"({', '.join('batch' if size is None else str(size) for size in shape)})"


def shapes_text(inputs: Iterable[Shape], outputs: Iterable[Shape]) -> str:
    """Return the shapes of a function as messages show them.

    >>> shapes_text([(None, 100), (None, 1)], [(None, 784)])
    '(batch, 100), (batch, 1) -> (batch, 784)'
    """
    return f"{', '.join(map(shape_text, inputs))} -> {', '.join(map(shape_text, outputs))}"
