"""How errors, file names, seeds and texts from files are shown to people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def printable(text: str) -> str:
    r"""Return a text with its control characters escaped, so that it is safe to print.

    Control characters from a file could move the cursor, or forge lines of output.

    >>> print(printable("sneaker\x1b[2J é"))
    sneaker\x1b[2J é
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class if it has no text."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("[ONNXRuntimeError] : ").rstrip(".")


def system_reason(error: OSError) -> str:
    """Return the operating system's reason for an error, such as "permission denied"."""
    return (error.strerror or str(error)).lower()


def model_name(model: Path | bytes) -> str:
    """Return the text that error messages use for a model: its path, or its size if it was given as bytes."""
    return f"the model of {len(model):,} bytes" if isinstance(model, bytes) else str(model)


def shortened(value: object, length: int = 60) -> str:
    """Return the `repr` of a value, cut to at most `length` characters.

    >>> shortened("a" * 100, 12)
    "'aaaaaaaa..."
    """
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def format_seeds(seeds: Sequence[int], *, at_most: int = 8) -> str:
    """Return seeds as a text of ranges, in the form that `seeds.parse_seeds` reads.

    Args:
        seeds: Seeds in any order.
        at_most: Largest number of ranges that are shown. An ellipsis stands for the others.

    >>> format_seeds([0, 1, 2, 7, 9, 10])
    '0-2,7,9-10'
    """
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and seed == spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in spans[:at_most]]
    return ",".join(shown) + (",..." if len(spans) > at_most else "")
