"""Files that ganport wrote, as sources: the network is taken out of the stages around it.

An exported file may begin with a stage that turns labels into one-hot codes, and may end with a stage that
rounds images to 8 bits. Both stages are removed here, so that a file can be exported again in another form.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ganport.runtime.contract import LABEL, METADATA_KEY, Contract
from ganport.runtime.description import Description
from ganport.runtime.graph_range import range_of_output
from ganport.runtime.onnx_file import read_outline

from .errors import GeneratorError
from .graph import Graph

_MOVING = ("Transpose", "Reshape", "Identity")  # operations that keep all values
_LEVELS = (0.0, 255.0)


def contract_of(model: onnx.ModelProto) -> Contract | None:
    """Return the contract in the metadata of a file that ganport wrote; None for other files.

    Raises:
        ContractError: The metadata holds a damaged contract.
    """
    texts = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    return Contract.from_json(texts[0]) if texts else None


def take_network(
    path: Path, model: onnx.ModelProto, contract: Contract, description: Description
) -> tuple[onnx.ModelProto, Description]:
    """Return the network of an exported file, and its description as that of a third-party generator.

    The network takes latents and one-hot codes of labels, and its images are floats.

    Args:
        path: The file, for error messages.
        model: The graph in the file, with its weights.
        contract: Contract of the file.
        description: What the user says about the file. It must be empty, since the contract says everything.

    Raises:
        GeneratorError: The file takes seeds or no input, or the user describes it.
    """
    if contract.input.kind != "latent":
        raise GeneratorError(
            path,
            f"it is an export that takes {'seeds' if contract.input.kind == 'seed' else 'no input'}, so its "
            "latents can't be given to it; export a file that takes latents, or the source of this one.",
        )
    _check_undescribed(path, description)
    graph = Graph(model)
    if contract.input.labels:
        _take_one_hot_codes(graph, len(contract.input.labels))
    span = _remove_rounding(graph) if contract.image.dtype == "uint8" else contract.image.range
    network = graph.to_model()
    is_decided = range_of_output(read_outline(network.SerializeToString()), graph.outputs[0].name) is not None
    return network, dataclasses.replace(
        description,
        labels=contract.input.labels,
        latents=contract.input.distribution,
        layout=contract.image.layout,
        value_range=None if span == _LEVELS and _has_levels(graph) else span,
        # The stage that rounds also clips. A network that ends with Tanh never needs it.
        clip=not is_decided,
    )


def _check_undescribed(path: Path, description: Description) -> None:
    for field in dataclasses.fields(description):
        given = getattr(description, field.name)
        if field.name != "layout_argument" and given != getattr(Description(), field.name):
            name = description.layout_argument if field.name == "layout" else field.name
            raise GeneratorError(
                path, f"it is an export of ganport, which states what `{name}` says; leave `{name}` out."
            )


def _take_one_hot_codes(graph: Graph, label_count: int) -> None:
    """Replace whole labels by one-hot codes, float32 (batch, label_count), if the graph makes codes."""
    node = next((node for node in graph.nodes if node.op_type == "OneHot" and node.input[0] == LABEL), None)
    if node is None:
        return
    codes = node.output[0]
    del graph.nodes[graph.position(node)]
    for other in graph.nodes:
        other.input[:] = [LABEL if name == codes else name for name in other.input]
    for index, value in enumerate(graph.inputs):
        if value.name == LABEL:
            batch = value.type.tensor_type.shape.dim[0]
            sizes = [batch.dim_value or batch.dim_param, label_count]
            graph.inputs[index] = helper.make_tensor_value_info(LABEL, TensorProto.FLOAT, sizes)
    graph.changed()


def _remove_rounding(graph: Graph) -> tuple[float, float]:
    """Remove the nodes that turn images into 8 bits, and return the range of the images that remain."""
    output = graph.outputs[0]
    rounding = _last(graph, "QuantizeLinear")
    if rounding is None or not (_is_scalar(graph, rounding, 1, 1) and _is_scalar(graph, rounding, 2, 0)):
        return _LEVELS
    output.type.tensor_type.elem_type = TensorProto.FLOAT
    graph.remove(rounding)
    scale = _last(graph, "Mul")
    if scale is None or not _is_scalar(graph, scale, 1, 127.5):
        return _LEVELS
    shift = graph.producer(scale.input[0])
    if shift is None or shift.op_type != "Add" or not _is_scalar(graph, shift, 1, 1):
        return _LEVELS
    graph.remove(scale)
    graph.remove(shift)
    return -1.0, 1.0


def _last(graph: Graph, operation: str) -> onnx.NodeProto | None:
    """Return the last node that does not only move values, if it has this operation."""
    node = graph.producer(graph.outputs[0].name)
    while node is not None and node.op_type in _MOVING:
        node = graph.producer(node.input[0])
    return node if node is not None and node.op_type == operation else None


def _is_scalar(graph: Graph, node: onnx.NodeProto, index: int, value: float) -> bool:
    constant = graph.constant(node, index)
    return constant is not None and constant.size == 1 and bool(np.all(constant == value))


def _has_levels(graph: Graph) -> bool:
    return bool(graph.outputs[0].type.tensor_type.elem_type == TensorProto.UINT8)
