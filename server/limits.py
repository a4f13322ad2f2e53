"""Who may ask, how much, and how slowly: before a request reaches its handler, and for connections that do not move."""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
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
        shown = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(shown, self._key):  # takes as long wherever the first difference is
            raise _Refused(401, "A key is needed: Authorization: Bearer KEY, or X-API-Key: KEY.")

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        if headers.get(b"content-encoding", b"identity") != b"identity":
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

    _head_bytes = 0
    _is_in_head = True
    _unsent = 0
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End to watch."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is a head without end."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MOST_HEADER_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that a head is complete."""
        self._is_in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def _watch(self) -> None:
        """Look again after a while: a head is due by then, and a part of the answer that lay there is to be gone."""
        before = self._head_bytes if self._is_in_head else 0

        def look() -> None:
            unsent = self.transport.get_write_buffer_size()
            stalls_in_head = self._is_in_head and before > 0
            if stalls_in_head or (unsent and unsent == self._unsent):
                self.transport.abort()
                return
            self._unsent = unsent
            self._watch()

        self._look = self.loop.call_later(SLOWEST_S, look)
