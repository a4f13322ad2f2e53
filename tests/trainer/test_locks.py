"""The lock of a run on systems with fcntl, and on Windows, whose module msvcrt is replaced by a stand-in."""

import dataclasses
import fcntl
import subprocess
import sys
import threading
import types

import pytest

from ganport.trainer.errors import RunExistsError, RunInUseError
from ganport.trainer.locks import lock_run
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run
from tests.conftest import ROOT


def windows_locking(descriptor, mode, length):
    """Lock a part of an open file as msvcrt does, with PermissionError if another process has locked it."""
    assert (mode, length) == (2, 1)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length)
    except OSError as error:
        raise PermissionError(13, "Permission denied") from error


MSVCRT = types.SimpleNamespace(LK_NBLCK=2, locking=windows_locking)


def hold_lock(path):
    """Start a process that locks the file of the Windows lock for a minute."""
    code = "import fcntl, sys, time; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 1); "
    code += "print('locked', flush=True); time.sleep(60)"
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=ROOT)


def test_lock_on_windows_excludes_other_processes(tmp_path):
    with lock_run(tmp_path, MSVCRT) as problem:
        assert problem == ""
    with hold_lock(tmp_path / ".lock") as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(RunInUseError, match="Another process"), lock_run(tmp_path, MSVCRT):
            pass
        other.kill()
    with lock_run(tmp_path, MSVCRT) as problem:
        assert problem == ""


def test_lock_with_fcntl_leaves_no_file(tmp_path):
    with lock_run(tmp_path), pytest.raises(RunInUseError), lock_run(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def no_locks(*_):
    raise OSError(95, "Operation not supported")


@pytest.mark.parametrize(
    "system",
    [
        types.SimpleNamespace(LK_NBLCK=2, locking=no_locks),
        types.SimpleNamespace(LOCK_EX=2, LOCK_NB=4, flock=no_locks),
    ],
    ids=["windows", "fcntl"],
)
def test_file_system_without_locks_is_reported(tmp_path, system):
    with lock_run(tmp_path, system) as problem:
        assert "can't be locked (operation not supported)" in problem


def test_of_two_runs_that_start_in_one_folder_one_is_refused(tmp_path, small_recipe, small_data):
    """The folder holds the records of one of them, and nothing of the other."""
    for attempt in range(10):
        run, barrier, outcomes = RunFolder(tmp_path / str(attempt)), threading.Barrier(4), []

        def start(seed, run=run, barrier=barrier, outcomes=outcomes):
            recipe = dataclasses.replace(small_recipe, seed=seed)
            data = dataclasses.replace(small_data, name=f"data {seed}")
            barrier.wait()
            try:
                start_run(run, recipe, data)
                outcomes.append(seed)
            except (RunExistsError, RunInUseError):
                pass

        threads = [threading.Thread(target=start, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == [run.read_recipe().seed]
        assert run.read_data()["name"] == f"data {outcomes[0]}"


def test_run_does_not_start_in_a_locked_folder(tmp_path, small_recipe, small_data):
    with lock_run(tmp_path), pytest.raises(RunInUseError):
        start_run(RunFolder(tmp_path), small_recipe, small_data)
    assert not RunFolder(tmp_path).recipe_file.exists()


def test_start_that_fails_leaves_no_folder(tmp_path, small_recipe):
    with pytest.raises(AttributeError):
        start_run(RunFolder(tmp_path / "new" / "run"), small_recipe, None)
    assert not (tmp_path / "new" / "run").exists()
