"""Running a session: as it comes on the CPU, on bound buffers and in batches of few sizes on a GPU."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .contract import Contract
from .providers import uses_graphs

Inputs = Mapping[str, npt.NDArray[Any]]  # by the names of the graph's inputs, each (n, ...); none for a graph without
Images = npt.NDArray[Any]
Run = Callable[[Inputs], Images]


def make_run(session: Any, contract: Contract, provider: str, share: Any | None, parts: int) -> Run:
    """Return the function that draws one batch: from inputs, images (n, ...) in the graph's layout and dtype.

    It may be called from many threads at once.

    Args:
        session: of the model.
        contract: of the model.
        provider: that the session is on.
        share: another session of the model, for one thread, where a batch is better shared among threads than its operations
            are.
        parts: into which a batch is shared then.
    """
    run = _bind(session, contract) if uses_graphs(session) else _call(session, contract)
    if provider == "directml":
        run = _one_at_a_time(run)  # its sessions take no more
    if contract.input.kind == "fixed":
        return run
    if contract.batch is not None:
        return _padded(run, lambda count: contract.batch or count)
    if share is not None:
        return _shared(run, _call(share, contract), parts)
    # A new shape costs a search for algorithms, and a graph of its own: up to 70 ms (H100). On the CPU it costs nothing.
    return run if provider == "cpu" else _padded(run, _next_power)


def _call(session: Any, contract: Contract) -> Run:
    outputs = [contract.image.name]

    def run(inputs: Inputs) -> Images:
        images: Images = session.run(outputs, inputs)[0]
        return images

    return run


def _one_at_a_time(run: Run) -> Run:
    lock = threading.Lock()

    def locked(inputs: Inputs) -> Images:
        with lock:
            return run(inputs)

    return locked


def _shared(run: Run, run_part: Run, parts: int) -> Run:
    """Return the function that draws one image by `run`, and parts of a batch at once by the other."""
    from concurrent.futures import ThreadPoolExecutor  # 30 ms, which an import of this package need not take

    pool = ThreadPoolExecutor(parts, "ganport-draw")  # starts no thread before there is something to draw

    def shared(inputs: Inputs) -> Images:
        count = size_of(inputs)
        if count == 1:
            return run(inputs)
        split = {name: np.array_split(values, min(parts, count)) for name, values in inputs.items()}
        shares = (dict(zip(split, share, strict=True)) for share in zip(*split.values(), strict=True))
        return np.concatenate(list(pool.map(run_part, shares)))

    return shared


def size_of(inputs: Inputs) -> int:
    """Return how many images the inputs ask for."""
    return len(next(iter(inputs.values())))


def _padded(run: Run, padded_size: Callable[[int], int]) -> Run:
    def padded(inputs: Inputs) -> Images:
        count = size_of(inputs)
        size = padded_size(count)
        if size == count:
            return run(inputs)
        return run({name: _filled(values, size) for name, values in inputs.items()})[:count]

    return padded


def _filled(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    filled = np.zeros((size, *values.shape[1:]), dtype=values.dtype)
    filled[: len(values)] = values
    return filled


def _next_power(count: int) -> int:
    return 1 << (count - 1).bit_length()


@dataclasses.dataclass
class _Bound:
    """Buffers on the device for one size of batch, and the graph that was captured on them."""

    inputs: Mapping[str, Any]
    images: Any
    binding: Any
    options: Any


def _bind(session: Any, contract: Contract) -> Run:
    """Return the function that copies into a buffer, replays the graph of this batch, and copies out."""
    import onnxruntime as ort

    lock = threading.Lock()
    buffers: dict[int, _Bound] = {}

    def bound(inputs: Inputs) -> _Bound:
        size = size_of(inputs) if inputs else contract.batch or 1
        if size not in buffers:
            device = "cuda", 0
            sources = {name: ort.OrtValue.ortvalue_from_numpy(values, *device) for name, values in inputs.items()}
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
        with lock:  # one buffer, one graph: one batch at a time, as the GPU has it anyway
            chosen = bound(inputs)
            for name, values in inputs.items():
                chosen.inputs[name].update_inplace(values)
            session.run_with_iobinding(chosen.binding, chosen.options)
            images: Images = chosen.images.numpy()
            return images

    return run
