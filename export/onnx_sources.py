"""Third-party generators in ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnx.version_converter
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ganport.runtime.adapter import Arrays
from ganport.runtime.description import Description
from ganport.runtime.display import first_line
from ganport.runtime.errors import NotAGeneratorError
from ganport.runtime.onnx_file import read_outline
from ganport.runtime.providers import open_session
from ganport.runtime.third_party import describe

from .described import DescribedGenerator
from .errors import GeneratorError
from .precision import has_float16


def load_onnx(path: Path, description: Description) -> DescribedGenerator:
    """Return the generator in an ONNX file.

    Args:
        path: The file. Its weights may lie in other files beside it.
        description: What the user says about the generator.

    Raises:
        GeneratorError: The file was written by ganport, or it holds no generator, or a fact is not known.
        ModelError: The file is damaged or harmful.
    """
    outline = read_outline(path)
    session = open_session(path, "cpu", threads=2)
    if "ganport" in session.get_modelmeta().custom_metadata_map:
        raise GeneratorError(
            path,
            "it is an export of ganport already; to export it with other options, export its source again.",
        )
    try:
        described = describe(session, outline, path, description)
    except NotAGeneratorError as error:
        raise GeneratorError(path, f"{error.problem}.") from error
    model = _load(path)

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
        is_half=has_float16(model),
    )


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise GeneratorError(path, f"onnx can't read it ({first_line(error)}).") from error


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
