"""How long a generator takes here: to open, for one image, and for many, by provider and threads."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence

import numpy as np

from .sampler import Sampler

BATCHES = (1, 16, 64, 256)

_SECONDS = 1.0  # of drawing per line
_LEAST = 20  # calls per line


@dataclasses.dataclass(frozen=True)
class Speed:
    """What was measured with one provider, one number of threads and one batch.

    Attributes:
        provider: that drew.
        threads: of the CPU.
        batch: images per call.
        cold: milliseconds to open the model and draw the first batch; onnxruntime itself was loaded.
        p50: milliseconds per call, latents and pixels included; half of the calls took less.
        p95: 19 of 20 took less.
        p99: 99 of 100 took less.
        rate: images per second.
    """

    provider: str
    threads: int
    batch: int
    cold: float
    p50: float
    p95: float
    p99: float
    rate: float


def measure(
    model: str | os.PathLike[str] | bytes,
    providers: Sequence[str],
    threads: Sequence[int],
    batches: Sequence[int] = BATCHES,
    seconds: float = _SECONDS,
    **choices: str | None,
) -> Iterator[Speed]:
    """Measure each provider at each number of threads and each batch.

    Args:
        model: as for Sampler.
        providers: that work here.
        threads: of the CPU; a GPU is measured with the last of them only.
        batches: images per call; a model with a batch of its own is measured with that.
        seconds: of drawing per line.
        choices: layout and value_range, as for Sampler.

    Yields:
        One line after the other.

    Raises:
        As Sampler.
    """
    with Sampler(model, providers[0], threads[0], **choices) as sampler:  # type: ignore[arg-type]  # checked by Sampler
        batches = batches if sampler.model.batch is None else (sampler.model.batch,)
    for provider in providers:
        for count in threads if provider in ("cpu", "openvino") else threads[-1:]:
            for batch in batches:
                yield _measure_one(model, provider, count, batch, seconds, choices)


def _measure_one(
    model: str | os.PathLike[str] | bytes,
    provider: str,
    threads: int,
    batch: int,
    seconds: float,
    choices: dict[str, str | None],
) -> Speed:
    started = time.perf_counter()
    with Sampler(model, provider, threads, **choices) as sampler:  # type: ignore[arg-type]  # checked by Sampler
        seeds = np.arange(batch) if sampler.model.input.seeds is None else np.array(sampler.model.input.seeds[:batch])
        sampler.sample(seeds)
        cold = time.perf_counter() - started
        sampler.sample(seeds)  # the second call still settles memory
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < _LEAST or time.perf_counter() < end:
            started = time.perf_counter()
            sampler.sample(seeds)
            times.append(time.perf_counter() - started)
    p50, p95, p99 = np.percentile(np.array(times) * 1000, (50, 95, 99)).tolist()
    return Speed(provider, threads, batch, cold * 1000, p50, p95, p99, batch * len(times) / sum(times))
