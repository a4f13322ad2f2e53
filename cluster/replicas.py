"""Replicas of the HTTP service on Ray Serve, each with its own copy of the model and its own queue.

A replica is the whole application of `server`: it collects its requests into batches, and answers 429 if its
queue is full. Ray prefers replicas with fewer requests, replaces lost replicas, and lets a stopping
replica finish its requests.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ganport.runtime import Sampler
from ganport.runtime.errors import MissingPackageError, UsageError
from ganport.server import Settings, listen, make_service, service_name, url_of

from .connection import connected, count_workers, import_ray
from .errors import ClusterError

# Many single-threaded ONNX Runtime sessions use a machine better than one session with many threads,
# because the threads of one session wait for each other.
_CPUS_PER_REPLICA = 1
_HEALTH_CHECK_S = 2.0  # time between two health checks
_STOP_TIMEOUT_S = 10.0  # longest wait for the thread of `serve.run` after a stop signal
# Number of batches that a replica generates or encodes at a time. The replica's queue does not count them.
_BATCHES_IN_PROGRESS = 8
_QUIET = {"log_level": logging.ERROR, "enable_access_log": False}


def serve_on_ray(
    sampler: Sampler,
    *,
    settings: Settings | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    replicas: int | None = None,
    address: str | None = None,
    on_start: Callable[[str, int], object] | None = None,
) -> None:
    """Serve a model over HTTP on a cluster until SIGINT or SIGTERM.

    Args:
        sampler: Sampler of the model. Each replica gets a copy of the model. On CUDA open the
            sampler with `repeatable=True`. Clients cache images, so a seed must always give the same image.
        settings: Limits of each replica, and API key. None for `Settings()`.
        host: Address to listen on, on each machine that has replicas.
        port: Port to listen on. 0 selects a port that is free on this machine.
        replicas: Number of replicas. By default as many as fit on the cluster.
        address: Address of the cluster, as `ray.init` takes it. None starts a cluster on this machine.
        on_start: Function that is called when all replicas accept requests. The arguments are the URL and the
            number of replicas.

    Raises:
        UsageError: `replicas` or `port` is out of range.
        MissingPackageError: Ray Serve is not installed.
        ListenError: The service can't listen on the address.
        ClusterError: There is no cluster at the address, Ray Serve already runs on the cluster, or the
            replicas do not fit on the cluster.
    """
    if replicas is not None and replicas < 1:
        raise UsageError(f"`replicas` is {replicas}; it must be 1 or more.")
    serve, settings = _import_serve(), settings or Settings()
    with connected(address), _stop_event() as stop:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        _check_unused(serve, address)
        capacity, gpus = count_workers(sampler.provider, address)
        if replicas and replicas > capacity:
            problem = f"{replicas} replicas do not fit on it"
            raise ClusterError(address, problem, f"choose `replicas` up to {capacity}")
        # The port is checked and selected here, before Ray uses it. Ray itself would wait for minutes if the
        # port is in use, and for port 0 it would not report the port that it selects.
        with listen(host, port) as free:
            url, port = url_of(free), free.getsockname()[1]
        name = service_name(sampler)
        try:
            options = {"host": host, "port": port, "location": "EveryNode"}
            serve.start(http_options=options, logging_config=_QUIET)
            application = _make_application(serve, sampler, settings, replicas or capacity, gpus)
            if _start_replicas(serve, application, name, stop):
                if on_start is not None:
                    on_start(url, replicas or capacity)
                _wait(serve, name, stop, address)
        finally:
            with contextlib.suppress(Exception):  # fails if the connection to the cluster is lost
                serve.delete(name)  # waits until the accepted requests are answered
                if address is not None:
                    serve.shutdown()


def _import_serve() -> Any:
    import_ray()
    try:
        from ray import serve
    except ModuleNotFoundError as error:
        raise MissingPackageError("ray[serve]", "A service on Ray", "ray") from error
    return serve


def _check_unused(serve: Any, address: str | None) -> None:
    """Raise ClusterError if Ray Serve already runs on the cluster, because it may be in use by others."""
    status = serve.status()
    if status.proxies or status.applications:
        names = ", ".join(status.applications) or "no application"
        raise ClusterError(
            address, f"Ray Serve already runs there, with {names}", "stop Ray Serve with: serve shutdown"
        )


def _start_replicas(serve: Any, application: Any, name: str, stop: threading.Event) -> bool:
    """Start all replicas and wait until all of them run. Return False if `stop` is set in the meantime."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            serve.run(application, name=name, logging_config=_QUIET)
        except BaseException as error:
            errors.append(error)

    starting = threading.Thread(target=run, daemon=True)
    starting.start()
    while starting.is_alive() and not stop.is_set():
        starting.join(0.2)
    if stop.is_set():
        serve.shutdown()
        # If the thread were still running after the disconnection, it would connect to the cluster again.
        starting.join(_STOP_TIMEOUT_S)
        return False
    if errors:
        raise errors[0]
    return True


@contextlib.contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set.

    Connecting to Ray replaces the signal handlers, so this block must be entered after the connection.
    """
    stop = threading.Event()
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _make_application(serve: Any, sampler: Sampler, settings: Settings, replicas: int, gpus: int) -> Any:
    """Return a Ray Serve application with `replicas` replicas, each on one core and `gpus` GPUs."""
    open_model = sampler.model.opener(threads=_CPUS_PER_REPLICA)

    def build() -> Any:  # runs in a worker process of Ray
        return make_service(Sampler.of(open_model()), settings=settings)

    deployment = serve.deployment(
        name=service_name(sampler),
        num_replicas=replicas,
        ray_actor_options={"num_cpus": _CPUS_PER_REPLICA, "num_gpus": gpus},
        # Largest number of unanswered requests that Ray sends to a replica. Ray itself would let further
        # requests wait. But the replica's queue is full before this limit is reached, so the replica rejects
        # further requests with status 429 and Retry-After.
        max_ongoing_requests=settings.queue + _BATCHES_IN_PROGRESS * sampler.model.batch_size,
        health_check_period_s=_HEALTH_CHECK_S,
        graceful_shutdown_timeout_s=settings.timeout,
        logging_config=_QUIET,
    )
    return deployment(serve.ingress(build)()).bind()


def _wait(serve: Any, name: str, stop: threading.Event, address: str | None) -> None:
    """Wait until `stop` is set. Raises ClusterError if another process stops the service."""
    while not stop.wait(_HEALTH_CHECK_S):
        if name not in serve.status().applications:
            raise ClusterError(address, "another process has stopped the service", "start it again")
