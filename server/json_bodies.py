"""JSON documents in the bodies of requests."""

from __future__ import annotations

import asyncio
import collections
import json
from collections.abc import Callable
from typing import Any, TypeVar

from ganport.runtime.display import first_line, shortened

from .errors import BodyError

MAX_JSON_BYTES = 2_500_000  # room for 1,024 images with 100 latents each
# Each key of an object is followed by a colon. The parser holds up all other requests until the end of an
# object, for 0.4 s if it has 100,000 keys. The documents of this service have a few keys.
MAX_COLONS = 10_000
_SMALL = 16_384  # bytes; parsing a smaller document takes less than a millisecond

_Parsed = TypeVar("_Parsed")


async def in_background(parse: Callable[[bytes], _Parsed], body: bytes) -> _Parsed:
    """Return `parse(body)`. Other requests are answered while a large body is parsed."""
    return parse(body) if len(body) <= _SMALL else await asyncio.to_thread(parse, body)


def parse_json(body: bytes) -> Any:
    """Return the JSON document (RFC 8259) in a body.

    Raises:
        BodyError: The body is not valid JSON, is too long, nested too deeply or full of keys, or has an
            object with two equal keys. Parsers disagree about which of two equal keys counts.
    """
    if len(body) > MAX_JSON_BYTES:
        raise BodyError(
            f"it has {len(body):,} bytes, and the limit for JSON is {MAX_JSON_BYTES:,}; send fewer values, "
            "or send tensors as binary data"
        )
    colons = body.count(b":")
    if colons > MAX_COLONS:
        raise BodyError(f"it has {colons:,} colons, and the limit is {MAX_COLONS:,}; send fewer keys")
    try:
        return json.loads(body, object_pairs_hook=_unique, parse_float=_to_float)
    except BodyError:
        raise  # it is a ValueError, too
    except RecursionError:
        raise BodyError("it is nested too deeply") from None
    except ValueError as error:
        raise BodyError(f"it is not valid JSON: {first_line(error)}") from None


def _to_float(text: str) -> float:
    # By default the parser reads a list of floats without ever releasing Python's lock, which takes 0.1 s for
    # 1.3 MB. No other thread runs in this time. A call of a Python function lets other threads run.
    return float(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of an object as a dict. Raises BodyError if two keys are equal."""
    found = dict(pairs)
    if len(found) != len(pairs):
        (twice, _), *_ = collections.Counter(key for key, _ in pairs).most_common(1)
        raise BodyError(f"the key {shortened(twice)} occurs twice in one object")
    return found
