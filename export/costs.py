"""What a graph costs: nodes, parameters, bytes, and time on this machine's CPU."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnx

from ganport.runtime import sample_latents
from ganport.runtime.contract import Distribution
from ganport.runtime.latents import one_hot
from ganport.runtime.seeds import check_seeds

from .rewrites import REWRITES, simplify
from .sessions import open_on_cpu
from .standard_form import LATENT
from .workload import workload_of

_REPEATS = 7  # measurements of each pair of a graph and a batch size
_FEWEST_REPEATS = 2
_SECONDS = 0.03  # one measurement calls a graph until this number of seconds has passed
_MOST_SECONDS = 5.0  # no further repeats are made after this number of seconds


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one graph.

    Attributes:
        nodes: Number of nodes.
        parameters: Number of values in the constants of the graph.
        size: Size of the file in bytes, without the contract.
        milliseconds: Median time per image, by batch size; empty for a graph without an input.
    """

    nodes: int
    parameters: int
    size: int
    milliseconds: Mapping[int, float]


def measure_costs(models: Sequence[onnx.ModelProto], *, distribution: Distribution = "normal") -> list[Cost]:
    """Return the cost of each graph.

    The graphs are measured in turns, so that other work on the machine slows all of them down alike. They all
    have the same batch sizes. Slow graphs are measured less often.

    Args:
        models: The graphs.
        distribution: Distribution of the latents.
    """
    started = time.perf_counter()
    largest = min(workload_of(model).batch() for model in models)
    runs = [
        {batch: _prepare_run(model, batch, distribution) for batch in _batch_sizes(model, largest)}
        for model in models
    ]
    times: list[dict[int, list[float]]] = [{batch: [] for batch in batches} for batches in runs]
    for repeat in range(_REPEATS):
        if repeat >= _FEWEST_REPEATS and time.perf_counter() - started > _MOST_SECONDS:
            break
        for batches, measured in zip(runs, times, strict=True):
            for batch, run in batches.items():
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


def measure_rewrites(
    model: onnx.ModelProto, *, distribution: Distribution = "normal"
) -> list[tuple[str, Cost]]:
    """Return the cost of a graph before the rewrites, and after each rewrite that changes the graph.

    The cost after a rewrite includes the effect of all earlier rewrites.

    Args:
        model: The graph as tf2onnx converts it.
        distribution: Distribution of the latents.

    Returns:
        Pairs of the name of a rewrite and the cost after this rewrite. In the first pair, the cost is that of
        the graph before the rewrites, and the name is "as tf2onnx converts it".
    """
    stages = [("as tf2onnx converts it", model)]
    for count, name in enumerate(REWRITES, start=1):
        result = simplify(model, dict(list(REWRITES.items())[:count]))
        if _outline(result) != _outline(stages[-1][1]):
            stages.append((name, result))
    costs = measure_costs([stage for _, stage in stages], distribution=distribution)
    return [(name, cost) for (name, _), cost in zip(stages, costs, strict=True)]


def seconds_per_call(run: Callable[[], object], at_least: float) -> float:
    """Call `run` until `at_least` seconds have passed, and return the mean time of a call in seconds."""
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < at_least or not calls:
        run()
        calls += 1
    return elapsed / calls


def _outline(model: onnx.ModelProto) -> list[tuple[str, int]]:
    return [(node.op_type, len(node.input)) for node in model.graph.node]


def _batch_sizes(model: onnx.ModelProto, largest: int) -> tuple[int, ...]:
    """Return the batch sizes to measure: 1 and `largest`. The result is empty for a graph without an input.

    onnxruntime computes the images of a graph without an input when it loads the graph, so there is no time
    per call to measure.
    """
    if not model.graph.input:
        return ()
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return (fixed,) if fixed else (1, largest)


def _prepare_run(model: onnx.ModelProto, batch: int, distribution: Distribution) -> Callable[[], object]:
    """Return a function that generates one batch of `batch` images with the graph."""
    session = open_on_cpu(model)
    feed: dict[str, npt.NDArray[Any]] = {}
    for source in session.get_inputs():
        seeds = check_seeds(range(batch))
        if source.name == LATENT:
            feed[source.name] = sample_latents(seeds, source.shape[1], distribution=distribution)
        elif len(source.shape) == 2:
            feed[source.name] = one_hot(seeds % source.shape[1], source.shape[1])
        else:
            # An input other than the latents takes seeds or label indices. The values 0 and 1 are valid for
            # both, since there are at least two labels.
            feed[source.name] = seeds % 2
    return lambda: session.run(None, feed)
