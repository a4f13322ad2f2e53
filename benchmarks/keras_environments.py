"""An environment with TensorFlow 2.15, which the Keras kinds need.

TensorFlow 2.15 is the last version whose Keras is Keras 2. Many files of users are of this version, and no
newer version can write them. It is installed into an environment of its own, in ganport's cache folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.generators import NotMeasuredError

REQUIREMENT = "tensorflow==2.15.1"
PYTHONS = ("python3.11", "python3.10", "python3.9")  # versions of Python for which TensorFlow 2.15 exists
COMPLETE = "complete"  # name of the file that marks an environment that was made without an error


def environment_folder() -> Path:
    """Return the folder of the environment with TensorFlow 2.15, which may not exist."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ganport" / "tensorflow-2.15"


def make_environment() -> None:
    """Make the environment with TensorFlow 2.15, unless it is complete. This takes some minutes.

    If it can't be made, nothing is raised, but `find_python` raises an error afterwards.
    """
    folder = environment_folder()
    python = _find_older_python()
    if (folder / COMPLETE).is_file() or python is None:
        return
    print(
        f"TensorFlow 2.15 is installed into {folder}; this takes some minutes.", file=sys.stderr, flush=True
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    commands = [
        [python, "-m", "venv", str(folder)],
        [str(_python_in(folder)), "-m", "pip", "install", "--disable-pip-version-check", REQUIREMENT],
    ]
    with _log_file(folder).open("w") as log:
        for command in commands:
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
                return
    (folder / COMPLETE).touch()


def find_python() -> Path:
    """Return the interpreter of the environment with TensorFlow 2.15.

    Raises:
        NotMeasuredError: The environment could not be made.
    """
    folder = environment_folder()
    if (folder / COMPLETE).is_file():
        return _python_in(folder)
    if _find_older_python() is None:
        raise NotMeasuredError("TensorFlow 2.15 needs Python 3.9 to 3.11, which is not installed")
    raise NotMeasuredError(
        f"TensorFlow 2.15 is not installed; the messages of pip are in {_log_file(folder)}"
    )


def _find_older_python() -> str | None:
    """Return a command that starts Python 3.9 to 3.11; None if there is none."""
    if sys.version_info[:2] <= (3, 11):
        return sys.executable
    return next(filter(_runs, filter(None, map(shutil.which, PYTHONS))), None)


def _runs(command: str) -> bool:
    return subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _log_file(folder: Path) -> Path:
    return folder / "pip.log"
