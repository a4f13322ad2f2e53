"""The matrix of models and engines: engines of this machine, and the reasons of those that are missing."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks import device_c, device_packages, devices
from benchmarks.device_engines import ENGINES
from benchmarks.device_models import export_file, export_form, pretrained_models
from benchmarks.device_packages import NotAvailableError
from benchmarks.device_results import Case, Generated, Measured, Skipped, as_pixels, compare, read_case
from ganport.runtime import sample_latents, to_uint8
from ganport.runtime.latents import generator_inputs
from tests.conftest import ROOT
from tests.tiny_generator import DIM, generate_with_numpy, tiny_contract, tiny_model


@pytest.fixture(scope="module")
def mnist():
    return read_case(pretrained_models()["mnist"])


def run_devices(*arguments, **environment):
    command = [sys.executable, "-m", "benchmarks.devices", *map(str, arguments)]
    env = os.environ | environment
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def test_onnxruntime_generates_the_golden_images_and_the_table_shows_it(tmp_path):
    page, document = tmp_path / "page.md", tmp_path / "devices.json"
    page.write_text(f"before\n\n{devices.BEGIN}\nreplaced\n{devices.END}\n\nafter\n")
    options = ["--engines", "x86-64", "--models", "mnist", "--json", document, "--write", page]
    result = run_devices(*options)
    assert result.returncode == 0, result.stderr
    cell = devices.read_cell(json.loads(document.read_text())["x86-64"]["mnist"])
    assert (cell.off, cell.largest, cell.values) == (0, 0, 4 * 28 * 28)
    assert cell.milliseconds > 0
    assert cell.bytes == pretrained_models()["mnist"].stat().st_size
    row = f"| onnxruntime, this machine | 0 off; {cell.milliseconds:.3g} ms; {cell.bytes / 1e6:.2f} MB |"
    assert row in result.stdout.splitlines()
    assert result.stdout.strip() in page.read_text()
    assert page.read_text().startswith("before\n\n" + devices.BEGIN)
    assert page.read_text().endswith(devices.END + "\n\nafter\n")
    assert "replaced" not in page.read_text()


def test_damaged_weights_are_outside_of_the_bounds(mnist, tmp_path):
    model = onnx.load(mnist.path)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[::2] *= 0.9
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(model, tmp_path / "damaged.onnx")
    cell = devices.measure_cell("x86-64", tmp_path / "damaged.onnx")
    assert cell.share > 0.01
    assert devices.exceeds_bounds("x86-64", cell)
    assert " % off, by " in devices.describe(cell)


@pytest.mark.parametrize(
    ("engine", "off", "values", "largest", "is_outside"),
    [
        ("aarch64", 0, 100_000, 0, False),
        ("aarch64", 10, 100_000, 1, False),
        ("aarch64", 11, 100_000, 1, True),
        ("aarch64", 1, 100_000, 2, True),
        ("aarch64", 2, 10_000, 1, False),
        ("aarch64", 3, 10_000, 1, True),
        ("cortex-m7-int8", 50_000, 100_000, 20, False),
    ],
)
def test_one_value_in_ten_thousand_may_differ_by_one_level(engine, off, values, largest, is_outside):
    cell = Measured(off=off, values=values, largest=largest, milliseconds=None, bytes=1)
    assert devices.exceeds_bounds(engine, cell) == is_outside


def test_the_comparison_counts_values_and_levels(mnist):
    images = mnist.golden.copy()
    images[0, 0, :5] += 3
    cell = compare(mnist, Generated(images, None, 1_000_000, "16 KB RAM"))
    assert (cell.off, cell.values, cell.largest) == (5, images.size, 3)
    assert devices.describe(cell) == "5 of 3,136 off, by 3 at most; 1.00 MB; 16 KB RAM"
    assert devices.read_cell(dataclasses.asdict(cell)) == cell
    slow = dataclasses.replace(cell, off=0, milliseconds=1270.4, note="")
    assert devices.describe(slow) == "0 off; 1,270 ms; 1.00 MB"


def test_images_of_another_size_are_not_compared(mnist):
    with pytest.raises(ValueError, match="expected \\(4, 28, 28, 1\\)"):
        compare(mnist, Generated(mnist.golden[:, :14], None, 1))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_the_output_of_an_engine_may_have_another_layout_and_type(layout):
    case = read_case(pretrained_models()["rock-paper-scissors"])
    floats = (case.golden / 127.5 - 1).astype(np.float32)
    output = floats if layout == "NHWC" else floats.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(as_pixels(output, case), case.golden)


def test_an_output_with_nan_is_a_reason_and_not_an_image(mnist, monkeypatch):
    engine = ENGINES["x86-64"]._replace(run=lambda case: as_pixels(np.full((4, 28, 28, 1), np.nan), case))
    monkeypatch.setattr(devices, "ENGINES", {"x86-64": engine})
    cell = devices.measure_cell("x86-64", mnist.path)
    assert cell == Skipped("the images are wrong: 3,136 of 3,136 values are NaN or infinite")


def test_an_engine_that_is_missing_has_its_reason_below_the_table(tmp_path):
    result = run_devices("--engines", "node,c,aarch64", "--models", "mnist", PATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "| Node.js, WebAssembly | [1] |" in result.stdout
    assert "| C, this machine | [2] |" in result.stdout
    assert "| onnxruntime, 64-bit ARM (qemu) | [3] |" in result.stdout
    assert "\\[1] npm is not installed" in result.stdout
    assert "\\[2] gcc is not installed" in result.stdout
    assert "\\[3] apt-get is not installed" in result.stdout


def test_a_reason_shows_no_path_of_this_machine_and_no_markup(monkeypatch):
    line = device_packages.last_line(f"Traceback\nTypeError: no {ROOT}/model\n\n  noise\n")
    assert line == f"TypeError: no {'.' if str(ROOT) == str(Path.cwd()) else ROOT}/model"
    assert device_packages.last_line(" \n") == "it printed no reason"
    compiler = "generator.c:3:1: error: unknown type\ncc1: all warnings being treated as errors\n"
    assert device_packages.last_line(compiler) == "generator.c:3:1: error: unknown type"
    assert device_packages.last_line("Error [ERR_X]: no file\n\nNode.js v20\n") == "Error [ERR_X]: no file"
    matrix = {"c": {"mnist": Skipped("a <b> | *c*")}}
    assert devices.make_table(matrix, ["mnist"]).endswith("\\[1] a &lt;b&gt; \\| \\*c\\*")


def test_a_cell_that_takes_too_long_is_ended_with_all_that_it_started(mnist, tmp_path):
    model = shutil.copy(mnist.path, tmp_path / "too-long.onnx")
    cell = devices.measure_elsewhere("c", model, limit_s=3)  # it is then in the export, another process
    assert cell == Skipped("it took longer than 3 s")
    time.sleep(0.2)
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # that process has ended
            assert "too-long.onnx" not in command.read_text()


def test_a_cell_that_crashes_is_a_reason(tmp_path):
    cell = devices.measure_elsewhere("x86-64", tmp_path / "missing.onnx")
    assert isinstance(cell, Skipped)
    assert cell.reason.startswith("it ended with exit code 1: ")
    assert "missing.onnx" in cell.reason


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--engines", "gpu"), "--engines has no gpu; choose from x86-64, "),
        (("--models", "mnist,cats"), "--models has no cats; choose from faces, fashion-mnist, mnist, "),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(option, message):
    result = run_devices(*option)
    assert result.returncode == 1
    assert result.stderr.startswith(message)


def test_a_page_without_the_two_lines_is_left_as_it_is(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"{devices.END}\n{devices.BEGIN}\n")
    with pytest.raises(SystemExit, match="needs one line"):
        devices.write_tables(page, "tables")
    assert page.read_text() == f"{devices.END}\n{devices.BEGIN}\n"


def test_another_form_of_a_pretrained_file_generates_its_golden_images(mnist, tmp_path):
    portable = onnx.load(export_form(mnist, tmp_path / "portable.onnx", "--for", "portable"))
    operators = {node.op_type for node in portable.graph.node}
    assert operators.isdisjoint({"OneHot", "QuantizeLinear"})
    session = onnxruntime.InferenceSession(portable.SerializeToString())
    latents, codes = np.split(generator_inputs(np.array(mnist.seeds), 64, 10), [64], axis=1)
    images = [
        session.run(None, {"latent": latent[None], "label": code[None]})[0].transpose(0, 2, 3, 1)
        for latent, code in zip(latents, codes, strict=True)
    ]
    np.testing.assert_array_equal(as_pixels(np.concatenate(images), mnist), mnist.golden)


def test_the_message_of_a_failed_export_is_the_reason(mnist, tmp_path):
    with pytest.raises(NotAvailableError, match=r"ganport export: .*--for"):
        export_form(mnist, tmp_path / "new.onnx", "--for", "toaster")


def test_a_folder_is_made_once_and_again_if_its_description_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def make(folder):
        assert list(folder.iterdir()) == []
        (folder / "file").touch()
        made.append(folder)

    def fail(folder):
        make(folder)
        raise NotAvailableError("no network")

    for description in ("1.0", "1.0", "2.0"):
        assert device_packages.make_folder("engine", description, make) == made[-1]
    assert len(made) == 2
    with pytest.raises(NotAvailableError, match="no network"):
        device_packages.make_folder("engine", "3.0", fail)
    device_packages.make_folder("engine", "3.0", make)
    assert len(made) == 4


@pytest.fixture(scope="module")
def tiny_c(tmp_path_factory):
    """A folder with the C source of the tiny generator, and the case of the tiny generator."""
    folder = tmp_path_factory.mktemp("c")
    onnx.save(tiny_model("float32", metadata={}), folder / "tiny.onnx")
    export_file(folder / "tiny.onnx", folder / "generator.c", "--format", "c", "--source-layout", "NHWC")
    seeds = (0, 1, 2**40)
    golden = to_uint8(generate_with_numpy(sample_latents(seeds, DIM)))
    return folder, Case(folder / "tiny.onnx", tiny_contract(), seeds, golden)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed; Debian's package: gcc")
def test_c_source_generates_the_golden_images_on_this_machine(tiny_c):
    folder, case = tiny_c
    compiler = ["gcc", *device_c.HOST_FLAGS, "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    device_c.build(case, compiler, folder, "host.c", folder / "program", runs=3)
    printed = device_c.read_output(device_packages.run_quietly([folder / "program"], limit_s=60), case)
    np.testing.assert_array_equal(printed.images, case.golden)
    assert printed.clock > 0


@pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))),
    reason="not installed; Debian's packages: gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
)
def test_c_source_generates_the_golden_images_on_the_emulated_cortex_m7(tiny_c):
    folder, case = tiny_c
    generated = device_c.emulate_cortex_m7(case, folder)
    np.testing.assert_array_equal(generated.images, case.golden)
    assert generated.milliseconds is None
    assert 16_384 < generated.bytes < 60_000  # the table of the latents takes 16 KB
    assert re.fullmatch(r"\d KB RAM, 0.00\d+ M instructions", generated.note)


def test_a_program_that_stops_in_the_middle_is_a_reason(mnist):
    with pytest.raises(NotAvailableError, match="the program printed 1 of 4 images"):
        device_c.read_output("image 00ff\nstack 5\n", mnist)
