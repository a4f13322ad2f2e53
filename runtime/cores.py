"""The CPU cores that this process may use."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path


def usable_cores() -> int:
    """Return the number of cores that this process may use.

    It is the number of cores in the process's CPU affinity, or the CPU quota of its control group if that is
    smaller. onnxruntime's default is the number of cores of the machine, which can be many times larger than
    the quota of a container.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        # If the control group has no quota, cpu.max holds "max 100000". Then int("max") raises ValueError,
        # and the number of cores is not reduced.
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)
