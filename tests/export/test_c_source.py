"""A generator as C source: compiled here with gcc, and compared with onnxruntime."""

import ctypes
import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from ganport.export import Options
from ganport.export.c_source.compiling import compile_and_test, find_compiler
from ganport.export.c_source.emission import emit
from ganport.export.c_source.memory import place_buffers
from ganport.export.c_source.planning import make_plan
from ganport.export.c_source.source_files import header_text, prepare_source
from ganport.export.c_source.steps import Loop
from ganport.export.c_source.views import Buffer, contiguous
from ganport.export.errors import (
    PrecisionError,
    SourceSizeError,
    UnsupportedOperatorError,
    VerificationError,
)
from ganport.export.exporting import export
from ganport.export.paths import check_path
from ganport.export.sessions import open_on_cpu
from ganport.runtime import Contract, Sampler, sample_latents, to_uint8
from ganport.runtime.errors import OutputError, UsageError
from tests.conftest import ROOT

SEEDS = (0, 1, 42, 2**32, 2**53 + 1, 2**63 - 1)
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


class Program:
    """A C file as a shared library, called from Python."""

    def __init__(self, source: Path, dim: int, shape: tuple[int, ...], *options: str) -> None:
        library = source.with_suffix(".so")
        command = ["gcc", "-std=c99", *options, "-shared", "-fPIC", str(source), "-o", str(library), "-lm"]
        subprocess.run(command, check=True)
        self._library, self._dim, self._shape = ctypes.CDLL(str(library)), dim, shape

    def latents(self, seeds):
        rows = np.empty((len(seeds), self._dim), np.float32)
        for row, seed in zip(rows, seeds, strict=True):
            self._library.ganport_latent(ctypes.c_uint64(seed), row.ctypes.data_as(ctypes.c_void_p))
        return rows

    def images(self, latents, labels=None):
        images = np.empty((len(latents), *self._shape), np.uint8)
        for index, (image, latent) in enumerate(zip(images, latents, strict=True)):
            label = 0 if labels is None else int(labels[index])
            places = [each.ctypes.data_as(ctypes.c_void_p) for each in (latent, image)]
            self._library.ganport_generate(places[0], label, places[1])
        return images


def model_of(nodes: str, dim: int, shape: tuple[int, int, int], constants, labels: int = 0, opset: int = 18):
    """Return a graph from latents "latent" to "image", whose nodes are written as in onnx.parser."""
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
    g (float[batch, {dim}] latent{", int64[batch] label" if labels else ""})
    => (float[batch, {shape[0]}, {shape[1]}, {shape[2]}] image) {{ {nodes} }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    return model


def compiled(model, folder: Path, *options: str, labels: int = 0, distribution="normal", precision="float32"):
    """Return the program of a graph, compiled without a contract and golden images."""
    dim = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    plan = make_plan(model)
    code = emit(plan, precision, dim=dim, distribution=distribution)
    height, width, channels = plan.image.shape
    (folder / "x.c").write_text(
        f"""#include <math.h>
        #include <stddef.h>
        #include <stdint.h>
        #include <string.h>
        #define GANPORT_MEMORY static
        #define GANPORT_LATENTS {dim}
        #define GANPORT_LABELS {labels}
        #define GANPORT_IMAGE_SIZE {height * width * channels}
        {code.text}"""
    )
    return Program(folder / "x.c", dim, plan.image.shape, *options), code


def largest_difference(program, model, count: int = 12, labels: int = 0) -> tuple[int, float]:
    """Return the largest difference to onnxruntime, in levels, and the spread of the levels."""
    session = open_on_cpu(model)
    latents = sample_latents(range(count), model.graph.input[0].type.tensor_type.shape.dim[1].dim_value)
    chosen = np.arange(count) % max(1, labels)
    feeds = [
        {"latent": latents[i : i + 1]} | ({"label": chosen[i : i + 1]} if labels else {})
        for i in range(count)
    ]
    expected = np.concatenate([to_uint8(session.run(None, feed)[0]) for feed in feeds])
    images = program.images(latents, chosen)
    return int(np.abs(images.astype(int) - expected).max()), float(expected.std())


def weights(*shape: int, seed: int = 3):
    spread = 1.5 / np.sqrt(np.prod(shape) / max(shape))
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


# A dense layer to (1, 12, 5, 6), and what follows it up to "x", which becomes the image by tanh.
START = "h = Gemm(latent, w, b) i = Reshape(h, to)"
CONSTANTS = {
    "w": weights(9, 360),
    "b": weights(360, seed=4),
    "to": np.array([1, 12, 5, 6]),
    "k3": weights(20, 12, 3, 3),
    "k35": weights(20, 12, 3, 5),
    "k4": weights(12, 20, 4, 4),
    "k1": weights(3, 12, 1, 1),
    "group3": weights(9, 4, 3, 3),
    "group4": weights(12, 5, 4, 4),
    "depth": weights(12, 1, 3, 3),
    "bias": weights(20, seed=5),
    "twelve": weights(12, seed=6),
    "positive": np.abs(weights(12, seed=7)) + np.float32(0.5),
    "slope": weights(12, 1, 1, seed=8),
    "scales": np.array([1, 1, 2, 3], np.float32),
    "fraction": np.array([1, 1, 1.7, 0.6], np.float32),
    "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1]),
    "half": np.float32(0.5),
    "two": np.float32(2),
    "one": np.array([1]),
    "minus": np.array([-1]),
    "three": np.array([3]),
    "far": np.array([-100]),
    "five": np.array([5]),
    "last": np.array([3]),
    "threes": np.array([4, 4, 4]),
    "some": np.array([5, 0, 7, 1]),
    "rows": np.array([1, 30, 12]),
    "heads": np.array([1, 12, 5, 6]),
    "tiles": np.array([1, 1, 2, 1]),
    "row": np.array([1, 12, 30]),
    "k1d": weights(8, 12, 3),
    "flat": np.array([1, 8, 5, 6]),
}
KINDS = {
    "conv": "x = Conv <pads = [1, 1, 1, 1]> (i, k3, bias)",
    "conv, stride and dilation": "x = Conv <pads = [2, 3, 1, 0], strides = [2, 1], "
    "dilations = [2, 1]> (i, k3)",
    "conv, same upper": 'x = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (i, k35, bias)',
    "conv, same lower": 'x = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (i, k35, bias)',
    "conv, valid": 'x = Conv <auto_pad = "VALID"> (i, k3, bias)',
    "conv of one pixel": "x = Conv (i, k1)",
    "conv in groups": "x = Conv <group = 3, pads = [1, 1, 1, 1]> (i, group3)",
    "conv of each channel": "x = Conv <group = 12, pads = [1, 1, 1, 1]> (i, depth)",
    "conv of a row": "r = Reshape(i, row) c = Conv <pads = [1, 1]> (r, k1d) x = Reshape(c, flat)",
    "transposed": "x = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (i, k4, bias)",
    "transposed, stride 3": "x = ConvTranspose <strides = [3, 1], pads = [0, 1, 2, 0]> (i, k4, bias)",
    "transposed, stride over kernel": "x = ConvTranspose <strides = [5, 6]> (i, k4, bias)",
    "transposed, dilation": "x = ConvTranspose <strides = [2, 3], dilations = [2, 3]> (i, k4, bias)",
    "transposed, output padding": "x = ConvTranspose <strides = [2, 3], "
    "output_padding = [1, 2]> (i, k4, bias)",
    "transposed, same upper": 'x = ConvTranspose <auto_pad = "SAME_UPPER", strides = [3, 3]> (i, k4)',
    "transposed, same lower": 'x = ConvTranspose <auto_pad = "SAME_LOWER", strides = [3, 3]> (i, k4)',
    "transposed in groups": "x = ConvTranspose <group = 3, strides = [2, 2]> (i, group4)",
    "resize, nearest": 'x = Resize <mode = "nearest", nearest_mode = "floor"> (i, , scales)',
    "resize, linear": 'x = Resize <mode = "linear"> (i, , scales)',
    "resize, align corners": 'x = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> '
    "(i, , fraction)",
    "resize, cubic": 'x = Resize <mode = "cubic"> (i, , scales)',
    "resize, nearest to a fraction": 'x = Resize <mode = "nearest"> (i, , fraction)',
    "pad": "x = Pad (i, pads, half)",
    "pad, reflected": 'x = Pad <mode = "reflect"> (i, pads)',
    "pad, edge": 'x = Pad <mode = "edge"> (i, pads)',
    "depth to space": "x = DepthToSpace <blocksize = 2> (i)",
    "depth to space, CRD": 'x = DepthToSpace <blocksize = 2, mode = "CRD"> (i)',
    "batch norm": "x = BatchNormalization <epsilon = 0.01> (i, twelve, bias12, twelve, positive)",
    "instance norm": "x = InstanceNormalization <epsilon = 0.01> (i, twelve, bias12)",
    "group norm": "x = GroupNormalization <num_groups = 3, epsilon = 0.01> (i, three_scales, three_biases)",
    "layer norm": "t = Transpose <perm = [0, 2, 3, 1]> (i) n = LayerNormalization (t, twelve, bias12) "
    "x = Transpose <perm = [0, 3, 1, 2]> (n)",
    "residual": "c = Relu(i) d = Sigmoid(i) e = Mul(c, d) x = Add(e, i)",
    "means": "m = ReduceMean <keepdims = 1> (i, hw) s = Sub(i, m) v = Mul(s, s) w2 = ReduceMean(v, hw) "
    "q = Sqrt(w2) x = Div(s, q)",
    "other reductions": "a1 = ReduceMax(i, hw) a2 = ReduceMin(i, hw) a3 = ReduceSum(i, c1) a4 = Sub(a1, a2) "
    "a5 = Mul(a4, i) a6 = Tanh(a3) x = Add(a5, a6)",
    "concat and slice": "a1 = Slice(i, far, five, one) a2 = Slice(i, minus, far, three, minus) "
    "a3 = Transpose <perm = [0, 1, 3, 2]> (a2) a4 = Neg(a3) a5 = Transpose <perm = [0, 1, 3, 2]> (a4) "
    "x = Concat <axis = 1> (a1, a5)",
    "split": "a1, a2, a3 = Split <axis = 1> (i, threes) a4 = Mul(a1, a2) x = Sub(a3, a4)",
    "gather": "a1 = Gather <axis = 1> (i, some) x = Exp(a1)",
    "tile": "x = Tile(i, tiles)",
    "attention": "r = Reshape(i, row) q = Transpose <perm = [0, 2, 1]> (r) p = MatMul(q, r) s = Softmax(p) "
    "m = MatMul(s, q) t = Transpose <perm = [0, 2, 1]> (m) x = Reshape(t, heads)",
    "activations": "a1 = Elu <alpha = 0.7> (i) a2 = Selu(a1) a3 = Softplus(a2) "
    "a4 = LeakyRelu <alpha = 0.3> (i) "
    "a5 = Add(a3, a4) a6 = Softsign(a5) a7 = HardSigmoid(i) a8 = Max(a6, a7) a9 = PRelu(i, slope) "
    "a10 = Erf(a9) a11 = Sub(half, a10) a12 = Pow(a11, two) a13 = Clip(a12, , half) x = Add(a8, a13)",
    "used twice": "c = Conv <pads = [1, 1, 1, 1]> (i, k3) r = Relu(c) d = ConvTranspose (r, k4b) "
    "e = Slice(d, three0, far2, hw_axes) x = Concat <axis = 1> (e, i)",
}
CONSTANTS |= {
    "bias12": weights(12, seed=9),
    "three_scales": weights(3, seed=10),
    "three_biases": weights(3, seed=11),
    "hw": np.array([2, 3]),
    "c1": np.array([1]),
    "k4b": weights(20, 6, 4, 4),
    "three0": np.array([3, 0]),
    "far2": np.array([8, 6]),
    "hw_axes": np.array([2, 3]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_operators_compute_what_onnxruntime_computes(kind, tmp_path):
    nodes = f"{START} {KINDS[kind]} y = Transpose <perm = [0, 2, 3, 1]> (x) image = Tanh(y)"
    probe = model_of(nodes, 9, (1, 1, 1), CONSTANTS)
    probe.graph.output[0].type.tensor_type.ClearField("shape")
    height, width, channels = open_on_cpu(probe).run(None, {"latent": sample_latents([0], 9)})[0].shape[1:]
    model = model_of(nodes, 9, (height, width, channels), CONSTANTS)
    program, _ = compiled(model, tmp_path, "-O0")
    difference, spread = largest_difference(program, model)
    assert difference <= 1
    assert spread > 10  # else an error could hide in a flat image


SMALL = {
    "w": weights(9, 12 * 5 * 6),
    "b": weights(12 * 5 * 6, seed=4),
    "to": np.array([-1, 12, 5, 6]),
    "k4": weights(12, 20, 4, 4),
    "k3": weights(24, 20, 3, 3),
    "k1": weights(3, 24, 1, 1),
    "fraction": np.array([1, 1, 1.7, 1.5], np.float32),
}
SMALL_NODES = """h = Gemm(latent, w, b) i = Reshape(h, to)
    c = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (i, k4) r = LeakyRelu <alpha = 0.2> (c)
    e = Resize <mode = "linear"> (r, , fraction) d = Conv <pads = [1, 1, 1, 1]> (e, k3)
    s = Elu(d) t = Conv(s, k1) u = Tanh(t) image = Transpose <perm = [0, 2, 3, 1]> (u)"""


@pytest.fixture(scope="module")
def small():
    """A generator with every kind of layer: dense, wide with 20 and 24 channels, narrow, and a Resize."""
    return model_of(SMALL_NODES, 9, (17, 18, 3), SMALL)


@pytest.fixture(scope="module")
def small_file(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    onnx.save(small, path)
    return path


def export_c(source, path, **options):
    contract = export(source, path, file_format="c", **options)
    return contract, path.read_text(), path.with_suffix(".h").read_text()


@pytest.fixture(scope="module", params=["float32", "float16", "int8"])
def exported(request, small_file, tmp_path_factory):
    """The C file of the small generator in each precision, and its contract."""
    path = tmp_path_factory.mktemp("c") / "small.c"
    contract, _, _ = export_c(
        small_file, path, precision=request.param, allow_loss=request.param != "float32"
    )
    return path, contract


def test_files_state_what_they_are(exported):
    path, contract = exported
    header = path.with_suffix(".h").read_text()
    assert sorted(each.name for each in path.parent.iterdir()) == ["small.c", "small.h", "small.json"]
    written = Contract.from_json(path.with_suffix(".json").read_text())
    assert json.loads(written.to_json()) == json.loads(contract.to_json())
    assert (written.batch, written.precision) == (1, contract.precision)
    assert written.golden["seeds"] == [0, 1, 2, 3]
    for name, value in (("LATENTS", 9), ("LABELS", 0), ("HEIGHT", 17), ("WIDTH", 18), ("CHANNELS", 3)):
        assert f"#define GANPORT_{name} {value}\n" in header


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "compiler",
    [
        "gcc -std=c99",
        "g++ -x c++ -std=c++11",
        pytest.param("clang -std=c99", marks=SLOW),
        pytest.param("clang++ -x c++ -std=c++11", marks=SLOW),
    ],
)
def test_compilers_find_nothing_to_warn_about(exported, tmp_path, compiler):
    path, _ = exported
    name, *options = compiler.split()
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    command = [name, *options, *WARNINGS, "-O2", "-DGANPORT_SELFTEST", "-c", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "compiler",
    ["aarch64-linux-gnu-gcc -O2", "arm-none-eabi-gcc -mcpu=cortex-m7 -mfpu=fpv5-d16 -mfloat-abi=hard -O2"],
)
def test_cross_compilers_find_nothing_to_warn_about(exported, tmp_path, compiler):
    name, *options = compiler.split()
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    command = [name, *options, "-std=c99", *WARNINGS, "-c", str(exported[0]), "-o", str(tmp_path / "x.o")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_sanitizers_find_nothing(exported, tmp_path, count):
    main = tmp_path / "main.c"
    main.write_text(
        f"""#include "{exported[0]}"
        int main(void) {{
            float *latent = (float *)__builtin_malloc(GANPORT_LATENTS * sizeof(float));
            uint8_t *image = (uint8_t *)__builtin_malloc(GANPORT_IMAGE_SIZE);
            for (int seed = 0; seed < {count}; ++seed) {{
                ganport_latent((uint64_t)seed << seed % 40, latent);
                ganport_generate(latent, seed - {count // 2}, image);
            }}
            __builtin_free(latent);
            __builtin_free(image);
            return 0;
        }}"""
    )
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]
    program = tmp_path / "main"
    subprocess.run(["gcc", "-std=c99", *sanitizers, str(main), "-o", str(program), "-lm"], check=True)
    result = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_object_needs_only_mathematics_and_the_stated_memory(exported, tmp_path):
    path, _ = exported
    target = tmp_path / "x.o"
    subprocess.run(["gcc", "-std=c99", "-O2", "-c", str(path), "-o", str(target)], check=True)
    names = subprocess.run(
        ["nm", "-u", str(target)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(names) - {"U", "_GLOBAL_OFFSET_TABLE_"} <= {
        "memcpy",
        "memset",
        "tanhf",
        "expm1f",
        "__stack_chk_fail",
    }
    sizes = subprocess.run(["size", "-A", str(target)], capture_output=True, text=True, check=True).stdout
    section = {line.split()[0]: int(line.split()[1]) for line in sizes.splitlines() if line.startswith(".")}
    header = path.with_suffix(".h").read_text()
    flash, ram = (
        int(re.search(pattern, header)[1].replace(",", ""))
        for pattern in (r"flash: ([\d,]+)", r"RAM: ([\d,]+)")
    )
    assert section[".data"] == 0
    assert 0 <= section[".bss"] - ram < 64
    constants = sum(size for name, size in section.items() if name.startswith((".rodata", ".data.rel.ro")))
    assert -64 < constants - flash < 1500  # the descriptions of the layers, and single constants of the code


def test_images_are_those_of_the_graph(exported, small):
    path, contract = exported
    program = Program(path, 9, (17, 18, 3), "-O2")
    difference, spread = largest_difference(
        program, prepare_source(small, contract.precision, 0) or small, 64
    )
    assert difference <= 1
    assert spread > 10
    least = {"float32": 0, "float16": 1e-4, "int8": 0.5}[contract.precision]
    assert contract.verification["mean_levels"] >= least


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-O3", "-march=native"), marks=SLOW),
        pytest.param(("-O3", "-mavx2", "-mfma"), marks=SLOW),
        ("-O2", "-mno-sse3"),
        ("-O1", "-U__GNUC__"),
    ],
)
def test_images_are_the_same_for_each_width_of_vectors(exported, tmp_path, options):
    path, _ = exported
    if options[-1] != "-U__GNUC__" and not runs_here(options, tmp_path):
        pytest.skip("this processor lacks these instructions")
    copy = shutil.copy(path, tmp_path)
    shutil.copy(path.with_suffix(".h"), tmp_path)
    source = Path(copy)
    if options[-1] == "-U__GNUC__":  # no vectors at all, as for a compiler that has none
        source.write_text(source.read_text().replace("defined(__GNUC__)", "0"))
        options = options[:-1]
    tested = run_selftest(source, *options)
    assert tested.stdout.endswith("passed\n")


def runs_here(options, folder):
    (folder / "probe.c").write_text("int main(void) { volatile float x = 1; return (int)(x * 2) - 2; }")
    command = ["gcc", *options, str(folder / "probe.c"), "-o", str(folder / "probe")]
    return subprocess.run(command, check=False).returncode == 0 and not subprocess.call(
        [str(folder / "probe")]
    )


def run_selftest(source, *options):
    program = source.with_suffix(".test")
    command = ["gcc", "-std=gnu99", *options, "-DGANPORT_SELFTEST", str(source), "-o", str(program), "-lm"]
    subprocess.run(command, check=True)
    return subprocess.run([str(program)], capture_output=True, text=True, check=False)


def test_selftest_fails_with_a_damaged_weight(exported, tmp_path):
    path, _ = exported
    shutil.copy(path.with_suffix(".h"), tmp_path)
    damaged = tmp_path / "small.c"
    text = path.read_text()
    start = text.index("ganport_bias_")
    first = text.index("\n", start) + 1
    damaged.write_text(text[:first] + re.sub(r"[\d.e-]+f", "1.5f", text[first:], count=4))
    assert run_selftest(damaged, "-O1").returncode == 1
    with pytest.raises(VerificationError, match=r"differ in the C code, compiled by .*FAILED"):
        compile_and_test(damaged)


def test_without_a_compiler_nothing_is_compiled(exported, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert find_compiler() is None
    assert compile_and_test(exported[0]).compiler == ""


@pytest.mark.parametrize("distribution", ["normal", "uniform", "uniform01"])
@pytest.mark.parametrize("dim", [1, 8, 100])
def test_latents_are_those_of_the_runtime(distribution, dim, tmp_path):
    model = model_of(
        "t = Tanh(latent) image = Reshape(t, to)", dim, (1, 1, dim), {"to": np.array([1, 1, 1, dim])}
    )
    program, _ = compiled(model, tmp_path, "-O1", distribution=distribution)
    expected = sample_latents(SEEDS, dim, distribution=distribution)
    assert program.latents(SEEDS).tobytes() == expected.tobytes()


def test_pixels_are_rounded_half_to_even_and_clipped(tmp_path):
    values = np.float32([-2, -1, 0, 1, 2, np.nan, *((np.arange(16) * 2 + 1) / 255 - 1)])
    model = model_of(
        "m = Mul(latent, none) a = Add(m, values) image = Reshape(a, to)",
        1,
        (1, 1, len(values)),
        {
            "none": np.float32(0),
            "values": np.nan_to_num(values, nan=0.5),
            "to": np.array([1, 1, 1, len(values)]),
        },
    )
    program, _ = compiled(model, tmp_path, "-O2")
    images = program.images(np.zeros((1, 1), np.float32)).reshape(-1)
    expected = to_uint8(np.nan_to_num(values, nan=0.5))
    assert images.tolist() == expected.tolist()


LABELLED = "o = OneHot <axis = -1> (label, depth, values) j = Concat <axis = 1> (latent, o) h = MatMul(j, w) "
EMBEDDED = "g = Gather(table, label) m = Mul(latent, g) h = MatMul(m, w5) "


@pytest.mark.parametrize("nodes", [LABELLED, EMBEDDED])
def test_label_selects_and_is_taken_modulo_the_number_of_labels(nodes, tmp_path):
    constants = {
        "depth": np.int64(4),
        "values": np.float32([0, 1]),
        "w": weights(9, 6),
        "w5": weights(5, 6),
        "table": weights(4, 5),
        "to": np.array([1, 2, 3, 1]),
    }
    model = model_of(f"{nodes} t = Tanh(h) image = Reshape(t, to)", 5, (2, 3, 1), constants, labels=4)
    program, _ = compiled(model, tmp_path, "-O1", labels=4)
    assert largest_difference(program, model, labels=4)[0] <= 1
    latents = np.repeat(sample_latents([1], 5), 6, axis=0)
    images = program.images(latents, [0, 1, 4, -4, -3, 2**31 - 1])
    assert (images[0] != images[1]).any()
    for index, label in ((2, 0), (3, 0), (4, 1)):
        assert (images[index] == images[label]).all()


def test_dense_layer_writes_the_channels_last_without_a_copy(small):
    plan = make_plan(small)
    assert not any(isinstance(step, Loop) and step.expression == "a" for step in plan.steps)
    assert (
        len(plan.steps) == 11
    )  # four phases of the transposed convolution, and one step for each other node


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
@settings(max_examples=60)
def test_buffers_that_are_in_use_at_one_time_do_not_overlap(lives):
    target = contiguous(Buffer(1), (1,))
    views = [contiguous(Buffer(size), (size,)) for size, _, _ in lives]
    steps = [Loop(target, (), "0.0f") for _ in range(10)]
    for view, (_, start, end) in zip(views, lives, strict=True):
        for index in {min(start, end), max(start, end)}:
            steps[index].sources += (view,)
    total = place_buffers(steps, target)
    for index in range(10):
        used = [
            view.memory
            for view, (_, start, end) in zip(views, lives, strict=True)
            if min(start, end) <= index <= max(start, end)
        ]
        taken = [place for buffer in used for place in range(buffer.offset, buffer.offset + buffer.size)]
        assert len(taken) == len(set(taken))
        assert max(taken, default=0) < total


@given(st.data())
def test_views_select_what_numpy_selects(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    order = data.draw(st.permutations(range(len(shape))))
    view, array = contiguous(Buffer(0), shape, order), None
    array = view.indices()
    axes = data.draw(st.permutations(range(len(shape))))
    view, array = view.transposed(axes), array.transpose(axes)
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = data.draw(st.integers(0, array.shape[axis] - 1))
    chosen = [slice(None)] * len(shape)
    chosen[axis] = slice(start, None)
    view, array = view.sliced(axis, start, array.shape[axis] - start), array[tuple(chosen)]
    wanted = data.draw(
        st.sampled_from([array.shape, (array.size,), (1, array.size, 1), (*array.shape[::-1],)])
    )
    reshaped = view.reshaped(wanted)
    if reshaped is not None:
        assert (reshaped.indices() == array.reshape(wanted)).all()
    assert (view.expanded((2, *array.shape)).indices() == np.broadcast_to(array, (2, *array.shape))).all()


def test_operator_without_c_is_named_and_nothing_is_written(tmp_path):
    nodes = f'{START} s = Einsum <equation = "bchw->bhwc"> (i) t = Tanh(s) image = Identity(t)'
    constants = CONSTANTS | {"to": np.array([-1, 12, 5, 6])}
    constants |= {"w": weights(9, 90), "b": weights(90), "to": np.array([-1, 3, 5, 6])}
    onnx.save(model_of(nodes, 9, (5, 6, 3), constants), tmp_path / "odd.onnx")
    with pytest.raises(
        UnsupportedOperatorError, match=r"there is no C code for Einsum\. Replace this operation"
    ):
        export(tmp_path / "odd.onnx", tmp_path / "out" / "odd.c", file_format="c")
    assert not (tmp_path / "out").exists()


def test_too_large_a_source_is_rejected():
    constants = {"w": np.ones((4, 5_000_000), np.float32), "to": np.array([-1, 1000, 5000, 1])}
    model = model_of("h = MatMul(latent, w) image = Reshape(h, to)", 4, (1000, 5000, 1), constants)
    with pytest.raises(
        SourceSizeError, match=r"310 MB of text, the limit is 64 MB; `precision='float16'` or"
    ):
        prepare_source(model, "float32", 0)
    with pytest.raises(SourceSizeError, match=r"100 MB.*leave `file_format` out"):
        prepare_source(model, "int8", 0)


def test_too_large_a_loss_is_rejected_and_nothing_is_written(tmp_path):
    spread = np.where(np.arange(9) == 0, 4000, 1)[
        :, np.newaxis
    ]  # one weight takes all the range of each channel
    constants = {
        "w": weights(9, 48) * spread.astype(np.float32),
        "none": np.float32([[0] + [3] * 8]),
        "to": np.array([-1, 4, 4, 3]),
    }
    nodes = "m = Mul(latent, none) e = Elu(m) h = MatMul(e, w) t = Tanh(h) image = Reshape(t, to)"
    onnx.save(model_of(nodes, 9, (4, 4, 3), constants), tmp_path / "x.onnx")
    with pytest.raises(VerificationError, match="`allow_loss=True` writes the file anyway"):
        export(tmp_path / "x.onnx", tmp_path / "x.c", file_format="c", precision="int8", source_layout="NHWC")
    assert [each.name for each in tmp_path.iterdir()] == ["x.onnx"]
    contract, _, _ = export_c(
        tmp_path / "x.onnx", tmp_path / "x.c", precision="int8", allow_loss=True, source_layout="NHWC"
    )
    assert contract.verification["mean_levels"] > 6


def test_weight_beyond_float16_is_rejected():
    model = model_of(
        "h = MatMul(latent, w) image = Reshape(h, to)",
        4,
        (2, 3, 1),
        {"w": np.full((4, 6), 7e4, np.float32), "to": np.array([-1, 2, 3, 1])},
    )
    with pytest.raises(PrecisionError, match="a weight is 7e\\+04"):
        prepare_source(model, "float16", 0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"input_kind": "seed"}, "input_kind='seed'"),
        ({"input_kind": "fixed", "seeds": (1,)}, "input_kind='fixed'"),
        ({"output": "float"}, "output='float'"),
        ({"layout": "NCHW"}, "layout='NCHW'"),
        ({"batch": 4}, "batch=4"),
        ({"precision": "float16-arithmetic"}, "precision='float16-arithmetic'"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_rejected(options, named, tmp_path):
    with pytest.raises(UsageError, match=re.escape(f"`file_format='c'` does not take `{named}`")):
        check_path(tmp_path / "x.c", Options(**options), "c")


def test_other_mistakes_are_rejected(small_file, tmp_path):
    for path in ("x.onnx", "x"):
        with pytest.raises(UsageError, match=r"it must end in \.c"):
            export(small_file, tmp_path / path, file_format="c")
    with pytest.raises(UsageError, match="`card=True` is for files that the runtime opens"):
        export(small_file, tmp_path / "x.c", file_format="c", card=True)
    with pytest.raises(UsageError, match="must contain neither quotes nor backslashes"):
        export(small_file, tmp_path / 'x"y.c', file_format="c")
    (tmp_path / "x.h").write_text("mine")
    with pytest.raises(OutputError, match="`overwrite=True`"):
        export(small_file, tmp_path / "x.c", file_format="c")
    assert (tmp_path / "x.h").read_text() == "mine"


def test_names_cannot_leave_their_comment(exported):
    _, contract = exported
    odd = dataclasses.replace(contract, name="a */ int x; /* b \\ ??/")
    text = header_text(
        emit(
            make_plan(
                model_of(
                    "t = Tanh(latent) image = Reshape(t, to)", 1, (1, 1, 1), {"to": np.array([1, 1, 1, 1])}
                )
            ),
            "float32",
            dim=1,
            distribution="normal",
        ),
        odd,
        "my-file 2",
    )
    comment = text[: text.index("*/")]
    assert "int x" in comment
    assert "GANPORT_MY_FILE_2_H" in text


def test_example_program_writes_the_image_of_a_seed(tiny_file, tmp_path):
    export(tiny_file, tmp_path / "digits.c", file_format="c")
    shutil.copy(ROOT / "examples" / "c" / "main.c", tmp_path)
    command = ["gcc", "-std=c99", *WARNINGS, "-O1", "main.c", "digits.c", "-o", "main", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    written = subprocess.run([str(tmp_path / "main"), "7"], capture_output=True, check=True).stdout
    with Sampler(tiny_file) as sampler:
        assert written == b"P5\n4 3\n255\n" + sampler.sample([7]).tobytes()


def test_command_writes_c_from_an_exported_file(tiny_file, ganport, tmp_path):
    result = ganport("export", tiny_file, "--format", "c", "-o", "tiny.c")
    assert result.returncode == 0, result.stderr
    assert re.search(
        r"flash: [\d,]+ bytes of constants; RAM: [\d,]+ bytes; mean difference 0\.000", result.stdout
    )
    assert "0 of 48 values differ, largest difference 0: passed" in result.stdout
    assert {"tiny.c", "tiny.h", "tiny.json"} <= {each.name for each in tmp_path.iterdir()}
