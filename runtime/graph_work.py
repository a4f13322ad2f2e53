"""The work of one operation: multiply-adds, or elements that it reads and writes if these are more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .graph_shapes import labels_of, weights_index
from .graph_values import Call, Known, UnknownSizeError, count_of, kinds

# Multiply-adds that take as long as reading or writing one element.
_PER_ELEMENT = 16
# The same for windows of cosines, for sorting and for interpolation, which are computed one by one.
_PER_SLOW_ELEMENT = 256
# The same for cubic interpolation and for Fourier transforms.
_PER_CUBIC = _PER_FREQUENCY = 4096
# Multiply-adds of a convolution that take as long as one of a recurrent layer, whose steps run one by one.
_PER_STEP = 8
# onnxruntime may pad the channels of a convolution to a multiple of this number, with AVX2.
_CHANNELS = 8
_BYTES_PER_SAMPLE = 64  # of the coordinates and weights that RoiAlign computes before
_SLOW = kinds(
    "BlackmanWindow GridSample HammingWindow HannWindow MelWeightMatrix Resize TopK Unique Upsample"
)


def work_of(call: Call, outputs: Sequence[Known]) -> int:
    """Return the multiply-adds of an operation, or those that would take as long as the operation.

    Args:
        call: The operation and its inputs. An unknown size counts as 1.
        outputs: What is known of its outputs.
    """
    written = sum(known.elements for known in outputs)
    moved = max([written, *(known.elements for known in call.inputs if known is not None)])
    if call.kind in _SLOW:
        return (_PER_CUBIC if call.text("mode") == "cubic" else _PER_SLOW_ELEMENT) * moved
    counted = _WORK.get(call.kind)
    if counted is None:
        return _PER_ELEMENT * moved
    try:
        return max(_PER_ELEMENT * moved, counted(call, written))
    except UnknownSizeError:
        return _PER_ELEMENT * moved


def workspace_of(call: Call, outputs: Sequence[Known]) -> int:
    """Return the number of bytes that an operation needs besides its inputs and outputs.

    Args:
        call: The operation and its inputs.
        outputs: What is known of its outputs.
    """
    if call.kind == "ConvTranspose":  # a matrix of the products, summed over the channels of the input
        shape = call.known(0).shape
        channels = shape[1] if shape is not None and len(shape) > 1 else None
        return 4 * _of_weights_by_input(call, 0) // max(1, channels or 1)
    if call.kind in ("Conv", "FusedConv"):
        shape = outputs[0].shape
        channels = shape[1] if shape is not None and len(shape) > 1 else None
        return (_CHANNELS // channels) * outputs[0].size if channels else 0
    if call.kind == "Einsum" and len(call.inputs) > 2:  # products of the first two inputs
        return 4 * _of_labels(call, 0)
    if call.kind == "RoiAlign":
        return _BYTES_PER_SAMPLE * _samples(call, outputs[0].elements)
    return 0


def _of_weights(call: Call, written: int) -> int:
    return written * count_of(call.shape(weights_index(call))[1:])


def _of_weights_by_input(call: Call, _: int) -> int:
    return call.known(0).elements * count_of(call.shape(1)[1:])


def _of_rows(call: Call, written: int) -> int:
    shape = call.shape(0)
    return written * (shape[-2 if call.integer("transA", 0) and len(shape) > 1 else -1] or 1)


def _of_kernel(call: Call, written: int) -> int:
    return written * math.prod(call.integers("kernel_shape") or (1,))


def _of_labels(call: Call, _: int) -> int:
    sizes, _output, _terms = labels_of(call)
    return count_of(tuple(sizes.values()))


def _of_neighbours(call: Call, written: int) -> int:
    return written * max(1, call.integer("size", 1))


def _of_steps(call: Call, _: int) -> int:
    steps, batch, width = (size or 1 for size in call.shape(0))
    weights = call.known(1).elements + call.known(2).elements
    return _PER_STEP * steps * batch * weights if width else 0


def _of_frequencies(_: Call, written: int) -> int:
    return _PER_FREQUENCY * written


def _of_samples(call: Call, written: int) -> int:
    return _PER_ELEMENT * _samples(call, written)


def _samples(call: Call, written: int) -> int:
    """Return the number of points at which RoiAlign interpolates for the elements that it writes."""
    return written * max(1, call.integer("sampling_ratio", 0)) ** 2


def _of_square(call: Call, _: int) -> int:
    shape = call.shape(0)
    return call.known(0).elements * (shape[-1] or 1)


_WORK: Mapping[str, Callable[[Call, int], int]] = {
    "AveragePool": _of_kernel,
    "Conv": _of_weights,
    "ConvInteger": _of_weights,
    "ConvTranspose": _of_weights_by_input,
    "DFT": _of_frequencies,
    "Det": _of_square,
    "DynamicQuantizeMatMul": _of_rows,
    "Einsum": _of_labels,
    "FusedConv": _of_weights,
    "FusedGemm": _of_rows,
    "FusedMatMul": _of_rows,
    "GRU": _of_steps,
    "Gemm": _of_rows,
    "Inverse": _of_square,
    "LRN": _of_neighbours,
    "LSTM": _of_steps,
    "LpPool": _of_kernel,
    "MatMul": _of_rows,
    "MatMulInteger": _of_rows,
    "MatMulIntegerToFloat": _of_rows,
    "MatMulNBits": _of_rows,
    "MaxPool": _of_kernel,
    "QGemm": _of_rows,
    "QLinearConv": _of_weights,
    "QLinearMatMul": _of_rows,
    "RNN": _of_steps,
    "RoiAlign": _of_samples,
    "STFT": _of_frequencies,
}
