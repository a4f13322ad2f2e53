"""A fast path for the most frequent request, the image of one seed.

FastAPI takes half a millisecond to find the route and to check the options. In a batch, the generation of one
image takes only a fraction of that time. This middleware therefore answers requests for one image directly.
It passes all other requests to FastAPI. It also passes on malformed requests for one image, because FastAPI
explains what is wrong with a request.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from ganport.runtime.errors import GanportError
from ganport.runtime.seeds import SEED_LIMIT

from .api import PngResponder
from .error_responses import error_response
from .limits import App, Receive, Scope, Send

_ROUTE = "/v1/images/{seed}.png"
_PATH = re.compile(r"/v1/images/(\d{1,19})\.png")
_OPTIONS = {"label", "truncation", "model"}


class FastPath:
    """ASGI middleware that answers requests for the image of one seed.

    Args:
        app: Application for all other requests.
        responder: Responder that generates and encodes the image.
    """

    def __init__(self, app: App, responder: PngResponder) -> None:
        self._app, self._responder = app, responder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arguments = _read_request(scope) if scope["type"] == "http" else None
        if arguments is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        known_etags = dict(scope["headers"]).get(b"if-none-match")
        try:
            png = await self._responder.image(
                *arguments, None if known_etags is None else known_etags.decode("latin-1")
            )
        except GanportError as error:
            await error_response(error)(scope, receive, send)
            return
        headers = [(name.encode(), value.encode()) for name, value in png.headers.items()]
        if png.status == 200:
            headers.append((b"content-length", str(len(png.content)).encode()))
        await send({"type": "http.response.start", "status": png.status, "headers": headers})
        await send({"type": "http.response.body", "body": png.content})


def _read_request(scope: Scope) -> tuple[int, str | None, float, str | None] | None:
    """Return seed, label, truncation and fingerprint, or None if FastAPI must answer the request."""
    match = _PATH.fullmatch(scope["path"]) if scope["method"] == "GET" else None
    if match is None or int(match[1]) >= SEED_LIMIT:
        return None
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    options = dict(given)
    if not set(options) <= _OPTIONS or len(options) != len(given):
        return None
    try:
        truncation = float(options.get("truncation", 1.0))
    except ValueError:
        return None
    if not 0 <= truncation <= 1:
        return None
    return int(match[1]), options.get("label"), truncation, options.get("model")
