"""A model in a process of its own, with limits of memory and time.

onnxruntime is a large C++ program, and a file that was made for it may crash it, or let it use all memory.
If the model lives in a child process, only this process ends. The two processes talk through a socket, in
JSON and arrays of numbers. The parent never unpickles what the child sends, so a child that a file has taken
over can send wrong images, and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import errors
from .adapter import Feed
from .arrays import Pixels
from .contract import Contract
from .display import printable, shortened
from .errors import (
    ClosedSamplerError,
    GanportError,
    InferenceError,
    IsolationError,
    ModelFormatError,
    UsageError,
    rebuild_error,
)
from .frames import Frame, FrameError, receive_frame, send_frame
from .model import Model, ModelOptions
from .model_file import ModelSource, find_model_file
from .request import Inputs
from .runner import batch_of
from .session_errors import is_out_of_memory

_GRACE = 2.0  # seconds after which a child ends by itself if its parent does not end it in time
_LARGEST_ANSWER = 2**26  # bytes of the JSON text that a child may send
_MOST_SECONDS = 86_400
_LEAST_MEMORY = 2**28  # bytes; Python and onnxruntime take about a third of it
_NOT_AN_ANSWER = (LookupError, TypeError, ValueError)  # raised if an answer has another form
# Program of the child. It imports this folder as a package of its own, without the packages around it, which
# may do anything when they are imported. Its arguments are the parent of this folder, the name
# of this folder, the number of the socket, and the import path.
_PROGRAM = """
import importlib.machinery, importlib.util, sys
parent, name, descriptor, *sys.path = sys.argv[1:]
spec = importlib.machinery.PathFinder.find_spec(name, [parent])
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
importlib.import_module(name + ".isolated_worker").serve(int(descriptor))
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Isolation:
    """Limits of the process that an isolated model lives in.

    Attributes:
        memory: Bytes that the process may allocate, on Linux. Python and onnxruntime take about 100 MB of
            them. The weights of a file take about twice its size.
        open_seconds: Seconds for starting the process and for opening the model.
        run_seconds: Seconds for generating one batch.

    Raises:
        UsageError: A limit is out of range.
    """

    memory: int = 2**32
    open_seconds: float = 60.0
    run_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not (isinstance(self.memory, int) and self.memory >= _LEAST_MEMORY):
            raise UsageError(
                f"`memory` is {shortened(self.memory)}; it must be at least {_LEAST_MEMORY:,} bytes."
            )
        for name in ("open_seconds", "run_seconds"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0 < value <= _MOST_SECONDS):
                raise UsageError(
                    f"`{name}` is {shortened(value)}; it must be above 0, and at most {_MOST_SECONDS:,}."
                )


class IsolatedModel(Model):
    """An open generator in a process of its own. It has the methods and attributes of a Model.

    Calls from several threads run one after the other. If the process ends, the call that needed it raises
    IsolationError, and the next call starts another process. The process ends with the last reference to this
    object, with `close`, and when the parent process ends in whatever way.
    """

    def __init__(self, model: ModelSource, options: ModelOptions, limits: Isolation) -> None:
        _check_support(options)
        self._options, self._limits, self._file = options, limits, find_model_file(model)
        self.source = self._file.source
        self.provider = options.provider
        self.passed_over: dict[str, str] = {}
        self._lock, self._is_closed = threading.Lock(), False
        self._child: _Child | None
        self._child, facts = self._start()
        self.contract, self.threads, self.batch_size = facts.contract, facts.threads, facts.batch_size
        self.note, self._feeds = facts.note, facts.feeds

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """How each input of a third-party graph is filled; empty for a file that ganport wrote."""
        return self._feeds

    @property
    def process_id(self) -> int | None:
        """Number of the process that the model lives in; None after `close`."""
        return None if self._child is None else self._child.process_id

    def close(self) -> None:
        """End the process after the calls that run in other threads."""
        with self._lock:
            self._is_closed, self._child = True, None

    def generator(self) -> Callable[[Inputs], Pixels]:
        """Return a function from the inputs of one batch to its images, uint8 (n, height, width, channels).

        Raises:
            ClosedSamplerError: The model was closed.
            IsolationError: The process had ended, and another one could not open the model.
        """
        return functools.partial(self._run, self._current_child())

    def _constructor(self) -> Callable[..., Model]:
        return functools.partial(IsolatedModel, limits=self._limits)

    def _current_child(self) -> _Child:
        """Return the process of the model. It is started again if it has ended, or after a fork."""
        with self._lock:
            if self._is_closed:
                raise ClosedSamplerError
            if self._child is None or self._child.has_ended:
                self._file.check_unchanged()
                self._child, facts = self._start()
                if facts.contract != self.contract:
                    raise ModelFormatError(self.source, "it has changed since it was opened")
            return self._child

    def _start(self) -> tuple[_Child, _Facts]:
        """Return a new process that has opened the model, and the facts about the model."""
        content = self._file.location if isinstance(self._file.location, bytes) else b""
        request = {
            "path": None if isinstance(self._file.location, bytes) else str(self._file.location),
            "threads": self._options.threads,
            "batch_size": self._options.batch_size,
            "repeatable": self._options.repeatable,
            "budget": self._options.budget,
            "description": self._options.description.given(),
            "limits": dataclasses.asdict(self._limits),
        }
        child = _Child(self.source)
        answer = self._ask(child, Frame(request, content), self._limits.open_seconds, "opening the file")
        try:
            return child, _read_facts(answer.head)
        except _NOT_AN_ANSWER:
            raise self._wrong_answer() from None

    def _run(self, child: _Child, inputs: Inputs) -> Pixels:
        """Return the images of one batch."""
        arrays = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
        head = {"inputs": [[name, each.dtype.str, each.shape] for name, each in arrays.items()]}
        content = b"".join(each.tobytes() for each in arrays.values())
        answer = self._ask(child, Frame(head, content), self._limits.run_seconds, "generating a batch")
        count = batch_of(inputs) if inputs else self.contract.batch or 1
        shape = (count, *self.contract.image.shape)
        if len(answer.content) != np.prod(shape):
            raise self._wrong_answer()
        return np.frombuffer(answer.content, np.uint8).reshape(shape)

    def _ask(self, child: _Child, request: Frame, seconds: float, task: str) -> Frame:
        """Return a child's answer. Raises the error that it reports, or IsolationError."""
        answer = child.ask(request, seconds, task)
        if "error" not in answer.head:
            return answer
        try:
            error = self._reported_error(answer.head, task)
        except _NOT_AN_ANSWER:
            error = self._wrong_answer()
        raise error

    def _wrong_answer(self) -> IsolationError:
        return IsolationError(self.source, "crash", "its process sent what is not an answer")

    def _reported_error(self, answer: Mapping[str, Any], task: str) -> GanportError:
        """Return the error that a child reports, with the path as the caller gave it."""
        message = str(answer["message"])
        if is_out_of_memory(message):
            return IsolationError(self.source, "memory", f"it needs more memory than allowed for {task}")
        kind = getattr(errors, str(answer["error"]), None)
        if not (isinstance(kind, type) and issubclass(kind, GanportError)):
            return InferenceError(self.source, f"its process reports: {printable(message)}")
        texts = json.dumps([message, answer["facts"]])
        if isinstance(self._file.location, Path):
            texts = texts.replace(
                json.dumps(str(self._file.location))[1:-1], json.dumps(str(self.source))[1:-1]
            )
        shown, facts = json.loads(texts)
        return rebuild_error(kind, (shown,), facts)


class _Facts(NamedTuple):
    """What a child tells about its model. `Model` describes the attributes."""

    contract: Contract
    threads: int
    batch_size: int
    note: str
    feeds: tuple[Feed, ...]


def _read_facts(answer: Mapping[str, Any]) -> _Facts:
    """Return the facts in an answer. Raises one of _NOT_AN_ANSWER or ContractError if it has another form."""
    feeds = [{**feed, "shape": tuple(feed["shape"])} for feed in answer["feeds"]]
    return _Facts(
        contract=Contract.from_json(answer["contract"]),
        threads=int(answer["threads"]),
        batch_size=int(answer["batch_size"]),
        note=str(answer["note"]),
        feeds=tuple(Feed(**feed) for feed in feeds),
    )


class _Child:
    """A process that holds one model.

    Attributes:
        process_id: Number of the process.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._source, self._lock, self._owner = source, threading.Lock(), os.getpid()
        self._ended = False
        self._socket, theirs = socket.socketpair()
        self._log, log = os.pipe()
        os.set_blocking(self._log, False)
        os.set_blocking(log, False)  # if the pipe is full, what the child prints is lost
        path = [entry for entry in sys.path if entry]
        try:
            folder = Path(__file__).parent
            arguments = [str(folder.parent), folder.name, str(theirs.fileno()), *path]
            self._process = subprocess.Popen(  # noqa: S603  # this Python interpreter, without a shell
                [sys.executable, "-P", "-B", "-c", _PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then ends the child
                # Of NumPy, only simple operations are used. Its library for matrices would start threads.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except BaseException:
            self._socket.close()
            os.close(self._log)
            raise
        finally:
            theirs.close()
            os.close(log)
        self.process_id = self._process.pid
        self._finalizer = weakref.finalize(self, _end, self._process, self._socket, self._log, self._owner)

    @property
    def has_ended(self) -> bool:
        """Whether the process was ended, or belongs to the process that this one was forked from."""
        return self._ended or self._owner != os.getpid()

    def ask(self, request: Frame, seconds: float, task: str) -> Frame:
        """Send a request, and return the answer.

        Args:
            request: The request.
            seconds: Seconds after which the process is ended.
            task: What the process does, such as "opening the file", for error messages.

        Raises:
            IsolationError: The process has ended, or it was ended because the time is over.
        """
        with self._lock:
            if self.has_ended:
                raise IsolationError(self._source, "crash", f"its process has ended before {task}")
            try:
                request = request._replace(head={**request.head, "seconds": seconds + _GRACE})
                deadline = time.monotonic() + seconds
                send_frame(self._socket, request, deadline)
                return receive_frame(self._socket, deadline, _LARGEST_ANSWER)
            except TimeoutError:
                self._stop()
                problem = f"it took more than {seconds:g} s for {task}"
                raise IsolationError(self._source, "time", problem) from None
            except (OSError, FrameError):
                raise self._reason(task) from None
            except BaseException:  # an answer that comes later would be taken for that to another request
                self._stop()
                raise

    def _reason(self, task: str) -> IsolationError:
        """Return the reason for which the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        status = self._process.poll()
        printed = _read_waiting(self._log)
        self._stop()
        if status == -signal.SIGALRM:
            return IsolationError(self._source, "time", f"it took too long for {task}")
        if is_out_of_memory(printed):
            return IsolationError(self._source, "memory", f"it needs more memory than allowed for {task}")
        if status is None:
            how = "sent what is not an answer"
        elif status < 0:
            how = f"was ended by {_signal_name(-status)}"
        else:
            how = f"ended with status {status}"
        lines = [line for line in printed.splitlines() if line.strip()]
        last = f" ({printable(lines[-1].strip()[:200])})" if lines else ""
        return IsolationError(self._source, "crash", f"its process {how} while {task}{last}")

    def _stop(self) -> None:
        self._ended = True
        self._finalizer()


def _read_waiting(pipe: int) -> str:
    """Return the text that waits in a pipe."""
    try:
        return os.read(pipe, 2**16).decode(errors="replace")
    except BlockingIOError:
        return ""


def _end(process: subprocess.Popen[bytes], connection: socket.socket, log: int, owner: int) -> None:
    """End a process and wait for it. A forked process only closes its own end of the connection."""
    connection.close()
    os.close(log)
    if owner == os.getpid():
        process.kill()
        process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a signal for real-time programs has no name
        return f"signal {number}"


def _check_support(options: ModelOptions) -> None:
    if sys.platform == "win32":
        raise UsageError("`isolated` is not supported on Windows; open the model in a container or with WSL.")
    if options.provider != "cpu":
        raise UsageError(
            f"`isolated` is not supported with the provider {options.provider!r}; choose `provider='cpu'`."
        )
    if getattr(sys, "frozen", False) or not sys.executable:
        raise UsageError("`isolated` needs a Python interpreter, and this program has none; leave it out.")
