"""Errors of data sets."""

from __future__ import annotations

from ganport.runtime.errors import GanportError


class DatasetError(GanportError):
    """A data set can't be used."""


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """No data set, file or folder has the given name, or a named set can't be found or downloaded."""

    def __init__(self, got: str, remedy: str) -> None:
        self.got, self.remedy = got, remedy
        super().__init__(f"No data set {got!r}; {remedy}")


class DatasetContentError(DatasetError, ValueError):
    """The data exists, but it can't be used: it is empty, unreadable, of mixed sizes, or too small."""

    def __init__(self, source: object, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(f"Can't load images from {source}: {problem}")
