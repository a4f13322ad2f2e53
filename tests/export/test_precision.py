"""float16 and int8: smaller files, with a measured and limited loss."""

import json
import logging

import keras
import numpy as np
import onnx
import pytest

from ganport.export import Options, export_generator, verified
from ganport.export.costs import measure_costs
from ganport.export.errors import PrecisionError, VerificationError
from ganport.export.parity import MAX_MEAN_LEVELS, compared_seeds, open_on_cpu
from ganport.export.precision import (
    CALIBRATION_SEEDS,
    computes_in_float16,
    round_weights,
    store_in_float16,
    to_float16_arithmetic,
    to_float32,
    to_int8,
)
from ganport.export.sources import Source, load_source
from ganport.export.verified import convert_and_verify
from ganport.export.writing import GOLDEN_SEEDS, write_model
from ganport.runtime import Sampler, sample_latents
from ganport.runtime.errors import UsageError
from ganport.runtime.golden import check_golden
from tests.export.conftest import COMPARED_IMAGES, shake


def convolutional(activation="tanh"):
    layers = [
        keras.Input((16,)),
        keras.layers.Dense(7 * 7 * 8),
        keras.layers.Reshape((7, 7, 8)),
        keras.layers.LeakyReLU(),
        keras.layers.Conv2DTranspose(8, 4, 2, padding="same"),
        keras.layers.LeakyReLU(),
        keras.layers.Conv2D(16, 3, padding="same"),
        keras.layers.LeakyReLU(),
        keras.layers.Conv2DTranspose(1, 4, 2, padding="same", activation=activation),
    ]
    return Source(name="convolutional", generator=shake(keras.Sequential(layers)))


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
@pytest.mark.parametrize(
    ("precision", "smaller"), [("float16", 1.8), ("float16-arithmetic", 1.8), ("int8", 3.0)]
)
def test_file_is_smaller_and_generates_nearly_the_same_images(source, tmp_path, kind, precision, smaller):
    chosen = source if kind == "dense" else convolutional()
    result = convert_and_verify(chosen, Options(precision=precision))
    exact, rounded = (model.ByteSize() for model in (result.float32, result.model))
    if kind == "dense":
        assert exact > smaller * rounded
    contract = write_model(result, tmp_path / "x.onnx")
    assert contract.precision == precision
    seeds = np.arange(5000, 5100)
    latents = sample_latents(seeds, chosen.latent_dim)
    (images,) = open_on_cpu(result.float32).run(None, {"latent": latents})
    levels = np.abs(Sampler(tmp_path / "x.onnx").sample(seeds).astype(int) - images)
    assert 0 < levels.mean() < MAX_MEAN_LEVELS[precision]
    assert levels.mean() == pytest.approx(contract.verification["mean_levels"], rel=0.3, abs=0.01)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_error_in_the_contract_includes_the_loss_of_the_precision(tmp_path, precision):
    source = convolutional()
    files = {each: tmp_path / f"{each}.onnx" for each in ("float32", precision)}
    stated = {
        each: export_generator(source, file, Options(precision=each, output="float")).verification[
            "max_abs_error"
        ]
        for each, file in files.items()
    }
    latents = sample_latents(np.array(compared_seeds(COMPARED_IMAGES)), source.latent_dim)
    exact, rounded = (
        open_on_cpu(onnx.load(file)).run(None, {"latent": latents})[0] for file in files.values()
    )
    # The tolerance covers float32 sums, which differ between batch sizes.
    assert stated[precision] == pytest.approx(np.abs(rounded - exact).max(), rel=0.25)
    assert stated[precision] > 10 * stated["float32"]


@pytest.mark.parametrize("precision", ["float16", "float16-arithmetic", "int8"])
@pytest.mark.parametrize(
    "options",
    [{"input_kind": "seed"}, {"input_kind": "fixed", "seeds": (1, 2)}, {"batch": 3}, {"output": "float"}],
)
def test_every_kind_of_file_is_exported_in_every_precision(tmp_path, precision, options):
    contract = export_generator(convolutional(), tmp_path / "x.onnx", Options(precision=precision, **options))
    seeds = contract.input.seeds or (5, 6, 7, 8)
    assert Sampler(tmp_path / "x.onnx").sample(seeds).shape == (len(seeds), 28, 28, 1)


def test_stored_float16_computes_in_float32(tmp_path):
    """Each weight in float16 is converted before its use, and the images are those of the rounded weights."""
    source = convolutional()
    result = convert_and_verify(source, Options(precision="float16"))
    graph = result.model.graph
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    users = [node for node in graph.node if halves.intersection(node.input)]
    assert len(halves) == len(users) >= 4
    assert {node.op_type for node in users} == {"Cast"}
    assert {onnx.helper.get_node_attr_value(node, "to") for node in users} == {onnx.TensorProto.FLOAT}
    rounded = verified.simplify(round_weights(result.float32))
    latents = sample_latents(np.arange(50), source.latent_dim)
    stored, computed = (
        open_on_cpu(each).run(None, {"latent": latents})[0] for each in (result.model, rounded)
    )
    np.testing.assert_array_equal(stored, computed)
    contract = write_model(result, tmp_path / "x.onnx")
    assert Sampler(tmp_path / "x.onnx").contract.precision == contract.precision == "float16"


def test_weights_that_are_only_stored_in_float16_are_not_float16_arithmetic():
    stored = store_in_float16(round_weights(convert_and_verify(convolutional()).float32))
    assert not computes_in_float16(stored)
    assert computes_in_float16(to_float16_arithmetic(stored))
    restored = verified.simplify(to_float32(stored))
    assert "Cast" not in {node.op_type for node in restored.graph.node}
    latents = {"latent": sample_latents(np.arange(5), 16)}
    np.testing.assert_array_equal(*(open_on_cpu(each).run(None, latents)[0] for each in (stored, restored)))


def test_only_what_float16_represents_is_stored_in_it():
    names = ("exact", "inexact", "small", "large")
    exact = np.arange(64, dtype=np.float32)
    arrays = (exact, exact + np.float32(1e-6), exact[:63].copy(), exact + np.float32(1e5))
    nodes = [onnx.helper.make_node("Add", ["x", name], [f"y{index}"]) for index, name in enumerate(names)] + [
        onnx.helper.make_node("Mul", ["y0", "exact"], ["y4"])
    ]
    ends = [
        onnx.helper.make_tensor_value_info(f"y{index}", onnx.TensorProto.FLOAT, None) for index in range(5)
    ]
    start = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in zip(names, arrays, strict=True)]
    graph = onnx.helper.make_graph(nodes, "g", [start], ends, constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    stored = store_in_float16(model)
    kinds = sorted(tensor.data_type for tensor in stored.graph.initializer)
    assert kinds == [onnx.TensorProto.FLOAT] * 3 + [onnx.TensorProto.FLOAT16]
    assert [node.op_type for node in stored.graph.node].count("Cast") == 1
    for before, after in zip(
        *(open_on_cpu(each).run(None, {"x": np.float32([3])}) for each in (model, stored)), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_stored_weights_that_are_not_the_rounded_ones_are_found(tmp_path, monkeypatch):
    """The damage is far below the limit of the loss of float16, but not below that of float32."""

    def to_damaged(model):
        stored = store_in_float16(model)
        weights = next(
            each for each in stored.graph.initializer if each.data_type == onnx.TensorProto.FLOAT16
        )
        values = onnx.numpy_helper.to_array(weights) * np.float16(1.01)
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return stored

    monkeypatch.setattr(verified, "store_in_float16", to_damaged)
    with pytest.raises(VerificationError, match=r"same rounded weights|in 8-bit levels"):
        export_generator(convolutional(), tmp_path / "x.onnx", Options(precision="float16", allow_loss=True))
    assert not list(tmp_path.iterdir())


def test_file_of_float16_arithmetic_is_read_as_older_files_are(tmp_path):
    """Before float16 was a form of storage, a contract said float16 for weights and arithmetic."""
    export_generator(convolutional(), tmp_path / "x.onnx", Options(precision="float16-arithmetic"))
    model = onnx.load(tmp_path / "x.onnx")
    (entry,) = model.metadata_props
    document = json.loads(entry.value)
    assert (document["precision"], document["format"]) == ("float16", 1)
    assert "arithmetic" not in document
    with Sampler(tmp_path / "x.onnx") as sampler:
        assert sampler.contract.precision == "float16-arithmetic"
        assert all(check.passed for check in check_golden(sampler))


def test_small_format_keeps_the_stored_weights_small(tmp_path):
    result = convert_and_verify(convolutional(), Options(precision="float16"))
    for name in ("x.onnx", "x.ort"):
        write_model(result, tmp_path / name, name[2:])
    stored, small = (Sampler(tmp_path / name).sample(range(8)) for name in ("x.onnx", "x.ort"))
    np.testing.assert_array_equal(stored, small)
    full = convert_and_verify(convolutional(), Options(precision="float32"))
    write_model(full, tmp_path / "full.ort", "ort")
    sizes = [(tmp_path / name).stat().st_size for name in ("x.ort", "full.ort")]
    assert sizes[0] < 0.75 * sizes[1]


def test_same_generator_gives_the_same_bytes(tmp_path):
    source = convolutional()
    for name in ("a", "b"):
        export_generator(source, tmp_path / f"{name}.onnx", Options(precision="int8"))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_loss_over_the_limit_is_rejected_unless_it_is_allowed(tmp_path, monkeypatch):
    def to_noise(model, dim, label_count, **options):
        model = to_int8(model, dim, label_count, **options)
        weights = next(
            tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8
        )
        values = onnx.numpy_helper.to_array(weights).copy()
        weights.CopyFrom(onnx.numpy_helper.from_array(values // 16 * 16, weights.name))
        return model

    monkeypatch.setattr(verified, "to_int8", to_noise)
    monkeypatch.setitem(MAX_MEAN_LEVELS, "int8", 0.5)
    with pytest.raises(VerificationError, match="`allow_loss=True`"):
        export_generator(convolutional(), tmp_path / "x.onnx", Options(precision="int8"))
    assert not list(tmp_path.iterdir())
    contract = export_generator(
        convolutional(), tmp_path / "x.onnx", Options(precision="int8", allow_loss=True)
    )
    assert contract.verification["mean_levels"] > 0.5


@pytest.mark.parametrize("precision", ["float16", "float16-arithmetic"])
def test_weight_beyond_the_range_of_float16_is_rejected(tmp_path, precision):
    source = convolutional()
    kernel = source.generator.layers[0].kernel
    kernel.assign(np.full(kernel.shape, 1e6, np.float32))
    with pytest.raises(PrecisionError, match="65504"):
        export_generator(source, tmp_path / "x.onnx", Options(precision=precision))
    assert not list(tmp_path.iterdir())


def test_float32_has_no_loss_to_allow():
    with pytest.raises(UsageError, match="`allow_loss=True` is for"):
        Options(allow_loss=True)


def test_calibration_seeds_are_neither_golden_nor_small():
    assert not set(CALIBRATION_SEEDS) & {*GOLDEN_SEEDS, *range(1_000_000)}


def test_costs_count_the_whole_file():
    model = convert_and_verify(convolutional()).model
    (cost,) = measure_costs([model])
    assert cost.nodes == len(model.graph.node)
    assert cost.parameters >= 1000
    assert set(cost.milliseconds) == {1, 64}
    assert all(0 < time < 1000 for time in cost.milliseconds.values())


@pytest.mark.parametrize("batch", [200, 600])
def test_calibration_uses_all_of_its_seeds_with_any_batch(tmp_path, batch):
    from ganport.export.precision import _Latents

    source = onnx.helper.make_tensor_value_info("latent", onnx.TensorProto.FLOAT, [batch, 16])
    reader, rows = _Latents(16, 0, source), set()
    while (part := reader.get_next()) is not None:
        assert part["latent"].shape == (batch, 16)
        rows.update(map(bytes, part["latent"]))
    assert len(rows) == len(CALIBRATION_SEEDS)


def test_inputs_that_onnx_requires_in_float32_stay_float32():
    """The graph has constant, shared and computed scales, constants within nodes, and a tiny divisor."""
    nodes = [
        onnx.helper.make_node("Resize", ["x", "", "scales"], ["a"], mode="nearest"),
        onnx.helper.make_node("Cast", ["whole"], ["made"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Resize", ["a", "", "made"], ["b"], mode="nearest"),
        onnx.helper.make_node("Mul", ["b", "scales"], ["c"]),
        onnx.helper.make_node("Shape", ["c"], ["shape"]),
        onnx.helper.make_node(
            "ConstantOfShape",
            ["shape"],
            ["ones"],
            value=onnx.numpy_helper.from_array(np.float32([1.5]), "value"),
        ),
        onnx.helper.make_node("Sub", ["c", "c"], ["zero"]),
        onnx.helper.make_node("Add", ["zero", "tiny"], ["epsilon"]),
        onnx.helper.make_node("Div", ["zero", "epsilon"], ["still"]),
        onnx.helper.make_node("Add", ["c", "still"], ["d"]),
        onnx.helper.make_node("Add", ["d", "ones"], ["y"]),
    ]
    constants = {
        "scales": np.float32([1, 1, 1, 2]),
        "whole": np.int64([1, 1, 2, 1]),
        "tiny": np.float32(1e-12),
    }
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2, 3, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2, 6, 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    rounded = to_float16_arithmetic(model)
    onnx.checker.check_model(rounded, full_check=True)
    halves = [tensor for tensor in rounded.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16]
    assert all((onnx.numpy_helper.to_array(tensor) != 0).all() for tensor in halves)
    x = np.random.default_rng(0).normal(size=(3, 2, 3, 2)).astype(np.float32)
    exact, near = (open_on_cpu(each).run(None, {"x": x})[0] for each in (model, rounded))
    np.testing.assert_allclose(near, exact, rtol=3e-3, atol=3e-3)


@pytest.mark.slow
def test_upsampling_keeps_its_convolutions_in_int8(tmp_path):
    from benchmarks.third_party_generators import build

    build("upsampling").save(tmp_path / "x.keras")
    model = convert_and_verify(load_source(tmp_path / "x.keras"), Options(precision="int8")).model
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Conv") == 3
    assert "ConvTranspose" not in kinds


def test_quantiser_does_not_change_the_log_level():
    level = logging.getLogger().level
    to_int8(convert_and_verify(convolutional()).float32, 16)
    assert logging.getLogger().level == level
