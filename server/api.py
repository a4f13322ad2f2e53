"""The routes of /v1: an image, a grid, a file of images, the model.

A response depends only on the model, the seeds and the options.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ganport.runtime import Sampler, __version__, encode_png, make_grid, parse_seeds
from ganport.runtime.arrays import Pixels, Seeds
from ganport.runtime.display import shortened
from ganport.runtime.errors import UsageError
from ganport.runtime.png import encode_pngs, fast_encoder
from ganport.runtime.request import Request, request_seeds
from ganport.runtime.seeds import SEED_LIMIT
from ganport.runtime.writers import image_name

from .batching import Batcher
from .errors import OtherModelError

MAX_IMAGES = 1_024  # largest number of images in one request

_CACHE_FOREVER = "max-age=31536000, immutable"
_MAX_LIST, _MAX_LABEL = 10_000, 200  # largest number of characters in a list of seeds, and in a label

_PNG: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        "description": "The image",
    },
    304: {"description": "The client has this image already"},
    404: {"description": "The fingerprint is not that of the served model"},
}
_FILE_TYPES = ("image/png", "application/x-npz", "application/x-tar")
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _FILE_TYPES},
        "description": "The images",
    }
}

_ImageList = Field(max_length=MAX_IMAGES, fail_fast=True)
# Without strict=True, pydantic would accept true as the seed 1.
Seed = Annotated[int, Field(strict=True, ge=0, lt=SEED_LIMIT)]
SeedPath = Annotated[int, Path(ge=0, lt=SEED_LIMIT, description="Seed of the image")]
SeedText = Annotated[str, Field(max_length=_MAX_LIST)]
LabelName = Annotated[str, Field(max_length=_MAX_LABEL)]
SeedsQuery = Annotated[str, Query(description="Seeds, such as 0-63 or 0,5,9-12", max_length=_MAX_LIST)]
LabelQuery = Annotated[
    str | None, Query(description="Requested label, for a model with labels", max_length=_MAX_LABEL)
]
ModelQuery = Annotated[
    str | None,
    Query(
        description="Fingerprint of the model, from /v1/model; the response can then be cached forever",
        max_length=64,
    ),
]
TruncationQuery = Annotated[float, Query(ge=0, le=1, description="Below 1: nearer to the average image")]


class SampleRequest(BaseModel):
    """Images to generate."""

    model_config = ConfigDict(extra="forbid")

    seeds: SeedText | Annotated[list[Seed], _ImageList] = Field(
        description='Whole numbers, or a text such as "0-63" or "0,5,9-12"'
    )
    labels: LabelName | Seed | Annotated[list[LabelName | Seed], _ImageList] | None = Field(
        None, description="One label for all images, or one for each"
    )
    truncation: float = Field(
        1.0, ge=0, le=1, allow_inf_nan=False, description="Below 1: nearer to the average image"
    )
    format: Literal["png", "npz", "tar"] = Field(
        "png", description="One grid as PNG, arrays as NPZ, or a tar file with one PNG per image"
    )

    @model_validator(mode="before")
    @classmethod
    def reject_unknown_keys(cls, body: object) -> object:
        """Name the first unknown key. pydantic would make an error for each of them, and a body has room for
        a hundred thousand.
        """
        if isinstance(body, dict):
            unknown = next((key for key in body if key not in cls.model_fields), None)
            if unknown is not None:
                raise ValueError(f"the key {shortened(unknown)} is unknown; the keys are {_listed(cls)}")
        return body


def _listed(model: type[BaseModel]) -> str:
    *first, last = model.model_fields
    return f"{', '.join(first)} and {last}"


@dataclasses.dataclass(frozen=True)
class PngResponse:
    """The response to a request for a PNG: status 200 with the PNG, or status 304 without content."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def to_http(self) -> Response:
        """Return this response as a response of FastAPI."""
        return Response(self.content, self.status, self.headers)


class PngResponder:
    """Answers requests for PNGs, with the headers that caches need.

    Args:
        sampler: Sampler of the model.
        batcher: Batcher that generates the images.
        fingerprint: Hash of the model, ganport's version and the provider, from `service.fingerprint_of`.
        is_private: Whether clients need an API key. If so, the responses forbid shared caches to store them.
    """

    def __init__(self, sampler: Sampler, batcher: Batcher, *, fingerprint: str, is_private: bool) -> None:
        self.sampler, self._batcher, self._fingerprint = sampler, batcher, fingerprint
        self._scope = "private" if is_private else "public"

    async def image(
        self, seed: int, label: str | None, truncation: float, model: str | None, known_etags: str | None
    ) -> PngResponse:
        """Return the image of a seed.

        Args:
            seed: Seed of the image.
            label: Requested label. None for the default label of the seed.
            truncation: Factor by which the latents are scaled towards their mean.
            model: Fingerprint in the URL. None if the URL contains no fingerprint.
            known_etags: Header If-None-Match of the request. None if the request lacks this header.

        Raises:
            OtherModelError: `model` is not the fingerprint of the served model.
            GanportError: Raised by `runtime.request.request_seeds` or `Batcher.generate`.
        """
        request = _make_request(self.sampler, [seed], label, truncation)
        options = f"{seed} {label!r} {truncation!r}"
        return await self._respond(request, _encode_image, options, model, known_etags)

    async def grid(
        self, seeds: Seeds, label: str | None, truncation: float, model: str | None, known_etags: str | None
    ) -> PngResponse:
        """Return one grid with the images of all seeds. For other arguments and errors see `image`."""
        request = _make_request(self.sampler, seeds, label, truncation)
        options = f"{seeds.tolist()} {label!r} {truncation!r}"
        return await self._respond(request, _encode_grid, options, model, known_etags)

    async def _respond(
        self,
        request: Request,
        encode: Callable[[Pixels], bytes],
        options: str,
        model: str | None,
        known_etags: str | None,
    ) -> PngResponse:
        if model not in (None, self._fingerprint):
            raise OtherModelError(self._fingerprint)
        etag = f'"{hashlib.sha256(f"{self._fingerprint} {options}".encode()).hexdigest()[:32]}"'
        # The content of a URL with a fingerprint never changes, and can be cached forever. Without a
        # fingerprint, the content changes if the service is restarted with a different model.
        headers = {"etag": etag, "cache-control": f"{self._scope}, {_CACHE_FOREVER if model else 'no-cache'}"}
        if known_etags is not None and _matches(known_etags, etag):
            return PngResponse(304, headers, b"")
        headers["content-type"] = "image/png"
        # If the request fits into one batch, the batcher encodes the images, and meanwhile generates the next
        # batch. A larger request is generated in several parts, which are joined and encoded here.
        if len(request) <= self.sampler.model.batch_size:
            return PngResponse(200, headers, (await self._batcher.generate(request, encode))[0])
        parts = await self._batcher.generate(request, _unchanged)
        return PngResponse(
            200, headers, await self._batcher.run_encoder(lambda: encode(np.concatenate(parts)))
        )


def make_api(responder: PngResponder, batcher: Batcher, *, max_images: int, fingerprint: str) -> APIRouter:
    """Return a router with the routes of /v1.

    Args:
        responder: Responder to requests for an image or a grid.
        batcher: Batcher that generates the images for /v1/sample.
        max_images: Largest number of images in one request.
        fingerprint: Fingerprint of the model, as for `PngResponder`.
    """
    router, sampler = APIRouter(prefix="/v1", tags=["images"]), responder.sampler

    @router.get(
        "/images/{seed}.png",
        summary="The image of a seed",
        responses=_PNG,
        response_class=Response,
        dependencies=[_allow_options("label", "truncation", "model")],
    )
    async def image(
        request: HttpRequest,
        seed: SeedPath,
        label: LabelQuery = None,
        truncation: TruncationQuery = 1.0,
        model: ModelQuery = None,
    ) -> Response:
        known_etags = request.headers.get("if-none-match")
        return (await responder.image(seed, label, truncation, model, known_etags)).to_http()

    @router.get(
        "/grid.png",
        summary="Many images in one grid",
        responses=_PNG,
        response_class=Response,
        dependencies=[_allow_options("seeds", "label", "truncation", "model")],
    )
    async def grid(
        request: HttpRequest,
        seeds: SeedsQuery = "0-63",
        label: LabelQuery = None,
        truncation: TruncationQuery = 1.0,
        model: ModelQuery = None,
    ) -> Response:
        parsed = parse_seeds(seeds, at_most=max_images)
        known_etags = request.headers.get("if-none-match")
        return (await responder.grid(parsed, label, truncation, model, known_etags)).to_http()

    @router.post(
        "/sample", summary="Images of many seeds in a file", responses=_FILE, response_class=Response
    )
    async def sample(body: SampleRequest) -> Response:
        seeds = body.seeds if isinstance(body.seeds, str) else ",".join(map(str, body.seeds))
        parsed = parse_seeds(seeds, at_most=max_images)
        request = request_seeds(sampler.contract, parsed, labels=body.labels, truncation=body.truncation)
        parts = await batcher.generate(request, _unchanged)
        media_type, encode = _ENCODERS[body.format]
        content = await batcher.run_encoder(lambda: encode(np.concatenate(parts), request.seeds))
        return Response(content, media_type=media_type)

    @router.get("/model", summary="Description of the model")
    def model() -> dict[str, Any]:
        document = sampler.contract.to_dict()
        del document["golden"]  # the golden images are large, and only needed to verify the file
        return {
            "contract": document,
            "fingerprint": fingerprint,
            "provider": sampler.provider,
            "created_by": f"ganport {__version__}",
            "most_images": max_images,
        }

    return router


def _allow_options(*allowed: str) -> Any:
    """Return a FastAPI dependency that rejects query options not in `allowed`, and repeated options.

    FastAPI alone ignores unknown options. A client that misspells an option would then get a different image
    than it requested, and could cache that image.
    """

    def check(request: HttpRequest) -> None:
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in allowed:
                raise UsageError(
                    f"Option {name[:_MAX_LABEL]!r} is unknown; the options are {', '.join(allowed)}."
                )
            if given.count(name) > 1:
                raise UsageError(f"Option {name!r} is given more than once.")

    return Depends(check)


def _make_request(sampler: Sampler, seeds: Iterable[int], label: str | None, truncation: float) -> Request:
    return request_seeds(sampler.contract, seeds, labels=label, truncation=truncation)


def _matches(known_etags: str, etag: str) -> bool:
    """Return whether If-None-Match contains `etag`, by weak comparison (RFC 9110, section 13.1.2)."""
    return known_etags.strip() == "*" or etag in (
        each.strip().removeprefix("W/") for each in known_etags.split(",")
    )


def _unchanged(images: Pixels) -> Pixels:
    return images


def _encode_image(images: Pixels) -> bytes:
    return encode_png(images[0], encoder=fast_encoder())


def _encode_grid(images: Pixels) -> bytes:
    return encode_png(make_grid(images), encoder=fast_encoder())


def _encode_grid_file(images: Pixels, seeds: Seeds) -> bytes:
    return _encode_grid(images)


def _encode_npz(images: Pixels, seeds: Seeds) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, images=images, seeds=seeds)
    return file.getvalue()


def _encode_tar(images: Pixels, seeds: Seeds) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for seed, content in zip(seeds.tolist(), encode_pngs(images, encoder=fast_encoder()), strict=True):
            entry = tarfile.TarInfo(image_name(seed))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


_ENCODERS: dict[str, tuple[str, Callable[[Pixels, Seeds], bytes]]] = {
    "png": ("image/png", _encode_grid_file),
    "npz": ("application/x-npz", _encode_npz),
    "tar": ("application/x-tar", _encode_tar),
}
