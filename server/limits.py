"""Checks of each request: the API key, the size of the body, and whether the client still waits."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from .error_responses import json_error
from .metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PROTECTED = ("/v1/", "/v2", "/metrics")  # paths that start like this need the API key, if there is one
# Longest time in seconds for the arrival of a header, and for the arrival of a body. While a response is
# being sent, this is also the longest time in which the client may receive no bytes.
CLIENT_TIMEOUT_S = 10.0
# A request that takes longer than this time is watched: if its client goes, the work for it stops. Most
# requests take less time, and are not worth the watcher.
_UNWATCHED_S = 0.25
_CLIENT_GONE = 499  # nginx's status for a client that closed the connection; it is for metrics and logs only


@dataclasses.dataclass
class _Rejected(Exception):  # noqa: N818 - the middleware turns this exception into a response
    status: int
    message: str


class _ClientGoneError(Exception):
    """The client has closed the connection before it had its response."""


class _Watched:
    """Cancels the block of an `async with` if the client closes the connection. Raises _ClientGoneError."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._is_gone = receive, False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = cast("asyncio.Task[None]", asyncio.current_task())
        self._timer = asyncio.get_running_loop().call_later(_UNWATCHED_S, self._start_watcher)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._is_gone:
            self._task.uncancel()
            if kind is asyncio.CancelledError:
                raise _ClientGoneError

    def _start_watcher(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._cancel_when_gone())

    async def _cancel_when_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self._task.cancel()


class LimitsMiddleware:
    """ASGI middleware that checks the API key, limits bodies, and counts responses.

    A body must not be too large, and must be complete within `CLIENT_TIMEOUT_S`. If the client closes the
    connection before it has its response, the work for the response is cancelled.

    Args:
        app: Application that answers the accepted requests.
        metrics: Metrics that count each response.
        max_body_bytes: Largest number of bytes of a request's body.
        api_key: Key that clients must send. None for no key.
    """

    def __init__(self, app: App, metrics: Metrics, *, max_body_bytes: int, api_key: str | None) -> None:
        self._app, self._metrics, self._max_body_bytes = app, metrics, max_body_bytes
        self._key = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if scope["method"] == "HEAD":
            # The application answers HEAD like GET. uvicorn still has the original method, and sends no body.
            scope = {**scope, "method": "GET"}
        try:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            self._check_key(scope["path"], headers)
            body = await self._read_body(headers, receive)
            async with _Watched(receive):
                await self._app(scope, _replay(body, receive), send_and_note_status)
        except _ClientGoneError:
            status = _CLIENT_GONE
        except _Rejected as rejected:
            status = rejected.status
            # A part of the body may be unread, so the connection can't be used for another request.
            more = {"connection": "close"}
            if status == 401:
                more["www-authenticate"] = "Bearer"
            await json_error(status, rejected.message, more)(scope, receive, send)
        finally:
            self._metrics.requests.labels(_route_of(scope), str(status)).inc()

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._key is None or not path.startswith(_PROTECTED):
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        sent = headers.get(b"x-api-key", b"")
        if not sent and scheme.lower() == b"bearer":  # case-insensitive: RFC 9110, section 11.1
            sent = token.strip()
        # The time that this comparison takes reveals nothing about the key.
        if not hmac.compare_digest(sent, self._key):
            raise _Rejected(401, "An API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY.")

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _Rejected(415, "Compressed bodies are not supported; send the body uncompressed.")
        length = headers.get(b"content-length", b"0")
        too_large = _Rejected(413, f"The body is too large; the limit is {self._max_body_bytes:,} bytes.")
        if length.isdigit() and int(length) > self._max_body_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        # The client is gone. This status is only for the metrics.
                        raise _Rejected(400, "The body is not complete.")
                    body += message.get("body", b"")
                    if len(body) > self._max_body_bytes:
                        raise too_large
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise _Rejected(408, f"The body did not arrive within {CLIENT_TIMEOUT_S:g} s.") from None


def _route_of(scope: Scope) -> str:
    """Return the route that matched a request, such as /v1/images/{seed}.png; "other" without a match."""
    route = scope.get("route")
    return route if isinstance(route, str) else getattr(route, "path", "other")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a function that replaces `receive`, for a request whose body was already read.

    The first call of the new function returns `body`. Each later call is passed on to `receive`.
    """
    is_replayed = False

    async def receive_body_first() -> Message:
        nonlocal is_replayed
        if is_replayed:
            return await receive()
        is_replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body_first
