"""Errors of the service, and the one form in which a client is told of any: a status, and {"error": "..."}."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from ganport.runtime.errors import FixedSeedError, GanportError, InputKindError, UsageError

_LONGEST = 500  # characters of a message: what was asked may be in it


class QueueFullError(GanportError):
    """More images wait than the service wants to owe."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        self.waiting, self.retry_after = waiting, retry_after
        super().__init__(f"{waiting:,} images are waiting to be drawn; try again in {retry_after} s.")


class TimedOutError(GanportError):
    """The images were not drawn in time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The images could not be drawn within {seconds:g} s; try again later.")


class TensorError(UsageError):
    """Tensors of a request that are not what the model takes."""


class OtherModelError(GanportError):
    """An address names another model than the one that is served."""

    def __init__(self, served: str) -> None:
        self.served = served
        super().__init__(f"This service has another model, {served}; leave `model` out, or take it from /v1/model.")


def refusal(error: GanportError) -> JSONResponse:
    """Return what a client is told of an error of ours."""
    if isinstance(error, QueueFullError):
        return refuse(429, str(error), {"Retry-After": str(error.retry_after)})
    if isinstance(error, TimedOutError):
        return refuse(504, str(error))
    if isinstance(error, TensorError):
        return refuse(400, str(error))
    if isinstance(error, OtherModelError):
        return refuse(404, str(error))
    return refuse(422 if isinstance(error, (UsageError, InputKindError, FixedSeedError)) else 500, str(error))


def refuse(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an answer that says what is wrong."""
    short = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 3]}..."
    return JSONResponse({"error": short.encode("utf-8", "replace").decode()}, status, headers)
