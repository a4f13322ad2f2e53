"""The service under load from a second process, compared with other ways to serve the same model.

    python -m benchmarks.serving [--seconds 5] [--repeats 3] [--connections 1 16 64 256]
                                  [--only throughput|overload|slow] [--minutes 10]

    throughput  Images/s and latency at 1, 16, 64 and 256 connections. The services are ganport's with and
                without batching, ganport's on Ray with one replica, a plain FastAPI handler, and LitServe if
                it is installed. Each request has a new seed, so that no response comes from a cache.
    overload    About twice as many requests as the service can answer, for some minutes; then clients that
                never pause, for one minute. The script prints status codes, memory, and latency of /healthz.
    slow        A generator that takes half a second for each image, with a limit of 5 s, gets twice as many
                requests as it can answer, for 15 s. The script prints status codes, and latency of /healthz.

The services and the client share the machine. The client is wrk (Debian's package). The models have random
weights.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
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
from benchmarks.slow_generator import slow_model
from ganport.server import Settings

CONNECTIONS = (1, 16, 64, 256)
GET_IMAGE = """
local n = 0
request = function() n = n + 1; return wrk.format("GET", string.format("/v1/images/%d.png", n)) end
"""
POST_SEED = """
local n = 0
wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"
request = function() n = n + 1
  return wrk.format(nil, "/predict", nil, string.format('{"seed": %d}', n)) end
"""
PERCENTILES = """
done = function(summary, latency)
  for _, p in ipairs({50, 95, 99}) do
    io.write(string.format("p%d %.3f\\n", p, latency:percentile(p) / 1000)) end
end
"""
POST_SAMPLE = """
local n = 0
wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json"
request = function() n = n + 1
  local body = string.format('{"format": "npz", "seeds": "%d-%d"}', n * 64, n * 64 + 63)
  return wrk.format(nil, "/v1/sample", nil, body) end
"""
PAUSE = "delay = function() return math.random(0, %d) end"  # random wait in ms before each request
CLIENTS = 64  # number of connections during the overload
IMAGES_PER_REQUEST = 64  # number of images in each request of the overload
SLOW_TIMEOUT_S, SLOW_SECONDS = 5.0, 15.0  # time limit of a request, and duration of the load
SLOW_CONVOLUTIONS = 100  # in the network of the slow generator


@contextlib.contextmanager
def running(service: str, model: Path) -> Iterator[tuple[int, subprocess.Popen]]:
    """Start a service as a process, and yield its port and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = OWN_SERVICES.get(service)
    if call:
        code = f"import benchmarks.serving as s; {call.format(model=str(model), port=port)}"
        command = [sys.executable, "-c", code]
    else:
        command = [sys.executable, "-m", "benchmarks.serving_peers", service, str(model), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        path = "/health" if service == "litserve" else "/v1/images/0.png"
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
            os.killpg(process.pid, signal.SIGKILL)  # workers of LitServe outlive it, and keep a core busy


def serve_here(model: str, port: int, batching: bool, timeout: float = 30.0) -> None:
    from ganport.runtime import Sampler
    from ganport.server import serve

    with Sampler(model) as sampler:
        serve(sampler, settings=Settings(batching=batching, timeout=timeout), port=port)


def serve_one_replica(model: str, port: int) -> None:
    from ganport.cluster.replicas import serve_on_ray
    from ganport.runtime import Sampler

    with Sampler(model, repeatable=True) as sampler:
        serve_on_ray(sampler, port=port, replicas=1)


OWN_SERVICES = {
    "batches": "s.serve_here({model!r}, {port}, True)",
    "one by one": "s.serve_here({model!r}, {port}, False)",
    "on Ray": "s.serve_one_replica({model!r}, {port})",
    "slow": "s.serve_here({model!r}, {port}, True, s.SLOW_TIMEOUT_S)",
}


def load(port: int, connections: int, seconds: float, script: str) -> dict[str, float]:
    """Send requests with wrk. Returns requests/s, latency percentiles in ms, and the number of failures."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + PERCENTILES)
        file.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", file.name]
        command = ["wrk", *options, f"http://127.0.0.1:{port}"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])}
    found |= {name: float(value) for name, value in re.findall(r"^(p\d+) ([\d.]+)$", text, re.MULTILINE)}
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    found["failed"] = float(failed[1]) if failed else 0.0
    return found


def measure_throughput(
    models: dict[str, Path], seconds: float, repeats: int, connection_counts: Sequence[int]
) -> None:
    services = ["batches", "one by one", "on Ray", "plain"] + (
        ["litserve"] if importlib.util.find_spec("litserve") else []
    )
    for name, model in models.items():
        print(
            f"\n{name}: images/s, latency in ms at 50, 95 and 99 %, and the ratio to the plain handler's rate"
        )
        results = {count: {service: [] for service in services} for count in connection_counts}
        for _ in range(repeats):
            for service in services:
                with running(service, model) as (port, _):
                    script = POST_SEED if service == "litserve" else GET_IMAGE
                    load(port, 16, 1, script)
                    for count in connection_counts:
                        results[count][service].append(load(port, count, seconds, script))
        for count in connection_counts:
            for service, found in results[count].items():
                print_throughput(count, service, found, results[count]["plain"])


def print_throughput(
    connections: int, service: str, found: list[dict[str, float]], plain: list[dict[str, float]]
) -> None:
    ratios = [each["rate"] / other["rate"] for each, other in zip(found, plain, strict=True)]
    rate, p50, p95, p99 = (
        statistics.median(each[figure] for each in found) for figure in ("rate", "p50", "p95", "p99")
    )
    print(
        f"  {connections:4} connections  {service:11} {rate:8,.0f}/s  {p50:8.1f} {p95:8.1f} {p99:8.1f}  "
        f"{statistics.median(ratios):5.2f} times ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def measure_overload(model: Path, minutes: float) -> None:
    """Measure the service while clients send more requests than it can answer."""
    print(f"\noverload: rps-dcgan, requests for {IMAGES_PER_REQUEST} images from {CLIENTS} connections")
    with running("batches", model) as (port, process):
        capacity = load(port, 4, 10, POST_SAMPLE)["rate"] * IMAGES_PER_REQUEST
        print(f"  capacity: {capacity:,.0f} images/s, at 4 connections")
        # At twice the capacity the queue stays full, and half of the requests are rejected at once. Each
        # connection then either waits in the queue or pauses. By Little's law, the mean pause is the number
        # of images of the pausing connections, divided by the number of requested images per second.
        images = CLIENTS * IMAGES_PER_REQUEST - Settings().queue
        pause = max(0.0, images / (2 * capacity))
        overload(port, process, "about twice the capacity", minutes, POST_SAMPLE + PAUSE % (2000 * pause))
        overload(port, process, "without a pause", 1, POST_SAMPLE)


def overload(port: int, process: subprocess.Popen, name: str, minutes: float, script: str) -> None:
    """Send requests for some minutes. Check /healthz and memory ten times a second, and print the results."""
    before, started = count_responses(port), time.perf_counter()
    delays: list[float] = []
    sizes: list[int] = []
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        options = ["-t1", f"-c{CLIENTS}", f"-d{minutes * 60:g}s", "--timeout", "60s", "-s", file.name]
        wrk = subprocess.Popen(["wrk", *options, f"http://127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
        while wrk.poll() is None:
            time.sleep(0.1)
            sent = time.perf_counter()
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10).read()
            delays.append(1000 * (time.perf_counter() - sent))
            status = Path(f"/proc/{process.pid}/status").read_text()
            sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024)
    seconds = time.perf_counter() - started
    found = {status: count - before.get(status, 0) for status, count in count_responses(port).items()}
    requests, successes = sum(found.values()), found.get("200", 0)
    counts = ", ".join(f"{status}: {count:,.0f}" for status, count in found.items() if count)
    tenth = max(1, len(sizes) // 10)
    p50, p95, p99 = np.percentile(delays, (50, 95, 99))
    rate = successes * IMAGES_PER_REQUEST / seconds
    ratio = requests / max(successes, 1)
    print(f"  {name}, {minutes:g} min: {rate:,.0f} images/s, {ratio:.1f} requests for each success")
    print(f"    responses by status: {counts}")
    at_start, at_end = statistics.median(sizes[:tenth]), statistics.median(sizes[-tenth:])
    print(f"    resident memory: {at_start} MB at the start, {at_end} MB at the end")
    health = f"{p50:.0f}, {p95:.0f}, {p99:.0f} and {max(delays):.0f} ms at 50, 95, 99 and 100 %"
    print(f"    /healthz: {len(delays):,} responses, {health}; alive: {process.poll() is None}", flush=True)


def measure_slow(model: Path) -> None:
    """Measure a slow generator at twice its capacity. Each request has its own connection."""
    with running("slow", model) as (port, _):
        asyncio.run(send_twice_the_capacity(port))


async def send_twice_the_capacity(port: int) -> None:
    started = time.perf_counter()
    await asyncio.gather(*(request(port, f"/v1/images/{seed}.png") for seed in range(8)))
    capacity = 8 / (time.perf_counter() - started)
    print(f"\nslow: {capacity:.1f} images/s at 8 connections; now twice as many for {SLOW_SECONDS:g} s")
    health: list[float] = []

    async def check_health() -> None:
        while True:
            health.append((await request(port, "/healthz"))[1])
            await asyncio.sleep(0.1)

    checking = asyncio.create_task(check_health())
    requests = []
    for seed in range(100, 100 + round(2 * capacity * SLOW_SECONDS)):
        requests.append(asyncio.create_task(request(port, f"/v1/images/{seed}.png")))
        await asyncio.sleep(1 / (2 * capacity))
    answers = await asyncio.gather(*requests)
    checking.cancel()
    counts = collections.Counter(status for status, _ in answers)
    slowest = max((seconds for status, seconds in answers if status == 200), default=0.0)
    p50, p99, p100 = 1000 * np.percentile(health, (50, 99, 100))
    print(f"  responses by status: {dict(counts)}; the slowest image took {slowest:.1f} s")
    print(f"  /healthz: {len(health)} responses, {p50:.0f}, {p99:.0f} and {p100:.0f} ms at 50, 99 and 100 %")


async def request(port: int, path: str) -> tuple[int, float]:
    """Return the status of a response, and the seconds until its end."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    response = await reader.read()
    writer.close()
    return int(response[9:12]), time.perf_counter() - started


def count_responses(port: int) -> dict[str, float]:
    """Return the number of responses of /v1/sample so far, by status."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    requests = (line for line in text.splitlines() if line.startswith("ganport_requests_total{"))
    lines = (line for line in requests if "/v1/sample" in line)
    return {re.search(r'status="(\d+)"', line)[1]: float(line.rsplit(maxsplit=1)[1]) for line in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service under load.")
    parser.add_argument(
        "--seconds", type=float, default=5, help="seconds of each measurement of the throughput"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--minutes", type=float, default=10, help="minutes of the overload")
    parser.add_argument("--only", choices=("throughput", "overload", "slow"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only in (None, "slow"):
            model = Path(folder) / "slow.onnx"
            model.write_bytes(slow_model(SLOW_CONVOLUTIONS))
            measure_slow(model)
        if arguments.only == "slow":
            return
        if shutil.which("wrk") is None:
            sys.exit("wrk is not installed; Debian's package: apt-get install wrk")
        models = {name: export(name, Path(folder))[1] for name in SYSTEMS}
        if arguments.only != "overload":
            measure_throughput(models, arguments.seconds, arguments.repeats, arguments.connections)
        if arguments.only != "throughput":
            measure_overload(models["rps-dcgan"], arguments.minutes)


if __name__ == "__main__":
    main()
