"""The shards of `runtime.shards`, each a task of Ray's: the same files with the same bytes, whichever machine wrote them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ganport.runtime import Sampler
from ganport.runtime.errors import ClusterError, GanportError, OutputError, first_line
from ganport.runtime.shards import Plan, Shard, begin, draw_shard, remove_parts

from .connection import import_ray, joined, room_for

# Each task has a core of its own: many small sessions fill a machine better than one large one, whose threads wait for each
# other.
_CPUS = 1
_GO_ON = "what is done stays, go on with --resume"
_SHARED = "name a folder with --out that all machines share."
_OPENED: dict[bytes, Sampler] = {}  # in a process of Ray's: what the run before this shard opened
_TASKS_PER_CORE = 2  # that wait beside those that run, so that no core does
_RETRIES = 20  # of one shard, when its machine is lost


def write_shards_on_ray(sampler: Sampler, plan: Plan, address: str | None = None) -> Iterator[int]:
    """Draw what a plan misses, as `runtime.shards.write_shards`, on all cores of a cluster.

    Args:
        sampler: that the plan was made for; a copy goes to every machine.
        plan: of `plan_shards`; its folder is shared by all machines.
        address: of the cluster, as `ray.init` takes it; None for one on this machine alone.

    Yields:
        How many images came to what is there, after each shard.

    Raises:
        MissingPackageError: Ray is not installed.
        ClusterError: there is no cluster at the address, or a shard was lost too often.
        OutputError: as `write_shards`.
    """
    with joined(address, _GO_ON):
        begin(plan)
        try:
            yield from _run(import_ray(), sampler, plan, address)
        finally:
            remove_parts(plan)  # of writers on machines that were lost


def _run(ray: Any, sampler: Sampler, plan: Plan, address: str | None) -> Iterator[int]:
    """Keep every core of the cluster busy; yield the images of each shard when it is there."""
    _, gpus = room_for(sampler.provider, address)
    task = ray.remote(num_cpus=_CPUS, num_gpus=gpus, max_retries=_RETRIES)(_draw)
    opener, key = ray.put(sampler.opener(threads=1)), os.urandom(8)
    options = dataclasses.replace(plan, missing=())
    waiting = [Shard(shard.path.absolute(), shard.seeds) for shard in reversed(plan.missing)]
    running: dict[Any, Shard] = {}
    try:
        while waiting or running:
            most = max(1, int(ray.cluster_resources().get("CPU", 1))) * _TASKS_PER_CORE  # machines come and go
            while waiting and len(running) < most:
                shard = waiting.pop()
                running[task.remote(opener, key, shard, options)] = shard
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            count, shard = ray.get(done), running.pop(done)
            if not shard.path.is_file():
                raise OutputError(shard.path, "a machine wrote it, and it is not here", _SHARED)
            yield count
    except ray.exceptions.RayTaskError as error:
        raise (
            error.cause if isinstance(error.cause, GanportError) else ClusterError(address, first_line(error.cause), _GO_ON)
        ) from error
    except ray.exceptions.RayError as error:
        raise ClusterError(address, first_line(error), _GO_ON) from error
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
