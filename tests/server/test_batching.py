"""Many clients at once: requests share batches, get their own images, and fail in time under overload."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.slow_generator import slow_model
from ganport.runtime import InputSpec, Sampler
from ganport.runtime.request import request_seeds
from ganport.server.batching import Batcher
from ganport.server.errors import QueueFullError, TimedOutError, TooManyImagesError
from ganport.server.metrics import Metrics
from tests.server.conftest import encode_png, started
from tests.third_party_graphs import LABELS, dynamic_model, joined_model
from tests.tiny_generator import DIM, tiny_contract, tiny_model


class Service:
    """A batcher, and the metrics that it updates."""

    def __init__(self, sampler, *, queue=1000, timeout=60.0, **options):
        self.metrics = Metrics()
        self.batcher = Batcher(sampler, self.metrics, queue=queue, timeout=timeout, **options)
        self._contract = sampler.contract

    async def generate(self, seeds, encode, *, label=None, truncation=1.0):
        request = request_seeds(self._contract, seeds, labels=label, truncation=truncation)
        return await self.batcher.generate(request, encode)

    def start(self, seeds, encode=len):
        return asyncio.create_task(self.generate(seeds, encode))

    def metric(self, name):
        return self.metrics.registry.get_sample_value(name)


def unchanged(images):
    return images


def test_each_request_gets_its_own_images(sampler):
    async def main():
        service = Service(sampler, queue=100_000)
        rng = np.random.default_rng(1)
        requests = [
            (rng.integers(0, 2**62, size).tolist(), label, truncation)
            for size in (1, 1, 1, 7, 64, 300, 1)
            for label in (None, 4)
            for truncation in (1.0, 0.7)
        ]
        results = await asyncio.gather(
            *(
                service.generate(seeds, unchanged, label=label, truncation=truncation)
                for seeds, label, truncation in requests
            )
        )
        await service.batcher.close()
        return service, requests, results

    service, requests, results = asyncio.run(main())
    for (seeds, label, truncation), images in zip(requests, results, strict=True):
        assert (images == sampler.sample(seeds, labels=label, truncation=truncation)).all()
    assert service.metric("ganport_images_total") == sum(len(seeds) for seeds, *_ in requests)
    assert service.metric("ganport_batch_images_count") < len(requests)  # several requests shared a batch


@pytest.mark.parametrize("distribution", ["uniform", "uniform01"])
def test_uniform_latents_are_those_of_the_sampler(distribution):
    async def main():
        service = Service(sampler)
        tasks = [service.generate(range(5), unchanged, truncation=truncation) for truncation in (1.0, 0.5)]
        results = await asyncio.gather(*tasks)
        await service.batcher.close()
        return results

    spec = InputSpec(kind="latent", name="latent", dim=DIM, distribution=distribution)
    contract = tiny_contract(dtype="uint8", input=spec)
    model = tiny_model("uint8", metadata={"ganport": contract.to_json()})
    with Sampler(model.SerializeToString()) as sampler:
        whole, nearer = asyncio.run(main())
        assert (whole == sampler.sample(range(5))).all()
        assert (nearer == sampler.sample(range(5), truncation=0.5)).all()


@pytest.mark.parametrize("batching", [True, False])
def test_waiting_requests_share_a_batch(held, batching):
    async def main():
        service = Service(held, batching=batching)
        await service.batcher.warm_up()
        first = service.start([0])
        await asyncio.sleep(0.05)  # it is being computed
        others = [service.start([seed]) for seed in range(64)]
        await asyncio.sleep(0.05)
        held.released.set()
        assert await asyncio.gather(first, *others) == [1] * 65
        await service.batcher.close()
        return service.metric("ganport_batch_images_count")

    assert asyncio.run(main()) == (2 if batching else 65)


def test_a_request_beyond_the_queue_limit_is_rejected_at_once(held):
    async def main():
        service = Service(held, queue=10)
        first = service.start([0])
        await asyncio.sleep(0.05)  # the first request is being computed, and no longer in the queue
        waiting = [service.start(range(5)) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert service.batcher.queued_images == 10
        with pytest.raises(QueueFullError) as caught:
            await service.generate([1], len)
        held.released.set()
        await asyncio.gather(first, *waiting)
        assert await service.generate([1], len) == 1  # the queue has space again
        await service.batcher.close()
        return caught.value, service.metric("ganport_rejected_total")

    error, rejected = asyncio.run(main())
    assert error.waiting == 11  # one of them is being generated
    assert error.retry_after >= 1
    assert rejected == 1


def test_a_request_that_has_timed_out_is_not_generated(held):
    async def main():
        service = Service(held, timeout=0.2)
        tasks = [service.start([0])]
        await asyncio.sleep(0.05)  # the first request is being computed when the others arrive
        tasks += [service.start([1]), service.start([2])]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        held.released.set()
        await service.batcher.close()
        return results, service.metric("ganport_images_total"), service.batcher.queued_images

    results, generated, queued = asyncio.run(main())
    assert all(isinstance(result, TimedOutError) for result in results)
    assert generated == 1
    assert queued == 0


@pytest.fixture(scope="module")
def slow():
    """A generator that takes a tenth of a second or more for each image."""
    with Sampler(slow_model(60)) as sampler:
        yield sampler


def test_only_images_that_will_be_ready_in_time_are_accepted(slow):
    """Otherwise all requests would wait for the time limit, and most of the work would be lost."""

    async def main():
        service = Service(slow, timeout=4)
        await service.batcher.warm_up()
        requests = [service.start([seed]) for seed in range(200)]
        results = await asyncio.gather(*requests, return_exceptions=True)
        await service.batcher.close()
        return results, service.metric("ganport_images_total")

    results, generated = asyncio.run(main())
    answered = results.count(1)
    rejected = [result for result in results if isinstance(result, QueueFullError)]
    assert answered >= 3
    assert len(rejected) > 100
    assert generated - answered <= max(2, answered / 3)  # images that were generated too late
    assert all(1 <= error.retry_after <= 300 for error in rejected)


def test_a_rejected_client_that_waits_as_told_is_accepted(slow):
    async def main():
        service = Service(slow, timeout=4)
        await service.batcher.warm_up()
        requests = [service.start([seed]) for seed in range(2000)]
        await asyncio.sleep(0.01)  # the rejected ones are done
        rejected = [request.exception() for request in requests if request.done()]
        try:
            await asyncio.sleep(rejected[0].retry_after)
            result = await service.generate([1], len)
        except QueueFullError as error:  # the machine has become slower since the images were timed
            await asyncio.sleep(error.retry_after)
            result = await service.generate([1], len)
        await asyncio.gather(*requests, return_exceptions=True)
        await service.batcher.close()
        return result

    assert asyncio.run(main()) == 1


def test_a_request_that_can_never_be_ready_in_time_is_named(slow):
    async def main():
        service = Service(slow, timeout=1)
        await service.batcher.warm_up()
        with pytest.raises(
            TooManyImagesError, match=r"1,000 images take about .* s here, and the limit is 1 s"
        ):
            await service.generate(range(1000), len)
        await service.batcher.close()

    asyncio.run(main())


def test_a_batch_of_a_slow_generator_takes_a_short_time(slow):
    async def main():
        service = Service(slow)
        await service.batcher.warm_up()
        assert await service.generate(range(60), len) == 60
        await service.batcher.close()
        return service.metric("ganport_batch_images_count")

    assert asyncio.run(main()) >= 2


def test_the_image_of_a_client_that_has_gone_is_not_generated(in_thread, held):
    client = in_thread(held)
    connections = []
    for seed in range(3):  # the first one is being generated, and the others wait
        connection = socket.create_connection(("127.0.0.1", client.port))
        connection.sendall(f"GET /v1/images/{seed}.png HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connections.append(connection)
    wait_until(lambda: client.metric("ganport_queue_images") == 2)
    for connection in connections[1:]:
        connection.close()
    wait_until(lambda: client.metric("ganport_queue_images") == 0)
    assert b'status="499"} 2.0' in client.get("/metrics").content
    held.released.set()
    assert connections[0].recv(12) == b"HTTP/1.1 200"
    connections[0].close()
    assert client.metric("ganport_images_total") == 1


def wait_until(is_true):
    limit = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_an_error_in_one_batch_does_not_affect_the_next(sampler):
    async def main():
        service = Service(sampler)

        def fails(images):
            raise ZeroDivisionError

        results = await asyncio.gather(
            service.generate([0], fails), service.generate([1], len), return_exceptions=True
        )
        await service.batcher.close()
        return results

    failed, succeeded = asyncio.run(main())
    assert isinstance(failed, ZeroDivisionError)
    assert succeeded == 1


def test_slow_encoding_stops_the_generator(sampler):
    """Otherwise batches of pixels would pile up in memory, outside the bounded queue."""

    async def main():
        service = Service(sampler, queue=300, timeout=1)
        encoding = threading.Event()
        tasks = [service.start(range(256), lambda images: encoding.wait(20)) for _ in range(8)]
        await asyncio.sleep(0.5)
        generated = service.metric("ganport_images_total")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        encoding.set()
        await service.batcher.close()
        return generated, results

    generated, results = asyncio.run(main())
    assert generated <= 6 * 256
    assert all(isinstance(result, (TimedOutError, QueueFullError)) for result in results)


def test_over_http_many_clients_get_their_own_images(service, sampler):
    expected = [encode_png(image) for image in sampler.sample(range(200))]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda seed: service.get(f"/v1/images/{seed}.png").content, range(200)))
    assert found == expected


def test_over_http_a_full_queue_is_429(in_thread, sampler):
    client = in_thread(queue=1)
    with ThreadPoolExecutor(32) as pool:
        responses = list(pool.map(lambda _: client.post("/v1/sample", {"seeds": "0-499"}), range(64)))
    statuses = {response.status for response in responses}
    assert statuses == {200, 429}
    rejected = next(response for response in responses if response.status == 429)
    assert int(rejected.headers["Retry-After"]) >= 1
    assert "images are waiting" in rejected.document["error"]
    assert client.get("/v1/images/1.png").content == encode_png(sampler.sample([1])[0])


def test_over_http_a_timeout_is_504(in_thread, held):
    client = in_thread(held, timeout=0.3)
    response = client.get("/v1/images/1.png")
    assert response.status == 504
    assert "within 0.3 s" in response.document["error"]


def test_accepted_requests_are_finished_before_the_end(tmp_path):
    with (
        started("mnist", "--no-page", "--queue", 100_000, "--timeout", 600, cwd=tmp_path) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        responses = [
            pool.submit(client.post, "/v1/sample", {"seeds": "0-1023", "format": "tar"}) for _ in range(8)
        ]
        limit = time.monotonic() + 30
        # The last request is accepted when the images of the others can't make up the sum. A batch that is
        # being computed is in neither number.
        while client.metric("ganport_queue_images") + client.metric("ganport_images_total") <= 7 * 1024:
            assert time.monotonic() < limit
        client.process.send_signal(signal.SIGTERM)
        assert [response.result().status for response in responses] == [200] * 8
        client.process.wait(30)
        assert client.process.returncode in (0, 128 + signal.SIGTERM)
        assert "Traceback" not in client.process.stderr.read()


def test_dynamically_quantised_file_has_one_body_for_one_etag(tmp_path):
    """Such a file would give a seed other pixels in each batch, and 64 clients share many batches."""
    path = tmp_path / "dynamic.onnx"
    path.write_bytes(dynamic_model())
    alone = Sampler(path).sample([7])[0]
    with started(path, "--no-page", cwd=tmp_path) as client, ThreadPoolExecutor(64) as pool:
        others = (f"/v1/images/{seed}.png" for seed in range(100, 228))
        waiting = [pool.submit(client.get, other) for other in others]
        responses = list(pool.map(client.get, ["/v1/images/7.png"] * 128))
        assert all(each.result().status == 200 for each in waiting)
    assert {each.status for each in responses} == {200}
    assert len({each.headers["ETag"] for each in responses}) == 1
    assert {each.content for each in responses} == {encode_png(alone)}


def test_description_of_a_third_party_file_is_part_of_the_etag(tmp_path):
    path = tmp_path / "joined.onnx"
    path.write_bytes(joined_model())
    tags = []
    for options in ([], ["--labels", LABELS]):
        with started(path, "--no-page", *options, cwd=tmp_path) as client:
            tags.append(client.get("/v1/images/7.png").headers["ETag"])
    assert tags[0] != tags[1]
