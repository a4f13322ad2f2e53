"""CORS: which pages of other origins may read the responses (Fetch Standard, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ganport.runtime.display import shortened
from ganport.runtime.errors import UsageError

from .error_responses import json_error
from .limits import App, Message, Receive, Scope, Send

ANY_ORIGIN = "*"

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_METHODS = "GET, HEAD, POST"
_REQUEST_HEADERS = "authorization, content-type, if-none-match, inference-header-content-length, x-api-key"
_RESPONSE_HEADERS = "etag, inference-header-content-length, retry-after"
_PREFLIGHT_SECONDS = "7200"  # time in which a browser need not ask again; Chromium's limit


def check_origins(origins: Sequence[str]) -> None:
    """Raise UsageError if a text is not an origin as browsers send it."""
    for origin in origins:
        if origin != ANY_ORIGIN and not _ORIGIN.fullmatch(origin):
            raise UsageError(
                f"`cors` has {shortened(origin)}; an origin is written as https://example.org or "
                "http://localhost:5173, in lower case and without a path, and * is any origin."
            )


class CorsMiddleware:
    """ASGI middleware that lets the pages of some origins read the responses, and answers preflight requests.

    Args:
        app: Application that answers all requests other than preflight requests.
        origins: Allowed origins. "*" is any origin.
    """

    def __init__(self, app: App, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        self._is_open = ANY_ORIGIN in origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        added = self._response_headers(headers.get(b"origin"))
        is_preflight = scope["method"] == "OPTIONS" and b"access-control-request-method" in headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        if not is_preflight:
            await self._app(scope, receive, send_with_headers)
        elif self._is_allowed(headers.get(b"origin")):
            added += [
                (b"access-control-allow-methods", _METHODS.encode()),
                (b"access-control-allow-headers", _REQUEST_HEADERS.encode()),
                (b"access-control-max-age", _PREFLIGHT_SECONDS.encode()),
            ]
            await send_with_headers({"type": "http.response.start", "status": 204})
            await send_with_headers({"type": "http.response.body"})
        else:
            message = "This origin is not allowed; start the service with --cors and the origin."
            await json_error(403, message)(scope, receive, send_with_headers)

    def _is_allowed(self, origin: bytes | None) -> bool:
        return self._is_open or origin in self._origins

    def _response_headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        exposed = (b"access-control-expose-headers", _RESPONSE_HEADERS.encode())
        if self._is_open:
            return [(b"access-control-allow-origin", b"*"), exposed]
        # A cache must not give the response for one origin to another, or to a request without an origin.
        vary = (b"vary", b"Origin")
        if origin is None or origin not in self._origins:
            return [vary]
        return [(b"access-control-allow-origin", origin), exposed, vary]
