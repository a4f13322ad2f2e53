"""Writing files whole or not at all: an interrupted write never leaves a half-written file at the path."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .display import system_reason
from .errors import GanportError, OutputError

_PART = ".part"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path. When the block ends, the file that was written there replaces `path`.

    The temporary path is in the folder of `path`. A missing folder is created. If the block raises or the
    process dies, the file at `path` stays as it was. If the block raises, the temporary file is removed.

    Raises:
        OutputError: The folder or the file can't be written.
    """
    # The temporary file has the same ending as `path`, because some writers choose the format by the ending.
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
            # The block raised an error of ganport that is also an OSError. The error is passed on.
            raise
        raise OutputError(path, system_reason(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises OutputError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path, stem: str = "*", *, older_than_s: float = 0) -> None:
    """Remove the temporary files that killed writers left in a folder.

    Args:
        folder: Folder to clean.
        stem: Stem of the final files' names, or a glob pattern for it.
        older_than_s: Seconds since a file was last written, if another process may be writing now.
    """
    newest = time.time() - older_than_s
    for leftover in folder.glob(f".{stem}.{'[0-9a-f]' * 8}{_PART}.*"):
        with contextlib.suppress(OSError):
            if leftover.stat().st_mtime <= newest:
                leftover.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    # The content must reach the disk before the file is renamed. Otherwise a power cut after the rename can
    # leave an empty file at the final path.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def cache_folder() -> Path | None:
    """Return ganport's folder in the user's cache; None if the user has no home folder.

    It is $XDG_CACHE_HOME/ganport, or ~/.cache/ganport.
    """
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen and Path(chosen).is_absolute():  # relative paths are not valid, by the specification
        return Path(chosen) / "ganport"
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE")
    return Path(home) / ".cache" / "ganport" if home else None
