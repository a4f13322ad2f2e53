"""The engines in Chromium: `ganport.js` with WebAssembly, and with WebGPU on SwiftShader."""

from __future__ import annotations

import base64
import contextlib
import functools
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from benchmarks.device_packages import EXPORT_S, NotAvailableError, find_program, ganport
from benchmarks.device_results import Case, Generated, Pixels

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = ("--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update")
WEBGPU_OPTIONS = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
GENERATE = """async ({ model, provider, seeds, runs }) => {
    const { Generator, GanportError } = await import("./ganport.js");
    let generator;
    try {
        generator = await Generator.load(model, { provider, threads: 1 });
    } catch (error) {
        return { problem: error.message };
    }
    const images = await generator.sampleBatch(seeds);
    const encode = (image) => btoa(Array.from(image.data, (value) => String.fromCharCode(value)).join(""));
    const times = [];
    for (let run = 0; run < runs; run++) {
        const started = performance.now();
        await generator.sample(seeds[run % seeds.length]);
        times.push(performance.now() - started);
    }
    return { images: images.map(encode), times, provider: generator.provider };
}"""
RUNS = 20  # that are measured


def prepare_browser() -> str:
    """Return the path of Chromium."""
    try:
        import playwright  # noqa: F401
    except ModuleNotFoundError as error:
        raise NotAvailableError("the package playwright is not installed") from error
    find_program("npm")
    return find_program(*CHROMIUM)


def run_webassembly(case: Case) -> Generated:
    """Return images of `ganport.js` with WebAssembly, on one thread."""
    return _run_in_chromium(case, "wasm", ("--disable-gpu",))


def run_webgpu(case: Case) -> Generated:
    """Return images of `ganport.js` with WebGPU on SwiftShader, a device in software."""
    return _run_in_chromium(case, "webgpu", WEBGPU_OPTIONS)


def _run_in_chromium(case: Case, provider: str, options: tuple[str, ...]) -> Generated:
    from playwright.sync_api import sync_playwright

    program = prepare_browser()
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary) / "module"
        ganport("web", case.path, "--module", folder, limit_s=EXPORT_S)
        (folder / "index.html").write_text("<!doctype html><title>ganport</title>", encoding="utf-8")
        address = stack.enter_context(_serve(folder))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=program, args=[*OPTIONS, *options])
        stack.callback(browser.close)
        page = browser.new_page()
        page.goto(address)
        found = page.evaluate(
            GENERATE,
            {"model": f"./{case.path.name}", "provider": provider, "seeds": list(case.seeds), "runs": RUNS},
        )
    if "problem" in found:
        raise NotAvailableError(found["problem"])
    if found["provider"] != provider:
        raise NotAvailableError(f"ganport.js chose {found['provider']}")
    return Generated(
        images=np.stack([_decode(image, case) for image in found["images"]]),
        milliseconds=float(np.median(found["times"])),
        bytes=case.path.stat().st_size,
    )


def _decode(encoded: str, case: Case) -> Pixels:
    """Return one image from the RGBA values of a canvas."""
    height, width, channels = case.contract.image.shape
    rgba = np.frombuffer(base64.b64decode(encoded), np.uint8).reshape(height, width, 4)
    return rgba[..., :channels]


@contextlib.contextmanager
def _serve(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback until the block ends, and yield the address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
