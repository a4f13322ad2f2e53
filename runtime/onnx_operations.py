"""The operations that are rejected: those that give other images each time, and those of harmful size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .onnx_tensor import MOST_DIMS, MOST_VALUES, SUPPORTED, Tensor, is_supported
from .rejection import RejectedError, UnsupportedError

_UNBOUNDED = ("Loop", "Scan")  # operations that may never end
# Operations whose output is random.
_RANDOM = (
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
)
_IS_RANDOM = "an image would not depend on its seed alone"
# Dict from an operation to the index of the input that decides the size of the output. This input holds a
# shape, factors or a length.
_SHAPE_INPUT = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3, "OneHot": 1}


class Operands(NamedTuple):
    """The facts about one operation that decide whether it is rejected.

    Attributes:
        kind: Kind of the operation.
        inputs: Names of the operation's inputs.
        outputs: Names of the operation's outputs.
        constants: Dict from the name of a constant to the constant.
        lists: Dict from the name of an attribute to the numbers at the start of its list.
        is_training: Whether the attribute `training_mode` is set.
    """

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    constants: Mapping[str, Tensor]
    lists: Mapping[str, Sequence[float]]
    is_training: bool

    def constant(self, index: int) -> Sequence[float]:
        """Return the first numbers of the input at an index; empty if it is missing or not a constant."""
        if index >= len(self.inputs) or self.inputs[index] not in self.constants:
            return ()
        return self.constants[self.inputs[index]].first or ()


def check_operation(operation: Operands) -> None:
    """Raise UnsupportedError or RejectedError if an operation must not run."""
    kind = operation.kind
    if kind in _UNBOUNDED:
        raise UnsupportedError(
            f"it has a {kind}, which may never end",
            "export it without loops; torch.jit.trace unrolls them, and torch.jit.script keeps them",
        )
    if kind in _RANDOM:
        raise UnsupportedError(
            f"it has a {kind}: {_IS_RANDOM}",
            "export it with fixed noise, for StyleGAN with noise_mode='const', or with the noise as an input",
        )
    _check_mode(operation)
    _check_output_size(operation)


def _check_mode(operation: Operands) -> None:
    """Reject an operation in training mode, in the notation of each opset that onnxruntime runs."""
    kind, is_training = operation.kind, operation.is_training
    if kind == "Dropout":
        is_training = is_training or any(operation.constant(2))  # since opset 12
        problem = _IS_RANDOM
    else:
        # Before opset 14, an operation in training mode is one that also returns the statistics of the batch.
        is_training = is_training or (kind == "BatchNormalization" and any(operation.outputs[1:]))
        problem = "an image would depend on the other images in its batch"
    if is_training:
        raise UnsupportedError(
            f"it has a {kind} in training mode: {problem}",
            "export it in evaluation mode; in PyTorch, call model.eval() first",
        )


def _check_output_size(operation: Operands) -> None:
    """Reject an operation whose output is too large, if constants in the file decide the output's size."""
    kind = operation.kind
    if kind == "Range":
        _check_range(operation)
    elif kind == "Pad":
        pads = operation.constant(1) if len(operation.inputs) > 1 else operation.lists.get("pads", ())
        axes = len(pads) // 2
        pairs = zip(pads[:axes], pads[axes:], strict=False)
        sides = [1 + max(0, before) + max(0, after) for before, after in pairs]
        if len(pads) > MOST_DIMS or math.prod(sides) > MOST_VALUES:
            raise RejectedError(f"it has a Pad by {list(pads)}; {SUPPORTED}")
    elif kind in ("Resize", "Upsample"):
        factors = _resize_factors(operation)
        if not is_supported(factors):
            raise RejectedError(f"it has the operation {kind} with the factors {list(factors)}; {SUPPORTED}")
    if kind in _SHAPE_INPUT:
        shape = operation.constant(_SHAPE_INPUT[kind])
        if any(dim < -1 for dim in shape) or not is_supported(shape):
            raise RejectedError(f"it has a {kind} to the shape {list(shape)}; {SUPPORTED}")


def _check_range(operation: Operands) -> None:
    """Reject a Range of too many values, if its three inputs are constants."""
    bounds = [numbers[0] for index in range(3) if (numbers := operation.constant(index))]
    if len(bounds) != 3:
        return
    start, limit, step = bounds
    is_small = step and (limit - start) / step <= MOST_VALUES  # False if a bound is NaN
    if not is_small:
        raise RejectedError(f"it has a Range from {start:g} to {limit:g} by {step:g}; {SUPPORTED}")


def _resize_factors(operation: Operands) -> Sequence[float]:
    """Return the factors by which a Resize or Upsample scales its axes; empty if no constant holds them.

    The first version of Upsample has the factors in an attribute. Later versions and Resize have them in the
    second or third input.
    """
    if operation.kind == "Upsample" and len(operation.inputs) == 1:
        return operation.lists.get("scales", ())
    # From opset 11 on, Resize has the factors in the third input, and a region of interest in the second.
    return operation.constant(1 if len(operation.inputs) == 2 else 2)
