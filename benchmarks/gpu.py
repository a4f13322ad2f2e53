"""Training and sampling speed on one GPU, as Markdown tables like those of the documentation.

    python -m benchmarks.gpu                                   # both parts, in at most 10 minutes
    python -m benchmarks.gpu --only training
    python -m benchmarks.gpu --only export --files FOLDER
    python -m benchmarks.gpu --only sampling --files FOLDER
    python -m benchmarks.gpu --device cpu --minutes 1          # a trial without a GPU

    training  images/s of ganport's loop in float32 and bfloat16, with and without XLA; images/s of equal
              loops in PyTorch, if PyTorch is installed
    export    writes the files that the part `sampling` measures; it needs TensorFlow, but no GPU
    sampling  images/s of Sampler on each provider that works; the images of each provider, compared with
              those of the CPU

TensorFlow 2.21 uses CUDA 12, and onnxruntime-gpu from 1.27 on uses CUDA 13. So each part runs in processes of
its own, and it may run in a Python environment of its own. In an environment without TensorFlow, the part
`sampling` needs files that the part `export` has written elsewhere. Weights and training images are random,
because the speed does not depend on them.

The time that `--minutes` allows is divided among the measurements. Measurements that do not fit into this
time are listed as not measured. The exit code is 1 if there is no GPU, if a part fails, or if the images of a
provider differ too much from those of the CPU. The tables are printed on stdout, the progress on stderr.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import multiprocessing
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from ganport.runtime.display import first_line
from ganport.runtime.errors import GanportError, MissingPackageError
from ganport.runtime.providers import ProviderName

if TYPE_CHECKING:
    from ganport.runtime import Sampler
    from ganport.trainer.recipe import Recipe

Device = Literal["gpu", "cpu"]
Part = Literal["training", "export", "sampling"]
TrainingPrecision = Literal["float32", "bfloat16"]
FilePrecision = Literal["float32", "float16-arithmetic"]
Engine = Literal["XLA", "graph", "PyTorch", "torch.compile"]
Pixels = npt.NDArray[np.uint8]
Steps = Callable[[int], object]  # a training loop, which makes the given number of steps

REPEATS = 5
LONGEST_TURN, SHORTEST_TURN = 2.0, 0.05  # limits for the seconds of one loop in one repeat
CALL_SECONDS = 0.25  # a call of a training loop makes at most as many steps as take this time
IMAGES = 2_048  # number of training images

TRAINING_SHARE = 0.6  # share of the time that the part `training` has, if `sampling` follows
# Shares of the time of a process and of a training case. After them, no more work is begun. A compilation
# that was begun can't be interrupted, so it needs the rest of the time.
PLANNED_SHARE, BUILDING_SHARE = 0.85, 0.7
LEAST_SECONDS = 30.0  # time after which the process of a provider is ended, if less time is left for it

BATCHES = (1, 64, 256)
# Number of images that are compared with those of the CPU, a multiple of all batch sizes; and the largest
# number of calls with one batch size in this comparison.
COMPARED, MOST_CALLS = 256, 8
# The recipes whose generators are sampled, and the shapes of their images.
GENERATORS = {"mnist-dense": (28, 28, 1), "rps-dcgan": (100, 100, 3)}
CPU_PROVIDERS = ("cpu", "openvino")  # providers that compute on the CPU


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between images of one provider and images of the CPU.

    Attributes:
        largest: Largest difference of a value, in levels of 0 to 255.
        share: Share of the values that differ.
        mean: Mean difference of all values, in levels.
    """

    largest: int
    share: float
    mean: float


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """An exported file that the part `sampling` measures: a generator in one precision."""

    generator: str
    precision: FilePrecision

    @property
    def stem(self) -> str:
        """Name of the file without its ending."""
        return f"{self.generator}-{self.precision}"

    def path(self, folder: Path) -> Path:
        """Return the path of the file in a folder."""
        return folder / f"{self.stem}.onnx"


FILES = tuple(ModelFile(name, precision) for name in GENERATORS for precision in get_args(FilePrecision))

# The bounds of `ganport verify` (runtime/golden.py), which docs/sampling.md describes.
BOUNDS: Mapping[FilePrecision, Difference] = {
    "float32": Difference(largest=1, share=0.01, mean=0.01),
    "float16-arithmetic": Difference(largest=24, share=1.0, mean=0.25),
}


# Messages: what a process sends to the process that started it.


@dataclasses.dataclass(frozen=True)
class Cell:
    """The position of a measurement in its table: the first cells of its row, and its column."""

    row: tuple[str, ...]
    column: str


@dataclasses.dataclass(frozen=True)
class Planned:
    """A measurement that will be made if the time suffices."""

    cell: Cell


@dataclasses.dataclass(frozen=True)
class Rate:
    """The speed in images/s that one repeat measured."""

    cell: Cell
    value: float


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A measurement that failed, and the reason."""

    cell: Cell
    reason: str


@dataclasses.dataclass(frozen=True)
class Available:
    """A provider that works."""

    provider: ProviderName


@dataclasses.dataclass(frozen=True)
class Compared:
    """The difference between the images that a provider and the CPU generate with one file."""

    provider: ProviderName
    file: ModelFile
    difference: Difference


@dataclasses.dataclass(frozen=True)
class Note:
    """A fact about the machine, for the list above the tables."""

    text: str


@dataclasses.dataclass(frozen=True)
class Progress:
    """A line for stderr."""

    text: str


@dataclasses.dataclass(frozen=True)
class Failure:
    """A reason for the exit code 1."""

    text: str


class NoGpuError(RuntimeError):
    """There is no GPU that a part can use."""


Message = Planned | Rate | Skipped | Available | Compared | Note | Progress | Failure
Work = Callable[..., Iterator[Message]]


# Processes


def collect(work: Work, *arguments: object, seconds: float | None = None) -> list[Message]:
    """Run a generator function in a new process, and return its messages.

    Args:
        work: Generator function of this module.
        arguments: Arguments of the function.
        seconds: Time after which the process is ended; None for no limit.

    Raises:
        NoGpuError: The function raised this error.
    """
    messages: list[Message] = []
    for message in receive(work, arguments, seconds):
        if isinstance(message, Progress):
            print(message.text, file=sys.stderr, flush=True)
        else:
            messages.append(message)
    return messages


def receive(work: Work, arguments: tuple[object, ...], seconds: float | None) -> Iterator[Message]:
    """Yield the messages of a generator function that runs in a new process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_messages, args=(sender, work, arguments))
    process.start()
    sender.close()  # only the new process holds the sender now, so the pipe ends with that process
    end = None if seconds is None else time.monotonic() + seconds
    try:
        while receiver.poll(time_left(end)):
            try:
                message = receiver.recv()
            except EOFError:
                break
            if isinstance(message, NoGpuError):
                raise message
            yield message
        else:
            yield Progress(f"{work.__name__}: the time limit of {seconds:.0f} s ended the process")
            return
        process.join()
        if process.exitcode:
            yield Failure(f"{work.__name__} ended with exit code {process.exitcode}; its output is above")
    finally:
        process.terminate()
        process.join()


def time_left(end: float | None) -> float | None:
    """Return the seconds until `end`, at least 0; None if there is no end."""
    return None if end is None else max(0.0, end - time.monotonic())


def send_messages(sender: Connection, work: Work, arguments: tuple[object, ...]) -> None:
    """Send all messages of a generator function. An error that the user can mend is sent, too."""
    try:
        for message in work(*arguments):
            sender.send(message)
    except NoGpuError as error:
        sender.send(error)
    except GanportError as error:
        sender.send(Failure(f"{work.__name__} failed: {error}"))


# Timing


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop to measure: a function, the images that a call of it makes, and the cell of the result."""

    cell: Cell
    call: Callable[[], object]
    images: int


def images_per_second(loop: Loop, seconds: float) -> float:
    """Return the speed of a loop in images/s, over one call and at least `seconds` seconds."""
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not calls:
        loop.call()
        calls += 1
    return loop.images * calls / elapsed


def measure_in_turns(loops: Sequence[Loop], end: float) -> Iterator[Rate]:
    """Yield the speed of each loop, REPEATS times in turns. Only the first repeat may go on after `end`."""
    turn = (end - time.monotonic()) / (REPEATS * max(1, len(loops)))
    seconds = min(LONGEST_TURN, max(SHORTEST_TURN, turn))
    for repeat in range(REPEATS):
        for loop in loops:
            if repeat and time.monotonic() >= end:
                return
            yield Rate(loop.cell, images_per_second(loop, seconds))


def end_of_share(end: float, share: float) -> float:
    """Return the time at which a share of the time from now to `end` is over."""
    now = time.monotonic()
    return now + share * (end - now)


# Training


@dataclasses.dataclass(frozen=True)
class Case:
    """A recipe with a batch size and an image shape. `label` describes them in the tables.

    The recipe has its published settings if it follows a published description, else its own.
    """

    recipe: str
    batch_size: int
    image_shape: tuple[int, int, int]
    label: str


CASES = (
    Case("mnist-dense", 128, (28, 28, 1), "`mnist-dense`"),
    Case("fashion-dense", 256, (28, 28, 1), "`fashion-dense`"),
    Case("rps-dcgan", 128, (28, 28, 1), "`rps-dcgan`, 28x28 grey"),
    Case("rps-dcgan", 32, (100, 100, 3), "`rps-dcgan`, 100x100 colour"),
    Case("digits", 64, (28, 28, 1), "`digits`"),
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """A case in one precision, with one engine."""

    case: Case
    precision: TrainingPrecision
    engine: Engine

    @property
    def cell(self) -> Cell:
        """Position of the speed in the table."""
        return Cell((self.case.label, str(self.case.batch_size), self.precision), self.engine)


def measure_training(device: Device, seconds: float) -> Iterator[Message]:
    """Yield the speeds of all training loops, and facts about the libraries."""
    end = time.monotonic() + seconds
    choose_training_device(device)
    yield from describe_tensorflow(device)
    engines, note = find_torch_engines(device)
    yield note
    plans = {case: plan_variants(case, engines) for case in CASES}
    yield from (Planned(variant.cell) for variants in plans.values() for variant in variants)
    for index, variants in enumerate(plans.values()):
        yield from measure_case(variants, device, end_of_share(end, 1 / (len(plans) - index)))


def choose_training_device(device: Device) -> None:
    """Make TensorFlow use the device. Raises NoGpuError if it is a GPU, and TensorFlow finds none."""
    from ganport.trainer.devices import choose_devices, load_tensorflow
    from ganport.trainer.errors import DeviceError

    load_tensorflow()
    try:
        choose_devices(device)
    except DeviceError as error:
        raise NoGpuError(f"{error.problem}; it needs 'ganport[train-gpu]' and an NVIDIA driver") from error


def describe_tensorflow(device: Device) -> Iterator[Note]:
    import keras
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    built = "built for the CPU only"
    if build.get("is_cuda_build"):
        built = f"built for CUDA {build.get('cuda_version')} and cuDNN {build.get('cudnn_version')}"
    yield Note(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Note(f"TensorFlow {tf.__version__}, {built}; Keras {keras.__version__}")
    for gpu in tf.config.get_visible_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, details.get("compute_capability", ("unknown",))))
        yield Note(f"TensorFlow uses {details.get('device_name', gpu.name)}, compute capability {capability}")
    if device == "gpu":
        yield Note("float32 products are computed in TF32, by TensorFlow and by PyTorch, if the GPU has TF32")


def find_torch_engines(device: Device) -> tuple[tuple[Engine, ...], Note]:
    """Return the engines of PyTorch that are measured, and a note about PyTorch."""
    from benchmarks import torch_loops

    if not torch_loops.AVAILABLE:
        return (), Note("PyTorch is not installed, so it is not measured")
    import torch

    if device == "cpu":
        return ("PyTorch", "torch.compile"), Note(f"PyTorch {torch.__version__}, on the CPU")
    if not torch.cuda.is_available():
        return (), Note(f"PyTorch {torch.__version__} finds no GPU, so it is not measured")
    # By default PyTorch multiplies matrices without TF32, and TensorFlow with it.
    torch.set_float32_matmul_precision("high")
    return ("PyTorch", "torch.compile"), Note(
        f"PyTorch {torch.__version__}, built for CUDA {torch.version.cuda}, on {torch.cuda.get_device_name()}"
    )


def plan_variants(case: Case, torch_engines: Sequence[Engine]) -> list[Variant]:
    """Return the variants of a case in the order in which they are compiled, the slowest to compile last."""
    precisions: tuple[TrainingPrecision, ...] = get_args(TrainingPrecision)
    own_engines: tuple[Engine, ...] = ("XLA", "graph")
    ours = [Variant(case, precision, engine) for precision in precisions for engine in own_engines]
    if case.recipe == "digits":  # torch_loops has no labels and no R1 penalty
        return ours
    return ours + [Variant(case, precision, engine) for engine in torch_engines for precision in precisions]


def measure_case(variants: Sequence[Variant], device: Device, end: float) -> Iterator[Message]:
    """Compile the variants of one case while there is time, then yield their speeds, measured in turns."""
    import tensorflow as tf

    recipe = training_recipe(variants[0].case)
    shape = (IMAGES, *recipe.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    build_end, loops = end_of_share(end, BUILDING_SHARE), []
    for variant in variants:
        if time.monotonic() >= build_end:
            break
        yield Progress(f"{', '.join(variant.cell.row)}, {variant.engine}")
        try:
            loops.append(start_loop(variant, build_loop(variant, recipe, images, device)))
        except (RuntimeError, tf.errors.OpError) as error:  # the base classes of PyTorch's and XLA's errors
            yield Skipped(variant.cell, first_line(error))
    yield from measure_in_turns(loops, end)


def training_recipe(case: Case) -> Recipe:
    from benchmarks.training import case_recipe
    from ganport.trainer.recipes import has_published_settings, load_recipe

    if has_published_settings(case.recipe):
        return case_recipe(case.recipe, case.batch_size, case.image_shape)
    recipe = load_recipe(case.recipe)
    return dataclasses.replace(recipe, batch_size=case.batch_size, image_shape=case.image_shape)


def build_loop(variant: Variant, recipe: Recipe, images: Pixels, device: Device) -> Steps:
    """Return the training loop of a variant. Its calls end when the device has finished the steps."""
    from benchmarks import torch_loops
    from benchmarks.training import our_loop

    is_mixed = variant.precision == "bfloat16"
    if variant.engine in ("XLA", "graph"):
        uses_xla = variant.engine == "XLA"
        return our_loop(dataclasses.replace(recipe, mixed_precision=is_mixed, jit=uses_xla), images)
    return torch_loops.build(
        recipe,
        images,
        compiled=variant.engine == "torch.compile",
        device="cuda" if device == "gpu" else "cpu",
        mixed_precision=is_mixed,
    )


def start_loop(variant: Variant, run: Steps) -> Loop:
    """Compile a training loop, and return it with a number of steps per call like that of a training run."""
    from ganport.trainer.step import CHUNK_STEPS

    run(1)  # compiles
    started = time.perf_counter()
    run(1)
    fitting = int(CALL_SECONDS / (time.perf_counter() - started))
    steps = min(CHUNK_STEPS, max(1, fitting))
    run(steps)
    return Loop(variant.cell, functools.partial(run, steps), steps * variant.case.batch_size)


# Export


def export_files(folder: Path) -> Iterator[Message]:
    """Write the files that are missing in a folder. TensorFlow runs on the CPU."""
    from ganport.trainer.devices import choose_devices, load_tensorflow

    try:
        load_tensorflow("the export", "export")
    except MissingPackageError as error:
        command = "python -m benchmarks.gpu --only export --files FOLDER"
        yield Failure(f"{error}; or run in an environment that has TensorFlow: {command}")
        return
    choose_devices("cpu")
    import keras

    from benchmarks.third_party_generators import shake
    from ganport.export import Options as ExportOptions
    from ganport.export import export_generator
    from ganport.export.sources import Source
    from ganport.trainer.recipes import load_recipe

    for file in FILES:
        if file.path(folder).exists():
            continue
        yield Progress(f"exporting {file.stem}")
        keras.utils.set_random_seed(0)  # both files of a generator have the same weights
        recipe = load_recipe(file.generator)
        assert recipe.build_generator is not None  # bundled recipes have networks
        generator = shake(recipe.build_generator(recipe.latent_dim, GENERATORS[file.generator]))
        source = Source(name=file.generator, generator=generator)
        export_generator(source, file.path(folder), ExportOptions(precision=file.precision))


# Sampling


def find_providers(device: Device) -> Iterator[Message]:
    """Yield the providers that are measured, and notes about the libraries and about all other providers."""
    from ganport.runtime.doctor import examine

    providers = []
    findings = {finding.name: finding for finding in examine()}
    for name in ("python", "cores", "numpy", "onnxruntime", "cuda"):
        if name in findings:
            yield Note(f"{name}: {findings[name].detail}")
    for provider in get_args(ProviderName):
        finding = findings.get(f"provider {provider}")
        if finding is None or finding.state != "works":
            reason = "onnxruntime is not installed" if finding is None else finding.detail
            yield Note(f"provider `{provider}` is not available: {reason}")
        elif device == "gpu" or provider in CPU_PROVIDERS:
            providers.append(provider)
            yield Available(provider)
    if device == "gpu" and not set(providers) - set(CPU_PROVIDERS):
        raise NoGpuError("no provider of onnxruntime for a GPU works; `ganport doctor` says why")
    if not providers:
        yield Failure("no provider of onnxruntime works; `ganport doctor` says why")


def write_references(folder: Path, references: Path) -> Iterator[Message]:
    """Write the images that the CPU generates with each file. The other providers are compared with them."""
    from ganport.runtime import Sampler

    for file in FILES:
        yield Progress(f"generating the images of the CPU: {file.stem}")
        with Sampler(file.path(folder)) as sampler:
            np.save(references / f"{file.stem}.npy", sampler.sample(range(COMPARED)))


def measure_provider(
    provider: ProviderName, folder: Path, references: Path, seconds: float
) -> Iterator[Message]:
    """Yield the differences from the CPU and the speeds of one provider, file by file."""
    end = time.monotonic() + seconds
    yield from (Planned(sampling_cell(provider, file, batch)) for file in FILES for batch in BATCHES)
    for index, file in enumerate(FILES):
        yield Progress(f"{provider}: {file.stem}")
        expected = np.load(references / f"{file.stem}.npy")
        file_end = end_of_share(end, 1 / (len(FILES) - index))
        try:
            yield from measure_file(provider, file, folder, expected, file_end)
        except GanportError as error:
            for batch in BATCHES:
                yield Skipped(sampling_cell(provider, file, batch), first_line(error))


def measure_file(
    provider: ProviderName, file: ModelFile, folder: Path, expected: Pixels, end: float
) -> Iterator[Message]:
    """Yield the difference from the CPU and the speeds of one provider with one file.

    Args:
        provider: The provider.
        file: The file.
        folder: Folder of the file.
        expected: Images of the seeds from 0 on that the CPU generated, uint8 (n, height, width, channels).
        end: Time after which no repeat is begun.

    Raises:
        GanportError: The provider can't open or run the file.
    """
    from ganport.runtime import Sampler

    with Sampler(file.path(folder), provider=provider) as sampler:
        yield Compared(provider, file, compare_by_batches(sampler, expected))
        loops = []
        for batch in BATCHES:
            call = functools.partial(sampler.sample, np.arange(batch))
            loops.append(Loop(sampling_cell(provider, file, batch), call, batch))
        yield from measure_in_turns(loops, end)


def sampling_cell(provider: ProviderName, file: ModelFile, batch: int) -> Cell:
    """Return the position in the table of the speed with a batch size."""
    return Cell((f"`{provider}`", file.precision), f"{generator_label(file.generator)} {batch}")


def generator_label(generator: str) -> str:
    return "`rps-dcgan` 100x100," if generator == "rps-dcgan" else f"`{generator}`"


def compare_by_batches(sampler: Sampler, expected: Pixels) -> Difference:
    """Return the largest differences, over all batch sizes, of a sampler's images from those of the CPU.

    Args:
        sampler: The sampler.
        expected: Images of the seeds from 0 on that the CPU generated, uint8 (n, height, width, channels).
    """
    differences = []
    for batch in BATCHES:
        count = min(len(expected), MOST_CALLS * batch)
        parts = [sampler.sample(range(start, start + batch)) for start in range(0, count, batch)]
        differences.append(dataclasses.astuple(compare_images(np.concatenate(parts), expected[:count])))
    return Difference(*map(max, zip(*differences, strict=True)))


def compare_images(images: Pixels, expected: Pixels) -> Difference:
    """Return the difference between two arrays of images, both uint8 (n, height, width, channels).

    Raises:
        ValueError: The shapes differ.
    """
    if images.shape != expected.shape:
        raise ValueError(f"`images` has shape {images.shape}; it must be {expected.shape}, as `expected`.")
    levels = np.abs(images.astype(np.int16) - expected)
    return Difference(int(levels.max()), float((levels > 0).mean()), float(levels.mean()))


def exceeds_bounds(difference: Difference, precision: FilePrecision) -> bool:
    """Return whether a difference is larger than rounding explains."""
    measured, bounds = dataclasses.astuple(difference), dataclasses.astuple(BOUNDS[precision])
    return any(value > bound for value, bound in zip(measured, bounds, strict=True))


# Tables


def show_table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    names = list(heading)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def planned_cells(messages: Iterable[Message]) -> list[Cell]:
    return [message.cell for message in messages if isinstance(message, Planned)]


def rates_by_cell(messages: Iterable[Message]) -> dict[Cell, list[float]]:
    rates: dict[Cell, list[float]] = {}
    for message in messages:
        if isinstance(message, Rate):
            rates.setdefault(message.cell, []).append(message.value)
    return rates


def rate_table(heading: Sequence[str], messages: Sequence[Message]) -> str:
    """Return the table of all planned speeds. `heading` names the columns that identify a row."""
    rates, planned = rates_by_cell(messages), planned_cells(messages)
    columns = list(dict.fromkeys(cell.column for cell in planned))

    def show(cell: Cell) -> str:
        return show_rates(rates.get(cell, [])) if cell in planned else "no such loop"

    rows = dict.fromkeys(cell.row for cell in planned)
    body = ([*row, *(show(Cell(row, column)) for column in columns)] for row in rows)
    return show_table([*heading, *columns], body)


def show_rates(rates: Sequence[float]) -> str:
    """Return the median in images/s, with the smallest and the largest.

    >>> show_rates([1000.0, 900.0, 2000.0])
    '1,000 (900 to 2,000)'
    """
    if not rates:
        return "not measured"
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def show_share(share: float) -> str:
    """Return a share in percent.

    >>> show_share(0.000014), show_share(0.01)
    ('0.0014 %', '1 %')
    """
    return f"{100 * share:.3g} %"


def show_difference(difference: Difference) -> str:
    """Return a difference as a text.

    >>> show_difference(Difference(largest=1, share=0.01, mean=0.01))
    'at most 1 level, 1 % of the values, 0.01 levels on average'
    """
    largest, mean = show_levels(difference.largest), show_levels(difference.mean)
    return f"at most {largest}, {show_share(difference.share)} of the values, {mean} on average"


def show_levels(levels: float) -> str:
    return "1 level" if levels == 1 else f"{levels:.3g} levels"


def show_ratio(ours: Sequence[float], others: Sequence[float]) -> str:
    """Return how many times as fast ours is, as the median of the repeats with the smallest and the largest.

    >>> show_ratio([30.0, 20.0, 10.0], [10.0, 10.0, 10.0])
    '2.00 (1.00 to 3.00)'
    """
    # The last repeat may be incomplete, so one list may be longer.
    ratios = [mine / its for mine, its in zip(ours, others, strict=False)]
    if not ratios:
        return "not measured"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def ratio_table(messages: Sequence[Message]) -> str:
    """Return the table that compares ganport's loop with those of PyTorch; empty without PyTorch."""
    rates, planned = rates_by_cell(messages), planned_cells(messages)
    peers = [each for each in ("PyTorch", "torch.compile") if any(each == cell.column for cell in planned)]
    rows = []
    for case, precision in itertools.product(CASES, get_args(TrainingPrecision)):
        own = Variant(case, precision, own_engine(case)).cell
        if all(Cell(own.row, peer) in planned for peer in peers):
            ours = rates.get(own, [])
            ratios = (show_ratio(ours, rates.get(Cell(own.row, peer), [])) for peer in peers)
            rows.append([*own.row, show_rates(ours), *ratios])
    return show_table(["recipe", "batch", "precision", "images/s", *peers], rows) if peers else ""


def own_engine(case: Case) -> Engine:
    """Return the engine that the recipe of a case chooses."""
    from ganport.trainer.recipes import has_published_settings, load_recipe

    is_published = has_published_settings(case.recipe)
    return "XLA" if load_recipe(case.recipe, as_published=is_published).jit else "graph"


def comparison_table(messages: Sequence[Message]) -> str:
    """Return the table of the differences between the images of each provider and those of the CPU."""
    providers = [each.provider for each in messages if isinstance(each, Available)]
    differences = {
        (each.provider, each.file): each.difference for each in messages if isinstance(each, Compared)
    }
    rows = []
    for provider, file in itertools.product(providers, FILES):
        cells = show_comparison(differences.get((provider, file)), file.precision)
        rows.append([f"`{provider}`", f"`{file.generator}`", file.precision, *cells])
    heading = ["provider", "generator", "precision", "largest difference", "values that differ"]
    return show_table([*heading, "mean difference", "within the bounds"], rows)


def show_comparison(difference: Difference | None, precision: FilePrecision) -> list[str]:
    """Return the cells of the table for a difference, or for a comparison that was not made."""
    if difference is None:
        return ["not compared"] * 4
    verdict = "no" if exceeds_bounds(difference, precision) else "yes"
    return [
        show_levels(difference.largest),
        show_share(difference.share),
        show_levels(difference.mean),
        verdict,
    ]


def list_unmeasured(messages: Sequence[Message]) -> list[str]:
    """Return a line for each row of the table of speeds that is not complete, with the reason."""
    reasons = {each.cell: each.reason for each in messages if isinstance(each, Skipped)}
    rates, planned = rates_by_cell(messages), planned_cells(messages)
    columns: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for row in dict.fromkeys(cell.row for cell in planned):
        for cell in planned:
            if cell.row == row and cell not in rates:
                columns.setdefault((row, reasons.get(cell, "no time was left")), []).append(cell.column)
    return [f"{', '.join(row)}: {'; '.join(names)} ({reason})" for (row, reason), names in columns.items()]


def show_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def failures(messages: Iterable[Message]) -> list[str]:
    return [message.text for message in messages if isinstance(message, Failure)]


def comparison_failures(messages: Iterable[Message]) -> list[str]:
    """Return a line for each difference from the CPU that exceeds its bounds."""
    lines = []
    for message in messages:
        if isinstance(message, Compared) and exceeds_bounds(message.difference, message.file.precision):
            bounds = BOUNDS[message.file.precision]
            lines.append(
                f"The images of {message.provider} differ too much from those of the CPU, for "
                f"{message.file.stem}: {show_difference(message.difference)}; the bounds are "
                f"{show_difference(bounds)}."
            )
    return lines


# Report


def describe_gpus() -> list[str]:
    """Return a line about each GPU, and a line about the CUDA version of the driver."""
    if shutil.which("nvidia-smi") is None:
        return ["nvidia-smi is not installed"]
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    gpus = [f"GPU: {line} (name, driver, memory)" for line in read_output(query).splitlines()]
    version = re.search(r"CUDA[\w ]*Version\s*:\s*([\d.]+)", read_output(["nvidia-smi"]))
    return [*gpus, f"the driver supports CUDA {version[1]}"] if version else gpus


def read_output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def print_blocks(*blocks: str) -> None:
    """Print the blocks that are not empty, with empty lines between them."""
    print("\n\n".join(block for block in blocks if block), end="\n\n", flush=True)


def report_training(options: Options, seconds: float) -> list[str]:
    """Measure the training, print the report, and return the failures."""
    arguments = options.device, PLANNED_SHARE * seconds
    messages = collect(measure_training, *arguments, seconds=seconds)
    if not planned_cells(messages):
        return failures(messages)
    print_blocks(
        f"## Training speed on the {options.device.upper()}",
        show_list(describe_machine(messages)),
        f"The table has images/s: the median of up to {REPEATS} repeats, with the smallest and the largest "
        "in brackets. The loops of a recipe ran in turns.",
        rate_table(["recipe", "batch", "precision"], messages),
        show_unmeasured(messages),
    )
    if ratios := ratio_table(messages):
        explanation = (
            "The next table has the images/s of ganport's loop, with XLA if the recipe chooses it. It also "
            "shows how many times as fast this loop is as each loop of PyTorch."
        )
        print_blocks(explanation, ratios)
    return failures(messages)


def describe_machine(messages: Iterable[Message]) -> list[str]:
    return [*describe_gpus(), *(message.text for message in messages if isinstance(message, Note))]


def show_unmeasured(messages: Sequence[Message]) -> str:
    lines = list_unmeasured(messages)
    return f"Not measured:\n\n{show_list(lines)}" if lines else ""


def report_export(options: Options, seconds: float) -> list[str]:
    """Write the missing files, and return the failures."""
    return failures(collect(export_files, options.files))


def report_sampling(options: Options, seconds: float) -> list[str]:
    """Measure and compare the providers, print the report, and return the failures."""
    end = time.monotonic() + seconds
    messages = collect(find_providers, options.device)
    providers = [message.provider for message in messages if isinstance(message, Available)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.files or Path(temporary)
        if not all(file.path(folder).exists() for file in FILES):
            messages += collect(export_files, folder)
        if not failures(messages):
            messages += collect(write_references, folder, Path(temporary))
        if failures(messages):
            return failures(messages)
        for index, provider in enumerate(providers):
            share = (end - time.monotonic()) / (len(providers) - index)
            arguments = provider, folder, Path(temporary), PLANNED_SHARE * share
            messages += collect(measure_provider, *arguments, seconds=max(LEAST_SECONDS, share))
    print_sampling(messages, options.device)
    return failures(messages) + comparison_failures(messages)


def print_sampling(messages: Sequence[Message], device: Device) -> None:
    print_blocks(
        f"## Sampling speed on the {device.upper()}",
        show_list(describe_machine(messages)),
        "The table has images/s of `Sampler.sample`, from seeds to pixels, by batch size: the median of up "
        f"to {REPEATS} repeats, with the smallest and the largest in brackets.",
        rate_table(["provider", "precision"], messages),
        show_unmeasured(messages),
        "The images of each provider were compared with those of the CPU, for the same files and seeds, in "
        f"batches of {', '.join(map(str, BATCHES))}. The bounds are {show_difference(BOUNDS['float32'])} in "
        f"float32, and {show_difference(BOUNDS['float16-arithmetic'])} in float16-arithmetic.",
        comparison_table(messages),
    )


# Command line


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of the command line."""

    parts: tuple[Part, ...]
    device: Device
    minutes: float
    files: Path | None


REPORTS: Mapping[Part, Callable[[Options, float], list[str]]] = {
    "training": report_training,
    "export": report_export,
    "sampling": report_sampling,
}


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description="Measure the speed of training and sampling on one GPU.")
    parser.add_argument("--only", choices=get_args(Part), help="name of the only part to run")
    parser.add_argument("--device", choices=get_args(Device), default="gpu", help="cpu is for a trial")
    parser.add_argument("--minutes", type=float, default=10.0, help="time for all measurements together")
    parser.add_argument("--files", type=Path, help="folder of the exported files; missing files are exported")
    chosen = parser.parse_args(arguments)
    if chosen.only == "export" and chosen.files is None:
        parser.error("--only export needs --files")
    if not chosen.minutes > 0:
        parser.error(f"--minutes is {chosen.minutes}; it must be above 0")
    if chosen.files is not None:
        chosen.files.mkdir(parents=True, exist_ok=True)
    parts: tuple[Part, ...] = (chosen.only,) if chosen.only else ("training", "sampling")
    return Options(parts, chosen.device, chosen.minutes, chosen.files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, and return the exit code."""
    options = parse_options(arguments)
    end = time.monotonic() + 60 * options.minutes
    errors: list[str] = []
    without_gpu: dict[str, str] = {}
    for part in options.parts:
        share = TRAINING_SHARE if part == "training" and len(options.parts) > 1 else 1.0
        try:
            errors += REPORTS[part](options, share * (end - time.monotonic()))
        except NoGpuError as error:
            without_gpu[part] = str(error)
    if without_gpu:
        reasons = "; ".join(f"{part}: {reason}" for part, reason in without_gpu.items())
        errors.append(f"There is no GPU ({reasons}). Use --device cpu for a trial without a GPU.")
    for line in errors:
        print(f"error: {line}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
