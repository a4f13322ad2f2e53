"""Runs: what they leave behind, and that a resumed one ends as if it had never stopped."""

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ganport.runtime.errors import (
    CheckpointError,
    DatasetContentError,
    DivergedError,
    OutputError,
    RunExistsError,
    RunInUseError,
)
from ganport.trainer.checkpoints import load_generator
from ganport.trainer.loop import train
from ganport.trainer.recipes import RECIPES, load_recipe_module
from ganport.trainer.report import Report
from ganport.trainer.runs import Run, check_images, check_same_images, newest_run, start_run, unused_run
from tests.conftest import ROOT
from tests.trainer.conftest import load_squares, one_device


def history(run):
    return [json.loads(line) for line in run.history_file.read_text().splitlines()]


def test_run_leaves_what_its_folder_promises(run_small, small_recipe, small_data):
    run = run_small(small_recipe)
    assert run.checkpoint_steps()[-2:] == [20, 25]
    assert run.read_recipe() == small_recipe
    assert run.read_data()["images"] == 50
    assert [line["step"] for line in history(run)] == [10, 10, 20, 20, 25, 25]
    assert set(history(run)[0]) == {"step", "images_seen", "d_loss", "g_loss", "d_accuracy", "images_per_second"}
    assert set(history(run)[1]) == {"step", "distance"}
    with Image.open(run.curves_file) as curves, Image.open(run.progress_file) as progress:
        assert curves.size == (900, 800)
        assert progress.n_frames == 3
    preview = Image.open(run.preview_file(25))
    assert preview.size == (8 * 30 - 2, 8 * 30 - 2)
    assert np.asarray(preview).std() > 10
    saved = keras.models.load_model(run.keras_file)
    latents = np.zeros((2, 100), np.float32)
    np.testing.assert_array_equal(saved(latents), load_generator(run)(latents))
    assert not [path for path in run.path.rglob("*") if ".part" in path.name]


SAME_STEPS = {"digits", "mnist-dcgan", "fashion-dcgan"}  # as those of mnist-conditional, and of fashion-conditional
SLOW = {  # the same kinds of steps are in the others
    ("rps-dcgan", "RECIPE"),
    ("rps-conditional", "RECIPE"),
    ("fashion-dense", "RECIPE"),
    ("mnist-minimal", "RECIPE"),
    ("mnist-minimal", "AS_PUBLISHED"),
}
EVERY_RECIPE = [
    (name, settings)
    for name in RECIPES
    for settings in ("RECIPE", "AS_PUBLISHED")
    if hasattr(load_recipe_module(name), settings) and name not in SAME_STEPS
]


def shortened(name, settings, **changes):
    """A recipe as it is, its few first steps only; not compiled by XLA, which takes seconds."""
    recipe = getattr(load_recipe_module(name), settings)
    short = {"steps": 25, "batch_size": 8, "preview_interval": 10, "jit": False, "image_shape": (28, 28, 1)}
    return dataclasses.replace(recipe, **short | changes)


def assert_same_checkpoint(one, other, step):
    with np.load(one.checkpoint_file(step)) as a, np.load(other.checkpoint_file(step)) as b:
        assert a.files == b.files
        for array in a.files:
            np.testing.assert_array_equal(a[array], b[array], err_msg=array)


@pytest.mark.parametrize(
    ("name", "settings"),
    [pytest.param(*each, marks=pytest.mark.slow) if each in SLOW else each for each in EVERY_RECIPE],
)
def test_resumed_run_ends_bit_identical(run_small, name, settings):
    recipe = shortened(name, settings)
    whole = run_small(recipe, "whole")
    stopped = Run(whole.path.with_name("stopped"))
    shutil.copytree(whole.path, stopped.path)
    for path in (stopped.checkpoint_file(25), stopped.keras_file, stopped.preview_file(25)):
        path.unlink()
    stopped.history_file.write_text(stopped.history_file.read_text() + '{"step": 30, "d_lo')
    resumed = run_small(recipe, "stopped", resume=True)
    assert_same_checkpoint(whole, resumed, 25)
    assert whole.preview_file(25).read_bytes() == resumed.preview_file(25).read_bytes()

    for ours, theirs in zip(history(whole), history(resumed), strict=True):
        # The means are summed up in pieces of about a second, so their last digits may differ.
        speed = {"images_per_second": 0.0}
        assert ours | speed == pytest.approx(theirs | speed)


def test_all_are_there():
    assert len(EVERY_RECIPE) == 13


KILLED = [
    pytest.param(name + " --as-published" * (settings == "AS_PUBLISHED"), marks=pytest.mark.slow, id=f"{name} {settings} {n}")
    for name, settings in EVERY_RECIPE
    for n in (1, 2)
]


@pytest.mark.parametrize("recipe", ["mnist-minimal", *KILLED])
def test_kill_9_then_resume_ends_bit_identical(tmp_path, recipe):
    """The real thing: the command line, killed at a random moment after a checkpoint, and resumed in a new process."""
    recipe = [*recipe.split(), "--data", "digits", "--steps", "2000", "--batch-size", "8", "--preview-interval", "200"]
    command = [sys.executable, str(ROOT / "cli.py"), "train"]
    subprocess.run([*command, *recipe, "--out", "whole"], cwd=tmp_path, check=True, capture_output=True)

    victim = subprocess.Popen([*command, *recipe, "--out", "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    killed = Run(tmp_path / "killed")
    rng = np.random.default_rng()
    after = rng.integers(1400)
    deadline = time.monotonic() + 240
    while max(killed.checkpoint_steps(), default=0) <= after:
        assert time.monotonic() < deadline
        assert victim.poll() is None
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.1))
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert killed.newest_step() < 2000

    subprocess.run([*command, "--resume", "--out", "killed"], cwd=tmp_path, check=True, capture_output=True)
    with np.load(Run(tmp_path / "whole").checkpoint_file(2000)) as a, np.load(killed.checkpoint_file(2000)) as b:
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
        run_small(wild, resume=True)
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
    from ganport.trainer.networks import Networks

    # As after a last update that the losses do not show.
    monkeypatch.setattr(Networks, "read", lambda self: {"weight": np.array([1.0, np.inf])})
    with pytest.raises(DivergedError, match="not finite") as caught:
        run_small(small_recipe)
    assert caught.value.kept == 0


def test_best_checkpoint_is_kept_beside_the_last_two(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=60))
    distances = {line["step"]: line["distance"] for line in history(run) if "distance" in line}
    assert set(distances) == {10, 20, 30, 40, 50, 60}
    best = min(distances, key=distances.get)
    assert run.best_step() == best
    assert set(run.checkpoint_steps()) == {50, 60, best}


def test_best_checkpoint_is_the_one_that_was_evaluated_best(run_on, small_data, small_recipe):
    """Evaluated at steps of its own, and at the last; the pixel distance has no say then."""
    many = dataclasses.replace(
        small_data, images=np.tile(small_data.images, (10, 1, 1, 1)), labels=np.tile(small_data.labels, 10)
    )
    run = run_on(dataclasses.replace(small_recipe, steps=40, preview_interval=20, evaluate_interval=15), many)
    measured = {line["step"]: line for line in history(run) if "distance" in line}
    assert set(measured) == {15, 20, 30, 40}
    assert {step for step, line in measured.items() if "frechet" in line} == {15, 30, 40}
    found = {step: line["frechet"] for step, line in measured.items() if "frechet" in line and step in run.checkpoint_steps()}
    assert run.best_step() == min(found, key=found.get)
    lines = [
        line | ({"frechet": 0.0, "distance": 9.0} if line.get("step") == 30 and "frechet" in line else {})
        for line in history(run)
    ]
    run.history_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run.best_step() == 30


def test_best_checkpoint_of_the_past_is_not_removed(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=10))
    lines = [json.dumps(line | {"distance": 1e-9}) if "distance" in line else json.dumps(line) for line in history(run)]
    run.history_file.write_text("\n".join(lines) + "\n")
    run_small(dataclasses.replace(small_recipe, steps=50), resume=True)
    assert run.checkpoint_steps() == [10, 40, 50]
    assert run.best_step() == 10
    weights = load_generator(run, run.best_step()).get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(weights, load_generator(run).get_weights(), strict=True))


@pytest.mark.parametrize("content", [b"", b"PK and no more"])
def test_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(run_small, small_recipe, content, tmp_path):
    whole, damaged = run_small(small_recipe, "whole"), run_small(small_recipe, "damaged")
    damaged.checkpoint_file(25).write_bytes(content)
    said = io.StringIO()
    with Report(Console(file=said, width=200), small_recipe.steps) as report:
        train(small_recipe, load_squares(), damaged, [report], one_device())
    assert "step-00000025.npz is damaged" in said.getvalue()
    assert "going on from the one before it" in said.getvalue()
    assert_same_checkpoint(whole, damaged, 25)


def test_run_whose_checkpoints_are_all_damaged_is_refused(run_small, small_recipe):
    run = run_small(small_recipe)
    for step in run.checkpoint_steps():
        run.checkpoint_file(step).write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        run_small(small_recipe, resume=True)


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
    check_images(dataclasses.replace(small_recipe, batch_size=50), small_data)
    with pytest.raises(DatasetContentError, match="50 images are too few for --evaluate-every, which takes 500"):
        check_images(dataclasses.replace(small_recipe, batch_size=50, evaluate_interval=10), small_data)
    with pytest.raises(DatasetContentError, match="50 images are fewer than one batch of 51"):
        check_images(dataclasses.replace(small_recipe, batch_size=51), small_data)


def test_newest_run_and_unused_name(tmp_path, small_recipe, small_data):
    for age, name in enumerate(("digits-2", "digits", "other")):
        run = unused_run(tmp_path, "digits") if name == "digits" else Run(tmp_path / name)
        start_run(run, small_recipe, small_data)
        os.utime(run.recipe_file, (1000 + age, 1000 + age))
    assert newest_run(tmp_path).path.name == "other"
    assert newest_run(tmp_path, prefer_trained=True).path.name == "other"  # none has a checkpoint
    run = Run(tmp_path / "digits-2")
    run.checkpoint_file(3).parent.mkdir()
    run.checkpoint_file(3).touch()
    assert newest_run(tmp_path).path.name == "digits-2"  # started first, saved last
    assert newest_run(tmp_path, "mnist-minimal").path.name == "digits-2"
    os.utime(Run(tmp_path / "other").recipe_file, (2e9, 2e9))  # begun since, without a checkpoint
    assert newest_run(tmp_path).path.name == "other"
    assert newest_run(tmp_path, prefer_trained=True).path.name == "digits-2"
    os.utime(Run(tmp_path / "other").recipe_file, (1000, 1000))
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


def test_a_run_is_trained_by_one_process_at_a_time(small_recipe, small_data, run_on):
    run = run_on(dataclasses.replace(small_recipe, steps=5), small_data)
    holder = "import sys, time; from pathlib import Path; from ganport.trainer.runs import Run\n"
    holder += "with Run(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder, str(run.path)], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout.readline() == b"held\n"
        before = sorted(run.path.rglob("*"))
        with pytest.raises(RunInUseError, match="is being trained by another process"):
            run_on(dataclasses.replace(small_recipe, steps=5), small_data, resume=True)
        assert sorted(run.path.rglob("*")) == before
        other.kill()
    run_on(dataclasses.replace(small_recipe, steps=5), small_data, resume=True)
