"""The lock of a run folder, so that only one process at a time trains the run."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganport.runtime.display import system_reason

from .errors import RunInUseError

if sys.platform == "win32":
    import msvcrt as _system
else:
    import fcntl as _system

_LOCK_FILE = ".lock"  # name of the file that is locked on Windows, where a folder can't be locked


@contextlib.contextmanager
def lock_run(folder: Path, system: Any = _system) -> Iterator[str]:
    """Lock a run folder for this process.

    Without a lock, two processes that train the same run would write to the same history, and remove each
    other's files. The operating system removes the lock when the process ends, even if it is killed.

    Args:
        folder: An existing run folder.
        system: Python's module for file locks: fcntl, or msvcrt on Windows.

    Yields:
        The reason why the folder is not locked, if the file system does not support locks; else "".

    Raises:
        RunInUseError: Another process holds the lock.
    """
    lock = _lock_by_fcntl if hasattr(system, "flock") else _lock_by_msvcrt
    with lock(folder, system) as problem:
        yield problem


@contextlib.contextmanager
def _lock_by_fcntl(folder: Path, fcntl: Any) -> Iterator[str]:
    descriptor = os.open(folder, os.O_RDONLY)
    problem = ""
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunInUseError(folder) from None
        except OSError as error:
            problem = _no_locks(folder, error)
        yield problem
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lock_by_msvcrt(folder: Path, msvcrt: Any) -> Iterator[str]:
    descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT)
    problem = ""
    try:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:  # another process holds the lock
            raise RunInUseError(folder) from None
        except OSError as error:
            problem = _no_locks(folder, error)
        yield problem
    finally:
        os.close(descriptor)  # closing the file also removes its lock


def _no_locks(folder: Path, error: OSError) -> str:
    reason = system_reason(error)
    return f"{folder} can't be locked ({reason}); make sure that no other process trains this run"
