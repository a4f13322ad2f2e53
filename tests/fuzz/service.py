"""Target for the HTTP service: the bytes of a request, sent to a real service on loopback."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import re
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np

from ganport.runtime import Sampler
from ganport.server import serve, service_name
from tests.third_party_graphs import DIM, index_model

from .mutations import mutate_bytes, mutate_json
from .target import Target, UnexpectedError

_ANSWER_S = 0.1  # an incomplete request gets no answer, so it is not waited for longer
_END = b"\r\n\r\n"


class _ErrorList(logging.Handler):
    """Keeps the errors that uvicorn logs, such as an exception in the application."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class HttpTarget(Target):
    """The service: it answers no request with status 500, logs no exception, and goes on serving."""

    @staticmethod
    def mutate(rng: Random, content: bytes, other: bytes) -> bytes:
        header, end, body = content.partition(_END)
        kind = rng.randrange(4)
        if kind == 0:
            return mutate_bytes(rng, content, other)
        if kind > 1 and body:
            body = mutate_json(rng, body, other)
        else:
            line, _, rest = header.partition(b"\r\n")
            header = mutate_bytes(rng, line, other.partition(b"\r\n")[0]) + b"\r\n" + rest
        header = re.sub(rb"(?i)\r\ncontent-length: *\d+", b"\r\nContent-Length: %d" % len(body), header)
        return header + (end or _END) + body

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sampler = Sampler(index_model(), threads=1)
        self._errors = _ErrorList()
        url: queue.Queue[str] = queue.Queue()
        arguments = {"port": 0, "on_start": url.put}
        threading.Thread(target=serve, args=[self._sampler], kwargs=arguments, daemon=True).start()
        self._port = int(url.get(timeout=60).split("/")[2].rpartition(":")[2])
        logging.getLogger("uvicorn.error").addHandler(self._errors)

    def examples(self) -> Iterable[bytes]:
        for path in (
            *(
                "/v1/images/7.png",
                "/v1/images/7.png?label=2&truncation=0.5",
                "/v1/grid.png?seeds=0-3",
                "/v1/model",
            ),
            *("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v2", "/v2/health/ready", "/"),
            f"/v2/models/{service_name(self._sampler)}",
        ):
            yield f'GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: "a"{_END.decode()}'.encode()
        yield _post("/v1/sample", {"seeds": [1, 2], "labels": 1, "truncation": 0.5, "format": "npz"})
        yield _post("/v1/sample", {"seeds": "0-3", "labels": ["0", "1", "2", 3], "format": "tar"})
        latents = {"name": "z", "datatype": "FP32", "shape": [1, DIM]}
        labels = {"name": "label", "datatype": "INT64", "shape": [1], "data": [3]}
        infer = f"/v2/models/{service_name(self._sampler)}/infer"
        yield _post(infer, {"id": "a", "inputs": [latents | {"data": [0.5] * DIM}, labels]})
        binary = latents | {"parameters": {"binary_data_size": 4 * DIM}}
        wanted = [{"name": "image", "parameters": {"binary_data": True}}]
        yield _post(
            infer, {"inputs": [binary, labels], "outputs": wanted}, np.zeros(DIM, np.float32).tobytes()
        )

    def run(self, content: bytes) -> None:
        answer = self._send(content, _ANSWER_S)
        health = self._send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 60.0)
        if self._errors.texts:
            text = self._errors.texts.pop()
            self._errors.texts.clear()
            raise UnexpectedError(f"{text.strip().splitlines()[-1]}\n{text}")
        if answer.split(b" ")[1:2] == [b"500"]:
            raise UnexpectedError(f"status 500: {answer[:2000]!r}")
        if b" 200 " not in health[:20]:
            raise UnexpectedError(f"the service does not answer any more: {health[:200]!r}")

    def _send(self, content: bytes, wait: float) -> bytes:
        """Send a request, and return the start of the answer; empty if there is none in time."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection.sendall(content)
                connection.settimeout(wait)
                while _END not in answer:
                    received = connection.recv(65_536)
                    if not received:
                        break
                    answer += received
        return answer


def _post(path: str, document: object, binary: bytes = b"") -> bytes:
    body = json.dumps(document).encode()
    length = f"Inference-Header-Content-Length: {len(body)}\r\n" if binary else ""
    header = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}"
        f"Content-Length: {len(body) + len(binary)}{_END.decode()}"
    )
    return header.encode() + body + binary
