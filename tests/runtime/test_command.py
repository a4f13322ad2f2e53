"""The runtime's command line in an app that contains only a copy of the folder; and the progress bar."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ganport.runtime.command import guarded, make_parser, sample_options, with_options
from ganport.runtime.errors import GanportError, UsageError
from ganport.runtime.progress import with_progress
from tests.conftest import ROOT, failure, run_ganport
from tests.tiny_generator import tiny_model


def run_copy(folder, *arguments):
    """Run the runtime as a part of another package."""
    shutil.copytree(ROOT / "runtime", folder / "app" / "ganlib", dirs_exist_ok=True)
    blocked = "import sys; sys.modules.update(dict.fromkeys(('typer', 'rich', 'tensorflow')))"
    code = f"{blocked}; import runpy; runpy.run_module('app.ganlib', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_copied_folder_generates_images_from_the_shell(tmp_path):
    result = run_copy(tmp_path, "--seeds", "0-3", "-o", "x.npy")
    assert result.returncode == 0, result.stderr
    assert "(mnist, pretrained)" in result.stderr
    assert np.load(tmp_path / "x.npy").shape == (4, 28, 28, 1)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["none.onnx"], 1, "No model file"),
        (["--threads", "0"], 2, "--threads: '0' is not a whole number"),
        (["--truncation", "nan"], 2, "'nan' is not a number from 0 to 1"),
        (["--thread", "1"], 2, "--thread"),
        (["--layout", "HWC"], 2, "--layout"),
        (["-o", "x.jpg"], 2, "--out is x.jpg; it must end in .png or .webp (a grid)"),
        (["--resume"], 2, "--resume is for shards, and --out is grid.png; use --out NAME.tar"),
        (["--layout", "NCHW"], 2, "states what --layout would say; leave it out"),
        (["--label", "7"], 2, "the generator has no labels; leave the label out"),
    ],
)
def test_mistake_ends_in_one_line(tmp_path, arguments, status, words):
    if arguments[0] != "none.onnx":
        (tmp_path / "tiny.onnx").write_bytes(tiny_model().SerializeToString())
        arguments = ["tiny.onnx", *arguments]
    result = run_copy(tmp_path, *arguments)
    assert result.returncode == status
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "fitting"), [("x.png", "8,272"), ("x.npz", "66,182")])
def test_images_that_exceed_memory_are_rejected_before_one_is_generated(tmp_path, name, fitting):
    result = run_copy(tmp_path, "rock-paper-scissors", "--seeds", "0-99999", "--out", name)
    assert result.returncode == 2
    assert f"100,000 images of 104x104x3. The file is made in memory, so the limit is {fitting};" in (
        result.stderr
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "app"]


def no_more_threads():
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("run", [lambda: len(np.empty(2**60, np.uint8)), no_more_threads])
def test_out_of_memory_gives_a_one_line_error(capsys, run):
    assert guarded(run) == 1
    assert capsys.readouterr().err.startswith("error: There is not enough memory;")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`opset` is 12.", "--opset is 12."),
        ("use `resume=True`, or another `out`", "use --resume, or another --out"),
        ("`provider='cpu'`", "--provider cpu"),
        ('`provider="cpu"`', "--provider cpu"),
        ("`image_size=N` resizes", "--image-size N resizes"),
        ("`image_size=64`", "--image-size 64"),
        ("`frames` is 0", "`frames` is 0"),  # not an option of this command
        ("a file `x.onnx` and 'opset'", "a file `x.onnx` and 'opset'"),
        ("nothing to translate", "nothing to translate"),
    ],
)
def test_arguments_in_a_message_become_options(message, expected):
    names = ("opset", "resume", "out", "provider")
    options = {name: f"--{name}" for name in names} | {"image_size": "--image-size"}
    assert with_options(message, options) == expected


@pytest.mark.parametrize(("error", "status"), [(UsageError, 2), (GanportError, 1)])
def test_error_of_a_command_names_its_options(capsys, error, status):
    def run():
        raise error("`value_range` is 3.")

    assert guarded(run, lambda: {"value_range": "--range"}) == status
    assert capsys.readouterr().err == "error: --range is 3.\n"


def test_unexpected_error_is_one_line_that_says_how_to_see_more(capsys):
    assert guarded(lambda: int("seven")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Unexpected ValueError: invalid literal for int() with base 10: 'seven'; ")
    assert line.endswith("; add --debug to the command to see where it was raised")


@pytest.mark.parametrize("error", [ValueError, OSError, UsageError])
def test_debug_prints_the_traceback_before_the_line(capsys, error):
    def run():
        raise error("of a test")

    guarded(run, debug=True)
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):\n")
    assert "in run\n    raise error(" in printed
    assert printed.splitlines()[-1].startswith("error: ")
    assert "--debug" not in printed.splitlines()[-1]


def test_debug_may_stand_before_and_behind_the_command(ganport, tmp_path):
    for arguments in (("--debug", "sample", "none.onnx"), ("inspect", "none.onnx", "--debug")):
        result = ganport(*arguments)
        assert result.returncode == 1
        assert "ModelNotFoundError: No model file at none.onnx" in result.stderr
    assert "Traceback" in run_copy(tmp_path, "none.onnx", "--debug").stderr


def test_every_option_of_sample_is_named_by_its_argument():
    options = sample_options()
    assert options["value_range"] == "--range"
    assert options["batch_size"] == "--batch-size"
    assert (options["labels"], options["label"]) == ("--labels", "--label")
    assert options["out"] == "--out"
    parser = make_parser("sample", ("ray",))
    known = {option for action in parser._actions for option in action.option_strings}
    assert {option for option in options.values() if option.startswith("-")} <= known


def test_command_names_the_option_where_the_library_names_the_argument(ganport, tmp_path):
    (tmp_path / "own.onnx").write_bytes(tiny_model().SerializeToString())
    line = failure(ganport("sample", "own.onnx", "--layout", "NCHW"), 2)
    assert line == "error: The model file states what --layout would say; leave it out."
    (tmp_path / "other.onnx").write_bytes(tiny_model(metadata={}).SerializeToString())
    assert "choose one with --layout" in failure(ganport("sample", "other.onnx"))


def test_short_form_of_out(ganport, tmp_path, tiny_file):
    for option, name in (("-o", "short.npy"), ("--out", "long.npy")):
        assert ganport("sample", tiny_file, "--seeds", "3", option, name).returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "short.npy"), np.load(tmp_path / "long.npy"))
    raw = run_ganport("sample", tiny_file, "--seeds", "3", "-o", "-", cwd=tmp_path, text=False)
    assert len(raw.stdout) == 3 * 4 * 3


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("pause", "stream"), [(0.3, Terminal()), (0.0, Terminal()), (0.3, io.StringIO())])
def test_bar_is_shown_on_a_terminal_after_the_first_second(monkeypatch, pause, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    for count in with_progress(iter([10] * 5), 100, done=50):
        time.sleep(pause)
        assert count == 10
    lines = stream.getvalue().split("\r\x1b[K")
    if pause and stream.isatty():
        assert "100 of 100, 0:00:00 left" in lines[-2]
        assert lines[-1] == ""
    else:
        assert lines == [""]


def test_bar_is_removed_after_an_error(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)

    def items():
        yield 10
        time.sleep(1.2)
        yield 10
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(with_progress(items(), 100))
    assert "20 of 100" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_mistakes_in_a_copy_end_in_one_line_too(tmp_path):
    assert "too long" in run_copy(tmp_path, "x" * 300).stderr.lower()
    assert "Traceback" not in run_copy(tmp_path, "x" * 300).stderr
    shutil.rmtree(tmp_path / "app" / "ganlib" / "models")
    code = "import runpy; runpy.run_module('app.ganlib', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    expected = "error: No model file at mnist (no such file); create one with: ganport export"
    assert result.stderr.strip() == expected


def test_interrupted_command_prints_nothing_and_exits_with_130(tmp_path):
    # A process that a shell starts in the background ignores the signal. This one must not.
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listens}; from ganport.__main__ import main; main()"
    command = [sys.executable, "-c", code, "sample", "mnist", "--seeds", "0-9999999", "--out", "many.tar"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while not list(tmp_path.glob("*.json")):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, printed) == (130, "")
