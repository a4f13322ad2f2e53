"""Checks of an installation: what works on this machine, and how to fix what does not."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import platform
import sys
from importlib import metadata, util
from typing import Literal, get_args

from .cores import usable_cores
from .errors import GanportError, ProviderError
from .plugins import OLDEST_ONNXRUNTIME, Plugin, is_too_old
from .providers import (
    ONE_NODE,
    PROVIDERS,
    WHEELS,
    ProviderName,
    cuda_version,
    driver_needed,
    installed_wheels,
    open_session,
)

State = Literal["works", "absent", "broken"]

# Packages for training and export. Only their versions are looked up. They are not imported.
_OPTIONAL = ("tensorflow", "keras", "tf2onnx", "onnx", "mlxtend", "matplotlib", "tensorboard")


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: Name of the checked item, such as "numpy" or "provider cuda".
        state: "works", "absent" or "broken". An absent item is a problem only if you need it.
        detail: Fact about the item, such as a version, or the reason why the item does not work.
        remedy: Instruction that fixes the item; empty if there is nothing to do.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return the findings about Python, the packages, the providers and the cores."""
    found = [
        Finding(
            "python", "works", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
        ),
        Finding("cores", "works", f"{usable_cores()} of {os.cpu_count()} are usable"),
        *(Finding(name, "works", metadata.version(name)) for name in ("numpy", "pillow")),
        _examine_wheels(),
    ]
    has_onnxruntime = found[-1].state != "absent"
    found += _examine_plugins()
    if has_onnxruntime:
        found += [_examine_cuda()] if cuda_version() else []
        found += [_examine_provider(provider) for provider in PROVIDERS]
    return found + [_examine_optional(name) for name in _OPTIONAL]


def is_healthy(findings: list[Finding], provider: str | None = None) -> bool:
    """Return True if no finding is "broken" and, if a provider is given, this provider works."""
    works = {finding.name for finding in findings if finding.state == "works"}
    has_provider = provider is None or f"provider {provider}" in works
    return has_provider and all(finding.state != "broken" for finding in findings)


def working_providers() -> list[ProviderName]:
    """Return the providers on which a session starts."""
    return [provider for provider in get_args(ProviderName) if _examine_provider(provider).state == "works"]


def _examine_wheels() -> Finding:
    wheels = installed_wheels()
    if len(wheels) > 1:
        remedy = (
            f"run: pip uninstall -y {' '.join(WHEELS)}; then pip install 'ganport[cpu]', or 'ganport[cuda]'"
        )
        return Finding("onnxruntime", "broken", f"{' and '.join(wheels)} overwrite each other", remedy)
    if not wheels:
        return Finding(
            "onnxruntime", "absent", "not installed", "run: pip install 'ganport[cpu]', or 'ganport[cuda]'"
        )
    return Finding("onnxruntime", "works", wheels[0])


def _examine_plugins() -> list[Finding]:
    """Return a finding about each installed plugin: whether an onnxruntime that loads it is installed."""
    plugins = [provider.plugin for provider in PROVIDERS.values() if provider.plugin is not None]
    return [_examine_plugin(plugin) for plugin in plugins if plugin.is_installed]


def _examine_plugin(plugin: Plugin) -> Finding:
    wheels = installed_wheels()
    name, _, version = (wheels or ["onnxruntime"])[0].partition(" ")
    remedy = f"run: pip install --upgrade '{name}>={OLDEST_ONNXRUNTIME}'"
    needed = f"it needs onnxruntime {OLDEST_ONNXRUNTIME} or newer"
    if not wheels:
        return Finding(plugin.package, "broken", f"{needed}, which is not installed", remedy)
    if is_too_old(version):
        return Finding(plugin.package, "broken", f"{needed}, this is {version}", remedy)
    return Finding(plugin.package, "works", _version(plugin.package))


def _examine_cuda() -> Finding:
    """Return a finding about CUDA: whether the driver supports the version that onnxruntime was built for."""
    built = f"onnxruntime is built for CUDA {cuda_version()}"
    driver = _driver_version()
    if driver is None:
        return Finding(
            "cuda",
            "absent",
            f"{built}, no NVIDIA driver is installed",
            f"CUDA needs an NVIDIA GPU and {driver_needed()}",
        )
    if driver[0] < int(cuda_version().partition(".")[0]):
        remedy = f"install {driver_needed()}, or an onnxruntime-gpu for CUDA {driver[0]}"
        return Finding(
            "cuda", "broken", f"{built}, the driver supports at most {driver[0]}.{driver[1]}", remedy
        )
    return Finding("cuda", "works", f"{built}, the driver supports {driver[0]}.{driver[1]}")


def _driver_version() -> tuple[int, int] | None:
    """Return the newest CUDA version that the driver supports, as (major, minor); None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _examine_provider(provider: str) -> Finding:
    """Return a finding about a provider: whether a session with a model of one node starts on it.

    onnxruntime also lists providers on which no session starts.
    """
    try:
        open_session(ONE_NODE, provider, threads=1)
    except ProviderError as error:
        is_for_this_system = PROVIDERS[provider].system in ("", sys.platform)
        remedy = error.remedy if is_for_this_system else ""
        return Finding(f"provider {provider}", "absent", error.problem, remedy)
    except GanportError as error:
        return Finding(f"provider {provider}", "broken", str(error))
    return Finding(f"provider {provider}", "works", "a session starts on it")


def _examine_optional(name: str) -> Finding:
    if util.find_spec(name) is None:
        return Finding(name, "absent", "not installed")
    return Finding(name, "works", _version(name))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "installed by a package of another name"
