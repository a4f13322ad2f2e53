"""The generators that come with the package, by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEFAULT = "mnist"
BUNDLED: Mapping[str, Path] = {path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.onnx"))}


def figures(name: str) -> dict[str, Any]:
    """Return what `ganport evaluate` found of a generator in the box: the fields of `evaluation.Report`."""
    found: dict[str, Any] = json.loads(BUNDLED[name].with_suffix(".json").read_text())
    return found
