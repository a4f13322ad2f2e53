"""Views: which floats in memory a tensor consists of, as a shape with strides.

All sizes and strides are numbers of floats. The batch is always one image. Many operations of a graph, such
as Reshape, Transpose, Slice or Expand, only make another view of the same memory. They cost nothing in C.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Shape: TypeAlias = tuple[int, ...]


@dataclasses.dataclass(eq=False)
class Buffer:
    """Memory for activations, which the C code writes and reads.

    Attributes:
        size: Number of floats.
        offset: Index of its first float in the array of all activations; assigned once all steps are known.
    """

    size: int
    offset: int = -1


@dataclasses.dataclass(eq=False)
class Table:
    """A constant array of the C code, float32, in flash memory.

    Attributes:
        values: The values, in one dimension.
        name: Name of the array in the C code; assigned when the code is written.
    """

    values: Floats
    name: str = ""


class Latent:
    """The argument `latent` of the C function, which is only read."""


Memory: TypeAlias = Buffer | Table | Latent


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A tensor in memory: element (i, j, ...) is the float at offset + i * strides[0] + j * strides[1] + ...

    Attributes:
        memory: The memory.
        shape: Shape of the tensor, as the graph has it.
        strides: Stride of each axis. A stride of 0 repeats the same floats.
        offset: Index of the first element.
        label_stride: Number of floats that the whole view moves on for each label index.
    """

    memory: Memory
    shape: Shape
    strides: Shape
    offset: int = 0
    label_stride: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def indices(self) -> npt.NDArray[np.int64]:
        """Return the index in memory of each element, shaped like the tensor."""
        grid = np.full(self.shape, self.offset, np.int64)
        for axis, (size, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            along = [1] * len(self.shape)
            along[axis] = size
            grid += (np.arange(size) * stride).reshape(along)
        return grid

    def is_whole(self) -> bool:
        """Return whether the view reads each float of its buffer exactly once."""
        if not isinstance(self.memory, Buffer) or self.size != self.memory.size:
            return False
        return len(np.unique(self.indices())) == self.size

    def repeats(self) -> bool:
        """Return whether two elements may be the same float."""
        return any(stride == 0 and size > 1 for size, stride in zip(self.shape, self.strides, strict=True))

    def transposed(self, axes: Sequence[int]) -> View:
        """Return the view with its axes in another order."""
        shape, strides = tuple(self.shape[axis] for axis in axes), tuple(self.strides[axis] for axis in axes)
        return dataclasses.replace(self, shape=shape, strides=strides)

    def sliced(self, axis: int, start: int, count: int, step: int = 1) -> View:
        """Return the view of every `step`-th of the elements along an axis."""
        shape, strides = list(self.shape), list(self.strides)
        shape[axis], strides[axis] = count, self.strides[axis] * step
        offset = self.offset + start * self.strides[axis]
        return dataclasses.replace(self, shape=tuple(shape), strides=tuple(strides), offset=offset)

    def expanded(self, shape: Shape) -> View:
        """Return the view, broadcast to a larger shape. Sizes of 1 and missing first axes are repeated."""
        missing = len(shape) - len(self.shape)
        own, strides = (1,) * missing + self.shape, (0,) * missing + self.strides
        repeated = tuple(
            stride if size == wanted else 0 for size, wanted, stride in zip(own, shape, strides, strict=True)
        )
        return dataclasses.replace(self, shape=tuple(shape), strides=repeated)

    def reshaped(self, shape: Shape) -> View | None:
        """Return the view in another shape, or None if the floats would have to be copied."""
        pieces = _merged(self.shape, self.strides)
        strides: list[int] = []
        for size in reversed(shape):
            while pieces and pieces[-1][0] == 1:
                pieces.pop()
            if size == 1 or not pieces:
                strides.append(0)
                continue
            rest, stride = pieces[-1]
            if rest % size:
                return None
            strides.append(stride)
            pieces[-1] = (rest // size, stride * size)
        return dataclasses.replace(self, shape=tuple(shape), strides=tuple(reversed(strides)))

    def split(self, shape: Shape) -> View:
        """Return the view in a shape that divides its axes, which needs no copy."""
        view = self.reshaped(shape)
        if view is None:
            raise ValueError(f"{shape} does not divide the axes of {self.shape}")
        return view


def contiguous(memory: Memory, shape: Shape, order: Sequence[int] | None = None, offset: int = 0) -> View:
    """Return the view of consecutive floats.

    Args:
        memory: The memory.
        shape: Shape of the tensor.
        order: Axes in their order in memory, the one that changes fastest last. The default is the order of
            the shape.
        offset: Index of the first element.
    """
    strides = [0] * len(shape)
    stride = 1
    for axis in reversed(order if order is not None else range(len(shape))):
        strides[axis] = stride
        stride *= shape[axis]
    return View(memory, tuple(shape), tuple(strides), offset)


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the order of the axes in memory for a tensor (batch, channels, ...): the channels last."""
    return (0, *range(2, rank), 1)


def _merged(shape: Shape, strides: Shape) -> list[tuple[int, int]]:
    """Return pairs of a size and a stride. Neighbouring axes for which one stride suffices are merged."""
    merged: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == stride * size:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return merged
