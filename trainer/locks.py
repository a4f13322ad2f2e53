"""The lock of a run folder, so that only one process at a time trains the run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganport.runtime.display import system_reason
from ganport.runtime.locks import system_locks, try_lock

from .errors import RunInUseError

_LOCK_FILE = ".lock"  # name of the file that is locked on Windows, where a folder can't be locked


@contextlib.contextmanager
def lock_run(folder: Path, system: Any = system_locks) -> Iterator[str]:
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
    if hasattr(system, "flock"):
        descriptor = os.open(folder, os.O_RDONLY)
    else:
        descriptor = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        problem = ""
        try:
            if not try_lock(descriptor, system):
                raise RunInUseError(folder)
        except OSError as error:
            reason = system_reason(error)
            remedy = "make sure that no other process trains this run"
            problem = f"{folder} can't be locked ({reason}); {remedy}"
        yield problem
    finally:
        os.close(descriptor)
