"""The one request that comes by the hundred, an image by its seed, answered without the web framework.

FastAPI takes half a millisecond to find the function and to check two options, which is several times what drawing takes in a
batch. What is not plainly right goes on to it, and gets its answer, or its complaint, there.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from ganport.runtime.errors import GanportError
from ganport.runtime.seeds import SEED_LIMIT

from .api import Images
from .limits import App, Receive, Scope, Send
from .refusals import refusal

ROUTE = "/v1/images/{seed}.png"
_PATH = re.compile(r"/v1/images/(\d{1,19})\.png")
_OPTIONS = {"label", "truncation", "model"}


class Express:
    """Answers images by seed; hands all else on.

    Args:
        app: behind it.
        images: makes the answers.
    """

    def __init__(self, app: App, images: Images) -> None:
        self._app, self._images = app, images

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        wanted = _read(scope) if scope["type"] == "http" else None
        if wanted is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = ROUTE
        known = dict(scope["headers"]).get(b"if-none-match")
        try:
            png = await self._images.one(*wanted, None if known is None else known.decode("latin-1"))
        except GanportError as error:
            await refusal(error)(scope, receive, send)
            return
        headers = [(name.encode(), value.encode()) for name, value in png.headers.items()]
        if png.status == 200:
            headers.append((b"content-length", str(len(png.content)).encode()))
        await send({"type": "http.response.start", "status": png.status, "headers": headers})
        await send({"type": "http.response.body", "body": png.content})


def _read(scope: Scope) -> tuple[int, str | None, float, str | None] | None:
    """Return seed, label, truncation and model, or None where the request is another one, or not plainly right."""
    found = _PATH.fullmatch(scope["path"]) if scope["method"] == "GET" else None
    if found is None or int(found[1]) >= SEED_LIMIT:
        return None
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    options = dict(given)
    if not set(options) <= _OPTIONS or len(options) != len(given):
        return None
    try:
        truncation = float(options.get("truncation", 1.0))
    except ValueError:
        return None
    return (int(found[1]), options.get("label"), truncation, options.get("model")) if 0 <= truncation <= 1 else None
