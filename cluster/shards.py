"""Shards on a cluster. Each Ray task writes one shard, byte for byte as on one machine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ganport.runtime import Sampler
from ganport.runtime.display import first_line
from ganport.runtime.errors import GanportError, OutputError
from ganport.runtime.model import Model
from ganport.runtime.shards import Plan, Shard, remove_parts, write_shard, writing

from .connection import connected, count_workers, import_ray
from .errors import ClusterError

# Many single-threaded ONNX Runtime sessions use a machine better than one session with many threads,
# because the threads of one session wait for each other.
_CPUS_PER_TASK = 1
_TASKS_PER_CORE = 2  # one running and one queued task, so that no core waits for its next task
_RETRIES = 20  # a task is restarted at most this often, if the machine that runs it is lost
_RESUME = "the finished shards are complete; continue with `resume=True`"
_SHARE_FOLDER = "choose an `out` in a folder that all machines share."

# A worker process of Ray runs many tasks. It keeps the sampler open between the tasks of one call of
# `write_shards_on_ray`. The key in this dict is a random identifier of the call.
_open_samplers: dict[bytes, Sampler] = {}


def write_shards_on_ray(sampler: Sampler, plan: Plan, *, address: str | None = None) -> Iterator[int]:
    """Write the missing shards of a plan on all cores of a cluster.

    Yields the number of images of each shard, when the shard is written.

    Args:
        sampler: Sampler that the plan was made for. Each machine gets a copy of the model.
        plan: Result of `runtime.shards.plan_shards`. All machines need access to the output folder.
        address: Address of the cluster, as `ray.init` takes it. None starts a cluster on this machine.

    Raises:
        MissingPackageError: Ray is not installed.
        ClusterError: There is no cluster at the address, or too many machines were lost while they wrote
            the same shard.
        OutputError: A file or folder can't be written, or a machine does not see the output folder.
    """
    with connected(address, _RESUME), writing(plan):
        try:
            yield from _run_tasks(import_ray(), sampler, plan, address)
        finally:
            remove_parts(plan)  # temporary files that lost machines left behind


def _run_tasks(ray: Any, sampler: Sampler, plan: Plan, address: str | None) -> Iterator[int]:
    """Keep all cores of the cluster busy. Yield the number of images of each shard when it is written."""
    _, gpus = count_workers(sampler.provider, address)
    task = ray.remote(num_cpus=_CPUS_PER_TASK, num_gpus=gpus, max_retries=_RETRIES)(_write_shard)
    opener, run = ray.put(sampler.model.opener(threads=_CPUS_PER_TASK)), os.urandom(8)
    # All tasks get the same plan without its list of shards. A task gets its shard as a separate argument.
    options = dataclasses.replace(plan, missing=())
    waiting = [Shard(shard.path.absolute(), shard.seeds) for shard in reversed(plan.missing)]
    running: dict[Any, Shard] = {}
    try:
        while waiting or running:
            # The cores are counted again for each shard, because machines may join and leave.
            cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
            while waiting and len(running) < cores * _TASKS_PER_CORE:
                shard = waiting.pop()
                running[task.remote(opener, run, shard, options)] = shard
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            count, shard = ray.get(done), running.pop(done)
            if not shard.path.is_file():
                raise OutputError(
                    shard.path,
                    "a different machine wrote the file, and this machine does not see it",
                    _SHARE_FOLDER,
                )
            yield count
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GanportError):
            raise error.cause from error
        raise ClusterError(address, first_line(error.cause), _RESUME) from error
    except ray.exceptions.RayError as error:
        raise ClusterError(address, first_line(error), _RESUME) from error
    finally:
        for each in running:
            ray.cancel(each)


def _write_shard(open_model: Callable[[], Model], run: bytes, shard: Shard, plan: Plan) -> int:
    """Write one shard, in a worker process of Ray, and return its number of images."""
    if not shard.path.parent.is_dir():
        raise OutputError(shard.path, "a machine of the cluster does not see this folder", _SHARE_FOLDER)
    if run not in _open_samplers:
        _open_samplers.clear()
        _open_samplers[run] = Sampler.of(open_model())
    with ThreadPoolExecutor(1) as encoder:
        return sum(write_shard(_open_samplers[run], shard, plan, encoder))
