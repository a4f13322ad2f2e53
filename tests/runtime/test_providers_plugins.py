"""Providers that are packages of their own: their errors, and their images where they are installed.

WebGPU runs here on SwiftShader, the Vulkan driver for processors that Chromium brings along.
"""

import ctypes.util
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Sampler, doctor
from ganport.runtime.errors import ProviderError
from ganport.runtime.plugins import Plugin, is_too_old, load
from ganport.runtime.providers import PROVIDERS, onnxruntime_errors
from tests.conftest import failure, run_ganport
from tests.tiny_generator import SHAPE, tiny_model, tiny_weights

PLUGINS = {name: provider.plugin for name, provider in PROVIDERS.items() if provider.plugin is not None}
STUB = Plugin("onnxruntime_ep_stub", "it needs a stub GPU")


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Return a function that installs the package of STUB, which holds the given source."""

    def install(source):
        folder = tmp_path / STUB.module
        folder.mkdir()
        (folder / "__init__.py").write_text(source)
        (tmp_path / f"{STUB.module}-0.4.0.dist-info").mkdir()
        (tmp_path / f"{STUB.module}-0.4.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {STUB.package}\nVersion: 0.4.0\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, STUB.module, raising=False)
        return folder

    return install


def loading_error(ort=onnxruntime):
    with pytest.raises(ProviderError) as caught:
        load(ort, "stub", "StubExecutionProvider", STUB, "onnxruntime-gpu", onnxruntime_errors())
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("provider", PLUGINS)
def test_plugin_that_is_not_installed_is_an_error_with_the_install_line(tiny_file, provider):
    package = PLUGINS[provider].package
    if PLUGINS[provider].is_installed:
        pytest.skip(f"{package} is installed")
    if PROVIDERS[provider].name in onnxruntime.get_available_providers():
        pytest.skip(f"{provider} is built in")
    with pytest.raises(ProviderError, match=f"the package {package} is not installed") as caught:
        Sampler(tiny_file, provider=provider)
    assert f"pip install --upgrade 'onnxruntime>=1.24.4' {package}" in str(caught.value)


def test_install_line_names_the_installed_package_of_onnxruntime():
    """An install line that named another one would overwrite the files of the installed one."""
    assert "'onnxruntime-gpu>=1.24.4' onnxruntime-ep-stub" in loading_error().remedy


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.22.1", True),
        ("1.24.3", True),
        ("1.9.0", True),
        ("1.24.4", False),
        ("1.31.1", False),
        ("2.0.0", False),
    ],
)
def test_oldest_onnxruntime_is_compared_by_number(version, expected):
    assert is_too_old(version) is expected


def test_onnxruntime_that_is_too_old_is_an_error(stub):
    stub("def get_library_path(): raise AssertionError('it must not be loaded')\n")
    error = loading_error(types.SimpleNamespace(__version__="1.23.2"))
    assert error.problem == "onnxruntime-ep-stub needs onnxruntime 1.24.4 or newer, this is 1.23.2"
    assert "pip install --upgrade" in error.remedy


@pytest.mark.parametrize(
    "source", ["", "import missing_part\n", "def get_library_path(): raise FileNotFoundError('no library')\n"]
)
def test_incomplete_package_is_an_error(stub, source):
    stub(source)
    error = loading_error()
    assert "the package onnxruntime-ep-stub is incomplete" in error.problem
    assert "--force-reinstall" in error.remedy


def test_library_that_does_not_load_is_an_error_each_time(stub):
    folder = stub(
        "from pathlib import Path\ndef get_library_path(): return str(Path(__file__).parent / 'x.so')\n"
    )
    (folder / "x.so").write_text("not a library")
    for _ in range(2):
        error = loading_error()
        assert "onnxruntime-ep-stub does not load" in error.problem
        assert error.remedy == STUB.needs


@pytest.mark.parametrize(
    ("wheels", "state", "detail"),
    [
        (["onnxruntime 1.31.1"], "works", "0.4.0"),
        (["onnxruntime-gpu 1.23.2"], "broken", "it needs onnxruntime 1.24.4 or newer, this is 1.23.2"),
        ([], "broken", "it needs onnxruntime 1.24.4 or newer, which is not installed"),
    ],
)
def test_doctor_shows_an_installed_plugin(stub, monkeypatch, wheels, state, detail):
    stub("")
    monkeypatch.setattr(doctor, "installed_wheels", lambda: wheels)
    monkeypatch.setattr(doctor, "PROVIDERS", {**PROVIDERS, "stub": PROVIDERS["cpu"]._replace(plugin=STUB)})
    finding = next(finding for finding in doctor.examine() if finding.name == "onnxruntime-ep-stub")
    assert (finding.state, finding.detail) == (state, detail)
    assert ("pip install --upgrade" in finding.remedy) == (state == "broken")
    if wheels and state == "broken":
        assert "'onnxruntime-gpu>=1.24.4'" in finding.remedy


def need(provider):
    if not PLUGINS[provider].is_installed:
        pytest.skip(f"{PLUGINS[provider].package} is not installed")


@pytest.fixture(scope="module")
def swiftshader(tmp_path_factory):
    """Return the environment variables with which WebGPU runs on Chromium's SwiftShader."""
    need("webgpu")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
    folders = (Path(program).resolve().parent, Path("/usr/lib/chromium"), Path("/usr/lib64/chromium-browser"))
    drivers = [folder / "libvk_swiftshader.so" for folder in folders]
    driver = next((path for path in drivers if path.exists()), None)
    if driver is None:
        pytest.skip("SwiftShader is not installed; Chromium brings it along")
    folder = tmp_path_factory.mktemp("vulkan")
    (folder / "libvulkan.so.1").symlink_to(driver)
    return {"LD_LIBRARY_PATH": str(folder), "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1"}


def sample(file, folder, provider, **environment):
    arguments = ("sample", file, "--seeds", "0-7", "--provider", provider, "--out", "images.npz")
    return run_ganport(*arguments, cwd=folder, **environment)


def test_webgpu_generates_the_images_of_the_cpu(tiny_file, swiftshader, tmp_path):
    result = sample(tiny_file, tmp_path, "webgpu", **swiftshader)
    assert result.returncode == 0, result.stderr
    assert "on webgpu" in result.stderr + result.stdout
    assert (np.load(tmp_path / "images.npz")["images"] == Sampler(tiny_file).sample(range(8))).all()


def test_webgpu_without_a_vulkan_loader_is_an_error(tiny_file, swiftshader, tmp_path):
    environment = swiftshader | {"LD_LIBRARY_PATH": str(tmp_path)}
    if ctypes.util.find_library("vulkan"):
        pytest.skip("the system has a Vulkan loader")
    line = failure(sample(tiny_file, tmp_path, "webgpu", **environment))
    assert "libvulkan.so.1: cannot open shared object file" in line
    assert not (tmp_path / "images.npz").exists()


def test_webgpu_without_a_device_is_an_error(tiny_file, tmp_path):
    need("webgpu")
    result = sample(tiny_file, tmp_path, "webgpu", ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER="0")
    if result.returncode == 0:
        pytest.skip("this machine has a GPU with WebGPU")
    line = failure(result)
    assert "onnxruntime-ep-webgpu finds no device on this machine; it needs a GPU" in line
    assert not (tmp_path / "images.npz").exists()


def test_plugin_without_a_device_gives_the_same_error_each_time(tiny_file):
    """onnxruntime refuses to load a library twice, with another error."""
    need("webgpu")
    problems = set()
    for _ in range(2):
        try:
            Sampler(tiny_file, provider="webgpu")
        except ProviderError as error:
            problems.add(error.problem)
    if not problems:
        pytest.skip("this machine has a GPU with WebGPU")
    assert problems == {"onnxruntime-ep-webgpu finds no device on this machine"}


def in_float16():
    """Return the tiny generator with float16 arithmetic."""
    model = tiny_model("uint8")
    graph = model.graph
    for constant in list(graph.initializer):
        if constant.name in ("kernel", "bias"):
            half = numpy_helper.to_array(constant).astype(np.float16)
            constant.CopyFrom(numpy_helper.from_array(half, constant.name))
    graph.node[0].input[0] = "half_latent"
    graph.node[0].output[0] = "half_hidden"
    graph.node.insert(0, helper.make_node("Cast", ["latent"], ["half_latent"], to=TensorProto.FLOAT16))
    graph.node.insert(2, helper.make_node("Cast", ["half_hidden"], ["hidden"], to=TensorProto.FLOAT))
    return model


def test_float16_arithmetic_on_a_device_without_it_is_an_error(swiftshader, tmp_path):
    onnx.save(in_float16(), tmp_path / "half.onnx")
    assert Sampler(tmp_path / "half.onnx").sample([0]).shape == (1, *SHAPE)
    line = failure(sample(tmp_path / "half.onnx", tmp_path, "webgpu", **swiftshader))
    assert "half.onnx computes in float16, which this device does not support" in line
    assert "--precision float16" in line
    assert not (tmp_path / "images.npz").exists()


def with_integer_product():
    """Return a generator with a product of integers, which the WebGPU plugin does not compute."""
    model = tiny_model("uint8")
    graph = model.graph
    kernel = np.round(tiny_weights()[0] * 20).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(kernel, "whole_kernel"))
    del graph.node[0]
    for node in reversed(
        [
            helper.make_node("DynamicQuantizeLinear", ["latent"], ["whole", "scale", "zero"]),
            helper.make_node("MatMulInteger", ["whole", "whole_kernel", "zero"], ["product"]),
            helper.make_node("Cast", ["product"], ["hidden"], to=TensorProto.FLOAT),
        ]
    ):
        graph.node.insert(0, node)
    return model


def test_heavy_operation_that_webgpu_leaves_to_the_cpu_is_an_error(swiftshader, tmp_path):
    onnx.save(with_integer_product(), tmp_path / "whole.onnx")
    assert Sampler(tmp_path / "whole.onnx").sample([0]).shape == (1, *SHAPE)
    line = failure(sample(tmp_path / "whole.onnx", tmp_path, "webgpu", **swiftshader))
    assert "to the CPU (MatMulInteger)" in line


def test_openvino_plugin_generates_the_images_of_the_cpu(tiny_file):
    need("openvino")
    expected = Sampler(tiny_file).sample(range(64)).astype(int)
    for threads in (1, 2):
        sampler = Sampler(tiny_file, provider="openvino", threads=threads)
        assert np.abs(sampler.sample(range(64)) - expected).max() <= 1


def test_openvino_plugin_computes_in_float32():
    """On processors with bfloat16, OpenVINO would use it, and change pixels by several levels."""
    need("openvino")
    difference = Sampler("mnist", provider="openvino").sample(range(64)).astype(int)
    difference -= Sampler("mnist").sample(range(64))
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.001


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_session_of_a_plugin_is_not_used_after_a_fork(tiny_file):
    need("openvino")
    code = (
        "import os, sys\n"
        "from ganport.runtime import Sampler\n"
        "from ganport.runtime.errors import ProviderError\n"
        "sampler = Sampler(sys.argv[1], provider='openvino')\n"
        "sampler.sample([0])\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        sampler.sample([0])\n"
        "    except ProviderError as error:\n"
        "        os._exit(7 if 'forked process' in str(error) else 1)\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tiny_file)], timeout=60, check=False)
    assert result.returncode == 7
