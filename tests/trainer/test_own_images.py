"""`ganport.train(FOLDER)`: the settings follow from the images of the folder, and from the time."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

import ganport as front_door
from ganport.datasets.errors import DatasetContentError
from ganport.datasets.survey import Survey
from ganport.runtime.errors import MissingPackageError, UsageError
from ganport.trainer.arguments import TrainingArguments
from ganport.trainer.pace import Pace, fit_to_minutes
from ganport.trainer.plan import plan_training
from ganport.trainer.proposal import propose
from ganport.trainer.recipes import load_recipe
from ganport.trainer.recipes.images import build_discriminator, build_generator

SURVEY = Survey(
    source="photos",
    count=5_000,
    sizes={(300, 200): 4_000, (150, 100): 1_000},
    grey=0,
    transparent=0,
    classes={},
    unclassed=0,
    unreadable={},
    duplicates=(),
    near_count=0,
    near_pairs=(),
    animated=0,
    rotated=0,
    blank=(),
    long=(),
)


def surveyed(**facts):
    return dataclasses.replace(SURVEY, **facts)


class Notes(front_door.Callback):
    def __init__(self):
        self.lines = []

    def on_note(self, line):
        self.lines.append(line)


@pytest.fixture
def photos(tmp_path):
    """A folder with 110 images of 24x16 in two sub-folders."""
    rng = np.random.default_rng(0)
    for index in range(110):
        path = tmp_path / "photos" / ("left" if index % 2 else "right") / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.mark.slow
def test_folder_is_trained_with_the_recipe_for_images(tmp_path, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notes = Notes()
    run = front_door.train(photos, steps=4, callbacks=[notes])
    assert str(run.path) == "runs/images"
    assert (run.recipe.name, run.recipe.image_shape) == ("images", (16, 24, 3))
    assert run.recipe.labels == ("left", "right")
    assert run.recipe.diff_augment == ("color", "translation", "cutout")
    assert notes.lines[0].startswith("110 images of 24x16 in colour")
    assert "size: 16x24 (height x width), the size of all images" in notes.lines
    assert "augmentation: color, translation, cutout, since 110 images are few" in notes.lines
    assert "labels: the 2 classes" in notes.lines
    assert front_door.train(run, resume=True) == run
    contract = front_door.export(run)
    assert (contract.image.shape, contract.input.labels) == ((16, 24, 3), ("left", "right"))


def test_settings_of_the_user_replace_the_proposal(tmp_path, photos):
    run = front_door.train(
        photos,
        out=tmp_path / "run",
        steps=1,
        image_size="8x12",
        channels=1,
        settings={"diff_augment": "none"},
        mixed_precision="off",
    )
    assert run.recipe.image_shape == (8, 12, 1)
    assert run.recipe.diff_augment == ()
    assert not run.recipe.mixed_precision


@pytest.mark.slow
def test_minutes_decide_the_steps_and_are_saved(tmp_path, photos):
    notes = Notes()
    run = front_door.train(
        photos, out=tmp_path / "run", minutes=0.25, image_size=8, batch_size=4, callbacks=[notes]
    )
    assert run.step == run.recipe.steps >= 200
    assert f"time: {run.recipe.steps:,} steps in 0.25 minutes" in notes.lines[-1]


@pytest.mark.slow
def test_dry_run_of_a_folder_says_memory_and_time_and_writes_nothing(ganport, photos, tmp_path):
    done = ganport("train", photos, "--steps", "7000", "--image-size", "8", "--dry-run")
    assert json.loads(done.stdout)["steps"] == 7_000
    memory, time = done.stderr.splitlines()[-2:]
    assert re.fullmatch(r"memory: about \d\.\d GB", memory)
    assert re.match(r"time: about .+ for 7,000 steps, at [\d,]+ images/s here", time)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.slow
def test_dry_run_with_minutes_shows_the_steps_and_writes_nothing(ganport, photos, tmp_path):
    done = ganport("train", photos, "--minutes", "1", "--image-size", "8", "--dry-run")
    recipe = json.loads(done.stdout)
    assert f"time: {recipe['steps']:,} steps in 1 minutes" in done.stderr
    assert recipe["steps"] >= 200
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_minutes_keep_a_given_preview_interval():
    recipe = load_recipe("images")
    assert fit_to_minutes(recipe, Pace(10.0, 320.0), 30, keeps_previews=True).preview_interval == 1_000


def test_minutes_measure_at_every_preview_unless_the_interval_is_given():
    recipe = load_recipe("images")
    fitted = fit_to_minutes(recipe, Pace(10.0, 320.0), 30)
    assert fitted.evaluate_interval == fitted.preview_interval
    kept = fit_to_minutes(recipe, Pace(10.0, 320.0), 30, keeps_measures=True)
    assert kept.evaluate_interval == recipe.evaluate_interval
    without = dataclasses.replace(recipe, evaluate_interval=0)
    assert fit_to_minutes(without, Pace(10.0, 320.0), 30).evaluate_interval == 0


def test_without_onnxruntime_the_default_measure_is_left_out_with_a_note(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    plan = plan_training(photos)
    assert plan.recipe.evaluate_interval == 0
    (line,) = [line for line in plan.report if line.startswith("measure: ")]
    assert line == "measure: none, since onnxruntime is not installed; `pip install 'ganport[cpu]'` adds it"
    requested = plan_training(photos, TrainingArguments(evaluate_interval=500))
    assert requested.recipe.evaluate_interval == 500
    with pytest.raises(MissingPackageError, match=r"ganport\[cpu\]"):
        front_door.train(photos, evaluate_interval=500, out=photos.parent / "run")


def test_few_images_are_not_held_out_and_a_line_says_so(photos):
    assert "held out: none, since 110 images are few" in plan_training(photos).report


def test_steps_follow_from_the_speed():
    recipe = load_recipe("images")
    fitted = fit_to_minutes(recipe, Pace(10.0, 320.0), 30)
    assert fitted.steps == 10 * (30 * 60 * 0.95 - 10)
    assert -(-fitted.steps // fitted.preview_interval) == 20
    short = fit_to_minutes(recipe, Pace(10.0, 320.0), 2)
    assert -(-short.steps // short.preview_interval) == 2
    with pytest.raises(UsageError, match=r"enough for 37 steps at this speed; give 4 or more"):
        fit_to_minutes(recipe, Pace(1.0, 32.0), 50 / 60)


@pytest.mark.parametrize(
    ("facts", "size"),
    [
        ({}, (64, 96)),
        ({"sizes": {(128, 128): 5_000}}, (64, 64)),
        ({"sizes": {(64, 48): 5_000}}, (48, 64)),
        ({"sizes": {(50, 50): 4_999, (60, 60): 1}}, (32, 32)),
        ({"sizes": {(20, 20): 4_999, (60, 60): 1}}, (32, 32)),
        ({"sizes": {(200, 210): 5_000}}, (64, 64)),
        ({"sizes": {(100, 200): 5_000}}, (128, 64)),
    ],
    ids=str,
)
def test_size_follows_from_the_images(facts, size):
    assert propose(surveyed(**facts)).image_size == size


@pytest.mark.parametrize(
    ("facts", "uses_labels", "words"),
    [
        ({"classes": {"cat": 2_500, "dog": 2_500}}, True, "labels: the 2 classes"),
        ({"classes": {"cat": 4_951, "dog": 49}}, False, "the class dog has 49 images only"),
        ({"classes": {"cat": 2_000, "dog": 2_000}, "unclassed": 1_000}, False, "1,000 images lie beside"),
        ({"classes": {str(n): 60 for n in range(101)}}, False, "101 classes are more than 100"),
        ({"classes": {"cat": 5_000}}, False, "one class only"),
    ],
    ids=str,
)
def test_classes_become_labels(facts, uses_labels, words):
    proposal = propose(surveyed(**facts))
    assert proposal.uses_labels == uses_labels
    assert words in " ".join(proposal.reasons)


def test_grey_images_are_trained_without_colour():
    assert propose(surveyed(grey=4_990)).channels == 1
    assert propose(surveyed(grey=4_900)).channels == 3
    assert propose(surveyed(grey=4_990), channels=3).channels == 3


@pytest.mark.parametrize(
    ("count", "policy"),
    [(9_999, ("color", "translation", "cutout")), (10_000, ("translation",)), (30_000, ())],
)
def test_augmentation_follows_from_the_number_of_images(count, policy):
    assert propose(surveyed(count=count)).diff_augment == policy


def test_copies_do_not_count():
    group = tuple(map(str, range(4_960)))
    with pytest.raises(DatasetContentError, match="41 different images; a generator needs 50"):
        propose(surveyed(duplicates=(group,)))


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 48, 3), (100, 75, 4), (128, 128, 3)]
)
def test_networks_fit_every_size(shape):
    assert build_generator(20, shape).output_shape == (None, *shape)
    assert build_discriminator(shape, 3).output_shape == (None, 3)
    # All of the discriminator's weights before its last layer see a map of at most 8 pixels per side.
    assert max(build_discriminator(shape, 3).layers[-2].input.shape[1:3]) <= 8
