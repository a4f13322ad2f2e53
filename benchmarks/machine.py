"""The machine on which a benchmark runs, in words for its results."""

from __future__ import annotations

import platform
from pathlib import Path

from ganport.runtime.cores import usable_cores

_CPU_INFO = Path("/proc/cpuinfo")
# Linux' names of vector and matrix instructions, the widest first, and how they are written.
_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2"}


def describe_machine(cpu_info: str | None = None) -> str:
    """Return the model of the CPU, its widest instructions, and the number of usable cores.

    Without /proc/cpuinfo, the model is the machine's architecture, and the instructions are left out.

    Args:
        cpu_info: Content of /proc/cpuinfo; read if it is None.
    """
    if cpu_info is None:
        cpu_info = _CPU_INFO.read_text() if _CPU_INFO.exists() else ""
    fields = [line.partition(":") for line in reversed(cpu_info.splitlines())]
    facts = {name.strip(): value.strip() for name, _, value in fields}  # those of the first core
    flags = facts.get("flags", "").split()
    widest = next((name for flag, name in _INSTRUCTIONS.items() if flag in flags), None)
    model = facts.get("model name") or platform.machine()
    return f"{model}{f' with {widest}' if widest else ''}, {usable_cores()} cores"
