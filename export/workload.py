"""The work of generating one image with a graph, and the comparisons that fit into a given time and memory.

The numbers come from the graph alone, not from a clock. So an export compares the same images on any machine.
"""

from __future__ import annotations

import dataclasses
import math

import onnx

from .graph import Array, Graph, Shape

# Multiply-adds that all compared images may take together, if each image is generated once. A core computes
# 10 to 50 billion of them in a second, and each image is generated seven times or more.
_MOST_WORK = 100e9
# Bytes that the largest value in the graph may take for a whole batch. A session needs a few of such values.
_MOST_BYTES = 50e6
_FEWEST_IMAGES, _MOST_IMAGES = 24, 256
_SMALLEST_BATCH, _LARGEST_BATCH = 8, 64


@dataclasses.dataclass(frozen=True)
class Workload:
    """The work of generating one image.

    Attributes:
        multiply_adds: Number of multiplications in convolutions and matrix products, each with an addition.
        largest_value: Number of elements of the largest value that a node computes.
    """

    multiply_adds: int
    largest_value: int

    def images(self) -> int:
        """Return the number of images that a verification compares: 24 to 256."""
        fitting = int(_MOST_WORK // max(1, self.multiply_adds))
        return min(max(fitting, _FEWEST_IMAGES), _MOST_IMAGES)

    def batch(self) -> int:
        """Return the number of images to generate at a time: 8 to 64, a power of two."""
        fitting = int(_MOST_BYTES // (4 * max(1, self.largest_value)))
        return min(max(2 ** (max(1, fitting).bit_length() - 1), _SMALLEST_BATCH), _LARGEST_BATCH)


def workload_of(model: onnx.ModelProto) -> Workload:
    """Return the work of generating one image with a graph. Values whose shape is not known are left out."""
    graph = Graph(model)
    total, largest = 0, 1
    for node in graph.nodes:
        given, weights = _size_of_one(graph.shape(node.output[0])), graph.constant(node, 1)
        largest = max(largest, given)
        if weights is not None:
            taken = _size_of_one(graph.shape(node.input[0]))
            total += _multiply_adds(node.op_type, taken, given, weights)
    return Workload(total, largest)


def _size_of_one(shape: Shape | None) -> int:
    """Return the number of elements for one image; 0 if it is not known. The first axis is the batch."""
    return 0 if shape is None or None in shape[1:] else math.prod(dim or 1 for dim in shape[1:])


def _multiply_adds(operation: str, taken: int, given: int, weights: Array) -> int:
    """Return the number of multiply-adds of a node, 0 for other operations than those with large weights.

    Args:
        operation: Name of the operation.
        taken: Number of elements of the input, for one image.
        given: Number of elements of the output, for one image.
        weights: Weights of the operation.
    """
    if operation == "Conv":  # weights (out, in / groups, height, width)
        return given * weights.size // weights.shape[0]
    if operation == "ConvTranspose":  # weights (in, out / groups, height, width)
        return taken * weights.size // weights.shape[0]
    if operation == "MatMul":  # weights (in, out)
        return given * weights.shape[0]
    return weights.size if operation == "Gemm" else 0
