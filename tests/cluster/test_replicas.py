"""The service on a Ray cluster: the same bytes as from one process, also after a machine is lost."""

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

from ganport.cluster.replicas import serve_on_ray  # noqa: E402
from ganport.runtime.errors import UsageError  # noqa: E402
from tests.conftest import ROOT, failure  # noqa: E402
from tests.server.conftest import encode_png, sampler, started  # noqa: E402

__all__ = ["sampler"]
on_three_machines = pytest.mark.slow  # it takes half a minute until all replicas are ready


@pytest.fixture(scope="module")
def replicated(machines, tmp_path_factory):
    """A client of three replicas, each on its own machine, and the machine that a test removes."""
    extra = machines.add_node(num_cpus=1)
    machines.wait_for_nodes()
    arguments = ("mnist", "--engine", "ray", "--address", machines.address)
    folder = tmp_path_factory.mktemp("replicas")
    with started(*arguments, cwd=folder, GANPORT_API_KEY="open sesame") as client:
        yield client, extra


def get(client, seed, **headers):
    """Request an image.

    All machines share one address here. If the proxy of one machine stops, its clients must try again.
    """
    for _ in range(20):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return client.get(f"/v1/images/{seed}.png?label=3", X_API_Key="open sesame", **headers)
        time.sleep(0.5)
    pytest.fail("no response")


@pytest.mark.slow
def test_a_stopped_service_can_be_started_again(machines, tmp_path):
    arguments = ("mnist", "--engine", "ray", "--address", machines.address, "--replicas", "1")
    for _ in range(2):
        with started(*arguments, cwd=tmp_path) as client:
            assert client.get("/v1/images/7.png").status == 200


@pytest.mark.slow
def test_a_start_on_a_busy_cluster_can_be_stopped(machines, tmp_path):
    ray.init(address=machines.address, log_to_driver=False)
    try:
        busy = ray.remote(num_cpus=1)(collections.Counter).remote()
        ray.get(busy.total.remote())
        cli = [sys.executable, str(ROOT / "cli.py")]
        command = [*cli, "serve", "mnist", "--engine", "ray", "--address", machines.address]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(25)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        assert errors == ""
    finally:
        ray.shutdown()


@on_three_machines
def test_every_replica_gives_the_bytes_of_one_process(replicated, sampler):
    client, _ = replicated
    for seed in (0, 7, 2**63 - 1):
        response = get(client, seed)
        assert response.status == 200
        assert response.content == encode_png(sampler.sample([seed], labels="3")[0])
    tag = response.headers["etag"]
    assert get(client, 7, If_None_Match=tag).status == 200
    for _ in range(10):  # ten requests, so that several replicas answer
        same = get(client, seed, If_None_Match=tag)
        assert (same.status, same.content) == (304, b"")


@on_three_machines
def test_the_api_key_and_the_errors_are_those_of_one_process(replicated):
    client, _ = replicated
    assert client.get("/v1/images/7.png").status == 401
    assert get(client, -1).status == 422
    assert client.get("/nothing", X_API_Key="open sesame").status == 404
    assert client.get("/healthz").content == b"alive"


@on_three_machines
def test_the_service_goes_on_without_a_lost_machine(machines, replicated, sampler):
    """Requests that the lost machine had accepted may fail. Later requests succeed."""
    client, extra = replicated
    assert get(client, 0).status == 200
    machines.remove_node(extra, allow_graceful=False)
    limit, successes = time.monotonic() + 60, 0
    while successes < 100:  # 100 successes in a row
        assert time.monotonic() < limit
        seed = successes
        response = get(client, seed)
        if response.status != 200:
            successes = 0
            continue
        assert response.content == encode_png(sampler.sample([seed], labels="3")[0])
        successes += 1


@on_three_machines
def test_a_cluster_serves_one_model(machines, replicated, ganport):
    line = failure(ganport("serve", "mnist", "--engine", "ray", "--address", machines.address))
    assert "Ray Serve already runs there, with mnist-conditional; stop Ray Serve with: serve shutdown" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--port", "{used}"],
            "Can't listen on 127.0.0.1, port {used}: address already in use; choose another --host",
        ),
        (["--replicas", "500"], "500 replicas do not fit on it; choose --replicas up to "),
    ],
)
def test_the_command_names_the_option_that_is_wrong(ganport, options, expected):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        options = [option.format(used=port) for option in options]
        result = ganport("serve", "mnist", "--engine", "ray", *options)
    assert expected.format(used=port) in failure(result)


@pytest.mark.slow
def test_a_replica_answers_429_if_its_queue_is_full(tmp_path):
    """Ray passes on requests that a replica then rejects. The cluster consists of this machine only."""
    arguments = ("mnist", "--engine", "ray", "--replicas", "1", "--queue", "1")

    with started(*arguments, cwd=tmp_path) as client, ThreadPoolExecutor(60) as pool:

        def request(number):
            return client.post("/v1/sample", {"seeds": f"{number}-{number + 999}", "format": "tar"})

        begun = time.monotonic()
        responses = list(pool.map(request, range(60)))
        assert time.monotonic() - begun < 30
        assert {response.status for response in responses} == {200, 429}
        assert all(response.headers["retry-after"] for response in responses if response.status == 429)
        client.process.send_signal(signal.SIGINT)
        assert client.process.wait(60) == 0


def test_a_wrong_number_of_replicas_is_named(sampler):
    with pytest.raises(UsageError, match="`replicas` is 0; it must be 1 or more"):
        serve_on_ray(sampler, replicas=0)


def test_options_that_exclude_each_other_are_rejected(ganport):
    assert "add --engine ray" in failure(ganport("serve", "mnist", "--replicas", "2"), 2)
    assert "choose --replicas" in failure(ganport("serve", "mnist", "--engine", "ray", "--threads", "2"), 2)
