"""Requests gathered into batches: while one batch is drawn, the next gathers, so that nobody waits for company.

A generator draws 64 images in far less than 64 times the time of one. What waits when the last batch is done becomes the next
one; under little load that is one request, which starts at once.
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
import numpy.typing as npt

from ganport.runtime import Sampler, latents_of

from .metrics import Metrics
from .refusals import QueueFullError, TimedOutError

Pixels = npt.NDArray[np.uint8]
Finish = Callable[[Pixels], Any]  # what is made of the images, in a thread beside the next batch

_ENCODERS = 2
_MOST_PACKED = 2 * _ENCODERS  # batches; while so many are packed nothing is drawn, and the queue fills
_FIRST_RATE = 100.0  # images/s, until a batch was timed


@dataclasses.dataclass(frozen=True)
class Draw:
    """Images that one request wants, at most a batch.

    Attributes:
        seeds: int64 (n,); of no meaning where there are latents.
        labels: class of each image, int64 (n,); None for a model without.
        truncation: factor of the latents of the seeds.
        latents: float32 (n, dim), where the client brings its own.
    """

    seeds: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None
    truncation: float = 1.0
    latents: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def split(self, size: int) -> list[Draw]:
        """Return the same in parts of a size."""
        if len(self) <= size:
            return [self]
        parts = [slice(start, start + size) for start in range(0, len(self), size)]
        return [
            Draw(
                self.seeds[part],
                None if self.labels is None else self.labels[part],
                self.truncation,
                None if self.latents is None else self.latents[part],
            )
            for part in parts
        ]


@dataclasses.dataclass
class _Waiting:
    draw: Draw
    finish: Finish
    answer: asyncio.Future[Any]
    since: float = dataclasses.field(default_factory=time.perf_counter)


class Batcher:
    """Draws for many requests at once.

    Args:
        sampler: that draws.
        metrics: are told.
        most_waiting: images that may wait.
        patience: seconds until a request is given up.
        gathers: False draws each request alone, to compare.
    """

    def __init__(self, sampler: Sampler, metrics: Metrics, most_waiting: int, patience: float, gathers: bool = True) -> None:
        self._sampler, self._metrics = sampler, metrics
        self._most_waiting, self._patience = most_waiting, patience
        self._size = sampler.batch_size
        self._gathers = gathers
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._waiting = 0  # images in the queue
        self._rate = _FIRST_RATE
        self._drawing: asyncio.Task[None] | None = None
        # One thread draws: the model's own threads are all busy with a batch. Others pack what was drawn.
        self._artist = ThreadPoolExecutor(1, "ganport-draw")
        self._room = asyncio.Semaphore(_MOST_PACKED)
        self._encoders = ThreadPoolExecutor(_ENCODERS, "ganport-encode")

    @property
    def waiting(self) -> int:
        """Images that wait to be drawn."""
        return self._waiting

    async def draw(self, wanted: Draw, finish: Finish) -> list[Any]:
        """Draw images, and return what `finish` made of each part of them, in order.

        Args:
            wanted: of any number; drawn in parts of a batch.
            finish: is called in another thread with the images of a part, uint8 (n, height, width, channels).

        Raises:
            QueueFullError: too many images wait.
            TimedOutError: they were not drawn in time.
            GanportError: as `Sampler`.
        """
        if self._waiting and self._waiting + len(wanted) > self._most_waiting:
            self._metrics.rejected.inc()
            raise QueueFullError(self._waiting, max(1, round(self._waiting / self._rate)))
        loop = asyncio.get_running_loop()
        parts = [_Waiting(part, finish, loop.create_future()) for part in wanted.split(self._size)]
        self._queue.extend(parts)
        self._waiting += len(wanted)
        if self._drawing is None:
            self._drawing = loop.create_task(self._work())
        try:
            async with asyncio.timeout(self._patience):
                return list(await asyncio.gather(*(part.answer for part in parts)))
        except TimeoutError:
            raise TimedOutError(self._patience) from None

    async def pack(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function makes of images that were drawn, in a thread beside the next batch. Raises TimedOutError."""
        packed = asyncio.get_running_loop().run_in_executor(self._encoders, function, *arguments)
        try:
            return await asyncio.wait_for(packed, self._patience)
        except TimeoutError:
            raise TimedOutError(self._patience) from None

    async def close(self) -> None:
        """End what was begun, and let the threads go."""
        if self._drawing is not None:
            await self._drawing
        await asyncio.to_thread(self._artist.shutdown)
        await asyncio.to_thread(self._encoders.shutdown)

    async def _work(self) -> None:
        """Draw until nothing waits."""
        loop = asyncio.get_running_loop()
        while batch := self._gather():
            started = time.perf_counter()
            for each in batch:
                self._metrics.queue_seconds.observe(started - each.since)
            # Nobody waits for the next batch: packed where it was drawn, an image saves the way to another thread.
            is_alone = len(batch) == 1 and len(batch[0].draw) == 1 and not self._queue
            answer = None
            try:
                if is_alone:
                    images, answer = await loop.run_in_executor(self._artist, self._draw_alone, batch[0])
                else:
                    images = await loop.run_in_executor(self._artist, self._draw_all, [each.draw for each in batch])
            except Exception as error:  # whatever it is, those who wait are told, and the next batch is drawn
                _fail(batch, error)
                continue
            seconds, count = time.perf_counter() - started, len(images)
            self._rate = 0.8 * self._rate + 0.2 * count / seconds
            self._metrics.drew(count, seconds)
            if is_alone:
                _hand_over([(batch[0], answer, None)])
                continue
            await self._room.acquire()
            self._encoders.submit(_finish, loop, batch, images, self._room.release)
        self._drawing = None

    def _gather(self) -> list[_Waiting]:
        """Return what waits, up to a batch, without those who have gone."""
        batch: list[_Waiting] = []
        room = self._size
        while self._queue and (not batch or (self._gathers and len(self._queue[0].draw) <= room)):
            each = self._queue.popleft()
            self._waiting -= len(each.draw)
            if not each.answer.done():
                batch.append(each)
                room -= len(each.draw)
        return batch

    def _draw_alone(self, waiting: _Waiting) -> tuple[Pixels, Any]:
        images = self._draw_all([waiting.draw])
        return images, waiting.finish(images)

    def _draw_all(self, draws: Sequence[Draw]) -> Pixels:
        labels = None if draws[0].labels is None else np.concatenate([each.labels for each in draws if each.labels is not None])
        if self._sampler.model.input.kind != "latent":
            return self._sampler.sample(np.concatenate([each.seeds for each in draws]), labels=labels)
        return self._sampler.sample_latents(np.concatenate(self._latents(draws)), labels)

    def _latents(self, draws: Sequence[Draw]) -> list[npt.NDArray[np.float32]]:
        """Return the latents of each; those of all seeds are worked out together."""
        by_seed = [each.seeds for each in draws if each.latents is None]
        dim = self._sampler.model.input.dim
        worked_out = latents_of(np.concatenate(by_seed), dim) if by_seed else np.empty((0, dim), np.float32)
        latents, start = [], 0
        for each in draws:
            if each.latents is not None:
                latents.append(each.latents)
                continue
            own = worked_out[start : start + len(each)]
            latents.append(own if each.truncation == 1 else own * np.float32(each.truncation))
            start += len(each)
        return latents


def _finish(loop: asyncio.AbstractEventLoop, batch: Sequence[_Waiting], images: Pixels, release: Callable[[], None]) -> None:
    """Make the answers, and hand them over to the loop at once."""
    answers: list[tuple[_Waiting, Any, Exception | None]] = []
    start = 0
    for each in batch:
        if each.answer.done():  # it was given up
            start += len(each.draw)
            continue
        try:
            answers.append((each, each.finish(images[start : start + len(each.draw)]), None))
        except Exception as error:  # of one; the others get theirs
            answers.append((each, None, error))
        start += len(each.draw)
    loop.call_soon_threadsafe(_hand_over, answers)
    loop.call_soon_threadsafe(release)


def _hand_over(answers: Sequence[tuple[_Waiting, Any, Exception | None]]) -> None:
    for each, result, error in answers:
        if each.answer.done():
            continue  # it was given up
        if error is None:
            each.answer.set_result(result)
        else:
            each.answer.set_exception(error)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    _hand_over([(each, None, error) for each in batch])
