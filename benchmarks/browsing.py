"""Measures the browser page in headless Chromium: time to the first image, images/s, and equality of pixels.

It also measures the longest pause of the page's own thread while the worker generates 500 images.

    python -m benchmarks.browsing [MODEL.onnx ...]

Without models, the script measures the pretrained MNIST generator, and an rps-dcgan at 100x100 with random
weights. Each page is measured twice: without and with the headers that allow WebAssembly threads.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from ganport.runtime import PRETRAINED, Sampler
from ganport.web import Site, write_site

REPEATS = 5
BATCHES = 12
OPTIONS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
RATE = """async (batches) => {
    const { Generator } = await import("./ganport/ganport.js");
    const generator = await Generator.load("generator.onnx");
    const seeds = Array.from({ length: 64 }, (_, seed) => seed);
    const times = [];
    for (let batch = 0; batch < batches; batch++) {
        const started = performance.now();
        await generator.sampleBatch(seeds);
        times.push(performance.now() - started);
    }
    const images = await generator.sampleBatch(seeds);
    generator.close();
    return { times, pixels: images.flatMap(({ data }) => Array.from(data)) };
}"""
# Chromium reports tasks of 50 ms and more. The pauses between messages also show the shorter ones. A pause is
# a task and up to 4 ms of waiting.
LONGEST_PAUSE = """async () => {
    const { Generator } = await import("./ganport/ganport.js");
    const generator = await Generator.load("generator.onnx");
    let longest = 0, last = performance.now(), isRunning = true;
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
        const now = performance.now();
        longest = Math.max(longest, now - last);
        last = now;
        if (isRunning) setTimeout(() => port2.postMessage(null));
    };
    port2.postMessage(null);
    const images = await generator.sampleBatch(Array.from({ length: 500 }, (_, seed) => seed));
    isRunning = false;
    generator.close();
    return longest;
}"""


def serve(folder: Path, isolated: bool) -> ThreadingHTTPServer:
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def end_headers(self):
            if isolated:
                self.send_header("Cross-Origin-Opener-Policy", "same-origin")
                self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def measure(browser, url: str) -> tuple[list[float], list[float], np.ndarray]:
    """Return the seconds to the first image, the seconds of each batch of 64, and the pixels of a batch."""
    firsts = []
    for _ in range(REPEATS):
        context = browser.new_context()
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url)
        page.wait_for_selector("canvas[data-rendered]", timeout=120_000)
        firsts.append(time.perf_counter() - started)
        context.close()
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("canvas[data-rendered]", timeout=120_000)
    found = page.evaluate(RATE, BATCHES)
    page.close()
    return firsts, [each / 1000 for each in found["times"][2:]], np.array(found["pixels"], np.uint8)


def longest_pause(browser, url: str) -> float:
    """Return the longest pause of the page's own thread in milliseconds: the shortest of five rounds."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("canvas[data-rendered]", timeout=120_000)
    rounds = [page.evaluate(LONGEST_PAUSE) for _ in range(REPEATS)]
    page.close()
    return min(rounds)


def compare(site: Site, model: Path, browser) -> None:
    """Measure a page with one thread and with several, compare its pixels with Sampler's, and print both."""
    expected = Sampler(model).sample(range(64))
    print(f"{site.contract.name}: {site.transfer / 1e6:.1f} MB, {site.compressed / 1e6:.1f} MB compressed")
    for isolated in (False, True):
        server = serve(site.folder, isolated)
        url = f"http://127.0.0.1:{server.server_port}/"
        firsts, batches, rgba = measure(browser, url)
        longest = longest_pause(browser, url)
        server.shutdown()
        images = rgba.reshape(*expected.shape[:3], 4)[..., : expected.shape[3]]
        off = np.abs(images.astype(int) - expected)
        first = f"{statistics.median(firsts):.2f} s ({min(firsts):.2f} to {max(firsts):.2f})"
        print(
            f"  {'threads' if isolated else 'one thread'}: first image after {first}, "
            f"{64 / statistics.median(batches):,.0f} images/s; {(off > 0).mean():.4%} of {off.size:,} values "
            f"differ, by {off.max()} at most; longest pause of the page {longest:.0f} ms",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the browser page in headless Chromium.")
    parser.add_argument("models", nargs="*", type=Path)
    models = parser.parse_args().models
    program = shutil.which("chromium")
    if program is None:
        sys.exit("Chromium is not installed; Debian's package: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        if not models:
            from benchmarks.sampling import export

            models = [PRETRAINED["mnist"], export("rps-dcgan", folder)[1]]
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        for model in models:
            compare(write_site(model, folder / "sites" / model.stem), model, browser)
        browser.close()


if __name__ == "__main__":
    main()
