"""Run folders: what is where, and which is the newest. No TensorFlow.

runs/digits/
    recipe.json            the resolved recipe
    data.json              name, number, licence, source and fingerprint of the images
    recipe.py              the user's own recipe, where it was one
    history.jsonl          a line now and then: losses, accuracy, images per second; and one per checkpoint: distance
    checkpoints/           step-00010000.npz, the last two and the best
    previews/              step-00010000.png: the generator's images of seeds 0-63
    curves.png             losses, accuracy and distance by step, when the run ends
    progress.gif           the previews one after the other, when the run is complete
    generator.keras        the generator, when the run is complete
    tensorboard/           where it was asked for
    generator.onnx         what `export` makes of it
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganport.evaluation.references import FEWEST
from ganport.runtime.command import bundled_model
from ganport.runtime.errors import (
    CheckpointError,
    DatasetContentError,
    RecipeError,
    RunError,
    RunExistsError,
    RunInUseError,
    RunNotFoundError,
)
from ganport.runtime.files import write_bytes

from .datasets import Dataset, Preparation, load_dataset
from .recipe import Recipe
from .recipes import RecipeModule, load_recipe_module

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RUNS = Path("runs")
_SUMMARY_METRICS: tuple[str, ...] = ("d_loss", "g_loss", "d_accuracy", "distance", "frechet")

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

    @property
    def module_file(self) -> Path:
        return self.path / "recipe.py"

    @property
    def curves_file(self) -> Path:
        return self.path / "curves.png"

    @property
    def progress_file(self) -> Path:
        return self.path / "progress.gif"

    @property
    def tensorboard_folder(self) -> Path:
        return self.path / "tensorboard"

    def checkpoint_file(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:08d}.npz"

    def preview_file(self, step: int) -> Path:
        return self.path / "previews" / f"step-{step:08d}.png"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the run for this process: two that write one history and clear away each other's files lose both.

        Raises:
            RunInUseError: another process has it.
        """
        if fcntl is None:
            yield
            return
        folder = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunInUseError(self.path) from None
            except OSError:  # a file system without locks
                pass
            yield
        finally:
            os.close(folder)  # and with it goes the lock, however the process ends

    @property
    def resume_command(self) -> str:
        """What a shell takes to go on with the run."""
        return f"ganport train --resume --out {shlex.quote(str(self.path))}"

    def exists(self) -> bool:
        """Return whether the folder holds a run, as far as it can be looked into."""
        try:
            return self.recipe_file.exists()
        except OSError:
            return False

    def checkpoint_steps(self) -> list[int]:
        """Return the steps of the checkpoints that are there, oldest first."""
        folder = self.path / "checkpoints"
        matches = (_CHECKPOINT.fullmatch(file.name) for file in folder.glob("*.npz"))
        return sorted(int(match[1]) for match in matches if match)

    def newest_step(self) -> int:
        """Return the step of the newest checkpoint. Raises CheckpointError where there is none."""
        steps = self.checkpoint_steps()
        if not steps:
            raise CheckpointError(self.path, f"there is none; go on with: {self.resume_command}")
        return steps[-1]

    def best_step(self) -> int:
        """Return the step of the best checkpoint that is there: that with the smallest Fréchet distance, where some have one,
        else with the smallest pixel distance. Raises CheckpointError.
        """
        there = set(self.checkpoint_steps()) or {self.newest_step()}
        lines = [line for line in self.read_history() if line["step"] in there]
        for name in ("frechet", "distance"):
            if measured := [(line[name], line["step"]) for line in lines if name in line]:
                return int(min(measured)[1])
        return max(there)

    def measured_at(self, step: int) -> dict[str, float]:
        """Return what was measured of the checkpoint of a step: distances to real images, by name."""
        lines = [line for line in self.read_history() if line["step"] == step]
        return {name: float(line[name]) for line in lines for name in ("distance", "frechet") if name in line}

    def load_module(self) -> RecipeModule:
        """Return the networks of its recipe: the user's own where the run has them, else ours by name.

        Raises:
            RunNotFoundError, CheckpointError: no run, or a damaged one.
            RecipeError: the user's recipe can't be loaded any more.
        """
        return load_recipe_module(str(self.module_file) if self.module_file.exists() else self.read_recipe().name)

    def read_history(self) -> list[dict[str, Any]]:
        """Return the lines of the history, up to the first damaged one; none where there is no history."""
        lines: list[dict[str, Any]] = []
        try:
            for line in self.history_file.read_text().splitlines():
                lines.append(json.loads(line))
        except (OSError, ValueError):
            pass
        return lines

    def read_recipe(self) -> Recipe:
        """Return the recipe that the run was made with. Raises RunNotFoundError, CheckpointError, RecipeError."""
        return Recipe.from_dict(self._read_json(self.recipe_file))

    def read_data(self) -> dict[str, Any]:
        """Return what `start_run` wrote of its data. Raises RunNotFoundError, CheckpointError."""
        document = self._read_json(self.data_file)
        missing = {"name", "images", "licence", "source", "preparation", "fingerprint", "classes"} - set(document)
        if missing:
            raise CheckpointError(self.path, f"{self.data_file.name} is damaged (it lacks {', '.join(sorted(missing))})")
        return document

    def _read_json(self, file: Path) -> dict[str, Any]:
        try:
            document = json.loads(file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            raise RunNotFoundError(self.path) from None
        except (OSError, ValueError) as error:
            raise CheckpointError(self.path, f"{file.name} is damaged ({error})") from error
        if not isinstance(document, dict):
            raise CheckpointError(self.path, f"{file.name} is damaged (it holds no JSON object)")
        return document


def start_run(run: Run, recipe: Recipe, data: Dataset, module_file: Path | None = None) -> None:
    """Make the folder of a new run, and write down what it is about to do.

    Args:
        run: the folder.
        recipe: resolved.
        data: its images.
        module_file: the user's own recipe, which is copied into the run, so that it can be resumed and exported without it.

    Raises:
        RunExistsError: the folder holds a run already.
        OutputError: it can't be written.
    """
    if run.exists():
        raise RunExistsError(run.path)
    origin = {"source": data.source, "preparation": dataclasses.asdict(data.preparation), "fingerprint": data.fingerprint()}
    if recipe.labels:
        origin["labels_fingerprint"] = data.labels_fingerprint()
    _write_json(run.data_file, data.facts() | {"classes": dict(data.classes)} | origin)
    if module_file:
        write_bytes(run.module_file, module_file.read_bytes())
    _write_json(run.recipe_file, recipe.to_dict())


def await_run(run: Run, seconds: float = 60.0) -> None:
    """Return when another host has started the run. Raises RunNotFoundError when none has for so long."""
    deadline = time.monotonic() + seconds
    while not run.exists():
        if time.monotonic() > deadline:
            raise RunNotFoundError(run.path)
        time.sleep(0.1)


def load_run_data(run: Run) -> Dataset:
    """Return the images that a run was started with.

    Raises:
        CheckpointError: they are other ones now.
        DatasetError: they are gone, or can't be read any more.
    """
    record = run.read_data()
    try:
        preparation = Preparation(**record["preparation"])
    except TypeError as error:
        raise CheckpointError(run.path, f"{run.data_file.name} is damaged ({error})") from error
    data = dataclasses.replace(load_dataset(record["source"], preparation=preparation), name=record["name"])
    check_same_images(run, data)
    # A named set is read by its path, where neither it nor its classes have their names.
    return dataclasses.replace(data, classes=record["classes"])


def check_images(recipe: Recipe, data: Dataset) -> None:
    """Raise DatasetContentError where images are fewer than a batch or a measure takes, or have no classes that it asks for."""
    if recipe.labels and not data.is_labelled:
        due = f"the recipe draws classes on demand, and {data.unlabelled or 'the images have none'}"
        remedy = "give a folder with a sub-folder per class, or IDX or .npz files with labels"
        raise DatasetContentError(data.source, f"{due}; {remedy}.")
    if data.count < recipe.batch_size:
        there = f"its {data.count} images are fewer than one batch of {recipe.batch_size}"
        raise DatasetContentError(data.source, f"{there}; add images, or take a smaller --batch-size.")
    if recipe.schedule == "alternating" and data.count <= recipe.batch_size:
        there = f"its {data.count} images are one batch of {recipe.batch_size}, and the discriminator learns from the second on"
        raise DatasetContentError(data.source, f"{there}; add images, or take a smaller --batch-size.")
    if recipe.evaluate_interval and data.count < FEWEST:
        there = f"its {data.count} images are too few for --evaluate-every, which takes {FEWEST}"
        raise DatasetContentError(data.source, f"{there}; leave it out, or add images.")


def check_same_images(run: Run, data: Dataset) -> None:
    """Raise CheckpointError unless these are the images that the run was started with."""
    record = run.read_data()
    # Runs without classes have no fingerprint of them.
    if record["fingerprint"] != data.fingerprint() or record.get("labels_fingerprint", "") not in (
        "",
        data.labels_fingerprint(),
    ):
        problem = f"the images of {data.source} are not the ones that the run was started with; start a new run."
        raise CheckpointError(run.path, problem)


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A line about a run. Attributes: `metrics` of the last line of the history; `age`, seconds since it was saved last."""

    path: Path
    recipe: str
    step: int
    steps: int
    metrics: dict[str, float]
    age: float


def list_runs(root: Path) -> list[RunSummary]:
    """Return what there is to say of each run under a folder, the one worked on last first. Damaged ones are left out."""
    runs = [Run(file.parent) for file in root.glob("*/recipe.json")]
    return [_summary(run) for run in sorted(runs, key=_last_change, reverse=True) if _recipe_name(run)]


def _summary(run: Run) -> RunSummary:
    recipe = run.read_recipe()
    metrics: dict[str, Any] = {}
    for line in run.read_history():
        metrics.update(line)
    step = max(run.checkpoint_steps(), default=0)
    shown = {name: float(metrics[name]) for name in _SUMMARY_METRICS if name in metrics}
    return RunSummary(run.path, recipe.name, step, recipe.steps, shown, time.time() - _last_change(run))


def newest_run(root: Path, recipe: str | None = None, prefer_trained: bool = False) -> Run:
    """Return the run under a folder that was worked on last, of one recipe or of any; with a checkpoint, if one has some.

    Raises:
        RunNotFoundError: there is none.
    """
    runs = [Run(file.parent) for file in root.glob("*/recipe.json")]
    if prefer_trained:
        runs = [run for run in runs if run.checkpoint_steps()] or runs
    if recipe:
        runs = [run for run in runs if _recipe_name(run) == recipe]
    if not runs:
        raise RunNotFoundError(root)
    return max(runs, key=_last_change)


def default_model() -> tuple[Path, str]:
    """Return the model that was exported last, or the one in the box where there is none; and which that is."""
    name = Run(RUNS).onnx_file
    models = [model for ending in (".onnx", ".ort") for model in RUNS.glob(f"*/{name.with_suffix(ending).name}")]
    if not models:
        return bundled_model()
    return max(models, key=lambda model: (model.stat().st_mtime, model)), "the newest export"


def unused_run(root: Path, name: str) -> Run:
    """Return the first of root/name, root/name-2, root/name-3, ... that holds no run."""
    number = 1
    while True:
        run = Run(root / (name if number == 1 else f"{name}-{number}"))
        if not run.exists():
            return run
        number += 1


def _recipe_name(run: Run) -> str | None:
    """Return which recipe a run is of, or None where it is too damaged to say."""
    try:
        return run.read_recipe().name
    except (RunError, RecipeError):
        return None


def _last_change(run: Run) -> float:
    """Return when the run was started, or saved last."""
    files = [run.recipe_file, *map(run.checkpoint_file, run.checkpoint_steps())]
    return max(file.stat().st_mtime for file in files)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_bytes(path, json.dumps(document, indent=2).encode() + b"\n")
