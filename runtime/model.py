"""Model: an open generator with its contract, checks and sessions. On the CPU it also works after a fork."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .arrays import Pixels
from .contract import Contract
from .cores import usable_cores
from .description import Description
from .display import shortened
from .errors import (
    ClosedSamplerError,
    GanportError,
    InferenceError,
    ModelFormatError,
    ProviderError,
    UsageError,
)
from .images import to_pixels
from .model_file import ModelSource, find_model_file
from .onnx_file import Outline, read_outline
from .providers import (
    AUTO,
    ProviderChoice,
    check_provider,
    choose_provider,
    onnxruntime_errors,
    open_session,
    run_error,
    uses_graphs,
)
from .request import Inputs
from .runner import Runner, batch_of, make_runner
from .signature import read_contract

if TYPE_CHECKING:
    from .adapter import Adapter, Feed

# Default for the largest number of images in one run. A batch of this size keeps a CPU or a GPU busy.
BATCH_SIZE = 256
# Default for large images on the CPU. The activations of a network can take a thousand times the memory of
# its images, so fewer large images are run at a time.
LARGE_BATCH_SIZE = 64
_LARGE = 64 * 64 * 3  # an image is large if it has more values than this
_LARGEST_PRESERVED = 64_000_000  # bytes of a model that are kept in memory until its second session opens
# Limit for the option `threads`. onnxruntime starts all threads at once. If that fails, the process ends.
_MOST_THREADS = 1_024
_LARGEST_BATCH = 2**24  # limit for the option `batch_size`, above any batch that fits into memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options for opening a model. `Sampler` describes each option.

    Raises:
        UsageError: An option has an invalid value.
        UnknownProviderError: There is no such provider.
    """

    provider: ProviderChoice = "cpu"
    threads: int | None = None
    batch_size: int | None = None
    repeatable: bool = False
    budget: float = 1.0
    description: Description = dataclasses.field(default_factory=Description)

    def __post_init__(self) -> None:
        _check_count("threads", self.threads, _MOST_THREADS)
        _check_count("batch_size", self.batch_size, _LARGEST_BATCH)
        check_provider(self.provider, AUTO)
        is_number = isinstance(self.budget, (int, float)) and math.isfinite(self.budget)
        if not is_number or self.budget <= 0:
            raise UsageError(f"`budget` is {shortened(self.budget)}; it must be a number above 0.")


class Model:
    """An open generator.

    Many threads may share a Model. The file is read when the Model is created. It is read again by `opener`,
    `with_threads` and `fingerprint`, in a forked process, and when a pickled Model is loaded.

    Attributes:
        contract: Contract in the file, or the contract that was derived from a third-party file's graph.
        source: Path of the file as the caller gave it, or the bytes.
        provider: Provider that runs the model.
        passed_over: Reasons why "auto" did not choose faster providers: a dict from provider to reason.
        threads: Number of CPU threads.
        batch_size: Largest number of images in one run.
        note: A doubt about a third-party generator that the user should know of; empty if there is none.
    """

    def __init__(self, model: ModelSource, options: ModelOptions) -> None:
        self._options, self._file = options, find_model_file(model)
        self.source = self._file.source
        self.provider: ProviderChoice = options.provider
        self.passed_over: dict[str, str] = {}
        self.threads = options.threads or usable_cores()
        outline = read_outline(self.source, budget=options.budget)
        # Weights may lie beside a link to the model's file, and onnxruntime looks for them beside its path.
        self._location = self._file.location if outline.path is None else outline.path.absolute()
        session = self._open_fastest() if options.provider == AUTO else self._open(self.threads)
        self._adapter: Adapter | None = None
        self.note = ""
        # onnxruntime computes a ConvTranspose on one core. Parallel chunks of a batch use the other cores.
        has_serial_work = any(node.kind == "ConvTranspose" for node in outline.nodes)
        self._is_large = bool(outline.weight_files) or self._file.size > _LARGEST_PRESERVED
        self._splits_batches = has_serial_work and self.provider == "cpu" and self.threads > 1
        contract = self._read_contract(session)
        if contract is None:
            session, contract = self._describe(session, outline)
        self.contract = contract
        self.batch_size = self._choose_batch_size()
        self._lock, self._process = threading.Lock(), os.getpid()
        self._runner: Runner | None = self._make_runner(session)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._constructor(), (self._file.location, self._options)

    def _constructor(self) -> Callable[..., Model]:
        """Return the function that opens a model of this kind, from its source and its options."""
        return Model

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """How each input of a third-party graph is filled; empty for a file that ganport wrote."""
        return () if self._adapter is None else self._adapter.feeds

    def opener(self, *, threads: int) -> Callable[[], Model]:
        """Return a function that opens the same model in another process.

        The function holds the bytes of the model, and can be pickled.

        Args:
            threads: Number of CPU threads in the other process.
        """
        chosen = dataclasses.replace(self._options, provider=self.provider, threads=threads)
        return functools.partial(self._constructor(), self._file.read(), chosen)

    def with_threads(self, threads: int) -> Model:
        """Return the same model, opened again with another number of CPU threads.

        Raises:
            ModelError: The file has changed since it was opened, or it does not exist any more.
        """
        self._file.check_unchanged()
        chosen = dataclasses.replace(self._options, provider=self.provider, threads=threads)
        return self._constructor()(self._file.location, chosen)

    def fingerprint(self) -> str:
        """Return a hash in hex of all that decides the images of a seed. Raises ModelError.

        It is the sha256 of the model's file; see `ModelFile.fingerprint`. If the user describes a third-party
        generator, then it is the sha256 of this hash and the description.
        """
        given, of_file = self._options.description.given(), self._file.fingerprint(self._options.budget)
        if not given:
            return of_file
        import hashlib  # this import takes milliseconds, and an image needs no fingerprint

        return hashlib.sha256(f"{of_file} {sorted(given.items())}".encode()).hexdigest()

    def close(self) -> None:
        """Release the sessions. Functions that `generator` has returned still work."""
        self._runner = None

    def generator(self) -> Callable[[Inputs], Pixels]:
        """Return a function from the inputs of one batch to its images, uint8 (n, height, width, channels).

        The inputs are those that `request.graph_inputs` returns. The function raises InferenceError if
        onnxruntime fails, or if the images do not fit the contract. The function also works after `close`.

        Raises:
            ClosedSamplerError: The model was closed.
        """
        return functools.partial(self._generate, self._current_runner())

    def _generate(self, runner: Runner, inputs: Inputs) -> Pixels:
        images = self._infer(runner, inputs)
        try:
            return to_pixels(images, self.contract.image)
        except ValueError as error:
            raise InferenceError(self.source, str(error)) from error

    def _infer(self, runner: Runner, inputs: Inputs) -> npt.NDArray[Any]:
        try:
            images = runner(inputs)
        except GanportError:
            raise  # some errors of ganport are ValueErrors, which the next clause would catch
        except onnxruntime_errors() as error:
            raise run_error(self.source, self.provider, error) from error
        count = batch_of(inputs) if inputs else self.contract.batch
        expected = (count, *self.contract.image.graph_shape)
        if images.shape != expected:
            raise InferenceError(
                self.source, f"the images have shape {images.shape}, the contract promises {expected}"
            )
        return images

    def _read_contract(self, session: Any) -> Contract | None:
        """Return the contract in the file; None for a third-party file."""
        try:
            contract = read_contract(session)
        except UnicodeDecodeError:  # onnxruntime accepts names and metadata that are not UTF-8
            raise ModelFormatError(self.source, "its names or its metadata are not text") from None
        given = self._options.description.given()
        if contract is not None and given:
            raise UsageError(
                f"The model file states what {' and '.join(f'`{name}`' for name in given)} would say; leave "
                f"{'it' if len(given) == 1 else 'them'} out."
            )
        return contract

    def _describe(self, session: Any, outline: Outline) -> tuple[Any, Contract]:
        """Return a session that takes latents and labels, and the contract of a third-party generator."""
        if uses_graphs(session):
            # A captured CUDA graph reads from fixed buffers, which an adapted session does not have.
            session = self._open(self.threads, capture=False)
        from .third_party import describe  # not at the top, because files of ganport describe themselves

        described = describe(session, outline, self.source, self._options.description)
        self._adapter, self.note = described.adapter, described.note
        return described.adapter.wrap(session), described.contract

    def _choose_batch_size(self) -> int:
        requested = self._options.batch_size
        if self.contract.batch is not None:
            if requested not in (None, self.contract.batch):
                raise UsageError(
                    f"The model generates {self.contract.batch} images per run; leave `batch_size` out."
                )
            return self.contract.batch
        is_large = self.provider == "cpu" and math.prod(self.contract.image.shape) > _LARGE
        return requested or (LARGE_BATCH_SIZE if is_large else BATCH_SIZE)

    def _open_fastest(self) -> Any:
        """Return a session of the model on the fastest provider that runs it, and set `provider`."""
        while True:
            self.provider, broken = choose_provider(self.passed_over)
            self.passed_over |= broken
            try:
                return self._open(self.threads)
            except ProviderError as error:
                # The provider works on this machine, but can't run this model. The model needs too much
                # memory, or has an operation that the provider does not support.
                self.passed_over[self.provider] = error.problem

    def _open(self, threads: int, *, capture: bool = True) -> Any:
        self._file.check_unchanged()
        repeatable = self._options.repeatable
        return open_session(self._location, self.provider, threads, repeatable=repeatable, capture=capture)

    def _reopened(self, threads: int) -> Any:
        """Return another session of the model, which is run like the first one."""
        session = self._open(threads, capture=self._adapter is None)
        return session if self._adapter is None else self._adapter.wrap(session)

    def _make_runner(self, session: Any) -> Runner:
        splits = self._splits_batches and self.contract.batch is None
        open_split = self._split_opener() if splits else None
        return make_runner(session, self.contract, self.provider, open_split, self.threads)

    def _split_opener(self) -> Callable[[], Any]:
        """Return a function that opens the single-threaded session, also if the file is removed before.

        The function holds the bytes of a small model. The session of a large model is opened at once.
        """
        source = self._location
        if self._is_large:
            session = self._reopened(threads=1)
            return lambda: session
        if isinstance(source, Path):
            source = source.read_bytes()
            self._file.check_unchanged()
        adapter, provider = self._adapter, self.provider

        def open_split() -> Any:
            session = open_session(source, provider, threads=1)
            return session if adapter is None else adapter.wrap(session)

        return open_split

    def _current_runner(self) -> Runner:
        """Return the runner of this process.

        A fork does not copy the threads of a session, so a forked process opens the model again.
        """
        runner = self._runner
        if runner is None:
            raise ClosedSamplerError
        if self._process != os.getpid():
            with self._lock:
                if self._process != os.getpid():
                    self._reopen(runner)
            return self._current_runner()
        return runner

    def _reopen(self, inherited: Runner) -> None:
        if self.provider != "cpu":
            # The provider's own threads and its connection to the device do not exist in this process either.
            raise ProviderError(
                self.provider,
                "a session of this provider does not work in a forked process",
                "start processes with the method spawn, or open the model in the new process",
            )
        # The session was opened before the fork, and its threads do not exist in this forked process. The
        # session's destructor would wait for these threads forever. An additional reference keeps the session
        # alive, so that the destructor never runs.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
        self._runner = self._make_runner(self._reopened(self.threads))
        self._process = os.getpid()


def _check_count(name: str, value: int | None, most: int) -> None:
    if value is not None and not (isinstance(value, (int, np.integer)) and 1 <= value <= most):
        raise UsageError(f"`{name}` is {value!r}; it must be a whole number from 1 to {most:,}.")
