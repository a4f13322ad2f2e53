"""Running a session: as it comes on the CPU, on bound buffers and in batches of few sizes on a GPU."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .contract import Contract
from .providers import uses_graphs

Inputs = npt.NDArray[Any] | None  # None: the graph has no input
Images = npt.NDArray[Any]
Run = Callable[[Inputs], Images]


def make_run(session: Any, contract: Contract, provider: str, share: Callable[[], Any] | None, parts: int) -> Run:
    """Return the function that draws one batch: from inputs (n, ...), or none, images (n, ...) in the graph's layout and dtype.

    It may be called from many threads at once.

    Args:
        session: of the model.
        contract: of the model.
        provider: that the session is on.
        share: opens another session of the model, for one thread, where a batch is better shared among threads than its
            operations are; it is called once there is a batch to share.
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
        return _shared(run, lambda: _call(share(), contract), parts)
    # A new shape costs a search for algorithms, and a graph of its own: up to 70 ms (H100). On the CPU it costs nothing.
    return run if provider == "cpu" else _padded(run, _next_power)


def _call(session: Any, contract: Contract) -> Run:
    outputs, name = [contract.image.name], contract.input.name

    def run(inputs: Inputs) -> Images:
        images: Images = session.run(outputs, {} if inputs is None else {name: inputs})[0]
        return images

    return run


def _one_at_a_time(run: Run) -> Run:
    lock = threading.Lock()

    def locked(inputs: Inputs) -> Images:
        with lock:
            return run(inputs)

    return locked


def _shared(run: Run, open_run: Callable[[], Run], parts: int) -> Run:
    """Return the function that draws one image by `run`, and parts of a batch at once by one that is opened when it is due."""
    from concurrent.futures import ThreadPoolExecutor  # 30 ms, which an import of this package need not take

    lock = threading.Lock()
    opened: list[tuple[Run, ThreadPoolExecutor]] = []

    def shared(inputs: Inputs) -> Images:
        assert inputs is not None  # noqa: S101 (a graph without inputs has nothing to share)
        if len(inputs) == 1:
            return run(inputs)
        with lock:
            if not opened:
                opened.append((open_run(), ThreadPoolExecutor(parts, "ganport-draw")))
        run_part, pool = opened[0]
        return np.concatenate(list(pool.map(run_part, np.array_split(inputs, min(parts, len(inputs))))))

    return shared


def _padded(run: Run, size_of: Callable[[int], int]) -> Run:
    def padded(inputs: Inputs) -> Images:
        assert inputs is not None  # noqa: S101 (a graph without inputs has no batch to fill)
        count = len(inputs)
        size = size_of(count)
        if size == count:
            return run(inputs)
        filled = np.zeros((size, *inputs.shape[1:]), dtype=inputs.dtype)
        filled[:count] = inputs
        return run(filled)[:count]

    return padded


def _next_power(count: int) -> int:
    return 1 << (count - 1).bit_length()


@dataclasses.dataclass
class _Bound:
    """Buffers on the device for one size of batch, and the graph that was captured on them."""

    inputs: Any
    images: Any
    binding: Any
    options: Any


def _bind(session: Any, contract: Contract) -> Run:
    """Return the function that copies into a buffer, replays the graph of this batch, and copies out."""
    import onnxruntime as ort

    lock = threading.Lock()
    buffers: dict[int, _Bound] = {}

    def bound(inputs: Inputs) -> _Bound:
        size = contract.batch or 1 if inputs is None else len(inputs)
        if size not in buffers:
            device = "cuda", 0
            source = None if inputs is None else ort.OrtValue.ortvalue_from_numpy(inputs, *device)
            shape = [size, *contract.image.graph_shape]
            images = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.dtype(contract.image.dtype), *device)
            binding, options = session.io_binding(), ort.RunOptions()
            if source is not None:
                binding.bind_ortvalue_input(contract.input.name, source)
            binding.bind_ortvalue_output(contract.image.name, images)
            options.add_run_config_entry("gpu_graph_id", str(len(buffers) + 1))
            buffers[size] = _Bound(source, images, binding, options)
        return buffers[size]

    def run(inputs: Inputs) -> Images:
        with lock:  # one buffer, one graph: one batch at a time, as the GPU has it anyway
            chosen = bound(inputs)
            if inputs is not None:
                chosen.inputs.update_inplace(inputs)
            session.run_with_iobinding(chosen.binding, chosen.options)
            images: Images = chosen.images.numpy()
            return images

    return run
