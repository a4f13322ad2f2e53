"""Execution providers that are packages of their own, which an installed onnxruntime loads.

Such a package is called a plugin. It does not overwrite the files of onnxruntime's packages.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .display import first_line
from .errors import ProviderError

# The plugins of this list need this version of onnxruntime or a newer one. An older version does not report
# which provider an operation was placed on.
OLDEST_ONNXRUNTIME = "1.24.4"

# onnxruntime registers a library once per process. The names of the registered modules are kept here.
_registered: set[str] = set()
_lock = threading.Lock()


class Plugin(NamedTuple):
    """A package that holds an execution provider.

    Attributes:
        module: Import name of the package.
        needs: Clause that says what the machine needs, for the error if the plugin finds no device.
        metadata: Metadata that a device of the plugin must have.
    """

    module: str
    needs: str
    metadata: Mapping[str, str] = MappingProxyType({})

    @property
    def package(self) -> str:
        """Name of the package in the package index."""
        return self.module.replace("_", "-")

    @property
    def is_installed(self) -> bool:
        """Whether the package is installed."""
        from importlib import util  # not at the top: most sessions need no plugin

        return util.find_spec(self.module) is not None


def find_device(ort: Any, name: str, plugin: Plugin) -> Any:
    """Return the first device of a plugin that is loaded; None if there is none.

    Args:
        ort: The module onnxruntime.
        name: Name of the provider in onnxruntime.
        plugin: The package that holds the provider.
    """
    if not hasattr(ort, "get_ep_devices"):
        return None
    for device in ort.get_ep_devices():
        if device.ep_name == name and plugin.metadata.items() <= device.ep_metadata.items():
            return device
    return None


def load(
    ort: Any,
    provider: str,
    name: str,
    plugin: Plugin,
    wheel: str,
    errors: tuple[type[Exception], ...],
) -> None:
    """Load a plugin into onnxruntime. Nothing happens if it is loaded already.

    Args:
        ort: The module onnxruntime.
        provider: Our name of the provider.
        name: Name of the provider in onnxruntime.
        plugin: The package that holds the provider.
        wheel: Name of the installed package of onnxruntime.
        errors: The errors that onnxruntime raises.

    Raises:
        ProviderError: The package is not installed or incomplete, onnxruntime is too old for it, it does not
            load, or it finds no device.
    """
    remedy = f"run: pip install --upgrade '{wheel}>={OLDEST_ONNXRUNTIME}' {plugin.package}"
    if not plugin.is_installed:
        raise ProviderError(provider, f"the package {plugin.package} is not installed", remedy)
    if is_too_old(ort.__version__):
        problem = (
            f"{plugin.package} needs onnxruntime {OLDEST_ONNXRUNTIME} or newer, this is {ort.__version__}"
        )
        raise ProviderError(provider, problem, remedy)
    with _lock:
        if plugin.module not in _registered and find_device(ort, name, plugin) is None:
            _register(ort, provider, plugin, errors)
    if find_device(ort, name, plugin) is None:
        raise ProviderError(provider, f"{plugin.package} finds no device on this machine", plugin.needs)


def is_too_old(version: str) -> bool:
    """Return whether a version of onnxruntime is too old for plugins."""
    return _numbers(version) < _numbers(OLDEST_ONNXRUNTIME)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _register(ort: Any, provider: str, plugin: Plugin, errors: tuple[type[Exception], ...]) -> None:
    try:
        library = importlib.import_module(plugin.module).get_library_path()
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        problem = f"the package {plugin.package} is incomplete ({first_line(error)})"
        remedy = f"run: pip install --force-reinstall --no-deps {plugin.package}"
        raise ProviderError(provider, problem, remedy) from error
    try:
        ort.register_execution_provider_library(f"ganport.{plugin.module}", library)
    except errors as error:
        loader = re.search(r"with error: (.+)", str(error))
        reason = loader[1] if loader else first_line(error)
        raise ProviderError(provider, f"{plugin.package} does not load: {reason}", plugin.needs) from error
    _registered.add(plugin.module)
