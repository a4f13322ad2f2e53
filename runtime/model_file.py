"""The file, or the bytes, that a model is opened from."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from .display import shortened, system_reason
from .errors import ModelFormatError, ModelNotFoundError, UsageError
from .onnx_file import read_outline
from .pretrained import PRETRAINED


@dataclasses.dataclass(frozen=True)
class ModelFile:
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

    def fingerprint(self) -> str:
        """Return the sha256 of the model in hex.

        If weights lie in separate files, the result is the sha256 of the hashes of all files.

        Raises:
            ModelError: The file has changed since it was opened, or it does not exist any more.
        """
        import hashlib  # this import takes milliseconds, and an image needs no fingerprint

        if isinstance(self.location, bytes):
            return hashlib.sha256(self.location).hexdigest()
        self.check_unchanged()
        hashes = []
        for path in (self.location, *read_outline(self.location).weight_files):
            with path.open("rb") as file:
                hashes.append(hashlib.file_digest(file, "sha256"))
        if len(hashes) == 1:
            return hashes[0].hexdigest()
        return hashlib.sha256(b"".join(each.digest() for each in hashes)).hexdigest()


def find_model_file(model: str | os.PathLike[str] | bytes) -> ModelFile:
    """Return the file of a model.

    Args:
        model: Path of a file, bytes, or the name of a pretrained generator (a key of PRETRAINED). Write
            "./mnist" for a file that is named mnist.

    Raises:
        ModelNotFoundError: There is no such file, or it can't be read.
        ModelFormatError: The file is empty.
        UsageError: The model is neither a path nor bytes.
    """
    if isinstance(model, bytes):
        return ModelFile(model, model, None)
    if not isinstance(model, (str, os.PathLike)):
        raise UsageError(
            f"`model` is {shortened(model)}; it must be a path, bytes, or the name of a pretrained generator."
        )
    path = resolve_model(model)
    return ModelFile(path, path.absolute(), _read_state(path))


def resolve_model(model: str | os.PathLike[str]) -> Path:
    """Return the path of a model that is given as a path, or as the name of a pretrained generator.

    >>> resolve_model("mnist").name, str(resolve_model("./mnist"))
    ('mnist.onnx', 'mnist')
    """
    if isinstance(model, str) and model in PRETRAINED:
        return PRETRAINED[model]
    return Path(model)


def _read_state(path: Path) -> tuple[int, int, int]:
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

    return f"if the folder is a run, export its generator with: ganport export {shlex.quote(str(folder))}"
