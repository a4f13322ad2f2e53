"""Train, export and sample on the command line, as a user does: real processes, real files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil

import numpy as np
import onnx
import pytest
from PIL import Image

from ganport.runtime import Sampler, make_grid
from tests.conftest import failure, failure_after_a_start, run_ganport

WALK = ("train", "mnist-minimal", "--data", "digits", "--steps", "30", "--batch-size", "16", "--seed", "3")
CHANGED = ("--set", "generator_optimizer.learning_rate=1e-3", "--title", "My digits")


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A folder in which train, export and sample were called one after the other."""
    folder = tmp_path_factory.mktemp("walk")
    commands = ((*WALK, *CHANGED), ("export",), ("sample",), ("inspect",), ("inspect", "--json"))
    return folder, [run_ganport(*arguments, cwd=folder) for arguments in commands]


@pytest.mark.slow
def test_train_export_sample_work_with_no_argument_one_after_the_other(walked):
    folder, outputs = walked
    for output in outputs:
        assert output.returncode == 0, output.stderr
    train, export, sample, inspect, inspect_json = outputs
    assert "runs/mnist-minimal: trained to step 30" in train.stdout
    assert "5,000 images of 28x28x1 (digits), batch 16, 30 steps" in train.stderr
    assert re.search(
        r"generator\.onnx: 0\.\d+ MB, 28x28x1 uint8, float32; verified against Keras", export.stdout
    )
    assert "grid.png: 64 images of runs/mnist-minimal/generator.onnx on cpu" in sample.stdout
    assert "model: runs/mnist-minimal/generator.onnx (the newest export)" in sample.stderr
    assert "mnist-minimal" in inspect.stdout
    document = json.loads(inspect_json.stdout)
    assert (document["recipe"]["seed"], document["name"]) == (3, "My digits")
    assert document["recipe"]["generator_optimizer"]["learning_rate"] == 1e-3
    recorded = json.loads((folder / "runs/mnist-minimal/data.json").read_text())["fingerprint"]
    digits = {"name": "digits", "images": 5000, "licence": "CC BY-SA 3.0", "fingerprint": recorded}
    assert document["data"] == digits
    metrics, software = (document["training"].pop(name) for name in ("metrics", "software"))
    checkpoint = (folder / "runs/mnist-minimal/checkpoints/step-00000030.npz").read_bytes()
    sha256 = hashlib.sha256(checkpoint).hexdigest()
    assert document["training"] == {"steps": 30, "images_seen": 480, "checkpoint": sha256}
    assert software["keras"] == importlib.metadata.version("keras")
    assert list(software) == ["ganport", "python", "keras", "tensorflow", "numpy"]
    assert metrics.keys() == {"distance"}
    assert str(folder) not in inspect_json.stdout

    grid = np.asarray(Image.open(folder / "grid.png"))
    expected = make_grid(Sampler(folder / "runs/mnist-minimal/generator.onnx").sample(range(64)))
    np.testing.assert_array_equal(grid, expected[..., 0])


def test_preview_of_the_run_shows_the_same_seeds_as_the_exported_file(walked):
    folder, _ = walked
    preview = np.asarray(Image.open(folder / "runs/mnist-minimal/previews/step-00000030.png"))
    grid = np.asarray(Image.open(folder / "grid.png"))
    assert np.abs(preview.astype(int) - grid).max() <= 1


def test_output_has_no_messages_of_the_libraries(walked):
    _, outputs = walked
    for output in outputs:
        text = output.stdout + output.stderr
        for noise in ("oneDNN", "cuda", "WARNING", "I0000", "XLA", "tf2onnx", "\x1b["):
            assert noise not in text


def test_complete_run_is_resumed_without_a_step(walked, ganport):
    folder, _ = walked
    result = ganport("train", "--resume", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "batch 16, complete at step 30, on" in result.stderr
    assert "runs/mnist-minimal: trained to step 30; preview: " in result.stdout


def test_golden_images_are_verified(walked, ganport):
    folder, _ = walked
    result = ganport("verify", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"seed {seed}: same" for seed in range(4)]
    assert "4 golden images verified on cpu" in result.stderr
    document = json.loads(ganport("verify", "--json", cwd=folder).stdout)
    assert [(check["seed"], check["passed"]) for check in document] == [(seed, True) for seed in range(4)]


def test_file_whose_images_differ_from_the_export_fails_to_verify(walked, ganport, tmp_path):
    folder, _ = walked
    model = onnx.load(folder / "runs/mnist-minimal/generator.onnx")
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = (np.frombuffer(weights.raw_data, np.float32) * np.float32(1.2)).tobytes()
    onnx.save(model, tmp_path / "damaged.onnx")
    result = ganport("verify", str(tmp_path / "damaged.onnx"))
    assert result.returncode == 1
    assert "levels off, " in result.stdout
    assert "generates other images on cpu than when it was exported (seeds 0" in result.stderr
    assert result.stderr.count("\n") == 1


def test_fixed_seeds(walked, ganport, tmp_path):
    folder, _ = walked
    target = str(tmp_path / "x.onnx")
    assert (
        ganport("export", "--input", "fixed", "--seeds", "3,5-7", "--out", target, cwd=folder).returncode == 0
    )
    assert ganport("sample", target, "--seeds", "5-7", "--out", str(tmp_path / "x.png")).returncode == 0
    assert ganport("sample", target, "--out", str(tmp_path / "all.png")).stdout.startswith(
        f"{tmp_path / 'all.png'}: 4 images"
    )
    line = failure(ganport("sample", target, "--seeds", "9"))
    assert "Seed 9 is not available: the file has only the fixed seeds 3,5-7." in line


def test_explained_export_in_int8_with_its_card(walked, ganport, tmp_path):
    folder, _ = walked
    run = folder / "runs" / "mnist-minimal"
    result = ganport("export", run, "--out", "x.onnx", "--precision", "int8", "--explain", "--card")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "README.md").read_text().startswith("# My digits\n")
    lines = [line.split() for line in result.stderr.splitlines()]
    assert ["rewrite", "nodes", "parameters", "MB"] in [line[:4] for line in lines]
    assert [line[0] for line in lines[-2:]] == ["float32", "int8"]
    assert max(map(len, result.stderr.splitlines())) <= 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "preview.png", "x.onnx"]
    assert ganport("verify", "x.onnx").returncode == 0


@pytest.mark.slow
def test_model_of_a_repository_and_its_card(walked, ganport, tmp_path):
    folder, _ = walked
    run = folder / "runs" / "mnist-minimal"
    result = ganport(
        "export", run, "--format", "triton", "--out", "repository/digits", "--card", "--output", "float"
    )
    assert result.returncode == 0, result.stderr
    files = sorted(path.name for path in (tmp_path / "repository" / "digits").iterdir())
    assert files == ["1", "README.md", "config.pbtxt", "preview.png"]
    assert ganport("verify", "repository/digits/1/model.onnx").returncode == 0


def test_card_does_not_replace_another_readme(walked, ganport, tmp_path):
    folder, _ = walked
    (tmp_path / "README.md").write_text("mine")
    line = failure_after_a_start(
        ganport("export", folder / "runs" / "mnist-minimal", "--out", "x.onnx", "--card")
    )
    assert "README.md" in line
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_export_replaces_a_file_only_with_overwrite(walked, ganport):
    folder, _ = walked
    line = failure_after_a_start(ganport("export", "runs/mnist-minimal", cwd=folder))
    assert "it exists" in line
    assert "--overwrite" in line


def test_runs_are_listed(walked, ganport):
    folder, _ = walked
    listed = ganport("runs", cwd=folder)
    row = r"runs/mnist-minimal +mnist-minimal +digits +non-saturating +3 +30/30 +0\.\d{3} .*"
    assert re.search(rf"{row} pixel 0\.\d+ +\d+ s +\d+ (s|min) ago", listed.stdout)
    document = json.loads(ganport("runs", "--json", cwd=folder).stdout)
    run = next(run for run in document if run["path"] == "runs/mnist-minimal")
    assert (run["recipe"], run["step"], run["steps"]) == ("mnist-minimal", 30, 30)
    assert (run["data"], run["loss"], run["seed"], run["title"]) == (
        "digits",
        "non-saturating",
        3,
        "My digits",
    )
    assert set(run["metrics"]) == {"d_loss", "g_loss", "d_accuracy", "distance"}
    assert run["measure"] == run["best"]
    assert run["measure"]["name"] == "distance"
    assert 0 < run["seconds"] < 200


@pytest.mark.parametrize("width", [80, 50, 30])
def test_table_of_runs_fits_a_narrow_terminal(walked, ganport, width):
    folder, _ = walked
    table, note = ganport("runs", cwd=folder, COLUMNS=str(width)).stdout.rstrip("\n").rsplit("\n", 1)
    heading, *rows = table.splitlines()
    shown = {"run", "step", "measure", "time"}  # the most important columns, whatever the width
    assert shown <= set(heading.split())
    assert re.match(r"not shown: .*loss.*; --json prints everything", note)
    assert all("runs/mnist-minimal" in row and "…" not in row for row in rows)
    if width > 30:
        assert max(map(len, table.splitlines())) <= width
    assert ("data" in heading) == (width == 80)


@pytest.mark.slow
def test_run_goes_on_with_more_steps_and_is_compared(walked, ganport, tmp_path):
    folder, _ = walked
    for name in ("runs/first", "runs/second"):
        shutil.copytree(folder / "runs/mnist-minimal", tmp_path / name)
    longer = ganport("train", "--resume", "--out", "runs/second", "--steps", "40")
    assert longer.returncode == 0, longer.stderr
    assert "from step 30 to 40" in longer.stderr
    assert '{"step": 30, "steps": 40}' in (tmp_path / "runs/second/history.jsonl").read_text()
    line = failure(ganport("train", "--resume", "--out", "runs/second", "--steps", "35"), 2)
    assert "--steps is 35, and runs/second has already made 40; give at least 40" in line
    line = failure(ganport("train", "--resume", "--out", "runs/second", "--set", "loss=hinge"), 2)
    assert "leave out --set. --resume can be combined with --steps, --out, --device" in line

    compared = ganport("compare", "runs/first", "runs/second", "--csv", "out.csv")
    assert compared.returncode == 0, compared.stderr
    assert compared.stderr == ""
    rows = [line.split() for line in compared.stdout.splitlines()]
    assert ["first", "second"] in rows
    assert ["steps", "30", "40"] in rows
    assert ["step", "30", "40"] in rows
    assert not any(row[0] in ("loss", "seed", "title") for row in rows)
    assert compared.stdout.splitlines()[-1] == "compare.png, out.csv"
    with Image.open(tmp_path / "compare.png") as chart:
        assert chart.width > 1000
    assert (tmp_path / "out.csv").read_text().count("\n") == 3
    document = json.loads(ganport("compare", "--json", "--by", "time").stdout)
    assert document["differences"] == ["steps"]


def test_comparison_with_other_images_says_so(walked, ganport, tmp_path):
    folder, _ = walked
    for name in ("first", "second"):
        shutil.copytree(folder / "runs/mnist-minimal", tmp_path / name)
    data = json.loads((tmp_path / "second/data.json").read_text())
    (tmp_path / "second/data.json").write_text(json.dumps({**data, "fingerprint": "another"}))
    compared = ganport("compare", "first", "second", COLUMNS="20")
    assert re.search(r"^ +first$", compared.stdout, re.MULTILINE)  # too narrow for both: one below the other
    assert re.search(r"^ +second\*$", compared.stdout, re.MULTILINE)
    assert "* second: trained on other images than first, so the measures are not comparable" in " ".join(
        compared.stderr.split()
    )


@pytest.mark.slow
def test_best_checkpoint_can_be_exported(walked, ganport):
    folder, _ = walked
    result = ganport("export", "runs/mnist-minimal", "--best", "--out", folder / "best.onnx", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert Sampler(folder / "best.onnx").contract.training["steps"] == 30


@pytest.mark.slow
def test_second_run_gets_a_folder_of_its_own(walked, ganport):
    folder, _ = walked
    result = ganport(*WALK[:-4], "--batch-size", 8, cwd=folder)
    assert "runs/mnist-minimal-2: trained to step 30" in result.stdout
    line = failure(ganport(*WALK, "--out", "runs/mnist-minimal", cwd=folder))
    assert "runs/mnist-minimal holds a run already" in line
    assert "--resume" in line


def test_run_without_a_checkpoint(walked, ganport, tmp_path):
    folder, _ = walked
    (tmp_path / "run").mkdir()
    for name in ("recipe.json", "data.json"):
        (tmp_path / "run" / name).write_bytes((folder / "runs/mnist-minimal" / name).read_bytes())
    line = failure(ganport("export", "run"))
    assert "No usable checkpoint in run: the run has saved none yet" in line
    assert not (tmp_path / "run" / "generator.onnx").exists()


def test_export_reports_that_it_skips_a_run_without_a_checkpoint(walked, ganport, tmp_path):
    folder, _ = walked
    (tmp_path / "runs/later").mkdir(parents=True)
    (tmp_path / "runs/trained").symlink_to(folder / "runs/mnist-minimal")
    (tmp_path / "runs/later/recipe.json").write_bytes(
        (folder / "runs/mnist-minimal/recipe.json").read_bytes()
    )
    result = ganport("export", "--out", "x.onnx")
    assert result.returncode == 0, result.stderr
    assert "run: runs/trained (the newest with a checkpoint)" in result.stderr


@pytest.mark.parametrize("command", ["train", "export", "sample"])
def test_path_that_cant_be_written(walked, ganport, tiny_file, tmp_path, command):
    folder, _ = walked
    (tmp_path / "file").write_text("in the way")
    arguments = {
        "train": ["mnist-minimal", "--data", "digits", "--out", "file/run"],
        "export": [folder / "runs/mnist-minimal", "--out", "file/x.onnx"],
        "sample": [tiny_file, "--out", "file/x.png"],
    }
    line = failure_after_a_start(ganport(command, *arguments[command]))
    assert "Can't write file/" in line
    assert "--out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_run_of_another_recipe_is_not_resumed(walked, ganport):
    folder, _ = walked
    line = failure(ganport("train", "digits", "--resume", "--out", "runs/mnist-minimal", cwd=folder), 2)
    assert "is a run of mnist-minimal, not of digits" in line
