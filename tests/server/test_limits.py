"""Slow and broken clients: their connections are closed, and other clients are not affected."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ganport.server import limits
from tests.server.conftest import encode_png, started


@pytest.fixture
def impatient(monkeypatch, in_thread):
    """A service with a timeout of half a second for slow clients."""
    monkeypatch.setattr(limits, "CLIENT_TIMEOUT_S", 0.5)
    return in_thread()


@contextlib.contextmanager
def connected(client):
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        yield connection


def read_all(connection):
    """All bytes that the service sends until it closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def post_request(body):
    """A request of HTTP/1.1 with a JSON body."""
    header = (
        "POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return (header % len(body)).encode() + body


LARGE_FILE = post_request(b'{"seeds": "0-1023", "format": "tar"}')


def test_an_incomplete_header_times_out(impatient):
    with connected(impatient) as connection:
        connection.sendall(b"GET /v1/images/1.png HTTP/1.1\r\nHost: x\r\n")
        before = time.monotonic()
        assert read_all(connection) == b""
        assert time.monotonic() - before < 5


def test_a_silent_connection_times_out(impatient):
    with connected(impatient) as connection:
        before = time.monotonic()
        assert read_all(connection) == b""
        assert time.monotonic() - before < 5


def test_a_slow_client_gets_the_whole_response(impatient):
    """The response takes longer than the timeout, but the client receives every part in time."""
    with connected(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sendall(6 * LARGE_FILE)
        received, limit = 0, time.monotonic() + 60
        while received < 6_000_000 and time.monotonic() < limit:
            received += len(connection.recv(32_768))
            time.sleep(0.01)
        assert received >= 6_000_000


def test_a_large_body_does_not_count_as_the_next_header(in_thread):
    with connected(in_thread()) as connection:
        body = b"x" * 150_000
        header = b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(header % len(body) + body)
        assert b" 415 " in connection.recv(65_536)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHos")
        time.sleep(0.2)
        connection.sendall(b"t: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 200 " in read_all(connection)


def test_a_header_that_arrives_in_small_parts_times_out(impatient):
    with connected(impatient) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        before = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(b"a: b\r\n")
                time.sleep(0.1)
        assert time.monotonic() - before < 5


def test_an_endless_header_is_cut_off(in_thread):
    with connected(in_thread()) as connection:
        before = time.monotonic()
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000)
        assert read_all(connection).startswith(b"HTTP/1.1 431 ")
        assert time.monotonic() - before < limits.CLIENT_TIMEOUT_S / 2


@pytest.mark.parametrize("start", [b"GET /healthz?", b"GET /healthz HTTP/1.1\r\nLong: "])
def test_a_header_of_70_kb_is_rejected_with_words(in_thread, start):
    """It arrives at once, so it is complete before its length is known."""
    with connected(in_thread()) as connection:
        rest = b" HTTP/1.1\r\n\r\n" if b"?" in start else b"\r\n\r\n"
        connection.sendall(start + b"x" * 70_000 + rest)
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 431 ")
    assert b'{"error": "The header is too long; the limit is 64 KB."}' in response


def test_an_incomplete_body_times_out(impatient):
    with connected(impatient) as connection:
        connection.sendall(b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        response = read_all(connection)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.5 s" in response


def test_a_response_that_is_not_received_times_out(impatient):
    with connected(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(8 * LARGE_FILE)  # several megabytes of responses, more than the system buffers
        limit = time.monotonic() + 20
        with pytest.raises(OSError):  # noqa: PT011, PT012 - the connection is closed: reset, or broken pipe
            while time.monotonic() < limit:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(0.1)


@pytest.mark.parametrize("length", [b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_that_is_too_large_is_rejected(in_thread, length):
    client = in_thread()
    with connected(client) as connection:
        connection.sendall(b"POST /v1/sample HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n")

        def send():
            with contextlib.suppress(OSError):
                for _ in range(100):
                    connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

        sender = threading.Thread(target=send)
        sender.start()
        response = read_all(connection)
        sender.join()
    assert response.startswith(b"HTTP/1.1 413 ") or response == b""  # a reset may overtake the response
    assert client.get("/healthz").status == 200


def test_a_compressed_body_is_rejected(service):
    response = service.post("/v1/sample", b"x", Content_Encoding="gzip", Content_Type="application/json")
    assert response.status == 415


@pytest.mark.parametrize(
    "sent",
    [b"\x00\x01\x02\xff" * 100, b"GET\r\n\r\n", b"POST /v1/sample HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
def test_bytes_that_are_not_http_are_rejected(impatient, sent):
    with connected(impatient) as connection:
        connection.sendall(sent)
        assert read_all(connection)[:12] in (b"", b"HTTP/1.1 400")


def test_slow_clients_do_not_affect_others(impatient, sampler):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connected(impatient)).sendall(b"GET /v1/images/1.png HTTP/1.1\r\n")
        for seed in range(20):
            assert impatient.get(f"/v1/images/{seed}.png").content == encode_png(sampler.sample([seed])[0])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no comparable limit for open files")
def test_idle_clients_keep_no_one_out_where_few_files_may_be_open(tmp_path):
    limit = "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    code = f"import os, resource, sys; {limit}; os.execv(sys.executable, sys.argv[1:])"
    program = [sys.executable, "-c", code, sys.executable]
    with (
        started("mnist", "--no-page", cwd=tmp_path, program=program) as client,
        contextlib.ExitStack() as stack,
    ):
        connections = [stack.enter_context(connected(client)) for _ in range(150)]
        for connection in connections[::2]:
            with contextlib.suppress(OSError):  # it may be closed already
                connection.sendall(b"GET /v1/images/1.png HTTP/1.1\r\n")
        before = time.monotonic()
        assert client.get("/healthz").status == 200
        assert client.get("/v1/images/1.png").status == 200
        assert time.monotonic() - before < limits.CLIENT_TIMEOUT_S / 2


def test_a_connection_beyond_the_limit_is_answered_if_all_others_are_busy(in_thread, held):
    client = in_thread(held, connections=1)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(client.get, "/v1/images/1.png")
        time.sleep(0.2)  # until its request has arrived
        response = client.get("/healthz")
        held.released.set()
        assert busy.result().status == 200
    assert response.status == 503
    assert response.document["error"] == "All connections of the service are busy; try again later."
    assert client.get("/healthz").status == 200


def test_an_idle_connection_stays_open(impatient):
    with connected(impatient) as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while not received.endswith(b"alive"):  # header and body may arrive separately
                part = connection.recv(65536)
                assert part, received
                received += part
            assert received.startswith(b"HTTP/1.1 200")
            time.sleep(1.2)  # longer than the timeout for a header
