"""Errors of the service, and the one form in which a client is told of any: a status, and {"error": "..."}."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from runtime.errors import GanportError, InputKindError, UsageError


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


def refusal(error: GanportError) -> JSONResponse:
    """Return what a client is told of an error of ours."""
    if isinstance(error, QueueFullError):
        return refuse(429, str(error), {"Retry-After": str(error.retry_after)})
    if isinstance(error, TimedOutError):
        return refuse(504, str(error))
    if isinstance(error, TensorError):
        return refuse(400, str(error))
    return refuse(422 if isinstance(error, (UsageError, InputKindError)) else 500, str(error))


def refuse(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an answer that says what is wrong."""
    return JSONResponse({"error": message}, status, headers)
