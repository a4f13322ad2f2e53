"""The options of a URL, such as ?label=7&size=256: which ones there are, and how their values are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl

from ganport.runtime.display import shortened
from ganport.runtime.errors import UsageError

# Only ASCII digits are numbers here. Python's float and int also read other scripts, spaces and underscores.
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_SIZE = re.compile(r"[1-9][0-9]{0,5}")


def read_options(query: bytes, allowed: Sequence[str]) -> dict[str, str]:
    """Return the options in the query of a URL.

    Raises:
        UsageError: An option is unknown, is given twice, or is not valid UTF-8.
    """
    if not query:
        return {}
    try:
        given = parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise UsageError("The options in the URL are not UTF-8; encode them as UTF-8.") from None
    check_names((name for name, _ in given), allowed)
    return dict(given)


def check_names(names: Iterable[str], allowed: Sequence[str]) -> None:
    """Raise UsageError if the name of an option is unknown, or is given twice.

    A client that misspells an option would otherwise get a different image than it requested, and could cache
    that image.
    """
    known: set[str] = set()
    for name in names:
        if name not in allowed:
            raise UsageError(f"Option {shortened(name)} is unknown; the options are {', '.join(allowed)}.")
        if name in known:
            raise UsageError(f"Option {name!r} is given more than once.")
        known.add(name)


def read_truncation(text: str) -> float:
    """Return a truncation. Raises UsageError if the text is not a number from 0 to 1."""
    if _NUMBER.fullmatch(text) and 0 <= float(text) <= 1:
        return float(text)
    raise UsageError(
        f"Option 'truncation' is {shortened(text)}; it must be a number from 0 to 1, such as 0.7."
    )


def read_size(text: str) -> int:
    """Return a size. Raises UsageError if the text is not a whole number above 0."""
    if _SIZE.fullmatch(text):
        return int(text)
    raise UsageError(f"Option 'size' is {shortened(text)}; it must be a number of pixels, such as 256.")
