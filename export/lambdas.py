"""Lambda layers of Keras: the names that their code uses, and the version of Python that it was made by."""

from __future__ import annotations

import base64
import binascii
import contextlib
import marshal
import math
import opcode
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .errors import GeneratorError
from .keras_config import KerasConfig, is_lambda, parts_of

_WORD = 2  # bytes of a word of CPython's code
_PARTS = ("function", "_output_shape", "mask")  # attributes of a Lambda layer that may be functions


def check_python_version(source: object, config: KerasConfig) -> None:
    """Raise GeneratorError if the code of a Lambda layer was made by another version of Python.

    A file holds this code as bytes for Python's virtual machine. They differ from version to version. Wrong
    bytes can crash the process, so they are checked before they run.

    Args:
        source: Path of the file, for error messages.
        config: Configuration in the file.
    """
    for text in _codes(config):
        if not _is_of_this_python(text):
            raise GeneratorError(
                source,
                "a Lambda layer in it holds code of another version of Python than this one, "
                f"{sys.version_info.major}.{sys.version_info.minor}, which can't be run; export it with the "
                "version of Python that saved it. Or call model.export(folder) there, and export the "
                "SavedModel in that folder.",
            )


def _codes(config: KerasConfig) -> Iterator[str]:
    """Iterate over the code of all Lambda layers, in base64."""
    for part in filter(is_lambda, parts_of(config.model)):
        inner = part.get("config", {})
        if part["class_name"] == "__lambda__":
            yield inner["code"]
            continue
        for name in ("function", "output_shape", "mask"):
            value = inner.get(name)
            # Keras 2 stores a function as a list: code, defaults and closure. A shape is a list of numbers.
            if isinstance(value, list) and value and isinstance(value[0], str):
                yield value[0]


def _is_of_this_python(text: object) -> bool:
    try:
        data = base64.b64decode(str(text))
        code = marshal.loads(data)  # noqa: S302  # the code is read here, and not yet run
    except (ValueError, EOFError, TypeError, SystemError, binascii.Error):
        return False
    return isinstance(code, types.CodeType) and _is_consistent(code, data)


def _is_consistent(code: types.CodeType, data: bytes) -> bool:
    """Return whether code consists of instructions of this version of CPython.

    Since CPython 3.11, code contains RESUME, and an instruction is followed by a number of empty words. The
    number of RESUME and the numbers of empty words differ from version to version.

    Args:
        code: The code, as this version of CPython reads it.
        data: Bytes that it was read from. CPython 3.11 itself writes empty words over the words that it
            expects to be empty, so the code may differ from the bytes.
    """
    words = code.co_code[::_WORD]
    index, names = 0, set()
    while index < len(words):
        name = opcode.opname[words[index]]
        names.add(name)
        empty = _empty_words(words[index], name)
        if name.startswith(("<", "CACHE")) or any(words[index + 1 : index + 1 + empty]):
            return False
        index += 1 + empty
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    is_complete = index == len(words) and "RESUME" in names and code.co_code in data
    return is_complete and all(_is_consistent(each, data) for each in inner)


def _empty_words(number: int, name: str) -> int:
    """Return the number of empty words after an instruction."""
    counts = getattr(opcode, "_inline_cache_entries")  # noqa: B009  # known to CPython's own modules only
    return counts.get(name, 0) if isinstance(counts, dict) else counts[number]


@contextlib.contextmanager
def lambdas_with_names(framework: Any, own: Mapping[str, Any]) -> Iterator[None]:
    """Let the Lambda layers that are loaded in the `with` block find the usual names of modules.

    The code of a Lambda layer looks up names such as `tf` in the module of Keras that loads it. The program
    that saved the layer imported them, and the file does not say so.

    Args:
        framework: The module keras or tf_keras.
        own: Names that the user's file of custom objects defines.
    """
    names = {**_usual_names(framework), **own}
    layer_class = framework.layers.Lambda
    original = layer_class.__dict__["from_config"]

    def from_config(cls: type, config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        layer = original.__get__(None, cls)(_with_tuples(config), *args, **kwargs)
        for part in _PARTS:
            function = getattr(layer, part, None)
            if isinstance(function, types.FunctionType):
                setattr(layer, part, _with_names(function, names))
        return layer

    layer_class.from_config = classmethod(from_config)
    try:
        yield
    finally:
        layer_class.from_config = original


def _with_tuples(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a Lambda layer with the defaults of its arguments as tuples.

    Keras 3 reads them as lists, which Python does not take.
    """
    changed = dict(config)
    for name, value in config.items():
        if isinstance(value, dict) and is_lambda(value) and isinstance(value["config"]["defaults"], list):
            inner = value["config"]
            changed[name] = value | {"config": inner | {"defaults": tuple(inner["defaults"])}}
    return changed


def _usual_names(framework: Any) -> dict[str, Any]:
    # Keras 3 keeps the functions of the former module `keras.backend` for tf.keras alone.
    backend = tf.keras.backend if framework is keras else framework.backend
    return {
        "tf": tf,
        "tensorflow": tf,
        "keras": framework,
        "K": backend,
        "backend": backend,
        "ops": keras.ops,
        "layers": framework.layers,
        "np": np,
        "numpy": np,
        "math": math,
    }


def _with_names(function: types.FunctionType, names: Mapping[str, Any]) -> types.FunctionType:
    """Return a function with more global names. A function of a module keeps its own names."""
    if function.__name__ != "<lambda>":
        return function
    return types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
