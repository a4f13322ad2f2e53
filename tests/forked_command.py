"""Runs `python cli.py ...` in forks of a process that has imported the large packages already.

A command is a process of its own, with its own working folder, environment and output, as if a user had
started it. But it starts within a tenth of a second, and not after the seconds in which TensorFlow is
imported. What a command imports, and variables that packages read during the import, can't be tested so.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ganport.runtime.stderr import captured_stderr

ROOT = Path(__file__).parent.parent
CLI = ROOT / "cli.py"
IMPORTED = ("tensorflow", "keras", "onnx", "onnxruntime", "tf2onnx", "typer", "rich.table", "PIL.Image")
# Variables that `ganport.trainer.devices` sets before TensorFlow is imported.
TENSORFLOW = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
TIME_LIMIT_S = 300


class CommandServer:
    """A process that forks itself for each command."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.forked_command"]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | TENSORFLOW,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `python cli.py` with some arguments, and return its exit code, stdout and stderr."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
            request = {
                "arguments": arguments,
                "cwd": str(cwd),
                "env": dict(env),
                "streams": [str(stdout), str(stderr)],
            }
            print(json.dumps(request), file=self._process.stdin, flush=True)
            status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(
                list(arguments), status, stdout.read_bytes(), stderr.read_bytes()
            )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve() -> None:
    """Run a command for each line of stdin, and print its exit code; -N if signal N ended it."""
    with captured_stderr():  # TensorFlow's C++ code prints lines during its import
        for module in IMPORTED:
            with contextlib.suppress(ImportError):  # some environments have no TensorFlow
                importlib.import_module(module)
    gc.freeze()  # else each command would copy all objects when it looks for garbage
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: Sequence[str], cwd: str, env: Mapping[str, str], streams: Sequence[str]) -> NoReturn:
    signal.alarm(TIME_LIMIT_S)
    files = (os.open(os.devnull, os.O_RDONLY), *(os.open(path, os.O_WRONLY | os.O_CREAT) for path in streams))
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [str(CLI), *arguments]
    status = 0
    try:
        runpy.run_path(str(CLI), run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    # The end of Python itself would wait for threads that TensorFlow has started before the fork.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    serve()
