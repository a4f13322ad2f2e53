"""Runs: the files that a run writes, and a resumed run that ends as if it had never stopped."""

import dataclasses
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

from ganport.datasets.errors import DatasetContentError
from ganport.runtime.errors import OutputError
from ganport.trainer.callbacks import Callback
from ganport.trainer.checkpoints import load_generator
from ganport.trainer.errors import CheckpointError, DivergedError, RunExistsError, RunInUseError
from ganport.trainer.history import History
from ganport.trainer.loop import run_training
from ganport.trainer.plan import check_data_fits
from ganport.trainer.recipes import RECIPES, has_published_settings, load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import check_same_images, record_schedule, start_run
from ganport.trainer.runs import newest_run, unused_run
from tests.conftest import ROOT
from tests.trainer.conftest import load_squares, one_device


def history(run):
    return [json.loads(line) for line in run.history_file.read_text().splitlines()]


def test_run_writes_all_files_of_its_folder(trained_once, small_recipe):
    run = trained_once
    assert run.checkpoint_steps()[-2:] == [20, 25]
    assert run.read_recipe() == small_recipe
    assert run.read_data()["images"] == 50
    assert [line["step"] for line in history(run)] == [10, 10, 20, 20, 25, 25]
    metrics = {"d_loss", "g_loss", "d_accuracy", "images_per_second"}
    assert set(history(run)[0]) == {"step", "images_seen", "seconds", *metrics}
    assert set(history(run)[1]) == {"step", "distance", "growth"}
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


SAME_STEPS = {"digits", "mnist-dcgan", "fashion-dcgan"}  # the conditional recipes have the same steps
SLOW = {  # cases that `make test` leaves out; the other recipes have the same kinds of steps
    ("images", "ours"),
    ("mnist-dense", "ours"),
    ("rps-dcgan", "ours"),
    ("rps-conditional", "ours"),
    ("fashion-dense", "ours"),
    ("mnist-minimal", "ours"),
    ("mnist-minimal", "published"),
    ("mnist-dropout", "ours"),
    ("mnist-dense", "published"),
    ("fashion-dense", "published"),
    ("mnist-conditional", "ours"),  # test_conditional.py resumes a smaller run of this recipe
    ("fashion-conditional", "ours"),
}
EVERY_RECIPE = [
    (name, settings)
    for name in RECIPES
    for settings in ("ours", "published")
    if name not in SAME_STEPS and (settings == "ours" or has_published_settings(name))
]


def shortened(name, settings):
    """Return a recipe with its first few steps only. XLA, which takes seconds to compile, is off."""
    recipe = load_recipe(name, as_published=settings == "published")
    short = {"steps": 25, "batch_size": 8, "preview_interval": 10, "jit": False, "image_shape": (28, 28, 1)}
    return dataclasses.replace(recipe, **short)


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
    stopped = RunFolder(whole.path.with_name("stopped"))
    shutil.copytree(whole.path, stopped.path)
    for path in (stopped.checkpoint_file(25), stopped.keras_file, stopped.preview_file(25)):
        path.unlink()
    stopped.history_file.write_text(stopped.history_file.read_text() + '{"step": 30, "d_lo')
    resumed = run_small(recipe, "stopped", resume=True)
    assert_same_checkpoint(whole, resumed, 25)
    assert whole.preview_file(25).read_bytes() == resumed.preview_file(25).read_bytes()

    for ours, theirs in zip(history(whole), history(resumed), strict=True):
        # The means are computed over chunks of about a second, so their last digits may differ.
        speed = {"images_per_second": 0.0, "seconds": 0.0} if "images_per_second" in ours else {}
        assert ours | speed == pytest.approx(theirs | speed)


def test_training_time_goes_on_after_a_resume(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=10))
    lines = [line | {"seconds": 1000.0} if "seconds" in line else line for line in history(run)]
    write_history(run, lines)
    run_small(dataclasses.replace(small_recipe, steps=20), resume=True)
    times = [line["seconds"] for line in history(run) if "seconds" in line]
    assert times[0] == 1000
    assert all(1000 <= time < 1300 for time in times[1:])
    assert History(history(run)).seconds == times[-1]


def write_history(run, lines):
    run.history_file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_longer_schedule_is_recorded_once_and_counts_from_its_step(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=10))
    longer = dataclasses.replace(small_recipe, steps=25)
    run_small(longer, resume=True)
    assert run.read_recipe() == longer
    run.checkpoint_file(25).unlink()
    run_small(longer, resume=True)
    assert History(history(run)).schedules == [(10, 25)]


def test_schedule_counts_from_an_earlier_step_if_the_checkpoint_of_its_step_is_lost(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=10, preview_interval=5))
    longer = dataclasses.replace(small_recipe, steps=25, preview_interval=5)
    record_schedule(run, longer, 10)
    run.checkpoint_file(10).write_bytes(b"")
    run_small(longer, resume=True)
    assert History(history(run)).schedules == [(5, 25)]


def train_until_the_first_preview(recipe, data, folder):
    """Train a new run until its first preview, and return it."""

    class Stop(Callback):
        def on_checkpoint(self, step, preview, measures):
            os.kill(os.getpid(), signal.SIGTERM)

    run = RunFolder(folder)
    start_run(run, recipe, data)
    assert run_training(recipe, data, run, Stop(), one_device()) == signal.SIGTERM
    return run


def test_first_preview_comes_early_with_a_checkpoint(tmp_path, small_recipe, small_data, monkeypatch):
    monkeypatch.setattr("ganport.trainer.loop.FIRST_PREVIEW_SECONDS", 0.2)
    recipe = dataclasses.replace(small_recipe, steps=10**6, preview_interval=10**6, log_interval=10**6)
    run = train_until_the_first_preview(recipe, small_data, tmp_path / "early")
    step = run.newest_step()
    assert 0 < step < 10**5
    assert run.preview_files() == [run.preview_file(step)]
    assert [set(line) & {"d_loss", "distance"} for line in history(run)][:2] == [{"d_loss"}, {"distance"}]
    # A run that has a preview makes the next ones at its intervals.
    monkeypatch.setattr("ganport.trainer.loop.FIRST_PREVIEW_SECONDS", 0)
    monkeypatch.setattr("ganport.trainer.loop.FIRST_PREVIEW_MARGIN", 0)
    recipe = dataclasses.replace(recipe, steps=step + 20)
    run_training(recipe, small_data, run, Callback(), one_device())
    assert run.checkpoint_steps() == [step, step + 20]


def test_early_preview_does_not_change_the_training(run_small, small_recipe, trained_once, monkeypatch):
    monkeypatch.setattr("ganport.trainer.loop.FIRST_PREVIEW_SECONDS", 0)
    monkeypatch.setattr("ganport.trainer.loop.FIRST_PREVIEW_MARGIN", 0)
    run = run_small(small_recipe)
    assert len(run.preview_files()) == 4  # one more than usual
    assert_same_checkpoint(trained_once, run, 25)


def test_preview_is_not_early_if_the_next_one_is_near(run_small, small_recipe, monkeypatch):
    monkeypatch.setattr("ganport.trainer.loop.FIRST_PREVIEW_SECONDS", 0)
    monkeypatch.setattr("ganport.trainer.loop.FIRST_PREVIEW_MARGIN", 10**6)
    run = run_small(small_recipe)
    assert [int(file.stem.removeprefix("step-")) for file in run.preview_files()] == [10, 20, 25]


def test_all_recipes_are_listed():
    assert len(EVERY_RECIPE) == 14


KILLED = [
    pytest.param(
        name + " --as-published" * (settings == "published"),
        marks=pytest.mark.slow,
        id=f"{name} {settings} {attempt}",
    )
    for name, settings in EVERY_RECIPE
    for attempt in (1, 2)
]


@pytest.mark.parametrize("recipe", KILLED)
def test_kill_9_then_resume_ends_bit_identical(tmp_path, recipe):
    """The command is killed at a random moment after a checkpoint, and a second command resumes the run."""
    recipe = [*recipe.split(), "--data", "digits", "--steps", "2000"]
    recipe += ["--batch-size", "8", "--preview-interval", "200"]
    command = [sys.executable, str(ROOT / "cli.py"), "train"]
    subprocess.run([*command, *recipe, "--out", "whole"], cwd=tmp_path, check=True, capture_output=True)

    victim = subprocess.Popen([*command, *recipe, "--out", "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    killed = RunFolder(tmp_path / "killed")
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
    assert_same_checkpoint(RunFolder(tmp_path / "whole"), killed, 2000)


def test_seed_changes_the_run(run_small, small_recipe, trained_once):
    second = run_small(dataclasses.replace(small_recipe, seed=1))
    with np.load(trained_once.checkpoint_file(25)) as a, np.load(second.checkpoint_file(25)) as b:
        assert not np.array_equal(a[a.files[0]], b[b.files[0]])


def test_run_that_is_shorter_than_the_preview_interval_saves_its_last_step(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=3, preview_interval=10))
    assert run.checkpoint_steps() == [3]


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(run_small, small_recipe):
    good = dataclasses.replace(small_recipe, steps=10)
    run = run_small(good)
    optimizer = dataclasses.replace(small_recipe.discriminator_optimizer, learning_rate=1e38)
    wild = dataclasses.replace(small_recipe, discriminator_optimizer=optimizer)
    with pytest.raises(DivergedError, match="step 10") as caught:
        run_small(wild, resume=True)
    assert caught.value.kept == 10
    assert run.checkpoint_steps() == [10]


@pytest.mark.usefixtures("trained")
def test_folder_that_holds_a_run_is_not_overwritten(run_small, small_recipe):
    with pytest.raises(RunExistsError, match="`resume=True`"):
        run_small(small_recipe)


def test_folder_that_cant_be_created_is_an_output_error(tmp_path, small_recipe, small_data):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        start_run(RunFolder(tmp_path / "file" / "run"), small_recipe, small_data)


def test_weights_that_are_not_finite_are_never_saved(run_small, small_recipe, monkeypatch):
    from ganport.trainer.networks import Networks

    # The weights become infinite in the last update, after the last loss was computed.
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


@pytest.mark.slow
def test_best_checkpoint_has_the_smallest_frechet_distance(run_on, small_data, small_recipe):
    """The Fréchet distance, measured every `evaluate_interval` steps, decides, and not the pixel distance."""
    images, labels = np.tile(small_data.images, (10, 1, 1, 1)), np.tile(small_data.labels, 10)
    many = dataclasses.replace(small_data, images=images, labels=labels)
    recipe = dataclasses.replace(small_recipe, steps=40, preview_interval=20, evaluate_interval=15)
    run = run_on(recipe, many)
    measured = {line["step"]: line for line in history(run) if "distance" in line}
    assert set(measured) == {15, 20, 30, 40}
    assert {step for step, line in measured.items() if "frechet" in line} == {15, 30, 40}
    found = {step: line["frechet"] for step, line in measured.items() if "frechet" in line}
    kept = {step: value for step, value in found.items() if step in run.checkpoint_steps()}
    assert run.best_step() == min(kept, key=kept.get)
    lines = [
        line | ({"frechet": 0.0, "distance": 9.0} if line.get("step") == 30 and "frechet" in line else {})
        for line in history(run)
    ]
    run.history_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run.best_step() == 30


def test_earlier_best_checkpoint_is_not_removed(run_small, small_recipe):
    run = run_small(dataclasses.replace(small_recipe, steps=10))
    lines = [line | {"distance": 1e-9} if "distance" in line else line for line in history(run)]
    run.history_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_small(dataclasses.replace(small_recipe, steps=50), resume=True)
    assert run.checkpoint_steps() == [10, 40, 50]
    assert run.best_step() == 10
    best, newest = load_generator(run, run.best_step()), load_generator(run)
    pairs = zip(best.get_weights(), newest.get_weights(), strict=True)
    assert any(not np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("content", [b"", b"PK and no more"])
def test_damaged_newest_checkpoint_is_skipped_with_a_warning(trained, trained_once, small_recipe, content):
    trained.checkpoint_file(25).write_bytes(content)
    warnings = []
    callback = Callback()
    callback.on_warning = warnings.append
    run_training(small_recipe, load_squares(), trained, callback, one_device())
    (warning,) = warnings
    assert "step-00000025.npz is damaged" in warning
    assert "continuing from the checkpoint before it" in warning
    assert_same_checkpoint(trained_once, trained, 25)


def test_damaged_line_of_the_history_is_left_out_with_a_warning(trained, trained_once, small_recipe):
    first, *rest = trained.history_file.read_bytes().splitlines(keepends=True)
    trained.history_file.write_bytes(b"".join([first, b'{"step": null}\n', b"\xff\n", *rest]))
    warnings = []
    callback = Callback()
    callback.on_warning = warnings.append
    run_training(small_recipe, load_squares(), trained, callback, one_device())
    assert warnings == [f"{trained.history_file}: 2 damaged lines are left out"]
    assert [line["step"] for line in history(trained)] == [line["step"] for line in history(trained_once)]


def test_run_with_only_damaged_checkpoints_is_rejected(trained, run_small, small_recipe):
    for step in trained.checkpoint_steps():
        trained.checkpoint_file(step).write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        run_small(small_recipe, resume=True)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other networks"])
def test_damaged_checkpoint_is_rejected(trained, damage):
    file = trained.checkpoint_file(25)
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
        load_generator(trained)


def test_error_of_a_damaged_checkpoint_has_a_remedy(trained):
    trained.checkpoint_file(25).write_bytes(b"")
    with pytest.raises(CheckpointError, match="remove this file"):
        load_generator(trained)
    trained.checkpoint_file(25).unlink()
    load_generator(trained)


def test_run_without_a_checkpoint_is_an_error(tmp_path, small_recipe, small_data):
    run = RunFolder(tmp_path / "run")
    start_run(run, small_recipe, small_data)
    with pytest.raises(CheckpointError, match="the run has saved none yet"):
        load_generator(run)


def test_changed_images_are_rejected(tmp_path, small_recipe, small_data):
    run = RunFolder(tmp_path / "run")
    start_run(run, small_recipe, small_data)
    check_same_images(run, small_data)
    with pytest.raises(CheckpointError, match="not the ones"):
        check_same_images(run, dataclasses.replace(small_data, images=small_data.images[::-1]))


def test_too_few_images_are_rejected(small_recipe, small_data):
    check_data_fits(dataclasses.replace(small_recipe, batch_size=50), small_data)
    few = dataclasses.replace(small_data, images=small_data.images[:49])
    with pytest.raises(DatasetContentError, match="too few for `evaluate_interval`, which needs 50;"):
        check_data_fits(dataclasses.replace(small_recipe, batch_size=49, evaluate_interval=10), few)
    with pytest.raises(DatasetContentError, match="50 images are fewer than one batch of 51"):
        check_data_fits(dataclasses.replace(small_recipe, batch_size=51), small_data)


def test_newest_run_and_unused_name(tmp_path, small_recipe, small_data):
    for age, name in enumerate(("digits-2", "digits", "other")):
        run = unused_run(tmp_path, "digits") if name == "digits" else RunFolder(tmp_path / name)
        start_run(run, small_recipe, small_data)
        os.utime(run.recipe_file, (1000 + age, 1000 + age))
    assert newest_run(tmp_path).path.name == "other"
    assert newest_run(tmp_path, prefer_trained=True).path.name == "other"  # no run has a checkpoint
    run = RunFolder(tmp_path / "digits-2")
    run.checkpoint_file(3).parent.mkdir()
    run.checkpoint_file(3).touch()
    assert newest_run(tmp_path).path.name == "digits-2"  # started first, saved last
    assert newest_run(tmp_path, "mnist-minimal").path.name == "digits-2"
    os.utime(RunFolder(tmp_path / "other").recipe_file, (2e9, 2e9))  # now started last, without a checkpoint
    assert newest_run(tmp_path).path.name == "other"
    assert newest_run(tmp_path, prefer_trained=True).path.name == "digits-2"
    os.utime(RunFolder(tmp_path / "other").recipe_file, (1000, 1000))
    assert unused_run(tmp_path, "digits").path.name == "digits-3"
    (tmp_path / "digits" / "recipe.json").write_text("damaged")
    assert newest_run(tmp_path, "mnist-minimal").path.name == "digits-2"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "x"}', "with another type"])
def test_damaged_record_of_the_data_is_rejected(tmp_path, small_recipe, small_data, content):
    run = RunFolder(tmp_path)
    start_run(run, small_recipe, small_data)
    if content == "with another type":
        content = json.dumps({**run.read_data(), "source": []})
    run.data_file.write_text(content)
    with pytest.raises(CheckpointError, match=r"data\.json is damaged"):
        run.read_data()


def test_run_is_trained_by_one_process_at_a_time(small_recipe, small_data, run_on):
    run = run_on(dataclasses.replace(small_recipe, steps=5), small_data)
    holder = "import sys, time; from pathlib import Path; from ganport.trainer.locks import lock_run\n"
    holder += "with lock_run(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", holder, str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout.readline() == b"locked\n"
        before = sorted(run.path.rglob("*"))
        with pytest.raises(RunInUseError, match="Another process is training"):
            run_on(dataclasses.replace(small_recipe, steps=5), small_data, resume=True)
        assert sorted(run.path.rglob("*")) == before
        other.kill()
    run_on(dataclasses.replace(small_recipe, steps=5), small_data, resume=True)
