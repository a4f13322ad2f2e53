"""Who may ask, how much, and how slowly: before a request reaches its handler, and for connections that do not move."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .metrics import Metrics
from .refusals import refuse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEPT = ("/v1/", "/v2", "/metrics")  # what a key opens
MOST_HEADER_BYTES = 64 * 1024
SLOWEST_S = 10.0  # for a whole head, a whole body, or between two parts of an answer that are taken


@dataclasses.dataclass
class _Refused(Exception):  # noqa: N818 - it is an answer
    status: int
    message: str


class Gate:
    """Middleware: the key, the size of the body, the time that it takes; counts the answers.

    Args:
        app: behind it.
        metrics: are told of each answer.
        most_bytes: of a body.
        api_key: that clients must show; None lets all in.
    """

    def __init__(self, app: App, metrics: Metrics, most_bytes: int, api_key: str | None) -> None:
        self._app, self._metrics, self._most_bytes = app, metrics, most_bytes
        self._key = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn, which has the other scope, leaves the body out
        try:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            self._check_key(scope["path"], headers)
            body = await self._read(headers, receive)
            await self._app(scope, _given(body, receive), noted)
        except _Refused as refused:
            status = refused.status
            more = {"connection": "close"}  # what is left of the body is not read
            if status == 401:
                more["www-authenticate"] = "Bearer"
            await refuse(status, refused.message, more)(scope, receive, send)
        finally:
            route = scope.get("route")
            route = route if isinstance(route, str) else getattr(route, "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()

    def _check_key(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self._key is None or not path.startswith(_KEPT):
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        shown = headers.get(b"x-api-key") or (token.strip() if scheme.lower() == b"bearer" else b"")  # RFC 9110, section 11.1
        if not hmac.compare_digest(shown, self._key):  # takes as long wherever the first difference is
            raise _Refused(401, "A key is needed: Authorization: Bearer KEY, or X-API-Key: KEY.")

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _Refused(415, "Compressed bodies are not taken; send it as it is.")
        length = headers.get(b"content-length", b"0")
        too_large = _Refused(413, f"The body is larger than the {self._most_bytes:,} bytes that are taken.")
        if length.isdigit() and int(length) > self._most_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(SLOWEST_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Refused(400, "The body is not complete.")  # which nobody reads
                    body += message.get("body", b"")
                    if len(body) > self._most_bytes:
                        raise too_large
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise _Refused(408, f"The body did not arrive within {SLOWEST_S:g} s.") from None


def _given(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body that was read, and then what comes after it."""
    is_given = False

    async def given() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return given


class ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's connection, cut off where the client does not move.

    uvicorn waits for ever for the rest of a head, takes heads of any length, and keeps an answer for ever that is not taken.
    """

    _head_bytes = 0  # of the head that is not complete
    _head_since: float | None = None  # when it was due first; None where none is
    _begins = False  # whether that head began with the last data
    _unsent = 0
    _moved = 0.0  # when the client last took some of an answer, or had nothing to take
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._head_since = self._moved = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to watch."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is a head without end."""
        self._begins = False
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += 1 if self._begins else len(data)  # before it began there may have been a body
            if self._head_bytes > MOST_HEADER_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._head_since, self._begins, self._head_bytes = self.loop.time(), True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a head is complete."""
        self._head_since, self._head_bytes = None, 0
        super().on_headers_complete()

    def _watch(self) -> None:
        """Look again and again: a head is due in time, the first one too, and some of an answer is to be taken in time."""
        now, unsent = self.loop.time(), self._unsent_bytes()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._moved = unsent, now
        is_stalled_in_head = self._head_since is not None and now - self._head_since >= SLOWEST_S
        if is_stalled_in_head or now - self._moved >= SLOWEST_S:
            self.transport.abort()
            return
        self._look = self.loop.call_later(SLOWEST_S / 4, self._watch)

    def _unsent_bytes(self) -> int:
        """Return how much of the answers the client has not taken: what waits here, and where the system tells, there."""
        unsent = self.transport.get_write_buffer_size()
        connection = self.transport.get_extra_info("socket")
        if unsent and connection is not None and sys.platform == "linux":
            import fcntl
            import termios

            # Of a socket, the bytes that were not acknowledged (tcp(7), SIOCOUTQ).
            waiting = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
            unsent += int.from_bytes(waiting, sys.byteorder)
        return unsent
