"""The service under load from a second process, beside what a user would write instead.

    python -m benchmarks.serving [--seconds 5] [--repeats 3] [--connections 1 16 64 256]
                                  [--only throughput|overload] [--minutes 10]

    throughput  images/s and latency at 1, 16, 64 and 256 connections: with micro-batches and without, on Ray (one replica), a
                plain FastAPI handler, and LitServe where it is installed; each image of another seed, so that nothing comes
                from a cache
    overload    about twice as many images as can be drawn, for some minutes, then a minute of clients that never pause,
                whatever they are told: what is answered, memory, and how fast /healthz is

All of them and the client, wrk (Debian's package), share the machine. Weights are random.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.sampling import SYSTEMS, export
from ganport.server import Settings

CONNECTIONS = (1, 16, 64, 256)
GET = """
local n = 0
request = function() n = n + 1; return wrk.format("GET", string.format("/v1/images/%d.png", n)) end
"""
POST_SEED = """
local n = 0
wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"
request = function() n = n + 1; return wrk.format(nil, "/predict", nil, string.format('{"seed": %d}', n)) end
"""
PERCENTILES = """
done = function(summary, latency)
  for _, p in ipairs({50, 95, 99}) do io.write(string.format("p%d %.3f\\n", p, latency:percentile(p) / 1000)) end
end
"""
POST_MANY = """
local n = 0
wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"
request = function() n = n + 1
  return wrk.format(nil, "/v1/sample", nil, string.format('{"format": "npz", "seeds": "%d-%d"}', n * 64, n * 64 + 63)) end
"""
PAUSE = "delay = function() return math.random(0, %d) end"  # ms before each request of a connection
CLIENTS, EACH = 64, 64  # connections under overload, images that a request asks for


@contextlib.contextmanager
def running(kind: str, model: Path) -> Iterator[tuple[int, subprocess.Popen]]:
    """Start a service as a process; yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = OURS.get(kind)
    if call:
        command = [sys.executable, "-c", f"import benchmarks.serving as s; {call.format(model=str(model), port=port)}"]
    else:
        command = [sys.executable, "-m", "benchmarks.serving_peers", kind, str(model), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        path = "/health" if kind == "litserve" else "/v1/images/0.png"
        for _ in range(600):
            time.sleep(0.1)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).read()
                break
            except OSError:
                continue
        yield port, process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # LitServe's workers outlive it, and keep a core busy


def ours(model: str, port: int, gathers: bool) -> None:
    from ganport.runtime import Sampler
    from ganport.server import serve

    with Sampler(model) as sampler:
        serve(sampler, Settings(gathers=gathers), port=port)


def ours_on_ray(model: str, port: int) -> None:
    from ganport.cluster.replicas import serve_on_ray
    from ganport.runtime import Sampler

    with Sampler(model, repeatable=True) as sampler:
        serve_on_ray(sampler, Settings(), port=port, replicas=1)


OURS = {
    "batches": "s.ours({model!r}, {port}, True)",
    "one by one": "s.ours({model!r}, {port}, False)",
    "on Ray": "s.ours_on_ray({model!r}, {port})",
}


def load(port: int, connections: int, seconds: float, script: str) -> dict[str, float]:
    """Let wrk ask for some seconds; return requests/s, percentiles in ms, and how many answers were no success."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + PERCENTILES)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", file.name, f"http://127.0.0.1:{port}"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])}
    found |= {name: float(value) for name, value in re.findall(r"^(p\d+) ([\d.]+)$", text, re.MULTILINE)}
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    found["refused"] = float(refused[1]) if refused else 0.0
    return found


def throughput(files: dict[str, Path], seconds: float, repeats: int, numbers: Sequence[int]) -> None:
    kinds = [*OURS, "plain"] + (["litserve"] if importlib.util.find_spec("litserve") else [])
    for name, model in files.items():
        print(f"\n{name}: images/s, latency in ms at 50, 95 and 99 %; how many times the plain handler's")
        rates: dict[int, dict[str, list[dict[str, float]]]] = {each: {kind: [] for kind in kinds} for each in numbers}
        for _ in range(repeats):
            for kind in kinds:
                with running(kind, model) as (port, _):
                    script = POST_SEED if kind == "litserve" else GET
                    load(port, 16, 1, script)
                    for connections in numbers:
                        rates[connections][kind].append(load(port, connections, seconds, script))
        for connections in numbers:
            for kind, found in rates[connections].items():
                plain = rates[connections]["plain"]
                ratios = [each["rate"] / other["rate"] for each, other in zip(found, plain, strict=True)]
                rate, half, most, nearly = (
                    statistics.median(each[of] for each in found) for of in ("rate", "p50", "p95", "p99")
                )
                print(
                    f"  {connections:4} connections  {kind:11} {rate:8,.0f}/s  {half:8.1f} {most:8.1f} {nearly:8.1f}  "
                    f"{statistics.median(ratios):5.2f} times ({min(ratios):.2f} to {max(ratios):.2f})",
                    flush=True,
                )


def overload(model: Path, minutes: float) -> None:
    """Ask for more than can be drawn."""
    print(f"\noverload: rps-dcgan, requests of {EACH} images from {CLIENTS} connections")
    with running("batches", model) as (port, process):
        rate = load(port, 4, 10, POST_MANY)["rate"] * EACH
        print(f"  what it can: {rate:,.0f} images/s, at 4 connections")
        # Half of the requests are let in and wait for a full queue; with this pause after each, twice the rate is asked for.
        pause = max(0.0, CLIENTS * EACH / (2 * rate) - Settings().most_waiting / (2 * rate))
        press(port, process, "about twice that", minutes, POST_MANY + PAUSE % (2000 * pause))
        press(port, process, "without a pause", 1, POST_MANY)


def press(port: int, process: subprocess.Popen, name: str, minutes: float, script: str) -> None:
    """Let the clients ask for some minutes, look at the service ten times a second, and print what was seen."""
    before, began = answers_of(port), time.perf_counter()
    delays: list[float] = []
    sizes: list[int] = []
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        address = f"http://127.0.0.1:{port}"
        command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{minutes * 60:g}s", "--timeout", "60s", "-s", file.name, address]
        wrk = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while wrk.poll() is None:
            time.sleep(0.1)
            asked = time.perf_counter()
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10).read()
            delays.append(1000 * (time.perf_counter() - asked))
            status = Path(f"/proc/{process.pid}/status").read_text()
            sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024)
    seconds = time.perf_counter() - began
    found = {status: count - before.get(status, 0) for status, count in answers_of(port).items()}
    asked_for, drawn = sum(found.values()), found.get("200", 0)
    counts = ", ".join(f"{status}: {count:,.0f}" for status, count in found.items() if count)
    tenth = max(1, len(sizes) // 10)
    half, most, nearly = np.percentile(delays, (50, 95, 99))
    rate = drawn * EACH / seconds
    print(f"  {name}, {minutes:g} min: {asked_for / max(drawn, 1):.1f} times what was drawn ({rate:,.0f} images/s)")
    print(f"    answers by status: {counts}")
    print(f"    resident: {statistics.median(sizes[:tenth])} MB at first, {statistics.median(sizes[-tenth:])} MB at the end")
    print(
        f"    /healthz: {len(delays):,} answers, {half:.0f}, {most:.0f}, {nearly:.0f} and {max(delays):.0f} ms at 50, 95, 99 "
        f"and 100 %; alive: {process.poll() is None}",
        flush=True,
    )


def answers_of(port: int) -> dict[str, float]:
    """Return how often /v1/sample was answered so far, by status."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    lines = (line for line in text.splitlines() if line.startswith("ganport_requests_total{") and "/v1/sample" in line)
    return {re.search(r'status="(\d+)"', line)[1]: float(line.rsplit(maxsplit=1)[1]) for line in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description="The service under load.")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--minutes", type=float, default=10, help="of the overload")
    parser.add_argument("--only", choices=("throughput", "overload"))
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed; Debian's package: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        files = {name: export(name, Path(folder))[1] for name in SYSTEMS}
        if arguments.only != "overload":
            throughput(files, arguments.seconds, arguments.repeats, arguments.connections)
        if arguments.only != "throughput":
            overload(files["rps-dcgan"], arguments.minutes)


if __name__ == "__main__":
    main()
