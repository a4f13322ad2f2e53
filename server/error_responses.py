"""Errors as HTTP responses, each with a status and the JSON document {"error": "..."}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse

from ganport.runtime.errors import FixedSeedError, GanportError, InputKindError, UsageError

from .errors import (
    BodyError,
    NoImageError,
    OtherModelError,
    QueueFullError,
    TensorError,
    TimedOutError,
)

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


def validation_response(problems: Sequence[Mapping[str, Any]]) -> JSONResponse:
    """Return the response for values that pydantic rejected.

    If a value may have several types, pydantic reports a problem for each type. The response contains only
    the most helpful problem. A problem with the content of a value is more helpful than one with its type. Of
    several such problems, the one that is nested most deeply in the request is the most helpful.
    """
    helpful = max(problems, key=lambda problem: (not problem["type"].endswith("_type"), len(problem["loc"])))
    path = ".".join(
        str(part) for part in helpful["loc"] if str(part).isalnum() and part not in ("str", "int")
    )
    message = helpful["msg"].removeprefix("Value error, ")  # pydantic puts it before a message of ours
    return json_error(422, f"{path or 'body'}: {message}.")


def _status_of(error: GanportError) -> int:
    if isinstance(error, TimedOutError):
        return 504
    if isinstance(error, (BodyError, TensorError)):
        return 400
    if isinstance(error, (NoImageError, OtherModelError)):
        return 404
    if isinstance(error, (UsageError, InputKindError, FixedSeedError)):
        return 422
    return 500
