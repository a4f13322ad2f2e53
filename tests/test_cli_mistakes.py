"""Mistakes on the command line: each gives a one-line error in red, and leaves no unfinished file."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from tests.conftest import failure, failure_after_a_start


def test_an_empty_folder_has_no_runs(ganport):
    result = ganport("runs")
    assert result.returncode == 0
    assert "create one with: ganport train" in result.stderr
    assert json.loads(ganport("runs", "--json").stdout) == []


def test_recipes_lists_every_recipe(ganport):
    result = ganport("recipes")
    assert result.returncode == 0
    for name in ("digits", "mnist-dense", "fashion-dense", "mnist-dropout", "mnist-minimal", "rps-dcgan"):
        assert name in result.stdout
    assert re.search(r"^mnist-conditional +30,000 +28 +0\.053 ", result.stdout, re.MULTILINE)


def test_dry_run_prints_the_changed_settings(ganport):
    changes = (
        "--set",
        "loss=hinge",
        "--set",
        "diff_augment=color,translation",
        "--set",
        "learning_rate=1e-2",
    )
    document = json.loads(ganport("train", *changes, "--title", "My faces", "--dry-run").stdout)
    assert (document["loss"], document["title"]) == ("hinge", "My faces")
    assert document["diff_augment"] == ["color", "translation"]
    rates = [document[name]["learning_rate"] for name in ("generator_optimizer", "discriminator_optimizer")]
    assert rates == [0.01, 0.01]


def test_dry_run_prints_the_resolved_recipe_and_writes_nothing(ganport, tmp_path):
    result = ganport("train", "mnist-dense", "--as-published", "--steps", 7, "--dry-run")
    assert json.loads(result.stdout)["steps"] == 7
    assert json.loads(result.stdout)["batch_size"] == 32
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sample", "--provider", "tpu"], ["Provider 'tpu' is unknown", "cpu, cuda"]),
        (["sample", "--out", "grid.jpg"], ["grid.jpg", ".png"]),
        (["sample", "--seeds", "0-99999"], ["100,000", "folder"]),
        (["sample", "--truncation", "2"], ["--truncation"]),
        (["walk", "--out", "walk.mp4"], ["walk.mp4", ".gif"]),
        (["sample", "--nonsense"], ["--nonsense", "sample --help"]),
        (["nonsense"], ["nonsense", "See: ganport --help"]),
        (["train", "mnst"], ["Recipe 'mnst' is unknown", "digits"]),
        (["train", "mnst", "--resume"], ["Recipe 'mnst' is unknown", "digits"]),
        (["train", "--steps", "0"], ["--steps"]),
        (["train", "--steps", "many"], ["--steps"]),
        (["train", "--resume", "--seed", "5"], ["--resume", "--seed", "--steps"]),
        (["train", "--resume", "--set", "loss=hinge"], ["--resume", "--set"]),
        (["train", "--set", "loss"], ["--set is loss", "NAME=VALUE"]),
        (["train", "--set", "lss=hinge"], ["Setting 'lss' is unknown", "loss"]),
        (["train", "--set", "image_shape=8"], ["--image-size and --channels"]),
        (["train", "--set", "steps=5", "--steps", "6"], ["--steps is given twice", "--set"]),
        (["compare", "runs", "--out", "x.jpg"], ["x.jpg", ".png"]),
        (["compare", "--by", "epochs"], ["--by", "images, time, steps"]),
        (["train", "--resume", "--data", ""], ["--resume"]),
        (["train", "--resume", "--image-size", "64"], ["--resume"]),
        (["train", "--resume", "mine.py"], ["--out"]),
        (["train", "nowhere.py"], ["nowhere.py"]),
        (["train", "--channels", "2"], ["1 for grey, 3 for colour, or 4 for colour with alpha"]),
        (["train", "--device", "tpu"], ["--device"]),
        (["train", "--minutes", "0"], ["--minutes is 0.0; it must be a number above 0"]),
        (["train", "--minutes", "5", "--steps", "5"], ["--minutes and --steps are both given"]),
        (["train", "--image-size", "64x"], ["--image-size is '64x'; expected pixels per side"]),
        (["train", "--image-size", "64x4"], ["both sides must have at least 8 pixels"]),
        (["train", "--background", "pale"], ["--background is 'pale'; it must be the name of a colour"]),
        (["export", "--output", "jpeg"], ["--output"]),
        (["export", ".", "--out", "x.png"], ["x.png", ".onnx"]),
        (["export", ".", "--format", "ort", "--out", "x.onnx"], ["x.onnx", ".ort"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_gives_a_one_line_error(ganport, tiny_file, tmp_path, arguments, words):
    if arguments[0] in ("sample", "walk"):
        arguments = [arguments[0], str(tiny_file), *arguments[1:]]
    line = failure(ganport(*arguments), 2)
    for word in words:
        assert word in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere"], "No data set 'nowhere'"),
        (["--data", ""], "No data set ''"),
        (["--resume", "--out", "labels.idx"], "No run in labels.idx"),
        (["--data", "notes"], "it holds no image"),
        (["--data", "broken"], "2.png: it can't be read as an image"),
        (["digits", "--data", "mixed"], "differ in size"),
        (["mnist-minimal", "--data", "few"], "its 2 images are fewer than one batch of 32"),
        (["few"], "it has 2 different images; a generator needs 50 or more"),
        (["--data", "blank"], "single colour"),
        (["--data", "labels.idx"], "not an IDX file of images"),
        (["--data", "mnist", "--data-dir", "nowhere"], "is not a folder"),
        (["digits", "--as-published"], "no published settings"),
        (["--set", "loss=hing"], "`loss` is 'hing'; it must be one of non-saturating, minimax"),
        (["--title", "x" * 101], "it must be one line of text of at most 100 characters"),
        (["mnist-dense", "--data", "rock-paper-scissors"], "laurencemoroney.com"),
        (["--data", "digits", "--device", "gpu"], "finds 0 of 1"),
        (["--data", "digits", "--devices", "5"], "5 CPU devices can't share a batch of 64"),
        (["broken.py"], "broken.py, line 2: ZeroDivisionError: division by zero"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_training_input_gives_a_one_line_error(ganport, tmp_path, arguments, words):
    for folder, sizes in {
        "few": [(9, 9)] * 2,
        "mixed": [(4, 4), (5, 4)],
        "broken": [(4, 4)],
        "notes": [],
    }.items():
        (tmp_path / folder).mkdir()
        for index, size in enumerate(sizes):
            Image.effect_noise(size, 50).save(tmp_path / folder / f"{index + 1}.png")
    (tmp_path / "blank").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "blank" / "1.png")
    (tmp_path / "broken" / "2.png").write_bytes(b"not an image")
    (tmp_path / "labels.idx").write_bytes(bytes(100))
    (tmp_path / "broken.py").write_text("x = 1\nx / 0\n")
    line = failure_after_a_start(ganport("train", *arguments))
    assert line.startswith("error: ")
    assert words in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("runs", [[], ["nowhere", "elsewhere"]])
def test_comparison_without_runs_gives_a_one_line_error(ganport, tmp_path, runs):
    assert "No run in" in failure(ganport("compare", *runs))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_is_not_resumed_with_other_images(ganport, tmp_path):
    for folder, shade in (("images", 10), ("others", 20)):
        (tmp_path / folder).mkdir()
        for index in range(4):
            Image.new("L", (8, 8), shade + index).save(tmp_path / folder / f"{index}.png")
    run = ("train", "mnist-minimal", "--data", "images", "--steps", 2, "--batch-size", 4)
    assert ganport(*run).returncode == 0
    (tmp_path / "images").rename(tmp_path / "gone")
    (tmp_path / "others").rename(tmp_path / "images")
    assert "not the ones that the run was started with" in failure(ganport("train", "--resume"))


def test_help_names_every_command(ganport):
    result = ganport("--help")
    assert result.returncode == 0
    for command in ("train", "recipes", "export", "sample", "inspect"):
        assert command in result.stdout
        assert ganport(command, "--help").returncode == 0


def test_no_argument_shows_the_help(ganport):
    result = ganport()
    assert result.returncode == 0
    assert "train" in result.stdout
    assert result.stderr == ""
