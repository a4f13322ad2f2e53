"""Errors of the service. `error_responses.py` turns these and the runtime's errors into responses."""

from __future__ import annotations

from ganport.runtime.errors import GanportError, UsageError


class ListenError(GanportError, OSError):
    """The service can't listen on this address."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host, self.port, self.problem = host, port, problem
        super().__init__(f"Can't listen on {host}, port {port}: {problem}; choose another `host` or `port`.")


class QueueFullError(GanportError, RuntimeError):
    """The queue is full."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        self.waiting, self.retry_after = waiting, retry_after
        super().__init__(f"The queue is full: {waiting:,} images are waiting; try again in {retry_after} s.")


class TimedOutError(GanportError, TimeoutError):
    """The images were not generated in time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The images could not be generated within {seconds:g} s; try again later.")


class TensorError(UsageError):
    """The tensors of a request do not fit the model's inputs."""


class OtherModelError(GanportError, LookupError):
    """The fingerprint in the URL is not that of the served model."""

    def __init__(self, served: str) -> None:
        self.served = served
        super().__init__(
            f"The fingerprint in the URL is not that of the served model, {served}; take the fingerprint "
            "from /v1/model, or leave the option `model` out."
        )
