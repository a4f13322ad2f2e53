import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import runtime
from runtime import Sampler, sample_latents, to_uint8
from runtime.errors import (
    ContractError,
    ContractVersionError,
    FixedSeedError,
    InputKindError,
    LatentShapeError,
    ModelFormatError,
    ModelNotFoundError,
    NotAGeneratorError,
    SeedError,
)
from tests.conftest import ROOT
from tests.tiny_generator import DIM, SHAPE, draw_with_numpy, tiny_contract, tiny_model

seed_lists = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=100)


@pytest.fixture(scope="module", params=[("uint8", None), ("float32", None), ("uint8", 4), ("float32", 4)], ids=str)
def sampler(request, tmp_path_factory):
    """The tiny generator in each form that an export can have."""
    dtype, batch = request.param
    path = tmp_path_factory.mktemp("sampler") / "tiny.onnx"
    path.write_bytes(tiny_model(dtype, batch).SerializeToString())
    return Sampler(path)


@given(seeds=seed_lists)
def test_images_are_those_of_the_generator(sampler, seeds):
    expected = to_uint8(draw_with_numpy(sample_latents(np.array(seeds, np.int64), DIM)))
    drawn = sampler.sample(seeds)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (len(seeds), *SHAPE)
    # numpy and onnxruntime may round a tanh to either side of the border between two levels
    assert np.abs(drawn.astype(int) - expected).max() <= 1


@given(seeds=seed_lists, data=st.data())
def test_image_belongs_to_its_seed_alone(sampler, seeds, data):
    together = sampler.sample(seeds)
    order = data.draw(st.permutations(range(len(seeds))))
    np.testing.assert_array_equal(sampler.sample([seeds[index] for index in order]), together[order])
    index = data.draw(st.integers(0, len(seeds) - 1))
    np.testing.assert_array_equal(sampler.sample([seeds[index]])[0], together[index])


def test_latents_draw_what_their_seeds_draw(sampler):
    seeds = np.arange(70)
    latents = sample_latents(seeds, DIM)
    for kind in (np.float32, np.float64):
        np.testing.assert_array_equal(sampler.sample_latents(latents.astype(kind)), sampler.sample(seeds))
    np.testing.assert_array_equal(sampler.sample_latents(latents[::-1]), sampler.sample(seeds[::-1]))


@pytest.mark.parametrize("shape", [(DIM,), (0, DIM), (2, DIM + 1), (2, DIM, 1)])
def test_latents_of_another_shape_are_refused(sampler, shape):
    with pytest.raises(LatentShapeError) as caught:
        sampler.sample_latents(np.zeros(shape, np.float32))
    assert caught.value.got == shape


@pytest.mark.parametrize("seeds", [[], [-1], [0.5], [2**63]])
def test_bad_seeds_are_refused(sampler, seeds):
    with pytest.raises(SeedError):
        sampler.sample(seeds)


def test_model_is_the_contract(sampler):
    assert sampler.model.name == "tiny"
    assert sampler.model.image.shape == SHAPE


def test_missing_file(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "none.onnx", tmp_path, tmp_path / "file" / "x.onnx", tmp_path / ("x" * 300)):
        with pytest.raises(ModelNotFoundError, match="ganport export"):
            Sampler(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="the file that even root can't read")
def test_file_that_cant_be_read():
    with pytest.raises(ModelNotFoundError, match="input/output error"):
        Sampler("/proc/self/mem")


def test_every_truncation_is_refused(tiny_file, tmp_path):
    content = tiny_file.read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(0, len(content), 41):
        cut.write_bytes(content[:length])
        with pytest.raises((ModelFormatError, NotAGeneratorError)):
            Sampler(cut)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" * 10, bytes(1000), b"\xff" * 1000])
def test_file_that_is_no_onnx_is_refused(tmp_path, content, capfd):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        Sampler(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_onnx_without_contract_is_no_generator(tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(tiny_model(metadata={}).SerializeToString())
    with pytest.raises(NotAGeneratorError):
        Sampler(path)


def test_contract_of_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "newer.onnx"
    text = tiny_contract().to_json().replace('"format": 1', '"format": 2')
    path.write_bytes(tiny_model(metadata={"ganport": text}).SerializeToString())
    with pytest.raises(ContractVersionError):
        Sampler(path)


@pytest.mark.parametrize(
    "contract",
    [
        tiny_contract(dtype="uint8"),
        tiny_contract(batch=4),
        tiny_contract(input=runtime.InputSpec(kind="latent", name="z", dim=DIM, distribution="normal")),
        tiny_contract(input=runtime.InputSpec(kind="latent", name="latent", dim=DIM + 1, distribution="normal")),
    ],
    ids=["dtype", "batch", "name", "dim"],
)
def test_contract_of_another_file_is_refused(tmp_path, contract):
    path = tmp_path / "swapped.onnx"
    path.write_bytes(tiny_model(metadata={"ganport": contract.to_json()}).SerializeToString())
    with pytest.raises(ContractError, match="the contract promises"):
        Sampler(path)


def test_second_output_is_refused(tmp_path):
    model = tiny_model()
    model.graph.output.append(helper.make_tensor_value_info("float", TensorProto.FLOAT, ["batch", *SHAPE]))
    path = tmp_path / "two.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ContractError):
        Sampler(path)


def test_folder_works_under_another_name_in_an_empty_project(tiny_file, tmp_path):
    shutil.copytree(ROOT / "runtime", tmp_path / "my_app" / "ganlib")
    (tmp_path / "my_app" / "__init__.py").touch()
    code = (
        "import sys; from my_app.ganlib import Sampler\n"
        f"sys.stdout.buffer.write(Sampler({str(tiny_file)!r}).sample(range(70)).tobytes())\n"
        "assert 'runtime' not in sys.modules"
    )
    drawn = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env={"PYTHONPATH": "."}, stdout=subprocess.PIPE, check=True
    )
    assert drawn.stdout == Sampler(tiny_file).sample(range(70)).tobytes()


def other_head(path, kind: str, batch: int | None, **spec) -> Sampler:
    """Write a file whose images are all as bright as their seed: it takes seeds, or draws those that are baked in."""
    seeds = spec.get("seeds")
    nodes = [
        helper.make_node("Reshape", ["seed", "column"], ["pixel"]),
        helper.make_node("Cast", ["pixel"], ["bytes"], to=TensorProto.UINT8),
        helper.make_node("Tile", ["bytes", "repeats"], ["image"]),
    ]
    constants = {"column": np.array([-1, 1, 1, 1]), "repeats": np.array([1, *SHAPE])}
    inputs = [helper.make_tensor_value_info("seed", TensorProto.INT64, [batch or "batch"])]
    if kind == "fixed":
        inputs, constants["seed"] = [], np.array(seeds)
    output = helper.make_tensor_value_info("image", TensorProto.UINT8, [batch or "batch", *SHAPE])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "bright", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    source = runtime.InputSpec(kind=kind, name="seed" if inputs else "", dim=DIM, distribution="normal", **spec)
    helper.set_model_props(model, {"ganport": tiny_contract(dtype="uint8", batch=batch, input=source).to_json()})
    path.write_bytes(model.SerializeToString())
    return Sampler(path)


@pytest.mark.parametrize("batch", [None, 4])
def test_file_that_takes_seeds_is_given_seeds(tmp_path, batch):
    sampler = other_head(tmp_path / "x.onnx", "seed", batch)
    images = sampler.sample(range(70, 80))
    assert images.shape == (10, *SHAPE)
    assert images[:, 0, 0, 0].tolist() == list(range(70, 80))
    with pytest.raises(InputKindError, match="takes seeds"):
        sampler.sample_latents(np.zeros((1, DIM)))


def test_file_with_seeds_baked_in_draws_those(tmp_path):
    sampler = other_head(tmp_path / "x.onnx", "fixed", 3, seeds=(9, 200, 4))
    assert sampler.sample([4, 9, 9])[:, 0, 0, 0].tolist() == [4, 9, 9]
    with pytest.raises(FixedSeedError, match="Seed 5 is not baked"):
        sampler.sample([4, 5])
    with pytest.raises(InputKindError, match="baked in"):
        sampler.sample_latents(np.zeros((1, DIM)))


def test_fixed_file_whose_batch_is_not_its_seeds_is_refused(tmp_path):
    with pytest.raises(ContractError, match="one seed per image"):
        other_head(tmp_path / "x.onnx", "fixed", 2, seeds=(9, 200, 4))
