"""Checks of each request and connection: the API key, the size of bodies and headers, and timeouts."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .error_responses import json_error
from .metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_PROTECTED = ("/v1/", "/v2", "/metrics")  # paths that start like this need the API key, if there is one
MAX_HEADER_BYTES = 64 * 1024
# Longest time in seconds for the arrival of a header, and for the arrival of a body. While a response is
# being sent, this is also the longest time in which the client may receive no bytes.
CLIENT_TIMEOUT_S = 10.0


@dataclasses.dataclass
class _Rejected(Exception):  # noqa: N818 - the middleware turns this exception into a response
    status: int
    message: str


class LimitsMiddleware:
    """ASGI middleware that checks the API key, limits bodies, and counts responses.

    A body must not be too large, and must be complete within `CLIENT_TIMEOUT_S`.

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
            await self._app(scope, _replay(body, receive), send_and_note_status)
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


class TimeoutProtocol(HttpToolsProtocol):
    """uvicorn's HTTP connection, with limits on slow clients and long headers.

    uvicorn itself waits forever for the rest of a header, accepts a header of any length, and waits forever
    for a client that does not receive its response. This class closes the connection in these cases.
    """

    _header_bytes = 0  # number of bytes of the current header that have arrived
    _header_since: float | None = None  # time when the current header began; None if no header is expected
    _is_header_new = False  # whether the current header began in the data of the last `data_received`
    _unsent_bytes = 0  # number of response bytes that the client had not received at the last check
    # Time of the last check at which the number of unsent bytes was 0 or had changed.
    _last_progress = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer."""
        super().connection_made(transport)
        self._header_since = self._last_progress = self.loop.time()
        self._check_progress()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle data. The connection is closed if a header is too long."""
        self._is_header_new = False
        super().data_received(data)
        if self._header_since is not None:
            # If the header began in this data, the data may start with bytes of the previous request. The
            # number of header bytes in the data is then unknown, and 1 is added instead.
            self._header_bytes += 1 if self._is_header_new else len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Record that a header begins."""
        self._header_since, self._is_header_new, self._header_bytes = self.loop.time(), True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Record that a header is complete."""
        self._header_since, self._header_bytes = None, 0
        super().on_headers_complete()

    def _check_progress(self) -> None:
        """Close the connection if the client sends or receives too slowly. A timer repeats this check."""
        now, unsent = self.loop.time(), self._count_unsent_bytes()
        if unsent == 0 or unsent != self._unsent_bytes:
            self._unsent_bytes, self._last_progress = unsent, now
        is_header_late = self._header_since is not None and now - self._header_since >= CLIENT_TIMEOUT_S
        if is_header_late or now - self._last_progress >= CLIENT_TIMEOUT_S:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(CLIENT_TIMEOUT_S / 4, self._check_progress)

    def _count_unsent_bytes(self) -> int:
        """Return the number of response bytes that the client is not known to have received."""
        unsent = self.transport.get_write_buffer_size()
        connection = self.transport.get_extra_info("socket")
        if unsent and connection is not None and sys.platform == "linux":
            import fcntl
            import termios

            # Bytes outside of uvicorn's buffer may still wait for the client's acknowledgement. Linux reports
            # the number of these bytes: tcp(7), SIOCOUTQ.
            waiting = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
            unsent += int.from_bytes(waiting, sys.byteorder)
        return unsent
