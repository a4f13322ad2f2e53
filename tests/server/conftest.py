"""Fixtures of the service: in a separate process, as a user starts it, or in a thread, with small limits."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import uvicorn

from ganport.runtime import PRETRAINED, Sampler, png
from ganport.server import Settings, make_service
from ganport.server.process import limited_protocol
from tests.conftest import ROOT

encode_png = functools.partial(png.encode_png, encoder=png.fast_encoder())  # as the service encodes


@dataclasses.dataclass
class Response:
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def document(self):
        return json.loads(self.content)


@dataclasses.dataclass
class Client:
    """A client of one service on loopback. Each request uses a new connection."""

    port: int
    process: subprocess.Popen | None = None

    def request(self, method, path, body=None, **headers) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if isinstance(body, dict):
            body, headers = json.dumps(body), {"Content-Type": "application/json"} | headers
        with contextlib.closing(connection):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())

    def get(self, path, **headers) -> Response:
        return self.request("GET", path, **headers)

    def post(self, path, body, **headers) -> Response:
        return self.request("POST", path, body, **headers)

    def metric(self, name) -> float:
        """The value of a metric, summed over its labels."""
        lines = self.get("/metrics").content.decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))
        )


@contextlib.contextmanager
def started(
    *arguments,
    cwd: Path,
    program: Sequence[str] = (sys.executable,),
    stdout: int | None = None,
    **environment,
) -> Iterator[Client]:
    """Run `ganport serve` as a process until the block ends. `program` is the command that starts Python."""
    command = [*program, str(ROOT / "cli.py"), "serve", *map(str, arguments), "--port", "0"]
    env = os.environ | {"COLUMNS": "200"} | environment
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if line.startswith("http://"):
                break
        else:
            pytest.fail(f"the service ended with exit code {process.wait()}")
        yield Client(int(line.split("/")[2].rsplit(":", 1)[1]), process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stderr.close()
        if process.stdout is not None:
            process.stdout.close()


class HeldSampler(Sampler):
    """A sampler that generates nothing for the batcher until it is released."""

    def __init__(self):
        super().__init__(PRETRAINED["mnist"])
        self.released = threading.Event()

    def sample_from_latents(self, latents, *, labels=None):
        self.released.wait(30)
        return super().sample_from_latents(latents, labels=labels)


@pytest.fixture
def held() -> Iterator[HeldSampler]:
    with HeldSampler() as sampler:
        yield sampler
        sampler.released.set()


@pytest.fixture(scope="session")
def sampler() -> Iterator[Sampler]:
    with Sampler(PRETRAINED["mnist"]) as sampler:
        yield sampler


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The pretrained MNIST generator, without the page."""
    with started("mnist", "--no-page", cwd=tmp_path_factory.mktemp("service")) as client:
        yield client


@pytest.fixture
def in_thread(sampler: Sampler) -> Iterator[Callable[..., Client]]:
    """A function that starts a service in a thread."""
    servers = []

    def start(
        model: Sampler = sampler, site: Path | None = None, connections: int = 1_000, **settings
    ) -> Client:
        app = make_service(model, settings=Settings(**settings), site=site)
        config = uvicorn.Config(
            app, port=0, http=limited_protocol(connections), ws="none", log_level="error", access_log=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        limit = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < limit
            time.sleep(0.01)
        return Client(server.servers[0].sockets[0].getsockname()[1])

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
