"""The command line as a user meets it: real processes, real files, one red line for every mistake."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from PIL import Image

from runtime import Sampler, make_grid
from tests.conftest import run_ganport
from tests.tiny_generator import tiny_model

WALK = ("train", "mnist-minimal", "--data", "digits", "--steps", "30", "--batch-size", "16", "--seed", "3")


def failure(result, status=1):
    """Check that a command failed as promised, and return its one line."""
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("model: ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A folder in which train, export and sample were called one after the other."""
    folder = tmp_path_factory.mktemp("walk")
    commands = (WALK, ("export",), ("sample",), ("inspect",), ("inspect", "--json"))
    return folder, [run_ganport(*arguments, cwd=folder) for arguments in commands]


def test_train_export_sample_work_with_no_argument_one_after_the_other(walked):
    folder, outputs = walked
    for output in outputs:
        assert output.returncode == 0, output.stderr
    train, export, sample, inspect, inspect_json = outputs
    assert "runs/mnist-minimal: trained to step 30" in train.stdout
    assert "5,000 images of 28x28x1 (digits), batch 16, 30 steps" in train.stderr
    assert re.search(r"generator\.onnx: 0\.\d+ MB, 28x28x1 uint8, float32; verified against Keras", export.stdout)
    assert "grid.png: 64 images of runs/mnist-minimal/generator.onnx, drawn on cpu" in sample.stdout
    assert "model: runs/mnist-minimal/generator.onnx (the newest export)" in sample.stderr
    assert "mnist-minimal" in inspect.stdout
    document = json.loads(inspect_json.stdout)
    assert document["recipe"]["seed"] == 3
    assert document["data"] == {"name": "digits", "images": 5000, "licence": "CC BY-SA 3.0"}
    assert document["training"] == {"steps": 30, "images_seen": 480, "metrics": {}}
    assert str(folder) not in inspect_json.stdout

    grid = np.asarray(Image.open(folder / "grid.png"))
    drawn = make_grid(Sampler(folder / "runs/mnist-minimal/generator.onnx").sample(range(64)))
    np.testing.assert_array_equal(grid, drawn[..., 0])


def test_preview_of_the_run_shows_the_same_seeds_as_the_exported_file(walked):
    folder, _ = walked
    preview = np.asarray(Image.open(folder / "runs/mnist-minimal/previews/step-00000030.png"))
    grid = np.asarray(Image.open(folder / "grid.png"))
    assert np.abs(preview.astype(int) - grid).max() <= 1


def test_output_is_free_of_noise(walked):
    _, outputs = walked
    for output in outputs:
        text = output.stdout + output.stderr
        for noise in ("oneDNN", "cuda", "WARNING", "I0000", "XLA", "tf2onnx", "\x1b["):
            assert noise not in text


def test_complete_run_is_resumed_without_a_step(walked, ganport):
    folder, _ = walked
    result = ganport("train", "--resume", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "trained to step 30" in result.stdout


def test_golden_images_are_verified(walked, ganport):
    folder, _ = walked
    result = ganport("verify", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"seed {seed}: the same bytes" for seed in range(4)]
    assert "4 golden images are drawn on cpu as they were made" in result.stderr
    document = json.loads(ganport("verify", "--json", cwd=folder).stdout)
    assert [(check["seed"], check["passed"]) for check in document] == [(seed, True) for seed in range(4)]


def test_file_that_draws_other_images_than_it_did_fails_to_verify(walked, ganport, tmp_path):
    folder, _ = walked
    model = onnx.load(folder / "runs/mnist-minimal/generator.onnx")
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = (np.frombuffer(weights.raw_data, np.float32) * np.float32(1.2)).tobytes()
    onnx.save(model, tmp_path / "damaged.onnx")
    result = ganport("verify", str(tmp_path / "damaged.onnx"))
    assert result.returncode == 1
    assert "levels off, on" in result.stdout
    assert "draws other images on cpu than when it was made (seeds 0" in result.stderr
    assert result.stderr.count("\n") == 1


def test_seed_and_fixed_heads(walked, ganport, tmp_path):
    folder, _ = walked
    for arguments in (("--input", "seed"), ("--input", "fixed", "--seeds", "3,5-7")):
        target = str(tmp_path / "x.onnx")
        assert ganport("export", *arguments, "--overwrite", "--out", target, cwd=folder).returncode == 0
        assert ganport("sample", target, "--seeds", "5-7", "--out", str(tmp_path / "x.png")).returncode == 0
    assert "Seed 9 is not baked" in failure(ganport("sample", target, "--seeds", "9"))


def test_explained_export_in_int8_with_its_card(walked, ganport, tmp_path):
    folder, _ = walked
    run = folder / "runs" / "mnist-minimal"
    result = ganport("export", run, "--out", "x.onnx", "--precision", "int8", "--explain", "--card")
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stderr.splitlines()]
    assert ["rewrite", "nodes", "numbers", "MB"] in [line[:4] for line in lines]
    assert [line[0] for line in lines[-2:]] == ["float32", "int8"]
    assert max(map(len, result.stderr.splitlines())) <= 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "preview.png", "x.onnx"]
    assert ganport("verify", "x.onnx").returncode == 0


def test_model_of_a_repository_and_its_card(walked, ganport, tmp_path):
    folder, _ = walked
    run = folder / "runs" / "mnist-minimal"
    result = ganport("export", run, "--format", "triton", "--out", "repository/digits", "--card", "--output", "float")
    assert result.returncode == 0, result.stderr
    files = sorted(path.name for path in (tmp_path / "repository" / "digits").iterdir())
    assert files == ["1", "README.md", "config.pbtxt", "preview.png"]
    assert ganport("verify", "repository/digits/1/model.onnx").returncode == 0


def test_card_replaces_no_readme_of_somebody_else(walked, ganport, tmp_path):
    folder, _ = walked
    (tmp_path / "README.md").write_text("mine")
    line = failure_after_a_start(ganport("export", folder / "runs" / "mnist-minimal", "--out", "x.onnx", "--card"))
    assert "README.md" in line
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_walk_and_folder(tiny_file, ganport, tmp_path):
    result = ganport("walk", tiny_file, "--seeds", "0,5,9", "--frames", "4")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "walk.gif") as animation:
        assert animation.n_frames <= 12
    assert "12 frames through 3 seeds" in result.stdout
    result = ganport("sample", tiny_file, "--seeds", "0-99", "--out", "many", "--batch-size", "7", "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "many").iterdir())) == 100
    assert result.stderr == ""


def test_shards_go_on_and_frames_go_to_a_pipe(tiny_file, ganport, tmp_path):
    options = ("sample", tiny_file, "--seeds", "0-24", "--shard-size", "10", "--out", "bulk/x.tar")
    first = ganport(*options)
    assert "bulk/x.tar: 25 images of" in first.stdout, first.stderr
    assert "go on with --resume" in failure(ganport(*options))
    (tmp_path / "bulk" / "x-000001.tar").unlink()
    again = ganport(*options, "--resume")
    assert "15 images are there; 10 to draw" in again.stderr
    assert "bulk/x.tar: 10 images of" in again.stdout
    assert "are for shards" in failure(ganport("sample", tiny_file, "--resume"), 2)

    frames = run_ganport("sample", tiny_file, "--seeds", "5-6", "--out", "-", cwd=tmp_path, text=False)
    expected = np.repeat(Sampler(tiny_file).sample([5, 6]), 3, axis=-1)
    assert frames.stdout == expected.tobytes()
    assert b"raw video, rgb24, 4x3: 2 images" in frames.stderr
    frames = run_ganport("walk", tiny_file, "--seeds", "5,6", "--frames", "4", "--out", "-", cwd=tmp_path, text=False)
    assert len(frames.stdout) == 8 * expected[0].size


def test_foreign_model_by_what_is_said_of_it(ganport, tmp_path):
    (tmp_path / "x.onnx").write_bytes(tiny_model(metadata={}).SerializeToString())
    assert "name the layout with --layout" in failure(ganport("inspect", "x.onnx"))
    drawn = ganport("sample", "x.onnx", "--layout", "NHWC", "--provider", "auto", "--out", "x.npy")
    assert "drawn on cpu" in drawn.stdout, drawn.stderr
    assert "provider: cpu (the fastest that works)" in drawn.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), Sampler(tiny_model().SerializeToString()).sample(range(64)))


def test_bench(tiny_file, ganport):
    table = ganport("bench", tiny_file, "--seconds", "0.01")
    assert table.returncode == 0, table.stderr
    assert re.match(r"provider +threads +batch +cold ms +p50 ms +p95 ms +p99 ms +images/s", table.stdout)
    lines = json.loads(ganport("bench", tiny_file, "--seconds", "0.01", "--json", "--provider", "cpu").stdout)
    assert {line["batch"] for line in lines} == {1, 16, 64, 256}
    assert all(0 < line["p50"] <= line["p95"] <= line["p99"] for line in lines)


def test_doctor(ganport):
    result = ganport("doctor", "--provider", "cpu")
    assert result.returncode == 0, result.stderr
    assert re.search(r"provider cpu +works", result.stdout)
    findings = {finding["name"]: finding for finding in json.loads(ganport("doctor", "--json").stdout)}
    assert findings["numpy"]["detail"] == np.__version__
    if findings["provider cuda"]["state"] != "works":
        assert "pip install" in findings["provider cuda"]["remedy"]
        assert ganport("doctor", "--provider", "cuda").returncode == 1
    failure(ganport("doctor", "--provider", "tpu"), status=2)


def test_export_replaces_nothing_unless_it_is_told_to(walked, ganport):
    folder, _ = walked
    line = failure_after_a_start(ganport("export", "runs/mnist-minimal", cwd=folder))
    assert "there already" in line
    assert "--overwrite" in line


def test_runs_are_listed(walked, ganport):
    folder, _ = walked
    listed = ganport("runs", cwd=folder)
    assert re.search(r"runs/mnist-minimal +mnist-minimal +30 of 30 .* s|min ago", listed.stdout)
    document = json.loads(ganport("runs", "--json", cwd=folder).stdout)
    run = next(run for run in document if run["path"] == "runs/mnist-minimal")
    assert (run["recipe"], run["step"], run["steps"]) == ("mnist-minimal", 30, 30)
    assert set(run["metrics"]) == {"d_loss", "g_loss", "d_accuracy", "distance"}


def test_no_runs_to_list(ganport):
    result = ganport("runs")
    assert result.returncode == 0
    assert "make one with: ganport train" in result.stderr
    assert json.loads(ganport("runs", "--json").stdout) == []


def test_best_checkpoint_can_be_exported(walked, ganport):
    folder, _ = walked
    result = ganport("export", "runs/mnist-minimal", "--best", "--out", folder / "best.onnx", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert Sampler(folder / "best.onnx").model.training["steps"] == 30


def test_second_run_gets_a_folder_of_its_own(walked, ganport):
    folder, _ = walked
    result = ganport(*WALK[:-4], "--batch-size", 8, cwd=folder)
    assert "runs/mnist-minimal-2: trained to step 30" in result.stdout
    line = failure(ganport(*WALK, "--out", "runs/mnist-minimal", cwd=folder))
    assert "runs/mnist-minimal holds a run already" in line
    assert "--resume" in line


def test_recipes_lists_them_all(ganport):
    result = ganport("recipes")
    assert result.returncode == 0
    for name in ("digits", "mnist-dense", "fashion-dense", "mnist-dropout", "mnist-minimal", "rps-dcgan"):
        assert name in result.stdout


def test_dry_run_prints_the_resolved_recipe_and_leaves_nothing(ganport, tmp_path):
    result = ganport("train", "mnist-dense", "--as-published", "--steps", 7, "--dry-run")
    assert json.loads(result.stdout)["steps"] == 7
    assert json.loads(result.stdout)["batch_size"] == 32
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seeds", ["-1", str(2**63), "9-3", "abc", "", "0-99999999", "1.5"])
def test_bad_seeds(ganport, tiny_file, tmp_path, seeds):
    line = failure(ganport("sample", tiny_file, f"--seeds={seeds}"), 2)
    assert "seeds are whole numbers from 0 to 2**63 - 1" in line
    assert not list(tmp_path.iterdir())


def test_negative_seed_after_a_blank_is_understood(ganport, tiny_file):
    assert "Seed '-1'" in failure(ganport("sample", tiny_file, "--seeds", "-1"), 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sample", "--provider", "tpu"], ["Provider 'tpu' is unknown", "cpu, cuda"]),
        (["sample", "--out", "grid.jpg"], ["grid.jpg", ".png"]),
        (["sample", "--seeds", "0-99999"], ["100,000", "folder"]),
        (["sample", "--truncation", "2"], ["--truncation"]),
        (["walk", "--out", "walk.mp4"], ["walk.mp4", ".gif"]),
        (["sample", "--nonsense"], ["--nonsense", "sample --help"]),
        (["nonsense"], ["nonsense"]),
        (["train", "mnst"], ["Recipe 'mnst' is unknown", "digits"]),
        (["train", "mnst", "--resume"], ["Recipe 'mnst' is unknown", "digits"]),
        (["train", "--steps", "0"], ["--steps"]),
        (["train", "--steps", "many"], ["--steps"]),
        (["train", "--resume", "--steps", "5"], ["--resume"]),
        (["train", "--resume", "--data", ""], ["--resume"]),
        (["train", "--resume", "--image-size", "64"], ["--resume"]),
        (["train", "--resume", "mine.py"], ["--out"]),
        (["train", "nowhere.py"], ["nowhere.py"]),
        (["train", "--channels", "2"], ["1 for grey or 3 for colour"]),
        (["train", "--device", "tpu"], ["--device"]),
        (["export", "--output", "jpeg"], ["--output"]),
        (["export", ".", "--out", "x.png"], ["x.png", ".onnx"]),
        (["export", ".", "--format", "ort", "--out", "x.onnx"], ["x.onnx", ".ort"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(ganport, tiny_file, tmp_path, arguments, words):
    if arguments[0] in ("sample", "walk"):
        arguments = [arguments[0], str(tiny_file), *arguments[1:]]
    line = failure(ganport(*arguments), 2)
    for word in words:
        assert word in line
    assert not list(tmp_path.iterdir())


def test_cuda_that_isnt_there(ganport, tiny_file, tmp_path):
    line = failure(ganport("sample", tiny_file, "--provider", "cuda"))
    assert "Provider 'cuda' can't be used" in line
    assert "pip install 'ganport[cuda]'" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["sample", "inspect"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.onnx", None, "No model file at none.onnx"),
        ("empty.onnx", b"", "the file is empty"),
        ("text.onnx", b"no model at all", "not a readable ONNX file"),
        ("cut.onnx", tiny_model().SerializeToString()[:300], "not a readable ONNX file"),
        ("foreign.onnx", tiny_model(metadata={}).SerializeToString(), "name the layout with --layout"),
        ("newer.onnx", tiny_model(metadata={"ganport": '{"format": 2}'}).SerializeToString(), "upgrade ganport"),
        ("broken.onnx", tiny_model(metadata={"ganport": '{"format": 1}'}).SerializeToString(), "contract is broken at 'name'"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".onnx") else "",
)
def test_bad_model(ganport, tmp_path, command, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert words in failure(ganport(command, name))
    assert {path.name for path in tmp_path.iterdir()} <= {name}


def test_no_model_and_no_run_anywhere(ganport):
    assert "make one with: ganport export" in failure(ganport("sample"))
    assert "make one with: ganport train" in failure(ganport("export"))
    assert "make one with: ganport train" in failure(ganport("train", "--resume"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere"], "No data set 'nowhere'"),
        (["--data", ""], "No data set ''"),
        (["--resume", "--out", "labels.idx"], "No run in labels.idx"),
        (["--data", "notes"], "no image in it"),
        (["--data", "broken"], "2.png: it can't be read as an image"),
        (["--data", "mixed"], "differ in size"),
        (["--data", "few"], "its 2 images are fewer than one batch of 64"),
        (["--data", "labels.idx"], "no IDX file of images"),
        (["--data", "mnist", "--data-dir", "nowhere"], "is no folder"),
        (["digits", "--as-published"], "no published version"),
        (["mnist-dense", "--data", "rock-paper-scissors"], "laurencemoroney.com"),
        (["--data", "digits", "--device", "gpu"], "finds 0 of 1"),
        (["--data", "digits", "--devices", "5"], "A batch of 64 can't be shared by 5 CPU devices"),
        (["broken.py"], "broken.py, line 2: ZeroDivisionError: division by zero"),
        (["syntax.py"], "syntax.py, line 1: SyntaxError"),
        (["empty.py"], "empty.py has no RECIPE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_training_input(ganport, tmp_path, arguments, words):
    for folder, sizes in {"few": [(4, 4)] * 2, "mixed": [(4, 4), (5, 4)], "broken": [(4, 4)], "notes": []}.items():
        (tmp_path / folder).mkdir()
        for index, size in enumerate(sizes):
            Image.new("L", size).save(tmp_path / folder / f"{index + 1}.png")
    (tmp_path / "broken" / "2.png").write_bytes(b"no picture")
    (tmp_path / "labels.idx").write_bytes(bytes(100))
    for name, content in {"broken.py": "x = 1\nx / 0\n", "syntax.py": "def (\n", "empty.py": ""}.items():
        (tmp_path / name).write_text(content)
    line = failure_after_a_start(ganport("train", *arguments))
    assert line.startswith("error: ")
    assert words in line
    assert not list((tmp_path / "runs").glob("*/checkpoints"))


def test_run_without_a_checkpoint(walked, ganport, tmp_path):
    folder, _ = walked
    (tmp_path / "run").mkdir()
    for name in ("recipe.json", "data.json"):
        (tmp_path / "run" / name).write_bytes((folder / "runs/mnist-minimal" / name).read_bytes())
    line = failure(ganport("export", "run"))
    assert "No usable checkpoint in run: there is none" in line
    assert not (tmp_path / "run" / "generator.onnx").exists()


@pytest.mark.parametrize("command", ["train", "export", "sample"])
def test_place_that_cant_be_written(walked, ganport, tiny_file, tmp_path, command):
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


def failure_after_a_start(result):
    """As `failure`, for a command that may have said what it is about to do."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


def test_other_images_than_the_runs_are_refused(ganport, tmp_path):
    for folder, shade in (("images", 10), ("others", 20)):
        (tmp_path / folder).mkdir()
        for index in range(4):
            Image.new("L", (8, 8), shade + index).save(tmp_path / folder / f"{index}.png")
    run = ("train", "mnist-minimal", "--data", "images", "--steps", 2, "--batch-size", 4)
    assert ganport(*run).returncode == 0
    (tmp_path / "images").rename(tmp_path / "gone")
    (tmp_path / "others").rename(tmp_path / "images")
    assert "not the ones that the run was started with" in failure(ganport("train", "--resume"))


def test_helps_name_every_command(ganport):
    result = ganport("--help")
    assert result.returncode == 0
    for command in ("train", "recipes", "export", "sample", "inspect"):
        assert command in result.stdout
        assert ganport(command, "--help").returncode == 0


def test_chosen_seeds_to_a_chosen_place(ganport, tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model("uint8", batch=3).SerializeToString())
    result = ganport("sample", path, "--seeds", "5,7-9", "--out", "deep/er/grid.PNG")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "deep/er/grid.PNG")), make_grid(Sampler(path).sample([5, 7, 8, 9]))[..., 0]
    )


def test_no_argument_at_all_shows_the_help(ganport):
    result = ganport()
    assert result.returncode == 0
    assert "train" in result.stdout
    assert result.stderr == ""


def test_run_of_another_recipe_is_not_resumed(walked, ganport):
    folder, _ = walked
    line = failure(ganport("train", "digits", "--resume", "--out", "runs/mnist-minimal", cwd=folder), 2)
    assert "is a run of mnist-minimal, not of digits" in line


def test_place_that_may_not_be_looked_into(ganport, tiny_file):
    """Whatever the system refuses ends in one line too; /proc refuses even root."""
    for arguments in (("sample", tiny_file, "--out", "/proc/grid.png"), ("inspect", "/proc/self/mem")):
        assert failure(ganport(*arguments))
