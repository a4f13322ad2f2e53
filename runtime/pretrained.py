"""The pretrained generators that are bundled with the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import ModelNotFoundError

DEFAULT = "mnist"
# Dict from the name of each bundled generator to the path of its file.
PRETRAINED: Mapping[str, Path] = {
    path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.onnx"))
}


def default_pretrained() -> Path:
    """Return the path of the default pretrained generator.

    Raises:
        ModelNotFoundError: This copy of the package has no pretrained generators.
    """
    if DEFAULT not in PRETRAINED:
        raise ModelNotFoundError(Path(DEFAULT))
    return PRETRAINED[DEFAULT]


def measured_quality(name: str) -> dict[str, Any]:
    """Return the fields of the report that `ganport evaluate` wrote for a pretrained generator."""
    figures: dict[str, Any] = json.loads(PRETRAINED[name].with_suffix(".json").read_text())
    return figures
