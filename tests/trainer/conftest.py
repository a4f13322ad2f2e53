"""A recipe and data small enough for a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ganport.trainer.datasets import Dataset
from ganport.trainer.devices import Devices, load_tensorflow
from ganport.trainer.recipe import Recipe
from ganport.trainer.recipes import load_recipe_module
from ganport.trainer.runs import Run, start_run

load_tensorflow()


@pytest.fixture
def small_recipe() -> Recipe:
    """The networks of mnist-minimal, a few steps, everything that a run does; not compiled by XLA, which takes seconds."""
    return dataclasses.replace(
        load_recipe_module("mnist-minimal").RECIPE, steps=25, batch_size=8, preview_interval=10, jit=False
    )


def one_device() -> Devices:
    """What a run works on by default, without asking for it: TensorFlow has begun to compute in these tests."""
    import tensorflow as tf

    return Devices("CPU", tf.distribute.get_strategy())


@pytest.fixture
def small_data() -> Dataset:
    """See `load_squares`."""
    return load_squares()


def load_squares() -> Dataset:
    """Return fifty images of 28x28: a bright square somewhere."""
    rng = np.random.default_rng(0)
    images = np.zeros((50, 28, 28, 1), np.uint8)
    for image, (row, column) in zip(images, rng.integers(0, 18, (50, 2)), strict=True):
        image[row : row + 10, column : column + 10] = 255
    labels = np.arange(50, dtype=np.int32) % 10
    return Dataset("squares", "squares", "CC0", images, dict.fromkeys("0123456789", 5), labels=labels)


@pytest.fixture
def run_on(tmp_path: Path) -> Callable[..., Run]:
    """Train a recipe on data in a folder, from the start or from a checkpoint."""
    from ganport.trainer.loop import train
    from ganport.trainer.report import Report

    def run_it(recipe: Recipe, data: Dataset, folder: str = "run", resume: bool = False) -> Run:
        run = Run(tmp_path / folder)
        if not resume:
            start_run(run, recipe, data)
        with Report(Console(quiet=True), recipe.steps) as report:
            assert train(recipe, data, run, [report], one_device()) is None
        return run

    return run_it


@pytest.fixture
def run_small(run_on: Callable[..., Run], small_data: Dataset) -> Callable[..., Run]:
    """As `run_on`, on the small data."""

    def run_it(recipe: Recipe, folder: str = "run", resume: bool = False) -> Run:
        return run_on(recipe, small_data, folder, resume)

    return run_it
