"""The generators that come with the package, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DEFAULT = "mnist"
BUNDLED: Mapping[str, Path] = {path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.onnx"))}
