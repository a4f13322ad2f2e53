"""The pretrained generators that are bundled with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelNotFoundError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

DEFAULT = "mnist"
_FOLDER = Path(__file__).parent / "models"


def _find_bundled() -> dict[str, Path]:
    """Return the path of each bundled generator by its name. In a zip archive, the path is one within it."""
    if _FOLDER.is_dir():
        paths = list(_FOLDER.glob("*.onnx"))
    else:
        paths = [_FOLDER / entry.name for entry in _entries_in_archive() if entry.name.endswith(".onnx")]
    return {path.stem: path for path in sorted(paths)}


def _entries_in_archive() -> list[Traversable]:
    """Return the files beside the bundled generators, if this package was imported from a zip archive."""
    from importlib.resources import files  # not at the top, because the import takes milliseconds

    folder = files(str(__package__)).joinpath(_FOLDER.name)
    return list(folder.iterdir()) if folder.is_dir() else []


# Dict from the name of each bundled generator to the path of its file.
PRETRAINED: Mapping[str, Path] = _find_bundled()


def default_pretrained() -> Path:
    """Return the path of the default pretrained generator.

    Raises:
        ModelNotFoundError: This copy of the package has no pretrained generators.
    """
    if DEFAULT not in PRETRAINED:
        raise ModelNotFoundError(Path(DEFAULT))
    return PRETRAINED[DEFAULT]


def read_from_archive(path: Path) -> bytes | None:
    """Return the content of a bundled file if this package is in a zip archive; None otherwise."""
    if path.parent != _FOLDER or _FOLDER.is_dir():
        return None
    return next((entry.read_bytes() for entry in _entries_in_archive() if entry.name == path.name), None)


def measured_quality(name: str) -> dict[str, Any]:
    """Return the fields of the report that `ganport evaluate` wrote for a pretrained generator."""
    report = PRETRAINED[name].with_suffix(".json")
    figures: dict[str, Any] = json.loads(read_from_archive(report) or report.read_bytes())
    return figures
