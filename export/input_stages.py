"""Input stages: what is put before the generator so that the file takes seeds, labels, or no input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime.contract import LABEL, Distribution
from ganport.runtime.latents import (
    KEY_STEPS,
    LATENTS_PER_BLOCK,
    MULTIPLIERS,
    ROUNDS,
    UNIFORM_STEPS,
    generator_inputs,
    signed_normal_table,
)
from ganport.runtime.seeds import check_seeds

from .standard_form import LATENT

SEED = "seed"


def add_label_input(model: onnx.ModelProto, label_count: int) -> onnx.ModelProto:
    """Return a copy of the model that takes latents, float32 (batch, dim), and label indices, int64 (batch,).

    Args:
        model: Model with one input, float32 (batch, dim + label_count): the latents, then the one-hot code of
            the label.
        label_count: Number of labels.
    """
    result = add_one_hot_input(model, label_count)
    graph, codes = result.graph, "label/one_hot"
    joining = graph.node[0]
    joining.input[1] = codes
    constants = {"label/depth": np.int64(label_count), "label/values": np.array([0, 1], np.float32)}
    nodes = [helper.make_node("OneHot", [LABEL, *constants], [codes], axis=-1), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    size = graph.input[1].type.tensor_type.shape.dim[0]
    labels = helper.make_tensor_value_info(LABEL, TensorProto.INT64, [size.dim_value or size.dim_param])
    graph.input[1].CopyFrom(labels)
    return result


def add_one_hot_input(model: onnx.ModelProto, label_count: int) -> onnx.ModelProto:
    """Return a copy of the model that takes latents, float32 (batch, dim), and one-hot codes of the labels.

    The one-hot codes are float32 (batch, label_count). Runtimes without OneHot, or without whole numbers as
    inputs, can use this form.

    Args:
        model: Model as for `add_label_input`.
        label_count: Number of labels.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    batch, width = graph.input[0].type.tensor_type.shape.dim
    size = batch.dim_value or batch.dim_param
    joined = f"{LATENT}_and_{LABEL}"
    for node in graph.node:
        node.input[:] = [joined if name == LATENT else name for name in node.input]
    nodes = [helper.make_node("Concat", [LATENT, LABEL], [joined], axis=1), *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    widths = {LATENT: width.dim_value - label_count, LABEL: label_count}
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, each]) for name, each in widths.items()
    )
    return result


def add_seed_input(model: onnx.ModelProto, *, distribution: Distribution = "normal") -> onnx.ModelProto:
    """Return a copy of the model that takes seeds, int64 (batch,), instead of latents, float32 (batch, dim).

    If the model also has an input for labels, the copy keeps it. The latents are bit-identical to those of
    `runtime.sample_latents`. The graph computes them from the seeds by integer operations, and then by one
    table look-up for normal latents, or by exact steps in float32 for uniform latents.

    Args:
        model: Model whose first input is the latents.
        distribution: Distribution of the latents.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    batch, dim = graph.input[0].type.tensor_type.shape.dim
    stage = _SeedStage(dim.dim_value, distribution)
    nodes = [*stage.nodes, *graph.node]
    seed = helper.make_tensor_value_info(SEED, TensorProto.INT64, [batch.dim_value or batch.dim_param])
    inputs = [seed, *graph.input[1:]]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(stage.constants)
    graph.input.extend(inputs)
    return result


def seed_stage_model(dim: int, opset: int, *, distribution: Distribution = "normal") -> onnx.ModelProto:
    """Return a model that turns seeds, int64 (batch,), into latents, float32 (batch, dim)."""
    stage = _SeedStage(dim, distribution)
    seed = helper.make_tensor_value_info(SEED, TensorProto.INT64, ["batch"])
    latent = helper.make_tensor_value_info(LATENT, TensorProto.FLOAT, ["batch", dim])
    graph = helper.make_graph(stage.nodes, "latents", [seed], [latent], stage.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def fix_seeds(
    model: onnx.ModelProto,
    seeds: Sequence[int],
    label_count: int = 0,
    *,
    distribution: Distribution = "normal",
) -> onnx.ModelProto:
    """Return a copy of the model that takes no input and generates the images of these seeds.

    If there are labels, each image has the default label of its seed (`runtime.latents.default_labels`).

    Args:
        model: Model from latents (batch, dim), or (batch, dim + label_count), to images.
        seeds: Seeds, whole numbers in [0, 2**63).
        label_count: Number of labels; 0 for none.
        distribution: Distribution of the latents.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    del graph.input[:]
    dim = width - label_count
    latents = generator_inputs(check_seeds(seeds), dim, label_count, distribution=distribution)
    graph.initializer.append(numpy_helper.from_array(latents, LATENT))
    graph.output[0].type.tensor_type.shape.dim[0].dim_value = len(seeds)
    return result


class _SeedStage:
    """Nodes and constants that compute latents from seeds, by the algorithm of `runtime.latents`.

    Each 32-bit word is stored as a uint64, since the product of two words needs 64 bits.

    Attributes:
        nodes: Nodes in an order in which they can run. The last one computes the latents.
        constants: Constants that the nodes use.
    """

    def __init__(self, dim: int, distribution: Distribution) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._word = self._constant(np.uint64(0xFFFFFFFF))
        self._word_bits = self._constant(np.uint64(32))
        self._swapped = self._constant(np.array([1, 0]))
        words = self._philox(-(-dim // LATENTS_PER_BLOCK))
        if distribution == "normal":
            self._look_up(words, dim)
        else:
            self._scale(words, dim, distribution)

    def _philox(self, blocks: int) -> tuple[str, str]:
        """Add nodes that compute the random words of the generator Philox4x32-10, with the seed as its key.

        Args:
            blocks: Number of blocks per seed. Each block has four words.

        Returns:
            The names of two tensors, each uint64 (2, batch, blocks). The first tensor holds words 0 and 2 of
            each block, the second tensor holds words 1 and 3.
        """
        seed = self._node("Cast", [SEED], to=TensorProto.UINT64)
        column = self._node("Unsqueeze", [seed, self._constant(np.array([1]))])  # (batch, 1)
        halves = [self._node("BitwiseAnd", [column, self._word]), self._shift(column, self._word_bits)]
        rows = [self._node("Unsqueeze", [half, self._constant(np.array([0]))]) for half in halves]
        keys = self._node("Concat", rows, axis=0)  # (2, batch, 1)
        counters = np.zeros((2, 1, blocks), np.uint64)
        counters[0, 0] = np.arange(blocks)
        multiplied, mixed = self._constant(counters), self._constant(np.zeros((2, 1, 1), np.uint64))
        multipliers, steps = (self._constant(each.astype(np.uint64)) for each in (MULTIPLIERS, KEY_STEPS))
        # Each round multiplies words 0 and 2 by constants. Then it combines the high halves of the products
        # with words 1 and 3, and with the keys, by XOR.
        for round_ in range(ROUNDS):
            if round_:
                keys = self._node("BitwiseAnd", [self._node("Add", [keys, steps]), self._word])
            products = self._node("Mul", [multiplied, multipliers])
            high = self._node("Gather", [self._shift(products, self._word_bits), self._swapped], axis=0)
            low = self._node(
                "Gather", [self._node("BitwiseAnd", [products, self._word]), self._swapped], axis=0
            )
            multiplied = self._node("BitwiseXor", [self._node("BitwiseXor", [high, mixed]), keys])
            mixed = low
        return multiplied, mixed

    def _look_up(self, words: tuple[str, str], dim: int) -> None:
        """Add nodes that turn words into normal latents, float32 (batch, dim).

        The upper 13 bits of a 16-bit number are the index of a latent in the table `signed_normal_table`.

        Args:
            words: The two names that `_philox` returns.
            dim: Number of latents per seed.
        """
        indices = self._numbers(words, dim, bits=13, to=TensorProto.INT64)
        self.nodes.append(
            helper.make_node("Gather", [self._constant(signed_normal_table()), indices], [LATENT])
        )

    def _scale(self, words: tuple[str, str], dim: int, distribution: Distribution) -> None:
        """Add nodes that turn words into uniform latents, float32 (batch, dim).

        Each step is exact in float32. The last step subtracts the negative offset. An Add would have the same
        result, but the rewrites would fold it into the dense layer after it, and the latents would be lost.

        Args:
            words: The two names that `_philox` returns.
            dim: Number of latents per seed.
            distribution: Distribution of the latents.
        """
        scale, offset = UNIFORM_STEPS[distribution]
        numbers = self._numbers(words, dim, bits=16, to=TensorProto.FLOAT)
        scaled = self._node("Mul", [numbers, self._constant(scale)])
        self.nodes.append(helper.make_node("Sub", [scaled, self._constant(-offset)], [LATENT]))

    def _numbers(self, words: tuple[str, str], dim: int, *, bits: int, to: int) -> str:
        """Add nodes that split words into 16-bit numbers, and return the name of the result, (batch, dim).

        Each word holds two 16-bit numbers, the high half first.

        Args:
            words: The two names that `_philox` returns.
            dim: Number of 16-bit numbers per seed.
            bits: Number of upper bits of each 16-bit number that the result keeps.
            to: Data type of the result, as in `onnx.TensorProto`.
        """
        second = self._constant(np.array([1]))
        stacked = self._node("Concat", [self._node("Unsqueeze", [word, second]) for word in words], axis=1)
        last = self._constant(np.array([4]))
        high = self._shift(stacked, self._constant(np.uint64(32 - bits)))
        low = self._node("BitwiseAnd", [stacked, self._constant(np.uint64(0xFFFF))])
        if bits < 16:
            low = self._shift(low, self._constant(np.uint64(16 - bits)))
        halves = self._node("Concat", [self._node("Unsqueeze", [half, last]) for half in (high, low)], axis=4)
        # The Transpose turns (2, 2, batch, blocks, 2) into (batch, blocks, 2, 2, 2), and the Reshape turns
        # this into (batch, latents).
        ordered = self._node("Transpose", [halves], perm=[2, 3, 0, 1, 4])
        blocks = -(-dim // LATENTS_PER_BLOCK)
        rows = self._node("Reshape", [ordered, self._constant(np.array([-1, blocks * LATENTS_PER_BLOCK]))])
        numbers = self._node("Cast", [rows], to=to)
        if dim % LATENTS_PER_BLOCK:
            bounds = [self._constant(np.array([bound])) for bound in (0, dim, 1)]  # start, end and axis
            numbers = self._node("Slice", [numbers, *bounds])
        return numbers

    def _shift(self, value: str, bits: str) -> str:
        return self._node("BitShift", [value, bits], direction="RIGHT")

    def _node(self, operation: str, inputs: list[str], **settings: Any) -> str:
        name = f"head/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **settings))
        return name

    def _constant(self, value: object) -> str:
        name = f"head/constant/{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name
