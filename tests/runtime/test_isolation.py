"""A model in a process of its own: the same images, and an error for a crash, for memory and for time."""

import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ganport.runtime import Isolation, Sampler
from ganport.runtime.errors import (
    ClosedSamplerError,
    IsolationError,
    ModelFormatError,
    ModelNotFoundError,
    ModelTooLargeError,
    NotAGeneratorError,
    SeedError,
    UnsupportedModelError,
    UsageError,
)
from ganport.runtime.frames import Frame, FrameError, receive_frame, send_frame
from tests.conftest import ROOT, failure
from tests.runtime import bombs
from tests.runtime.bombs import BOMBS, ints, node
from tests.tiny_generator import tiny_model

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="isolated models are not supported on Windows"
)
ANYTHING = 1e15  # a budget within which every file is opened
# The description of a model from `bombs`, whose four values are taken as an image.
DESCRIPTION = {"layout": "NHWC", "value_range": (-1e30, 1e30), "image_size": (2, 2, 1)}


@pytest.fixture(scope="module")
def isolated():
    with Sampler("mnist", isolated=True) as sampler:
        yield sampler


@pytest.fixture(scope="module")
def plain():
    with Sampler("mnist") as sampler:
        yield sampler


def has_ended(process):
    """Return whether a process has ended and was waited for, after at most ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_images_facts_and_methods_are_those_of_a_model_in_this_process(isolated, plain):
    assert isolated.model.process_id != os.getpid()
    assert np.array_equal(isolated.sample(range(300)), plain.sample(range(300)))
    assert np.array_equal(
        isolated.sample([5], labels=7, truncation=0.5), plain.sample([5], labels=7, truncation=0.5)
    )
    for ours, theirs in zip(isolated.stream(range(300)), plain.stream(range(300)), strict=True):
        assert np.array_equal(ours, theirs)
    walks = [np.concatenate(list(each.walk([1, 2], frames=3))) for each in (isolated, plain)]
    assert np.array_equal(*walks)
    assert isolated.contract == plain.contract
    for fact in ("source", "provider", "threads", "batch_size", "note", "feeds"):
        assert getattr(isolated.model, fact) == getattr(plain.model, fact)
    assert isolated.model.fingerprint() == plain.model.fingerprint()
    assert repr(isolated) == repr(plain)
    with pytest.raises(SeedError):
        isolated.sample([-1])


def test_third_party_model_from_bytes_is_described_in_its_process():
    content = (ROOT / "tests/runtime/third_party/torch_dcgan.onnx").read_bytes()
    with Sampler(content, isolated=True) as ours, Sampler(content) as theirs:
        assert ours.contract == theirs.contract
        assert ours.model.feeds == theirs.model.feeds
        assert np.array_equal(ours.sample(range(5)), theirs.sample(range(5)))


def test_errors_of_the_process_are_those_of_a_model_in_this_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.onnx").write_bytes(b"<html>")
    Path("y.onnx").write_bytes(BOMBS["doubling"][0]())
    for path, kind in (("x.onnx", UnsupportedModelError), ("y.onnx", ModelTooLargeError)):
        messages = []
        for isolated in (False, True):
            with pytest.raises(kind) as caught:
                Sampler(path, isolated=isolated)
            messages.append(str(caught.value))
            assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
        assert messages[0] == messages[1]
    with pytest.raises(ModelNotFoundError):
        Sampler("z.onnx", isolated=True)
    with pytest.raises(NotAGeneratorError, match="contradicts `value_range`"):
        Sampler(bombs.chain(2), isolated=True, value_range=(0, 1), image_size=(2, 2, 1))


def test_memory_of_the_process_is_limited():
    """The file needs 1 GiB, which is within its budget."""
    content = bombs.largest_of_a_batch([node("Tile", ["z", "s"], ["e"])], [ints("s", 1, 2**26)])
    with pytest.raises(
        IsolationError, match="it needs more memory than allowed for opening the file"
    ) as caught:
        Sampler(content, isolated=Isolation(memory=2**29), **DESCRIPTION)
    assert caught.value.reason == "memory"


def test_time_for_opening_is_limited():
    started = time.monotonic()
    with pytest.raises(
        IsolationError, match=r"it took more than 3 s for opening the file; .*raise the limits"
    ) as caught:
        Sampler(bombs.function_bomb(), budget=ANYTHING, isolated=Isolation(open_seconds=3))
    assert caught.value.reason == "time"
    assert time.monotonic() - started < 20


def test_time_for_a_batch_is_limited_and_the_next_call_starts_another_process(plain):
    with Sampler("mnist", isolated=Isolation(run_seconds=2)) as sampler:
        process = sampler.model.process_id
        os.kill(process, signal.SIGSTOP)  # as a batch that never ends
        with pytest.raises(IsolationError, match="it took more than 2 s for generating a batch") as caught:
            sampler.sample([0])
        assert caught.value.reason == "time"
        assert has_ended(process)
        assert np.array_equal(sampler.sample([0]), plain.sample([0]))


def test_crash_is_an_error_and_the_next_call_starts_another_process(plain):
    with Sampler("mnist", isolated=True) as sampler:
        process = sampler.model.process_id
        os.kill(process, signal.SIGSEGV)
        with pytest.raises(
            IsolationError, match="its process was ended by SIGSEGV while generating a batch"
        ) as caught:
            sampler.sample([0])
        assert caught.value.reason == "crash"
        assert has_ended(process)
        assert np.array_equal(sampler.sample([0]), plain.sample([0]))
        assert sampler.model.process_id != process


def test_process_ends_with_the_sampler():
    with Sampler("mnist", isolated=True) as sampler:
        first = sampler.model.process_id
        generate = sampler.model.generator()
    assert sampler.model.process_id is None
    with pytest.raises(ClosedSamplerError):
        sampler.sample([0])
    os.kill(first, 0)  # the process exists, because the function from before may still generate images
    del generate
    assert has_ended(first)
    second = Sampler("mnist", isolated=True).model.process_id
    gc.collect()
    assert has_ended(second)


HOST = """
import sys, threading, time
from ganport.runtime import Isolation, Sampler
from tests.runtime import bombs
sampler = Sampler("mnist", isolated=True)
print(sampler.model.process_id, flush=True)
if sys.argv[1] == "busy":
    threading.Thread(target=lambda: list(sampler.stream(range(10**9))), daemon=True).start()
time.sleep(100)
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_process_ends_with_a_parent_that_is_killed(state):
    parent = subprocess.Popen(
        [sys.executable, "-c", HOST, state], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    process = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert is_gone(process)


def is_gone(process):
    """Return whether a process of another parent ends within ten seconds, even if nobody waits for it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        result = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
        )
        if result.stdout.strip()[:1] in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


def test_threads_share_the_process(isolated, plain):
    found = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: isolated.sample([seed])}))
        for seed in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[seed], plain.sample([seed])) for seed in range(8))


def test_pickled_and_forked_samplers_have_processes_of_their_own(isolated, plain):
    with pickle.loads(pickle.dumps(isolated)) as copy:
        assert copy.model.process_id not in (None, isolated.model.process_id)
        assert np.array_equal(copy.sample([3]), plain.sample([3]))
    code = """
import os, sys
from ganport.runtime import Sampler
sampler = Sampler("mnist", isolated=True)
before = sampler.sample([3]).tobytes()
child = os.fork()
if child == 0:
    same = sampler.sample([3]).tobytes() == before
    sampler.close()
    sys.exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert sampler.sample([3]).tobytes() == before
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=100)


def test_file_that_changes_is_not_opened_again(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(tiny_model("uint8").SerializeToString())
    with Sampler(path, isolated=True) as sampler:
        os.kill(sampler.model.process_id, signal.SIGKILL)
        with pytest.raises(IsolationError, match="SIGKILL"):
            sampler.sample([0])
        path.write_bytes(tiny_model("float32").SerializeToString())
        with pytest.raises(ModelFormatError, match="it has changed since it was opened"):
            sampler.sample([0])


def test_what_is_not_supported_is_an_error():
    with pytest.raises(UsageError, match=r"not supported with the provider 'cuda'; choose `provider='cpu'`"):
        Sampler("mnist", provider="cuda", isolated=True)
    with pytest.raises(UsageError, match="`isolated` is 5; it must be True, False or an Isolation"):
        Sampler("mnist", isolated=5)
    with pytest.raises(UsageError, match="`memory` is 1000; it must be at least 268,435,456 bytes"):
        Isolation(memory=1000)
    with pytest.raises(UsageError, match="`run_seconds` is 0; it must be above 0, and at most 86,400"):
        Isolation(run_seconds=0)


def test_process_imports_no_modules_of_the_working_directory(tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ganport.runtime import Sampler; " + (
        "print(Sampler('mnist', isolated=True).sample([0]).shape)"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout == "(1, 28, 28, 1)\n"
    assert [file.name for file in tmp_path.iterdir()] == ["json.py"]


def test_commands_open_a_model_in_its_own_process(ganport):
    assert ganport("sample", "mnist", "--isolated", "--budget", "1", "--out", "x.npy").returncode == 0
    assert ganport("sample", "mnist", "--out", "y.npy").returncode == 0
    folder = Path(ganport.keywords["cwd"])
    assert (folder / "x.npy").read_bytes() == (folder / "y.npy").read_bytes()
    result = ganport("serve", "mnist", "--isolated", "--engine", "ray")
    assert "--isolated is for a single process" in failure(result, status=2)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0" * 5,
        b"\2\0\0\0" + b"\xff" * 8 + b"{}",
        b"\xff" * 4 + bytes(8),
        b"\2\0\0\0" + bytes(8) + b"[]",
        b"\2\0\0\0" + bytes(8) + b"\xff\xff",
    ],
)
def test_bytes_that_are_not_a_frame_are_rejected(sent):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(FrameError):
            receive_frame(ours, time.monotonic() + 5, 2**20)


def test_frame_arrives_as_it_was_sent_or_the_deadline_ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frame = Frame({"a": [1, "b"]}, b"content")
        send_frame(theirs, frame)
        assert receive_frame(ours) == frame
        with pytest.raises(TimeoutError):
            receive_frame(ours, time.monotonic() + 0.05)
