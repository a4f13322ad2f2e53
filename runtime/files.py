"""Writing files whole or not at all: an interrupted write never leaves a half-written file at the path."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .display import printable, system_reason
from .errors import GanportError, OutputError
from .locks import try_lock

_PART = ".part"
_LONGEST_PAUSE_S = 3600  # without locks, a file that was not written for so long is that of a killed process

_LONGEST_HOLDER = 300  # bytes that are read of a lock file

_unfinished: set[Path] = set()  # temporary files that this process is writing, and its lock files


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file. When the block ends, what was written there replaces `path`.

    The temporary file is in the folder of `path`. A missing folder is created. If the block raises or the
    process dies, the file at `path` stays as it was. If the block raises, the temporary file is removed.

    Raises:
        OutputError: The folder or the file can't be written.
    """
    part = _Part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        part.create()
        yield part.path
        part.replace(path)
    except OSError as error:
        if isinstance(error, GanportError):
            # The block raised an error of ganport that is also an OSError. The error is passed on.
            raise
        raise OutputError(path, system_reason(error)) from error
    finally:
        part.remove()


class _Part:
    """A temporary file that will replace the file at a path.

    The file is locked while it is written. So other processes can tell it from the temporary file of a
    process that was killed; see `remove_leftovers`.
    """

    def __init__(self, final: Path) -> None:
        # It has the same ending as the final file, because some writers choose the format by the ending.
        self.path = final.with_name(f".{final.stem}.{os.urandom(4).hex()}{_PART}{final.suffix}")
        self._descriptor: int | None = None
        _unfinished.add(self.path)

    def create(self) -> None:
        """Create and lock an empty file."""
        while self._descriptor is None:
            self._descriptor, is_locked = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
            with contextlib.suppress(OSError):  # the file system does not support locks
                is_locked = try_lock(self._descriptor)
            # Another process that removes leftovers may have found the file before it was locked.
            if not is_locked or not self.path.exists():
                self._close()
                self.path.unlink(missing_ok=True)

    def replace(self, path: Path) -> None:
        """Move the file to its final path."""
        # The content must reach the disk before the file is renamed. Otherwise a power cut after the rename
        # can leave an empty file at the final path.
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        if sys.platform == "win32":  # Windows does not move an open file
            self._close()
        self.path.replace(path)

    def remove(self) -> None:
        """Remove the file if it still exists, and its lock."""
        if sys.platform == "win32":
            self._close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._close()
        _unfinished.discard(self.path)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def remove_unfinished() -> None:
    """Remove the temporary files and the lock files of this process, which must end after that."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises OutputError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path, stem: str = "*") -> None:
    """Remove the temporary files that killed writers left in a folder. Files that are being written stay.

    Args:
        folder: Folder to clean.
        stem: Stem of the final files' names, or a glob pattern for it.
    """
    for leftover in folder.glob(f".{stem}.{'[0-9a-f]' * 8}{_PART}.*"):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(leftover)


def _remove_if_abandoned(part: Path) -> None:
    with part.open("rb+") as file:
        try:
            is_abandoned = try_lock(file.fileno())
        except OSError:  # the file system does not support locks
            is_abandoned = time.time() - part.stat().st_mtime > _LONGEST_PAUSE_S
        if is_abandoned and sys.platform != "win32":  # the lock keeps its writer from using it
            part.unlink()
    if is_abandoned:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_output(path: Path) -> Iterator[None]:
    """Lock a result in the `with` block, so that only one process at a time writes it.

    The lock is a hidden file beside the result, which is removed at the end of the block. On a file system
    without locks, other processes are not noticed.

    Raises:
        OutputError: Another process writes the result, or the folder is not writable.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(lock, path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(path, system_reason(error)) from error
    _unfinished.add(lock)
    try:
        yield
    finally:
        if sys.platform == "win32":  # Windows removes no open file
            os.close(descriptor)
        with contextlib.suppress(OSError):
            lock.unlink()
        if sys.platform != "win32":
            os.close(descriptor)
        _unfinished.discard(lock)


def _acquire(lock: Path, path: Path) -> int:
    """Return the descriptor of the locked file `lock`, in which other processes find who holds it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            is_locked = try_lock(descriptor)
        except OSError:
            return descriptor
        if not is_locked:
            holder = os.read(descriptor, _LONGEST_HOLDER).decode(errors="replace")
            os.close(descriptor)
            remedy = "wait until that process ends, or choose another `out`."
            raise OutputError(path, f"{printable(holder) or 'another process'} is writing it", remedy)
        if _is_at(descriptor, lock):
            import platform  # not at the top, because only shards need it

            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
            return descriptor
        os.close(descriptor)  # its former holder has removed the file, so another process may lock a new one


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the file at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Return a path whose ~ or ~user at the beginning is replaced by a home folder, if the user is known."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises an error for an unknown user)


def cache_folder() -> Path | None:
    """Return ganport's folder in the user's cache; None if the user has no home folder.

    It is $XDG_CACHE_HOME/ganport, or ~/.cache/ganport.
    """
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen and Path(chosen).is_absolute():  # relative paths are not valid, by the specification
        return Path(chosen) / "ganport"
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE")
    return Path(home) / ".cache" / "ganport" if home else None
