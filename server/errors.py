"""Errors of the service. `error_responses.py` turns these and the runtime's errors into responses."""

from __future__ import annotations

from ganport.runtime.display import shortened
from ganport.runtime.errors import GanportError, UsageError


class ListenError(GanportError, OSError):
    """The service can't listen on this address."""

    def __init__(self, host: str, port: int, problem: str) -> None:
        self.host, self.port, self.problem = host, port, problem
        super().__init__(f"Can't listen on {host}, port {port}: {problem}; choose another `host` or `port`.")


class QueueFullError(GanportError, RuntimeError):
    """The queue is full, or its images take longer than the time limit."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        self.waiting, self.retry_after = waiting, retry_after
        super().__init__(f"The queue is full: {waiting:,} images are waiting; try again in {retry_after} s.")


class TooManyImagesError(UsageError):
    """The images of one request take longer than the time limit, even if no other request waits."""

    def __init__(self, images: int, seconds: float, timeout: float) -> None:
        self.images, self.seconds, self.timeout = images, seconds, timeout
        possible = int(images * timeout / seconds)
        remedy = f"request at most {possible:,}, or start the service" if possible else "start the service"
        super().__init__(
            f"{images:,} images take about {seconds:.3g} s here, and the limit is {timeout:g} s; {remedy} "
            "with a longer `timeout`."
        )


class TimedOutError(GanportError, TimeoutError):
    """The images were not generated in time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The images could not be generated within {seconds:g} s; try again later.")


class TensorError(UsageError):
    """The tensors of a request do not fit the model's inputs."""


class BodyError(UsageError):
    """The body of a request is not a JSON document that the service reads."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"The body can't be read: {problem}.")


class NoImageError(GanportError, LookupError):
    """The address is not that of an image."""

    def __init__(self, address: str, endings: str) -> None:
        self.address = address
        super().__init__(
            f"There is no image at /v1/images/{shortened(address)[1:-1]}: an address ends in one of "
            f"{endings}, as in /v1/images/42.png or /v1/images/by-name/alice.png."
        )


class OtherModelError(GanportError, LookupError):
    """The fingerprint in the URL is not that of the served model."""

    def __init__(self, served: str) -> None:
        self.served = served
        super().__init__(
            f"The fingerprint in the URL is not that of the served model, {served}; take the fingerprint "
            "from /v1/model, or leave the option `model` out."
        )
