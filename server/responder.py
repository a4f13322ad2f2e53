"""Responder: the response to a request for one image or for a grid, with the headers that caches need."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ganport.runtime import Sampler, encode_png, make_grid
from ganport.runtime.arrays import Pixels, Seeds
from ganport.runtime.png import fast_encoder
from ganport.runtime.request import Request, request_seeds
from ganport.runtime.variants import MEDIA_TYPES, FileKind, check_variant, encode_image, resize

from .batching import Batcher
from .errors import OtherModelError

MAX_LABEL = 200  # largest number of characters in a label

_CACHE_FOREVER = "max-age=31536000, immutable"


class ImageRequest(NamedTuple):
    """A request for one image.

    Attributes:
        seed: Seed of the image.
        kind: Kind of the file.
        label: Requested label. None for the default label of the seed.
        truncation: Factor by which the latents are scaled towards their mean.
        size: Longer side of the image in pixels. None for the size of the model's images.
        model: Fingerprint in the URL. None if the URL contains no fingerprint.
    """

    seed: int
    kind: FileKind
    label: str | None = None
    truncation: float = 1.0
    size: int | None = None
    model: str | None = None


class FileResponse(NamedTuple):
    """The response to a request for a file: status 200 with the file, or status 304 without content."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Responder:
    """Answers requests for images and grids.

    Args:
        sampler: Sampler of the model.
        batcher: Batcher that generates the images.
        fingerprint: Hash of everything that the bytes of a file depend on, from `service.fingerprint_of`.
        is_private: Whether clients need an API key. If so, the responses forbid shared caches to store them.
    """

    def __init__(self, sampler: Sampler, batcher: Batcher, *, fingerprint: str, is_private: bool) -> None:
        self.sampler, self._batcher, self._fingerprint = sampler, batcher, fingerprint
        self._scope = "private" if is_private else "public"

    async def image(self, wanted: ImageRequest, known_etags: str | None) -> FileResponse:
        """Return the image of a seed.

        Args:
            wanted: Request for the image.
            known_etags: Header If-None-Match of the request. None if the request lacks this header.

        Raises:
            OtherModelError: The fingerprint in the URL is not that of the served model.
            GanportError: Raised by `check_variant`, `request_seeds` or `Batcher.generate`.
        """
        shape = self.sampler.contract.image.shape
        size = wanted.size if wanted.size != max(shape[:2]) else None
        check_variant(shape, size, wanted.kind)
        request = request_seeds(
            self.sampler.contract, [wanted.seed], labels=wanted.label, truncation=wanted.truncation
        )
        encode = functools.partial(_encode_image, size=size, kind=wanted.kind)
        options = f"{wanted.seed} {wanted.label!r} {wanted.truncation!r} {size} {wanted.kind}"
        return await self._respond(
            request, encode, options, wanted.model, known_etags, MEDIA_TYPES[wanted.kind]
        )

    async def grid(
        self, seeds: Seeds, label: str | None, truncation: float, model: str | None, known_etags: str | None
    ) -> FileResponse:
        """Return one grid with the images of all seeds. For other arguments and errors see `image`."""
        request = request_seeds(self.sampler.contract, seeds, labels=label, truncation=truncation)
        options = f"{seeds.tolist()} {label!r} {truncation!r}"
        return await self._respond(request, encode_grid, options, model, known_etags, "image/png")

    async def _respond(
        self,
        request: Request,
        encode: Callable[[Pixels], bytes],
        options: str,
        model: str | None,
        known_etags: str | None,
        media_type: str,
    ) -> FileResponse:
        if model not in (None, self._fingerprint):
            raise OtherModelError(self._fingerprint)
        etag = f'"{hashlib.sha256(f"{self._fingerprint} {options}".encode()).hexdigest()[:32]}"'
        # The content of a URL with a fingerprint never changes, and can be cached forever. Without a
        # fingerprint, the content changes if the service is restarted with a different model.
        headers = {"etag": etag, "cache-control": f"{self._scope}, {_CACHE_FOREVER if model else 'no-cache'}"}
        if known_etags is not None and _matches(known_etags, etag):
            return FileResponse(304, headers, b"")
        headers["content-type"] = media_type
        return FileResponse(200, headers, await self._batcher.generate(request, encode))


def _matches(known_etags: str, etag: str) -> bool:
    """Return whether If-None-Match contains `etag`, by weak comparison (RFC 9110, section 13.1.2)."""
    return known_etags.strip() == "*" or etag in (
        each.strip().removeprefix("W/") for each in known_etags.split(",")
    )


def _encode_image(images: Pixels, *, size: int | None, kind: FileKind) -> bytes:
    return encode_image(images[0] if size is None else resize(images[0], size), kind)


def encode_grid(images: Pixels) -> bytes:
    """Return one PNG that shows all images, encoded by the service's encoder."""
    return encode_png(make_grid(images), encoder=fast_encoder())
