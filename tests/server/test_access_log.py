"""The access log: one line for each response, in two forms, which nothing that a client sends can break."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import subprocess
import time

import pytest

from ganport.runtime.errors import UsageError
from ganport.server import Settings
from ganport.server.access_log import AccessLog
from tests.server.conftest import started


def wait_for_lines(capsys, count):
    """The lines of the log. A line is written just after the client has its response."""
    text, limit = "", time.monotonic() + 20
    while text.count("\n") < count:
        assert time.monotonic() < limit
        time.sleep(0.01)
        text += capsys.readouterr().out
    return text.splitlines()


def test_the_common_form_is_that_of_other_servers(in_thread, capsys):
    client = in_thread(access_log="common")
    image = client.get("/v1/images/7.png?label=3").content
    client.get('/v1/images/by-name/%22%0A"<\\.png')
    client.request("HEAD", "/healthz")
    first, second, third = wait_for_lines(capsys, 3)
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "
        rf'"GET /v1/images/7\.png\?label=3 HTTP/1\.1" 200 {len(image)}',
        first,
    )
    assert r'"GET /v1/images/by-name/%22%0A\x22<\x5c.png HTTP/1.1" 200 ' in second
    assert third.endswith('"HEAD /healthz HTTP/1.1" 200 0')


def test_the_json_form_has_one_document_a_line(in_thread, capsys):
    client = in_thread(access_log="json", api_key="secret")
    client.get("/v1/images/7.png", User_Agent='a "b"', X_API_Key="secret")
    client.get("/v1/images/7.png")
    lines = wait_for_lines(capsys, 2)
    first, second = map(json.loads, lines)
    assert first.keys() == {"time", "client", "method", "path", "status", "bytes", "seconds", "user_agent"}
    assert (first["path"], first["status"], first["user_agent"]) == ("/v1/images/7.png", 200, 'a "b"')
    assert 0 < first["seconds"] < 60
    assert second["status"] == 401
    assert "secret" not in "".join(lines)


def test_a_log_that_can_not_be_written_stops_no_response(caplog, monkeypatch):
    stream, sent = io.StringIO(), []
    stream.close()
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    monkeypatch.setattr(logger, "propagate", False)  # uvicorn may have set up the logger above it
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [],
    }

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    async def main():
        log = AccessLog(app, "common", stream)
        await log(scope, None, send)
        await log(scope, None, send)

    asyncio.run(main())
    assert len(sent) == 2
    assert caplog.text.count("The access log ends here, because it can't be written: I/O operation") == 1


def test_the_command_writes_the_log_to_standard_output(tmp_path):
    options = ("--access-log", "json", "--cors", "https://example.org", "--log-level", "info")
    with started("mnist", "--no-page", *options, cwd=tmp_path, stdout=subprocess.PIPE) as client:
        response = client.get("/v1/images/7.png", Origin="https://example.org")
        line = client.process.stdout.readline()
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert json.loads(line)["path"] == "/v1/images/7.png"


def test_an_unknown_form_is_named():
    with pytest.raises(UsageError, match="`access_log` is 'xml'; it must be common, json or None"):
        Settings(access_log="xml")
