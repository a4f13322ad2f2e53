"""The shards of `runtime.shards`, each a task of Ray's: the same files with the same bytes, whichever machine wrote them."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from runtime import Sampler
from runtime.errors import ClusterError, GanportError, MissingPackageError, OutputError, first_line, system_reason
from runtime.sampler import Label
from runtime.shards import SHARD_SIZE, Plan, Seeds, Shard, draw_shard, plan_shards, remove_parts

# Each task has a core of its own: many small sessions fill a machine better than one large one, whose threads wait for each
# other.
_CPUS = 1
_ON_GPUS = ("cuda", "tensorrt")
_SHARED = "name a folder with --out that all machines share."
_OPENED: dict[bytes, Sampler] = {}  # in a process of Ray's: what the run before this shard opened
_TASKS_PER_CORE = 2  # that wait beside those that run, so that no core does
_CONNECT_S = 5.0
_RETRIES = 20  # of one shard, when its machine is lost


def write_shards_on_ray(
    sampler: Sampler,
    seeds: Seeds,
    path: Path,
    truncation: float = 1.0,
    shard_size: int = SHARD_SIZE,
    resume: bool = False,
    label: Label | None = None,
    address: str | None = None,
) -> Iterator[int]:
    """Draw images into shards beside a path, as `runtime.shards.write_shards`, on all cores of a cluster.

    Args:
        sampler: whose model is drawn; a copy goes to every machine.
        seeds: as for `write_shards`.
        path: as for `write_shards`; its folder is shared by all machines.
        truncation: as for `write_shards`.
        shard_size: as for `write_shards`.
        resume: as for `write_shards`.
        label: as for `write_shards`.
        address: of the cluster, as `ray.init` takes it; None for one on this machine alone.

    Yields:
        How many images are there already; then how many more, after each shard.

    Raises:
        MissingPackageError: Ray is not installed.
        ClusterError: there is no cluster at the address, or a shard was lost too often.
        OutputError: as `write_shards`.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError("ray", "--engine ray", "ray") from error
    _check_address(address)
    plan = plan_shards(sampler, seeds, path.absolute(), truncation, shard_size, resume, label)
    yield plan.there
    was_connected = ray.is_initialized()
    try:
        if not was_connected:
            # Without an address Ray would join whatever cluster it finds on this machine.
            ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False)
        yield from _run(ray, sampler, plan)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if isinstance(error, GanportError):
            raise
        raise ClusterError(address, first_line(error)) from error
    finally:
        if not was_connected:
            ray.shutdown()
        remove_parts(path)  # of writers on machines that were lost


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


def _run(ray: Any, sampler: Sampler, plan: Plan) -> Iterator[int]:
    """Keep every core of the cluster busy; yield the images of each shard when it is there."""
    gpus = int(sampler.provider in _ON_GPUS)
    if gpus and not ray.cluster_resources().get("GPU"):
        raise ClusterError(None, f"{sampler.provider} is asked for, and it has no GPU")
    task = ray.remote(num_cpus=_CPUS, num_gpus=gpus, max_retries=_RETRIES)(_draw)
    opener, key = ray.put(sampler.opener(threads=1)), os.urandom(8)
    options = dataclasses.replace(plan, missing=())
    waiting = list(reversed(plan.missing))
    running: dict[Any, Shard] = {}
    try:
        while waiting or running:
            most = max(1, int(ray.cluster_resources().get("CPU", 1))) * _TASKS_PER_CORE
            while waiting and len(running) < most:
                shard = waiting.pop()
                running[task.remote(opener, key, shard, options)] = shard
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            count, shard = ray.get(done), running.pop(done)
            if not shard.path.is_file():
                raise OutputError(shard.path, "a machine wrote it, and it is not here", _SHARED)
            yield count
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, GanportError) else ClusterError(None, first_line(error.cause))) from error
    except ray.exceptions.RayError as error:
        raise ClusterError(None, first_line(error)) from error
    finally:
        for each in running:
            ray.cancel(each)


def _draw(opener: Callable[[], Sampler], key: bytes, shard: Shard, plan: Plan) -> int:
    """Write one shard, on some machine; return how many images it has."""
    if not shard.path.parent.is_dir():
        raise OutputError(shard.path, "this machine of the cluster does not see its folder", _SHARED)
    if key not in _OPENED:  # Ray's processes draw one shard after the other
        _OPENED.clear()
        _OPENED[key] = opener()
    with ThreadPoolExecutor(1) as encoder:
        return sum(draw_shard(_OPENED[key], shard, plan, encoder))
