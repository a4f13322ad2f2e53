"""Batcher: a bounded queue of requests, whose images are generated in batches.

A generator computes 64 images in far less than 64 times the time of one image. While one batch is computed,
new requests collect in the queue, and they form the next batch. The batcher never waits for further requests:
under little load each request is generated at once, in a batch without other requests.

A request is accepted only if the time of recent batches says that its images will be ready in time. Otherwise
it would wait, time out, and its work would be lost.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ganport.runtime import Sampler, sample_latents
from ganport.runtime.arrays import Latents, Pixels
from ganport.runtime.latents import truncate
from ganport.runtime.request import Request

from .errors import QueueFullError, TimedOutError, TooManyImagesError
from .metrics import Metrics

Encode = Callable[[Pixels], Any]  # function that encodes the images of one request

_ENCODER_THREADS = 2
# Largest number of batches that are being encoded or wait to be encoded. At the limit, generation pauses.
_MAX_ENCODING = 2 * _ENCODER_THREADS
# Longest time of one batch in seconds. A slow generator gets smaller batches, because a batch can't be
# stopped: new requests wait for its end, and images of clients that have gone are generated to the end.
_BATCH_SECONDS = 0.5
_RECENT_BATCHES = 8  # number of batches whose time is averaged
# Share of the time limit that a request may be expected to wait. The rest is for batches that take longer.
_EXPECTED_SHARE = 0.8
# The files of a batch are delivered together, so that the next requests of their clients share a batch, too.
# If encoding takes longer than this time, the files that are ready are delivered before.
_DELIVERY_SECONDS = 0.1


@dataclasses.dataclass(eq=False)
class _Job:
    """A request of at most one batch, or a part of a larger request.

    Attributes:
        request: Images to generate.
        encode: Function that encodes the generated images.
        result: Future that receives the return value of `encode`.
        queued_at: Value of `time.perf_counter` when the job was queued.
    """

    request: Request
    encode: Encode
    result: asyncio.Future[Any]
    queued_at: float = dataclasses.field(default_factory=time.perf_counter)


_Outcome = tuple[_Job, Any, Exception | None]  # a job with its result or its error


class _Pace:
    """The time that an image takes, by the batches so far. It is 0 before the first batch.

    Attributes:
        recent: Seconds per image in the recent batches.
        best: Lowest value of `recent` so far.
    """

    def __init__(self) -> None:
        self._batches: collections.deque[tuple[int, float]] = collections.deque(maxlen=_RECENT_BATCHES)
        self.recent = self.best = 0.0

    def record(self, images: int, seconds: float) -> None:
        self._batches.append((images, seconds))
        self.recent = sum(time for _, time in self._batches) / sum(count for count, _ in self._batches)
        self.best = min(self.best or seconds / images, seconds / images)


class Batcher:
    """Generates the images of many concurrent requests.

    Args:
        sampler: Sampler of the model.
        metrics: Metrics to update.
        queue: Largest number of images in the queue.
        timeout: Time limit in seconds for the images of a request, including the time in the queue. A request
            that takes longer fails.
        batching: Whether several requests may share a batch. False generates each request alone, which is
            useful for measuring the benefit of batching.
    """

    def __init__(
        self, sampler: Sampler, metrics: Metrics, *, queue: int, timeout: float, batching: bool = True
    ) -> None:
        self._sampler, self._metrics = sampler, metrics
        self._queue_limit, self._timeout = queue, timeout
        self._batching = batching
        self._jobs: collections.OrderedDict[_Job, None] = collections.OrderedDict()
        self._queued_images = 0
        self._accepted_images = 0  # images of the requests that are not answered yet, queued or not
        self._pace = _Pace()
        self._running: asyncio.Task[None] | None = None
        # One thread is enough to call the model, because the model computes each batch with several threads.
        self._generator_thread = ThreadPoolExecutor(1, "ganport-generate")
        self._encoding_slots = asyncio.Semaphore(_MAX_ENCODING)
        self._encoder_threads = ThreadPoolExecutor(_ENCODER_THREADS, "ganport-encode")

    @property
    def queued_images(self) -> int:
        """Number of images that wait in the queue."""
        return self._queued_images

    async def warm_up(self) -> None:
        """Generate a few images to learn how long they take, before the first request."""
        await asyncio.get_running_loop().run_in_executor(self._generator_thread, self._warm_up)

    async def generate(self, request: Request, encode: Encode) -> Any:
        """Generate images, and return the result of `encode`.

        Args:
            request: Images to generate. They may be more than one batch.
            encode: Function that encodes the images of the request, uint8 (n, height, width, channels). The
                function is called in a different thread.

        Raises:
            QueueFullError: The queue has no space for these images, or they would wait too long.
            TooManyImagesError: The images take longer than the time limit, even if no other request waits.
            TimedOutError: The images were not generated in time.
            GanportError: Raised by `Sampler.sample`.
        """
        self._check_admission(len(request))
        loop = asyncio.get_running_loop()
        parts = list(request.split(self._part_size()))
        is_whole = len(parts) == 1
        jobs = [_Job(part, encode if is_whole else _unchanged, loop.create_future()) for part in parts]
        self._accepted_images += len(request)
        self._queued_images += len(request)
        self._jobs.update(dict.fromkeys(jobs))
        if self._running is None:
            self._running = loop.create_task(self._run())
        try:
            async with asyncio.timeout(self._timeout):
                if is_whole:
                    return await jobs[0].result
                results = await asyncio.gather(*(job.result for job in jobs))
        except TimeoutError:
            raise TimedOutError(self._timeout) from None
        finally:
            self._accepted_images -= len(request)
            self._remove(jobs)
        return await self._run_encoder(lambda: encode(np.concatenate(results)))

    async def close(self) -> None:
        """Finish all queued requests, and end the threads."""
        if self._running is not None:
            await self._running
        await asyncio.to_thread(self._generator_thread.shutdown)
        await asyncio.to_thread(self._encoder_threads.shutdown)

    def _check_admission(self, images: int) -> None:
        """Raise an error unless the images are expected to be ready in time."""
        if images * self._pace.best > self._timeout:
            raise TooManyImagesError(images, images * self._pace.best, self._timeout)
        if not self._accepted_images:
            return  # nothing waits, so nothing is gained by waiting
        waiting_seconds = self._pace.recent * self._accepted_images
        seconds_over = waiting_seconds + self._pace.recent * images - _EXPECTED_SHARE * self._timeout
        is_full = self._queued_images > 0 and self._queued_images + images > self._queue_limit
        if seconds_over <= 0 and not is_full:
            return
        self._metrics.rejected.inc()
        # Half of the waiting images are ready after half of the time. Then there is space, even if some
        # requests come earlier, and the generator still has work.
        seconds = max(seconds_over, waiting_seconds / 2)
        raise QueueFullError(self._accepted_images, retry_after=max(1, math.ceil(seconds)))

    def _part_size(self) -> int:
        """Return the largest number of images in one batch."""
        batch_size, best = self._sampler.model.batch_size, self._pace.best
        # A model with a fixed batch takes the same time for fewer images.
        if not best or self._sampler.contract.batch is not None:
            return batch_size
        return max(1, min(batch_size, int(_BATCH_SECONDS / best)))

    def _remove(self, jobs: Sequence[_Job]) -> None:
        """Remove the jobs that still wait, because their request has timed out or their client is gone."""
        for job in jobs:
            if job in self._jobs:
                del self._jobs[job]
                self._queued_images -= len(job.request)

    async def _run_encoder(self, function: Callable[[], Any]) -> Any:
        """Call a function in an encoder thread, and return its result.

        Raises:
            TimedOutError: The function did not finish in time.
        """
        result = asyncio.get_running_loop().run_in_executor(self._encoder_threads, function)
        try:
            return await asyncio.wait_for(result, self._timeout)
        except TimeoutError:
            raise TimedOutError(self._timeout) from None

    def _warm_up(self) -> None:
        first = (self._sampler.contract.input.seeds or (0,))[0]
        # The first call takes longer than the others. If it is slow anyway, it is the only one.
        for _ in range(2):
            seconds = self._measure([first])
            if seconds > _BATCH_SECONDS:
                break
        self._pace.record(1, seconds)
        size = self._part_size()
        if size > 1:
            self._pace = _Pace()
            self._pace.record(size, self._measure([first] * size))

    def _measure(self, seeds: Sequence[int]) -> float:
        started = time.perf_counter()
        self._sampler.sample(seeds)
        return time.perf_counter() - started

    async def _run(self) -> None:
        """Generate batches until the queue is empty."""
        while batch := self._take_batch():
            started = time.perf_counter()
            for job in batch:
                self._metrics.queue_seconds.observe(started - job.queued_at)
            try:
                await self._run_batch(batch)
            except Exception as error:  # only this batch fails; the loop goes on with the next batch
                _deliver([(job, None, error) for job in batch])
        self._running = None

    async def _run_batch(self, batch: Sequence[_Job]) -> None:
        """Generate the images of a batch. Then start to encode the images in an encoder thread."""
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        # If no other job waits, a single image is encoded in the thread that generated it. This saves a
        # thread switch.
        if len(batch) == 1 and len(batch[0].request) == 1 and not self._jobs:
            result = await loop.run_in_executor(self._generator_thread, self._generate_and_encode, batch[0])
            seconds = time.perf_counter() - started
            self._metrics.observe_batch(1, seconds)
            self._pace.record(1, seconds)
            _deliver([(batch[0], result, None)])
            return
        requests = [job.request for job in batch]
        images = await loop.run_in_executor(self._generator_thread, self._generate, requests)
        self._metrics.observe_batch(len(images), time.perf_counter() - started)
        await self._encoding_slots.acquire()
        # The wait for a slot counts: if encoding is slower than generating, it sets the pace.
        self._pace.record(len(images), time.perf_counter() - started)
        self._encoder_threads.submit(_encode_batch, loop, batch, images, self._encoding_slots.release)

    def _take_batch(self) -> list[_Job]:
        """Remove the next jobs from the queue, up to one batch, and return them."""
        batch: list[_Job] = []
        free = self._part_size()
        while self._jobs:
            job = next(iter(self._jobs))
            if batch and not (self._batching and len(job.request) <= free):
                break
            del self._jobs[job]
            self._queued_images -= len(job.request)
            free -= len(job.request)
            batch.append(job)
        return batch

    def _generate_and_encode(self, job: _Job) -> Any:
        return job.encode(self._generate([job.request]))

    def _generate(self, requests: Sequence[Request]) -> Pixels:
        """Return the images of several requests, in order. The requests together fit into one batch."""
        labels = None
        if requests[0].labels is not None:
            labels = np.concatenate([request.labels for request in requests if request.labels is not None])
        if self._sampler.contract.input.kind != "latent":
            return self._sampler.sample(
                np.concatenate([request.seeds for request in requests]), labels=labels
            )
        return self._sampler.sample_from_latents(np.concatenate(self._latents(requests)), labels=labels)

    def _latents(self, requests: Sequence[Request]) -> list[Latents]:
        """Return the latents of each request. One call computes the latents of all seeds."""
        by_seed = [request.seeds for request in requests if request.latents is None]
        dim = self._sampler.contract.input.dim
        distribution = self._sampler.contract.input.distribution
        computed = np.empty((0, dim), np.float32)
        if by_seed:
            computed = sample_latents(np.concatenate(by_seed), dim, distribution=distribution)
        latents, start = [], 0
        for request in requests:
            if request.latents is not None:
                latents.append(request.latents)
                continue
            own = computed[start : start + len(request)]
            latents.append(truncate(own, request.truncation, distribution=distribution))
            start += len(request)
        return latents


def _unchanged(images: Pixels) -> Pixels:
    return images


def _encode_batch(
    loop: asyncio.AbstractEventLoop, batch: Sequence[_Job], images: Pixels, release: Callable[[], None]
) -> None:
    """Encode the images of each job, and pass the results to the event loop. Runs in an encoder thread."""
    outcomes: list[_Outcome] = []
    start, delivered_at = 0, time.perf_counter()
    for job in batch:
        own = images[start : start + len(job.request)]
        start += len(job.request)
        if job.result.done():  # the job has timed out, or its client is gone
            continue
        try:
            outcomes.append((job, job.encode(own), None))
        except Exception as error:  # only this job fails; the other jobs of the batch do not
            outcomes.append((job, None, error))
        if time.perf_counter() - delivered_at > _DELIVERY_SECONDS:
            loop.call_soon_threadsafe(_deliver, outcomes)
            outcomes, delivered_at = [], time.perf_counter()
    loop.call_soon_threadsafe(_deliver, outcomes)
    loop.call_soon_threadsafe(release)


def _deliver(outcomes: Sequence[_Outcome]) -> None:
    """Set the result or the error of each job that has not timed out."""
    for job, result, error in outcomes:
        if job.result.done():
            continue
        if error is None:
            job.result.set_result(result)
        else:
            job.result.set_exception(error)
