"""A recipe and data small enough for a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from trainer.datasets import Dataset
from trainer.devices import load_tensorflow
from trainer.recipe import Recipe
from trainer.recipes import load_recipe_module
from trainer.runs import Run, start_run

load_tensorflow()


@pytest.fixture
def small_recipe() -> Recipe:
    """The networks of mnist-minimal, a few steps, everything that a run does; not compiled by XLA, which takes seconds."""
    return dataclasses.replace(
        load_recipe_module("mnist-minimal").RECIPE, steps=25, batch_size=8, preview_interval=10, jit=False
    )


@pytest.fixture
def small_data() -> Dataset:
    """Fifty images of 28x28: a bright square somewhere."""
    rng = np.random.default_rng(0)
    images = np.zeros((50, 28, 28, 1), np.uint8)
    for image, (row, column) in zip(images, rng.integers(0, 18, (50, 2)), strict=True):
        image[row : row + 10, column : column + 10] = 255
    return Dataset("squares", "squares", "CC0", images)


@pytest.fixture
def run_small(tmp_path: Path, small_data: Dataset) -> Callable[..., Run]:
    """Train a recipe on the small data in a folder, from the start or from a checkpoint."""
    from trainer.loop import train
    from trainer.report import Report

    def run_it(recipe: Recipe, folder: str = "run", first: int = 0) -> Run:
        run = Run(tmp_path / folder)
        if not first:
            start_run(run, recipe, small_data)
        with Report(Console(quiet=True), recipe.steps, first) as report:
            train(recipe, small_data, run, report, first)
        return run

    return run_it
