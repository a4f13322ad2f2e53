"""Locks, by which processes notice each other. The operating system removes the locks of a killed process."""

from __future__ import annotations

import os
import sys
from typing import Any

if sys.platform == "win32":
    import msvcrt as _system
else:
    import fcntl as _system

system_locks: Any = _system  # Python's module for file locks
_LOCKED_BYTE = 2**30  # Windows locks a range of bytes, which can't be read. This one is behind the content.


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
