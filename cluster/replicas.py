"""The service of `server` on Ray Serve: many of it, each with a generator and a queue of its own.

A replica is the whole application: it gathers what it is sent into batches, and says 429 where its queue is full. Ray hands
each request to a replica that is less busy than another, starts a new one where one is lost, and lets those that stop finish
what they accepted.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ganport.runtime import Sampler
from ganport.runtime.errors import ClusterError, MissingPackageError
from ganport.server import Settings, address_of, listen, make_service, service_name

from .connection import import_ray, joined, room_for

_CPUS = 1  # of each replica, which draws with one thread: many small sessions fill a machine better than one large one
_HEALTH_S = 2.0  # between two looks at a replica
_LAST_WORDS_S = 10.0  # of a start that was stopped
_BATCHES = 8  # that a replica may draw and pack beside what waits
_QUIET = {"log_level": logging.ERROR, "enable_access_log": False}


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
        replicas: how many; None for as many as the cluster has room for.
        address: of the cluster, as `ray.init` takes it; None for one on this machine alone.
        started: is called with the address and the number of replicas, once all of them can draw.

    Raises:
        MissingPackageError: Ray Serve is not installed.
        ListenError: nobody can be heard there.
        ClusterError: there is no cluster at the address, it serves something already, or replicas can't run on it.
    """
    serve = _import_serve()
    with joined(address), _told_to_stop() as asked_to_stop:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        there = serve.status()
        if there.proxies or there.applications:
            # One Serve has one address, which is not ours to change, and applications that are not ours to replace.
            names = ", ".join(there.applications) or "nothing"
            raise ClusterError(address, f"Ray Serve runs on it already, with {names}", "`serve shutdown` ends that")
        room, gpus = room_for(sampler.provider, address)
        if replicas and replicas > room:
            raise ClusterError(address, f"{replicas} replicas are asked for", f"it has room for {room}")
        with listen(host, port) as free:  # Ray waits for minutes where nobody can, and does not say which port it took
            where, port = address_of(free), free.getsockname()[1]
        try:
            serve.start(http_options={"host": host, "port": port, "location": "EveryNode"}, logging_config=_QUIET)
            name = service_name(sampler)
            application = serve.deployment(
                name=name,
                num_replicas=replicas or room,
                ray_actor_options={"num_cpus": _CPUS, "num_gpus": gpus},
                # So many that a replica's own queue is full before: it says for how long, and Ray would let clients wait.
                max_ongoing_requests=settings.most_waiting + _BATCHES * sampler.batch_size,
                health_check_period_s=_HEALTH_S,
                graceful_shutdown_timeout_s=settings.patience,
                logging_config=_QUIET,
            )(serve.ingress(_builder(sampler, settings))()).bind()
            if _run(serve, application, name, asked_to_stop):
                started(where, replicas or room)
                while not asked_to_stop.wait(_HEALTH_S):
                    if name not in serve.status().applications:
                        raise ClusterError(address, "somebody else has ended the service", "start it again")
        finally:
            with contextlib.suppress(Exception):  # whatever is left of a cluster that was lost
                serve.delete(name)  # which waits for what was accepted
                if address is not None:
                    serve.shutdown()


def _import_serve() -> Any:
    import_ray()
    try:
        from ray import serve
    except ModuleNotFoundError as error:
        raise MissingPackageError("ray[serve]", "serve --engine ray", "ray") from error
    return serve


def _run(serve: Any, application: Any, name: str, asked_to_stop: threading.Event) -> bool:
    """Start all replicas; return whether they run, or the user has lost patience: a cluster that is busy lets them wait."""
    problems: list[BaseException] = []

    def run() -> None:
        try:
            serve.run(application, name=name, logging_config=_QUIET)
        except BaseException as error:
            problems.append(error)

    running = threading.Thread(target=run, daemon=True)
    running.start()
    while running.is_alive() and not asked_to_stop.is_set():
        running.join(0.2)
    if asked_to_stop.is_set():
        serve.shutdown()
        running.join(_LAST_WORDS_S)  # it would join the cluster again
        return False
    if problems:
        raise problems[0]
    return True


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
