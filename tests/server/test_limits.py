"""Clients that are slow, broken or too large: cut off, and nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from ganport.runtime import encode_png
from ganport.server import limits
from tests.conftest import failure


@pytest.fixture
def hasty(monkeypatch, in_thread):
    """A service that waits for half a second."""
    monkeypatch.setattr(limits, "SLOWEST_S", 0.5)
    return in_thread()


@contextlib.contextmanager
def connected(client):
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        yield connection


def answer(connection):
    """All that the service says until it closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_a_head_that_does_not_come(hasty):
    with connected(hasty) as connection:
        connection.sendall(b"GET /v1/images/1.png HTTP/1.1\r\nHost: x\r\n")
        before = time.monotonic()
        assert answer(connection) == b""
        assert time.monotonic() - before < 5


def test_a_connection_on_which_nothing_comes(hasty):
    with connected(hasty) as connection:
        before = time.monotonic()
        assert answer(connection) == b""
        assert time.monotonic() - before < 5


def test_who_takes_an_answer_slowly_gets_all_of_it(hasty):
    """Slower than the system's buffers empty in the time that a client has to move."""
    with connected(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        body = b'{"seeds": "0-1023", "format": "tar"}'
        head = b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        for _ in range(6):
            connection.sendall(head % len(body) + body)
        received, limit = 0, time.monotonic() + 60
        while received < 6_000_000 and time.monotonic() < limit:
            received += len(connection.recv(32_768))
            time.sleep(0.01)
        assert received >= 6_000_000


def test_a_large_body_does_not_count_for_the_next_head(in_thread):
    with connected(in_thread()) as connection:
        body = b"x" * 150_000
        connection.sendall(b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert b" 415 " in connection.recv(65_536)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHos")
        time.sleep(0.2)
        connection.sendall(b"t: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 200 " in answer(connection)  # behind what is left of the first


def test_a_head_that_trickles(hasty):
    with connected(hasty) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        before = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(b"a: b\r\n")
                time.sleep(0.1)
        assert time.monotonic() - before < 5


def test_a_head_without_end(in_thread):
    with connected(in_thread()) as connection:
        before = time.monotonic()
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000)
        assert answer(connection) == b""
        assert time.monotonic() - before < limits.SLOWEST_S / 2


def test_a_body_that_does_not_come(hasty):
    with connected(hasty) as connection:
        connection.sendall(b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        said = answer(connection)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.5 s" in said


def test_an_answer_that_is_not_taken(hasty, sampler):
    """Its connection ends, and the memory that it held."""
    with connected(hasty) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = b'{"seeds": "0-1023", "format": "tar"}'
        request = b"POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        for _ in range(8):  # several megabytes of answers: more than the system keeps
            connection.sendall(request % len(body) + body)
        limit = time.monotonic() + 20
        with pytest.raises(OSError):  # noqa: PT011, PT012 - nobody is there any more: reset, or broken pipe
            while time.monotonic() < limit:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(0.1)


@pytest.mark.parametrize("length", [b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_that_is_too_large(in_thread, length):
    client = in_thread()
    with connected(client) as connection:
        connection.sendall(b"POST /v1/sample HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n")

        def send():
            with contextlib.suppress(OSError):
                for _ in range(100):
                    connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

        sender = threading.Thread(target=send)
        sender.start()
        said = answer(connection)
        sender.join()
    assert said.startswith(b"HTTP/1.1 413 ") or said == b""  # a reset may overtake the answer
    assert client.get("/healthz").status == 200


def test_a_compressed_body(service):
    refused = service.post("/v1/sample", b"x", Content_Encoding="gzip", Content_Type="application/json")
    assert refused.status == 415


@pytest.mark.parametrize(
    "sent", [b"\x00\x01\x02\xff" * 100, b"GET\r\n\r\n", b"POST /v1/sample HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_http(hasty, sent):
    with connected(hasty) as connection:
        connection.sendall(sent)
        assert answer(connection)[:12] in (b"", b"HTTP/1.1 400")


def test_others_are_unharmed(hasty, sampler):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connected(hasty)).sendall(b"GET /v1/images/1.png HTTP/1.1\r\n")
        for seed in range(20):
            assert hasty.get(f"/v1/images/{seed}.png").content == encode_png(sampler.sample([seed])[0])


def test_a_connection_that_is_kept_and_quiet_stays(hasty):
    with connected(hasty) as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while not received.endswith(b"alive"):  # head and body may come apart
                part = connection.recv(65536)
                assert part, received
                received += part
            assert received.startswith(b"HTTP/1.1 200")
            time.sleep(1.2)  # longer than a head may take


def test_a_port_that_is_taken(ganport):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = failure(ganport("serve", "mnist", "--no-page", "--port", str(port)))
    assert line == f"error: Can't listen on 127.0.0.1, port {port}: address already in use; name others with --host and --port."
    assert "Can't listen on 1.2.3.4, port 8000: " in failure(ganport("serve", "mnist", "--no-page", "--host", "1.2.3.4"))
