"""The records of a run: its recipe and its data, which it writes when it starts, and its history."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganport.datasets.dataset import Dataset, Preparation
from ganport.datasets.loading import load_prepared
from ganport.runtime.display import system_reason
from ganport.runtime.errors import OutputError
from ganport.runtime.files import write_bytes

from .errors import CheckpointError, RunExistsError, RunNotFoundError
from .held_out import count_held_out
from .locks import lock_run
from .network_configs import describe_networks
from .recipe import Recipe
from .recipe_file import file_content
from .recipes import is_bundled
from .run_folder import RunFolder
from .run_identity import record_identity
from .start_weights import StartWeights, record_start


def start_run(run: RunFolder, recipe: Recipe, data: Dataset, start: StartWeights | None = None) -> None:
    """Create the folder of a new run, and record its recipe and its data.

    The run keeps what is needed to build its networks later: a copy of the recipe file, or the Keras
    configurations of the networks if the user created the recipe in Python without a file. For a bundled
    recipe, the name is enough.

    Args:
        run: The folder.
        recipe: The recipe, fitted to the data.
        data: The images.
        start: Weights from which the training starts; None for random weights.

    Raises:
        RunExistsError: The folder already holds a run.
        RunInUseError: Another process starts a run in the folder.
        RecipeError: The networks can't be rebuilt from their configurations.
        OutputError: The folder is not writable.
    """
    if run.exists():
        raise RunExistsError(run.path)
    is_new = not run.path.exists()
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(run.path, system_reason(error)) from error
    # Another process may start a run in the same folder at this moment. Without the lock, the recipe of one
    # could end up beside the images or the networks of the other.
    with lock_run(run.path):
        if run.exists():
            raise RunExistsError(run.path)
        try:
            _record(run, recipe, data, start)
        except BaseException:
            if is_new:
                with contextlib.suppress(OSError):  # the folder is not empty
                    run.path.rmdir()
            raise


def _record(run: RunFolder, recipe: Recipe, data: Dataset, start: StartWeights | None) -> None:
    # A process that was killed before it wrote the recipe may have left files of another recipe.
    optional = (run.module_file, run.networks_file, run.start_file, run.start_weights_file)
    for file in (*optional, run.identity_file):
        file.unlink(missing_ok=True)
    if not is_bundled(recipe):
        _record_networks(run, recipe)
    if start is not None:
        record_start(run, start)
    _write_json(run.data_file, _describe_data(recipe, data))
    # The recipe is written last, because a folder with a recipe is a run, which needs the files above.
    _write_json(run.recipe_file, recipe.to_dict())
    record_identity(run)


def record_schedule(run: RunFolder, recipe: Recipe, step: int) -> None:
    """Record that a run goes on with another number of steps, if it does.

    Args:
        run: The folder of the run.
        recipe: The recipe of the run, perhaps with another number of steps.
        step: Step from which the new schedule counts.

    Raises:
        OutputError: The folder is not writable.
    """
    if run.read_recipe().steps != recipe.steps:
        _write_json(run.recipe_file, recipe.to_dict())
        append_history(run, {"step": step, "steps": recipe.steps})


def append_history(run: RunFolder, line: Mapping[str, Any]) -> None:
    """Append a line to the history of a run. Raises OutputError."""
    try:
        with run.history_file.open("a") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise OutputError(run.history_file, system_reason(error)) from error


def _record_networks(run: RunFolder, recipe: Recipe) -> None:
    content = file_content(recipe)
    if content is None:
        _write_json(run.networks_file, describe_networks(recipe))
    else:
        write_bytes(run.module_file, content)


def _describe_data(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    document = data.facts() | {
        "classes": dict(data.classes),
        "source": data.source,
        "preparation": dataclasses.asdict(data.preparation),
        "fingerprint": data.fingerprint(),
    }
    if recipe.held_out_share:
        document["held_out"] = count_held_out(recipe, data.count)
    if recipe.labels:
        document["labels_fingerprint"] = data.labels_fingerprint()
    return document


def await_run(run: RunFolder, seconds: float = 60.0) -> None:
    """Wait until another host of the cluster has created the run.

    Raises:
        RunNotFoundError: The run does not exist after `seconds` seconds.
    """
    deadline = time.monotonic() + seconds
    while not run.exists():
        if time.monotonic() > deadline:
            raise RunNotFoundError(run.path)
        time.sleep(0.1)


def load_run_data(run: RunFolder) -> Dataset:
    """Return the images that a run was started with.

    Raises:
        CheckpointError: The images have changed, or the record of the images is damaged.
        DatasetError: The images are missing or damaged.
    """
    record = run.read_data()
    try:
        preparation = Preparation(**record["preparation"])
    except TypeError as error:
        raise CheckpointError(run.path, f"{run.data_file.name} is damaged ({error})") from error
    data = dataclasses.replace(load_prepared(record["source"], preparation), name=record["name"])
    check_same_images(run, data)
    # The images were loaded from a path, which does not tell the name of a data set or the names of its
    # classes. These names are taken from the record.
    return dataclasses.replace(data, classes=record["classes"])


def check_same_images(run: RunFolder, data: Dataset) -> None:
    """Raise CheckpointError unless these are the images that the run was started with."""
    record = run.read_data()
    is_same = record["fingerprint"] == data.fingerprint()
    recorded_labels = record.get("labels_fingerprint", "")  # not recorded for a recipe without labels
    if not is_same or (recorded_labels and recorded_labels != data.labels_fingerprint()):
        problem = (
            f"the images of {data.source} are not the ones that the run was started with; start a new run."
        )
        raise CheckpointError(run.path, problem)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_bytes(path, json.dumps(document, indent=2).encode() + b"\n")
