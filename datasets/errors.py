"""Errors of data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ganport.runtime.display import printable
from ganport.runtime.errors import GanportError

_MOST_NAMED = 5  # number of files or classes that a message names


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
        # The names of files can hold line breaks and other control characters.
        super().__init__(printable(f"Can't load images from {source}: {problem}"))


class NoImagesError(DatasetContentError):
    """A folder holds no image."""

    def __init__(self, source: object, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(source, f"it holds no image; {remedy}")


class UnreadableImagesError(DatasetContentError):
    """Images can't be read.

    Attributes:
        unreadable: Mapping from the name of each file, relative to the folder, to the reason.
        count: Number of all images, with those that can't be read.
    """

    def __init__(self, source: Path, unreadable: Mapping[str, str], count: int) -> None:
        self.unreadable, self.count = dict(unreadable), count
        where: Path = source
        if len(unreadable) == 1:
            ((name, reason),) = unreadable.items()
            where = source / name
            problem = f"it can't be read as an image ({reason}); repair or remove it"
            problem += ", or leave it out with `skip_bad=True`." if count > 1 else "."
        else:
            shown = [f"{name} ({reason})" for name, reason in unreadable.items()]
            problem = (
                f"{len(unreadable):,} of {count:,} images can't be read: {_some(shown)}; repair or remove "
                "them, or leave them out with `skip_bad=True`."
            )
        super().__init__(where, problem)


class DuplicateImagesError(DatasetContentError):
    """All images are the same image."""

    def __init__(self, source: object, count: int) -> None:
        self.count = count
        super().__init__(source, f"its {count:,} images are all the same image; give different images.")


class BlankImagesError(DatasetContentError):
    """Every image has one single colour."""

    def __init__(self, source: object, count: int) -> None:
        self.count = count
        images = "its image has" if count == 1 else f"each of its {count:,} images has"
        super().__init__(source, f"{images} one single colour; give images that show something.")


class SmallClassError(DatasetContentError):
    """A class has one image only, so a generator can't learn the class."""

    def __init__(self, source: object, names: Sequence[str]) -> None:
        self.names = tuple(names)
        classes = "class" if len(names) == 1 else f"{len(names):,} classes"
        verb = "has" if len(names) == 1 else "have"
        super().__init__(
            source,
            f"the {classes} {_some(list(names))} {verb} one image; add images, remove the class, or train "
            "without labels.",
        )


def _some(texts: Sequence[str]) -> str:
    """Return the first texts with commas between them, and the number of the others."""
    others = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {others:,} more" if others > 0 else "")
