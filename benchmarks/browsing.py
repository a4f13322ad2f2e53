"""Measures the browser page in headless Chromium: time to the first image, images/s, and equality of pixels.

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
    const { WorkerClient } = await import("./client.js");
    let client;
    await new Promise((resolve) => {
        client = new WorkerClient((event) => event.kind === "ready" && resolve());
    });
    const seeds = Array.from({ length: 64 }, (_, seed) => BigInt(seed));
    const settings = { label: null, truncation: 1 };
    const times = [];
    for (let batch = 0; batch < batches; batch++) {
        const started = performance.now();
        await client.generate(seeds, settings);
        times.push(performance.now() - started);
    }
    const rgba = await client.generate(seeds, settings);
    return { times, pixels: Array.from(rgba) };
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


def compare(site: Site, model: Path, browser) -> None:
    """Measure a page with one thread and with several, compare its pixels with Sampler's, and print both."""
    expected = Sampler(model).sample(range(64))
    print(f"{site.contract.name}: {site.transfer / 1e6:.1f} MB, {site.compressed / 1e6:.1f} MB compressed")
    for isolated in (False, True):
        server = serve(site.folder, isolated)
        firsts, batches, rgba = measure(browser, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
        images = rgba.reshape(*expected.shape[:3], 4)[..., : expected.shape[3]]
        off = np.abs(images.astype(int) - expected)
        first = f"{statistics.median(firsts):.2f} s ({min(firsts):.2f} to {max(firsts):.2f})"
        print(
            f"  {'threads' if isolated else 'one thread'}: first image after {first}, "
            f"{64 / statistics.median(batches):,.0f} images/s; {(off > 0).mean():.4%} of {off.size:,} values "
            f"differ, by {off.max()} at most",
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
