"""Checkpoints: all variables that training changes, in one .npz file that is written atomically."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ganport.datasets.npz import read_npz
from ganport.runtime.files import replacing

from .ema import shipped_generator
from .errors import CheckpointError
from .networks import Networks, build_networks
from .run_folder import RunFolder
from .run_identity import check_identity, identity_arrays, without_identity
from .start_weights import load_recorded_start

# Number of newest checkpoints that are kept. The second newest is a reserve in case the newest is damaged.
# The best checkpoint is kept too.
KEPT = 2


def save_checkpoint(run: RunFolder, step: int, state: Mapping[str, Any]) -> None:
    """Write a checkpoint of step `step`, then remove all checkpoints but the newest two and the best.

    Args:
        run: The run folder.
        step: Number of steps that were made.
        state: Values of all variables by name; see `Networks.read`.

    Raises:
        OutputError: The file is not writable.
    """
    arrays = {**state, **identity_arrays(run)}
    with replacing(run.checkpoint_file(step)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    for old in set(run.checkpoint_steps()[:-KEPT]) - {run.best_step()}:
        run.checkpoint_file(old).unlink(missing_ok=True)


def load_checkpoint(run: RunFolder, step: int, networks: Networks) -> None:
    """Load the checkpoint of step `step` into the networks.

    Raises:
        CheckpointError: The file is damaged, or its variables are those of different networks. The networks
            in memory are then unchanged.
    """
    path = run.checkpoint_file(step)
    try:
        arrays = without_identity(read_npz(path))
    except ValueError as error:
        remedy = "remove this file, and the checkpoint before it is used"
        raise CheckpointError(run.path, f"{path.name} is damaged ({error}); {remedy}") from error
    found = {_position(name): array.shape for name, array in arrays.items()}
    expected = {_position(name): tuple(variable.shape) for name, variable in networks.variables()}
    if found != expected:
        wrong = min(set(found.items()) ^ set(expected.items()))[0]
        problem = f"{path.name} does not fit the networks of the recipe ({'/'.join(wrong)} differs)"
        raise CheckpointError(run.path, problem)
    by_position = {_position(name): array for name, array in arrays.items()}
    for name, variable in networks.variables():
        variable.assign(by_position[_position(name)])


def _position(name: str) -> tuple[str, ...]:
    """Return the parts of a variable's name that are the same in every process.

    These are the network or optimizer, the index, and the last word of the name, for example ("generator",
    "000", "kernel"). The names of layers are left out. Keras numbers the layers that a process creates, so
    rebuilt networks may have layer names such as "dense_3" instead of "dense".
    """
    part, _, path = name.partition("/")
    return part, path[:3], re.split("[/_]", name)[-1]


def load_newest_checkpoint(run: RunFolder, networks: Networks) -> tuple[int, list[str]]:
    """Load the newest undamaged checkpoint into the networks.

    Without a checkpoint, the networks get the start weights of the run, if it has any; see `start_weights`.

    Returns:
        The step of the loaded checkpoint, or 0 if there is no checkpoint; and for each newer checkpoint, the
            reason why it was not loaded.

    Raises:
        CheckpointError: There are checkpoints, but each is damaged or belongs to different networks; or there
            is none, and the start weights are damaged.
    """
    steps = run.checkpoint_steps()
    passed_over = []
    if not steps:
        load_recorded_start(run, networks)
    for step in reversed(steps):
        try:
            load_checkpoint(run, step, networks)
        except CheckpointError as error:
            if step == steps[0]:
                raise
            passed_over.append(error.problem.partition(";")[0])
        else:
            return step, passed_over
    return 0, []


def load_generator(run: RunFolder, step: int | None = None) -> keras.Model:
    """Return the generator of a checkpoint in the form that is exported; see `ema.shipped_generator`.

    Args:
        run: The run folder.
        step: Step of the checkpoint; by default that of the newest checkpoint.

    Raises:
        RunNotFoundError: There is no run in the folder.
        CheckpointError: There is no checkpoint of this step, or the checkpoint is damaged.
        MixedRunError: A file was edited, or is that of another run.
        RunVersionError: A newer version of ganport has written the run.
        RecipeError: The networks of the run can't be built with this version of ganport or Keras.
    """
    check_identity(run)
    recipe = run.load_recipe()
    networks = build_networks(recipe)
    load_checkpoint(run, run.newest_step() if step is None else step, networks)
    return shipped_generator(recipe, networks, run.read_data()["classes"])
