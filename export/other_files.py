"""Files that are neither of Keras nor of TensorFlow's SavedModels, named for what they are."""

from __future__ import annotations

import mmap
from pathlib import Path

from ganport.runtime.display import system_reason
from ganport.runtime.errors import ModelError
from ganport.runtime.file_kinds import recognise
from ganport.runtime.onnx_file import read_outline

from .errors import GeneratorError

_EXPECTED = (
    "give a run folder, a .keras, .h5 or .onnx file, a SavedModel folder, or weights with their `network`"
)


def other_kind(path: Path) -> GeneratorError:
    """Return the error that says what a file is that can't be loaded, and what to do with it.

    Args:
        path: Existing file.
    """
    try:
        if path.stat().st_size == 0:
            return GeneratorError(path, f"the file is empty; {_EXPECTED}.")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = memoryview(content)
            try:
                kind = recognise(start)
            finally:
                start.release()
    except OSError as error:
        return GeneratorError(path, f"it can't be read ({system_reason(error)}).")
    if _is_onnx(path):
        return GeneratorError(path, "it is an ONNX file; give it a name that ends in .onnx.")
    if kind is not None:
        return GeneratorError(path, f"it is {kind.name}; {kind.remedy_for(path)}.")
    return GeneratorError(path, f"it is of a type that is not known, or damaged; {_EXPECTED}.")


def _is_onnx(path: Path) -> bool:
    try:
        read_outline(path)
    except ModelError:
        return False
    return True
