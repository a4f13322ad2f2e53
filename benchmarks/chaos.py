"""Kills commands at random moments and breaks what they need, and checks what is left.

    python -m benchmarks.chaos                          # 200 kills, and each fault once for each command
    python -m benchmarks.chaos --kills 10 --only shards # one command
    python -m benchmarks.chaos --seed 7                 # other moments

Each command first runs undisturbed. Then it is killed by a signal at a random moment, or it runs with a
fault: a limit of file size, descriptors or memory, a full disk, closed streams, no home folder, a read-only
folder, or an odd name for its output. After each of these it runs again, undisturbed, as its message says.

A trial has a problem if the command prints a traceback or more than one line of error, if it does not end,
if it ends with an unexpected exit code, if files stay that a complete run does not leave, if it can't be
continued, or if the result is not byte for byte that of the undisturbed run. A killed process (SIGKILL)
can't remove its temporary file, so only the run after it must. The exit code is 1 if there is a problem. A
full disk needs root, and is left out for other users.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
CLI = (sys.executable, "-P", str(ROOT / "cli.py"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KILLS = 200
LIMIT_S = 600.0  # a command that takes longer hangs; on a busy machine TensorFlow alone takes a minute
_AGE_S = 7_200.0  # temporary files are made this old, since some commands leave those of the last hour
_RUNTIME_FILES = (
    *("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    *("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
)

Digests = Mapping[str, str]  # from the name of a file to the hash of its content


class Case(NamedTuple):
    """A command that is disturbed.

    Attributes:
        name: Name of the case.
        arguments: Arguments of the command. "{out}" stands for its output, "{inputs}" for a folder of inputs.
        out: Name of the file or folder that the command writes; empty if it only prints.
        again: Arguments that complete what a disturbed command has begun; by default the same arguments.
        is_begun: Function that returns whether a disturbed command has left something for `again`.
        digest: Function that returns the hashes of the results in a folder.
        command: Program and its first arguments.
    """

    name: str
    arguments: tuple[str, ...]
    out: str = ""
    again: tuple[str, ...] | None = None
    is_begun: Callable[[Path], bool] = lambda out: True
    digest: Callable[[Path], Digests] | None = None
    command: Sequence[str] = CLI


class Fault(NamedTuple):
    """Something that a command runs with or without.

    Attributes:
        name: Name of the fault.
        script: Shell script that runs the command, which is "$@".
        out: Function that returns another name for the output.
        is_full: Whether the command runs on a disk with little space.
        is_harmless: Whether the command must do its work all the same.
        is_silent: Whether the command can't print an error.
    """

    name: str
    script: str = 'exec "$@"'
    out: Callable[[str], str] = str
    is_full: bool = False
    is_harmless: bool = False
    is_silent: bool = False


class Ended(NamedTuple):
    """A command that has ended. Its status is negative if a signal ended it, and None if it did not end."""

    status: int | None
    output: bytes
    errors: str
    seconds: float


class Trial(NamedTuple):
    """One disturbance of a command, and the problems that followed."""

    case: str
    what: str
    problems: list[str]
    ended: Ended


def hash_files(out: Path) -> Digests:
    """Return the hash of each file that a command has written: of one file, or of all files in a folder."""
    files = sorted(path for path in out.rglob("*") if path.is_file()) if out.is_dir() else [out]
    return {file.relative_to(out).as_posix(): hash_file(file) for file in files if file.is_file()}


def hash_file(file: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def hash_shards(out: Path) -> Digests:
    """Return the hashes of the shards NAME-000000.tar, ... and of their index, for the path NAME.tar."""
    return {file.name: hash_file(file) for file in sorted(out.parent.glob(f"{out.stem}*"))}


def hash_run(out: Path) -> Digests:
    """Return the hashes of what a run's images depend on: its last checkpoint and its last preview.

    The other files hold times, or the step at which the run was stopped.
    """
    newest = [*sorted(out.glob("checkpoints/*.npz"))[-1:], *sorted(out.glob("previews/*.png"))[-1:]]
    return {file.name: hash_file(file) for file in newest}


def is_run(out: Path) -> bool:
    """Return whether a training has begun, so that it is continued and not begun again."""
    return (out / "recipe.json").exists()


_TRAIN = (
    "--set",
    "jit=off",
    "--steps",
    "100",
    "--preview-interval",
    "20",
    "--batch-size",
    "8",
    "--out={out}",
)
CASES = (
    Case("sample-png", ("sample", "mnist", "--seeds", "0-999", "--out={out}"), "grid.png"),
    Case("sample-webp", ("sample", "mnist", "--seeds", "0-99", "--out={out}"), "grid.webp"),
    Case("sample-npz", ("sample", "mnist", "--seeds", "0-1999", "--out={out}"), "images.npz"),
    Case("sample-npy", ("sample", "mnist", "--seeds", "0-1999", "--out={out}"), "images.npy"),
    Case("sample-folder", ("sample", "mnist", "--seeds", "0-299", "--out={out}"), "images"),
    Case("sample-stdout", ("sample", "mnist", "--seeds", "0-1999", "--out", "-")),
    Case(
        "shards",
        ("sample", "mnist", "--seeds", "0-4999", "--shard-size", "500", "--out={out}"),
        "digits.tar",
        ("sample", "mnist", "--seeds", "0-4999", "--shard-size", "500", "--resume", "--out={out}"),
        digest=hash_shards,
    ),
    Case("walk", ("walk", "mnist", "--seeds", "0-7", "--frames", "5", "--out={out}"), "walk.gif"),
    Case("inspect", ("inspect", "mnist", "--json")),
    Case("verify", ("verify", "mnist", "--out={out}"), "differences.png"),
    Case("evaluate", ("evaluate", "mnist", "--seeds", "0-199", "--json")),
    Case(
        "export",
        ("export", "mnist", "--input", "seed", "--out={out}"),
        "seeds.onnx",
        ("export", "mnist", "--input", "seed", "--overwrite", "--out={out}"),
    ),
    Case(
        "web",
        ("web", "mnist", "--onnxruntime-web", "{inputs}/dist", "--out={out}"),
        "site",
        ("web", "mnist", "--onnxruntime-web", "{inputs}/dist", "--overwrite", "--out={out}"),
    ),
    *(
        Case(
            f"train-{name}",
            ("train", *arguments, *_TRAIN),
            "run",
            ("train", "--resume", "--out={out}"),
            is_run,
            hash_run,
        )
        for name, arguments in (
            ("minimal", ("mnist-minimal", "--data", "{inputs}/images.npz")),
            ("digits", ("digits",)),
            ("images", ("{inputs}/photos", "--image-size", "16")),
            ("from", ("{inputs}/photos", "--image-size", "16", "--from", "{inputs}/run")),
        )
    ),
)
# Root may write everywhere, unless it gives up this right.
_READ_ONLY = """chmod 555 .
[ "$(id -u)" != 0 ] || set -- setpriv --bounding-set=-dac_override,-dac_read_search "$@"
exec "$@"
"""
FAULTS = (
    Fault("file size limit", 'ulimit -f 16; exec "$@"'),
    Fault("few descriptors", 'ulimit -n 12; exec "$@"'),
    Fault("little memory", 'ulimit -v 250000; exec "$@"'),
    Fault("closed stdin", 'exec "$@" <&-', is_harmless=True),
    Fault("closed stdout", 'exec "$@" >&-'),
    Fault("closed stderr", 'exec "$@" 2>&-', is_harmless=True, is_silent=True),
    Fault("closed streams", 'exec "$@" <&- >&- 2>&-', is_silent=True),
    Fault("full stdout", 'exec "$@" >/dev/full'),
    Fault("full stderr", 'exec "$@" 2>/dev/full', is_silent=True),
    Fault("no home", 'unset HOME XDG_CACHE_HOME; exec "$@"', is_harmless=True),
    Fault("ASCII only", 'export LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0; exec "$@"', is_harmless=True),
    Fault("full disk", is_full=True),
    Fault("read-only folder", _READ_ONLY),
    Fault("name with a space", out=lambda name: f"a {name}", is_harmless=True),
    Fault("name with a line break", out=lambda name: f"a\n{name}", is_harmless=True),
    Fault("name with a dash", out=lambda name: f"-{name}", is_harmless=True),
    Fault("name with an emoji", out=lambda name: f"\N{PILE OF POO}{name}", is_harmless=True),
    Fault("name that is not text", out=lambda name: f"\udcff{name}"),  # onnxruntime opens no such file
    Fault("name with brackets", out=lambda name: f"[red]*{name}", is_harmless=True),
)


class Chaos:
    """Runs commands with and without disturbances.

    Args:
        folder: Empty folder for everything that the commands read and write.
    """

    def __init__(self, folder: Path) -> None:
        self._inputs, self._work = folder / "inputs", folder / "work"

    def prepare(self, cases: Sequence[Case]) -> None:
        """Write the inputs of some cases: images, a run to start from, and a stand-in for onnxruntime-web."""
        (self._inputs / "photos").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(60):
            pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(self._inputs / f"photos/{number}.png")
        np.savez(self._inputs / "images.npz", images=rng.integers(0, 256, (40, 28, 28)).astype(np.uint8))
        (self._inputs / "dist").mkdir()
        for name in _RUNTIME_FILES:
            (self._inputs / "dist" / name).write_bytes(bytes(1_000_000))
        if any("{inputs}/run" in case.arguments for case in cases):
            first = next(case for case in CASES if case.name == "train-images")
            _check(self.run(first, first.arguments, out=str(self._inputs / "run")))

    def reference(self, case: Case) -> tuple[Digests, set[str], float]:
        """Run a case undisturbed. Return its results, the names of all files, and the seconds it took."""
        self._clear()
        ended = self.run(case, case.arguments)
        _check(ended)
        return self._results(case, case.out, ended), self._files(), ended.seconds

    def kill(
        self, case: Case, number: signal.Signals, after: float, expected: tuple[Digests, set[str]]
    ) -> Trial:
        """Kill a case after some seconds, and complete it."""
        self._clear()
        ended = self.run(case, case.arguments, kill=(number, after))
        problems = [*_problems_of(ended, {0, 128 + number, -number})]
        if number != signal.SIGKILL and ended.status != -number:
            problems += [
                f"left: {name}" for name in self._files() if ".part" in name or name.startswith("tmp/")
            ]
        problems += self._complete(case, case.out, *expected)
        return Trial(case.name, f"{number.name} after {after:.2f} s", problems, ended)

    def break_(self, case: Case, fault: Fault, expected: tuple[Digests, set[str]]) -> Trial | None:
        """Run a case with a fault, and complete it. Return None if the fault needs root."""
        self._clear()
        out = fault.out(case.out) if case.out else ""
        with contextlib.ExitStack() as stack:
            try:
                if fault.is_full:
                    stack.enter_context(_full_disk(self._work))
            except (OSError, subprocess.CalledProcessError):
                return None
            ended = self.run(case, case.arguments, out=out, fault=fault)
            self._work.chmod(0o755)
            problems = list(_problems_of(ended, {0} if fault.is_harmless else {0, 1}))
            if fault.is_silent:
                problems = [problem for problem in problems if problem != "no line of error"]
            problems += [
                f"left: {name}" for name in self._files() if ".part" in name or name.startswith("tmp/")
            ]
        if ended.status != 0:
            out = case.out  # a name that was rejected once is rejected again
        problems += self._complete(case, out, *expected)
        return Trial(case.name, fault.name, problems, ended)

    def _complete(self, case: Case, out: str, results: Digests, files: set[str]) -> list[str]:
        """Run the case again, as a user would after the disturbance, and return the problems."""
        for path in self._work.rglob(".*"):
            os.utime(path, (time.time() - _AGE_S,) * 2)
        again = case.again if case.again and case.is_begun(self._work / out) else case.arguments
        ended = self.run(case, again, out=out)
        if ended.status != 0:
            last = (ended.errors.strip().splitlines() or [""])[-1]
            return [f"not completed ({ended.status}): {last}"]
        problems = []
        has_names = case.digest is hash_shards and out != case.out  # the names of shards are in their hashes
        if not has_names and self._results(case, out, ended) != results:
            problems.append("other bytes")
        if out == case.out:
            extra = {
                name for name in self._files() - files if ".part" in name or not name.startswith(f"{out}/")
            }
            problems += [f"left at the end: {name}" for name in sorted(extra)]
        return problems

    def run(
        self,
        case: Case,
        arguments: Sequence[str],
        *,
        out: str | None = None,
        kill: tuple[signal.Signals, float] | None = None,
        fault: Fault | None = None,
    ) -> Ended:
        """Run a command in the work folder, perhaps with a fault, and perhaps kill it after some seconds."""
        fault, out = fault or Fault(""), case.out if out is None else out
        words = [each.replace("{out}", out).replace("{inputs}", str(self._inputs)) for each in arguments]
        command = ["sh", "-c", fault.script, "sh", *case.command, *words]
        self._work.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "TMPDIR": str(self._work / "tmp"),
            "XDG_CACHE_HOME": str(self._inputs / "cache"),
            "HOME": str(self._inputs),
            "COLUMNS": "200",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        (self._work / "tmp").mkdir(exist_ok=True)
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self._work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, errors, status = _communicate(process, kill)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        text = errors.decode("utf-8", "backslashreplace")
        return Ended(status, output, text, time.monotonic() - started)

    def _results(self, case: Case, out: str, ended: Ended) -> Digests:
        if not case.out:
            return {"stdout": hashlib.sha256(ended.output).hexdigest()[:16]}
        return (case.digest or hash_files)(self._work / out)

    def _files(self) -> set[str]:
        paths = (path for path in self._work.rglob("*") if path.is_file() or path.parent.name == "tmp")
        return {path.relative_to(self._work).as_posix() for path in paths}

    def _clear(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)


def _communicate(
    process: subprocess.Popen[bytes], kill: tuple[signal.Signals, float] | None
) -> tuple[bytes, bytes, int | None]:
    """Return what a process prints on both streams, and its exit status; None if it does not end."""
    if kill is not None:
        number, after = kill
        with contextlib.suppress(subprocess.TimeoutExpired):
            return *process.communicate(timeout=after), process.returncode
        process.send_signal(number)
    try:
        return *process.communicate(timeout=LIMIT_S), process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        return *process.communicate(), None


@contextlib.contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 64 KB on a folder, and leave what is on it there afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=100", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    kept = folder.with_name("kept")
    try:
        yield
    finally:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)
        kept.rename(folder)


def _check(ended: Ended) -> None:
    if ended.status != 0:
        raise RuntimeError(f"the undisturbed command ended with {ended.status}:\n{ended.errors}")


def _problems_of(ended: Ended, statuses: set[int]) -> Iterator[str]:
    """Yield what is wrong with the end of a command, which may have one of these exit codes."""
    if ended.status is None:
        yield "hangs"
    elif ended.status not in statuses:
        yield f"exit code {ended.status}"
    for words in (
        "Traceback",
        "Exception ignored",
        "Fatal Python error",
        "terminate called",
        "error: Unexpected",
    ):
        if words in ended.errors:
            yield words
    found = sum(line.startswith("error: ") for line in ended.errors.splitlines())
    if found > (ended.status != 0):
        yield f"{found} lines of error"
    if ended.status == 1 and not found:
        yield "no line of error"


def disturb(
    chaos: Chaos, cases: Sequence[Case], kills: int, seed: int, faults: Sequence[Fault] = FAULTS
) -> Iterator[Trial]:
    """Yield the trials of all cases: each fault once for each case, and `kills` kills in all."""
    for index, case in enumerate(cases):
        results, files, seconds = chaos.reference(case)
        rng = Random(f"{seed} {case.name}")
        for _ in range(kills // len(cases) + (index < kills % len(cases))):
            yield chaos.kill(case, rng.choice(SIGNALS), rng.uniform(0, 1.05 * seconds), (results, files))
        for fault in faults:
            trial = chaos.break_(case, fault, (results, files)) if case.out or fault.out is str else None
            if trial is not None:
                yield trial


def print_table(trials: Sequence[Trial]) -> None:
    """Print how many trials of each case had problems."""
    print(f"{'command':16}{'kills':>7}{'faults':>8}{'ended well':>12}{'problems':>10}")
    for case in dict.fromkeys(trial.case for trial in trials):
        own = [trial for trial in trials if trial.case == case]
        kills = sum(trial.what.startswith("SIG") for trial in own)
        bad = sum(bool(trial.problems) for trial in own)
        print(f"{case:16}{kills:7}{len(own) - kills:8}{len(own) - bad:12}{bad:10}")
    found = collections.Counter(problem.split(":")[0] for trial in trials for problem in trial.problems)
    print(", ".join(f"{name}: {count}" for name, count in found.most_common()) or "no problem")


def main() -> int:
    """Run the cases, print each trial and a table, and return 1 if there is a problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS, help="number of kills, of all commands together")
    parser.add_argument("--seed", type=int, default=0, help="seed of the signals and the moments")
    parser.add_argument("--only", nargs="*", default=[""], help="commands whose name begins like this")
    parser.add_argument("--no-faults", action="store_true", help="kills only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    cases = [case for case in CASES if case.name.startswith(tuple(given.only))]
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # another user must be able to read the inputs
        chaos = Chaos(Path(folder))
        chaos.prepare(cases)
        for trial in disturb(chaos, cases, given.kills, given.seed, () if given.no_faults else FAULTS):
            trials.append(trial)
            outcome = "; ".join(trial.problems) or "ended well"
            print(f"{trial.case}, {trial.what}: {outcome}", file=sys.stderr, flush=True)
    if given.json:
        print(
            json.dumps(
                [trial._replace(ended=trial.ended._replace(output=b"").errors)._asdict() for trial in trials]
            )
        )
    else:
        print_table(trials)
    return 1 if any(trial.problems for trial in trials) else 0


if __name__ == "__main__":
    sys.exit(main())
