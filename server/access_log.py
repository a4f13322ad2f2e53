"""The access log: one line on standard output for each response."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Literal, TextIO

from .limits import App, Message, Receive, Scope, Send

LogFormat = Literal["common", "json"]
_LOGGER = logging.getLogger("uvicorn.error")  # the messages of the service on standard error


class AccessLog:
    """ASGI middleware that writes a line for each response.

    Args:
        app: Application that answers the requests.
        form: Form of the lines. "common" is the Common Log Format of Apache and nginx. "json" is one JSON
            document a line, which also holds the seconds until the end of the response and the User-Agent.
        stream: Stream to write to. None for standard output.
    """

    def __init__(self, app: App, form: LogFormat, stream: TextIO | None = None) -> None:
        self._app, self._form, self._stream = app, form, stream
        self._is_broken = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, size = time.perf_counter(), 0, 0  # status 0: the client did not wait for a response

        async def send_and_note(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            if scope["method"] != "HEAD":  # the application answers HEAD like GET, and uvicorn sends no body
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            seconds = time.perf_counter() - started
            self._write(self._line(scope, status, size, seconds))

    def _line(self, scope: Scope, status: int, size: int, seconds: float) -> str:
        client = scope["client"][0] if scope.get("client") else "-"
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        path = f"{scope.get('raw_path', b'').decode('latin-1') or scope['path']}{query}"
        now = datetime.now(UTC)
        if self._form == "common":
            request = _escaped(f"{scope['method']} {path} HTTP/{scope['http_version']}")
            return f'{client} - - [{now:%d/%b/%Y:%H:%M:%S %z}] "{request}" {status} {size}'
        agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
        return json.dumps(
            {
                "time": now.isoformat(timespec="milliseconds"),
                "client": client,
                "method": scope["method"],
                "path": path,
                "status": status,
                "bytes": size,
                "seconds": round(seconds, 6),
                "user_agent": agent,
            }
        )

    def _write(self, line: str) -> None:
        if self._is_broken:
            return
        try:
            print(line, file=self._stream or sys.stdout, flush=True)
        except (OSError, ValueError) as error:  # the reader of a pipe has ended, or the stream is closed
            self._is_broken = True
            _LOGGER.error("The access log ends here, because it can't be written: %s", error)


def _escaped(text: str) -> str:
    """Return a text in which nothing ends the line or the quotation marks around it."""
    return "".join(
        each if " " <= each <= "~" and each not in '"\\' else f"\\x{ord(each):02x}" for each in text
    )
