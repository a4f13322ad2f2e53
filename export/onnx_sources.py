"""Third-party generators in ONNX files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ganport.runtime.adapter import Arrays
from ganport.runtime.cores import usable_cores
from ganport.runtime.description import Description
from ganport.runtime.display import first_line
from ganport.runtime.errors import NotAGeneratorError
from ganport.runtime.latents import sample_latents
from ganport.runtime.onnx_file import read_outline
from ganport.runtime.providers import open_session
from ganport.runtime.third_party import Described, describe

from .described import DescribedGenerator
from .errors import GeneratorError
from .flattening import flatten
from .own_exports import contract_of, take_network
from .precision import computes_in_float16
from .sessions import open_on_cpu


def load_onnx(path: Path, description: Description) -> DescribedGenerator:
    """Return the generator in an ONNX file, of ganport or of anybody else.

    Args:
        path: The file. Its weights may lie in other files beside it.
        description: What the user says about the generator.

    Raises:
        GeneratorError: The file holds no generator, or a fact is not known, or a file that ganport wrote
            takes no latents.
        ModelError: The file is damaged or harmful.
    """
    outline = read_outline(path)
    opened = path if outline.path is None else outline.path  # the weights lie beside this path
    model = _load(path, opened)
    contract = contract_of(model)
    if contract is None:
        session = open_session(opened, "cpu", threads=usable_cores())
    else:
        model, description = take_network(path, model, contract, description)
        outline, session = read_outline(model.SerializeToString()), open_on_cpu(model)
    try:
        described = describe(session, outline, path, description)
    except NotAGeneratorError as error:
        raise GeneratorError(path, f"{error.problem}.") from error
    model = flatten(path, model, _few_feeds(described))

    def run(feeds: Arrays) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = session.run([described.adapter.output], feeds)[0]
        return values

    def to_onnx(opset: int) -> onnx.ModelProto:
        return _at_opset(path, model, opset)

    return DescribedGenerator(
        path,
        to_onnx,
        run,
        described,
        original="the original file",
        clip=description.clip,
        is_half=computes_in_float16(model),
    )


def _few_feeds(described: Described) -> list[Arrays]:
    """Return the inputs of two runs: of one image and of three, if the graph takes any number."""
    contract, adapter = described.contract, described.adapter
    feeds: list[Arrays] = []
    for count in (1, 3) if contract.batch is None else (contract.batch,):
        latents = sample_latents(range(count), adapter.dim, distribution=contract.input.distribution)
        given: dict[str, npt.NDArray[Any]] = {adapter.latent: latents}
        if adapter.label_count:
            given[adapter.label] = np.zeros(count, np.int64)
        feeds.append(adapter.graph_inputs(given))
    return feeds


def _load(shown: Path, opened: Path) -> onnx.ModelProto:
    """Return the model in a file, with its weights from other files.

    onnx itself reads no weights behind symbolic links. The paths of the weights were checked before, when the
    outline was read.
    """
    try:
        model = onnx.load(opened, load_external_data=False)
        for tensor in _tensors(model.graph):
            if uses_external_data(tensor):
                _read_weights(tensor, opened.parent)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise GeneratorError(shown, f"onnx can't read it ({first_line(error)}).") from error
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the tensors that a graph and the graphs in it hold."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def _read_weights(tensor: onnx.TensorProto, folder: Path) -> None:
    """Read the numbers of a tensor from the file that holds them."""
    info = ExternalDataInfo(tensor)
    with (folder / info.location).open("rb") as file:
        file.seek(info.offset or 0)
        tensor.raw_data = file.read(-1 if info.length is None else info.length)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _at_opset(path: Path, model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return the model at an opset. A model at a newer opset stays as it is."""
    own = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), opset)
    if own >= opset:
        return model
    try:
        return onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise GeneratorError(
            path,
            f"it has opset {own}, and onnx can't convert it to opset {opset} ({first_line(error)}); export "
            f"the original at opset {opset}, or use `opset={own}`.",
        ) from error
