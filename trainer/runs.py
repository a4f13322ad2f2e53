"""Run folders: what is where, and which is the newest. No TensorFlow.

    runs/digits/
        recipe.json            the resolved recipe
        data.json              name, number, licence, source and fingerprint of the images
        history.jsonl          one line per chunk of steps: losses, accuracy, images per second
        checkpoints/           step-00010000.npz, the last two
        previews/              step-00010000.png: the averaged generator's images of seeds 0-63
        generator.keras        the averaged generator, when the run is complete
        generator.onnx         what `export` makes of it
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from runtime.errors import CheckpointError, RunExistsError, RunNotFoundError
from runtime.files import write_bytes

from .datasets import Dataset
from .recipe import Recipe

RUNS = Path("runs")

_CHECKPOINT = re.compile(r"step-(\d{8,})\.npz")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder, there or to be made."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.json"

    @property
    def data_file(self) -> Path:
        return self.path / "data.json"

    @property
    def history_file(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def keras_file(self) -> Path:
        return self.path / "generator.keras"

    @property
    def onnx_file(self) -> Path:
        return self.path / "generator.onnx"

    def checkpoint_file(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:08d}.npz"

    def preview_file(self, step: int) -> Path:
        return self.path / "previews" / f"step-{step:08d}.png"

    def checkpoint_steps(self) -> list[int]:
        """Return the steps of the checkpoints that are there, oldest first."""
        folder = self.path / "checkpoints"
        matches = (_CHECKPOINT.fullmatch(file.name) for file in folder.glob("*.npz"))
        return sorted(int(match[1]) for match in matches if match)

    def newest_step(self) -> int:
        """Return the step of the newest checkpoint. Raises CheckpointError where there is none."""
        steps = self.checkpoint_steps()
        if not steps:
            raise CheckpointError(self.path, "there is none; train it first with: ganport train")
        return steps[-1]

    def create(self, recipe: Recipe, data: Dataset) -> None:
        """Write down what the run is about to do.

        Raises:
            RunExistsError: the folder holds a run.
            OutputError: it can't be written.
        """
        if self.recipe_file.exists():
            raise RunExistsError(self.path)
        source = {"source": data.source, "fingerprint": data.fingerprint()}
        _write_json(self.data_file, data.facts() | source)
        _write_json(self.recipe_file, recipe.to_dict())

    def read_recipe(self) -> Recipe:
        """Return the recipe that the run was made with. Raises RunNotFoundError, CheckpointError, RecipeError."""
        return Recipe.from_dict(self._read_json(self.recipe_file))

    def read_data(self) -> dict[str, Any]:
        """Return what the run was trained on. Raises RunNotFoundError, CheckpointError."""
        return self._read_json(self.data_file)

    def _read_json(self, file: Path) -> dict[str, Any]:
        try:
            document = json.loads(file.read_text())
        except FileNotFoundError:
            raise RunNotFoundError(self.path) from None
        except ValueError as error:
            raise CheckpointError(self.path, f"{file.name} is damaged ({error})") from error
        if not isinstance(document, dict):
            raise CheckpointError(self.path, f"{file.name} is damaged (it holds no JSON object)")
        return document


def newest_run(root: Path, recipe: str = "*") -> Run:
    """Return the run under a folder whose newest checkpoint is the newest of all. Raises RunNotFoundError."""
    runs = [Run(file.parent) for file in root.glob("*/recipe.json")]
    of_recipe = [run for run in runs if recipe in ("*", run.read_recipe().name)]
    if not of_recipe:
        raise RunNotFoundError(root)
    return max(of_recipe, key=_age_key)


def unused_run(root: Path, name: str) -> Run:
    """Return the first of root/name, root/name-2, root/name-3, ... that holds no run."""
    number = 1
    while True:
        run = Run(root / (name if number == 1 else f"{name}-{number}"))
        if not run.recipe_file.exists():
            return run
        number += 1


def _age_key(run: Run) -> tuple[float, str]:
    steps = run.checkpoint_steps()
    newest = run.checkpoint_file(steps[-1]) if steps else run.recipe_file
    return newest.stat().st_mtime, run.path.name


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_bytes(path, json.dumps(document, indent=2).encode() + b"\n")
