"""The memory of a training is estimated before it starts, and a training that can't get it does not start."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

import ganport as front_door
from ganport.datasets.dataset import Dataset
from ganport.trainer import memory
from ganport.trainer.errors import NotEnoughMemoryError
from ganport.trainer.memory import check_memory, needed_bytes
from ganport.trainer.recipes import load_recipe
from tests.conftest import ROOT

# Measures the peak memory of a process that makes a few steps, in bytes.
PEAK = """
import resource, sys
from ganport.trainer.devices import choose_devices, load_tensorflow
load_tensorflow()
from ganport.trainer.pace import measure_pace
from tests.trainer.test_needed_memory import data_of, recipe_of
recipe = recipe_of(int(sys.argv[1]), int(sys.argv[2]))
measure_pace(recipe, data_of(recipe, 64), choose_devices("cpu"))
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def recipe_of(side, batch_size):
    augmented = dataclasses.replace(load_recipe("images"), diff_augment=("color", "translation", "cutout"))
    return dataclasses.replace(augmented, image_shape=(side, side, 3), batch_size=batch_size)


def data_of(recipe, count):
    return Dataset("x", "x", "unknown", np.zeros((count, *recipe.image_shape), np.uint8))


def test_training_that_needs_too_much_memory_is_rejected():
    recipe = recipe_of(2048, 256)
    with pytest.raises(
        NotEnoughMemoryError, match=r"images of 2048x2048 in batches of 256 needs about \d{3}\."
    ):
        check_memory(recipe, data_of(recipe, 1))


def test_memory_grows_with_the_batch_the_size_and_the_images():
    small = recipe_of(64, 8)
    needed = needed_bytes(small, data_of(small, 10))
    assert needed > 1_000_000_000
    assert needed_bytes(dataclasses.replace(small, batch_size=64), data_of(small, 10)) > needed
    large = recipe_of(128, 8)
    assert needed_bytes(large, data_of(large, 10)) > needed
    images = 10_000 * 64 * 64 * 3
    assert needed_bytes(small, data_of(small, 10_010)) == needed + 2 * images


def test_nothing_is_written_if_the_memory_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "usable_bytes", lambda: 10_000)
    with pytest.raises(NotEnoughMemoryError, match=re.escape("0.0 GB are free; give a smaller `image_size`")):
        front_door.train("digits", out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_system_that_does_not_tell_is_not_checked(monkeypatch):
    monkeypatch.setattr(memory, "usable_bytes", lambda: None)
    recipe = recipe_of(64, 8)
    assert check_memory(recipe, data_of(recipe, 10)) == needed_bytes(recipe, data_of(recipe, 10))


@pytest.mark.slow
@pytest.mark.parametrize(("side", "batch_size"), [(64, 32), (256, 32), (512, 8)])
def test_estimate_is_near_the_peak(side, batch_size):
    command = [sys.executable, "-c", PEAK, str(side), str(batch_size)]
    peak = int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    recipe = recipe_of(side, batch_size)
    assert 0.9 * peak < needed_bytes(recipe, data_of(recipe, 64)) < 2 * peak
