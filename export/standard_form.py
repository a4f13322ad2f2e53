"""Standard form: the one graph that every generator is brought into before it is verified and written.

A graph in standard form has one input "latent", float32 (batch, dim + number of labels): the latents, then
the one-hot code of the label if there are labels. It has one output "image", float32 (batch, height, width,
channels) in [-1, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.compose
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime.adapter import Feed
from ganport.runtime.third_party import Described

LATENT = "latent"
IMAGE = "image"

_PREFIX = "original/"  # all names of the original graph get this prefix, so that they differ from new names


def to_standard_form(
    original: onnx.ModelProto, described: Described, batch: int | None, *, clip: bool
) -> onnx.ModelProto:
    """Return a third-party graph in standard form.

    Args:
        original: Graph with any inputs and outputs, and without functions.
        described: What its inputs take, and what its output holds.
        batch: Number of images per run; None for any number.
        clip: Whether the values of the images are clipped to [-1, 1].
    """
    inner = onnx.compose.add_prefix(original, _PREFIX)
    stages = _Stages(described, batch)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inner.graph.input}
    for feed in described.adapter.feeds:
        stages.fill(feed, kinds[f"{_PREFIX}{feed.name}"])
    first = list(stages.nodes)
    stages.nodes.clear()
    stages.read_images(f"{_PREFIX}{described.adapter.output}", clip)
    graph = inner.graph
    # Some exporters list the weights among the inputs, too.
    weights = [tensor for tensor in graph.initializer if tensor.name not in stages.filled]
    nodes = [*first, *graph.node, *stages.nodes]
    standard = helper.make_graph(
        nodes,
        "generator",
        [stages.latent_input()],
        [stages.image_output()],
        [*weights, *stages.constants],
        sparse_initializer=graph.sparse_initializer,
    )
    return helper.make_model(
        standard, opset_imports=inner.opset_import, ir_version=inner.ir_version, producer_name="ganport"
    )


class _Stages:
    """Nodes before and after an original graph.

    Attributes:
        nodes: Nodes in an order in which they can run.
        constants: Constants that the nodes use.
        filled: Names of the original graph's inputs that the nodes compute.
    """

    def __init__(self, described: Described, batch: int | None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.filled: set[str] = set()
        self._batch, self._adapter, self._image = batch, described.adapter, described.contract.image
        self._width = self._adapter.dim + self._adapter.label_count

    def latent_input(self) -> onnx.ValueInfoProto:
        """Return the input "latent"."""
        return helper.make_tensor_value_info(LATENT, TensorProto.FLOAT, [self._size, self._width])

    def image_output(self) -> onnx.ValueInfoProto:
        """Return the output "image"."""
        return helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [self._size, *self._image.shape])

    @property
    def _size(self) -> int | str:
        return "batch" if self._batch is None else self._batch

    def fill(self, feed: Feed, kind: int) -> None:
        """Add the nodes that compute one input of the original graph.

        Args:
            feed: How the input is filled.
            kind: ONNX's number of the input's type.
        """
        if feed.content == "value":
            value = self._value(feed)
        elif feed.content == "latents":
            value = self._reshaped(self._latents(feed), feed)
        elif feed.content == "one_hot":
            value = self._reshaped(self._one_hot(), feed)
        else:
            indices = self._node("ArgMax", [self._one_hot()], axis=1, keepdims=1)  # (batch, 1)
            value = self._reshaped(indices, feed)
        target = f"{_PREFIX}{feed.name}"
        self.nodes.append(helper.make_node("Cast", [value], [target], to=kind, name=f"{target}/cast"))
        self.filled.add(target)

    def _latents(self, feed: Feed) -> str:
        """Return the latents of an input, and the one-hot code if it is among them."""
        at = feed.one_hot_at
        if at is None:
            return self._columns(feed.first, feed.first + feed.count)
        if at == feed.count and feed.first + feed.count == self._adapter.dim:
            # The code follows the latents in standard form, too.
            return self._columns(feed.first, self._width)
        parts = [
            self._columns(feed.first, feed.first + at),
            self._one_hot(),
            self._columns(feed.first + at, feed.first + feed.count),
        ]
        return self._node("Concat", [part for part in parts if part], axis=1)

    def _one_hot(self) -> str:
        return self._columns(self._adapter.dim, self._width)

    def _columns(self, start: int, stop: int) -> str:
        """Return some columns of the input; an empty name for none."""
        if start == stop:
            return ""
        if (start, stop) == (0, self._width):
            return LATENT
        bounds = [self._constant(np.array([bound])) for bound in (start, stop, 1)]
        return self._node("Slice", [LATENT, *bounds])

    def _reshaped(self, value: str, feed: Feed) -> str:
        count = -1 if self._batch is None else self._batch
        shape = (count, *feed.shape) if feed.has_batch else feed.shape
        return self._node("Reshape", [value, self._constant(np.array(shape, np.int64))])

    def _value(self, feed: Feed) -> str:
        """Return a constant, repeated for each image if the input has a batch axis."""
        shape = (1, *feed.shape) if feed.has_batch else feed.shape
        value = self._constant(np.full(shape, feed.value, np.float32))
        if not feed.has_batch:
            return value
        if self._batch is None:
            count = self._node("Shape", [LATENT], start=0, end=1)
        else:
            count = self._constant(np.array([self._batch]))
        if feed.shape:
            count = self._node("Concat", [count, self._constant(np.array(feed.shape, np.int64))], axis=0)
        return self._node("Expand", [value, count])

    def read_images(self, output: str, clip: bool) -> None:
        """Add the nodes that turn the original graph's output into images in [-1, 1]."""
        image = self._image
        value = self._node("Cast", [output], to=TensorProto.FLOAT)
        count = -1 if self._batch is None else self._batch
        value = self._node("Reshape", [value, self._constant(np.array([count, *image.graph_shape]))])
        low, high = image.range
        if (low, high) != (-1, 1):
            value = self._node("Mul", [value, self._constant(np.float32(2 / (high - low)))])
            shift = np.float32(-1 - 2 * low / (high - low))
            if shift:
                value = self._node("Add", [value, self._constant(shift)])
        if clip:
            value = self._node("Clip", [value, *(self._constant(np.float32(end)) for end in (-1, 1))])
        if image.layout == "NCHW":
            value = self._node("Transpose", [value], perm=[0, 2, 3, 1])
        self.nodes.append(helper.make_node("Identity", [value], [IMAGE], name="stage/image"))

    def _node(self, operation: str, inputs: list[str], **settings: Any) -> str:
        name = f"stage/{len(self.filled)}/{len(self.nodes)}/{operation}"
        self.nodes.append(helper.make_node(operation, inputs, [name], name=name, **settings))
        return name

    def _constant(self, value: object) -> str:
        name = f"stage/constant/{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def with_free_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return a graph whose batch is fixed, with a free batch in its place, as far as that can be seen.

    The first axis of each input and output gets a name instead of its size, and a Reshape to this size takes
    the size of its input. The result must be compared with the original graph, because other operations may
    depend on the size, too.

    Args:
        model: Graph whose inputs and outputs state the batch.
        batch: The number of images that they state.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.value_info[:]
    constants = {tensor.name for tensor in graph.initializer}
    for value in (*graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        if value.name not in constants and sizes and sizes[0].dim_value == batch:
            sizes[0].dim_param = "batch"
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape" and len(node.input) > 1}
    for tensor in graph.initializer:
        if tensor.name in targets:
            tensor.CopyFrom(
                numpy_helper.from_array(_free_target(numpy_helper.to_array(tensor), batch), tensor.name)
            )
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in targets:
            for attribute in node.attribute:
                if attribute.name == "value":
                    free = _free_target(numpy_helper.to_array(attribute.t), batch)
                    attribute.t.CopyFrom(numpy_helper.from_array(free))
    return result


def _free_target(shape: npt.NDArray[np.int64], batch: int) -> npt.NDArray[np.int64]:
    """Return the target of a Reshape without the size of the batch.

    The batch takes what the other sizes leave. If they leave another size open, the batch is copied.
    """
    if not len(shape) or shape[0] != batch:
        return shape
    free = shape.copy()
    free[0] = 0 if -1 in shape[1:] else -1
    return free
