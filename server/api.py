"""The routes of /v1 other than single images: a grid, a file of images, the model.

A response depends only on the model, the seeds and the options.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.exceptions import HTTPException

from ganport.runtime import __version__, parse_seeds
from ganport.runtime.arrays import Pixels, Seeds
from ganport.runtime.display import shortened
from ganport.runtime.png import encode_pngs, fast_encoder
from ganport.runtime.request import request_seeds
from ganport.runtime.seeds import SEED_LIMIT
from ganport.runtime.writers import image_name

from .batching import Batcher
from .error_responses import validation_response
from .json_bodies import in_background, parse_json
from .options import check_names
from .responder import MAX_LABEL, Responder, encode_grid

MAX_IMAGES = 1_024  # largest number of images in one request

_MAX_LIST = 10_000  # largest number of characters in a list of seeds

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
SeedText = Annotated[str, Field(max_length=_MAX_LIST)]
LabelName = Annotated[str, Field(max_length=MAX_LABEL)]
SeedsQuery = Annotated[str, Query(description="Seeds, such as 0-63 or 0,5,9-12", max_length=_MAX_LIST)]
LabelQuery = Annotated[
    str | None, Query(description="Requested label, for a model with labels", max_length=MAX_LABEL)
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


_SAMPLE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": SampleRequest.model_json_schema(),
                "example": {"seeds": "0-63", "truncation": 0.9, "format": "npz"},
            }
        },
    }
}


def _listed(model: type[BaseModel]) -> str:
    *first, last = model.model_fields
    return f"{', '.join(first)} and {last}"


def make_api(responder: Responder, batcher: Batcher, *, max_images: int, fingerprint: str) -> APIRouter:
    """Return a router with the routes of /v1.

    Args:
        responder: Responder to requests for a grid.
        batcher: Batcher that generates the images for /v1/sample.
        max_images: Largest number of images in one request.
        fingerprint: Fingerprint of the model, as for `Responder`.
    """
    router, sampler = APIRouter(prefix="/v1", tags=["images"]), responder.sampler

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
        file = await responder.grid(parsed, label, truncation, model, known_etags)
        return Response(file.content, file.status, file.headers)

    @router.post(
        "/sample",
        summary="Images of many seeds in a file",
        responses=_FILE,
        response_class=Response,
        openapi_extra=_SAMPLE_BODY,
    )
    async def sample(http: HttpRequest) -> Response:
        _check_media_type(http.headers.get("content-type", ""))
        try:
            body = await in_background(_read_sample_request, await http.body())
        except ValidationError as error:
            return validation_response(error.errors(include_input=False, include_context=False))
        seeds = body.seeds if isinstance(body.seeds, str) else ",".join(map(str, body.seeds))
        parsed = parse_seeds(seeds, at_most=max_images)
        request = request_seeds(sampler.contract, parsed, labels=body.labels, truncation=body.truncation)
        media_type, encode = _ENCODERS[body.format]
        content = await batcher.generate(request, lambda images: encode(images, request.seeds))
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


def _read_sample_request(body: bytes) -> SampleRequest:
    return SampleRequest.model_validate(parse_json(body))


def _check_media_type(header: str) -> None:
    """Raise HTTPException with status 415 unless a body is declared as JSON."""
    media_type = header.partition(";")[0].strip().lower()
    if not re.fullmatch(r"application/(.+\+)?json", media_type):
        raise HTTPException(415, "Send the body as JSON, with the header Content-Type: application/json")


def _allow_options(*allowed: str) -> Any:
    """Return a FastAPI dependency that rejects query options not in `allowed`, and repeated options."""

    def check(request: HttpRequest) -> None:
        check_names((name for name, _ in request.query_params.multi_items()), allowed)

    return Depends(check)


def _encode_grid_file(images: Pixels, seeds: Seeds) -> bytes:
    return encode_grid(images)


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
