"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import GanportError, OutputError, system_reason

_PART = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what was written there takes the name `path` when the block ends well.

    The folder is made where it is missing. When the block raises, or the process dies, `path` is as it was before; after an
    error the temporary file is gone too.

    Raises:
        OutputError: the folder or the file can't be written.
    """
    # The ending stays: some writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.urandom(4).hex()}{_PART}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, GanportError):
            raise  # of the block: some of ours are OSErrors too
        raise OutputError(path, system_reason(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OutputError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path, stem: str = "*") -> None:
    """Remove what killed writers left in this folder of files with such a stem, which may be a glob pattern."""
    for leftover in folder.glob(f".{stem}.{'[0-9a-f]' * 8}{_PART}.*"):
        leftover.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    # Without this a power cut after the rename can leave the new name with no content.
    with path.open("rb+") as file:
        os.fsync(file.fileno())
