"""Measuring how long a generator takes on this machine to open, and to generate batches of images."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from typing import Unpack

import numpy as np

from .description import DescriptionOptions
from .providers import ProviderName
from .sampler import Sampler

BATCHES = (1, 16, 64, 256)

_SECONDS = 1.0  # default length of one measurement, in seconds
_FEWEST_CALLS = 20  # least number of timed calls for each measurement


@dataclasses.dataclass(frozen=True)
class Speed:
    """Times that were measured with one provider, one number of threads and one batch size.

    Attributes:
        provider: Provider that was used.
        threads: Number of CPU threads.
        batch: Images per call.
        cold: Milliseconds to open the model and generate the first batch, with onnxruntime already imported.
        p50: Median milliseconds per call, from seeds to pixels.
        p95: 95th percentile of the milliseconds per call.
        p99: 99th percentile of the milliseconds per call.
        rate: Images per second.
    """

    provider: str
    threads: int
    batch: int
    cold: float
    p50: float
    p95: float
    p99: float
    rate: float


def measure_speed(
    model: str | os.PathLike[str] | bytes,
    *,
    providers: Sequence[ProviderName],
    threads: Sequence[int],
    batches: Sequence[int] = BATCHES,
    seconds: float = _SECONDS,
    budget: float = 1.0,
    **description: Unpack[DescriptionOptions],
) -> Iterator[Speed]:
    """Yield a measured `Speed` for each combination of provider, number of threads and batch size.

    Args:
        model: Path, bytes or name of the model, as for `Sampler`.
        providers: Providers to measure. Each must work on this machine.
        threads: Numbers of CPU threads. A provider for GPUs is measured with the last number only.
        batches: Numbers of images per call. A model with a fixed batch size is measured with that size only.
        seconds: Length of one measurement, in seconds. A slow generator is measured for longer.
        budget: Factor of the limits of what a file may cost, as for `Sampler`.
        **description: Description of a third-party generator, as for `Sampler`.

    Raises:
        GanportError: The model can't be opened with one of the providers.
    """

    def open_on(provider: ProviderName, count: int) -> Sampler:
        return Sampler(model, provider=provider, threads=count, budget=budget, **description)

    with open_on(providers[0], threads[0]) as sampler:
        fixed = sampler.contract.batch
    for provider in providers:
        for count in threads if provider in ("cpu", "openvino") else threads[-1:]:
            for batch in batches if fixed is None else (fixed,):
                started = time.perf_counter()
                with open_on(provider, count) as sampler:
                    yield _measure_one(sampler, started, batch, seconds)


def _measure_one(sampler: Sampler, started: float, batch: int, seconds: float) -> Speed:
    fixed = sampler.contract.input.seeds
    seeds = np.arange(batch) if fixed is None else np.array(fixed[:batch])
    sampler.sample(seeds)
    cold = time.perf_counter() - started
    # The second call may still allocate memory, unlike the later calls. So the second call is not timed.
    sampler.sample(seeds)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < _FEWEST_CALLS or time.perf_counter() < end:
        started = time.perf_counter()
        sampler.sample(seeds)
        times.append(time.perf_counter() - started)
    p50, p95, p99 = np.percentile(np.array(times) * 1000, (50, 95, 99)).tolist()
    rate = batch * len(times) / sum(times)
    return Speed(sampler.provider, sampler.model.threads, batch, cold * 1000, p50, p95, p99, rate)
