"""Runs: what they leave behind, and that a resumed one ends as if it had never stopped."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

from runtime.errors import CheckpointError, DatasetContentError, DivergedError, OutputError, RunExistsError
from tests.conftest import ROOT
from trainer.checkpoints import load_generator
from trainer.recipes import load_recipe_module
from trainer.runs import Run, check_enough_images, check_same_images, newest_run, start_run, unused_run


def history(run):
    return [json.loads(line) for line in run.history_file.read_text().splitlines()]


def test_run_leaves_what_its_folder_promises(run_small, small_recipe, small_data):
    run = run_small(small_recipe)
    assert run.checkpoint_steps() == [20, 25]  # the last two of 10, 20 and 25
    assert run.read_recipe() == small_recipe
    assert run.read_data()["images"] == 50
    assert [line["step"] for line in history(run)] == [10, 20, 25]
    assert set(history(run)[0]) == {"step", "images_seen", "d_loss", "g_loss", "d_accuracy", "images_per_second"}
    preview = Image.open(run.preview_file(25))
    assert preview.size == (8 * 30 - 2, 8 * 30 - 2)
    assert np.asarray(preview).std() > 10
    saved = keras.models.load_model(run.keras_file)
    latents = np.zeros((2, 100), np.float32)
    np.testing.assert_array_equal(saved(latents), load_generator(run)(latents))
    assert not [path for path in run.path.rglob("*") if ".part" in path.name]


@pytest.mark.parametrize("name", ["mnist-dense", "mnist-minimal"])
@pytest.mark.parametrize("settings", ["RECIPE", "AS_PUBLISHED"])
def test_resumed_run_ends_bit_identical(run_small, name, settings):
    recipe = getattr(load_recipe_module(name), settings)
    recipe = dataclasses.replace(recipe, steps=25, batch_size=8, preview_interval=10, jit=False)
    whole, stopped = run_small(recipe, "whole"), run_small(recipe, "stopped")
    for path in (stopped.checkpoint_file(25), stopped.keras_file, stopped.preview_file(25)):
        path.unlink()
    stopped.history_file.write_text(stopped.history_file.read_text() + '{"step": 30, "d_lo')
    resumed = run_small(recipe, "stopped", first=20)
    with np.load(whole.checkpoint_file(25)) as a, np.load(resumed.checkpoint_file(25)) as b:
        assert a.files == b.files
        for array in a.files:
            np.testing.assert_array_equal(a[array], b[array], err_msg=array)
    assert whole.preview_file(25).read_bytes() == resumed.preview_file(25).read_bytes()
    assert [line["step"] for line in history(resumed)] == [10, 20, 25]


@pytest.mark.parametrize(
    "recipe",
    [
        "mnist-minimal",
        pytest.param("mnist-minimal --as-published", marks=pytest.mark.slow),
        pytest.param("mnist-dense", marks=pytest.mark.slow),
        pytest.param("mnist-dense --as-published", marks=pytest.mark.slow),
    ],
)
def test_kill_9_then_resume_ends_bit_identical(tmp_path, recipe):
    """The real thing: the command line, killed at a random moment after its first checkpoint, and resumed in a new process."""
    recipe = [*recipe.split(), "--data", "digits", "--steps", "5000", "--batch-size", "8"]
    command = [sys.executable, str(ROOT / "cli.py"), "train"]
    subprocess.run([*command, *recipe, "--out", "whole"], cwd=tmp_path, check=True, capture_output=True)

    victim = subprocess.Popen([*command, *recipe, "--out", "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    killed = Run(tmp_path / "killed")
    deadline = time.monotonic() + 120
    while not killed.checkpoint_steps():
        assert time.monotonic() < deadline
        assert victim.poll() is None
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.2))
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert killed.newest_step() < 5000

    subprocess.run([*command, "--resume", "--out", "killed"], cwd=tmp_path, check=True, capture_output=True)
    with np.load(Run(tmp_path / "whole").checkpoint_file(5000)) as a, np.load(killed.checkpoint_file(5000)) as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_seed_changes_the_run(run_small, small_recipe):
    first = run_small(small_recipe, "first")
    second = run_small(dataclasses.replace(small_recipe, seed=1), "second")
    with np.load(first.checkpoint_file(25)) as a, np.load(second.checkpoint_file(25)) as b:
        assert not np.array_equal(a[a.files[0]], b[b.files[0]])


def test_run_with_few_steps_ends_where_it_should(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=3, preview_interval=10))
    assert run.checkpoint_steps() == [3]


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(run_small, small_recipe):
    good = dataclasses.replace(small_recipe, steps=10)
    run = run_small(good)
    wild = dataclasses.replace(
        small_recipe, discriminator_optimizer=dataclasses.replace(small_recipe.discriminator_optimizer, learning_rate=1e38)
    )
    with pytest.raises(DivergedError, match="step 10") as caught:
        run_small(wild, first=10)
    assert caught.value.kept == 10
    assert run.checkpoint_steps() == [10]


def test_folder_that_holds_a_run_is_not_overwritten(run_small, small_recipe):
    run_small(small_recipe)
    with pytest.raises(RunExistsError, match="--resume"):
        run_small(small_recipe)


def test_folder_that_cant_be_made_is_an_output_error(tmp_path, small_recipe, small_data):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        start_run(Run(tmp_path / "file" / "run"), small_recipe, small_data)


def test_weights_that_are_not_finite_are_never_saved(run_small, small_recipe, monkeypatch):
    from trainer.networks import Networks

    monkeypatch.setattr(Networks, "are_finite", lambda self: False)  # as after a last update that the losses do not show
    with pytest.raises(DivergedError) as caught:
        run_small(small_recipe)
    assert caught.value.kept == 0


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other networks"])
def test_damaged_checkpoint_is_refused(run_small, small_recipe, damage):
    run = run_small(small_recipe)
    file = run.checkpoint_file(25)
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "empty":
        content = bytearray()
    file.write_bytes(content)
    if damage == "other networks":
        np.savez(file, **{"generator/000/kernel": np.zeros((2, 2))})
    with pytest.raises(CheckpointError, match="step-00000025"):
        load_generator(run)


def test_damaged_checkpoint_says_what_to_do(run_small, small_recipe):
    run = run_small(small_recipe)
    run.checkpoint_file(25).write_bytes(b"")
    with pytest.raises(CheckpointError, match="take it away"):
        load_generator(run)
    run.checkpoint_file(25).unlink()
    load_generator(run)


def test_run_without_a_checkpoint_says_so(tmp_path, small_recipe, small_data):
    run = Run(tmp_path / "run")
    start_run(run, small_recipe, small_data)
    with pytest.raises(CheckpointError, match="there is none"):
        load_generator(run)


def test_other_images_are_noticed(tmp_path, small_recipe, small_data):
    run = Run(tmp_path / "run")
    start_run(run, small_recipe, small_data)
    check_same_images(run, small_data)
    with pytest.raises(CheckpointError, match="not the ones"):
        check_same_images(run, dataclasses.replace(small_data, images=small_data.images[::-1]))


def test_too_few_images_are_noticed(small_recipe, small_data):
    check_enough_images(dataclasses.replace(small_recipe, batch_size=50), small_data)
    with pytest.raises(DatasetContentError, match="50 images are fewer than one batch of 51"):
        check_enough_images(dataclasses.replace(small_recipe, batch_size=51), small_data)


def test_newest_run_and_unused_name(tmp_path, small_recipe, small_data):
    for age, name in enumerate(("digits-2", "digits", "other")):
        run = unused_run(tmp_path, "digits") if name == "digits" else Run(tmp_path / name)
        start_run(run, small_recipe, small_data)
        os.utime(run.recipe_file, (1000 + age, 1000 + age))
    assert newest_run(tmp_path).path.name == "other"
    run = Run(tmp_path / "digits-2")
    run.checkpoint_file(3).parent.mkdir()
    run.checkpoint_file(3).touch()
    assert newest_run(tmp_path).path.name == "digits-2"  # started first, saved last
    assert newest_run(tmp_path, "mnist-minimal").path.name == "digits-2"
    assert unused_run(tmp_path, "digits").path.name == "digits-3"
    (tmp_path / "digits" / "recipe.json").write_text("damaged")
    assert newest_run(tmp_path, "mnist-minimal").path.name == "digits-2"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "x"}'])
def test_damaged_record_of_the_data_is_refused(tmp_path, small_recipe, small_data, content):
    run = Run(tmp_path)
    start_run(run, small_recipe, small_data)
    run.data_file.write_text(content)
    with pytest.raises(CheckpointError, match=r"data\.json is damaged"):
        run.read_data()
