"""Which checkpoint of a run is exported, and what `export` says about it."""

import dataclasses
import json
import shutil

import pytest

from ganport.export import export_file
from ganport.runtime.errors import UsageError
from ganport.trainer.callbacks import Callback
from ganport.trainer.errors import CheckpointError
from ganport.trainer.loop import run_training
from ganport.trainer.recipes import load_recipe
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run
from tests.trainer.conftest import load_squares, one_device


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A complete run with checkpoints of steps 10, 20 and 30; the first has the smallest pixel distance."""
    settings = {"steps": 20, "batch_size": 8, "preview_interval": 10, "jit": False}
    run, data = RunFolder(tmp_path_factory.mktemp("trained") / "run"), load_squares()
    recipe = dataclasses.replace(load_recipe("mnist-minimal"), **settings)
    start_run(run, recipe, data)
    run_training(recipe, data, run, Callback(), one_device())
    rewrite(run, {10: {"distance": 0.1}, 20: {"distance": 0.2}})
    run_training(dataclasses.replace(recipe, steps=30), data, run, Callback(), one_device())
    assert run.checkpoint_steps() == [10, 20, 30]
    return run


def rewrite(run, measures):
    """Give the checkpoints of a run other measures in its history."""
    lines = [
        line | (measures.get(line["step"], {}) if "distance" in line else {}) for line in run.read_history()
    ]
    run.history_file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def exported(run, target, **options):
    """Return the step that was exported, and the notes."""
    notes = []
    result = export_file(run.path, target, note=notes.append, **options)
    return result.contract.training["steps"], notes


def copied(trained, tmp_path, measures):
    shutil.copytree(trained.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    rewrite(run, measures)
    return run


def test_smallest_frechet_distance_decides_and_the_note_says_how_to_take_the_newest(trained, tmp_path):
    distances = {10: {"frechet": 9.0}, 20: {"frechet": 3.25}, 30: {"frechet": 4.0}}
    run = copied(trained, tmp_path, distances)
    step, notes = exported(run, tmp_path / "best.onnx")
    assert step == 20
    assert notes == [
        "checkpoint: step 20, with the smallest Fréchet distance to training images, 3.250; `step=30` "
        "exports the newest"
    ]
    assert exported(run, tmp_path / "last.onnx", step=30) == (30, [])


def test_pixel_distance_does_not_decide_by_itself(trained, tmp_path):
    assert exported(trained, tmp_path / "newest.onnx") == (30, [])
    step, (note,) = exported(trained, tmp_path / "best.onnx", best=True)
    assert step == 10
    assert "smallest pixel distance" in note
    assert note.endswith("; `step=30` exports the newest")


@pytest.mark.parametrize("measures", [{}, {10: {"frechet": 9.0}}, {20: {"frechet": 9.0}}], ids=str)
def test_default_is_the_smallest_frechet_distance_or_else_the_newest(trained, tmp_path, measures):
    run = copied(trained, tmp_path, measures)
    assert run.step_to_export() == next(iter(measures), 30)


def test_frechet_distance_of_a_checkpoint_that_is_gone_does_not_decide(trained, tmp_path):
    run = copied(trained, tmp_path, {10: {"frechet": 1.0}})
    run.checkpoint_file(10).unlink()
    assert run.step_to_export() == 30


def test_wrong_step_is_an_error_that_lists_the_checkpoints(trained, tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint of `step` 15; .* checkpoint: 10, 20, 30\."):
        exported(trained, tmp_path / "x.onnx", step=15)
    with pytest.raises(UsageError, match="`best=True` and `step` both choose a checkpoint"):
        exported(trained, tmp_path / "x.onnx", step=10, best=True)
    (tmp_path / "x.keras").write_bytes(b"")
    with pytest.raises(UsageError, match=r"`step` chooses a checkpoint of a run, and .* leave `step` out"):
        export_file(tmp_path / "x.keras", step=10)
