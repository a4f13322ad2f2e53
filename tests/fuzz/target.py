"""Target: a part of ganport that reads input from elsewhere, with real inputs to start from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from ganport.runtime.errors import GanportError

from .mutations import Mutate, mutate_bytes


class UnexpectedError(Exception):
    """The target did something that is never right, such as printing a traceback."""


class Target:
    """A part of ganport that reads input.

    Each input ends in a result, or in one of the errors in `expected`. Everything else is a finding.

    Attributes:
        expected: Errors that are documented for a bad input.
        mutate: Function that changes an input; see `mutations`.
        is_traced: Whether an input that reaches new lines is kept; or else only one with a new result.
        folder: Empty folder for the files of this target.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (GanportError,)
    mutate: ClassVar[Mutate] = staticmethod(mutate_bytes)
    is_traced: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def examples(self) -> Iterable[bytes]:
        """Return real inputs, most of which `run` accepts."""
        raise NotImplementedError

    def run(self, content: bytes) -> str | None:
        """Read one input. A new text as the result counts like a new line, and so does that of an error."""
        raise NotImplementedError


# Names of the targets, and where they are. A target's module is imported only in its own process.
TARGETS = {
    "contract": "tests.fuzz.models:ContractTarget",
    "onnx": "tests.fuzz.models:OnnxTarget",
    "ort": "tests.fuzz.models:OrtTarget",
    "run-folder": "tests.fuzz.runs:RunFolderTarget",
    "checkpoint": "tests.fuzz.runs:CheckpointTarget",
    "image": "tests.fuzz.images:ImageTarget",
    "npz": "tests.fuzz.images:NpzTarget",
    "idx": "tests.fuzz.images:IdxTarget",
    "text": "tests.fuzz.texts:TextTarget",
    "command": "tests.fuzz.commands:CommandTarget",
    "http": "tests.fuzz.service:HttpTarget",
    "javascript": "tests.fuzz.browser:JavaScriptTarget",
}
