"""Model: an open generator with its contract, checks and sessions. A Model also works after a fork."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from .arrays import Pixels
from .contract import LABEL, Contract, Layout
from .cores import usable_cores
from .display import first_line
from .errors import (
    ClosedSamplerError,
    GanportError,
    InferenceError,
    ModelFormatError,
    ProviderError,
    UsageError,
)
from .images import to_pixels
from .latents import sample_latents
from .model_file import find_model_file
from .onnx_file import Node, read_outline
from .providers import AUTO, ProviderChoice, check_provider, choose_provider, onnxruntime_errors, open_session
from .request import Inputs
from .runner import Runner, batch_of, make_runner
from .signature import read_contract
from .third_party import ValueRange, describe

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
# Largest accepted difference of a pixel, in levels of 0 to 255, between an image that is generated alone and
# the same image in a batch. Rounding causes smaller differences, and statistics over the batch cause larger
# ones.
_MOST_LEVELS_OFF = 16


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
    layout: Layout | None = None
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        _check_count("threads", self.threads, _MOST_THREADS)
        _check_count("batch_size", self.batch_size, _LARGEST_BATCH)
        _check_choice("layout", self.layout, get_args(Layout))
        _check_choice("value_range", self.value_range, get_args(ValueRange))
        check_provider(self.provider, AUTO)


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
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, options: ModelOptions) -> None:
        self._options, self._file = options, find_model_file(model)
        self.source = self._file.source
        self.provider: ProviderChoice = options.provider
        self.passed_over: dict[str, str] = {}
        self.threads = options.threads or usable_cores()
        outline = read_outline(self.source)
        session = self._open_fastest() if options.provider == AUTO else self._open(self.threads)
        # onnxruntime computes a ConvTranspose on one core. Parallel chunks of a batch use the other cores.
        has_serial_work = any(node.kind == "ConvTranspose" for node in outline.nodes)
        self._is_large = bool(outline.weight_files) or self._file.size > _LARGEST_PRESERVED
        self._splits_batches = has_serial_work and self.provider == "cpu" and self.threads > 1
        self.contract = self._read_contract(session, outline.nodes)
        self.batch_size = self._choose_batch_size()
        # Shape of the latents of one image: (dim,), or (dim, 1, 1) in some third-party graphs.
        self._latent_shape: tuple[int, ...] = ()
        if self.contract.input.kind == "latent":
            self._latent_shape = tuple(session.get_inputs()[0].shape[1:])
        self._lock, self._process = threading.Lock(), os.getpid()
        self._runner: Runner | None = self._make_runner(session)
        # A file that ganport wrote was verified at export, so only third-party files are checked here.
        if not self.contract.created_by and self._latent_shape:
            self._check_independence(make_runner(session, self.contract, self.provider, None, self.threads))

    def __reduce__(self) -> tuple[Any, ...]:
        return Model, (self._file.location, self._options)

    def opener(self, *, threads: int) -> Callable[[], Model]:
        """Return a function that opens the same model in another process.

        The function holds the bytes of the model, and can be pickled.

        Args:
            threads: Number of CPU threads in the other process.
        """
        chosen = dataclasses.replace(self._options, provider=self.provider, threads=threads)
        return functools.partial(Model, self._file.read(), chosen)

    def with_threads(self, threads: int) -> Model:
        """Return the same model, opened again with another number of CPU threads.

        Raises:
            ModelError: The file has changed since it was opened, or it does not exist any more.
        """
        self._file.check_unchanged()
        chosen = dataclasses.replace(self._options, provider=self.provider, threads=threads)
        return Model(self._file.location, chosen)

    def fingerprint(self) -> str:
        """Return the sha256 of the model's file in hex; see `ModelFile.fingerprint`. Raises ModelError."""
        return self._file.fingerprint()

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
        images = self._infer(runner, self._with_latent_shape(inputs))
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
            problem = f"onnxruntime reports: {first_line(error)}; a smaller `batch_size` takes less memory"
            raise InferenceError(self.source, problem) from error
        count = batch_of(inputs) if inputs else self.contract.batch
        expected = (count, *self.contract.image.graph_shape)
        if images.shape != expected:
            raise InferenceError(
                self.source, f"the images have shape {images.shape}, the contract promises {expected}"
            )
        return images

    def _with_latent_shape(self, inputs: Inputs) -> Inputs:
        if len(self._latent_shape) <= 1:
            return inputs
        name = self.contract.input.name
        return {**inputs, name: inputs[name].reshape(-1, *self._latent_shape)}

    def _check_independence(self, runner: Runner) -> None:
        """Raise InferenceError if an image depends on its batch neighbours.

        The image of seed 0 is generated alone and in a batch with seed 1, and the two results are compared.
        `runner` must not split batches across threads, because each image would then always run alone.
        """
        inputs: dict[str, npt.NDArray[Any]] = {
            self.contract.input.name: sample_latents((0, 1), self.contract.input.dim)
        }
        if self.contract.input.labels:
            inputs[LABEL] = np.zeros(2, np.int64)
        together = self._generate(runner, inputs)[0]
        alone = self._generate(runner, {name: values[:1] for name, values in inputs.items()})[0]
        off = int(np.abs(together.astype(np.int16) - alone).max())
        if off > _MOST_LEVELS_OFF:
            raise InferenceError(
                self.source,
                f"an image depends on the other images in its batch: alone, its pixels differ by up to {off} "
                "levels; export the generator in evaluation mode, and quantise it with fixed scales",
            )

    def _read_contract(self, session: Any, nodes: tuple[Node, ...]) -> Contract:
        layout, value_range = self._options.layout, self._options.value_range
        try:
            contract = read_contract(session)
        except UnicodeDecodeError:  # onnxruntime accepts names and metadata that are not UTF-8
            raise ModelFormatError(self.source, "its names or its metadata are not text") from None
        if contract is None:
            return describe(session, nodes, self.source, layout=layout, value_range=value_range)
        if layout or value_range:
            raise UsageError(
                "The model file states the layout and range of its images; leave out `layout` and "
                "`value_range`."
            )
        return contract

    def _choose_batch_size(self) -> int:
        requested = self._options.batch_size
        if self.contract.batch is not None:
            if requested is not None:
                raise UsageError(
                    f"The model has a fixed batch of {self.contract.batch} images; leave `batch_size` out."
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

    def _open(self, threads: int) -> Any:
        self._file.check_unchanged()
        return open_session(self._file.location, self.provider, threads, repeatable=self._options.repeatable)

    def _make_runner(self, session: Any) -> Runner:
        splits = self._splits_batches and self.contract.batch is None
        open_split = self._split_opener() if splits else None
        return make_runner(session, self.contract, self.provider, open_split, self.threads)

    def _split_opener(self) -> Callable[[], Any]:
        """Return a function that opens the single-threaded session, also if the file is removed before.

        The function holds the bytes of a small model. The session of a large model is opened at once.
        """
        source = self._file.location
        if self._is_large:
            session = self._open(threads=1)
            return lambda: session
        if isinstance(source, Path):
            source = source.read_bytes()
            self._file.check_unchanged()
        return functools.partial(open_session, source, self.provider, threads=1)

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
        if self.provider == "cuda":
            raise ProviderError(
                "cuda",
                "a CUDA session does not work in a forked process",
                "start processes with the method spawn, or open the model in the new process",
            )
        # The session was opened before the fork, and its threads do not exist in this forked process. The
        # session's destructor would wait for these threads forever. An additional reference keeps the session
        # alive, so that the destructor never runs.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
        self._runner = self._make_runner(self._open(self.threads))
        self._process = os.getpid()


def _check_count(name: str, value: int | None, most: int) -> None:
    if value is not None and not (isinstance(value, (int, np.integer)) and 1 <= value <= most):
        raise UsageError(f"`{name}` is {value!r}; it must be a whole number from 1 to {most:,}.")


def _check_choice(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"`{name}` is {value!r}; it must be {' or '.join(known)}.")
