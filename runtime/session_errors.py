"""The meaning of onnxruntime's errors for the user who opens a model, and what to do about each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_INSTALL = "install a newer onnxruntime, or export the model"
# What onnxruntime, CUDA, C++ and Python say if there is too little memory, and what ganport says then.
_OUT_OF_MEMORY = (
    r"bad_alloc|bad allocation|[Ff]ailed to allocate|MemoryError|[Cc]annot allocate memory|not enough memory"
    r"|out of memory|ALLOC_FAILED|smaller than requested bytes"
)
_ONLY_ONNX = "export the model with ONNX's own operations only"


class Explanation(NamedTuple):
    """What an error of onnxruntime means.

    Attributes:
        problem: Clause about the model.
        remedy: Clause that says what to do.
        is_final: Whether the model runs on no provider. If not, another provider may be able to run it.
    """

    problem: str
    remedy: str
    is_final: bool = True


def is_out_of_memory(message: str) -> bool:
    """Return whether an error was raised because there was too little memory."""
    return re.search(_OUT_OF_MEMORY, message) is not None


def explain(message: str, version: str) -> Explanation | None:
    """Return what an error means that onnxruntime raised when it opened a model; None if it is not known.

    Args:
        message: Whole text of the error.
        version: Version of onnxruntime.
    """
    for pattern, explained in _EXPLAINED:
        if found := re.search(pattern, message, re.DOTALL):
            return explained(found, f"onnxruntime {version}")
    return None


def _newer_ir(found: re.Match[str], runtime: str) -> Explanation:
    return Explanation(
        f"it has version {found[1]} of the ONNX format, and {runtime} reads up to version {found[2]}",
        f"{_INSTALL} with an older version of the onnx package",
    )


def _newer_opset(found: re.Match[str], runtime: str) -> Explanation:
    return Explanation(
        f"it uses opset {found[1]} of {found[2]}, and {runtime} supports up to opset {found[3]}",
        f"{_INSTALL} with opset {found[3]}",
    )


def _newer_ort(found: re.Match[str], runtime: str) -> Explanation:
    return Explanation(
        f"it has version {found[1]} of onnxruntime's own format, which {runtime} does not read",
        "install the version of onnxruntime that wrote it, or use the .onnx file that it was made of",
    )


def _unknown_operation(found: re.Match[str], runtime: str) -> Explanation:
    return Explanation(
        f"it has the operation {found[1]}, which {runtime} does not know in opset {found[2]}",
        f"{_INSTALL} with the opset that it was written for",
    )


def _unknown_domain(found: re.Match[str], runtime: str) -> Explanation:
    operation, domain = found["operation"], found["domain"]
    return Explanation(
        f"it has the operation {operation} of the domain {domain!r}, which {runtime} does not know",
        f"{_INSTALL} for onnxruntime again" if domain == "com.microsoft" else _ONLY_ONNX,
    )


def _no_implementation(found: re.Match[str], runtime: str) -> Explanation:
    operation = f"{found[1]} (opset {found[2]})"
    return Explanation(
        f"{runtime} does not implement its operation {operation}, or not for the type of its inputs",
        "export the model in float32, and with a newer opset",
        is_final=False,
    )


def _no_memory(found: re.Match[str], runtime: str) -> Explanation:
    return Explanation(
        "there is not enough memory to open it",
        "close other programs, or use a machine with more memory",
        is_final=False,
    )


# Pairs of a pattern in the text of an error, and the function that explains it.
_EXPLAINED: tuple[tuple[str, Callable[[re.Match[str], str], Explanation]], ...] = (
    (r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", _newer_ir),
    (r"Opset (\d+) is under development.* for domain (\S+) is till opset (\d+)", _newer_opset),
    (r"The ORT format model version \[(\w+)\] is not supported", _newer_ort),
    (r"No Op registered for (\w+) with domain_version of (\d+)", _unknown_operation),
    (r"(?P<domain>[^\s:]+):(?P<operation>\w+)\(-?\d+\) is not a registered function/op", _unknown_domain),
    (r'\("[^"]*", (?P<operation>\w+), "(?P<domain>[^"]*)".*No opset import for domain', _unknown_domain),
    (r"Could not find an implementation for (\w+)\((\d+)\) node", _no_implementation),
    (_OUT_OF_MEMORY, _no_memory),
)
