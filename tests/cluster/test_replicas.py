"""The service on a Ray cluster: the bytes of one process, whoever is lost on the way."""

from __future__ import annotations

import collections
import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

ray = pytest.importorskip("ray")
pytest.importorskip("ray.serve")

from ganport.runtime import encode_png  # noqa: E402
from tests.conftest import ROOT, failure  # noqa: E402
from tests.server.conftest import sampler, started  # noqa: E402

__all__ = ["sampler"]
on_three_machines = pytest.mark.slow  # half a minute until all of them can draw


@pytest.fixture(scope="module")
def replicated(machines, tmp_path_factory):
    """Three replicas behind one address, each on a machine of its own, and the machine that is to be lost."""
    lost = machines.add_node(num_cpus=1)
    machines.wait_for_nodes()
    arguments = ("mnist", "--engine", "ray", "--address", machines.address)
    with started(*arguments, cwd=tmp_path_factory.mktemp("replicas"), GANPORT_API_KEY="open sesame") as client:
        yield client, lost


def get(client, seed, **headers):
    """An image. The machines share one address here: where the proxy of one stops, those that it had must ask again."""
    for _ in range(20):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return client.get(f"/v1/images/{seed}.png?label=3", X_API_Key="open sesame", **headers)
        time.sleep(0.5)
    pytest.fail("nobody answers")


@pytest.mark.slow
def test_what_was_stopped_starts_again(machines, tmp_path):
    for _ in range(2):
        with started("mnist", "--engine", "ray", "--address", machines.address, "--replicas", "1", cwd=tmp_path) as client:
            assert client.get("/v1/images/7.png").status == 200


@pytest.mark.slow
def test_a_start_on_a_busy_cluster_can_be_stopped(machines, tmp_path):
    ray.init(address=machines.address, log_to_driver=False)
    try:
        busy = ray.remote(num_cpus=1)(collections.Counter).remote()
        ray.get(busy.total.remote())
        command = [sys.executable, str(ROOT / "cli.py"), "serve", "mnist", "--engine", "ray", "--address", machines.address]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(25)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        assert said == ""
    finally:
        ray.shutdown()


@on_three_machines
def test_the_bytes_of_one_process(replicated, sampler):
    client, _ = replicated
    for seed in (0, 7, 2**63 - 1):
        answer = get(client, seed)
        assert answer.status == 200
        assert answer.content == encode_png(sampler.sample([seed], labels="3")[0])
    tag = answer.headers["etag"]
    assert get(client, 7, If_None_Match=tag).status == 200
    for _ in range(10):  # whichever replica is asked
        same = get(client, seed, If_None_Match=tag)
        assert (same.status, same.content) == (304, b"")


@on_three_machines
def test_the_key_and_the_errors_are_those_of_the_service(replicated):
    client, _ = replicated
    assert client.get("/v1/images/7.png").status == 401
    assert get(client, -1).status == 422
    assert client.get("/nothing", X_API_Key="open sesame").status == 404
    assert client.get("/healthz").content == b"alive"


@on_three_machines
def test_a_lost_machine_is_done_without(machines, replicated, sampler):
    """What it was about to answer is lost; what comes later is not."""
    client, lost = replicated
    assert get(client, 0).status == 200
    machines.remove_node(lost, allow_graceful=False)
    limit, good = time.monotonic() + 60, 0
    while good < 100:  # one after the other
        assert time.monotonic() < limit
        answer = get(client, good)
        good = good + 1 if answer.status == 200 else 0
        assert answer.status != 200 or answer.content == encode_png(sampler.sample([good - 1], labels="3")[0])


@on_three_machines
def test_one_cluster_serves_once(machines, replicated, ganport):
    result = ganport("serve", "mnist", "--engine", "ray", "--address", machines.address)
    assert "Ray Serve runs on it already, with mnist-conditional; `serve shutdown` ends that." in failure(result)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "{taken}"], "Can't listen on 127.0.0.1, port {taken}: address already in use; name others with"),
        (["--replicas", "500"], "500 replicas are asked for; it has room for"),
    ],
)
def test_what_can_not_be(ganport, options, words):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = ganport("serve", "mnist", "--engine", "ray", *(option.format(taken=port) for option in options))
    assert words.format(taken=port) in failure(result)


@pytest.mark.slow
def test_full_queues_say_so(tmp_path):
    """Ray does not let clients wait where a replica would send them away. A cluster of this machine alone."""
    arguments = ("mnist", "--engine", "ray", "--replicas", "1", "--queue", "1")
    with started(*arguments, cwd=tmp_path) as client, ThreadPoolExecutor(60) as many:
        begun = time.monotonic()
        answers = list(many.map(lambda n: client.post("/v1/sample", {"seeds": f"{n}-{n + 999}", "format": "tar"}), range(60)))
        assert time.monotonic() - begun < 30
        assert {answer.status for answer in answers} == {200, 429}
        assert all(answer.headers["retry-after"] for answer in answers if answer.status == 429)
        client.process.send_signal(signal.SIGINT)
        assert client.process.wait(60) == 0


def test_options_that_do_not_go_together(ganport):
    assert "name it with --engine ray" in failure(ganport("serve", "mnist", "--replicas", "2"), 2)
    assert "choose --replicas" in failure(ganport("serve", "mnist", "--engine", "ray", "--threads", "2"), 2)
