"""Speed of the runtime, compared with the alternatives that a user would choose.

    python -m benchmarks.sampling [--only overhead|peers|png|cold|bulk]

    overhead  Sampler.sample, from seeds to pixels; a bare session.run of the same file with given latents
    peers     images/s of Sampler with a file in float32 and in int8; of Keras, TensorFlow, LiteRT, OpenVINO
              and PyTorch in float32, if they are installed
    png       ganport's PNG encoder; Pillow's PNG encoder
    cold      time and memory of a `python cli.py sample`; of a process that imports the same three libraries
    bulk      images/s to shards; of bare onnxruntime alone; of PNG encoding alone

Alternatives are measured in turns, in one run. A ratio is the median of the ratios of the repeats, with the
smallest and the largest ratio. The weights are random, because the time does not depend on their values.
With `--busy`, another process keeps one core busy during all measurements.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from ganport.runtime import Sampler, sample_latents, to_uint8
from ganport.runtime.cores import usable_cores
from ganport.runtime.png import encode_pngs, fast_encoder
from ganport.runtime.shards import plan_shards, write_shards

ROOT = Path(__file__).parent.parent
SYSTEMS = {"mnist-dense": (28, 28, 1), "rps-dcgan": (100, 100, 3)}
BATCHES = (1, 64, 256)
BATCH = 256  # batch size of the part `bulk`

Work = Callable[[], object]


def export(name: str, folder: Path):
    """Return a Keras generator with random weights, and the path of its exported file."""
    from ganport.trainer.devices import load_tensorflow

    load_tensorflow()
    from benchmarks.third_party_generators import shake
    from ganport.export import Options, export_generator
    from ganport.export.sources import Source
    from ganport.trainer.recipes import load_recipe

    source = Source(name=name, generator=shake(load_recipe(name).build_generator(100, SYSTEMS[name])))
    path = folder / f"{name}.onnx"
    export_generator(source, path)
    # Random weights lose more in int8 than trained ones, hence `allow_loss`.
    export_generator(source, int8_form(path), Options(precision="int8", allow_loss=True))
    return source.generator, path


def int8_form(path: Path) -> Path:
    """Return the path of the int8 file that `export` writes beside the float32 file."""
    return path.with_suffix(".int8.onnx")


def per_second(work: Work, count: int, seconds: float) -> float:
    calls, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not calls:
        work()
        calls += 1
    return count * calls / elapsed


def in_turns(calls: Mapping[str, Work], count: int, repeats: int, seconds: float) -> dict[str, list[float]]:
    for call in calls.values():
        call()
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            rates[name].append(per_second(call, count, seconds))
    return rates


def ratio(ours: list[float], others: list[float]) -> str:
    each = [our / other for our, other in zip(ours, others, strict=True)]
    return f"{statistics.median(each):6.2f} times ({min(each):.2f} to {max(each):.2f})"


def bare_session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def overhead(files: Mapping[str, Path], repeats: int, seconds: float) -> None:
    print("\nSampler.sample, compared with a bare session.run with given latents")
    for name, path in files.items():
        sampler, session = Sampler(path), bare_session(path)
        for batch in BATCHES:
            latents = sample_latents(np.arange(batch), 100)
            calls = {
                "ours": lambda call=sampler.sample, batch=batch: call(np.arange(batch)),
                "bare": lambda run=session.run, latents=latents: run(None, {"latent": latents}),
            }
            rates = in_turns(calls, batch, repeats, seconds)
            ours, bare = (statistics.median(rates[key]) for key in ("ours", "bare"))
            more = statistics.median(
                1e6 * batch * (1 / a - 1 / b) for a, b in zip(rates["ours"], rates["bare"], strict=True)
            )
            shown = f"{ours:9,.0f} and {bare:9,.0f} images/s"
            print(
                f"  {name:12s} batch {batch:3d}: {shown}, "
                f"{ratio(rates['ours'], rates['bare'])}, {more:+6.0f} us",
                flush=True,
            )


def peers(generators: Mapping[str, object], files: Mapping[str, Path], repeats: int, seconds: float) -> None:
    print("\nimages/s, and the speed of Sampler divided by that of each peer, for a float32 and an int8 file")
    for name, generator in generators.items():
        samplers = {"float32": Sampler(files[name]), "int8": Sampler(int8_form(files[name]))}
        makers = [
            maker(generator, files[name], name)
            for maker in (_keras, _saved_model, _litert, _openvino, _pytorch)
        ]
        for batch in BATCHES:
            latents = sample_latents(np.arange(batch), 100)
            calls: dict[str, Work] = {
                form: lambda call=sampler.sample, batch=batch: call(np.arange(batch))
                for form, sampler in samplers.items()
            }
            for maker in makers:
                calls |= {
                    peer: lambda call=call, latents=latents: call(latents)
                    for peer, call in maker(batch).items()
                }
            rates = in_turns(calls, batch, repeats, seconds)
            speeds = ", ".join(f"{form} {statistics.median(rates[form]):,.0f}" for form in samplers)
            print(f"  {name}, batch {batch}: ours {speeds} images/s")
            for peer in list(rates)[len(samplers) :]:
                shown = f"{statistics.median(rates[peer]):9,.0f} images/s"
                ratios = ", ".join(ratio(rates[form], rates[peer]) for form in samplers)
                print(f"    {peer:26s} {shown}  {ratios}", flush=True)


def _keras(generator, path, name):
    def make(batch):
        return {
            "Keras predict": lambda z: to_uint8(generator.predict(z, batch_size=batch, verbose=0)),
            "Keras call": lambda z: to_uint8(np.asarray(generator(z, training=False))),
        }

    return make


def _saved_model(generator, path, name):
    import tensorflow as tf

    folder = str(path.with_suffix(".saved"))
    generator.export(folder, verbose=False)
    loaded = tf.saved_model.load(folder)  # the function below keeps the model in memory; `serve` does not
    return lambda batch: {"TensorFlow SavedModel": lambda z: to_uint8(loaded.serve(tf.constant(z)).numpy())}


def _litert(generator, path, name):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        return lambda batch: {}
    import tensorflow as tf

    model = tf.lite.TFLiteConverter.from_saved_model(str(path.with_suffix(".saved"))).convert()

    def make(batch):
        interpreter = Interpreter(model_content=model, num_threads=usable_cores())
        source, image = (
            interpreter.get_input_details()[0]["index"],
            interpreter.get_output_details()[0]["index"],
        )
        interpreter.resize_tensor_input(source, [batch, 100])
        interpreter.allocate_tensors()

        def call(z):
            interpreter.set_tensor(source, z)
            interpreter.invoke()
            return to_uint8(interpreter.get_tensor(image))

        return {"LiteRT": call}

    return make


def _openvino(generator, path, name):
    try:
        import openvino
    except ModuleNotFoundError:
        return lambda batch: {}
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_cores()}
    model = openvino.Core().compile_model(openvino.Core().read_model(path), "CPU", settings)
    return lambda batch: {"OpenVINO, our file": lambda z: model(z)[0]}


def _pytorch(generator, path, name):
    from benchmarks import torch_loops

    if not torch_loops.AVAILABLE:
        return lambda batch: {}
    import dataclasses

    import torch

    from ganport.trainer.recipes import load_recipe

    recipe = dataclasses.replace(load_recipe(name), image_shape=SYSTEMS[name])
    network = torch_loops.networks(recipe)[0].eval()

    def call(z):
        with torch.inference_mode():
            return to_uint8(network(torch.from_numpy(z)).numpy())

    return lambda batch: {"PyTorch eager": call}


def png(files: Mapping[str, Path], repeats: int) -> None:
    print("\nPNG, microseconds and bytes an image")
    for name, path in files.items():
        images = Sampler(path).sample(range(256))
        results = {}
        calls = {
            "ours": lambda images=images: encode_pngs(images),
            "Pillow": lambda images=images: _pillow(images),
        }
        rates = in_turns(calls, len(images), repeats, 0.1)
        for key, encode in calls.items():
            results[key] = (
                f"{1e6 / statistics.median(rates[key]):7.0f} us "
                f"{sum(map(len, encode())) // len(images):6,d} bytes"
            )
        print(
            f"  {name:12s} ours {results['ours']}, Pillow {results['Pillow']}, "
            f"{ratio(rates['ours'], rates['Pillow'])}"
        )


def _pillow(images):
    packed = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
        packed.append(buffer.getvalue())
    return packed


def cold(files: Mapping[str, Path], folder: Path, repeats: int) -> None:
    print("\ncold: whole processes")
    libraries = "import numpy, onnxruntime, PIL.Image"
    arguments = [str(ROOT / "cli.py"), "sample", str(files["mnist-dense"]), "--out", str(folder / "cold.png")]
    bare = (
        "import numpy, onnxruntime; from PIL import Image; "
        f"session = onnxruntime.InferenceSession({str(files['mnist-dense'])!r}); "
        "images = session.run(None, {'latent': numpy.random.standard_normal((64, 100)).astype('f')})[0]; "
        f"Image.fromarray(images.reshape(-1, 28)).save({str(folder / 'bare.png')!r})"
    )
    commands = {
        "the three libraries": libraries,
        "a script with them": bare,
        "and ours": f"{libraries}; import ganport.runtime",
        "cli.py sample": (
            f"import runpy, sys; sys.argv = {arguments!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
        ),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, command in commands.items():
            found[name].append(_spawn(command))
    found = {name: rows[1:] for name, rows in found.items()}  # the first run fills the disk cache
    for name, rows in found.items():
        seconds, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        slower = ratio([row[0] for row in rows], [row[0] for row in found["the three libraries"]])
        heavier = memory / statistics.median(row[1] for row in found["the three libraries"])
        print(f"  {name:20s} {seconds:.3f} s, {slower}; {memory:.0f} MB, {heavier:.2f} times")
    more = [
        1000 * (a[0] - b[0]) for a, b in zip(found["and ours"], found["the three libraries"], strict=True)
    ]
    print(f"  importing runtime adds {statistics.median(more):.0f} ms ({min(more):.0f} to {max(more):.0f})")


def _spawn(code: str) -> tuple[float, float]:
    """Return the seconds and the peak memory in MB of a new Python process that runs `code`."""
    told = "import atexit, sys; atexit.register(lambda: sys.stderr.write(open('/proc/self/status').read()))"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"{told}; {code}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - started
    return seconds, int(done.stderr.split("VmHWM:")[1].split()[0]) / 1024


def bulk(files: Mapping[str, Path], folder: Path, count: int) -> None:
    path = files["mnist-dense"]
    print(f"\nbulk: {count:,} images of mnist-dense to shards, on {usable_cores()} cores")
    session, latents = bare_session(path), sample_latents(np.arange(BATCH), 100)
    images = Sampler(path).sample(range(BATCH))
    pool, encode = ThreadPoolExecutor(usable_cores()), functools.partial(encode_pngs, encoder=fast_encoder())
    parts = np.array_split(images, usable_cores())
    alone = {
        "onnxruntime": lambda: session.run(None, {"latent": latents}),
        f"{fast_encoder().name}": lambda: list(pool.map(encode, parts)),
    }
    before = in_turns(alone, BATCH, 5, 0.5)
    sampler = Sampler(path, batch_size=BATCH, repeatable=True)
    done, early, started = 0, 0.0, time.perf_counter()
    for generated in write_shards(sampler, plan_shards(sampler, np.arange(count), folder / "bulk" / "x.tar")):
        done += generated
        if not early and done >= count / 10:
            early = _resident()
    rate = count / (time.perf_counter() - started)
    late = _resident()
    after = in_turns(alone, BATCH, 5, 0.5)
    rates = {name: statistics.median(before[name] + after[name]) for name in alone}
    limit = min(rates.values())
    both = 1 / sum(1 / each for each in rates.values())
    for name, each in rates.items():
        print(f"  {name:14s} alone {each:9,.0f} images/s")
    shares = f"{rate / limit:.2f} of the slower, {rate / both:.2f} of both on the same cores"
    print(f"  shards               {rate:9,.0f} images/s: {shares}")
    print(f"  resident: {early:.0f} MB after a tenth, {late:.0f} MB at the end")


@contextlib.contextmanager
def busy_core(is_wanted: bool) -> Iterator[None]:
    """Run a process that keeps one core busy, if it is wanted, until the `with` block ends."""
    if not is_wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


def _resident() -> float:
    """Return the resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the speed of the runtime with alternatives.")
    parser.add_argument("--only", default="", help="name of the only part to run")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="seconds of each repeat")
    parser.add_argument("--images", type=int, default=1_000_000, help="number of images of the part bulk")
    parser.add_argument("--busy", action="store_true", help="keep one core busy meanwhile")
    parser.add_argument("--zlib", action="store_true", help="do not use ISA-L, even if it is installed")
    arguments = parser.parse_args()
    if arguments.zlib:
        sys.modules["isal"] = None  # type: ignore[assignment]  # an import of isal then fails
    with tempfile.TemporaryDirectory() as temporary, busy_core(arguments.busy):
        folder = Path(temporary)
        made = {name: export(name, folder) for name in SYSTEMS}
        generators, files = ({name: pair[index] for name, pair in made.items()} for index in (0, 1))
        print(f"onnxruntime {ort.__version__}, {usable_cores()} cores, {arguments.repeats} repeats")
        parts = {
            "overhead": lambda: overhead(files, arguments.repeats, arguments.seconds),
            "peers": lambda: peers(generators, files, arguments.repeats, arguments.seconds),
            "png": lambda: png(files, arguments.repeats),
            "cold": lambda: cold(files, folder, arguments.repeats),
            "bulk": lambda: bulk(files, folder, arguments.images),
        }
        for name, part in parts.items():
            if arguments.only in ("", name):
                part()


if __name__ == "__main__":
    main()
