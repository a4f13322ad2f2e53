"""Driver: runs a worker per target, starts it again after a crash or a hang, and collects the findings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .worker import read_current

ROOT = Path(__file__).parents[2]
INPUT_LIMIT_S = 5.0  # an input that takes longer is a hang
_PATIENCE = 4  # an input that took too long is run alone with this many times the limit, on a busy machine
KINDS = ("exception", "crash", "hang", "memory", "traceback")


class Finding(NamedTuple):
    """An input that the target does not handle.

    Attributes:
        target: Name of the target.
        kind: One of KINDS.
        path: File with the input.
        text: Traceback, or what the process printed last.
    """

    target: str
    kind: str
    path: Path
    text: str

    @property
    def command(self) -> str:
        """Command that runs the input again."""
        return f"python -m tests.fuzz --reproduce {shlex.quote(str(self.path))}"


class Result(NamedTuple):
    """What the inputs of one target have shown.

    Attributes:
        target: Name of the target.
        inputs: Number of inputs.
        kept: Number of inputs that reached new lines, and are kept for the next time.
        reached: Number of lines and messages that the inputs have reached.
        seconds: Time that the target took.
        findings: The findings.
    """

    target: str
    inputs: int
    kept: int
    reached: int
    seconds: float
    findings: list[Finding]

    def count(self, kind: str) -> int:
        """Return the number of findings of a kind."""
        return sum(finding.kind == kind for finding in self.findings)


def fuzz_target(
    target: str,
    cache: Path,
    *,
    inputs: int = 10**9,
    seconds: float = 60.0,
    seed: int = 0,
    limit: float = INPUT_LIMIT_S,
) -> Result:
    """Run mutated inputs on a target, in processes of its own.

    Args:
        target: Name in `target.TARGETS`, or "module:class".
        cache: Folder of the corpora and the findings.
        inputs: Largest number of inputs.
        seconds: Time limit for all inputs.
        seed: Seed of the mutations. The same seed and corpus give the same inputs.
        limit: Seconds that one input may take.
    """
    folder = cache / target.rpartition(":")[2]
    findings = folder / "findings"
    shutil.rmtree(findings, ignore_errors=True)
    findings.mkdir(parents=True)
    (folder / "target").write_text(target)
    started, done, kept, reached = time.monotonic(), 0, 0, 0
    while done < inputs and time.monotonic() - started < seconds:
        left = seconds - (time.monotonic() - started)
        # A worker that is started again makes other mutations than before.
        options = {"seed": seed + 1_000_003 * done, "inputs": inputs - done, "seconds": left, "limit": limit}
        status, output, errors = _run_worker(target, folder, options)
        _store_tracebacks(findings, errors)
        if status == 0:
            figures = json.loads(output)
            done, kept, reached = done + figures["inputs"], kept + figures["kept"], figures["reached"]
            continue
        current = read_current(folder)
        if current is None:
            raise RuntimeError(f"the worker of {target} does not start:\n{errors}")
        count, content = current
        done += count
        _store_death(target, folder, content, status, errors, limit)
        if not count:  # a real input, or one of an earlier run, ends the process each time
            break
    elapsed = time.monotonic() - started
    return Result(target, done, kept, reached, elapsed, list(_read_findings(target, findings)))


def _run_worker(target: str, folder: Path, options: dict[str, object]) -> tuple[int, str, str]:
    """Run a worker, and return its exit status, and what it printed on both streams."""
    (folder / "current").unlink(missing_ok=True)
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.fuzz.worker", target, str(folder)]
    return _communicate([*command, "--corpus", str(folder / "corpus"), *words])


def _communicate(command: list[str]) -> tuple[int, str, str]:
    # The worker leads a process group of its own, so that what it has started can be ended with it.
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "COLUMNS": "200"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        start_new_session=True,
    )
    try:
        output, errors = process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, output, errors


def _store_death(target: str, folder: Path, content: bytes, status: int, errors: str, limit: float) -> None:
    """Store the input on which a worker ended, unless it ends well when it is run alone."""
    trace = (folder / "trace").read_text(errors="backslashreplace")
    kind = "hang" if trace.startswith("Timeout") else "crash"
    if "bad_alloc" in errors or "MemoryError" in errors:
        kind = "memory"
    place = "".join(re.findall(r'File "[^"]*", line \d+', trace)[:3]) or str(status)
    name = f"{kind}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    path = folder / "findings" / f"{name}.bin"
    path.write_bytes(content)
    if kind == "hang" and not _is_slow_alone(target, folder, path, limit):
        path.unlink()
        return
    path.with_suffix(".txt").write_text(f"exit status {status}\n{trace}{errors[-4000:]}")


def _is_slow_alone(target: str, folder: Path, path: Path, limit: float) -> bool:
    _, output, _ = run_input(target, folder, path, limit)
    return not output or json.loads(output)["cpu"] > limit


def run_input(target: str, folder: Path, path: Path, limit: float = INPUT_LIMIT_S) -> tuple[int, str, str]:
    """Run one input again, and return the exit status of its process, and what it printed on both streams."""
    command = [sys.executable, "-m", "tests.fuzz.worker", target, str(folder / "alone"), "--only", str(path)]
    return _communicate([*command, "--limit", str(_PATIENCE * limit)])


def _store_tracebacks(findings: Path, errors: str) -> None:
    """Store what threads and destructors printed, since their errors reach no caller."""
    if "Traceback" in errors or "Exception ignored" in errors:
        (findings / "traceback-stderr.bin").write_bytes(b"")
        (findings / "traceback-stderr.txt").write_text(errors[-10_000:])


def _read_findings(target: str, folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.glob("*.bin")):
        yield Finding(target, path.name.partition("-")[0], path, path.with_suffix(".txt").read_text())
