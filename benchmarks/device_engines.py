"""The engines of the matrix. Each is one function from a case to images.

An engine is prepared once, which may download packages, and then runs once for each model. Both raise
NotAvailableError with the reason if that is not possible here.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from benchmarks import device_c
from benchmarks.device_browser import prepare_browser, run_webassembly, run_webgpu
from benchmarks.device_models import THIRD_PARTY, export_form, write_third_party
from benchmarks.device_packages import (
    ARM64,
    ROOT,
    NotAvailableError,
    debian_packages,
    find_program,
    foreign_wheels,
    ganport,
    python_environment,
    run_quietly,
)
from benchmarks.device_results import Case, Generated, Pixels, as_pixels

WORKER = Path(__file__).with_name("device_worker.py")
SECONDS = 0.5  # of measuring the time of one image
LIMIT_S = 600.0  # seconds for one program

# Later versions of onnxruntime crash in the qemu of Debian 12.
AARCH64_ONNXRUNTIME = "onnxruntime==1.27.0"
WEBGPU = ("onnxruntime==1.31.1", "onnxruntime-ep-webgpu==0.4.0")
OPENVINO = ("openvino==2026.4.1", "numpy==2.4.6")
TRACT = ("tract==0.23.9", "numpy==2.4.6")
NCNN = ("ncnn==1.0.20261020", "numpy==2.4.6")
PNNX = "pnnx==20261020"
LITERT = ("onnx2tf==1.29.24",)  # brings TensorFlow, which converts, and ai-edge-litert, which runs

# Folders where Chromium keeps SwiftShader, a Vulkan device in software, and the library that loads it.
CHROMIUM_FOLDERS = ("/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome")


class Engine(NamedTuple):
    """An engine of the matrix.

    Attributes:
        title: Name in the table.
        prepare: Downloads what the engine needs.
        run: Returns the images of a case.
        is_exact: Whether the images are expected to be the golden ones. False if weights are rounded.
    """

    title: str
    prepare: Callable[[], object]
    run: Callable[[Case], Generated]
    is_exact: bool = True


def run_worker(
    command: Sequence[str | Path], engine: str, case: Case, inputs: Mapping[str, npt.NDArray[Any]],
    files: Sequence[Path], *, env: Mapping[str, str] | None = None, seconds: float = SECONDS,
    value_range: tuple[float, float] = (-1, 1),
) -> Generated:  # fmt: skip
    """Run `device_worker.py` in another process.

    Args:
        command: The Python interpreter, with what starts it.
        engine: Name of the engine in `device_worker.py`.
        case: The case.
        inputs: Inputs of the graph.
        files: Files that the engine loads.
        env: Further variables of the process.
        seconds: Time of measuring; 0 for an emulator, whose time says nothing about a device.
        value_range: The values of black and white, if the output is not uint8.
    """
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "inputs.npz", Path(temporary) / "output.npz"
        np.savez(source, **inputs)
        arguments = [WORKER, engine, str(seconds), source, target, *files]
        run_quietly([*command, *arguments], limit_s=LIMIT_S, env=env, name=engine)
        with np.load(target) as output:
            images, times = output["images"], output["seconds"]
    return Generated(
        images=as_pixels(images, case, value_range),
        milliseconds=1000 * float(np.median(times)) if len(times) else None,
        bytes=sum(file.stat().st_size for file in files),
    )


def prepare_nothing() -> None:
    """Prepare an engine that is part of the environment."""


def run_onnxruntime(case: Case) -> Generated:
    """Return images of onnxruntime on this machine."""
    import sys

    return run_worker([sys.executable], "onnxruntime", case, case.inputs(), [case.path])


def prepare_aarch64() -> tuple[list[str | Path], Mapping[str, str]]:
    """Return the command that starts Python for 64-bit ARM in qemu, and its variables."""
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        qemu = str(debian_packages("qemu-user", "qemu-user-static") / "usr" / "bin" / "qemu-aarch64-static")
    system = debian_packages(
        "aarch64", "python3-minimal", "libpython3-stdlib", "libstdc++6", architecture=ARM64[0]
    )
    python = next((system / "usr" / "bin").glob("python3.[0-9]*"))
    packages = foreign_wheels(
        "aarch64-packages", ARM64[1], python.name.removeprefix("python"), AARCH64_ONNXRUNTIME
    )
    return [qemu, "-L", system, python], {"PYTHONPATH": str(packages)}


def run_aarch64(case: Case) -> Generated:
    """Return images of onnxruntime for 64-bit ARM, in qemu."""
    command, env = prepare_aarch64()
    return run_worker(command, "onnxruntime", case, case.inputs(), [case.path], env=env, seconds=0)


def prepare_webgpu() -> tuple[Path, Path]:
    """Return the interpreter with the WebGPU plugin, and the folder of SwiftShader."""
    folder = next(
        (Path(each) for each in CHROMIUM_FOLDERS if (Path(each) / "libvk_swiftshader.so").is_file()), None
    )
    if folder is None:
        raise NotAvailableError("Chromium, which holds SwiftShader, is not installed")
    find_program("unshare")
    return python_environment("webgpu", *WEBGPU), folder


def run_webgpu_native(case: Case) -> Generated:
    """Return images of onnxruntime's WebGPU provider on SwiftShader.

    onnxruntime only lists a GPU that the kernel lists. A private view of the file system holds one.
    """
    python, chromium = prepare_webgpu()
    gpu = "/sys/class/drm/card0/device"
    script = (
        f"mount -t tmpfs none /sys/class && mkdir -p {gpu} && echo 0x1ae0 > {gpu}/vendor && "
        f'echo 0xc0de > {gpu}/device && echo 0x030000 > {gpu}/class && exec "$@"'
    )
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", python]
    env = {
        "LD_LIBRARY_PATH": str(chromium),
        "VK_ICD_FILENAMES": str(chromium / "vk_swiftshader_icd.json"),
    }
    return run_worker(command, "webgpu", case, case.inputs(), [case.path], env=env)


def prepare_openvino() -> Path:
    """Return the interpreter with OpenVINO."""
    return python_environment("openvino", *OPENVINO)


def run_openvino(case: Case) -> Generated:
    """Return images of OpenVINO, which reads the file itself."""
    return run_worker([prepare_openvino()], "openvino", case, case.inputs(), [case.path])


def prepare_tract() -> Path:
    """Return the interpreter with tract."""
    return python_environment("tract", *TRACT)


def run_tract(case: Case) -> Generated:
    """Return images of tract, which reads the file itself."""
    return run_worker([prepare_tract()], "tract", case, case.inputs(), [case.path])


def prepare_ncnn() -> tuple[Path, Path]:
    """Return the interpreter with ncnn, and the converter pnnx."""
    # The wheel of pnnx requires PyTorch, which the converter of ONNX files does not use.
    folder = python_environment("pnnx", "--no-deps", PNNX).parent.parent
    return python_environment("ncnn", *NCNN), next(folder.glob("lib/python*/site-packages/pnnx/pnnx"))


def run_ncnn(case: Case) -> Generated:
    """Return images of ncnn, from the form that `ganport export --for ncnn` writes."""
    python, convert = prepare_ncnn()
    with tempfile.TemporaryDirectory() as temporary:
        path = export_form(case, Path(temporary) / "generator.onnx", "--for", "ncnn")
        run_quietly([convert, path, "fp16=0"], limit_s=LIMIT_S, cwd=Path(temporary))
        files = [path.with_name("generator.ncnn.param"), path.with_name("generator.ncnn.bin")]
        if not all(file.is_file() for file in files):
            raise NotAvailableError("pnnx wrote no files for ncnn")
        return run_worker([python], "ncnn", case, graph_inputs(case, path), files)


def prepare_litert() -> Path:
    """Return the interpreter with LiteRT and the converter onnx2tf."""
    return python_environment("litert", *LITERT)


def run_litert(case: Case) -> Generated:
    """Return images of LiteRT.

    TensorFlow converts a generator that is a Keras model. onnx2tf converts the portable form of other files.
    """
    python, name = prepare_litert(), case.path.stem
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if name in THIRD_PARTY:
            file = folder / f"{name}.tflite"
            write_third_party(name, file)
            return run_worker([python], "litert", case, case.inputs(), [file], value_range=THIRD_PARTY[name])
        path = export_form(case, folder / "generator.onnx", "--for", "portable")
        env = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        convert = [python.with_name("onnx2tf"), "-i", path, "-o", folder / "litert", "-n"]
        run_quietly(convert, limit_s=LIMIT_S, cwd=folder, env=env)
        file = folder / "litert" / "generator_float32.tflite"
        return run_worker([python], "litert", case, graph_inputs(case, path), [file])


def graph_inputs(case: Case, path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Return the inputs of another form of the case's file, in the order of its graph."""
    graph = onnx.load(path).graph
    types = {source.name: source.type.tensor_type.elem_type for source in graph.input}
    inputs = case.inputs(float_labels=types.get("label") == onnx.TensorProto.FLOAT)
    return {name: inputs[name] for name in types}


def prepare_node() -> str:
    """Return the path of Node.js."""
    find_program("npm")
    return find_program("node")


def run_node(case: Case) -> Generated:
    """Return images of `examples/node`, which computes the latents in JavaScript."""
    node = prepare_node()
    program = ROOT / "examples" / "node" / "generate.mjs"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "module"
        ganport("web", case.path, "--module", folder, limit_s=LIMIT_S)
        model = folder / case.path.name
        seeds = ",".join(map(str, case.seeds))
        run_quietly([node, program, model, seeds, temporary], limit_s=LIMIT_S)
        images = [_read_numbered(Path(temporary), seed) for seed in case.seeds]
        # Again with one seed, and with a clock in onnxruntime.
        command = [
            node,
            "--import",
            WORKER.with_name("device_node_clock.mjs"),
            program,
            model,
            "0",
            temporary,
        ]
        output = run_quietly(command, limit_s=LIMIT_S)
    times = [float(time) for time in re.findall(r"^clock (.+)$", output, re.MULTILINE)]
    return Generated(
        images=np.stack(images).reshape(case.golden.shape),
        milliseconds=float(np.median(times)),
        bytes=case.path.stat().st_size,
    )


def _read_numbered(folder: Path, seed: int) -> Pixels:
    with Image.open(next(folder.glob(f"seed{seed:07d}.p?m"))) as image:
        return np.asarray(image)


# The name of an engine, as `--engines` takes it, and the engine.
ENGINES: Mapping[str, Engine] = {
    "x86-64": Engine("onnxruntime, this machine", prepare_nothing, run_onnxruntime),
    "aarch64": Engine("onnxruntime, 64-bit ARM (qemu)", prepare_aarch64, run_aarch64),
    "webgpu": Engine("onnxruntime, WebGPU (SwiftShader)", prepare_webgpu, run_webgpu_native),
    "openvino": Engine("OpenVINO", prepare_openvino, run_openvino),
    "tract": Engine("tract", prepare_tract, run_tract),
    "ncnn": Engine("ncnn", prepare_ncnn, run_ncnn),
    "litert": Engine("LiteRT", prepare_litert, run_litert),
    "chromium-wasm": Engine("Chromium, WebAssembly", prepare_browser, run_webassembly),
    "chromium-webgpu": Engine("Chromium, WebGPU (SwiftShader)", prepare_browser, run_webgpu),
    "node": Engine("Node.js, WebAssembly", prepare_node, run_node),
    "c": Engine("C, this machine", device_c.prepare_host, device_c.run_host),
    "cortex-m7": Engine("C, Cortex-M7 (qemu)", device_c.prepare_cortex_m7, device_c.run_cortex_m7),
    "cortex-m7-float16": Engine(
        "C, Cortex-M7, float16 weights",
        device_c.prepare_cortex_m7,
        device_c.run_cortex_m7_float16,
        is_exact=False,
    ),
    "cortex-m7-int8": Engine(
        "C, Cortex-M7, int8 weights", device_c.prepare_cortex_m7, device_c.run_cortex_m7_int8, is_exact=False
    ),
}
