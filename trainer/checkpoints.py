"""Checkpoints: everything that training changes, as one .npz file that is there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ganport.runtime.errors import CheckpointError
from ganport.runtime.files import replacing

from .ema import shipped_generator
from .networks import Networks, build_networks
from .npz import read_npz
from .runs import Run

KEPT = 2  # the newest, and the one before it in case the newest is damaged; the best one comes on top


def save_checkpoint(run: Run, step: int, state: Mapping[str, Any]) -> None:
    """Write the state after `step` steps, then remove all but the last two and the best. Raises OutputError."""
    with replacing(run.checkpoint_file(step)) as temporary, temporary.open("wb") as file:
        np.savez(file, **state)
    for old in set(run.checkpoint_steps()[:-KEPT]) - {run.best_step()}:
        run.checkpoint_file(old).unlink(missing_ok=True)


def load_checkpoint(run: Run, step: int, networks: Networks) -> None:
    """Put the state after `step` steps into the networks.

    Raises:
        CheckpointError: the file is damaged, or holds other networks; the networks are then as before.
    """
    path = run.checkpoint_file(step)
    try:
        arrays = read_npz(path)
    except ValueError as error:
        remedy = "take it away, and the one before it is used"
        raise CheckpointError(run.path, f"{path.name} is damaged ({error}); {remedy}") from error
    there = {name: array.shape for name, array in arrays.items()}
    due = {name: tuple(variable.shape) for name, variable in networks.variables()}
    if there != due:
        wrong = min(set(there.items()) ^ set(due.items()))[0]
        raise CheckpointError(run.path, f"{path.name} is of other networks than its recipe's ({wrong} differs)")
    for name, variable in networks.variables():
        variable.assign(arrays[name])


def load_newest_checkpoint(run: Run, networks: Networks) -> tuple[int, list[str]]:
    """Put the newest state that can be read into the networks.

    Returns:
        Its step, 0 where there is no checkpoint; and what is wrong with each one that was passed over.

    Raises:
        CheckpointError: there are checkpoints, and none can be used.
    """
    steps = run.checkpoint_steps()
    passed_over = []
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


def load_generator(run: Run, step: int | None = None) -> keras.Model:
    """Return the generator of a run's checkpoint of a step, or of its newest, as it is shipped (see `ema.shipped_generator`).

    Raises:
        RunNotFoundError: no run in that folder.
        CheckpointError: no checkpoint, or a damaged one.
    """
    recipe = run.read_recipe()
    networks = build_networks(recipe, run.load_module())
    load_checkpoint(run, run.newest_step() if step is None else step, networks)
    return shipped_generator(recipe, networks, run.read_data()["classes"])
