"""Many clients at once: gathered, answered right, turned away when it is too much, and never kept waiting for ever."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ganport.runtime import encode_png
from ganport.server.api import make_draw
from ganport.server.batching import Batcher, QueueFullError, TimedOutError
from ganport.server.metrics import Metrics
from tests.server.conftest import started


def figures(batcher):
    return {sample.name: sample.value for metric in batcher._metrics.registry.collect() for sample in metric.samples}


def test_each_gets_its_own_images_whoever_asks_beside(sampler):
    async def main():
        batcher = Batcher(sampler, Metrics(), most_waiting=100_000, patience=60)
        rng = np.random.default_rng(1)
        asked = [
            (rng.integers(0, 2**62, size).tolist(), label, truncation)
            for size in (1, 1, 1, 7, 64, 300, 1)
            for label in (None, 4)
            for truncation in (1.0, 0.7)
        ]
        drawn = await asyncio.gather(
            *(batcher.draw(make_draw(sampler, seeds, label, psi), lambda images: images) for seeds, label, psi in asked)
        )
        await batcher.close()
        return asked, drawn, figures(batcher)

    asked, drawn, counted = asyncio.run(main())
    for (seeds, label, psi), parts in zip(asked, drawn, strict=True):
        assert (np.concatenate(parts) == sampler.sample(seeds, psi, label)).all()
    assert counted["ganport_images_total"] == sum(len(seeds) for seeds, *_ in asked)
    assert counted["ganport_batch_images_count"] < len(asked)  # they were gathered


@pytest.mark.parametrize("gathers", [True, False])
def test_what_waits_is_drawn_together(sampler, gathers):
    async def main():
        batcher = Batcher(sampler, Metrics(), most_waiting=1000, patience=60, gathers=gathers)
        held = threading.Event()
        batcher._artist.submit(held.wait)  # as if a batch were being drawn
        tasks = [asyncio.create_task(batcher.draw(make_draw(sampler, [seed], None, 1), len)) for seed in range(64)]
        await asyncio.sleep(0.05)
        held.set()
        assert [part for parts in await asyncio.gather(*tasks) for part in parts] == [1] * 64
        await batcher.close()
        return figures(batcher)["ganport_batch_images_count"]

    assert asyncio.run(main()) == (1 if gathers else 64)


def test_more_than_the_queue_holds_is_turned_away_at_once(sampler):
    async def main():
        batcher = Batcher(sampler, Metrics(), most_waiting=10, patience=60)
        held = threading.Event()
        batcher._artist.submit(held.wait)
        first = asyncio.create_task(batcher.draw(make_draw(sampler, [0], None, 1), len))
        await asyncio.sleep(0.01)  # it is being drawn, and waits no more
        waiting = [asyncio.create_task(batcher.draw(make_draw(sampler, range(5), None, 1), len)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert batcher.waiting == 10
        with pytest.raises(QueueFullError) as caught:
            await batcher.draw(make_draw(sampler, [1], None, 1), len)
        held.set()
        await asyncio.gather(first, *waiting)
        assert await batcher.draw(make_draw(sampler, [1], None, 1), len) == [1]  # there is room again
        await batcher.close()
        return caught.value, figures(batcher)["ganport_rejected_total"]

    error, rejected = asyncio.run(main())
    assert error.waiting == 10
    assert error.retry_after >= 1
    assert rejected == 1


def test_who_has_waited_too_long_is_told_and_not_drawn(sampler):
    async def main():
        batcher = Batcher(sampler, Metrics(), most_waiting=100, patience=0.1)
        held = threading.Event()
        batcher._artist.submit(held.wait)
        tasks = []
        for seed in range(3):
            tasks.append(asyncio.create_task(batcher.draw(make_draw(sampler, [seed], None, 1), len)))
            await asyncio.sleep(0.01)  # the first is being drawn when the others come
        results = await asyncio.gather(*tasks, return_exceptions=True)
        held.set()
        await batcher.close()
        return results, figures(batcher)["ganport_images_total"], batcher.waiting

    results, drawn, waiting = asyncio.run(main())
    assert all(isinstance(result, TimedOutError) for result in results)
    assert drawn == 1
    assert waiting == 0


def test_an_error_of_one_batch_is_not_that_of_the_next(sampler):
    async def main():
        batcher = Batcher(sampler, Metrics(), most_waiting=100, patience=60)

        def fails(images):
            raise ZeroDivisionError

        bad = batcher.draw(make_draw(sampler, [0], None, 1), fails)
        good = batcher.draw(make_draw(sampler, [1], None, 1), len)
        results = await asyncio.gather(bad, good, return_exceptions=True)
        await batcher.close()
        return results

    bad, good = asyncio.run(main())
    assert isinstance(bad, ZeroDivisionError)
    assert good == [1]


def test_what_can_not_be_packed_in_time_holds_the_drawing_up(sampler):
    """Else batches of pixels would pile up where nobody counts them."""

    async def main():
        batcher = Batcher(sampler, Metrics(), most_waiting=300, patience=1)
        packing = threading.Event()
        asked = [
            asyncio.create_task(batcher.draw(make_draw(sampler, range(256), None, 1), lambda images: packing.wait(20)))
            for _ in range(8)
        ]
        await asyncio.sleep(0.5)
        drawn = figures(batcher)["ganport_images_total"]
        results = await asyncio.gather(*asked, return_exceptions=True)
        packing.set()
        await batcher.close()
        return drawn, results

    drawn, results = asyncio.run(main())
    assert drawn <= 6 * 256
    assert all(isinstance(result, (TimedOutError, QueueFullError)) for result in results)


def test_over_http_many_clients_get_right_answers(service, sampler):
    due = [encode_png(image) for image in sampler.sample(range(200))]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda seed: service.get(f"/v1/images/{seed}.png").content, range(200)))
    assert found == due


def test_over_http_too_much_is_429(in_thread, sampler):
    client = in_thread(most_waiting=1)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/sample", {"seeds": "0-499"}), range(64)))
    statuses = {answer.status for answer in answers}
    assert statuses == {200, 429}
    rejected = next(answer for answer in answers if answer.status == 429)
    assert int(rejected.headers["Retry-After"]) >= 1
    assert "images are waiting" in rejected.document["error"]
    assert client.get("/v1/images/1.png").content == encode_png(sampler.sample([1])[0])


def test_over_http_too_late_is_504(in_thread):
    client = in_thread(patience=0.001)
    answer = client.post("/v1/sample", {"seeds": "0-999"})
    assert answer.status == 504
    assert "within 0.001 s" in answer.document["error"]


def test_what_was_accepted_is_finished_before_the_end(tmp_path):
    with started("mnist", "--no-page", "--queue", 100_000, cwd=tmp_path) as client, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, "/v1/sample", {"seeds": "0-1023", "format": "tar"}) for _ in range(8)]
        limit = time.monotonic() + 30
        while client.figure("ganport_queue_seconds_count") < 1:  # some are drawn, some wait
            assert time.monotonic() < limit
        client.process.send_signal(signal.SIGTERM)
        assert [answer.result().status for answer in answers] == [200] * 8
        client.process.wait(30)
        assert client.process.returncode in (0, 128 + signal.SIGTERM)
        assert "Traceback" not in client.process.stderr.read()
