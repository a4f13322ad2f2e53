"""The examples in docs/serving.md: nginx runs with its file, systemd reads the unit, the commands work."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganport.runtime import seed_of
from tests.conftest import ROOT
from tests.server.conftest import Client, started


def example(language):
    """The only code block of a language in docs/serving.md."""
    page = (ROOT / "docs/serving.md").read_text()
    (block,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return block


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextlib.contextmanager
def nginx_before(service, folder, *changes):
    """Run nginx with the example before one service, after some changes of the text. Yield a client."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    port, configuration = free_port(), example("nginx")
    own = (
        ("listen 80", f"listen 127.0.0.1:{port}"),
        ("127.0.0.1:8001", f"127.0.0.1:{service.port}"),
        ("    server 127.0.0.1:8002;\n", ""),
        ("/var/cache/nginx/ganport", str(folder / "cache")),
    )
    for old, new in (*own, *changes):
        assert old in configuration
        configuration = configuration.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder};" for kind in kinds)
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; {paths} {configuration} }}"
    )
    command = [program, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command)
    try:
        yield Client(port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answer_through_nginx(client, path, **headers):
    limit = time.monotonic() + 20
    while True:
        try:
            return client.get(path, **headers)
        except ConnectionRefusedError:  # nginx is starting
            assert time.monotonic() < limit
            time.sleep(0.05)


def test_nginx_caches_what_the_service_allows(service, tmp_path):
    with nginx_before(service, tmp_path) as nginx:
        fingerprint = answer_through_nginx(nginx, "/v1/model").document["fingerprint"]
        by_name = f"/v1/images/by-name/a%2Fb%20%25.png?model={fingerprint}"
        first, second = nginx.get(by_name), nginx.get(by_name)
        assert [each.headers["X-Cache"] for each in (first, second)] == ["MISS", "HIT"]
        expected = service.get(f"/v1/images/{seed_of('a/b %')}.png").content
        assert first.content == second.content == expected
        assert nginx.get(by_name, If_None_Match=first.headers["ETag"]).status == 304
        plain = [nginx.get("/v1/images/7.png") for _ in range(2)]
        assert [each.headers["X-Cache"] for each in plain] == ["MISS", "MISS"]
        assert nginx.post("/v1/sample", {"seeds": "0-3"}).status == 200


def test_nginx_can_cache_all_images_for_ten_minutes(service, tmp_path):
    with nginx_before(service, tmp_path, ("# proxy_", "proxy_")) as nginx:
        answers = [answer_through_nginx(nginx, "/v1/images/8.webp?size=64") for _ in range(2)]
        assert [each.headers["X-Cache"] for each in answers] == ["MISS", "HIT"]


def test_systemd_reads_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = example("ini").replace("/opt/ganport/bin/ganport", sys.executable)  # the program must exist
    file = tmp_path / "ganport@8001.service"
    file.write_text(unit)
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    own = [line for line in result.stderr.splitlines() if "ganport@8001" in line]
    assert (result.returncode, own) == (0, []), result.stderr


def test_the_command_of_the_unit_serves(tmp_path, tiny_file):
    (line,) = re.findall(r"ExecStart=(.*)", example("ini"))
    program, command, model, *options = line.split()
    assert (Path(program).name, command, Path(model).suffix) == ("ganport", "serve", ".onnx")
    options = [option for option in options if option not in ("--port", "%i")]  # `started` adds a port
    with started(tiny_file, *options, cwd=tmp_path) as client:
        assert client.get("/readyz").content == b"ready"


def test_the_commands_of_the_dockerfile_work(tmp_path, tiny_file):
    instructions = dict(re.findall(r"^([A-Z]+) (.*)$", example("dockerfile"), re.MULTILINE))
    assert instructions["RUN"].endswith("'ganport[cpu,fast,server]'")
    program, command, model, *options = json.loads(instructions["CMD"])
    assert (program, command, model) == ("ganport", "serve", instructions["COPY"].split()[1])
    options = ["127.0.0.1" if option == "0.0.0.0" else option for option in options]
    check = json.loads(instructions["HEALTHCHECK"].removeprefix("CMD "))
    with started(tiny_file, *options, cwd=tmp_path) as client:
        code = check[2].replace(f":{instructions['EXPOSE']}/", f":{client.port}/")
        assert str(client.port) in code
        assert subprocess.run([sys.executable, check[1], code], check=False).returncode == 0
