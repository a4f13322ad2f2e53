"""Worker: the process that runs inputs on one target, with little memory and a time limit for each input.

    python -m tests.fuzz.worker TARGET FOLDER --corpus CORPUS --seed 0 --inputs 1000 --seconds 60

An input that ends in an unexpected error is minimised and stored below FOLDER. A crash or a hang ends the
process, and the driver takes the input from the file `current`, to which each input is written first.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import importlib
import json
import os
import re
import shutil
import struct
import sys
import time
import traceback
from pathlib import Path
from random import Random
from typing import NamedTuple

from .coverage import Coverage
from .target import TARGETS, Target, UnexpectedError

EXTRA_MEMORY = 10**9  # bytes that an input may take, on top of what the process has after the real inputs
_TRIES = 300  # limit for the number of runs that minimise an input
_MINIMISING_S = 10
_PATIENCE = 20  # the real inputs import modules, which takes much longer than an input
_VALUES = re.compile(r"""0x[0-9a-f]+|\d+|'[^']*'|"[^"]*"|\([^)]*\)""")  # numbers, quotations, remarks
_MESSAGE_LENGTH = 60
_HEADER = struct.Struct("<QQ")  # number of inputs that were run, and length of the current one


class Failure(NamedTuple):
    """An unexpected error.

    Attributes:
        kind: "exception", or "memory" if the input made the process take too much of it.
        place: Type of the error and line that raised it. Failures with one place are one finding.
        text: The traceback.
    """

    kind: str
    place: str
    text: str


def load_target(name: str) -> type[Target]:
    """Return the class of a target by its name in TARGETS, or by "module:class"."""
    module, _, kind = TARGETS.get(name, name).partition(":")
    found: type[Target] = getattr(importlib.import_module(module), kind)
    return found


class Worker:
    """Runs inputs on a target.

    Args:
        kind: Class of the target.
        folder: Folder of the findings, of the current input, and of the target's files.
        limit: Seconds that one input may take.

    Attributes:
        count: Number of mutated inputs that were begun. The driver reads it after a crash.
    """

    def __init__(self, kind: type[Target], folder: Path, limit: float) -> None:
        files = folder.absolute() / "files"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir(parents=True)
        self.coverage = Coverage(is_traced=kind.is_traced)
        # Threads that the target starts are recorded, too.
        self.target = self.coverage.run(lambda: kind(files))
        self.limit, self.count = limit, 0
        self._findings = folder / "findings"
        self._findings.mkdir(parents=True, exist_ok=True)
        self._current = os.open(folder / "current", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        # Some code under test captures file descriptor 2, so the trace of a hang goes to a file of its own.
        self._trace = (folder / "trace").open("w")
        faulthandler.enable(self._trace)

    def try_input(self, content: bytes, patience: int = 1) -> Failure | None:
        """Run one input, which may take `patience` times the limit, and return what went wrong, if any."""
        os.pwrite(self._current, _HEADER.pack(self.count, len(content)) + content, 0)
        faulthandler.dump_traceback_later(patience * self.limit, exit=True, file=self._trace)
        try:
            outcome = self.coverage.run(lambda: self.target.run(content))
        except self.target.expected as error:
            outcome = f"{type(error).__name__} {type(error.__cause__).__name__} {error.__cause__}"
        except Exception as error:
            kind = "memory" if isinstance(error, MemoryError) else "exception"
            return Failure(kind, _place_of(error), "".join(traceback.format_exception(error)))
        finally:
            faulthandler.cancel_dump_traceback_later()
        if outcome:
            # The causes of errors show which lines of numpy, Pillow and onnxruntime an input has reached.
            self.coverage.seen.add(_VALUES.sub("#", outcome)[:_MESSAGE_LENGTH])
        return None

    def check(self, content: bytes, patience: int = 1) -> bool:
        """Run one input, store what went wrong, and return whether nothing did."""
        failure = self.try_input(content, patience)
        if failure is not None:
            self._store(content, failure)
        return failure is None

    def _store(self, content: bytes, failure: Failure) -> None:
        """Store a finding that is not stored yet, after making its input smaller."""
        name = f"{failure.kind}-{hashlib.sha256(failure.place.encode()).hexdigest()[:12]}"
        if (self._findings / f"{name}.bin").exists():
            return
        (self._findings / f"{name}.txt").write_text(failure.text, errors="backslashreplace")
        (self._findings / f"{name}.bin").write_bytes(content)  # a smaller input may crash
        (self._findings / f"{name}.bin").write_bytes(self._minimise(content, failure))

    def _minimise(self, content: bytes, failure: Failure) -> bytes:
        """Return a smaller input that fails at the same place: parts are left out as long as it does."""
        end, tries, size = time.monotonic() + _MINIMISING_S, 0, len(content) // 2
        while size and tries < _TRIES and time.monotonic() < end:
            start = 0
            while start < len(content) and tries < _TRIES and time.monotonic() < end:
                shorter, tries = content[:start] + content[start + size :], tries + 1
                found = self.try_input(shorter)
                if found is not None and found.place == failure.place:
                    content = shorter
                else:
                    start += size
            size //= 2
        return content


def _place_of(error: Exception) -> str:
    if isinstance(error, UnexpectedError):  # the target found it in an output, so all have one place
        return str(error).splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/tests/fuzz/" not in frame.filename]
    where = (own or frames)[-1]
    return f"{type(error).__name__} {where.filename}:{where.lineno}"


def limit_memory() -> None:
    """Let this process take a gigabyte more than it has now. It can't be limited except on Linux."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def fuzz(worker: Worker, corpus: Path, rng: Random, inputs: int, seconds: float) -> dict[str, int]:
    """Run mutated inputs until their number or the time is reached, and return the figures of the run."""
    end = time.monotonic() + seconds
    corpus.mkdir(parents=True, exist_ok=True)
    known = [*worker.target.examples()]
    for content in known:
        worker.check(content, _PATIENCE)
    limit_memory()
    for file in sorted(corpus.glob("*.bin")):
        known.append(file.read_bytes())
        worker.check(known[-1])
    kept = 0
    while worker.count < inputs and time.monotonic() < end:
        content = type(worker.target).mutate(rng, rng.choice(known), rng.choice(known))
        before = len(worker.coverage.seen)
        worker.count += 1
        if worker.check(content) and len(worker.coverage.seen) > before:
            known.append(content)
            (corpus / f"{hashlib.sha256(content).hexdigest()[:24]}.bin").write_bytes(content)
            kept += 1
    return {"inputs": worker.count, "kept": kept, "reached": len(worker.coverage.seen)}


def read_current(folder: Path) -> tuple[int, bytes] | None:
    """Return the number of mutated inputs that a worker has begun, and the last input; None without one."""
    stored = (folder / "current").read_bytes() if (folder / "current").exists() else b""
    if len(stored) < _HEADER.size:
        return None
    count, length = _HEADER.unpack_from(stored)
    return count, stored[_HEADER.size :][:length]


def main() -> None:
    """Run a target, and print the figures as JSON; or run one input, and raise its error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--only", type=Path, help="run this input only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=10**9)
    parser.add_argument("--limit", type=float, default=5.0)
    given = parser.parse_args()
    worker = Worker(load_target(given.target), given.folder, given.limit)
    if given.only is None:
        figures = fuzz(worker, given.corpus, Random(given.seed), given.inputs, given.seconds)
        print(json.dumps(figures), flush=True)
        os._exit(0)  # a thread or a process of the target must not keep this process
    for example in worker.target.examples():
        worker.try_input(example, _PATIENCE)
    limit_memory()
    started = time.process_time()
    failure = worker.try_input(given.only.read_bytes())
    print(json.dumps({"cpu": time.process_time() - started}), flush=True)
    if failure is not None:
        print(failure.text, file=sys.stderr)
    os._exit(failure is not None)


if __name__ == "__main__":
    main()
