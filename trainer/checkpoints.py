"""Checkpoints: everything that training changes, as one .npz file that is there whole or not at all."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from runtime.errors import CheckpointError
from runtime.files import replacing

from .ema import shipped_generator
from .networks import Networks, build_networks
from .npz import read_npz
from .recipes import load_recipe_module
from .runs import Run

KEPT = 2  # the newest, and the one before it in case the newest is damaged


def save_checkpoint(run: Run, step: int, networks: Networks) -> None:
    """Write the state after `step` steps, then remove all but the last two. Raises OutputError."""
    arrays: dict[str, Any] = {name: np.asarray(variable.value) for name, variable in networks.variables()}
    with replacing(run.checkpoint_file(step)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    for old in run.checkpoint_steps()[:-KEPT]:
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


def load_generator(run: Run) -> keras.Model:
    """Return the generator of a run's newest checkpoint, as it is shipped (see `ema.shipped_generator`).

    Raises:
        RunNotFoundError: no run in that folder.
        CheckpointError: no checkpoint, or a damaged one.
    """
    recipe = run.read_recipe()
    step = run.newest_step()
    networks = build_networks(recipe, load_recipe_module(recipe.name))
    load_checkpoint(run, step, networks)
    return shipped_generator(recipe, networks)
