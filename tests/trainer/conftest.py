"""A recipe and data that are small enough for a test."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganport.datasets.dataset import Dataset
from ganport.trainer.callbacks import Callback
from ganport.trainer.devices import Devices, load_tensorflow
from ganport.trainer.recipe import Recipe
from ganport.trainer.recipes import load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run

load_tensorflow()


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    """The networks of mnist-minimal, and few steps. XLA, which takes seconds to compile, is off."""
    recipe = load_recipe("mnist-minimal")
    return dataclasses.replace(recipe, steps=25, batch_size=8, preview_interval=10, jit=False)


def one_device() -> Devices:
    """The default device. TensorFlow has already computed in these tests, so devices can't be chosen."""
    import tensorflow as tf

    return Devices("CPU", tf.distribute.get_strategy())


@pytest.fixture
def small_data() -> Dataset:
    """The fifty images of `load_squares`."""
    return load_squares()


def load_squares() -> Dataset:
    """Return fifty images of 28x28 with a bright square at a random position."""
    rng = np.random.default_rng(0)
    images = np.zeros((50, 28, 28, 1), np.uint8)
    for image, (row, column) in zip(images, rng.integers(0, 18, (50, 2)), strict=True):
        image[row : row + 10, column : column + 10] = 255
    labels = np.arange(50, dtype=np.int32) % 10
    return Dataset("squares", "squares", "CC0", images, dict.fromkeys("0123456789", 5), labels=labels)


@pytest.fixture
def run_on(tmp_path: Path) -> Callable[..., RunFolder]:
    """Train a recipe on data in a folder, from the start or from a checkpoint."""
    from ganport.trainer.loop import run_training

    def run_it(recipe: Recipe, data: Dataset, folder: str = "run", resume: bool = False) -> RunFolder:
        run = RunFolder(tmp_path / folder)
        if not resume:
            start_run(run, recipe, data)
        assert run_training(recipe, data, run, Callback(), one_device()) is None
        return run

    return run_it


@pytest.fixture
def run_small(run_on: Callable[..., RunFolder], small_data: Dataset) -> Callable[..., RunFolder]:
    """As `run_on`, on the small data."""

    def run_it(recipe: Recipe, folder: str = "run", resume: bool = False) -> RunFolder:
        return run_on(recipe, small_data, folder, resume)

    return run_it


@pytest.fixture(scope="session")
def trained_once(small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A complete run of `small_recipe` on the small data. Tests change a copy of it only: see `trained`."""
    from ganport.trainer.loop import run_training

    run, data = RunFolder(tmp_path_factory.mktemp("trained") / "run"), load_squares()
    start_run(run, small_recipe, data)
    assert run_training(small_recipe, data, run, Callback(), one_device()) is None
    return run


@pytest.fixture
def trained(trained_once: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of `trained_once` in the folder that `run_small` uses by default."""
    shutil.copytree(trained_once.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def write_run(folder: Path, recipe: Recipe, data: Dataset, lines: list[dict[str, Any]]) -> RunFolder:
    """Return a run with the given lines of history, which was never trained."""
    run = RunFolder(folder)
    start_run(run, recipe, data)
    run.history_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def log(step: int, seconds: float, **metrics: float) -> dict[str, Any]:
    """Return a line of metrics of a history, for a batch size of 8."""
    return {"step": step, "images_seen": 8 * step, "d_loss": 1.0, "seconds": seconds, **metrics}
