"""Connections to a Ray cluster, which is at a given address or is started on this machine."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

from ganport.runtime.display import first_line, system_reason
from ganport.runtime.errors import GanportError, MissingPackageError

from .errors import ClusterError

_CONNECT_TIMEOUT_S = 5.0
_GPU_PROVIDERS = ("cuda", "tensorrt", "nvrtx")
_SEE_STATUS = "see: ray status"


def import_ray() -> Any:
    """Import and return the package `ray`. Raises MissingPackageError if Ray is not installed."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError("ray", "A Ray cluster", "ray") from error
    return ray


@contextlib.contextmanager
def connected(address: str | None, remedy: str = _SEE_STATUS) -> Iterator[None]:
    """Connect this process to a cluster for the `with` block.

    If the process is already connected, that connection is used, and is not closed after the block.

    Args:
        address: Address of the cluster, as `ray.init` takes it. None starts a cluster on this machine, and
            stops the cluster at the end of the block.
        remedy: Advice for the user. The error message contains it if Ray fails within the block.

    Raises:
        ClusterError: There is no cluster at the address, or Ray failed within the block.
    """
    ray = import_ray()
    was_connected = ray.is_initialized()
    try:
        _check_address(address)
        if not was_connected:
            # "local" starts a cluster. With None Ray would connect to any cluster that it finds on this
            # machine.
            own = {"include_dashboard": False} if address is None else {}
            ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **own)
        yield
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if isinstance(error, GanportError):
            raise
        raise ClusterError(address, first_line(error), remedy) from error
    finally:
        if not was_connected:
            ray.shutdown()


def _check_address(address: str | None) -> None:
    """Raise ClusterError if nothing listens at HOST:PORT. Ray itself would fail only after minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal() or "://" in host:
        return  # an address of a different form, such as "auto", is left to Ray
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else "the port is out of range"
        raise ClusterError(address, reason, "choose another `address`") from error


def count_workers(provider: str, address: str | None) -> tuple[int, int]:
    """Return the number of one-core workers that fit on the cluster, and the number of GPUs of each worker.

    Args:
        provider: Execution provider of the model.
        address: Address of the cluster, for the error message.

    Raises:
        ClusterError: The provider needs a GPU, and the cluster has none.
    """
    resources = import_ray().cluster_resources()
    cores = max(1, int(resources.get("CPU", 1)))
    if provider not in _GPU_PROVIDERS:
        return cores, 0
    gpus = int(resources.get("GPU", 0))
    if not gpus:
        raise ClusterError(
            address, f"the provider {provider} needs a GPU, and the cluster has none", "use `provider='cpu'`"
        )
    return min(cores, gpus), 1
