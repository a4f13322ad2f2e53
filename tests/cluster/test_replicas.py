"""The service on a Ray cluster: the bytes of one process, whoever is lost on the way."""

from __future__ import annotations

import http.client
import socket
import time

import pytest

pytest.importorskip("ray.serve")

from runtime import encode_png
from tests.conftest import failure
from tests.server.conftest import sampler, started

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
    return client.get(f"/v1/images/{seed}.png?label=3", X_API_Key="open sesame", **headers)


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
        try:
            answer = get(client, good)
        except (OSError, http.client.HTTPException):
            good = 0
            continue
        good = good + 1 if answer.status == 200 else 0
        assert answer.status != 200 or answer.content == encode_png(sampler.sample([good - 1], labels="3")[0])


def test_a_port_that_is_taken(machines, ganport):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = ganport("serve", "mnist", "--engine", "ray", "--address", machines.address, "--port", port)
    assert f"Can't listen on 127.0.0.1, port {port}: address already in use" in failure(result)


def test_options_that_do_not_go_together(ganport):
    assert "name it with --engine ray" in failure(ganport("serve", "mnist", "--replicas", "2"), 2)
    assert "choose --replicas" in failure(ganport("serve", "mnist", "--engine", "ray", "--threads", "2"), 2)
