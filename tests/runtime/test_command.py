"""The runtime's own command line, where there is no more of ganport than its folder; and its bar."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ganport.runtime.command import guarded
from ganport.runtime.progress import shown
from tests.conftest import ROOT


def run_copy(folder, *arguments):
    """Run the runtime as a part of another package."""
    shutil.copytree(ROOT / "runtime", folder / "app" / "ganlib", dirs_exist_ok=True)
    blocked = "import sys; sys.modules.update(dict.fromkeys(('typer', 'rich', 'tensorflow')))"
    code = f"{blocked}; import runpy; runpy.run_module('app.ganlib', run_name='__main__', alter_sys=True)"
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_copied_folder_draws_from_the_shell(tmp_path):
    drawn = run_copy(tmp_path, "--seeds", "0-3", "--out", "x.npy")
    assert drawn.returncode == 0, drawn.stderr
    assert "(mnist, in the box)" in drawn.stderr
    assert np.load(tmp_path / "x.npy").shape == (4, 28, 28, 1)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["none.onnx"], 1, "No model file"),
        (["--threads", "0"], 2, "--threads: '0' is not a whole number"),
        (["--truncation", "nan"], 2, "'nan' is not a number from 0 to 1"),
        (["--thread", "1"], 2, "--thread"),
        (["--layout", "HWC"], 2, "--layout"),
    ],
)
def test_mistake_ends_in_one_line(tmp_path, arguments, status, words):
    result = run_copy(tmp_path, *arguments)
    assert result.returncode == status
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "fitting"), [("x.png", "8,272"), ("x.npz", "66,182")])
def test_more_pixels_than_memory_is_known_before_one_is_drawn(tmp_path, name, fitting):
    result = run_copy(tmp_path, "rock-paper-scissors", "--seeds", "0-99999", "--out", name)
    assert result.returncode == 2
    assert f"100,000 images of 104x104x3, and is made in memory, where {fitting} fit" in result.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "app"]


def test_end_of_memory_is_one_line(capsys):
    assert guarded(lambda: len(np.empty(2**60, np.uint8))) == 1
    assert capsys.readouterr().err.startswith("error: This takes more memory than there is;")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("pause", "stream"), [(0.3, Terminal()), (0.0, Terminal()), (0.3, io.StringIO())])
def test_bar_is_shown_on_a_terminal_from_the_second_second_on(monkeypatch, pause, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    for count in shown(iter([10] * 5), 100, done=50):
        time.sleep(pause)
        assert count == 10
    lines = stream.getvalue().split("\r\x1b[K")
    if pause and stream.isatty():
        assert "100 of 100, 0:00:00 left" in lines[-2]
        assert lines[-1] == ""
    else:
        assert lines == [""]


def test_mistakes_of_a_copy_end_in_one_line_too(tmp_path):
    assert "too long" in run_copy(tmp_path, "x" * 300).stderr.lower()
    assert "Traceback" not in run_copy(tmp_path, "x" * 300).stderr
    shutil.rmtree(tmp_path / "app" / "ganlib" / "models")
    code = "import runpy; runpy.run_module('app.ganlib', run_name='__main__', alter_sys=True)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stderr.startswith("error: No model file at mnist")


def test_interrupted_command_says_nothing_and_exits_with_130(tmp_path):
    # What a shell starts in the background does not hear the signal.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from ganport.__main__ import main; main()"
    command = [sys.executable, "-c", code, "sample", "mnist", "--seeds", "0-9999999", "--out", "many.tar"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not list(tmp_path.glob("*.json")):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, "")


def test_bar_is_taken_away_by_an_error(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)

    def items():
        yield 10
        time.sleep(1.2)
        yield 10
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(shown(items(), 100))
    assert "20 of 100" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")
