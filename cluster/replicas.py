"""The service of `server` on Ray Serve: many of it behind one address, each with a generator and a queue of its own.

A replica is the whole application: it gathers what it is sent into batches, and says 429 where its queue is full. Ray sends
each request to the less busy of two replicas, starts another one where one is lost, and lets those that stop finish what they
accepted.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from runtime import Sampler
from server import Settings, address_of, listen, make_service, service_name

from .connection import gpus_for, import_ray, joined

_CPUS = 1  # of each replica, which draws with one thread: many small sessions fill a machine better than one large one
_HEALTH_S = 2.0  # between two looks at a replica


def serve_on_ray(
    sampler: Sampler,
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8000,
    replicas: int | None = None,
    address: str | None = None,
    started: Callable[[str, int], None] = lambda where, replicas: None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        sampler: whose model is served; a copy goes to every replica.
        settings: of each replica.
        host: the address to listen on, of each machine that has replicas.
        port: 0 for one that is free on this machine.
        replicas: how many; None for one on each core of the cluster.
        address: of the cluster, as `ray.init` takes it; None for one on this machine alone.
        started: is called with the address and the number of replicas, once all of them can draw.

    Raises:
        MissingPackageError: Ray is not installed.
        ListenError: nobody can be heard there.
        ClusterError: there is no cluster at the address, or replicas can't start on it.
    """
    ray = import_ray()
    with joined(address), _told_to_stop() as asked_to_stop:
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)

        count = replicas or max(1, int(ray.cluster_resources().get("CPU", 1)) // _CPUS)
        with listen(host, port) as free:  # Ray waits for minutes where nobody can, and does not say which port it took
            where, port = address_of(free), free.getsockname()[1]
        quiet = {"log_level": logging.ERROR, "enable_access_log": False}
        serve.start(http_options={"host": host, "port": port, "location": "EveryNode"}, logging_config=quiet)
        name = service_name(sampler)
        replica = serve.deployment(
            name=name,
            num_replicas=count,
            ray_actor_options={"num_cpus": _CPUS, "num_gpus": gpus_for(sampler.provider)},
            # A replica's own queue says when it is full, and for how long; Ray would only say 503.
            max_ongoing_requests=2 * settings.most_waiting,
            health_check_period_s=_HEALTH_S,
            graceful_shutdown_timeout_s=settings.patience,
            logging_config=quiet,
        )
        try:
            serve.run(replica(serve.ingress(_builder(sampler, settings))()).bind(), name=name, logging_config=quiet)
            started(where, count)
            asked_to_stop.wait()
        finally:
            serve.delete(name)  # which waits for what was accepted


@contextlib.contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set; within a cluster, since Ray has handlers of its own."""
    asked = threading.Event()
    before = {each: signal.signal(each, lambda *_: asked.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _builder(sampler: Sampler, settings: Settings) -> Callable[[], Any]:
    """Return what makes the application, in a process of Ray's."""
    opener = sampler.opener(threads=_CPUS)

    def build() -> Any:
        return make_service(opener(), settings)

    return build
