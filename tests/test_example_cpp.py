"""The C++ example, built as its README says: it generates the images of the Python runtime."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from ganport.runtime import PRETRAINED, ImageSpec, InputSpec, Sampler
from tests.conftest import ROOT
from tests.tiny_generator import tiny_contract, tiny_model

# The first test downloads the headers, 150 MB. ORT_HEADERS names a folder that has them already.
pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples/cpp"
SEEDS = (0, 7, 42, 2**53 + 1, 2**63 - 1)


@pytest.fixture(scope="module")
def headers():
    if "ORT_HEADERS" in os.environ:
        return os.environ["ORT_HEADERS"]
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    script = [str(FOLDER / "fetch_headers.sh")]
    return subprocess.run(script, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module", params=["cmake", "g++"])
def program(request, headers, tmp_path_factory):
    """Return the program, built by the commands in the README that use CMake or g++ alone."""
    if shutil.which("g++") is None or shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("generate.cpp", "CMakeLists.txt"):
        shutil.copy(FOLDER / name, folder)
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.1.*")
    blocks = re.findall(r"```console\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    commands = [
        line.removeprefix("$ ")
        for line in next(block for block in blocks if f"$ {request.param}" in block).splitlines()
        if not re.match(r"\$ (headers=|library=|build/generate)", line)
    ]
    assert len(commands) == 2
    environment = os.environ | {"headers": headers, "library": str(library)}
    subprocess.run(["sh", "-ec", "\n".join(commands)], cwd=folder, env=environment, check=True)
    return folder / "build/generate"


def generate(program, model, folder, *label):
    seeds = ",".join(map(str, SEEDS))
    command = [str(program), str(model), seeds, str(folder), *map(str, label)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    images = [np.asarray(Image.open(next(folder.glob(f"seed{seed:07}.p?m")))) for seed in SEEDS]
    return np.stack(images).reshape(len(SEEDS), *images[0].shape[:2], -1)


def difference(images, expected):
    assert images.shape == expected.shape
    return np.abs(images.astype(int) - expected).max()


def test_table_of_normal_variates_has_the_bits_of_the_contract(headers, program, tmp_path):
    """The hash is the one in docs/contract.md."""
    source = f"""
        #define main generate_main
        #include "{FOLDER / "generate.cpp"}"
        #undef main
        int main() {{ std::fwrite(normal_table().data(), sizeof(float), 4096, stdout); }}
    """
    (tmp_path / "table.cpp").write_text(source)
    options = ["-std=c++17", "-isystem", headers, "table.cpp", str(program.parent / "libonnxruntime.so.1")]
    subprocess.run(["g++", *options, "-o", "table"], cwd=tmp_path, check=True)
    environment = os.environ | {"LD_LIBRARY_PATH": str(program.parent)}
    table = subprocess.run([str(tmp_path / "table")], env=environment, check=True, capture_output=True).stdout
    expected = "e8eb444f05726695700203a75ec7530b3f40d467ad7dfe220ba549b4e3000556"
    assert hashlib.sha256(table).hexdigest() == expected


@pytest.mark.parametrize("name", PRETRAINED)
def test_program_generates_the_images_of_python(program, tmp_path, name):
    expected = Sampler(name).sample(SEEDS)
    assert len(np.unique(expected)) > 50
    assert difference(generate(program, PRETRAINED[name], tmp_path), expected) == 0


def test_requested_label_is_used(program, tmp_path):
    images = generate(program, PRETRAINED["mnist"], tmp_path, 7)
    assert difference(images, Sampler("mnist").sample(SEEDS, labels=7)) == 0
    assert difference(images, Sampler("mnist").sample(SEEDS, labels=3)) > 0


@pytest.mark.parametrize("distribution", ["uniform", "uniform01"])
def test_uniform_latents_and_float_images(program, tmp_path, distribution):
    contract = tiny_contract(input=InputSpec(kind="latent", name="latent", dim=5, distribution=distribution))
    model = tiny_model(metadata={"ganport": contract.to_json()})
    onnx.save(model, tmp_path / "tiny.onnx")
    assert (
        difference(
            generate(program, tmp_path / "tiny.onnx", tmp_path), Sampler(tmp_path / "tiny.onnx").sample(SEEDS)
        )
        == 0
    )


def one_hot_generator():
    """Return a generator with a one-hot label, float images and channels first, as a file for a target."""
    rng = np.random.default_rng(3)
    constants = {
        "kernel": rng.standard_normal((8, 12)).astype(np.float32),
        "bias": rng.standard_normal(12).astype(np.float32),
        "shape": np.array([1, 3, 2, 2]),
    }
    nodes = [
        helper.make_node("Concat", ["latent", "label"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "kernel", "bias"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["image"]),
    ]
    sizes = {"latent": [1, 5], "label": [1, 3], "image": [1, 3, 2, 2]}
    values = {
        name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in sizes.items()
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes, "x", [values["latent"], values["label"]], [values["image"]], initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    contract = tiny_contract(
        input=InputSpec(
            kind="latent", name="latent", dim=5, distribution="normal", labels=("a", 'b"]', "c"),
            label_encoding="one-hot",
        ),
        image=ImageSpec(
            name="image", height=2, width=2, channels=3, layout="NCHW", dtype="float32", range=(-1, 1)
        ),
        batch=1,
    )  # fmt: skip
    helper.set_model_props(model, {"ganport": contract.to_json()})
    return model


def test_one_hot_labels_and_channels_first(program, tmp_path):
    onnx.save(one_hot_generator(), tmp_path / "colours.onnx")
    sampler = Sampler(tmp_path / "colours.onnx")
    images = generate(program, tmp_path / "colours.onnx", tmp_path)
    assert difference(images, sampler.sample(SEEDS)) == 0
    assert (
        difference(generate(program, tmp_path / "colours.onnx", tmp_path, 1), sampler.sample(SEEDS, labels=1))
        == 0
    )
    assert difference(sampler.sample(SEEDS, labels=1), sampler.sample(SEEDS, labels=2)) > 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["missing.onnx", "0", "."], "missing.onnx"),
        ([str(PRETRAINED["mnist"]), "-1", "."], "'-1' is not a seed"),
        ([str(PRETRAINED["mnist"]), "9223372036854775808", "."], "is not a seed"),
        ([str(PRETRAINED["mnist"]), "0", ".", "10"], "the generator has no such label"),
        ([str(PRETRAINED["mnist"]), "0", "nowhere"], "can't write nowhere/seed0000000.pgm"),
    ],
)
def test_mistake_is_one_line(program, tmp_path, arguments, problem):
    result = subprocess.run(
        [str(program), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert problem in line
    assert not list(tmp_path.iterdir())
