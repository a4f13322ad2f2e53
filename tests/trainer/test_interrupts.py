"""After Ctrl-C, SIGTERM or a full disk, the run is saved and can be resumed."""

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ganport.runtime.errors import OutputError
from ganport.trainer.callbacks import Callback
from ganport.trainer.interrupts import stop_requests
from ganport.trainer.loop import run_training
from ganport.trainer.run_folder import RunFolder
from ganport.trainer.run_records import start_run
from tests.conftest import ROOT
from tests.trainer.conftest import one_device


@pytest.fixture(autouse=True)
def signals_as_at_a_terminal():
    """Restore the default handlers: a shell ignores Ctrl-C in background jobs, and nohup ignores SIGHUP."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signal_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop


def test_first_signal_is_recorded_and_the_second_acts(monkeypatch):
    monkeypatch.setattr("ganport.trainer.interrupts._ECHO_SECONDS", 0.0)
    before = signal.getsignal(signal.SIGINT)
    with stop_requests() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_signal_that_is_sent_twice_at_once_counts_once():
    with stop_requests() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)  # a second signal that counts would end this process
        assert stop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_are_left_alone():
    found = []

    def work():
        with stop_requests() as stop:
            found.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_stopped_run_is_saved_and_resumes_bit_identical(tmp_path, small_recipe, small_data, number):
    recipe = dataclasses.replace(small_recipe, steps=1000, preview_interval=1000)
    stopped, whole = RunFolder(tmp_path / "stopped"), RunFolder(tmp_path / "whole")
    start_run(stopped, recipe, small_data)
    start_run(whole, recipe, small_data)
    waker = threading.Thread(target=send_when_it_exists, args=(stopped.history_file, number))
    waker.start()
    assert run_training(recipe, small_data, stopped, Callback(), one_device()) == number
    waker.join()
    (step,) = stopped.checkpoint_steps()
    assert 0 < step < 1000, "it ended before it was stopped"
    assert stopped.preview_file(step).exists()
    assert stopped.curves_file.exists()
    assert not stopped.keras_file.exists()
    for run in (stopped, whole):
        assert run_training(recipe, small_data, run, Callback(), one_device()) is None
    with np.load(whole.checkpoint_file(1000)) as a, np.load(stopped.checkpoint_file(1000)) as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def send_when_it_exists(file, number):
    while not file.exists():
        time.sleep(0.005)
    os.kill(os.getpid(), number)


@pytest.mark.slow
def test_stopped_command_prints_how_to_continue(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "cli.py"),
        "train",
        "mnist-minimal",
        "--data",
        "digits",
        "--out",
        "run",
    ]
    victim = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "history.jsonl").exists():
        assert time.monotonic() < deadline
        assert victim.poll() is None
        time.sleep(0.01)
    victim.send_signal(signal.SIGTERM)
    _, stderr = victim.communicate(timeout=60)
    assert victim.returncode == 128 + signal.SIGTERM, stderr
    step = RunFolder(tmp_path / "run").newest_step()
    expected = f"Stopped and saved at step {step:,}; continue with: ganport train --resume --out run"
    assert expected in stderr


def test_full_disk_stops_the_run_and_leaves_the_last_good_checkpoint(run_small, small_recipe):
    """A limit on the size of files replaces the full disk, because the system rejects the same write."""
    run = run_small(dataclasses.replace(small_recipe, steps=10))
    content = run.checkpoint_file(10).read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        with pytest.raises(OutputError, match="continue from step 10 with: ganport train --resume") as caught:
            run_small(small_recipe, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.path == run.checkpoint_file(20)
    assert run.checkpoint_steps() == [10]
    assert run.checkpoint_file(10).read_bytes() == content
    assert not [path for path in run.path.rglob("*") if ".part" in path.name]
    run_small(small_recipe, resume=True)
    assert run.newest_step() == 25
