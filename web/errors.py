"""Errors of the browser page."""

from __future__ import annotations

from ganport.runtime.errors import GanportError


class WebError(GanportError, RuntimeError):
    """The browser page can't be built."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"Can't build the page: {problem}; {remedy}.")
