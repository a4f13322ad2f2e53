"""A run folder: the paths of its files, and functions that read them. This module imports no TensorFlow.

runs/digits/
    recipe.json            the settings of the recipe
    data.json              name, number, licence, source and fingerprint of the images
    run.json               version of ganport, and fingerprints of the run's files; see `run_identity`
    recipe.py              copy of the user's recipe file, if the recipe came from one
    networks.json          Keras configurations of the networks, if the recipe was made in memory
    start.json, start.npz  origin and weights of the networks from which the run started, if it started from
                           another run or from pretrained networks
    history.jsonl          a line per `log_interval` steps: losses, accuracy, images per second, seconds;
                           a line per checkpoint: its distances to real images, and other facts;
                           a line per finding: what goes wrong, and what to do;
                           and a line per longer or shorter schedule: its number of steps
    checkpoints/           step-00010000.npz and others: the newest two checkpoints and the best
    previews/              step-00010000.png and others: the generator's images of seeds 0-63
    curves.png             losses, accuracy and distances by step, written when the training ends
    progress.gif           animation of the previews, written when the run is complete
    generator.keras        the generator, written when the run is complete
    tensorboard/           logs for TensorBoard, if they were requested
    generator.onnx         the exported generator, written by `export`
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CheckpointError, RunNotFoundError
from .history_file import parse_history
from .network_configs import load_builders
from .recipe import Recipe
from .recipes import load_recipe

# Names, in the history, of the two distances that are measured at a checkpoint: the sliced Wasserstein
# distance of the pixels, and the Fréchet distance. The best checkpoint is chosen by the first of DECIDING
# that was measured.
PIXEL_DISTANCE, FRECHET_DISTANCE = MEASURES = ("distance", "frechet")
DECIDING = (FRECHET_DISTANCE, PIXEL_DISTANCE)

_CHECKPOINT = re.compile(r"step-(\d{8,})\.npz")
# The fields that data.json must have, and their types.
_RECORDED: Mapping[str, type] = {
    **dict.fromkeys(("name", "licence", "source", "fingerprint"), str),
    "images": int,
    **dict.fromkeys(("preparation", "classes"), dict),
}


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of an existing run, or of a run that will be created."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """Path of the file with the recipe's settings."""
        return self.path / "recipe.json"

    @property
    def data_file(self) -> Path:
        """Path of the record of the images."""
        return self.path / "data.json"

    @property
    def identity_file(self) -> Path:
        """Path of the record with the version of ganport and the fingerprints of the run's files."""
        return self.path / "run.json"

    @property
    def history_file(self) -> Path:
        """Path of the history."""
        return self.path / "history.jsonl"

    @property
    def keras_file(self) -> Path:
        """Path of the generator in Keras' format, which is written when the run is complete."""
        return self.path / "generator.keras"

    @property
    def onnx_file(self) -> Path:
        """Path of the exported generator."""
        return self.path / "generator.onnx"

    @property
    def module_file(self) -> Path:
        """Path of the copy of the user's recipe file."""
        return self.path / "recipe.py"

    @property
    def networks_file(self) -> Path:
        """Path of the Keras configurations of the networks, if the recipe was made in memory."""
        return self.path / "networks.json"

    @property
    def start_file(self) -> Path:
        """Path of the record of the networks from which the run started."""
        return self.path / "start.json"

    @property
    def start_weights_file(self) -> Path:
        """Path of the weights from which the run started."""
        return self.path / "start.npz"

    @property
    def curves_file(self) -> Path:
        """Path of the chart of losses, accuracy and distances."""
        return self.path / "curves.png"

    @property
    def progress_file(self) -> Path:
        """Path of the animation of the previews."""
        return self.path / "progress.gif"

    @property
    def tensorboard_folder(self) -> Path:
        """Path of the folder with the logs for TensorBoard."""
        return self.path / "tensorboard"

    def checkpoint_file(self, step: int) -> Path:
        """Return the path of the checkpoint of a step."""
        return self.path / "checkpoints" / f"step-{step:08d}.npz"

    def preview_file(self, step: int) -> Path:
        """Return the path of the preview of a step."""
        return self.path / "previews" / f"step-{step:08d}.png"

    @property
    def resume_command(self) -> str:
        """The shell command that continues the run."""
        return f"ganport train --resume --out {shlex.quote(str(self.path))}"

    def exists(self) -> bool:
        """Return whether the folder holds a run; False if the folder is not accessible."""
        try:
            return self.recipe_file.exists()
        except OSError:
            return False

    def checkpoint_steps(self) -> list[int]:
        """Return the steps of the existing checkpoints in ascending order."""
        matches = (_CHECKPOINT.fullmatch(file.name) for file in (self.path / "checkpoints").glob("*.npz"))
        return sorted(int(match[1]) for match in matches if match)

    def preview_files(self) -> list[Path]:
        """Return the paths of the existing previews in the order of their steps."""
        return sorted((self.path / "previews").glob("step-*.png"))

    def newest_step(self) -> int:
        """Return the step of the newest checkpoint. Raises CheckpointError if there is none."""
        steps = self.checkpoint_steps()
        if not steps:
            raise CheckpointError(
                self.path, f"the run has saved none yet; continue the training with: {self.resume_command}"
            )
        return steps[-1]

    def best_step(self) -> int:
        """Return the step of the best existing checkpoint.

        The best checkpoint is the one with the smallest Fréchet distance. If no Fréchet distance was
        measured, the best is the one with the smallest pixel distance. Without any distance, it is the newest
        checkpoint.

        Raises:
            CheckpointError: There is no checkpoint.
        """
        steps = set(self.checkpoint_steps()) or {self.newest_step()}
        lines = [line for line in self.read_history() if line["step"] in steps]
        for name in DECIDING:
            measured = [(line[name], line["step"]) for line in lines if name in line]
            if measured:
                return int(min(measured)[1])
        return max(steps)

    def step_to_export(self) -> int:
        """Return the step of the checkpoint that `export` takes by default.

        It is the checkpoint with the smallest Fréchet distance. If no Fréchet distance was measured, it is
        the newest checkpoint. The pixel distance does not decide, because it can grow while the images get
        better.

        Raises:
            CheckpointError: There is no checkpoint.
        """
        steps = set(self.checkpoint_steps()) or {self.newest_step()}
        measured = [
            line for line in self.read_history() if line["step"] in steps and FRECHET_DISTANCE in line
        ]
        return self.best_step() if measured else max(steps)

    def check_step(self, step: int) -> None:
        """Raise CheckpointError unless there is a checkpoint of a step."""
        steps = self.checkpoint_steps()
        if step not in steps:
            known = ", ".join(map(str, steps)) or "none"
            problem = f"there is no checkpoint of `step` {step}; steps with a checkpoint: {known}."
            raise CheckpointError(self.path, problem)

    def measured_at(self, step: int) -> dict[str, float]:
        """Return the distances measured at the checkpoint of a step, by their names in the history."""
        lines = [line for line in self.read_history() if line["step"] == step]
        return {name: float(line[name]) for line in lines for name in MEASURES if name in line}

    def read_history(self) -> list[dict[str, Any]]:
        """Return the lines of the history without damaged ones; [] if there is no history."""
        try:
            return parse_history(self.history_file.read_bytes())[0]
        except OSError:
            return []

    def read_recipe(self) -> Recipe:
        """Return the recipe of the run without its networks. The run's recipe file is not executed.

        Raises:
            RunNotFoundError: There is no run in this folder.
            CheckpointError: The file with the settings is damaged.
            RecipeError: The settings were written by another version of ganport.
        """
        return Recipe.from_dict(self.read_json(self.recipe_file), version=self._version())

    def load_recipe(self) -> Recipe:
        """Return the recipe that the run was started with: its settings and its networks.

        The networks come from the run's copy of the recipe file, or else from the run's Keras configurations,
        or else from the bundled recipe with the name of the run's recipe. The copy of the recipe file is
        executed.

        Raises:
            RunNotFoundError: There is no run in this folder.
            CheckpointError: A file of the run is damaged.
            RecipeError: The settings were written by another version of ganport, or the networks can't be
                built from the recipe file or the configurations.
        """
        recipe = self.read_recipe()
        if self.module_file.exists():
            source = load_recipe(self.module_file)
            networks = source.build_generator, source.build_discriminator
        elif self.networks_file.exists():
            networks = load_builders(self.read_json(self.networks_file), recipe.name)
        else:
            source = load_recipe(recipe.name)
            networks = source.build_generator, source.build_discriminator
        return dataclasses.replace(recipe, build_generator=networks[0], build_discriminator=networks[1])

    def read_data(self) -> dict[str, Any]:
        """Return the run's record of its images, data.json.

        Raises:
            RunNotFoundError: There is no run in this folder.
            CheckpointError: The record is damaged.
        """
        document = self.read_json(self.data_file)
        wrong = [name for name, kind in _RECORDED.items() if not isinstance(document.get(name), kind)]
        if wrong:
            problem = (
                f"{self.data_file.name} is damaged (missing or wrong fields: {', '.join(sorted(wrong))})"
            )
            raise CheckpointError(self.path, problem)
        return document

    def _version(self) -> str:
        """Return the version of ganport that started the run; empty if it is not known."""
        try:
            return str(self.read_json(self.identity_file).get("version", ""))
        except (CheckpointError, RunNotFoundError):
            return ""

    def read_json(self, file: Path) -> dict[str, Any]:
        """Return a record of the run.

        Raises:
            RunNotFoundError: The file does not exist.
            CheckpointError: The file is damaged.
        """
        try:
            document = json.loads(file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise RunNotFoundError(self.path) from None
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(self.path, f"{file.name} is damaged ({error})") from error
        if not isinstance(document, dict):
            raise CheckpointError(self.path, f"{file.name} is damaged (not a JSON object)")
        return document
