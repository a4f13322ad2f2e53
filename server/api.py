"""/v1: an image, a grid, a sample, the model. What a request gets depends on the model, the seeds and the options alone."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ganport.runtime import Sampler, __version__, check_seeds, encode_png, make_grid, parse_seeds
from ganport.runtime.errors import UsageError
from ganport.runtime.images import encode_pngs
from ganport.runtime.sampler import Labels
from ganport.runtime.seeds import SEED_LIMIT
from ganport.runtime.writers import image_name

from .batching import Batcher, Draw
from .refusals import OtherModelError

Pixels = npt.NDArray[np.uint8]
Seeds = npt.NDArray[np.int64]

FOR_EVER = "max-age=31536000, immutable"
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}, "description": "The image"},
    304: {"description": "It is the one that the client has"},
    404: {"description": "Another model is served"},
}
_FILES = ("image/png", "application/x-npz", "application/x-tar")
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _FILES}, "description": "The images"}
}
MOST_IMAGES = 1_024  # of one request
_LONGEST_LIST, _LONGEST_LABEL = 10_000, 200  # characters
Many = Field(max_length=MOST_IMAGES, fail_fast=True)
Seed = Annotated[int, Field(strict=True, ge=0, lt=SEED_LIMIT)]  # true is no seed
SeedPath = Annotated[int, Path(ge=0, lt=SEED_LIMIT, description="The image's number")]
SeedText = Annotated[str, Field(max_length=_LONGEST_LIST)]
LabelName = Annotated[str, Field(max_length=_LONGEST_LABEL)]
LabelQuery = Annotated[str | None, Query(description="Class to draw, of a model that has some", max_length=_LONGEST_LABEL)]
ModelQuery = Annotated[
    str | None,
    Query(description="Fingerprint of the model, from /v1/model: the answer may then be kept for ever", max_length=64),
]
TruncationQuery = Annotated[float, Query(ge=0, le=1, description="Below 1: nearer to the average image")]


def _takes(*known: str) -> Any:
    """Return a dependency that refuses options of other names, or that come twice: a slip would draw another image."""

    def check(request: Request) -> None:
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in known:
                raise UsageError(f"There is no option {name[:_LONGEST_LABEL]!r}; there is {', '.join(known)}.")
            if given.count(name) > 1:
                raise UsageError(f"The option {name!r} comes more than once.")

    return Depends(check)


class SampleRequest(BaseModel):
    """Images to draw."""

    model_config = ConfigDict(extra="forbid")

    seeds: SeedText | Annotated[list[Seed], Many] = Field(description='Numbers, or a text such as "0-63" or "0,5,9-12"')
    labels: LabelName | Seed | Annotated[list[LabelName | Seed], Many] | None = Field(
        None, description="A class for all, or one for each"
    )
    truncation: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)
    format: Literal["png", "npz", "tar"] = Field("png", description="One grid; arrays; or a PNG for each")


@dataclasses.dataclass(frozen=True)
class Png:
    """An answer: 200 with an image, or 304 before anything was drawn."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def response(self) -> Response:
        """Return it in the framework's form."""
        return Response(self.content, self.status, self.headers)


class Images:
    """PNGs of what is asked for, with all that caches need.

    Args:
        sampler: that draws.
        batcher: that it draws by.
        fingerprint: of the model and of all else that an image depends on.
        is_private: whether answers are for those with a key.
    """

    def __init__(self, sampler: Sampler, batcher: Batcher, fingerprint: str, is_private: bool) -> None:
        self.sampler, self._batcher, self._fingerprint = sampler, batcher, fingerprint
        self._whose = "private" if is_private else "public"

    async def one(self, seed: int, label: str | None, truncation: float, model: str | None, known: str | None) -> Png:
        """Return the image of a seed.

        Args:
            seed: its number.
            label: its class.
            truncation: factor of the latents.
            model: the fingerprint of the model that the address means, if it names one.
            known: the request's If-None-Match.

        Raises:
            OtherModelError: another model is served.
            GanportError: as `make_draw` and `Batcher.draw`.
        """
        draw = make_draw(self.sampler, [seed], label, truncation)
        options = f"{seed} {label!r} {truncation!r}"
        return await self._answer(draw, lambda images: encode_png(images[0]), options, model, known)

    async def grid(self, seeds: Seeds, label: str | None, truncation: float, model: str | None, known: str | None) -> Png:
        """Return one image of many; as `one`."""
        draw = make_draw(self.sampler, seeds, label, truncation)
        return await self._answer(draw, pack_grid, f"{seeds.tolist()} {label!r} {truncation!r}", model, known)

    async def _answer(
        self, draw: Draw, pack: Callable[[Pixels], bytes], options: str, model: str | None, known: str | None
    ) -> Png:
        if model not in (None, self._fingerprint):
            raise OtherModelError(self._fingerprint)
        tag = f'"{hashlib.sha256(f"{self._fingerprint} {options}".encode()).hexdigest()[:32]}"'
        # An address that names the model shows the same for ever; another's image may be that of the next model.
        headers = {"etag": tag, "cache-control": f"{self._whose}, {FOR_EVER if model else 'no-cache'}"}
        if known is not None and _matches(known, tag):
            return Png(304, headers, b"")
        headers["content-type"] = "image/png"
        # What fits into a batch is packed where it is drawn; more is put together first.
        if len(draw) <= self.sampler.batch_size:
            return Png(200, headers, (await self._batcher.draw(draw, pack))[0])
        drawn = await self._batcher.draw(draw, lambda images: images)
        return Png(200, headers, await self._batcher.pack(lambda: pack(np.concatenate(drawn))))


def make_api(images: Images, batcher: Batcher, most_images: int, fingerprint: str) -> APIRouter:
    """Return the routes below /v1.

    Args:
        images: answers what can be cached.
        batcher: draws the rest.
        most_images: that one request may ask for.
        fingerprint: as for Images.
    """
    router, sampler = APIRouter(prefix="/v1", tags=["images"]), images.sampler

    one_takes, grid_takes = _takes("label", "truncation", "model"), _takes("seeds", "label", "truncation", "model")

    @router.get(
        "/images/{seed}.png",
        summary="The image of a seed",
        responses=_PNG,
        response_class=Response,
        dependencies=[one_takes],
    )
    async def image(
        request: Request,
        seed: SeedPath,
        label: LabelQuery = None,
        truncation: TruncationQuery = 1.0,
        model: ModelQuery = None,
    ) -> Response:
        return (await images.one(seed, label, truncation, model, request.headers.get("if-none-match"))).response()

    @router.get("/grid.png", summary="Many images in one", responses=_PNG, response_class=Response, dependencies=[grid_takes])
    async def grid(
        request: Request,
        seeds: Annotated[str, Query(description="Such as 0-63 or 0,5,9-12", max_length=_LONGEST_LIST)] = "0-63",
        label: LabelQuery = None,
        truncation: TruncationQuery = 1.0,
        model: ModelQuery = None,
    ) -> Response:
        wanted = parse_seeds(seeds, most_images)
        return (await images.grid(wanted, label, truncation, model, request.headers.get("if-none-match"))).response()

    @router.post("/sample", summary="Images of many seeds, in a file", responses=_FILE, response_class=Response)
    async def sample(wanted: SampleRequest) -> Response:
        seeds = wanted.seeds if isinstance(wanted.seeds, str) else ",".join(map(str, wanted.seeds))
        draw = make_draw(sampler, parse_seeds(seeds, most_images), wanted.labels, wanted.truncation)
        drawn = await batcher.draw(draw, lambda part: part)
        kind, pack = _PACKERS[wanted.format]
        return Response(await batcher.pack(lambda: pack(np.concatenate(drawn), draw.seeds)), media_type=kind)

    @router.get("/model", summary="What the model is")
    def about() -> dict[str, Any]:
        document: dict[str, Any] = json.loads(sampler.model.to_json())
        del document["golden"]  # its picture is for verifying the file
        return {
            "contract": document,
            "fingerprint": fingerprint,
            "provider": sampler.provider,
            "created_by": f"ganport {__version__}",
            "most_images": most_images,
        }

    return router


def make_draw(sampler: Sampler, seeds: Sequence[int] | Seeds, labels: Labels, truncation: float) -> Draw:
    """Return what is to be drawn, after all that a client can get wrong. Raises UsageError and its kind."""
    checked = sampler.check_request(seeds if isinstance(seeds, np.ndarray) else check_seeds(seeds), truncation)
    # What is baked into a file is baked in with its classes.
    is_baked = sampler.model.input.kind == "fixed" and labels is None
    return Draw(checked, None if is_baked else sampler.resolve_labels(labels, checked), truncation)


def _matches(asked: str, tag: str) -> bool:
    """Return whether an If-None-Match header names the tag (RFC 9110, section 13.1.2; its comparison is the weak one)."""
    return asked.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in asked.split(","))


def pack_grid(images: Pixels) -> bytes:
    """Return one PNG of all images."""
    return encode_png(make_grid(images))


def _pack_png(images: Pixels, seeds: Seeds) -> bytes:
    return pack_grid(images)


def _pack_npz(images: Pixels, seeds: Seeds) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, images=images, seeds=seeds)
    return file.getvalue()


def _pack_tar(images: Pixels, seeds: Seeds) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for seed, content in zip(seeds.tolist(), encode_pngs(images), strict=True):
            entry = tarfile.TarInfo(image_name(seed))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


_PACKERS: dict[str, tuple[str, Callable[[Pixels, Seeds], bytes]]] = {
    "png": ("image/png", _pack_png),
    "npz": ("application/x-npz", _pack_npz),
    "tar": ("application/x-tar", _pack_tar),
}
