"""What is installed here, what works, and what to do about the rest."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import platform
from importlib import metadata, util
from typing import Literal

from .errors import GanportError, ProviderError
from .providers import ONE_NODE, PROVIDERS, cuda_version, driver_needed, installed_wheels, open_session, usable_cores

State = Literal["works", "absent", "broken"]

# Of the parts that train and export; they are looked for, not imported.
_OPTIONAL = ("tensorflow", "keras", "tf2onnx", "onnx", "mlxtend", "matplotlib", "tensorboard")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        state: "works"; "absent", which is no fault unless it is asked for; "broken".
        detail: version, number, or reason.
        remedy: what to do, where something can be done.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return what is found about Python, the packages, the providers, and the cores."""
    found = [
        Finding("python", "works", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("cores", "works", f"{usable_cores()} of {os.cpu_count()} may be used"),
        *(Finding(name, "works", metadata.version(name)) for name in ("numpy", "pillow")),
        _examine_wheels(),
    ]
    if found[-1].state != "absent":
        found += [_examine_cuda()] if cuda_version() else []
        found += [_examine_provider(provider) for provider in PROVIDERS]
    return found + [_examine_optional(name) for name in _OPTIONAL]


def working_providers() -> list[str]:
    """Return the providers that a session starts on here."""
    return [provider for provider in PROVIDERS if _examine_provider(provider).state == "works"]


def _examine_wheels() -> Finding:
    wheels = installed_wheels()
    if len(wheels) > 1:
        remedy = "run: pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'ganport[cpu]', or 'ganport[cuda]'"
        return Finding("onnxruntime", "broken", f"{' and '.join(wheels)} overwrite each other", remedy)
    if not wheels:
        return Finding("onnxruntime", "absent", "not installed", "run: pip install 'ganport[cpu]', or 'ganport[cuda]'")
    return Finding("onnxruntime", "works", wheels[0])


def _examine_cuda() -> Finding:
    """Return how the CUDA that onnxruntime was built for goes with NVIDIA's driver."""
    built = f"onnxruntime is built for CUDA {cuda_version()}"
    driver = _driver_version()
    if driver is None:
        return Finding("cuda", "absent", f"{built}, there is no NVIDIA driver", f"it takes a GPU and {driver_needed()}")
    if driver[0] < int(cuda_version().partition(".")[0]):
        remedy = f"install {driver_needed()}, or an onnxruntime-gpu for CUDA {driver[0]}"
        return Finding("cuda", "broken", f"{built}, the driver takes {driver[0]}.{driver[1]} at most", remedy)
    return Finding("cuda", "works", f"{built}, the driver takes {driver[0]}.{driver[1]}")


def _driver_version() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver takes, as (major, minor)."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _examine_provider(provider: str) -> Finding:
    """Return whether a session of one node starts, which is another question than what onnxruntime lists."""
    try:
        open_session(ONE_NODE, provider, threads=1)
    except ProviderError as error:
        return Finding(f"provider {provider}", "absent", error.problem, error.remedy)
    except GanportError as error:
        return Finding(f"provider {provider}", "broken", str(error))
    return Finding(f"provider {provider}", "works", "a session starts on it")


def _examine_optional(name: str) -> Finding:
    if util.find_spec(name) is None:
        return Finding(name, "absent", "not installed")
    try:
        return Finding(name, "works", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "works", "there, by a package of another name")
