"""Ray: the package, and a cluster to be joined, or one of this machine alone."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

from ganport.runtime.errors import ClusterError, GanportError, MissingPackageError, first_line, system_reason

_CONNECT_S = 5.0
_ON_GPUS = ("cuda", "tensorrt")


def import_ray() -> Any:
    """Return the package. Raises MissingPackageError."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError("ray", "--engine ray", "ray") from error
    return ray


@contextlib.contextmanager
def joined(address: str | None, remedy: str = "`ray status` says more") -> Iterator[None]:
    """Be part of a cluster, unless this process is part of one already.

    Args:
        address: as `ray.init` takes it; None for a cluster of this machine alone, which ends with the context.
        remedy: what to do after an error.

    Raises:
        ClusterError: there is none at the address; or whatever Ray says while it is used.
    """
    ray = import_ray()
    was_joined = ray.is_initialized()
    try:
        _check_address(address)
        if not was_joined:
            # Without an address Ray would join whatever cluster it finds on this machine.
            own = {"include_dashboard": False} if address is None else {}
            ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **own)
        yield
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if isinstance(error, GanportError):
            raise
        raise ClusterError(address, first_line(error), remedy) from error
    finally:
        if not was_joined:
            ray.shutdown()


def _check_address(address: str | None) -> None:
    """Raise ClusterError where nobody is at HOST:PORT, which Ray takes minutes to say."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal() or "://" in host:
        return  # one of Ray's other forms, such as "auto"
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else "there is no such port"
        raise ClusterError(address, reason) from error


def room_for(provider: str, address: str | None) -> tuple[int, int]:
    """Return how many processes of a core each the joined cluster has room for, and how many GPUs each of them takes.

    Raises:
        ClusterError: the provider takes a GPU, and there is none.
    """
    resources = import_ray().cluster_resources()
    cores = max(1, int(resources.get("CPU", 1)))
    if provider not in _ON_GPUS:
        return cores, 0
    cards = int(resources.get("GPU", 0))
    if not cards:
        raise ClusterError(address, f"{provider} is asked for, and it has no GPU", "take --provider cpu")
    return min(cores, cards), 1
