"""Locks, by which processes notice each other. The operating system removes the locks of a killed process."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .display import printable, system_reason
from .errors import OutputError

if sys.platform == "win32":
    import msvcrt as _system
else:
    import fcntl as _system

system_locks: Any = _system  # Python's module for file locks
_LOCKED_BYTE = 2**30  # Windows locks a range of bytes, which can't be read. This one is behind the content.
_LONGEST_HOLDER = 300  # bytes that are read of a lock file
_CLOSES_FIRST = sys.platform == "win32"  # Windows removes no file that is open


def try_lock(descriptor: int, system: Any = system_locks) -> bool:
    """Lock an open file for this process, and return whether that succeeded. To close the file unlocks it.

    The result is False if another process, or another descriptor of this process, has locked the file.

    Args:
        descriptor: File descriptor; with fcntl also that of a folder.
        system: Python's module for file locks: fcntl, or msvcrt on Windows.

    Raises:
        OSError: The file system does not support locks.
    """
    try:
        if hasattr(system, "flock"):
            system.flock(descriptor, system.LOCK_EX | system.LOCK_NB)
        else:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            system.locking(descriptor, system.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True


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
    try:
        yield
    finally:
        if _CLOSES_FIRST:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            lock.unlink()
        if not _CLOSES_FIRST:
            os.close(descriptor)


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
