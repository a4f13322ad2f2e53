"""Steps: what the C code computes, one after the other. Each step writes one view."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .views import Floats, View

# Up to this number of output channels, a layer sums along its input channels, which are consecutive in
# memory. A layer with more output channels computes several of them side by side.
NARROW = 4


@dataclasses.dataclass(eq=False)
class Layer:
    """A dense layer, a convolution, or one output phase of a transposed convolution.

    A transposed convolution with stride s is s x s convolutions. Each computes every s-th row and column of
    the output, with the part of the kernel that meets pixels of the input there.

    Attributes:
        source: Input (height, width, channels). The channels are consecutive in memory.
        target: Output (rows, columns, channels). The channels are consecutive in memory.
        taps: Row and column of the input pixel that each tap of the kernel reads, relative to the pixel
            (row * stride, column * stride), shape (taps, 2).
        strides: Step in the input, per row and per column of the output.
        weights: float32 (taps, input channels, output channels).
        bias: float32 (output channels,).
        peak: Largest absolute weight of each output channel in the whole kernel, float32 (output channels,).
            The phases of a transposed convolution share it.
    """

    source: View
    target: View
    taps: npt.NDArray[np.int64]
    strides: tuple[int, int]
    weights: Floats
    bias: Floats
    peak: Floats

    @property
    def is_narrow(self) -> bool:
        """Whether the layer has few output channels. Its weights are float32 in every precision."""
        return int(self.weights.shape[2]) <= NARROW

    @property
    def is_dense(self) -> bool:
        """Whether the layer computes one pixel only."""
        return self.target.shape[:2] == (1, 1) and len(self.taps) == 1

    def reads(self) -> tuple[View, ...]:
        """Return the views that the step reads."""
        return (self.source,)


@dataclasses.dataclass(eq=False)
class Loop:
    """A C expression for each element of the output.

    Attributes:
        target: Output.
        sources: Inputs, each broadcast to the shape of the output.
        expression: C expression. The names a, b and c stand for the elements of the inputs, `label` for the
            index of the label.
    """

    target: View
    sources: tuple[View, ...]
    expression: str

    def reads(self) -> tuple[View, ...]:
        """Return the views that the step reads."""
        return self.sources


@dataclasses.dataclass(eq=False)
class Reduction:
    """A sum, mean, maximum or minimum along some axes.

    Attributes:
        target: Output, with the shape of the input and a stride of 0 along the axes.
        source: Input.
        kind: What is computed.
        count: Number of elements of the input for each element of the output.
    """

    target: View
    source: View
    kind: Literal["sum", "mean", "max", "min"]
    count: int

    def reads(self) -> tuple[View, ...]:
        """Return the views that the step reads."""
        return (self.source,)


@dataclasses.dataclass(eq=False)
class Product:
    """A matrix product of two computed tensors.

    Attributes:
        target: Output (batches, rows, columns).
        left: Input (batches, rows, inner).
        right: Input (batches, inner, columns).
    """

    target: View
    left: View
    right: View

    def reads(self) -> tuple[View, ...]:
        """Return the views that the step reads."""
        return self.left, self.right


@dataclasses.dataclass(eq=False)
class Resampling:
    """A weighted sum of pixels in other rows and columns: Resize, and the paddings that mirror pixels.

    Attributes:
        source: Input (height, width, channels).
        target: Output (rows, columns, channels).
        rows: Index of the input row for each output row and tap, (rows, taps).
        row_weights: Weights of these input rows, float32 (rows, taps).
        columns: Index of the input column for each output column and tap, (columns, taps).
        column_weights: Weights of these input columns, float32 (columns, taps).
    """

    source: View
    target: View
    rows: npt.NDArray[np.int64]
    row_weights: Floats
    columns: npt.NDArray[np.int64]
    column_weights: Floats

    def reads(self) -> tuple[View, ...]:
        """Return the views that the step reads."""
        return (self.source,)


Step: TypeAlias = Layer | Loop | Reduction | Product | Resampling
