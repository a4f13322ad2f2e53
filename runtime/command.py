"""The command `sample`.

The command imports only the three packages that the runtime needs: onnxruntime, NumPy and Pillow. So a device
needs no other packages, and the command starts quickly.
"""

from __future__ import annotations

import argparse
import ast
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TextIO, get_args

import numpy as np

from .arrays import Seeds
from .contract import Distribution, Layout
from .description import DescriptionOptions, parse_description
from .display import first_line, printable, system_reason
from .errors import GanportError, OutputError, UsageError
from .interrupts import Ending
from .model_file import resolve_model
from .pretrained import DEFAULT, default_pretrained
from .progress import with_progress
from .providers import AUTO, PROVIDERS
from .request import request_seeds
from .sampler import Sampler
from .seeds import parse_seeds
from .writers import SHARDS, STDOUT, check_output, check_size, write_frames, write_images

if TYPE_CHECKING:
    from .shards import Plan

DEBUG = "--debug"  # option of all commands, which prints the traceback of an error
MOST_IMAGES = 10_000_000  # largest number of images that one call of the command generates

Default = Callable[[], tuple[Path, str]]  # returns the path of the default model, and its description
# An engine is a function that writes shards, as `shards.write_shards` does. The engine's last argument is the
# value of the option --address.
Engine = Callable[[Sampler, "Plan", str | None], Iterator[int]]

# Matches an argument that is named in a message of the library: `name` or `name=value`.
_ARGUMENT = re.compile(r"`(\w+)(?:=([^`]*))?`")


def guarded(
    run: Callable[[], int], options: Callable[[], Mapping[str, str]] = dict, *, debug: bool = False
) -> int:
    """Run a command and return its exit code. An error is printed in one red line.

    The code is 2 for wrong usage, and 1 for other errors. If a signal ended the command, the code is 128 plus
    the number of the signal: 130 for Ctrl-C, 143 for SIGTERM. Half-written files are then removed.

    Args:
        run: The command, as a function that returns the exit code.
        options: Function that returns a dict from the library's argument names to the command's options, such
            as {"value_range": "--range"}. Error messages then name the options.
        debug: Whether the traceback of an error is printed, too.

    Raises:
        SystemExit: Help was requested.
    """
    _fill_closed_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the stream can't encode is printed as an escape sequence. The stream's encoding
            # may have few characters, or a file name may not be valid text.
            stream.reconfigure(errors="backslashreplace")
    ending = Ending()
    try:
        with ending.by_signals():
            try:
                status = run()
            except Exception as error:
                # A signal may have become another error, such as an ImportError.
                status = 1 if ending.signal else _report(error, options, debug)
            return ending.status if ending.signal else status
    except KeyboardInterrupt:
        return ending.status
    except SystemExit:
        if ending.signal is None:
            raise
        return ending.status


def _report(error: Exception, options: Callable[[], Mapping[str, str]], debug: bool) -> int:
    """Print an error in one line, after its traceback if that was requested. Return the exit code."""
    if debug:
        import traceback  # not at the top, because only an error needs it

        traceback.print_exception(error)
    if isinstance(error, GanportError):
        return _fail(with_options(str(error), options()), 2 if isinstance(error, UsageError) else 1)
    if isinstance(error, OSError):
        # Some problems have no error class of ganport, such as a folder without read permission. Python's
        # own OSError is reported for them.
        return _fail(f"{error.filename or 'the system'}: {system_reason(error)}", 1)
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        return _fail("There is not enough memory; generate fewer or smaller images at a time.", 1)
    hint = "" if debug else f"; add {DEBUG} to the command to see where it was raised"
    return _fail(f"Unexpected {type(error).__name__}: {first_line(error)}{hint}", 1)


def split_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Return the arguments of a command without --debug, and whether it was among them.

    >>> split_debug(["sample", "mnist", "--debug"])
    (['sample', 'mnist'], True)
    """
    return [argument for argument in arguments if argument != DEBUG], DEBUG in arguments


def with_options(message: str, options: Mapping[str, str]) -> str:
    """Return a message of the library with its arguments written as options of a command.

    >>> options = {"opset": "--opset", "resume": "--resume", "input": "--input"}
    >>> with_options("`opset` is 12; use `resume=True`, `input='seed'` or `frames`.", options)
    '--opset is 12; use --resume, --input seed or `frames`.'
    >>> with_options("Give `psi={'psi': 0.7}` and `size=(28, 28, 1)`.", {"psi": "--psi", "size": "--size"})
    'Give --psi psi=0.7 and --size 28x28x1.'
    """

    def as_option(match: re.Match[str]) -> str:
        option, value = options.get(match[1]), match[2]
        if option is None:
            return match[0]
        return option if value in (None, "True") else f"{option} {_unquoted(value)}"

    return _ARGUMENT.sub(as_option, message)


def _unquoted(value: str) -> str:
    """Return a Python literal as the command line writes it: a text, a size, or the value of an input."""
    try:
        literal = ast.literal_eval(value)
    except (SyntaxError, ValueError):  # the value is not a Python literal, but a placeholder such as N
        return value
    if isinstance(literal, dict):
        return " ".join(f"{name}={number}" for name, number in literal.items())
    if isinstance(literal, tuple):
        return "x".join(map(str, literal))
    return str(literal)


def _fail(message: str, status: int) -> int:
    """Print an error in one red line. Lines of code that follow a blank line are printed as they are."""
    problem, _, code = message.partition("\n\n")
    line = printable(" ".join(f"error: {problem}".split()))
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[31m{line}\x1b[0m" if is_coloured else line, file=sys.stderr)
    for each in code.splitlines():
        print(printable(each), file=sys.stderr)
    return status


def sample(
    arguments: Sequence[str], default: Default, command: str, engines: Mapping[str, Engine] | None = None
) -> int:
    """Generate images as the arguments say, and return 0.

    Args:
        arguments: Arguments that follow the command on the command line.
        default: Function that returns the path and a description of the default model. It is called if the
            arguments name no model.
        command: Command without its arguments, such as "ganport sample". The help shows this text.
        engines: Dict from the names that `--engine` accepts to the engines. An engine is a function that
            writes the shards in other processes, such as on a cluster.

    Raises:
        UsageError: The arguments are malformed.
        GanportError: The model can't be opened, or the images can't be generated or written.
        SystemExit: Help was requested.
    """
    given = make_parser(command, tuple(engines or ())).parse_args(arguments)
    _check_shard_options(given)
    seeds = None if given.seeds is None else parse_seeds(given.seeds, at_most=MOST_IMAGES)
    check_output(given.out)
    model = find_model(given.model, default)
    with Sampler(
        model,
        provider=given.provider,
        threads=given.threads,
        batch_size=given.batch_size,
        repeatable=given.repeatable or _is_sharded(given.out),
        budget=given.budget,
        isolated=given.isolated,
        **parse_description({name: getattr(given, name) for name in DescriptionOptions.__annotations__}),
    ) as sampler:
        say_note(sampler)
        say_provider(sampler, given.provider)
        if seeds is None:
            seeds = np.array(sampler.contract.input.seeds or range(64), np.int64)
        request_seeds(sampler.contract, seeds, labels=given.label, truncation=given.truncation)
        check_size(given.out, len(seeds), sampler.contract.image.shape)
        started = time.perf_counter()
        count = _write(sampler, seeds, given, engines or {})
        seconds = time.perf_counter() - started
    height, width, _ = sampler.contract.image.shape
    target = f"raw video, rgb24, {width}x{height}" if given.out == STDOUT else str(given.out)
    rate = f"{seconds:.2f} s, {count / seconds:,.0f} images/s with writing"
    line = f"{target}: {count:,} images of {model} on {sampler.provider} ({rate})"
    print(line, file=sys.stderr if given.out == STDOUT else sys.stdout)
    return 0


def _is_sharded(out: Path) -> bool:
    return out.suffix.lower() == SHARDS


def _check_shard_options(given: argparse.Namespace) -> None:
    if getattr(given, "address", None) and not getattr(given, "engine", None):
        raise UsageError("--address is for a cluster; add --engine ray.")
    if _is_sharded(given.out):
        return
    for name, option in (("resume", "--resume"), ("shard_size", "--shard-size"), ("engine", "--engine")):
        if getattr(given, name, None):
            raise UsageError(f"{option} is for shards, and --out is {given.out}; use --out NAME.tar.")


def find_model(model: str | None, default: Default) -> Path:
    """Return the path of the given model. If no model is given, print the default model and return its path.

    Args:
        model: Path of a file, or the name of a pretrained generator; None if no model was given.
        default: Function that returns the path and a description of the default model.
    """
    if model is not None:
        return resolve_model(model)
    path, what = default()
    print(f"model: {path} ({what})", file=sys.stderr)
    return path


def pretrained_model() -> tuple[Path, str]:
    """Return the path and a description of the default pretrained generator."""
    return default_pretrained(), f"{DEFAULT}, pretrained"


def say_provider(sampler: Sampler, requested: str) -> None:
    """Print the provider that "auto" has chosen, and why faster providers are not used."""
    if sampler.provider != requested:
        reasons = (
            f"; not {name}: {printable(problem)}" for name, problem in sampler.model.passed_over.items()
        )
        print(f"provider: {sampler.provider} (the fastest that works{''.join(reasons)})", file=sys.stderr)


def _fill_closed_descriptors() -> None:
    """Open the null device for each closed standard stream.

    Otherwise the next file that is opened gets its number, and whatever a library prints lands in that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:  # it was closed when Python started
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 (for as long as the process runs)


def say_note(sampler: Sampler) -> None:
    """Print a doubt about a third-party generator, if there is one."""
    if sampler.model.note:
        note = with_options(sampler.model.note, sample_options())
        print(f"note: {printable(note)}", file=sys.stderr)


def _write(sampler: Sampler, seeds: Seeds, given: argparse.Namespace, engines: Mapping[str, Engine]) -> int:
    """Write the images, and return their number."""
    if _is_sharded(given.out):
        return _write_shards(sampler, seeds, given, engines)
    batches = with_progress(
        sampler.stream(seeds, labels=given.label, truncation=given.truncation), len(seeds)
    )
    if given.out == STDOUT:
        write_frames(batches, standard_output())
    else:
        write_images(batches, seeds, given.out)
    return len(seeds)


def standard_output() -> BinaryIO:
    """Return the standard output for bytes. Raises OutputError if it is closed, as by `>&-` in a shell."""
    stream: TextIO | None = sys.stdout  # None if it was closed when Python started
    if stream is None:
        raise OutputError(Path(STDOUT), "the standard output is closed", "leave it open, or name a file.")
    return stream.buffer


def _write_shards(
    sampler: Sampler, seeds: Seeds, given: argparse.Namespace, engines: Mapping[str, Engine]
) -> int:
    """Write the missing shards, and return the number of images in them."""
    from .shards import SHARD_SIZE, plan_shards, write_shards

    plan = plan_shards(
        sampler,
        seeds,
        given.out,
        labels=given.label,
        truncation=given.truncation,
        shard_size=given.shard_size or SHARD_SIZE,
        resume=given.resume,
    )
    existing = plan.existing_images
    if existing:
        print(f"{existing:,} images exist; {len(seeds) - existing:,} to generate", file=sys.stderr)
    engine = getattr(given, "engine", None)
    counts = engines[engine](sampler, plan, given.address) if engine else write_shards(sampler, plan)
    return sum(with_progress(counts, len(seeds), existing))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}. See: {self.prog} --help")


def make_parser(command: str, engines: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the command's arguments.

    Args:
        command: Command without its arguments, such as "ganport sample". The help shows this text.
        engines: Names of the engines that `--engine` accepts.
    """
    parser = _Parser(prog=command, description="Generate images: one seed, one image.", allow_abbrev=False)
    option = parser.add_argument
    option(
        "model",
        nargs="?",
        help="an .onnx or .ort file, or a pretrained generator, such as mnist (default: the newest export)",
    )
    option("--seeds", help="such as 0-63 or 0,5,9-12 (default: 0-63, or a file's fixed seeds)")
    option(
        "--provider",
        default="cpu",
        help=f"{', '.join(PROVIDERS)}, or {AUTO}; there is no fallback (default: cpu)",
    )
    option("-o", "--out", type=Path, default=Path("grid.png"), help=_OUT)
    option(
        "--label",
        help="label of all images, such as 7 or sneaker, for a generator with labels (default: by the seeds)",
    )
    option(
        "--truncation", type=_factor, default=1.0, help="below 1: nearer to the average image", metavar="0..1"
    )
    option("--threads", type=_count, help="number of CPU threads (default: all usable cores)", metavar="N")
    option(
        "--batch-size",
        type=_count,
        help="images per run (default: 256, or 64 for large images on the CPU)",
        metavar="N",
    )
    option(
        "--repeatable",
        action="store_true",
        help="generate the same bytes each time on CUDA, too (always on for shards)",
    )
    option(
        "--budget",
        type=_multiple,
        default=1.0,
        help="factor of the limits of what a file may cost; above 1 for a file that you trust (default: 1)",
        metavar="N",
    )
    option(
        "--isolated",
        action="store_true",
        help="open the model in a process of its own, with limits of memory and time",
    )
    option("--shard-size", type=_count, help="images per .tar file (default: 10,000)", metavar="N")
    option("--resume", action="store_true", help="continue with existing shards")
    if engines:
        option(
            "--engine",
            choices=engines,
            help="write shards on a cluster; every machine must see the folder of --out",
        )
        option("--address", help="address of the cluster (default: one on this machine)")
    for name, settings in DESCRIPTION_OPTIONS.items():
        option(name, **settings)
    return parser


def sample_options() -> dict[str, str]:
    """Return a dict from the library's argument names to the options of `sample`, for `guarded`."""
    actions = make_parser("sample", ("ray",))._actions
    options = {action.dest: action.option_strings[-1] for action in actions if action.option_strings}
    return {**options, "model": "MODEL"}


_OUT = (
    "a grid (.png, .webp), an array (.npz, .npy), shards (.tar), a folder of PNGs (no ending), or - for raw "
    "RGB on standard output (default: grid.png)"
)


def _count(text: str) -> int:
    return int(_checked(text, "a whole number of at least 1", text.isdecimal() and int(text) >= 1))


def _index(text: str) -> int:
    return int(_checked(text, "a whole number from 0 on", text.isdecimal()))


def _factor(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return float(_checked(text, "a number from 0 to 1", 0 <= number <= 1))


def _multiple(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return float(_checked(text, "a number above 0", 0 < number < math.inf))


def _checked(text: str, expected: str, fits: bool) -> str:
    if not fits:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return text


# Options that describe a third-party generator: dict from the option to its settings in argparse.
DESCRIPTION_OPTIONS: Mapping[str, dict[str, Any]] = {
    "--layout": {
        "choices": get_args(Layout),
        "help": "layout of a third-party model's images (default: by their shape)",
    },
    "--range": {
        "dest": "value_range",
        "help": "range of a third-party model's images: tanh is -1..1, sigmoid is 0..1, or such as 0..255 "
        "(default: by its last operations)",
        "metavar": "RANGE",
    },
    "--clip": {
        "action": "store_true",
        "help": "clip values outside of the range; otherwise they are an error",
    },
    "--image-size": {
        "help": "size of the images of a third-party model that gives rows of pixels, such as 28x28x1",
        "metavar": "HxWxC",
    },
    "--labels": {
        "help": "labels that a third-party model takes: their number, or a text file with a name per line",
        "metavar": "N|FILE",
    },
    "--labels-at": {
        "type": _index,
        "help": "index at which a label's one-hot code begins among the latents (default: behind them)",
        "metavar": "N",
    },
    "--latents": {
        "choices": get_args(Distribution),
        "help": "latents of a third-party model: uniform is -1..1, uniform01 is 0..1 (default: normal)",
    },
    "--input-value": {
        "dest": "input_values",
        "action": "append",
        "help": "constant value of an input of a third-party model, such as psi=0.7",
        "metavar": "NAME=N",
    },
    "--output-name": {"help": "output of a third-party model that holds the images", "metavar": "NAME"},
}
