"""make_service: the whole service as one ASGI application."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from ganport.runtime import Sampler, __version__
from ganport.runtime.errors import GanportError, UsageError
from ganport.runtime.variants import encoders

from .access_log import AccessLog, LogFormat
from .api import MAX_IMAGES, make_api
from .batching import Batcher
from .cors import CorsMiddleware, check_origins
from .docs_page import render_docs
from .error_responses import error_response, json_error, validation_response
from .images import ImageRoutes, describe_images
from .kserve import make_kserve
from .limits import App, LimitsMiddleware
from .metrics import Metrics
from .responder import Responder

API_KEY_VARIABLE = "GANPORT_API_KEY"  # environment variable from which `ganport serve` takes the API key

# Largest number of bytes of all images of one request. Large images reach this limit before `MAX_IMAGES`.
_MAX_IMAGE_BYTES = 64_000_000
_MAX_TIMEOUT_S = 3_600
_JSON_BYTES_PER_VALUE = 32  # upper bound for the length of one number in JSON
_SMALL_BODY_BYTES = 65_536  # largest size of a body without its latents
# Headers of the page. Without the first two, browsers run WebAssembly on one thread only.
_PAGE_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A malformed request, such as a body that is not JSON"},
    401: {"description": "The API key is missing or wrong"},
    408: {"description": "The request took too long to arrive"},
    413: {"description": "The body is too large"},
    415: {"description": "The body is compressed, or it is not declared as JSON"},
    422: {
        "description": "A value that is not accepted",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    429: {"description": "The images would not be ready in time; Retry-After says when to try again"},
    504: {"description": "The images were not generated in time"},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits and API key of a service.

    Attributes:
        queue: Largest number of images in the queue. Requests beyond this limit get status 429, and the
            client can try again later.
        timeout: Time limit in seconds for the images of a request, including the time in the queue. A request
            that takes longer fails with status 504.
        api_key: Key that clients must send. None for no key.
        batching: Whether several requests may share a batch. False generates each request alone, which is
            useful for measuring the benefit of batching.
        cors: Origins whose pages may read the responses in a browser, such as https://example.org. "*" is any
            origin.
        access_log: Form of the access log on standard output. None for no access log.

    Raises:
        UsageError: A value is out of range.
    """

    queue: int = 2_048
    timeout: float = 30.0
    api_key: str | None = None
    batching: bool = True
    cors: Sequence[str] = ()
    access_log: LogFormat | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.queue, int) or self.queue < 1:
            raise UsageError(f"`queue` is {self.queue!r}; it must be a number of images, 1 or more.")
        if not isinstance(self.timeout, (int, float)) or not 0 < self.timeout <= _MAX_TIMEOUT_S:
            raise UsageError(
                f"`timeout` is {self.timeout!r}; it must be above 0 and at most {_MAX_TIMEOUT_S:,} seconds."
            )
        if self.api_key == "":
            raise UsageError("`api_key` is empty; give a key, or None for no key.")
        if isinstance(self.cors, str):
            raise UsageError(f"`cors` is {self.cors!r}; it must be a list of origins.")
        check_origins(self.cors)
        if self.access_log not in (None, *get_args(LogFormat)):
            raise UsageError(f"`access_log` is {self.access_log!r}; it must be common, json or None.")


def make_service(sampler: Sampler, *, settings: Settings | None = None, site: Path | None = None) -> App:
    """Return the service as an ASGI application.

    Args:
        sampler: Sampler of the model. The caller closes the sampler.
        settings: Limits and API key. None for `Settings()`.
        site: Folder from `web.write_site` that is served at /. With None, / redirects to /docs.
    """
    settings, metrics = settings or Settings(), Metrics()
    batcher = Batcher(
        sampler, metrics, queue=settings.queue, timeout=settings.timeout, batching=settings.batching
    )
    metrics.queue_images.set_function(lambda: batcher.queued_images)
    app = _Api(
        describe_images(
            sampler.contract.input.labels, {str(status): text for status, text in _ERRORS.items()}
        ),
        title="ganport",
        version=__version__,
        lifespan=_make_lifespan(batcher),
        docs_url=None,
        redoc_url=None,
        responses=_ERRORS,
    )
    app.state.is_ready = False
    max_images = max(1, min(MAX_IMAGES, _MAX_IMAGE_BYTES // math.prod(sampler.contract.image.shape)))
    fingerprint = fingerprint_of(sampler)
    responder = Responder(sampler, batcher, fingerprint=fingerprint, is_private=settings.api_key is not None)
    app.include_router(make_api(responder, batcher, max_images=max_images, fingerprint=fingerprint))
    app.include_router(make_kserve(sampler, batcher, name=service_name(sampler), max_images=max_images))
    _add_health(app, metrics)
    _add_error_handlers(app)
    if site is None:
        app.add_api_route("/", lambda: RedirectResponse("docs"), include_in_schema=False)
    else:
        app.mount("/", _PageFiles(directory=site, html=True))
    max_body_bytes = _SMALL_BODY_BYTES + max_images * sampler.contract.input.dim * _JSON_BYTES_PER_VALUE
    service: App = LimitsMiddleware(
        ImageRoutes(app, responder), metrics, max_body_bytes=max_body_bytes, api_key=settings.api_key
    )
    if settings.cors:
        service = CorsMiddleware(service, settings.cors)
    return service if settings.access_log is None else AccessLog(service, settings.access_log)


class _Api(FastAPI):
    """FastAPI, with the routes of `images.py` in its OpenAPI document.

    Args:
        image_paths: Paths of the document, from `describe_images`.
        settings: Settings of FastAPI.
    """

    def __init__(self, image_paths: Mapping[str, Any], **settings: Any) -> None:
        super().__init__(**settings)
        self._image_paths = image_paths

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        document["paths"] = {**self._image_paths, **document["paths"]}
        return document


def service_name(sampler: Sampler) -> str:
    """Return the name of the model in URLs. It contains only letters, digits, `_`, `.` and `-`."""
    return re.sub(r"[^\w.-]+", "-", sampler.contract.name, flags=re.ASCII).strip("-") or "generator"


def fingerprint_of(sampler: Sampler) -> str:
    """Return a hash of the model, ganport's version, the provider and the encoders of image files.

    A response depends on these four, on the seed and on the options, and on nothing else.
    """
    about = f"{__version__} {sampler.provider} {encoders()}".encode()
    return hashlib.sha256(bytes.fromhex(sampler.model.fingerprint()) + about).hexdigest()[:32]


def _make_lifespan(batcher: Batcher) -> Any:
    """Return the context manager that FastAPI enters when the service starts, and leaves when it stops."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await batcher.warm_up()
        app.state.is_ready = True
        yield
        app.state.is_ready = False
        await batcher.close()

    return lifespan


class _PageFiles(StaticFiles):
    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers.update(_PAGE_HEADERS)
        return response


def _add_health(app: FastAPI, metrics: Metrics) -> None:
    @app.get(
        "/healthz", tags=["health"], summary="Whether the process is alive", response_class=PlainTextResponse
    )
    async def live() -> str:
        return "alive"

    @app.get(
        "/readyz",
        tags=["health"],
        summary="Whether the service can generate images",
        response_class=PlainTextResponse,
        responses={503: {"description": "The service is starting or stopping"}},
    )
    async def ready() -> Response:
        is_ready = app.state.is_ready
        return PlainTextResponse("ready" if is_ready else "not ready", 200 if is_ready else 503)

    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def figures() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(render_docs(app.openapi()))


def _add_error_handlers(app: FastAPI) -> None:
    """Add handlers that answer every error with a JSON document."""

    async def answer_ganport_error(request: HttpRequest, error: GanportError) -> Response:
        return error_response(error)

    async def answer_validation_error(request: HttpRequest, error: RequestValidationError) -> Response:
        return validation_response(error.errors())

    async def answer_http_error(request: HttpRequest, error: HTTPException) -> Response:
        return json_error(error.status_code, f"{error.detail}.", error.headers)

    # Starlette declares that a handler takes an `Exception`. mypy therefore rejects handlers of subclasses.
    app.add_exception_handler(GanportError, answer_ganport_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, answer_validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, answer_http_error)  # type: ignore[arg-type]
