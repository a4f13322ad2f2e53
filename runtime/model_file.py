"""The file, or the bytes, that a model is opened from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .display import first_line, shortened, system_reason
from .errors import ModelFormatError, ModelNotFoundError, UsageError
from .onnx_file import read_outline
from .pretrained import PRETRAINED, read_from_archive

_TAKEN = (
    "a path, the name of a pretrained generator, bytes, a file that is open in binary mode, or an "
    "onnx.ModelProto"
)


class ModelFile(NamedTuple):
    """A model file, or its bytes.

    Attributes:
        source: Path as the caller gave it, or the bytes.
        location: Absolute path, which stays valid if the process changes its working directory; or the bytes.
        state: Inode, size and modification time of the file when it was found, to detect a replacement. None
            for bytes.
    """

    source: Path | bytes
    location: Path | bytes
    state: tuple[int, int, int] | None

    @property
    def size(self) -> int:
        """Size in bytes, without weights that lie in separate files."""
        return len(self.location) if isinstance(self.location, bytes) else (self.state or (0, 0, 0))[1]

    def check_unchanged(self) -> None:
        """Raise ModelFormatError if the file has changed, ModelNotFoundError if it no longer exists."""
        if isinstance(self.location, Path) and _read_state(self.location) != self.state:
            raise ModelFormatError(self.location, "it has changed since it was opened")

    def read(self) -> bytes:
        """Return the bytes of the file, without weights that lie in separate files."""
        return self.location if isinstance(self.location, bytes) else self.location.read_bytes()

    def fingerprint(self, budget: float = 1.0) -> str:
        """Return the sha256 of the model in hex.

        If weights lie in separate files, the result is the sha256 of the hashes of all files.

        Args:
            budget: Factor of the limits within which the file is read; see `read_outline`.

        Raises:
            ModelError: The file has changed since it was opened, or it does not exist any more.
        """
        import hashlib  # this import takes milliseconds, and an image needs no fingerprint

        if isinstance(self.location, bytes):
            return hashlib.sha256(self.location).hexdigest()
        self.check_unchanged()
        hashes = []
        for path in (self.location, *read_outline(self.location, budget=budget).weight_files):
            with path.open("rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256"))
        if len(hashes) == 1:
            return hashes[0].hexdigest()
        return hashlib.sha256(b"".join(each.digest() for each in hashes)).hexdigest()


class BinaryFile(Protocol):
    """An open file whose method `read` returns bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, all of them by default."""
        ...


class ModelProto(Protocol):
    """A message of Protocol Buffers, such as `onnx.ModelProto`."""

    def SerializeToString(self) -> bytes:  # noqa: N802  # the name is that of Protocol Buffers
        """Return the bytes of the message."""
        ...


# What a model can be opened from.
ModelSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | ModelProto


def find_model_file(model: ModelSource) -> ModelFile:
    """Return the file of a model.

    Args:
        model: Path of a file, in which "~" stands for the home folder. Or the name of a pretrained generator
            (a key of PRETRAINED); write "./mnist" for a file that is named mnist. Or the content: bytes, a
            file that is open in binary mode and is read from its start, or an `onnx.ModelProto`.

    Raises:
        ModelNotFoundError: There is no such file, or it can't be read.
        ModelFormatError: The file is empty.
        UsageError: The model is of another type, or an open file that can't be read.
    """
    if isinstance(model, (str, os.PathLike)):
        path = resolve_model(model)
        packed = read_from_archive(path)
        if packed is None:
            return ModelFile(path, path.absolute(), _read_state(path))
        return ModelFile(packed, packed, None)
    content = _read_content(model)
    if not content:
        raise ModelFormatError(content, "it is empty")
    return ModelFile(content, content, None)


def resolve_model(model: str | os.PathLike[str]) -> Path:
    """Return the path of a model that is given as a path, or as the name of a pretrained generator.

    >>> resolve_model("mnist").name, str(resolve_model("./mnist"))
    ('mnist.onnx', 'mnist')
    """
    if isinstance(model, str) and model in PRETRAINED:
        return PRETRAINED[model]
    path = os.fspath(model)
    if not isinstance(path, str):
        raise UsageError(f"`model` is a path of bytes, {shortened(path)}; use `os.fsdecode`.")
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser would expand "./~x" as well


def _read_content(model: bytes | bytearray | memoryview | BinaryFile | ModelProto) -> bytes:
    """Return the bytes of a model that is not given by its path."""
    content: object = None
    if isinstance(model, (bytes, bytearray, memoryview)):
        content = bytes(model)
    elif serialize := getattr(model, "SerializeToString", None):
        content = serialize()
    elif hasattr(model, "read"):
        content = _read_whole(model)
    if not isinstance(content, bytes):
        raise UsageError(f"`model` is {shortened(model)}; it must be {_TAKEN}.")
    return content


def _read_whole(file: Any) -> object:
    """Return the content of an open file."""
    try:
        # After a model was written to a file in memory, the position is at the end of the model.
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        return file.read()
    except (OSError, ValueError) as error:  # a closed file raises ValueError
        raise UsageError(f"`model` is a file that can't be read: {first_line(error)}.") from error


def _read_state(path: Path) -> tuple[int, int, int]:
    if "\0" in str(path):
        raise ModelNotFoundError(path, "a path has no null characters")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelFormatError(path, "the file is empty")
            facts = os.fstat(file.fileno())
        str(path).encode()
    except UnicodeEncodeError:
        raise ModelNotFoundError(path, "onnxruntime opens only files whose names are UTF-8") from None
    except FileNotFoundError:
        pretrained = f", or name a pretrained generator: {', '.join(PRETRAINED)}" if PRETRAINED else ""
        raise ModelNotFoundError(path, remedy=f"create one with: ganport export{pretrained}") from None
    except IsADirectoryError:
        raise ModelNotFoundError(path, "it is a folder", _remedy_for_folder(path)) from None
    except OSError as error:
        raise ModelNotFoundError(path, system_reason(error)) from error
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _remedy_for_folder(folder: Path) -> str:
    for inside in (folder / "generator.onnx", folder / "1" / "model.onnx"):
        if inside.is_file():
            return f"the model in this folder is {inside}"
    import shlex

    return (
        "if the folder is a run or a SavedModel, export its generator with: ganport export "
        f"{shlex.quote(str(folder))}"
    )
