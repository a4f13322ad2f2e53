"""What a graph costs: nodes, parameters, bytes, and time on this machine's CPU."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import onnx

from ganport.runtime import latents_of
from ganport.runtime.seeds import check_seeds

from .convert import LATENT
from .rewrites import REWRITES, simplify
from .verify import open_on_cpu

BATCH_SIZES = (1, 64)

_REPEATS = 7
_SECONDS = 0.03  # per graph, batch and repeat, at least


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one graph.

    Attributes:
        nodes: of the graph.
        parameters: numbers in its constants.
        size: of the file, in bytes, without contract.
        milliseconds: per image, by images per call; empty for a graph without an input.
    """

    nodes: int
    parameters: int
    size: int
    milliseconds: Mapping[int, float]


def measure_costs(models: Sequence[onnx.ModelProto]) -> list[Cost]:
    """Return what each graph costs; they run in turns, so that a busy moment of the machine hits all of them."""
    draws = [{batch: _drawing(model, batch) for batch in _batches(model)} for model in models]
    times: list[dict[int, list[float]]] = [{batch: [] for batch in draw} for draw in draws]
    for _ in range(_REPEATS):
        for draw, measured in zip(draws, times, strict=True):
            for batch, run in draw.items():
                measured[batch].append(1e3 * seconds_per_call(run, _SECONDS) / batch)
    return [
        Cost(
            nodes=len(model.graph.node),
            parameters=sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
            size=model.ByteSize(),
            milliseconds={batch: statistics.median(row) for batch, row in measured.items()},
        )
        for model, measured in zip(models, times, strict=True)
    ]


def explain(model: onnx.ModelProto) -> list[tuple[str, Cost]]:
    """Return what a graph costs before the rewrites, and after each that changes something: it and all those before it."""
    stages = [("as tf2onnx converts it", model)]
    for count, name in enumerate(REWRITES, start=1):
        result = simplify(model, dict(list(REWRITES.items())[:count]))
        if _outline(result) != _outline(stages[-1][1]):
            stages.append((name, result))
    costs = measure_costs([stage for _, stage in stages])
    return [(name, cost) for (name, _), cost in zip(stages, costs, strict=True)]


def seconds_per_call(run: Callable[[], object], at_least: float) -> float:
    """Return the mean time of a call, over as many as take that long."""
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < at_least or not calls:
        run()
        calls += 1
    return elapsed / calls


def _outline(model: onnx.ModelProto) -> list[tuple[str, int]]:
    return [(node.op_type, len(node.input)) for node in model.graph.node]


def _batches(model: onnx.ModelProto) -> tuple[int, ...]:
    """Return at how many images per call to measure: at none without an input, where onnxruntime draws while it loads."""
    if not model.graph.input:
        return ()
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return (fixed,) if fixed else BATCH_SIZES


def _drawing(model: onnx.ModelProto, batch: int) -> Callable[[], object]:
    session = open_on_cpu(model)
    feed = {}
    for source in session.get_inputs():
        seeds = check_seeds(range(batch))
        # A label must be small, a seed may be.
        feed[source.name] = latents_of(seeds, source.shape[1]) if source.name == LATENT else seeds % 2
    return lambda: session.run(None, feed)
