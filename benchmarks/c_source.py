"""C source of generators, compared with onnxruntime on one thread: images, memory and speed.

    python -m benchmarks.c_source                       # the pretrained generators
    python -m benchmarks.c_source digits.onnx --seeds 1000

Each generator is exported as C in each precision, compiled with gcc -O3 -march=native as a shared library,
and called from this process. onnxruntime runs the .onnx file with one thread. The two are called alternately,
one image at a time, and each time is the median of the calls. A ratio is the time of onnxruntime divided by
the time of C. If it is above 1, C is faster. "Values off" compares the images with those of the .onnx file.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ganport.export.exporting import export_file
from ganport.runtime import Contract, Sampler
from ganport.runtime.arrays import Latents, Pixels
from ganport.runtime.latents import sample_latents
from ganport.runtime.pretrained import PRETRAINED

PRECISIONS = ("float32", "float16", "int8")
FLAGS = ("-O3", "-march=native")

Generate = Callable[[Latents, int], Pixels]


def compile_source(source: Path, contract: Contract, compiler: str) -> Generate:
    """Return a function from latents (1, dim) and a label to an image, which runs the compiled C file."""
    library = source.with_suffix(".so")
    subprocess.run([compiler, *FLAGS, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"], check=True)
    function = ctypes.CDLL(str(library)).ganport_generate
    image = np.empty(contract.image.shape, np.uint8)
    target = image.ctypes.data_as(ctypes.c_void_p)

    def generate(latents: Latents, label: int) -> Pixels:
        function(latents.ctypes.data_as(ctypes.c_void_p), label, target)
        return image

    return generate


def open_on_one_thread(file: Path, contract: Contract) -> Generate:
    """Return a function from latents (1, dim) and a label to an image, which runs onnxruntime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def generate(latents: Latents, label: int) -> Pixels:
        feed = {contract.input.name: latents}
        if contract.input.labels:
            feed["label"] = np.array([label])
        image: Pixels = session.run(None, feed)[0][0]
        return image

    return generate


def measure(file: Path, seeds: int, compiler: str, precisions: tuple[str, ...]) -> None:
    """Print a row of a Markdown table for each precision."""
    with Sampler(file) as sampler:
        contract = sampler.contract
    labels = len(contract.input.labels or ()) or 1
    reference = open_on_one_thread(file, contract)
    latents = sample_latents(range(seeds), contract.input.dim, distribution=contract.input.distribution)
    for precision in precisions:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "generator.c"
            exported = export_file(
                file,
                path,
                file_format="c",
                precision=precision,  # type: ignore[arg-type]  # one of the three names
                allow_loss=precision != "float32",
            )
            generate = compile_source(path, contract, compiler)
        times: tuple[list[float], list[float]] = ([], [])
        differing = total = largest = 0
        for seed in range(seeds):
            row = latents[seed : seed + 1]
            images = []
            for function, taken in zip((reference, generate), times, strict=True):
                start = time.perf_counter()
                images.append(function(row, seed % labels))
                taken.append(time.perf_counter() - start)
            distance = np.abs(images[0].astype(int) - images[1])
            differing, total = differing + int((distance > 0).sum()), total + distance.size
            largest = max(largest, int(distance.max()))
        ours, theirs = (1e3 * statistics.median(each) for each in reversed(times))
        facts, mean = exported.c_source, exported.contract.verification["mean_levels"]
        assert facts is not None
        print(
            f"| {file.stem} | {precision} | {facts.flash:,} | {facts.ram:,} | {differing:,} of {total:,} "
            f"| {largest} | {mean:.3f} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="files that ganport exported")
    parser.add_argument("--seeds", type=int, default=200, help="number of images")
    parser.add_argument("--compiler", default="gcc", help="gcc or clang")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="default: all three")
    arguments = parser.parse_args()
    columns = "generator|weights|flash|RAM|values off|largest|mean (levels)|C (ms)|onnxruntime (ms)|ratio"
    print(f"| {' | '.join(columns.split('|'))} |\n|{' --- |' * 10}")
    for file in arguments.files or PRETRAINED.values():
        measure(file, arguments.seeds, arguments.compiler, tuple(arguments.precision or PRECISIONS))


if __name__ == "__main__":
    main()
