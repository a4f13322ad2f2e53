"""Functions that search a folder for runs and exported models. This module imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from ganport.runtime.command import pretrained_model

from .errors import CheckpointError, RecipeError, RunError, RunNotFoundError
from .findings import Finding
from .history import History, Measured
from .run_folder import MEASURES, RunFolder
from .start_weights import name_start

RUNS = Path("runs")
_SUMMARY_METRICS = ("d_loss", "g_loss", "d_accuracy", *MEASURES)


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One row of the table of runs.

    Attributes:
        path: Path of the run folder.
        title: Title of the model; empty if the run has none.
        recipe: Name of the recipe.
        data: Name of the images.
        loss: Name of the loss.
        seed: Seed of the run.
        start: Run and step from which the training started; empty if it started from random weights.
        step: Newest step that the history or a checkpoint has.
        saved_step: Step of the newest checkpoint; 0 if there is no checkpoint.
        steps: Number of training steps of the recipe.
        seconds: Training time in seconds, over all sessions of the run; None if it is not known.
        measure: Newest value of the measure that chooses the best checkpoint; None if nothing was measured.
        best: Best value of this measure.
        metrics: Newest value of each metric in the history.
        findings: What was found to go wrong in the run; see `findings.Finding`.
        age: Seconds since the last checkpoint, or since the start of the run if there is no checkpoint.
    """

    path: Path
    title: str
    recipe: str
    data: str
    loss: str
    seed: int
    start: str
    step: int
    saved_step: int
    steps: int
    seconds: float | None
    measure: Measured | None
    best: Measured | None
    metrics: dict[str, float]
    findings: list[Finding]
    age: float


def list_runs(root: Path) -> list[RunSummary]:
    """Return a summary of each run in a folder, the newest run first. Damaged runs are left out."""
    runs = [run for run in _runs(root) if _recipe_name(run)]
    return [_summarize(run) for run in sorted(runs, key=_last_change, reverse=True)]


def _summarize(run: RunFolder) -> RunSummary:
    recipe, history = run.read_recipe(), History(run.read_history())
    saved = max(run.checkpoint_steps(), default=0)
    newest = {name: history.newest(name) for name in _SUMMARY_METRICS}
    decides = history.deciding_measure
    return RunSummary(
        path=run.path,
        title=recipe.title,
        recipe=recipe.name,
        data=recipe.dataset,
        loss=recipe.loss,
        seed=recipe.seed,
        start=_start_of(run),
        step=max(saved, history.step),
        saved_step=saved,
        steps=recipe.steps,
        seconds=history.seconds,
        measure=history.values(decides)[-1] if decides else None,
        best=history.best(decides) if decides else None,
        metrics={name: value for name, value in newest.items() if value is not None},
        findings=history.findings,
        age=time.time() - _last_change(run),
    )


def _start_of(run: RunFolder) -> str:
    try:
        return name_start(run)
    except CheckpointError:
        return "damaged"


def newest_run(root: Path, recipe: str | None = None, prefer_trained: bool = False) -> RunFolder:
    """Return the newest run in a folder: the run with the latest start or the latest checkpoint.

    Args:
        root: Folder that contains the run folders.
        recipe: Name of the recipe whose runs are considered; by default the runs of all recipes.
        prefer_trained: Whether to ignore runs without a checkpoint if at least one run has a checkpoint.

    Raises:
        RunNotFoundError: The folder contains no run, or no run of the recipe.
    """
    runs = _runs(root)
    if prefer_trained:
        runs = [run for run in runs if run.checkpoint_steps()] or runs
    if recipe:
        runs = [run for run in runs if _recipe_name(run) == recipe]
    if not runs:
        raise RunNotFoundError(root, recipe)
    return max(runs, key=_last_change)


def default_model() -> tuple[Path, str]:
    """Return the path of the newest exported model under runs/, and a description of it for messages.

    If there is no exported model, the path is that of the default pretrained model.
    """
    name = RunFolder(RUNS).onnx_file
    models = [
        model for ending in (".onnx", ".ort") for model in RUNS.glob(f"*/{name.with_suffix(ending).name}")
    ]
    if not models:
        return pretrained_model()
    return max(models, key=lambda model: (model.stat().st_mtime, model)), "the newest export"


def unused_run(root: Path, name: str) -> RunFolder:
    """Return the first folder of root/name, root/name-2, root/name-3, ... that contains no run."""
    number = 1
    while True:
        run = RunFolder(root / (name if number == 1 else f"{name}-{number}"))
        if not run.exists():
            return run
        number += 1


def _runs(root: Path) -> list[RunFolder]:
    return [RunFolder(file.parent) for file in root.glob("*/recipe.json")]


def _recipe_name(run: RunFolder) -> str | None:
    """Return the name of a run's recipe; None if the run is damaged."""
    try:
        return run.read_recipe().name
    except (RunError, RecipeError):
        return None


def _last_change(run: RunFolder) -> float:
    """Return the time at which a run saved its last checkpoint, or was started if there is no checkpoint."""
    files = [run.recipe_file, *map(run.checkpoint_file, run.checkpoint_steps())]
    return max(file.stat().st_mtime for file in files)
