"""Coverage: the executed lines of ganport and of Pillow, to tell inputs that reach new code from others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

_Result = TypeVar("_Result")

_ROOT = Path(__file__).parents[2]
_OTHERS = (f"{_ROOT}/tests/", f"{_ROOT}/.venv/")  # code in the repository's folder that is not ganport's


class Coverage:
    """Records executed lines, in this thread and in new ones, while a function runs.

    Args:
        is_traced: Whether lines are recorded.

    Attributes:
        seen: Lines that were executed at least once, and other outcomes that the caller adds.
    """

    def __init__(self, *, is_traced: bool = True) -> None:
        self._is_traced = is_traced
        self.seen: set[Hashable] = set()
        self._is_recorded: dict[str, bool] = {}  # by the name of a Python file

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Call a function, record its lines, and return its result."""
        if not self._is_traced:
            return function()
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        try:
            return function()
        finally:
            sys.settrace(None)
            threading.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        # Code objects are not used as keys, because their hash takes long.
        name = frame.f_code.co_filename
        is_recorded = self._is_recorded.get(name)
        if is_recorded is None:
            is_own = name.startswith(f"{_ROOT}/") and not name.startswith(_OTHERS)
            is_recorded = self._is_recorded[name] = is_own or "/PIL/" in name
        return self._step if is_recorded else None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._step
