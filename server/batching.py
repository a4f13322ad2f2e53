"""Batcher: a bounded queue of requests, whose images are generated in batches.

A generator computes 64 images in far less than 64 times the time of one image. While one batch is computed,
new requests collect in the queue, and they form the next batch. The batcher never waits for further requests:
under little load each request is generated at once, in a batch without other requests.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ganport.runtime import Sampler, sample_latents
from ganport.runtime.arrays import Latents, Pixels
from ganport.runtime.latents import truncate
from ganport.runtime.request import Request

from .errors import QueueFullError, TimedOutError
from .metrics import Metrics

Encode = Callable[[Pixels], Any]  # function that encodes the images of one job

_ENCODER_THREADS = 2
# Largest number of batches that are being encoded or wait to be encoded. At the limit, generation pauses.
_MAX_ENCODING = 2 * _ENCODER_THREADS
_INITIAL_RATE = 100.0  # speed in images/s that is assumed before the first measurement


@dataclasses.dataclass
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
        self._batch_size = sampler.model.batch_size
        self._batching = batching
        self._jobs: collections.deque[_Job] = collections.deque()
        self._queued_images = 0
        self._images_per_second = _INITIAL_RATE
        self._running: asyncio.Task[None] | None = None
        # One thread is enough to call the model, because the model computes each batch with several threads.
        self._generator_thread = ThreadPoolExecutor(1, "ganport-generate")
        self._encoding_slots = asyncio.Semaphore(_MAX_ENCODING)
        self._encoder_threads = ThreadPoolExecutor(_ENCODER_THREADS, "ganport-encode")

    @property
    def queued_images(self) -> int:
        """Number of images that wait in the queue."""
        return self._queued_images

    async def generate(self, request: Request, encode: Encode) -> list[Any]:
        """Generate images, and return the result of `encode` for each part of the request, in order.

        Args:
            request: Images to generate. A request larger than a batch is split into parts of one batch.
            encode: Function that encodes the images of one part, uint8 (n, height, width, channels). The
                function is called in a different thread.

        Raises:
            QueueFullError: The queue has no space for these images.
            TimedOutError: The images were not generated in time.
            GanportError: Raised by `Sampler.sample`.
        """
        if self._queued_images and self._queued_images + len(request) > self._queue_limit:
            self._metrics.rejected.inc()
            seconds = round(self._queued_images / self._images_per_second)
            raise QueueFullError(self._queued_images, retry_after=max(1, seconds))
        loop = asyncio.get_running_loop()
        jobs = [_Job(part, encode, loop.create_future()) for part in request.split(self._batch_size)]
        self._jobs.extend(jobs)
        self._queued_images += len(request)
        if self._running is None:
            self._running = loop.create_task(self._run())
        try:
            async with asyncio.timeout(self._timeout):
                return list(await asyncio.gather(*(job.result for job in jobs)))
        except TimeoutError:
            raise TimedOutError(self._timeout) from None

    async def run_encoder(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in an encoder thread, and return its result.

        Raises:
            TimedOutError: The function did not finish in time.
        """
        result = asyncio.get_running_loop().run_in_executor(self._encoder_threads, function, *arguments)
        try:
            return await asyncio.wait_for(result, self._timeout)
        except TimeoutError:
            raise TimedOutError(self._timeout) from None

    async def close(self) -> None:
        """Finish all queued requests, and end the threads."""
        if self._running is not None:
            await self._running
        await asyncio.to_thread(self._generator_thread.shutdown)
        await asyncio.to_thread(self._encoder_threads.shutdown)

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
            images, result = await loop.run_in_executor(
                self._generator_thread, self._generate_and_encode, batch[0]
            )
            self._record(len(images), time.perf_counter() - started)
            _deliver([(batch[0], result, None)])
            return
        requests = [job.request for job in batch]
        images = await loop.run_in_executor(self._generator_thread, self._generate, requests)
        self._record(len(images), time.perf_counter() - started)
        await self._encoding_slots.acquire()
        self._encoder_threads.submit(_encode_batch, loop, batch, images, self._encoding_slots.release)

    def _record(self, images: int, seconds: float) -> None:
        self._images_per_second = 0.8 * self._images_per_second + 0.2 * images / seconds
        self._metrics.observe_batch(images, seconds)

    def _take_batch(self) -> list[_Job]:
        """Remove the next jobs from the queue, up to one batch, and return those that have not timed out."""
        batch: list[_Job] = []
        free = self._batch_size
        while self._jobs and (not batch or (self._batching and len(self._jobs[0].request) <= free)):
            job = self._jobs.popleft()
            self._queued_images -= len(job.request)
            if not job.result.done():
                batch.append(job)
                free -= len(job.request)
        return batch

    def _generate_and_encode(self, job: _Job) -> tuple[Pixels, Any]:
        images = self._generate([job.request])
        return images, job.encode(images)

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


def _encode_batch(
    loop: asyncio.AbstractEventLoop, batch: Sequence[_Job], images: Pixels, release: Callable[[], None]
) -> None:
    """Encode the images of each job, and pass the results to the event loop. Runs in an encoder thread."""
    outcomes: list[_Outcome] = []
    start = 0
    for job in batch:
        own = images[start : start + len(job.request)]
        start += len(job.request)
        if job.result.done():  # the job has timed out
            continue
        try:
            outcomes.append((job, job.encode(own), None))
        except Exception as error:  # only this job fails; the other jobs of the batch do not
            outcomes.append((job, None, error))
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
