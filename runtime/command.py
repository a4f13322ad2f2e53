"""The command `sample`: no package but the runtime's own three, so that a device needs no more, and starts at once."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from .bundled import BUNDLED, DEFAULT
from .errors import GanportError, ModelNotFoundError, UsageError, printable, system_reason
from .progress import shown
from .providers import AUTO, PROVIDERS
from .sampler import Sampler
from .seeds import parse_seeds
from .writers import SHARDS, STDOUT, check_output, check_size, write_frames, write_images

if TYPE_CHECKING:
    from .shards import Plan

MOST_IMAGES = 10_000_000  # in a call; more are several calls, on as many machines

Default = Callable[[], tuple[Path, str]]
Engine = Callable[[Sampler, "Plan", str | None], Iterator[int]]  # as `shards.write_shards`, and the --address


def guarded(run: Callable[[], int]) -> int:
    """Return the exit code of a command: 2 for wrong usage, 1 for other errors, each with one red line, 130 for Ctrl-C.

    Raises:
        SystemExit: SIGTERM came, or help was asked for; what was half-written is gone.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name need not be text, nor a terminal show all that is
            stream.reconfigure(errors="backslashreplace")
    try:
        with _terminated_cleanly():
            return run()
    except UsageError as error:
        return _fail(str(error), 2)
    except GanportError as error:
        return _fail(str(error), 1)
    except OSError as error:
        # What the library has no error of its own for: a place that may not be looked into, say.
        return _fail(f"{error.filename or 'the system'}: {system_reason(error)}", 1)
    except MemoryError:
        return _fail("This takes more memory than there is; fewer or smaller images at a time take less.", 1)
    except KeyboardInterrupt:
        return 130


@contextlib.contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """Let SIGTERM, which ends a process at once, unwind it as Ctrl-C does: files that are half-written go."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _fail(message: str, status: int) -> int:
    line = printable(" ".join(f"error: {message}".split()))
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[31m{line}\x1b[0m" if is_coloured else line, file=sys.stderr)
    return status


def sample(arguments: Sequence[str], default: Default, command: str, engines: Mapping[str, Engine] | None = None) -> int:
    """Draw images, as the arguments say; return 0.

    Args:
        arguments: of the command line, after the command.
        default: gives the model where the arguments name none, and says which that is.
        command: as it was written, for its help.
        engines: by name, what else than this process may write shards, such as a cluster.

    Raises:
        UsageError: the arguments are malformed.
        GanportError: as `Sampler` and the writers.
        SystemExit: help was asked for.
    """
    asked = make_parser(command, tuple(engines or ())).parse_args(arguments)
    out: Path = asked.out
    sharded = out.suffix.lower() == SHARDS
    if not sharded and (asked.resume or asked.shard_size):
        raise UsageError(f"--resume and --shard-size are for shards: --out NAME.tar, not {out}.")
    if not sharded and getattr(asked, "engine", None):
        raise UsageError(f"--engine is for shards: --out NAME.tar, not {out}.")
    seeds = None if asked.seeds is None else parse_seeds(asked.seeds, at_most=MOST_IMAGES)
    check_output(out)
    model = find_model(asked.model, default)
    with Sampler(
        model,
        asked.provider,
        asked.threads,
        asked.batch_size,
        repeatable=asked.repeatable or sharded,
        layout=asked.layout,
        value_range=asked.value_range,
    ) as sampler:
        say_provider(sampler, asked.provider)
        if seeds is None:
            seeds = np.array(sampler.model.input.seeds or range(64), np.int64)
        sampler.check_request(seeds, asked.truncation, asked.label)
        check_size(out, len(seeds), sampler.model.image.shape)
        started = time.perf_counter()
        if sharded:
            drawn = _write_shards(sampler, seeds, asked, engines or {})
        else:
            batches = shown(sampler.stream(seeds, asked.truncation, asked.label), len(seeds))
            if out == STDOUT:
                write_frames(batches, sys.stdout.buffer)
            else:
                write_images(batches, seeds, out)
            drawn = len(seeds)
        seconds = time.perf_counter() - started
    height, width, _ = sampler.model.image.shape
    target = f"raw video, rgb24, {width}x{height}" if out == STDOUT else str(out)
    rate = f"{drawn / seconds:,.0f} images/s, written too"
    line = f"{target}: {drawn:,} images of {model}, drawn on {sampler.provider} in {seconds:.2f} s ({rate})"
    print(line, file=sys.stderr if out == STDOUT else sys.stdout)
    return 0


def find_model(model: Path | None, default: Default) -> Path:
    """Return the model that was named, by path, or by a name in the box that no file has; or the default, and say which."""
    if model is not None:
        return model if model.is_file() else BUNDLED.get(str(model), model)
    path, which = default()
    print(f"model: {path} ({which})", file=sys.stderr)
    return path


def bundled_model() -> tuple[Path, str]:
    """Return the model in the box that is drawn where none is named, as a `Default`."""
    if DEFAULT not in BUNDLED:  # a copy of the package without its models
        raise ModelNotFoundError(Path(DEFAULT))
    return BUNDLED[DEFAULT], f"{DEFAULT}, in the box"


def say_provider(sampler: Sampler, asked: str) -> None:
    """Say which provider draws where that was left open, and why no faster one does."""
    if sampler.provider != asked:
        reasons = "".join(f"; {name} can't: {printable(problem)}" for name, problem in sampler.passed_over.items())
        print(f"provider: {sampler.provider} (the fastest that works{reasons})", file=sys.stderr)


def _write_shards(
    sampler: Sampler, seeds: npt.NDArray[np.int64], asked: argparse.Namespace, engines: Mapping[str, Engine]
) -> int:
    """Write the shards that are missing; return how many images they hold."""
    from .shards import SHARD_SIZE, plan_shards, write_shards

    size = asked.shard_size or SHARD_SIZE
    plan = plan_shards(sampler, seeds, asked.out, asked.truncation, size, asked.resume, asked.label)
    if plan.there:
        print(f"{plan.there:,} images are there; {len(seeds) - plan.there:,} to draw", file=sys.stderr)
    engine = getattr(asked, "engine", None)
    counts = engines[engine](sampler, plan, asked.address) if engine else write_shards(sampler, plan)
    return sum(shown(counts, len(seeds), plan.there))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}. See: {self.prog} --help")


def make_parser(command: str, engines: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return what reads the arguments of a command, as it was written."""
    parser = _Parser(prog=command, description="Draw images: one seed, one image.", allow_abbrev=False)
    option = parser.add_argument
    option("model", nargs="?", type=Path, help="an .onnx or .ort file, or a name in the box, as mnist; else the newest export")
    option("--seeds", help="such as 0-63 (if not given) or 0,5,9-12; of a file of certain seeds those, if not given")
    option("--provider", default="cpu", help=f"{', '.join(PROVIDERS)}; or {AUTO}; cpu if not given, and there is no fallback")
    option("--out", type=Path, default=Path("grid.png"), help=_OUT)
    option("--label", help="class to draw, of a model that has some, such as 7 or sneaker; by the seeds, if not given")
    option("--truncation", type=_factor, default=1.0, help="below 1: nearer to the average image", metavar="0..1")
    option("--threads", type=_count, help="to compute with; all that there are, if not given", metavar="N")
    option(
        "--batch-size", type=_count, help="images drawn together; 256, and large ones on the CPU 64, if not given", metavar="N"
    )
    option("--repeatable", action="store_true", help="the same bytes each time on CUDA too; shards always")
    option("--shard-size", type=_count, help="images per .tar file; 10,000 if not given", metavar="N")
    option("--resume", action="store_true", help="go on with shards that are there")
    if engines:
        option("--engine", choices=engines, help="draw shards on a cluster; every machine is to see the folder of --out")
        option("--address", help="of the cluster; one on this machine, if not given")
    option("--layout", choices=("NHWC", "NCHW"), help="of a foreign model's images; by their shape, if not given")
    option("--range", dest="value_range", choices=("tanh", "sigmoid"), help=_RANGE)
    return parser


_OUT = "grid (.png, .webp), array (.npz, .npy), shards (.tar), folder of PNGs; - for raw RGB on stdout; grid.png if not given"
_RANGE = "of a foreign model's images: -1..1 or 0..1; by its last activation, if not given"


def _count(text: str) -> int:
    return int(_within(text, "a whole number of at least 1", text.isdecimal() and int(text) >= 1))


def _factor(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return float(_within(text, "a number from 0 to 1", 0 <= number <= 1))


def _within(text: str, due: str, fits: bool) -> str:
    if not fits:
        raise argparse.ArgumentTypeError(f"{text!r} is not {due}")
    return text
