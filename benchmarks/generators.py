"""Kinds of generators that people have: which of them work, as Markdown tables.

    python -m benchmarks.generators                     # all 543 kinds, in less than an hour on two cores
    python -m benchmarks.generators --only Labels       # the kinds of one group, or one kind by its name
    python -m benchmarks.generators --json              # one JSON document
    python -m benchmarks.generators --write docs/generators-table.md    # the tables of the docs

Each kind of generator is built with random weights and written as its users would write it. An ONNX file is
sampled as it is, and also exported and then sampled. A Keras or TensorFlow file is exported and then sampled.
The images are compared with those that the source framework generates from the same latents and labels. Every
label is requested at least once. Every image is generated alone, too, and must then have the same bytes. Of
an exported generator, a value in a thousand may differ by one level, as docs/generators.md says.

A kind is as expected if its images are right, or, for a kind that is not supported, if the error message says
why. Everything else is counted as wrong: other images, an error for a kind that should work, a message that
does not say why, a traceback, a crash, and a kind that takes longer than the time limit.

PyTorch and onnxscript are optional; a kind that needs a package that is not installed is not measured. The
first run installs TensorFlow 2.15 into an environment of its own (see `benchmarks.keras_environments`). The
exit code is 1 if a kind is not as expected. The tables are printed on stdout, and the progress on stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Reference = Callable[[npt.NDArray[np.float32], npt.NDArray[np.int64] | None], Pixels]
Step = Literal["sample", "export"]
Verdict = Literal[
    "works", "rejected", "not measured",  # as expected
    "WRONG", "REJECTED", "NOT REJECTED", "UNCLEAR", "TRACEBACK", "CRASH", "HANG", "NOT BUILT",
]  # fmt: skip

# Modules with a list KINDS, in the order of the tables.
MODULES = ("benchmarks.onnx_kinds", "benchmarks.keras_kinds")
EXPECTED: tuple[Verdict, ...] = ("works", "rejected", "not measured")
IMAGES = 64  # smallest number of images that are compared
PER_PROCESS = 12  # number of kinds that one process measures, so that their memory is released
LIMIT = 180.0  # seconds after which a kind hangs, with the time to import PyTorch or TensorFlow
LARGEST_SHARE = 0.01  # share of the values that may differ by one level, because of rounding
MOST_OFF_ALONE = 0.001  # share of the values of exported generators that may differ alone and in a batch
LEAST_VARIED = 1.0  # levels; least mean standard deviation of a pixel over the images
LONGEST_MESSAGE = 600  # characters; a longer message is a dump, and not an explanation
MOST_LINES = 6  # the same for the lines of a message, which may contain an example
BEGIN, END = "<!-- made by python -m benchmarks.generators -->", "<!-- end -->"  # lines around the tables


@dataclasses.dataclass(frozen=True)
class Built:
    """A generator that was written to a file.

    Attributes:
        path: The file or folder.
        reference: Function that generates images with the source framework, from latents, float32 (n, dim),
            and label indices, (n,), or None for a generator without labels. It returns uint8 (n, height,
            width, channels).
    """

    path: Path
    reference: Reference


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of generator.

    Attributes:
        group: Heading of the table in which the kind is listed.
        name: Name of the kind, which is unique.
        build: Function that writes the generator into a folder. It raises ModuleNotFoundError if a package is
            missing, and NotMeasuredError if something else is.
        options: Arguments of `Sampler` that describe the generator, and of `export`.
        rejected: Regular expression for the error message of a kind that is not supported; None for a kind
            that works.
        steps: What is done with the file: it is sampled as it is, or exported and then sampled.
        levels: Largest accepted difference of a value, in levels of 0 to 255. If it is 1, then LARGEST_SHARE
            limits the share of the values that differ, too.
        prepare: Function that is called before any kind is measured, such as one that installs a framework.
            It has no time limit. It is called once for all kinds that have it.
    """

    group: str
    name: str
    build: Callable[[Path], Built]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejected: str | None = None
    steps: tuple[Step, ...] = ("sample", "export")
    levels: int = 1
    prepare: Callable[[], None] | None = None


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between images and those of the source framework.

    Attributes:
        largest: Largest difference of a value, in levels of 0 to 255.
        share: Share of the values that differ.
    """

    largest: int
    share: float

    def __str__(self) -> str:
        if not self.largest:
            return "0 levels"
        share = f"{self.share:.2%}" if self.share >= 0.00005 else "under 0.01%"
        return f"{self.largest} level{'s' * (self.largest > 1)}, {share} of the values"


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one kind.

    Attributes:
        group: Group of the kind.
        name: Name of the kind.
        verdict: Whether it works or was rejected. A verdict in capitals is not as expected.
        text: The differences, or the message.
        seconds: Time that the kind took.
    """

    group: str
    name: str
    verdict: Verdict
    text: str
    seconds: float = 0.0

    @property
    def is_expected(self) -> bool:
        return self.verdict in EXPECTED


class UnexpectedError(Exception):
    """A kind is not as expected.

    Attributes:
        verdict: What happened.
    """

    def __init__(self, verdict: Verdict, text: str) -> None:
        self.verdict = verdict
        super().__init__(text)


class NotMeasuredError(Exception):
    """A kind can't be measured on this machine. The text says why."""


# Measuring one kind


def measure(kind: Kind) -> Result:
    """Build one kind, generate images with it, and return what became of it."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        try:
            verdict, text = _measure_in(folder, kind)
        except UnexpectedError as error:
            verdict, text = error.verdict, str(error)
        text = text.replace(f"{folder}/", "").replace(str(folder), "FOLDER")
    return Result(kind.group, kind.name, verdict, text, time.perf_counter() - started)


def _measure_in(folder: Path, kind: Kind) -> tuple[Verdict, str]:
    try:
        built = kind.build(folder)
    except NotMeasuredError as error:
        return "not measured", str(error)
    except Exception as error:
        if package := _missing_package(error):
            return "not measured", f"{package} is not installed"
        traceback.print_exc()
        raise UnexpectedError("NOT BUILT", _one_line(error)) from error
    if kind.rejected is not None:
        messages = [_rejection(built.path, kind, step) for step in kind.steps]
        return "rejected", messages[0]
    return "works", "; ".join(f"{_VERBS[step]}: {_compare_step(built, kind, step)}" for step in kind.steps)


def _missing_package(error: Exception) -> str | None:
    """Return the name of the package that an error reports as missing; None for another error."""
    from ganport.runtime.errors import MissingPackageError

    if isinstance(error, MissingPackageError):
        return error.package
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    return None if error.name.startswith(("benchmarks", "ganport")) else error.name


_VERBS: Mapping[Step, str] = {"sample": "as it is", "export": "exported"}


def _rejection(path: Path, kind: Kind, step: Step) -> str:
    """Return the error message of a kind that is not supported.

    Raises:
        UnexpectedError: There is no error, the message does not fit, or the error is not one of ganport's.
    """
    try:
        _run_step(path, kind, step).close()
    except UnexpectedError as error:
        if error.verdict != "REJECTED":
            raise
        message = str(error).removeprefix(f"{_VERBS[step]}: ")
        is_short = len(message) <= LONGEST_MESSAGE and len(message.splitlines()) <= MOST_LINES
        if not is_short or not re.search(kind.rejected or "", message):
            raise UnexpectedError("UNCLEAR", f"{_VERBS[step]}: {message}") from error
        return message
    raise UnexpectedError("NOT REJECTED", f"{_VERBS[step]}, no error was raised")


def _compare_step(built: Built, kind: Kind, step: Step) -> str:
    """Return the difference between images and those of the source framework, as a text.

    Raises:
        UnexpectedError: The images are wrong, or there is an error.
    """
    with _run_step(built.path, kind, step) as sampler, _naming(step):
        difference, batch = _compare(sampler, built.reference, kind.levels), sampler.contract.batch
        _compare_alone(sampler, 0.0 if step == "sample" else MOST_OFF_ALONE)
    if batch is None:
        return str(difference)
    return f"{difference}, {batch} image{'s' * (batch > 1)} at a time"


def _run_step(path: Path, kind: Kind, step: Step) -> Any:
    """Return an open Sampler of a file, or of its export.

    Raises:
        UnexpectedError: There is an error.
    """
    from ganport.runtime import Sampler

    with _naming(step):
        if step == "sample":
            return Sampler(path, **kind.options)
        from ganport.export import export

        target = path.parent / "exported" / "generator.onnx"
        target.parent.mkdir()
        export(path, target, **_export_options(kind.options))
        return Sampler(target)


@contextlib.contextmanager
def _naming(step: Step) -> Iterator[None]:
    """Turn errors into UnexpectedErrors that begin with the name of a step."""
    from ganport.runtime.errors import GanportError

    try:
        yield
    except UnexpectedError as error:
        raise UnexpectedError(error.verdict, f"{_VERBS[step]}: {error}") from error
    except GanportError as error:
        raise UnexpectedError("REJECTED", f"{_VERBS[step]}: {error}") from error
    except Exception as error:
        traceback.print_exc()
        raise UnexpectedError("TRACEBACK", f"{_VERBS[step]}: {_one_line(error)}") from error


def _export_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of `Sampler` as arguments of `export`, for which `layout` is that of the new file."""
    return {"source_layout" if name == "layout" else name: value for name, value in options.items()}


def _compare(sampler: Any, reference: Reference, levels: int) -> Difference:
    """Compare images of a Sampler with the reference.

    Raises:
        UnexpectedError: The images differ.
    """
    from ganport.runtime import sample_latents

    described = sampler.contract.input
    seeds, labels = _request(sampler)
    images = sampler.sample(seeds, labels=labels)
    latents = sample_latents(seeds, described.dim, distribution=described.distribution)
    expected = reference(latents, labels)
    difference = compare_images(images, expected)
    if difference.largest > levels or (levels == 1 and difference.share > LARGEST_SHARE):
        raise UnexpectedError("WRONG", f"{difference} differ from those of the source framework")
    if expected.std(axis=0).mean() < LEAST_VARIED:
        raise UnexpectedError(
            "NOT BUILT", "all images are nearly the same, so their comparison shows nothing"
        )
    return difference


def _request(sampler: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
    """Return seeds, and label indices that contain every label; None for a generator without labels."""
    count = len(sampler.contract.input.labels or ())
    seeds = np.arange(max(IMAGES, count))
    return seeds, (seeds + 1) % count if count else None  # the label of a seed is not its default one


def _compare_alone(sampler: Any, most: float) -> None:
    """Compare images that a Sampler generates in a batch with those that it generates alone.

    Args:
        sampler: The Sampler.
        most: Largest share of the values that may differ by one level.

    Raises:
        UnexpectedError: The images differ.
    """
    seeds, labels = _request(sampler)
    together = sampler.sample(seeds, labels=labels)[:IMAGES]
    given = [None] * IMAGES if labels is None else [int(label) for label in labels]
    alone = [sampler.sample([seed], labels=given[seed]) for seed in range(IMAGES)]
    off = compare_images(np.concatenate(alone), together)
    if off.largest > 1 or off.share > most:
        raise UnexpectedError("WRONG", f"{off} differ between images alone and in a batch")


def compare_images(images: Pixels, expected: Pixels) -> Difference:
    """Return the difference between two arrays of images, uint8 (n, height, width, channels).

    Raises:
        UnexpectedError: The arrays have different shapes or types.
    """
    for name, array in (("images", images), ("images of the source framework", expected)):
        if array.dtype != np.uint8 or array.shape != expected.shape:
            raise UnexpectedError(
                "WRONG", f"the {name} are {array.dtype} {array.shape}; expected uint8 {expected.shape}"
            )
    off = np.abs(images.astype(np.int16) - expected.astype(np.int16))
    return Difference(int(off.max()), float((off > 0).mean()))


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


# Measuring all kinds, in processes of their own


def collect_kinds(modules: Iterable[str] = MODULES) -> list[Kind]:
    """Return the kinds of all modules.

    Raises:
        ValueError: Two kinds have the same name.
    """
    kinds: list[Kind] = [kind for name in modules for kind in importlib.import_module(name).KINDS]
    names = [kind.name for kind in kinds]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"several kinds are named {', '.join(repeated)}")
    return kinds


def prepare_all(kinds: Iterable[Kind]) -> None:
    """Call the functions `prepare` of the kinds, each of them once."""
    for prepare in dict.fromkeys(kind.prepare for kind in kinds if kind.prepare is not None):
        prepare()


def measure_all(
    kinds: Sequence[Kind], modules: Sequence[str] = MODULES, *, seconds: float = LIMIT
) -> Iterator[Result]:
    """Yield the result of each kind. A process that hangs or crashes is replaced by a new one.

    Args:
        kinds: Kinds to measure.
        modules: Modules that define the kinds, for the processes.
        seconds: Time limit of each kind.
    """
    waiting = list(kinds)
    while waiting:
        for result in _measure_in_process(waiting[:PER_PROCESS], modules, seconds):
            del waiting[0]
            yield result


def _measure_in_process(kinds: Sequence[Kind], modules: Sequence[str], seconds: float) -> Iterator[Result]:
    """Yield the results of some kinds, until the process has finished, hangs or crashes."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    names = [kind.name for kind in kinds]
    process = context.Process(target=_send_results, args=(sender, tuple(modules), names), daemon=True)
    process.start()
    sender.close()  # only the new process holds the sender now, so the pipe ends with that process
    try:
        for kind in kinds:
            if not receiver.poll(seconds):
                yield Result(kind.group, kind.name, "HANG", f"no result after {seconds:g} s", seconds)
                return
            try:
                yield receiver.recv()
            except EOFError:
                process.join()
                text = f"the process ended with exit code {process.exitcode}"
                yield Result(kind.group, kind.name, "CRASH", text)
                return
        process.join(seconds)
    finally:
        process.kill()
        process.join()


def _send_results(sender: Connection, modules: Sequence[str], names: Sequence[str]) -> None:
    """Measure kinds by their names, and send the results. This is the work of a process."""
    warnings.simplefilter("ignore")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # exporters print on stdout, which is for the tables
    kinds = {kind.name: kind for kind in collect_kinds(modules)}
    for name in names:
        sender.send(measure(kinds[name]))


# Tables


def show_tables(results: Sequence[Result]) -> str:
    """Return one table for each group of kinds, and a line that counts the verdicts."""
    groups = list(dict.fromkeys(result.group for result in results))
    blocks = [_table(group, [result for result in results if result.group == group]) for group in groups]
    return "\n\n".join([*blocks, count_verdicts(results)])


def _table(group: str, results: Iterable[Result]) -> str:
    lines = [f"### {group}", "", "| kind | result |", "| --- | --- |"]
    for result in results:
        text = f"{result.verdict}: {result.text}"
        lines.append(f"| {_cell(result.name)} | {_cell(text)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def count_verdicts(results: Sequence[Result]) -> str:
    """Return a line such as "95 kinds: 80 works, 15 rejected"."""
    verdicts = [result.verdict for result in results]
    counts = [f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts)]
    return f"{len(results)} kinds: {', '.join(counts)}"


def replace_tables(page: str, tables: str, begin: str = BEGIN) -> str:
    """Return the text of a page with other tables between the lines `begin` and END.

    Raises:
        ValueError: The page lacks one of these lines.
    """
    before, found, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"The page has no line {begin!r}, or no line {END!r} after it.")
    return f"{before}{begin}\n\n{tables}\n\n{END}{after}"


def to_json(results: Sequence[Result]) -> str:
    return json.dumps({"kinds": [dataclasses.asdict(result) for result in results]}, indent=2)


def choose_kinds(kinds: Sequence[Kind], chosen: Sequence[str]) -> list[Kind]:
    """Return the kinds whose group or name was chosen; all kinds if none was.

    Raises:
        ValueError: There is no such group or kind.
    """
    if not chosen:
        return list(kinds)
    for text in chosen:
        if not any(text in (kind.group, kind.name) for kind in kinds):
            groups = ", ".join(dict.fromkeys(kind.group for kind in kinds))
            raise ValueError(f"There is no group or kind {text!r}; the groups are {groups}.")
    return [kind for kind in kinds if kind.group in chosen or kind.name in chosen]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Try each kind of generator that people have.")
    parser.add_argument("--only", action="append", default=[], metavar="GROUP", help="a group, or a kind")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the tables in a page, too")
    parser.add_argument("--seconds", type=float, default=LIMIT, help="time limit of each kind")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the kinds, print the tables, and return the exit code."""
    options = parse_arguments(arguments)
    try:
        kinds = choose_kinds(collect_kinds(), options.only)
        if options.write is not None:
            replace_tables(options.write.read_text(), "")  # a page that can't be changed is an error at once
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    prepare_all(kinds)
    results = []
    for result in measure_all(kinds, seconds=options.seconds):
        print(f"{result.seconds:5.1f} s  {result.verdict}: {result.name}", file=sys.stderr, flush=True)
        results.append(result)
    print(to_json(results) if options.json else show_tables(results))
    if options.write is not None:
        options.write.write_text(replace_tables(options.write.read_text(), show_tables(results)))
    return 0 if all(result.is_expected for result in results) else 1


if __name__ == "__main__":
    from benchmarks import generators  # one module with one class of each error, in all processes

    sys.exit(generators.main())
