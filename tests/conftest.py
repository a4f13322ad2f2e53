"""Fixtures of several test modules: the tiny generator on disk, and runs of the command line in a process."""

from __future__ import annotations

import atexit
import functools
import gc
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.forked_command import CLI, TIME_LIMIT_S, CommandServer
from tests.forked_command import ROOT as ROOT
from tests.tiny_generator import tiny_model

# Without a deadline, because tests would fail on a slow machine.
hypothesis.settings.register_profile("ganport", deadline=None)
hypothesis.settings.load_profile("ganport")

PACKAGES = ("cluster", "commands", "datasets", "evaluation", "export", "runtime", "server", "trainer", "web")

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_finish() -> None:
    """Leave what is loaded now to the end of the process, so that each later search for garbage is short."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_second_copies() -> Iterator[None]:
    """Fail a test that imports a package by its bare name: its classes would not be those of `ganport`."""
    yield
    copies = sorted(set(PACKAGES) & set(sys.modules))
    assert not copies, f"imported without `ganport.` in front: {', '.join(copies)}"


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the caches of all tests, and of the processes that they start, out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny generator with uint8 output and a free batch, with its contract."""
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_model("uint8").SerializeToString())
    return path


@functools.cache
def command_server() -> CommandServer:
    """The process that the commands of this test process are forked from."""
    server = CommandServer()
    atexit.register(server.close)
    return server


def run_ganport(
    *arguments: object, cwd: Path, text: bool = True, **environment: str
) -> subprocess.CompletedProcess[str] | subprocess.CompletedProcess[bytes]:
    """Run `python cli.py ...` as a process of its own; wide, so that no line is wrapped.

    Python itself is started anew only if the environment is changed, since it is read during imports, too.
    """
    words, env = list(map(str, arguments)), os.environ | {"COLUMNS": "200"} | environment
    if sys.platform != "linux" or environment.keys() - {"COLUMNS"}:
        command = [sys.executable, str(CLI), *words]
        return subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=text, timeout=TIME_LIMIT_S, check=False
        )
    result = command_server().run(words, cwd=cwd, env=env)
    if not text:
        return result
    return subprocess.CompletedProcess(
        words, result.returncode, *map(as_text, (result.stdout, result.stderr))
    )


def as_text(output: bytes) -> str:
    """Decode what a command has printed, with lines as `subprocess` returns them."""
    return io.TextIOWrapper(io.BytesIO(output), encoding="utf-8").read()


@pytest.fixture
def ganport(tmp_path: Path) -> Command:
    """`run_ganport` in an empty folder."""
    return functools.partial(run_ganport, cwd=tmp_path)


def failure(result: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """Check that a command failed with a one-line error and no traceback, and return the line."""
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("model: ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stderr
    return lines[0]


def failure_after_a_start(result):
    """As `failure`, for a command that may print other lines before the error."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]
