"""The routes below /v1/images: the image of a seed, and the image of a name.

Most requests are for one image. They are answered here, in front of the web framework. FastAPI took as much
CPU time as all other work for an image of 28x28 pixels: 1.6 ms a request with FastAPI, and 0.8 ms without, at
64 requests at a time (medians of three processes in turns, on a busy machine).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, unquote_to_bytes

from ganport.runtime.display import shortened
from ganport.runtime.errors import GanportError, UsageError
from ganport.runtime.seeds import SEED_LIMIT, seed_of
from ganport.runtime.variants import FILE_KINDS, LARGEST_SIZE, MEDIA_TYPES, FileKind

from .error_responses import error_response, json_error
from .errors import NoImageError
from .limits import App, Receive, Scope, Send
from .options import read_options, read_size, read_truncation
from .responder import MAX_LABEL, ImageRequest, Responder

MAX_NAME_BYTES = 2_000  # in UTF-8; percent-encoded they take 6,000, and proxies accept about 8,000 in a URL

_PREFIX = b"/v1/images/"
_BY_NAME = b"by-name/"
_OPTIONS = ("label", "truncation", "size", "model")
_ENDINGS = ", ".join(f".{kind}" for kind in FILE_KINDS)
# The address without the prefix, as it was sent: it may be percent-encoded.
_FILE = re.compile(rb"(.*)\.(%s)" % "|".join(FILE_KINDS).encode(), re.DOTALL)
# Each image has one address. So a seed has no leading zeros, no sign and no other scripts' digits.
_SEED = re.compile(r"0|[1-9][0-9]{0,18}")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class ImageRoutes:
    """ASGI middleware that answers requests for one image.

    Args:
        app: Application for all other requests.
        responder: Responder that generates and encodes the image.
    """

    def __init__(self, app: App, responder: Responder) -> None:
        self._app, self._responder = app, responder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        address = _address(scope) if scope["type"] == "http" else None
        if address is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = "/v1/images/by-name/{name}" if address.startswith(_BY_NAME) else "/v1/images/{seed}"
        if scope["method"] != "GET":
            await json_error(405, "Method Not Allowed.", {"allow": "GET, HEAD"})(scope, receive, send)
            return
        known_etags = dict(scope["headers"]).get(b"if-none-match")
        try:
            response = await self._responder.image(
                read_request(address, scope["query_string"]),
                None if known_etags is None else known_etags.decode("latin-1"),
            )
        except GanportError as error:
            await error_response(error)(scope, receive, send)
            return
        headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        if response.status == 200:
            headers.append((b"content-length", str(len(response.content)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.content})


def _address(scope: Scope) -> bytes | None:
    """Return the percent-encoded rest of a path below /v1/images/, or None for other paths."""
    path: bytes | None = scope.get("raw_path")
    if path is None:  # ASGI servers need not tell how the path was written, so a / may have been %2F
        start, slash, name = scope["path"].partition("/by-name/")
        path = f"{quote(start)}{slash}{quote(name, safe='')}".encode()
    path = path.removeprefix(quote(scope.get("root_path", "")).encode())
    return path.removeprefix(_PREFIX) if path.startswith(_PREFIX) else None


def read_request(address: bytes, query: bytes) -> ImageRequest:
    """Return the request for an image that a URL states.

    Args:
        address: Path below /v1/images/, percent-encoded.
        query: Query of the URL.

    Raises:
        NoImageError: The address is not that of an image.
        UsageError: The seed, the name or an option has an invalid value.
    """
    file = _FILE.fullmatch(address)
    if file is None:
        raise NoImageError(address.decode("latin-1"), _ENDINGS)
    kind = cast(FileKind, file[2].decode())
    if address.startswith(_BY_NAME):
        seed = _read_name(file[1].removeprefix(_BY_NAME))
    else:
        seed = _read_seed(_decoded(file[1], "seed"), kind)
    options = read_options(query, _OPTIONS)
    label = options.get("label")
    if label is not None and len(label) > MAX_LABEL:
        raise UsageError(f"Option 'label' has {len(label):,} characters; a label has at most {MAX_LABEL}.")
    return ImageRequest(
        seed=seed,
        kind=kind,
        label=label,
        truncation=read_truncation(options["truncation"]) if "truncation" in options else 1.0,
        size=read_size(options["size"]) if "size" in options else None,
        model=options.get("model"),
    )


def _decoded(encoded: bytes, what: str) -> str:
    """Return a part of a path without percent-encoding."""
    if b"%" not in encoded:
        return encoded.decode("latin-1")
    if _BROKEN_ESCAPE.search(encoded):
        raise UsageError(f"The {what} in the URL has a % without two hexadecimal digits; write % as %25.")
    try:
        return unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise UsageError(f"The {what} in the URL is not UTF-8; encode it as UTF-8.") from None


def _read_name(encoded: bytes) -> int:
    """Return the seed of a name in a URL."""
    if b"/" in encoded:
        raise UsageError("The name in the URL has a /; write it as %2F.")
    name = _decoded(encoded, "name")
    if not name:
        raise UsageError("The name in the URL is empty; give one, as in /v1/images/by-name/alice.png.")
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise UsageError(
            f"The name has {size:,} bytes in UTF-8, and the limit is {MAX_NAME_BYTES:,}; compute the seed of "
            "a longer text with ganport.seed_of, and request /v1/images/SEED.png."
        )
    return seed_of(name)


def _read_seed(text: str, kind: FileKind) -> int:
    """Return the seed that a text states."""
    if _SEED.fullmatch(text) and int(text) < SEED_LIMIT:
        return int(text)
    expected = f"Seed {shortened(text)} must be a whole number from 0 to {SEED_LIMIT - 1}"
    number = _lenient_number(text)
    if number is None:
        name = quote(text, safe="")
        example = name if 0 < len(name) <= MAX_LABEL else "alice"
        raise UsageError(f"{expected}; for the image of a name use /v1/images/by-name/{example}.{kind}.")
    if 0 <= number < SEED_LIMIT:
        raise UsageError(
            f"{expected}, in the digits 0 to 9 without sign, spaces, underscores and leading zeros; use "
            f"/v1/images/{number}.{kind}."
        )
    raise UsageError(f"{expected}.")


def _lenient_number(text: str) -> int | None:
    """Return the number that a person may mean by a text. None if the text is not a whole number."""
    try:
        return int(text) if len(text) <= MAX_LABEL else None
    except ValueError:
        return None


def describe_images(labels: tuple[str, ...] | None, responses: Mapping[str, Any]) -> dict[str, Any]:
    """Return the routes of this module as paths of an OpenAPI document.

    Args:
        labels: Labels of the model. None for a model without labels.
        responses: Descriptions of the statuses that every route may have.
    """
    files = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()}
    answers = {
        "200": {"description": "The image", "content": files},
        "304": {"description": "The client has this image already"},
        "404": {
            "description": "The address is not that of an image, or the fingerprint is that of another model"
        },
        **responses,
    }
    label = _parameter("label", "Requested label, for a model with labels", {"type": "string"})
    if labels:
        label["example"] = labels[0]
    options = [
        label,
        _parameter(
            "truncation",
            "Below 1: nearer to the average image",
            {"type": "number", "minimum": 0, "maximum": 1, "default": 1},
        ),
        _parameter(
            "size",
            f"Longer side in pixels, up to {LARGEST_SIZE:,}; the image is enlarged or reduced",
            {"type": "integer", "minimum": 1},
            256,
        ),
        _parameter(
            "model",
            "Fingerprint of the model, from /v1/model; the response can then be cached forever",
            {"type": "string", "maxLength": 64},
        ),
    ]
    seed = {"type": "integer", "minimum": 0, "maximum": SEED_LIMIT - 1}
    name = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES}
    ending = _parameter(
        "ending", "Kind of the file", {"type": "string", "enum": list(FILE_KINDS)}, "png", "path"
    )
    return {
        f"/v1/images/{path}.{{ending}}": {
            "get": {
                "tags": ["images"],
                "summary": summary,
                "operationId": operation,
                "parameters": [parameter, ending, *options],
                "responses": answers,
            }
        }
        for path, summary, operation, parameter in (
            ("{seed}", "The image of a seed", "image", _parameter("seed", "Seed", seed, 42, "path")),
            (
                "by-name/{name}",
                "The image of a name",
                "image_by_name",
                _parameter("name", "Any text; a / in it is written %2F", name, "alice", "path"),
            ),
        )
    }


def _parameter(
    name: str, description: str, schema: Mapping[str, Any], example: object = None, place: str = "query"
) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": name,
        "in": place,
        "description": description,
        "schema": dict(schema),
    }
    if place == "path":
        parameter["required"] = True
    return parameter if example is None else {**parameter, "example": example}
