"""Generators that were trained with uniform latents: each kind of input has the latents of the runtime."""

import functools

import keras
import numpy as np
import onnx
import pytest

from ganport.export import Options, export_generator, input_stages, verified
from ganport.export.card import write_card
from ganport.export.errors import VerificationError
from ganport.export.exporting import Exported
from ganport.export.input_stages import add_seed_input, fix_seeds, seed_stage_model
from ganport.export.parity import open_on_cpu
from ganport.export.precision import CALIBRATION_SEEDS, to_int8
from ganport.export.sources import Source
from ganport.export.verified import convert_and_verify
from ganport.export.writing import write_model
from ganport.runtime import Sampler, sample_latents, to_uint8
from ganport.runtime.golden import check_golden
from ganport.runtime.latents import append_one_hot
from tests.export.conftest import shake

UNIFORM = ["uniform", "uniform01"]
DIM = 12  # not a multiple of 8, so the last block of random words is cut
SEEDS = (0, 1, 42, 2**32, 2**53 + 1, 2**63 - 1)


def make_source(distribution, labels=()):
    layers = [
        keras.Input((DIM + len(labels),)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(3 * 4 * 3, activation="tanh"),
        keras.layers.Reshape((3, 4, 3)),
    ]
    generator = shake(keras.Sequential(layers))
    return Source(name="uniform", generator=generator, labels=labels, distribution=distribution)


def expected_images(source, seeds, distribution):
    latents = sample_latents(seeds, DIM, distribution=distribution)
    if source.labels:
        latents = append_one_hot(latents, np.array(seeds) % len(source.labels), len(source.labels))
    return to_uint8(source.generator(latents, training=False).numpy())


def largest_difference(images, others):
    return int(np.abs(images.astype(int) - others).max())


@pytest.mark.parametrize("dim", [1, 8, 100])
@pytest.mark.parametrize("distribution", ["normal", *UNIFORM])
def test_seed_stage_has_the_bits_of_the_runtime(dim, distribution):
    seeds = np.array([*SEEDS, *np.random.default_rng().integers(0, 2**63, 500)])
    stage = open_on_cpu(seed_stage_model(dim, 18, distribution=distribution))
    (latents,) = stage.run(None, {"seed": seeds})
    expected = sample_latents(seeds, dim, distribution=distribution)
    assert latents.dtype == expected.dtype
    np.testing.assert_array_equal(latents.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("distribution", UNIFORM)
@pytest.mark.parametrize("labels", [(), ("a", "b", "c")], ids=["plain", "labelled"])
@pytest.mark.parametrize("kind", ["latent", "seed", "fixed"])
def test_exported_file_generates_the_images_of_uniform_latents(tmp_path, kind, labels, distribution):
    source = make_source(distribution, labels)
    options = Options(input_kind=kind, seeds=SEEDS if kind == "fixed" else ())
    contract = export_generator(source, tmp_path / "x.onnx", options)
    assert (contract.input.distribution, contract.to_dict()["format"]) == (distribution, 3)
    sampler = Sampler(tmp_path / "x.onnx")
    assert sampler.contract == contract
    images = sampler.sample(SEEDS)
    assert largest_difference(images, expected_images(source, SEEDS, distribution)) <= 1
    assert largest_difference(images, expected_images(source, SEEDS, "normal")) > 50
    assert all(check.passed for check in check_golden(sampler))


@pytest.mark.parametrize("distribution", UNIFORM)
def test_rewrites_keep_the_latents_of_a_file_with_a_seed_input(distribution):
    model = convert_and_verify(make_source(distribution), Options(input_kind="seed")).model
    (last,) = (node for node in model.graph.node if node.op_type == "Sub")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(last.output[0]))
    latents = open_on_cpu(model).run([last.output[0]], {"seed": np.array(SEEDS)})[0]
    expected = sample_latents(SEEDS, DIM, distribution=distribution)
    np.testing.assert_array_equal(latents.view(np.uint32), expected.view(np.uint32))


def test_seed_stage_that_rounds_is_rejected(tmp_path, monkeypatch):
    scale, offset = input_stages.UNIFORM_STEPS["uniform"]
    wrong = {"uniform": (scale, np.nextafter(offset, np.float32(0)))}
    monkeypatch.setattr(input_stages, "UNIFORM_STEPS", wrong)
    with pytest.raises(VerificationError, match="the number of latents in which the graph differs"):
        export_generator(make_source("uniform"), tmp_path / "x.onnx", Options(input_kind="seed"))
    assert not list(tmp_path.iterdir())


def call_with_uniform01(function, *arguments, distribution):
    return function(*arguments, distribution="uniform01")


@pytest.mark.parametrize("kind", ["seed", "fixed"])
def test_graph_with_the_latents_of_another_distribution_is_rejected(kind, monkeypatch):
    for function in (add_seed_input, fix_seeds):
        wrong = functools.partial(call_with_uniform01, function)
        monkeypatch.setattr(verified, function.__name__, wrong)
    options = Options(input_kind=kind, seeds=SEEDS if kind == "fixed" else ())
    with pytest.raises(VerificationError, match=r"the largest difference to .* in 8-bit levels"):
        convert_and_verify(make_source("uniform"), options)
    assert convert_and_verify(make_source("uniform01"), options)


@pytest.mark.parametrize(("distribution", "width"), [("uniform", 2), ("uniform01", 1)])
def test_int8_is_calibrated_with_uniform_latents(distribution, width):
    model = convert_and_verify(make_source(distribution), Options(output="float")).model
    graph = to_int8(model, DIM, distribution=distribution).graph
    (first,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and "latent" in node.input)
    scale = next(tensor for tensor in graph.initializer if tensor.name == first.input[1])
    latents = sample_latents(CALIBRATION_SEEDS, DIM, distribution=distribution)
    low, high = min(latents.min(), 0), latents.max()
    assert onnx.numpy_helper.to_array(scale) == pytest.approx((high - low) / 255, rel=1e-3)
    assert high - low == pytest.approx(width, rel=1e-3)


def test_int8_file_is_verified_and_measured(tmp_path):
    source = make_source("uniform01")
    options = Options(input_kind="seed", precision="int8", allow_loss=True)
    result = convert_and_verify(source, options)
    contract = write_model(result, tmp_path / "x.onnx")
    images = Sampler(tmp_path / "x.onnx").sample(range(50))
    mean = np.abs(images.astype(int) - expected_images(source, range(50), "uniform01")).mean()
    assert mean == pytest.approx(contract.verification["mean_levels"], rel=0.5)
    exported = Exported(tmp_path / "x.onnx", contract, 0, (), result)
    assert [name for name, _ in exported.measure_costs()] == ["float32", "int8"]


@pytest.mark.parametrize(
    ("distribution", "expected"), [("uniform", "uniform on (-1, 1)"), ("uniform01", "uniform on (0, 1)")]
)
def test_card_names_the_distribution(tmp_path, distribution, expected):
    export_generator(make_source(distribution), tmp_path / "x.onnx")
    page, _ = write_card(tmp_path / "x.onnx", tmp_path)
    assert f"`latent`, float32 [batch, {DIM}], {expected} |" in page.read_text()
