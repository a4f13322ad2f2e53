"""What goes in: latents, seeds, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime.contract import LABEL
from ganport.runtime.latents import KEY_STEPS, LATENTS_PER_BLOCK, MULTIPLIERS, ROUNDS, generator_inputs, signed_normal_table
from ganport.runtime.seeds import check_seeds

from .convert import LATENT

SEED = "seed"


def add_label_head(model: onnx.ModelProto, classes: int) -> onnx.ModelProto:
    """Return a copy of the model that takes latents, float32 (batch, dim), and labels, int64 (batch,), from 0 on.

    The model's own input is both in one: float32 (batch, dim + classes), with 1 at the place of the label.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    batch, width = graph.input[0].type.tensor_type.shape.dim
    size = batch.dim_value or batch.dim_param
    joined = f"{LATENT}_and_{LABEL}"
    for node in graph.node:
        node.input[:] = [joined if name == LATENT else name for name in node.input]
    constants = {"label/depth": np.int64(classes), "label/values": np.array([0, 1], np.float32)}
    head = [
        helper.make_node("OneHot", [LABEL, *constants], ["label/one_hot"], axis=-1),
        helper.make_node("Concat", [LATENT, "label/one_hot"], [joined], axis=1),
    ]
    nodes = [*head, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.input.append(helper.make_tensor_value_info(LATENT, TensorProto.FLOAT, [size, width.dim_value - classes]))
    graph.input.append(helper.make_tensor_value_info(LABEL, TensorProto.INT64, [size]))
    return result


def add_seed_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the model that takes seeds, int64 (batch,), in place of latents, float32 (batch, dim); labels stay.

    The latents are those of `runtime.latents_of`, bit for bit: integers and one look-up, inside the graph.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    batch, dim = graph.input[0].type.tensor_type.shape.dim
    head = _SeedHead(dim.dim_value)
    nodes = [*head.nodes, *graph.node]
    source = helper.make_tensor_value_info(SEED, TensorProto.INT64, [batch.dim_value or batch.dim_param])
    inputs = [source, *graph.input[1:]]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(head.constants)
    graph.input.extend(inputs)
    return result


def seed_head_alone(dim: int, opset: int) -> onnx.ModelProto:
    """Return a model that turns seeds, int64 (batch,), into latents, float32 (batch, dim)."""
    head = _SeedHead(dim)
    source = helper.make_tensor_value_info(SEED, TensorProto.INT64, ["batch"])
    target = helper.make_tensor_value_info(LATENT, TensorProto.FLOAT, ["batch", dim])
    graph = helper.make_graph(head.nodes, "latents", [source], [target], head.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def bake_seeds(model: onnx.ModelProto, seeds: Sequence[int], classes: int = 0) -> onnx.ModelProto:
    """Return a copy of the model that draws the images of these seeds, each of its own class, and takes nothing."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    dim = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    del graph.input[:]
    baked = generator_inputs(check_seeds(seeds), dim - classes, classes)
    graph.initializer.append(numpy_helper.from_array(baked, LATENT))
    graph.output[0].type.tensor_type.shape.dim[0].dim_value = len(seeds)
    return result


class _SeedHead:
    """The steps of `runtime.latents`, written as nodes; all words are 32 bits held in uint64."""

    def __init__(self, dim: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._word = self._constant(np.uint64(0xFFFFFFFF))
        self._word_bits = self._constant(np.uint64(32))
        self._swapped = self._constant(np.array([1, 0]))
        self._look_up(self._philox(-(-dim // LATENTS_PER_BLOCK)), dim)

    def _philox(self, blocks: int) -> tuple[str, str]:
        """Return words 0 and 2, and words 1 and 3, each (2, batch, blocks)."""
        seed = self._node("Cast", [SEED], to=TensorProto.UINT64)
        column = self._node("Unsqueeze", [seed, self._constant(np.array([1]))])  # (batch, 1)
        halves = [self._node("BitwiseAnd", [column, self._word]), self._shift(column, self._word_bits)]
        rows = [self._node("Unsqueeze", [half, self._constant(np.array([0]))]) for half in halves]
        keys = self._node("Concat", rows, axis=0)  # (2, batch, 1)
        counters = np.zeros((2, 1, blocks), np.uint64)
        counters[0, 0] = np.arange(blocks)
        multiplied, mixed = self._constant(counters), self._constant(np.zeros((2, 1, 1), np.uint64))
        multipliers, steps = (self._constant(each.astype(np.uint64)) for each in (MULTIPLIERS, KEY_STEPS))
        for round_ in range(ROUNDS):
            if round_:
                keys = self._node("BitwiseAnd", [self._node("Add", [keys, steps]), self._word])
            products = self._node("Mul", [multiplied, multipliers])
            high = self._node("Gather", [self._shift(products, self._word_bits), self._swapped], axis=0)
            low = self._node("Gather", [self._node("BitwiseAnd", [products, self._word]), self._swapped], axis=0)
            multiplied = self._node("BitwiseXor", [self._node("BitwiseXor", [high, mixed]), keys])
            mixed = low
        return multiplied, mixed

    def _look_up(self, words: tuple[str, str], dim: int) -> None:
        """Turn words into latents (batch, dim): each has two numbers of 16 bits, of which 13 choose from the table."""
        second = self._constant(np.array([1]))
        stacked = self._node("Concat", [self._node("Unsqueeze", [word, second]) for word in words], axis=1)
        last = self._constant(np.array([4]))
        high = self._shift(stacked, self._constant(np.uint64(16 + 3)))
        low = self._shift(self._node("BitwiseAnd", [stacked, self._constant(np.uint64(0xFFFF))]), self._constant(np.uint64(3)))
        halves = self._node("Concat", [self._node("Unsqueeze", [half, last]) for half in (high, low)], axis=4)
        # (2, 2, batch, blocks, 2) -> (batch, blocks, 2, 2, 2) -> (batch, latents)
        ordered = self._node("Transpose", [halves], perm=[2, 3, 0, 1, 4])
        blocks = -(-dim // LATENTS_PER_BLOCK)
        rows = self._node("Reshape", [ordered, self._constant(np.array([-1, blocks * LATENTS_PER_BLOCK]))])
        places = self._node("Cast", [rows], to=TensorProto.INT64)
        if dim % LATENTS_PER_BLOCK:
            bounds = [self._constant(np.array([place])) for place in (0, dim, 1)]
            places = self._node("Slice", [places, *bounds])
        self.nodes.append(helper.make_node("Gather", [self._constant(signed_normal_table()), places], [LATENT]))

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
