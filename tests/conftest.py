"""What several test modules share: the tiny generator on disk, and a way to run the command line as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_generator import tiny_model

ROOT = Path(__file__).parent.parent

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny generator with uint8 output and a free batch, with its contract."""
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_model("uint8").SerializeToString())
    return path


@pytest.fixture
def ganport(tmp_path: Path) -> Command:
    """Run `python cli.py ...` in an empty folder, as a process of its own; wide, so that no line is wrapped."""

    def run(*arguments: object, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
        env = os.environ | {"COLUMNS": "200"} | environment
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)

    return run
