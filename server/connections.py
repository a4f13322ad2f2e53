"""HTTP connections: how many there may be, how long a client may take, and how long a header may be."""

from __future__ import annotations

import asyncio
import collections
import json
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from . import limits

MAX_HEADER_BYTES = 64 * 1024
_MAX_CONNECTIONS = 4_096
_RESERVED_FILES = 64  # number of open files that the process may need besides its connections
_LINGER_S = 1.0  # time in which a rejected client may read the response before the connection is closed
_LONG_HEADER = f"The header is too long; the limit is {MAX_HEADER_BYTES // 1024} KB."
_NOT_HTTP = (
    "The request is not valid HTTP/1.1. In a URL, a space is written as %20, and characters outside of ASCII "
    "are percent-encoded as UTF-8."
)


def connection_limit() -> int:
    """Return the largest number of connections. It stays below the number of files the process may open."""
    try:
        import resource
    except ImportError:  # Windows has no module `resource`, and no comparable limit for open files
        return _MAX_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < 0:  # no limit for open files is set
        return _MAX_CONNECTIONS
    return max(1, min(_MAX_CONNECTIONS, files - min(_RESERVED_FILES, files // 2)))


class Connections:
    """All connections of a service. If there are too many, the one that has been idle longest is closed.

    A connection is busy from the end of a request to the end of the response, and idle at all other times. So
    clients that connect and send nothing, or only a part of a request, can't keep others out.

    Args:
        limit: Largest number of connections.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[LimitedProtocol] = set()
        self._idle: collections.OrderedDict[LimitedProtocol, None] = collections.OrderedDict()

    def add(self, connection: LimitedProtocol) -> bool:
        """Add a new connection. Return False if there are too many, and all others are busy."""
        if len(self._open) >= self._limit:
            if not self._idle:
                return False
            longest_idle = next(iter(self._idle))
            self.remove(longest_idle)
            longest_idle.transport.abort()
        self._open.add(connection)
        self._idle[connection] = None
        return True

    def remove(self, connection: LimitedProtocol) -> None:
        """Remove a connection that is closed, or will be."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def set_idle(self, connection: LimitedProtocol, is_idle: bool) -> None:
        """Record that a request of a connection is complete, or that its response is."""
        self._idle.pop(connection, None)
        if is_idle and connection in self._open:
            self._idle[connection] = None


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP connection, with limits on slow clients, long headers and the number of connections.

    uvicorn itself waits forever for the rest of a header, accepts a header of any length, and waits forever
    for a client that does not receive its response. This class closes the connection in these cases.

    Args:
        connections: All connections of the service.
        arguments: Arguments of uvicorn's class.
    """

    _header_bytes = 0  # number of bytes of the current header that have arrived
    _header_since: float | None = None  # time when the current header began; None if no header is expected
    _is_header_new = False  # whether the current header began in the data of the last `data_received`
    _unsent_bytes = 0  # number of response bytes that the client had not received at the last check
    # Time of the last check at which the number of unsent bytes was 0 or had changed.
    _last_progress = 0.0
    _timer: asyncio.TimerHandle | None = None
    _is_rejected = False  # whether the rest of the data is ignored, because the connection will be closed

    def __init__(self, *, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connections = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer."""
        super().connection_made(transport)
        self._header_since = self._last_progress = self.loop.time()
        self._check_progress()
        if not self._connections.add(self):
            self._reject(503, "All connections of the service are busy; try again later.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle data. The connection is closed if a header is too long."""
        if self._is_rejected:
            return
        self._is_header_new = False
        super().data_received(data)
        if self._header_since is not None:
            # If the header began in this data, the data may start with bytes of the previous request. The
            # number of header bytes in the data is then unknown, and 1 is added instead.
            self._header_bytes += 1 if self._is_header_new else len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._reject(431, _LONG_HEADER)

    def on_message_begin(self) -> None:
        """Record that a header begins."""
        self._header_since, self._is_header_new, self._header_bytes = self.loop.time(), True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Record that a header is complete, and answer the request unless the header is too long."""
        self._header_since, self._header_bytes = None, 0
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADER_BYTES:
            self._reject(431, _LONG_HEADER)
            raise _RejectedError  # ends the parser
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Record that a request is complete."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._connections.set_idle(self, False)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Record that a response is complete."""
        super().on_response_complete()
        if self.cycle.response_complete:  # otherwise the next request has been sent before this response
            self._connections.set_idle(self, True)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP."""
        self._reject(400, _NOT_HTTP)

    def _reject(self, status: int, message: str) -> None:
        """Send an error, ignore what else arrives, and close the connection."""
        if self._is_rejected:
            return
        self._is_rejected = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # another response is being sent, and this one can't be put into it
            return
        content = json.dumps({"error": message}).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(content) + content)
        self.transport.write_eof()
        # If the connection were closed while data arrives, the client would lose the response.
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _check_progress(self) -> None:
        """Close the connection if the client sends or receives too slowly. A timer repeats this check."""
        now, unsent = self.loop.time(), self._count_unsent_bytes()
        if unsent == 0 or unsent != self._unsent_bytes:
            self._unsent_bytes, self._last_progress = unsent, now
        timeout = limits.CLIENT_TIMEOUT_S
        is_header_late = self._header_since is not None and now - self._header_since >= timeout
        if is_header_late or now - self._last_progress >= timeout:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(timeout / 4, self._check_progress)

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


class _RejectedError(Exception):
    """Ends the parser after a request was rejected."""
