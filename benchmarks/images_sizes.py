"""Speed, memory and file size of the recipe `images` by the size of the images.

    python -m benchmarks.images sizes --out results

Each size is trained for a few steps in a process of its own, whose largest memory is measured. The weights
are not those of a complete training, which changes no speed. The exported file is run on two threads. In
Chromium it runs in the page of `ganport web`, with WebAssembly threads.
"""

from __future__ import annotations

import functools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu import show_table
from benchmarks.images_data import BenchmarkError, make_blobs, write_folder
from benchmarks.images_results import NOT_MEASURED, Result, ResultFile, find_result
from benchmarks.sampling import per_second
from ganport.runtime import Sampler

SIDES = (32, 64, 128, 256)
IMAGES = 500  # number of training images of random colours
STEPS = 80
THREADS = 2
BATCHES = (1, 64)
SECONDS = 5.0  # time for which the exported file is measured, REPEATS times for each batch
REPEATS = 3


def measure_sizes(file: ResultFile, folder: Path | None) -> None:
    """Add a result for each size that has none.

    Args:
        file: The results.
        folder: Folder of training images; None for images of random colours.
    """
    for side in SIDES:
        if find_result(file.read(), side=side):
            continue
        print(f"sizes: {side}x{side}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as name:
            data = folder
            if data is None:
                data = Path(name) / "images"
                write_folder(make_blobs(IMAGES, side), data)
            trained = _train_in_process(data, side, Path(name) / "run")
            model = Path(trained.pop("model"))
            sizes = {"side": side, "bytes": model.stat().st_size}
            file.add({**sizes, **trained, **_measure_runtime(model), "chromium": measure_chromium(model)})


def _train_in_process(data: Path, side: int, run: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.images_sizes", str(data), str(side), str(run)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise BenchmarkError(f"the training of {side}x{side} images failed; its output is above")
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


def train_and_export(data: Path, side: int, run: Path) -> dict[str, Any]:
    """Train and export a generator. Returns its speed, memory, parameters and file, as JSON types."""
    import ganport
    from ganport.trainer.callbacks import Callback, Metrics, TrainingStart

    class Speeds(Callback):
        def __init__(self) -> None:
            self.found: list[float] = []
            self.start: TrainingStart | None = None

        def on_start(self, start: TrainingStart) -> None:
            self.start = start

        def on_steps(self, step: int, metrics: Metrics, images_per_second: float) -> None:
            self.found.append(images_per_second)

    speeds = Speeds()
    # The precision is the one that is faster here, which is the default of a folder of images.
    ganport.train(data, out=run, image_size=side, steps=STEPS, preview_interval=STEPS, callbacks=[speeds])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    from ganport.trainer.networks import build_networks

    assert speeds.start is not None
    networks = build_networks(speeds.start.recipe, images=speeds.start.data.count)
    ganport.export(run)
    return {
        "training": statistics.median(speeds.found[1:] or speeds.found),  # the first chunk is compiled
        "batch_size": speeds.start.recipe.batch_size,
        "memory": memory,
        "generator": networks.generator.count_params(),
        "discriminator": networks.discriminator.count_params(),
        "model": str(run / "generator.onnx"),
    }


def _measure_runtime(model: Path) -> dict[str, float]:
    """Return the images/s of an exported file by batch, each the median of the repeats."""
    rates: dict[str, float] = {}
    with Sampler(model, threads=THREADS) as sampler:
        for batch in BATCHES:
            call = functools.partial(sampler.sample, range(batch))
            call()
            found = [per_second(call, batch, SECONDS) for _ in range(REPEATS)]
            rates[f"batch {batch}"] = statistics.median(found)
    return rates


def measure_chromium(model: Path) -> float | None:
    """Return the images/s in Chromium; None if Chromium, playwright or npm is not installed."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright

        from benchmarks import browsing
    except ModuleNotFoundError:
        program = None
    if program is None or shutil.which("npm") is None:
        return None
    from ganport.web import write_site

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        site = write_site(model, Path(name) / "site")
        server = browsing.serve(site.folder, isolated=True)
        browser = playwright.chromium.launch(executable_path=program, args=list(browsing.OPTIONS))
        try:
            _, batches, _ = browsing.measure(browser, f"http://127.0.0.1:{server.server_port}/")
        finally:
            browser.close()
            server.shutdown()
    return 64 / statistics.median(batches)


def size_table(results: list[Result]) -> str:
    """Return a table with a row per size."""
    if not results:
        return NOT_MEASURED
    headings = [
        "images",
        "training, images/s",
        "peak memory, training",
        "parameters: generator, discriminator",
        "exported file",
        *(f"images/s, batch {batch}" for batch in BATCHES),
        "images/s in Chromium",
    ]
    rows = []
    for each in sorted(results, key=lambda result: int(result["side"])):
        networks = f"{each['generator'] / 1e6:.2f} M, {each['discriminator'] / 1e6:.2f} M"
        browser = "not measured" if each["chromium"] is None else f"{each['chromium']:,.0f}"
        rows.append(
            [
                f"{each['side']}x{each['side']}",
                f"{each['training']:,.0f}",
                f"{each['memory'] / 1e9:.1f} GB",
                networks,
                f"{each['bytes'] / 1e6:.2f} MB",
                *(f"{each[f'batch {batch}']:,.0f}" for batch in BATCHES),
                browser,
            ]
        )
    return show_table(headings, rows)


if __name__ == "__main__":
    print(json.dumps(train_and_export(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
