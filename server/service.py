"""make_service: all that a process serves, as one ASGI application."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from ganport.runtime import Sampler, __version__
from ganport.runtime.errors import GanportError, UsageError

from .api import MOST_IMAGES, Images, make_api
from .batching import Batcher
from .express import Express
from .kserve import make_kserve
from .limits import App, Gate
from .metrics import Metrics
from .refusals import refusal, refuse

_MOST_PIXEL_BYTES = 64_000_000  # of one request's images, where they are large
_LONGEST_PATIENCE_S = 3_600
_BYTES_PER_VALUE = 32  # of a number in JSON
_ISOLATED = {  # the page's WebAssembly then may use threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-cache",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "No request of this interface"},
    401: {"description": "No key, or another one"},
    408: {"description": "The request took too long to arrive"},
    413: {"description": "The body is too large"},
    415: {"description": "A compressed body, or one that is not said to be JSON"},
    422: {"description": "A malformed request", "content": {"application/json": {"schema": {"type": "object"}}}},
    429: {"description": "Too much waits already; Retry-After says for how long"},
    504: {"description": "Not drawn in time"},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How much a service takes on.

    Attributes:
        most_waiting: images that may wait to be drawn; beyond, clients are told to come again (429).
        patience: seconds until a request is given up (504).
        api_key: that clients must show; None lets all in.
        gathers: False draws each request alone, to compare.
    """

    most_waiting: int = 2_048
    patience: float = 30.0
    api_key: str | None = None
    gathers: bool = True

    def __post_init__(self) -> None:
        """Raise UsageError where a number can't be."""
        if not 0 < self.patience <= _LONGEST_PATIENCE_S:
            raise UsageError(
                f"The timeout is {self.patience:g} seconds; it takes more than 0, and at most {_LONGEST_PATIENCE_S:,}."
            )
        if self.most_waiting < 1:
            raise UsageError(f"The queue is {self.most_waiting:,} images; it takes 1 or more.")


def make_service(sampler: Sampler, settings: Settings, site: Path | None = None) -> App:
    """Return the application.

    Args:
        sampler: that draws; it is the caller's to close.
        settings: see Settings.
        site: a folder that `web.write_site` wrote, for `/`; without it `/` leads to the page of the interface.
    """
    metrics = Metrics()
    batcher = Batcher(sampler, metrics, settings.most_waiting, settings.patience, settings.gathers)
    metrics.queue_images.set_function(lambda: batcher.waiting)
    most_images = max(1, min(MOST_IMAGES, _MOST_PIXEL_BYTES // int(np.prod(sampler.model.image.shape))))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        first = (sampler.model.input.seeds or (0,))[0]
        sampler.sample([first])  # what is done once is done before the first client comes
        app.state.is_ready = True
        yield
        app.state.is_ready = False
        await batcher.close()

    app = FastAPI(title="ganport", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, responses=_ERRORS)
    app.state.is_ready = False
    fingerprint = fingerprint_of(sampler)
    images = Images(sampler, batcher, fingerprint, is_private=settings.api_key is not None)
    app.include_router(make_api(images, batcher, most_images, fingerprint))
    app.include_router(make_kserve(sampler, batcher, service_name(sampler), most_images))
    _add_health(app, metrics)
    _add_errors(app)
    if site is None:
        app.add_api_route("/", lambda: RedirectResponse("docs"), include_in_schema=False)
    else:
        app.mount("/", _Site(directory=site, html=True))
    most_bytes = 65_536 + most_images * sampler.model.input.dim * _BYTES_PER_VALUE
    return Gate(Express(app, images), metrics, most_bytes, settings.api_key)


def service_name(sampler: Sampler) -> str:
    """Return the model's name as it stands in addresses."""
    return re.sub(r"[^\w.-]+", "-", sampler.model.name, flags=re.ASCII) or "generator"


def fingerprint_of(sampler: Sampler) -> str:
    """Return a hash of all that an image depends on but its seed and options: model, version, provider."""
    about = f"{__version__} {sampler.provider}".encode()
    return hashlib.sha256(bytes.fromhex(sampler.fingerprint()) + about).hexdigest()[:32]


class _Site(StaticFiles):
    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers.update(_ISOLATED)
        return response


def _add_health(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"], summary="Is the process alive", response_class=PlainTextResponse)
    async def live() -> str:
        return "alive"

    @app.get("/readyz", tags=["health"], summary="Can it draw", response_class=PlainTextResponse, responses={503: {}})
    async def ready() -> Response:
        is_ready = app.state.is_ready
        return PlainTextResponse("ready" if is_ready else "not ready", 200 if is_ready else 503)

    @app.get("/metrics", tags=["health"], summary="For Prometheus", response_class=PlainTextResponse)
    async def figures() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(describe_interface(app.openapi()))


def _add_errors(app: FastAPI) -> None:
    """Answer every error with one line of JSON."""

    async def ours(request: Request, error: GanportError) -> Response:
        return refusal(error)

    async def malformed(request: Request, error: RequestValidationError) -> Response:
        # A value that may be of several kinds is wrong for each: what is wrong within one says more, the deeper the more.
        said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if any(each["loc"] == ("body",) for each in error.errors()) and not re.fullmatch(r"application/(.+\+)?json", said):
            return refuse(415, "The body is JSON, and says so: Content-Type: application/json.")
        meant = max(error.errors(), key=lambda each: (not each["type"].endswith("_type"), len(each["loc"])))
        place = ".".join(str(part) for part in meant["loc"] if str(part).isalnum() and part not in ("str", "int"))
        return refuse(422, f"{place}: {meant['msg']}.")

    async def http(request: Request, error: HTTPException) -> Response:
        return refuse(error.status_code, f"{error.detail}.", error.headers)

    # Starlette types its handlers by the root of all errors.
    app.add_exception_handler(GanportError, ours)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, malformed)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, http)  # type: ignore[arg-type]


def describe_interface(schema: dict[str, Any]) -> str:
    """Return the OpenAPI document as one page, which needs nothing from elsewhere."""
    sections = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            rows = "".join(
                f"<li><code>{html.escape(each['name'])}</code> {html.escape(each.get('description', ''))}</li>"
                for each in operation.get("parameters", [])
            )
            statuses = ", ".join(sorted(operation["responses"]))
            sections.append(
                f"<section><h2><b>{method.upper()}</b> <code>{html.escape(path)}</code></h2>"
                f"<p>{html.escape(operation.get('summary', ''))}</p><ul>{rows}</ul><p class=quiet>{statuses}</p></section>"
            )
    return _PAGE.format(title=html.escape(schema["info"]["title"]), sections="".join(sections))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }}
body {{ max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1rem; margin: 1.6rem 0 0 }}
p, ul {{ margin: .2rem 0 }}
.quiet {{ opacity: .6 }}
</style>
<h1>{title}</h1><p>The whole of it, for programs: <a href="openapi.json">openapi.json</a></p>{sections}</html>"""
