"""Sampling on the command line: the commands that need only a model, and no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import Sampler, make_grid
from ganport.runtime.contract import FORMAT, METADATA_KEY
from tests.conftest import ROOT, failure, run_ganport
from tests.tiny_generator import tiny_contract, tiny_model


def test_walk_writes_an_animation_and_sample_a_folder(tiny_file, ganport, tmp_path):
    result = ganport("walk", tiny_file, "--seeds", "0,5,9", "--frames", "4")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "walk.gif") as animation:
        assert animation.n_frames <= 12
    assert "12 frames through 3 seeds" in result.stdout
    result = ganport(
        "sample", tiny_file, "--seeds", "0-99", "--out", "many", "--batch-size", "7", "--threads", "1"
    )
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "many").iterdir())) == 100
    assert result.stderr == ""


def test_shards_resume_and_frames_go_to_a_pipe(tiny_file, ganport, tmp_path):
    options = ("sample", tiny_file, "--seeds", "0-24", "--shard-size", "10", "--out", "bulk/x.tar")
    first = ganport(*options)
    assert "bulk/x.tar: 25 images of" in first.stdout, first.stderr
    assert "continue with --resume, or choose another --out" in failure(ganport(*options))
    (tmp_path / "bulk" / "x-000001.tar").unlink()
    again = ganport(*options, "--resume")
    assert "15 images exist; 10 to generate" in again.stderr
    assert "bulk/x.tar: 10 images of" in again.stdout
    assert "--resume is for shards" in failure(ganport("sample", tiny_file, "--resume"), 2)

    frames = run_ganport("sample", tiny_file, "--seeds", "5-6", "--out", "-", cwd=tmp_path, text=False)
    expected = np.repeat(Sampler(tiny_file).sample([5, 6]), 3, axis=-1)
    assert frames.stdout == expected.tobytes()
    assert b"raw video, rgb24, 4x3: 2 images" in frames.stderr
    frames = run_ganport(
        "walk", tiny_file, "--seeds", "5,6", "--frames", "4", "--out", "-", cwd=tmp_path, text=False
    )
    assert len(frames.stdout) == 8 * expected[0].size


def test_frames_of_a_walk_are_enlarged(tiny_file, ganport, tmp_path):
    walk = ("walk", tiny_file, "--seeds", "0,5", "--frames", "2", "--no-loop")
    for name, options in {"one.webp": (), "three.webp": ("--scale", "3")}.items():
        result = ganport(*walk, *options, "--out", name)
        assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "one.webp") as one, Image.open(tmp_path / "three.webp") as three:
        assert (one.size, three.size) == ((4, 3), (12, 9))
        for frame in range(one.n_frames):
            one.seek(frame)
            three.seek(frame)
            expected = np.kron(np.asarray(one.convert("L")), np.ones((3, 3), np.uint8))
            np.testing.assert_array_equal(np.asarray(three.convert("L")), expected)
    raw = run_ganport(*walk, "--scale", "5", "--out", "-", cwd=tmp_path, text=False)
    assert b"raw video, rgb24, 20x15: 3 frames" in raw.stderr
    assert len(raw.stdout) == 3 * 20 * 15 * 3
    line = failure(ganport(*walk, "--scale", "9999"), 2)
    assert (
        "--scale is 9999, which would make images of 4x3 as large as 39996x29997; give at most 4096" in line
    )
    assert "--scale is 0; it must be a whole number of at least 1" in failure(ganport(*walk, "--scale", 0), 2)


def test_third_party_model_is_described_by_options(ganport, tmp_path):
    (tmp_path / "x.onnx").write_bytes(tiny_model(metadata={}).SerializeToString())
    assert "choose one with --layout" in failure(ganport("inspect", "x.onnx"))
    result = ganport("sample", "x.onnx", "--layout", "NHWC", "--provider", "auto", "--out", "x.npy")
    assert "64 images of x.onnx on cpu" in result.stdout, result.stderr
    assert "provider: cpu (the fastest that works)" in result.stderr
    np.testing.assert_array_equal(
        np.load(tmp_path / "x.npy"), Sampler(tiny_model().SerializeToString()).sample(range(64))
    )


def test_control_characters_in_a_file_do_not_reach_the_terminal(ganport, tmp_path):
    forged = tiny_contract(name="\x1b[2Jtiny\r", data={"name": "\x9b5m"})
    (tmp_path / "x.onnx").write_bytes(
        tiny_model(metadata={METADATA_KEY: ascii_json(forged)}).SerializeToString()
    )
    shown = ganport("inspect", "x.onnx")
    assert shown.returncode == 0, shown.stderr
    assert r"\x1b[2Jtiny\r" in shown.stdout
    assert r"name \x9b5m" in shown.stdout
    forged = dataclasses.replace(forged, precision="\x1b]0;x")
    (tmp_path / "x.onnx").write_bytes(
        tiny_model(metadata={METADATA_KEY: ascii_json(forged)}).SerializeToString()
    )
    assert r"\x1b]0;x" in failure(ganport("sample", "x.onnx"))


def test_a_file_name_need_not_be_text(ganport, tmp_path, tiny_file):
    name = os.fsdecode(b"caf\xe9.onnx")
    shutil.copy(tiny_file, tmp_path / name)
    for arguments in (("sample", name), ("walk", name), ("verify", name)):
        line = failure(ganport(*arguments))
        assert r"caf\udce9.onnx (onnxruntime opens only files whose names are UTF-8)" in line
    result = ganport("sample", tiny_file, "--out", os.fsdecode(b"caf\xe9.png"))
    assert result.returncode == 0, result.stderr
    assert r"caf\udce9.png: 64 images" in result.stdout


def ascii_json(contract):
    return json.dumps(json.loads(contract.to_json()))


def test_bench_prints_a_table_and_json(tiny_file, ganport):
    table = ganport("bench", tiny_file, "--seconds", "0.01")
    assert table.returncode == 0, table.stderr
    assert re.match(r"provider +threads +batch +cold ms +p50 ms +p95 ms +p99 ms +images/s", table.stdout)
    lines = json.loads(ganport("bench", tiny_file, "--seconds", "0.01", "--json", "--provider", "cpu").stdout)
    assert {line["batch"] for line in lines} == {1, 16, 64, 256}
    assert all(0 < line["p50"] <= line["p95"] <= line["p99"] for line in lines)


def test_models_lists_the_pretrained_generators(ganport):
    result = ganport("models")
    assert result.returncode == 0, result.stderr
    assert "…" not in result.stdout
    listed = json.loads(ganport("models", "--json").stdout)
    for name, contract in listed.items():
        quality = contract["quality"]
        distances = f"{quality['frechet']:.3f} +{quality['baseline']['frechet']:.3f}"
        licence = re.escape(contract["data"]["licence"])
        assert re.search(
            rf"^{name} +\d+x\d+x[13] +\d+ +\d\.\d\d +{distances} +{licence} *$", result.stdout, re.MULTILINE
        )
        assert (
            f"{name}.npy: 4 images" in ganport("sample", name, "--seeds", "0-3", "-o", f"{name}.npy").stdout
        )


def test_doctor_reports_packages_and_providers(ganport):
    result = ganport("doctor", "--provider", "cpu")
    assert result.returncode == 0, result.stderr
    assert re.search(r"provider cpu +works", result.stdout)
    findings = {finding["name"]: finding for finding in json.loads(ganport("doctor", "--json").stdout)}
    assert findings["numpy"]["detail"] == np.__version__
    if findings["provider cuda"]["state"] != "works":
        assert "pip install" in findings["provider cuda"]["remedy"]
        assert ganport("doctor", "--provider", "cuda").returncode == 1
    failure(ganport("doctor", "--provider", "tpu"), status=2)


@pytest.mark.parametrize("seeds", ["-1", str(2**63), "9-3", "abc", "", "0-99999999", "1.5"])
def test_bad_seeds_are_rejected(ganport, tiny_file, tmp_path, seeds):
    line = failure(ganport("sample", tiny_file, f"--seeds={seeds}"), 2)
    assert "seeds are whole numbers from 0 to 2**63 - 1" in line
    assert not list(tmp_path.iterdir())


def test_negative_seed_as_a_separate_argument_is_a_seed(ganport, tiny_file):
    assert "Seed '-1'" in failure(ganport("sample", tiny_file, "--seeds", "-1"), 2)


def test_cuda_without_cuda_gives_the_install_line(ganport, tiny_file, tmp_path):
    line = failure(ganport("sample", tiny_file, "--provider", "cuda"))
    assert "Provider 'cuda' is not available" in line
    assert "pip install 'ganport[cuda]'" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["sample", "inspect"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.onnx", None, "No model file at none.onnx"),
        ("empty.onnx", b"", "the file is empty"),
        ("text.onnx", b"not a model", "it is a text that begins with 'not a model'"),
        ("cut.onnx", tiny_model().SerializeToString()[:300], "not a readable ONNX file"),
        ("other.onnx", tiny_model(metadata={}).SerializeToString(), "choose one with --layout"),
        (
            "newer.onnx",
            tiny_model(metadata={"ganport": f'{{"format": {FORMAT + 1}}}'}).SerializeToString(),
            "upgrade ganport",
        ),
        (
            "broken.onnx",
            tiny_model(metadata={"ganport": '{"format": 1}'}).SerializeToString(),
            "contract is invalid at 'name'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".onnx") else "",
)
def test_bad_model_gives_a_one_line_error(ganport, tmp_path, command, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert words in failure(ganport(command, name))
    assert {path.name for path in tmp_path.iterdir()} <= {name}


def test_without_a_model_the_pretrained_one_is_used(ganport, tmp_path):
    result = ganport("sample")
    assert result.returncode == 0
    assert re.fullmatch(r"model: .*mnist\.onnx \(mnist, pretrained\)\n", result.stderr)
    assert (tmp_path / "grid.png").exists()
    assert "create one with: ganport train" in failure(ganport("export"))
    assert "create one with: ganport train" in failure(ganport("train", "--resume"))


def test_chosen_seeds_go_to_a_chosen_path(ganport, tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model("uint8", batch=3).SerializeToString())
    result = ganport("sample", path, "--seeds", "5,7-9", "--out", "deep/er/grid.PNG")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "deep/er/grid.PNG")),
        make_grid(Sampler(path).sample([5, 7, 8, 9]))[..., 0],
    )


def test_path_without_access_gives_a_one_line_error(ganport, tiny_file):
    """An error of the system gives a one-line error. In /proc even root can't create files."""
    for arguments in (("sample", tiny_file, "--out", "/proc/grid.png"), ("inspect", "/proc/self/mem")):
        assert failure(ganport(*arguments))


def test_a_terminated_command_leaves_nothing_half_written(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "cli.py"),
        "sample",
        "mnist",
        "--seeds",
        "0-999999",
        "--out",
        "x.tar",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (found := list(tmp_path.glob(".*part*"))) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert found
        process.terminate()
        assert process.wait(timeout=30) == 143
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("command", ["sample mnist --out -", "walk mnist --seeds 0,1 --out -"])
def test_closed_standard_output_is_named(tmp_path, command):
    done = run_in_shell(f"{command} >&-", tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("the standard output is closed; leave it open, or name a file.\n")


@pytest.mark.parametrize(("closed", "number"), [(">&-", 1), ("2>&-", 2), ("<&- >&- 2>&-", 1)])
def test_what_is_printed_to_a_closed_stream_does_not_land_in_a_file(tmp_path, closed, number):
    """The first file that is opened would get the number of the closed stream."""
    (tmp_path / "command.py").write_text(f"""
import os
from ganport.runtime.command import guarded
def run():
    with open("x.bin", "wb") as file:
        os.write({number}, b"printed")  # as a library in C does
        file.write(b"whole")
    return 0
guarded(run)
""")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = f"{shlex.quote(sys.executable)} command.py {closed}"
    subprocess.run(line, shell=True, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "x.bin").read_bytes() == b"whole"


def test_command_whose_standard_error_is_closed_succeeds(tmp_path):
    """A progress bar is shown only if the command takes longer than a second."""
    code = "from ganport.runtime import progress; progress._DELAY = progress._INTERVAL = -1\n"
    code += "from ganport.__main__ import main; main()"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} sample mnist --out x.png 2>&-"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    assert (tmp_path / "x.png").exists()


def run_in_shell(command, folder):
    line = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'cli.py'))} {command}"
    return subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, check=False)
