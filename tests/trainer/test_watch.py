"""Watching a run: the facts of a checkpoint, and runs with a wrong recipe that say what is wrong."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from ganport.datasets.dataset import Dataset
from ganport.runtime.errors import UsageError
from ganport.trainer.arguments import TrainingArguments
from ganport.trainer.callbacks import Callback
from ganport.trainer.checkpoints import load_generator
from ganport.trainer.history import History
from ganport.trainer.loop import run_training
from ganport.trainer.plan import plan_training
from ganport.trainer.recipes import load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run
from ganport.trainer.settings import change_recipe
from ganport.trainer.watch import growth, memorising
from tests.trainer.conftest import one_device

RNG = np.random.default_rng(0)


def test_memorising_is_the_place_of_held_out_images_between_training_and_generated_ones():
    def logits(mean):
        return (mean + 0.1 * RNG.normal(size=200)).astype(np.float32)

    assert memorising(logits(2), logits(2), logits(-2)) == 0
    assert memorising(logits(2), logits(1), logits(-2)) == pytest.approx(0.25, abs=0.02)
    assert memorising(logits(2), logits(-2), logits(-2)) == pytest.approx(1, abs=0.02)
    assert memorising(logits(-2), logits(0), logits(2)) == 0  # it takes generated images for real ones


def test_memorising_needs_a_difference_that_is_not_by_chance():
    spread = np.linspace(-3, 3, 16).astype(np.float32)
    assert memorising(spread + 0.3, spread, spread - 0.3) == 0


def test_growth_is_the_mean_over_the_kernels():
    assert growth([0.1, 0.2, 0.4], [0.1, 0.4, 1.6]) == pytest.approx(2)


@pytest.fixture(scope="module")
def squares():
    """200 images of 16x16 of two classes, with a square of another colour at a random position."""
    rng = np.random.default_rng(0)
    images = np.empty((200, 16, 16, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(100, 256, 3)
        row, column = rng.integers(0, 8, 2)
        image[row : row + 8, column : column + 8] = rng.integers(0, 256, 3)
    labels = np.arange(200, dtype=np.int32) % 2
    return Dataset("squares", "squares", "CC0", images, {"even": 100, "odd": 100}, labels=labels)


@pytest.fixture(scope="module")
def watched():
    """The recipe for images, on a few images, with few steps."""
    settings = {"steps": 40, "batch_size": 8, "preview_interval": 20, "evaluate_interval": 10}
    recipe = dataclasses.replace(load_recipe("images"), image_shape=(16, 16, 3), labels=("even", "odd"))
    return change_recipe(recipe, settings)


class Events(Callback):
    def __init__(self):
        self.findings, self.notes, self.measures = [], [], {}

    def on_finding(self, finding):
        self.findings.append(finding)

    def on_note(self, line):
        self.notes.append(line)

    def on_checkpoint(self, step, preview, measures):
        self.measures[step] = measures


def train(recipe, data, folder, resume=False):
    """Train a run, and return it with its events."""
    run, events = RunFolder(folder), Events()
    if not resume:
        start_run(run, recipe, data)
    assert run_training(run.load_recipe(), data, run, events, one_device()) is None
    return run, events


@pytest.fixture(scope="module")
def whole(watched, squares, tmp_path_factory):
    """A run of `watched` that was never stopped, with a finding: the variety is said to be too small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganport.trainer.findings.LEAST_VARIETY", 100.0)
        return train(watched, squares, tmp_path_factory.mktemp("whole") / "run")


def test_facts_are_measured_with_the_distance_and_recorded(whole):
    run, events = whole
    lines = {line["step"]: line for line in run.read_history() if "distance" in line}
    assert set(lines) == {10, 20, 30, 40}
    for step, line in lines.items():
        assert set(line) == {"step", "distance", "frechet", "growth", "variety", "memorising", "copies"}
        assert {name: round(value, 5) for name, value in events.measures[step].items()} == {
            name: value for name, value in line.items() if name != "step"
        }


def test_finding_is_said_once_with_its_step_and_is_in_the_history(whole):
    run, events = whole
    (finding,) = events.findings
    assert (finding.name, finding.step) == ("collapse", 20)
    assert History(run.read_history()).findings == [finding]


@pytest.mark.slow
def test_resumed_run_has_the_facts_and_findings_of_a_whole_run(whole, squares, tmp_path, monkeypatch):
    monkeypatch.setattr("ganport.trainer.findings.LEAST_VARIETY", 100.0)
    run, _ = whole
    stopped = RunFolder(tmp_path / "stopped")
    shutil.copytree(run.path, stopped.path)
    for step in stopped.checkpoint_steps():
        if step > 30:
            stopped.checkpoint_file(step).unlink()
    resumed, events = train(run.load_recipe(), squares, stopped.path, resume=True)
    assert events.findings == []  # it was said before
    with np.load(run.checkpoint_file(40)) as a, np.load(resumed.checkpoint_file(40)) as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    ours, theirs = (
        [line for line in each.read_history() if "seconds" not in line] for each in (run, resumed)
    )
    assert ours == theirs


def test_learning_rate_that_is_20_times_too_high_is_named_at_the_first_checkpoint(watched, squares, tmp_path):
    wrong = change_recipe(watched, {"learning_rate": 4e-2, "evaluate_interval": 100, "steps": 100})
    _, events = train(dataclasses.replace(wrong, preview_interval=100), squares, tmp_path / "wrong")
    (finding,) = events.findings
    assert (finding.name, finding.step) == ("learning rate", 100)


@pytest.mark.slow
def test_early_stop_ends_the_run_as_a_complete_one_with_its_best_generator(watched, squares, tmp_path):
    recipe = dataclasses.replace(watched, steps=400, early_stop=1)
    run, events = train(recipe, squares, tmp_path / "run")
    step = run.newest_step()
    assert 20 <= step < 400
    assert events.notes[-1].startswith(f"stopped early at step {step}: the Fréchet distance has not")
    assert run.read_recipe().steps == step
    assert History(run.read_history()).schedules == [(step, step)]
    best = run.step_to_export()
    assert best == step - 10
    saved = keras.models.load_model(run.keras_file)
    latents = np.zeros((2, 64 + 2), np.float32)
    np.testing.assert_array_equal(saved(latents), load_generator(run, best)(latents))
    before = run.history_file.read_text()
    train(recipe, squares, run.path, resume=True)
    assert (run.newest_step(), run.history_file.read_text()) == (step, before)


def test_early_stop_needs_the_measure():
    arguments = TrainingArguments(early_stop=3)
    with pytest.raises(ValueError, match="`early_stop` is 3; it must be 0 without `evaluate_interval`"):
        plan_training("mnist-minimal", arguments)
    assert plan_training("images", arguments).recipe.early_stop == 3
    with pytest.raises(UsageError, match="`early_stop` is -1; it must be a whole number of at least 0"):
        TrainingArguments(early_stop=-1)


def test_measure_can_be_turned_off():
    assert plan_training("images").recipe.evaluate_interval == 2_000
    assert plan_training("images", TrainingArguments(evaluate_interval=0)).recipe.evaluate_interval == 0


def test_divergence_is_recorded(watched, squares, tmp_path):
    wild = change_recipe(watched, {"discriminator_optimizer.learning_rate": 1e38})
    with pytest.raises(ArithmeticError, match="diverged"):
        train(wild, squares, tmp_path / "run")
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["finding"] == "divergence"
