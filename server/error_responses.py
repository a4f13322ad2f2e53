"""Errors as HTTP responses, each with a status and the JSON document {"error": "..."}."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from ganport.runtime.errors import FixedSeedError, GanportError, InputKindError, UsageError

from .errors import OtherModelError, QueueFullError, TensorError, TimedOutError

_MAX_MESSAGE = 500  # largest number of characters; a message may quote long input of a client


def error_response(error: GanportError) -> JSONResponse:
    """Return the response for one of ganport's errors."""
    if isinstance(error, QueueFullError):
        return json_error(429, str(error), {"Retry-After": str(error.retry_after)})
    return json_error(_status_of(error), str(error))


def json_error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a response with an error message. Long messages are truncated."""
    short = message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE - 3]}..."
    return JSONResponse({"error": short.encode("utf-8", "replace").decode()}, status, headers)


def _status_of(error: GanportError) -> int:
    if isinstance(error, TimedOutError):
        return 504
    if isinstance(error, TensorError):
        return 400
    if isinstance(error, OtherModelError):
        return 404
    if isinstance(error, (UsageError, InputKindError, FixedSeedError)):
        return 422
    return 500
