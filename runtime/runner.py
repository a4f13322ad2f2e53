"""Runners: functions that generate the images of one batch.

On a GPU, batches are padded, so that there are few batch sizes. With CUDA, inputs and outputs may also be
bound to fixed buffers in GPU memory, which a captured CUDA graph needs.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .contract import Contract
from .providers import uses_graphs
from .request import Inputs

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Images = npt.NDArray[Any]
Runner = Callable[[Inputs], Images]


def make_runner(
    session: Any, contract: Contract, provider: str, open_split: Callable[[], Any] | None, parts: int
) -> Runner:
    """Return a function from the inputs of a batch to its images (n, ...), in the graph's layout and type.

    The function may be called from many threads at once.

    Args:
        session: Open onnxruntime session of the model.
        contract: Contract of the model.
        provider: Provider of the session.
        open_split: Function that opens a second, single-threaded session. If given, a batch is split into
            `parts` chunks that run in parallel, one thread each. This is faster for ConvTranspose, which
            onnxruntime computes on one core. The function is called when the first batch of several images
            runs, because an app that generates single images needs no second session.
        parts: Number of chunks.
    """
    run = _bind(session, contract) if uses_graphs(session) else _call(session, contract)
    if provider == "directml":
        run = _one_at_a_time(run)  # a DirectML session does not support parallel calls
    if contract.input.kind == "fixed":
        return run
    if contract.batch is not None:
        return _padded(run, lambda count: contract.batch or count)
    if open_split is not None:
        return _split(run, _OpenedLater(open_split, contract), parts)
    # On a GPU, the first run with a new batch size takes up to 70 ms longer (H100), because algorithms are
    # searched and a graph is captured. So batches are padded to powers of two. On the CPU a new batch size
    # costs nothing.
    return run if provider == "cpu" else _padded(run, _next_power)


def _call(session: Any, contract: Contract) -> Runner:
    outputs = [contract.image.name]

    def run(inputs: Inputs) -> Images:
        images: Images = session.run(outputs, inputs)[0]
        return images

    return run


class _OpenedLater:
    """A runner whose session is opened when the first batch runs."""

    def __init__(self, open_session: Callable[[], Any], contract: Contract) -> None:
        self._open_session: Callable[[], Any] | None = open_session
        self._contract, self._lock = contract, threading.Lock()
        self._run: Runner | None = None

    def __call__(self, inputs: Inputs) -> Images:
        return (self._run or self._open())(inputs)

    def _open(self) -> Runner:
        with self._lock:
            if self._run is None:
                assert self._open_session is not None  # noqa: S101
                self._run = _call(self._open_session(), self._contract)
                self._open_session = None  # it may hold the bytes of the model
            return self._run


def _one_at_a_time(run: Runner) -> Runner:
    lock = threading.Lock()

    def locked(inputs: Inputs) -> Images:
        with lock:
            return run(inputs)

    return locked


def _split(run: Runner, run_part: Runner, parts: int) -> Runner:
    """Return a function that splits a batch into chunks, and calls `run_part` for the chunks in parallel.

    A batch of one image is not split. For such a batch the function calls `run`.
    """

    @functools.cache
    def workers() -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor  # 8 ms, not needed by one image

        return ThreadPoolExecutor(parts, "ganport-run")

    def split(inputs: Inputs) -> Images:
        count = batch_of(inputs)
        if count == 1:
            return run(inputs)
        chunks = {name: np.array_split(values, min(parts, count)) for name, values in inputs.items()}
        feeds = (dict(zip(chunks, chunk, strict=True)) for chunk in zip(*chunks.values(), strict=True))
        return np.concatenate(list(workers().map(run_part, feeds)))

    return split


def batch_of(inputs: Inputs) -> int:
    """Return the number of images in a batch of inputs."""
    return len(next(iter(inputs.values())))


def _padded(run: Runner, padded_size: Callable[[int], int]) -> Runner:
    """Return a function that pads a batch to `padded_size(n)` images, runs it, and returns the first n."""

    def padded(inputs: Inputs) -> Images:
        count = batch_of(inputs)
        size = padded_size(count)
        if size == count:
            return run(inputs)
        return run({name: _fill_up(values, size) for name, values in inputs.items()})[:count]

    return padded


def _fill_up(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return the values of a batch, followed by zeros up to `size` rows."""
    filled = np.zeros((size, *values.shape[1:]), dtype=values.dtype)
    filled[: len(values)] = values
    return filled


def _next_power(count: int) -> int:
    """Return the smallest power of two that is not less than a count."""
    return 1 << (count - 1).bit_length()


class _Bound(NamedTuple):
    """Device buffers for one batch size, and run options that select the CUDA graph of these buffers."""

    inputs: Mapping[str, Any]
    images: Any
    binding: Any
    options: Any


def _bind(session: Any, contract: Contract) -> Runner:
    """Return a function that replays captured CUDA graphs on bound buffers.

    There is one set of buffers and one graph for each batch size.
    """
    import onnxruntime as ort

    lock = threading.Lock()
    buffers: dict[int, _Bound] = {}

    def bound(inputs: Inputs) -> _Bound:
        size = batch_of(inputs) if inputs else contract.batch or 1
        if size not in buffers:
            device = "cuda", 0
            sources = {
                name: ort.OrtValue.ortvalue_from_numpy(values, *device) for name, values in inputs.items()
            }
            shape = [size, *contract.image.graph_shape]
            images = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(contract.image.dtype), *device)
            binding, options = session.io_binding(), ort.RunOptions()
            for name, source in sources.items():
                binding.bind_ortvalue_input(name, source)
            binding.bind_ortvalue_output(contract.image.name, images)
            options.add_run_config_entry("gpu_graph_id", str(len(buffers) + 1))
            buffers[size] = _Bound(sources, images, binding, options)
        return buffers[size]

    def run(inputs: Inputs) -> Images:
        # Runs of one batch size share the buffers, so they must not overlap. The GPU runs one batch at a time
        # anyway.
        with lock:
            chosen = bound(inputs)
            for name, values in inputs.items():
                chosen.inputs[name].update_inplace(values)
            session.run_with_iobinding(chosen.binding, chosen.options)
            images: Images = chosen.images.numpy()
            return images

    return run
