"""The file of a run's history: its lines, without those that are damaged.

A process that is killed may leave half a line at the end, and a disk may damage any line. The other lines
remain readable.
"""

from __future__ import annotations

import json
import math
from typing import Any

_TEXTS = ("finding", "evidence", "remedy")  # fields of a line that hold a text; all others hold a number


def parse_history(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the valid lines of a history, the oldest first, and the number of damaged ones.

    An incomplete last line is not counted, because a process that is killed leaves one.
    """
    *texts, last = content.split(b"\n")
    parsed = [parse_line(text) for text in texts]
    lines = [line for line in (*parsed, parse_line(last)) if line is not None]
    return lines, parsed.count(None)


def parse_line(text: bytes) -> dict[str, Any] | None:
    """Return a line of a history as a dict; None if it is damaged.

    A line has a whole number "step". Lines of findings have texts, and all other fields are numbers.
    """
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not _is_whole(line.get("step")) or not _is_whole(line.get("steps", 1)):
        return None
    if "finding" in line and not all(isinstance(line.get(name), str) for name in _TEXTS):
        return None
    numbers = [value for name, value in line.items() if name not in _TEXTS]
    return line if all(isinstance(value, int | float) for value in numbers) else None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < math.inf
