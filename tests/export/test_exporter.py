"""What is exported draws what Keras draws; what would not is refused."""

import base64
import io
import json

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorflow as tf
from PIL import Image

from ganport.export import Options, Source, export_generator, load_source
from ganport.runtime import Sampler, encode_png, latents_of, make_grid, to_uint8
from ganport.runtime.contract import METADATA_KEY, Contract
from ganport.runtime.errors import (
    CheckpointError,
    GeneratorError,
    OutputError,
    RunNotFoundError,
    SeedError,
    UsageError,
    VerificationError,
)
from tests.export.conftest import shake

SEEDS = np.arange(1000, 1100)


@pytest.mark.parametrize("output", ["uint8", "float"])
@pytest.mark.parametrize("batch", [None, 1, 5])
def test_exported_file_draws_what_keras_draws(source, tmp_path, output, batch):
    target = tmp_path / "generator.onnx"
    contract = export_generator(source, target, Options(output=output, batch=batch))
    sampler = Sampler(target)
    expected = to_uint8(source.generator(latents_of(SEEDS, 100), training=False).numpy())
    drawn = sampler.sample(SEEDS)
    apart = np.abs(drawn.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 1e-3
    assert expected.std() > 50  # else it would be no test

    assert sampler.model == contract
    assert contract.image.dtype == ("uint8" if output == "uint8" else "float32")
    assert contract.batch == batch
    graph = onnx.load(target).graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == (batch or 0)
    assert [path.name for path in tmp_path.iterdir()] == ["generator.onnx"]


def test_contract_holds_the_whole_document(source, tmp_path):
    export_generator(source, tmp_path / "x.onnx")
    (entry,) = onnx.load(tmp_path / "x.onnx").metadata_props
    assert entry.key == METADATA_KEY
    document = json.loads(entry.value)
    assert set(document) == {
        "format", "name", "created_by", "input", "image", "batch", "precision",
        "recipe", "data", "training", "verification", "golden",
    }  # fmt: skip
    assert document["data"] == {"name": "none", "images": 0, "licence": "CC0"}
    assert document["verification"]["batch_sizes"] == [1, 7, 64]
    assert 0 < document["verification"]["max_abs_error"] <= 1e-4


def test_golden_images_are_what_the_file_draws(source, tmp_path):
    contract = export_generator(source, tmp_path / "x.onnx")
    grid = np.asarray(Image.open(io.BytesIO(base64.b64decode(contract.golden["png_base64"]))))
    np.testing.assert_array_equal(grid[..., np.newaxis], make_grid(Sampler(tmp_path / "x.onnx").sample([0, 1, 2, 3])))
    assert base64.b64decode(contract.golden["png_base64"]) == encode_png(grid[..., np.newaxis])


def test_one_seed_gives_the_same_bytes_alone_and_in_batches_of_7_and_64(source, tmp_path):
    export_generator(source, tmp_path / "x.onnx")
    sampler = Sampler(tmp_path / "x.onnx")
    rng = np.random.default_rng()
    for seed in rng.integers(0, 2**63, 20):
        alone = sampler.sample([seed])[0]
        for size in (7, 64):
            seeds = rng.integers(0, 2**63, size)
            place = rng.integers(size)
            seeds[place] = seed
            np.testing.assert_array_equal(sampler.sample(seeds)[place], alone, err_msg=f"seed {seed}, batch {size}")


def test_operation_without_a_counterpart_is_refused(tmp_path):
    class Odd(keras.layers.Layer):
        """An operation that ONNX does not have."""

        def call(self, latents):
            return tf.reshape(tf.math.bessel_i0(latents[:, :1]) * 0, (-1, 1, 1, 1))

    model = keras.Sequential([keras.Input((5,)), Odd()])
    with pytest.raises(GeneratorError, match="can't be converted"):
        export_generator(Source(name="odd", generator=model), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_output_outside_of_the_range_is_refused(tmp_path):
    model = shake(keras.Sequential([keras.Input((5,)), keras.layers.Dense(12), keras.layers.Reshape((3, 4, 1))]))
    with pytest.raises(VerificationError, match=r"from \[-1, 1\]"):
        export_generator(Source(name="linear", generator=model), tmp_path / "x.onnx")


def test_colour_generator(tmp_path):
    layers = [keras.Input((5,)), keras.layers.Dense(36, activation="tanh"), keras.layers.Reshape((3, 4, 3))]
    export_generator(Source(name="colour", generator=shake(keras.Sequential(layers))), tmp_path / "x.onnx")
    assert Sampler(tmp_path / "x.onnx").sample(range(9)).shape == (9, 3, 4, 3)


def test_target_that_cant_be_written_is_an_output_error(source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        export_generator(source, tmp_path / "file" / "x.onnx")


def test_keras_file_is_a_source(dense, tmp_path):
    dense.save(tmp_path / "mine.keras")
    source = load_source(tmp_path / "mine.keras")
    assert (source.name, source.latent_dim, source.image_shape) == ("mine", 100, (28, 28, 1))
    contract = export_generator(source, tmp_path / "mine.onnx")
    assert contract.recipe == {}
    assert Contract.from_json(contract.to_json()) == contract


@pytest.mark.parametrize("name", ["x.keras", "x.h5", "x.onnx", "x"])
def test_file_that_is_no_keras_model_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing that Keras knows")
    with pytest.raises(GeneratorError, match="x"):
        load_source(tmp_path / name)


def test_truncated_keras_file_is_refused(dense, tmp_path):
    dense.save(tmp_path / "x.keras")
    content = (tmp_path / "x.keras").read_bytes()
    (tmp_path / "x.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(GeneratorError, match="can't load"):
        load_source(tmp_path / "x.keras")


@pytest.mark.parametrize("name", ["x.keras", "x.h5"])
def test_code_in_a_keras_file_is_not_run(tmp_path, name):
    layers = [keras.Input((5,)), keras.layers.Lambda(lambda x: x), keras.layers.Dense(12), keras.layers.Reshape((3, 4, 1))]
    keras.Sequential(layers).save(tmp_path / name)
    with pytest.raises(GeneratorError, match="Lambda layer"):
        load_source(tmp_path / name)


def build(input_shape, *layers):
    return keras.Sequential([keras.Input(input_shape), *layers])


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (lambda: build((5,), keras.layers.Dense(12)), "draws images"),
        (lambda: build((5,), keras.layers.Dense(24), keras.layers.Reshape((3, 4, 2))), "draws images"),
        (
            lambda: build((2, 5), keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Reshape((2, 2, 1))),
            "takes latents",
        ),
        (
            lambda: build((5,), keras.layers.Dense(4, dtype="float16"), keras.layers.Reshape((2, 2, 1), dtype="float16")),
            "float32",
        ),
        (lambda: keras.Model([a := keras.Input((5,)), b := keras.Input((5,))], keras.layers.add([a, b])), "2 inputs"),
    ],
    ids=["flat", "two channels", "sequence", "float16", "two inputs"],
)
def test_model_that_is_no_generator_is_refused(tmp_path, model, problem):
    model().save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match=problem):
        load_source(tmp_path / "x.keras")


def test_weight_that_is_not_finite_is_named(tmp_path):
    model = build((5,), keras.layers.Dense(12, activation="tanh", name="culprit"), keras.layers.Reshape((3, 4, 1)))
    model.layers[0].bias.assign(np.full(12, np.nan))
    model.save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match="culprit/bias"):
        load_source(tmp_path / "x.keras")


def test_what_is_not_there_is_no_run(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(RunNotFoundError, match="ganport train"):
            load_source(path)


def test_a_file_that_is_not_there_is_called_that(tmp_path):
    with pytest.raises(GeneratorError, match=r"Can't export .*generator\.keras: there is no such file or folder\.$"):
        load_source(tmp_path / "generator.keras")
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(GeneratorError, match=r"there is no such file or folder; .* is a run, which can be exported itself"):
        load_source(tmp_path / "generator.keras")


def test_run_without_a_checkpoint_is_refused(tmp_path):
    from ganport.trainer.recipes import load_recipe_module

    recipe = load_recipe_module("digits").RECIPE
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    facts = {"name": "x", "images": 1, "licence": "x", "source": "x", "preparation": {}, "fingerprint": "x", "classes": {}}
    (tmp_path / "data.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="there is none"):
        load_source(tmp_path)


def test_opset_is_the_stated_one(source, tmp_path):
    export_generator(source, tmp_path / "x.onnx")
    assert [opset.version for opset in onnx.load(tmp_path / "x.onnx").opset_import if opset.domain == ""] == [Options().opset]


def test_same_generator_gives_the_same_bytes(source, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    files = [tmp_path / "x.onnx", tmp_path / "elsewhere" / "another.onnx"]
    for file in files:
        export_generator(source, file)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("output", ["uint8", "float"])
@pytest.mark.parametrize("batch", [None, 5])
def test_seed_head_draws_what_the_latent_head_draws(source, tmp_path, output, batch):
    export_generator(source, tmp_path / "latent.onnx", Options(output=output, batch=batch))
    contract = export_generator(source, tmp_path / "seed.onnx", Options(input="seed", output=output, batch=batch))
    assert (contract.input.kind, contract.input.name, contract.batch) == ("seed", "seed", batch)
    seeds = [*range(20), 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1]
    drawn = Sampler(tmp_path / "seed.onnx").sample(seeds)
    np.testing.assert_array_equal(drawn, Sampler(tmp_path / "latent.onnx").sample(seeds))


def test_fixed_file_draws_its_seeds_without_an_input(source, tmp_path):
    seeds = (7, 2**40, 0)
    contract = export_generator(source, tmp_path / "fixed.onnx", Options(input="fixed", seeds=seeds))
    assert (contract.input.seeds, contract.batch, contract.golden["seeds"]) == (seeds, 3, list(seeds))
    session = ort.InferenceSession(tmp_path / "fixed.onnx", providers=["CPUExecutionProvider"])
    assert not session.get_inputs()
    (images,) = session.run(None, {})
    export_generator(source, tmp_path / "latent.onnx")
    # onnxruntime computes a graph without inputs while it loads, by other kernels.
    assert np.abs(images.astype(int) - Sampler(tmp_path / "latent.onnx").sample(seeds)).max() <= 1
    np.testing.assert_array_equal(Sampler(tmp_path / "fixed.onnx").sample([0, 7]), images[[2, 0]])


@pytest.mark.parametrize("options", [{"input": "fixed"}, {"seeds": (1,)}, {"input": "fixed", "seeds": (1, 1)}, {"batch": 2}])
def test_seeds_that_do_not_fit_the_kind_of_file_are_refused(options):
    with pytest.raises(UsageError):
        Options(**({"input": "fixed", "seeds": (1, 2)} | options if "batch" in options else options))
    with pytest.raises(SeedError):
        Options(input="fixed", seeds=(-1,))


def foreign(source=(5,), activation="tanh"):
    """Return a small generator as others write them, its weights not trivial."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(12, activation=activation), keras.layers.Reshape((3, 4, 1))]
    return shake(build(source, *layers))


def drawn_by_keras(model, latent_shape, levels):
    latents = latents_of(np.arange(9), 5).reshape(-1, *latent_shape)
    return np.clip(np.rint(levels(model(latents).numpy())), 0, 255).astype(int)


@pytest.mark.parametrize("latent_shape", [(5,), (1, 1, 5)], ids=str)
@pytest.mark.parametrize(("activation", "levels"), [("tanh", lambda x: 127.5 * (x + 1)), ("sigmoid", lambda x: 255 * x)])
@pytest.mark.parametrize("name", ["x.keras", "x.h5", "saved"])
def test_foreign_model_of_any_format_is_exported(tmp_path, name, activation, levels, latent_shape):
    model = foreign(latent_shape, activation)
    if name == "saved":
        model.export(tmp_path / name, verbose=False)
    else:
        model.save(tmp_path / name)
    # What a SavedModel holds does not say which activation was the last.
    source = load_source(tmp_path / name, value_range=activation if name == "saved" else None)
    assert source.latent_dim == 5
    export_generator(source, tmp_path / "x.onnx")
    drawn = Sampler(tmp_path / "x.onnx").sample(range(9)).astype(int)
    assert np.abs(drawn - drawn_by_keras(model, latent_shape, levels)).max() <= 1
    assert drawn.std() > 20  # else it would be no test


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_range_that_is_not_known_is_asked_for(tmp_path, activation):
    foreign(activation=activation).save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match="--range sigmoid"):
        load_source(tmp_path / "x.keras")
    assert load_source(tmp_path / "x.keras", value_range="tanh").image_shape == (3, 4, 1)


def test_range_that_contradicts_the_model_is_refused(tmp_path):
    foreign(activation="sigmoid").save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match="contradicts"):
        load_source(tmp_path / "x.keras", value_range="tanh")


def test_options_of_a_run_are_refused_for_a_file(tmp_path):
    foreign().save(tmp_path / "x.keras")
    with pytest.raises(UsageError, match="--best"):
        load_source(tmp_path / "x.keras", best=True)
    with pytest.raises(UsageError, match="--range"):
        load_source(tmp_path, value_range="tanh")


def test_saved_model_that_serves_no_generator_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "empty")
    with pytest.raises(GeneratorError, match="serving_default"):
        load_source(tmp_path / "empty")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(GeneratorError, match="can't load"):
        load_source(tmp_path / "damaged")


def test_file_that_is_there_stays_without_overwrite(source, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"dear to somebody")
    with pytest.raises(OutputError, match="--overwrite"):
        export_generator(source, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"dear to somebody"
    export_generator(source, tmp_path / "x.onnx", overwrite=True)
    assert Sampler(tmp_path / "x.onnx").model.name == "shaken"


@pytest.mark.parametrize("name", ["x.keras", "x.h5"])
def test_code_in_a_keras_file_is_run_for_those_who_trust_it(tmp_path, name):
    layers = [
        keras.layers.Dense(12, activation="tanh"),
        keras.layers.Lambda(lambda x: 0.5 * x),
        keras.layers.Reshape((3, 4, 1)),
    ]
    shake(build((5,), *layers)).save(tmp_path / name)
    with pytest.raises(GeneratorError, match="--trust"):
        load_source(tmp_path / name)
    contract = export_generator(load_source(tmp_path / name, value_range="tanh", trust=True), tmp_path / "x.onnx")
    assert contract.verification["max_abs_error"] < 1e-5


@pytest.mark.parametrize("opset", [13, 17, 19, 21, 23, 26])
def test_opsets(tmp_path, opset):
    contract = export_generator(Source("x", foreign()), tmp_path / "x.onnx", Options(opset=opset))
    model = onnx.load(tmp_path / "x.onnx")
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    assert contract.verification["max_abs_error"] < 1e-5


@pytest.mark.parametrize(
    ("options", "words"), [({"opset": 12}, "13 is the oldest"), ({"opset": 17, "input": "seed"}, "BitwiseAnd")]
)
def test_opset_that_is_too_old_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Options(**options)


def test_opset_that_nobody_has_is_refused():
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(UsageError, match=rf"--opset is {newest + 1}; {newest} is the newest that onnx"):
        Options(opset=newest + 1)
    assert Options(opset=newest).opset == newest


@pytest.mark.parametrize("input_kind", ["latent", "seed", "fixed"])
@pytest.mark.parametrize("output", ["uint8", "float"])
def test_channels_first(tmp_path, input_kind, output):
    layers = [keras.layers.Dense(36, activation="tanh"), keras.layers.Reshape((3, 4, 3))]
    source = Source("x", shake(build((5,), *layers)))
    seeds = (3, 1, 2) if input_kind == "fixed" else ()
    export_generator(source, tmp_path / "last.onnx", Options(output=output))
    export_generator(source, tmp_path / "first.onnx", Options(input=input_kind, seeds=seeds, output=output, layout="NCHW"))
    session = ort.InferenceSession(tmp_path / "first.onnx", providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape[1:] == [3, 3, 4]
    drawn = Sampler(tmp_path / "first.onnx").sample([1, 2, 3])
    assert np.abs(drawn.astype(int) - Sampler(tmp_path / "last.onnx").sample([1, 2, 3])).max() <= (input_kind == "fixed")


@pytest.mark.parametrize(
    ("size", "strides", "extra", "padding"), [(2, 3, 1, "valid"), (5, 3, 2, "valid"), (5, 3, 2, "same"), (5, 2, 1, "same")]
)
def test_output_padding(tmp_path, size, strides, extra, padding):
    layers = [
        keras.layers.Dense(48),
        keras.layers.Reshape((4, 4, 3)),
        keras.layers.Conv2DTranspose(3, size, strides, padding=padding, output_padding=extra, activation="tanh"),
    ]
    export_generator(Source("x", shake(build((5,), *layers))), tmp_path / "x.onnx")


def test_ones_like_in_float16(tmp_path):
    class Shifted(keras.layers.Layer):
        def call(self, images):
            return 0.5 * images - 0.25 * keras.ops.ones_like(images)

    layers = [keras.layers.Dense(12, activation="tanh"), Shifted(), keras.layers.Reshape((3, 4, 1))]
    export_generator(Source("x", shake(build((5,), *layers))), tmp_path / "x.onnx", Options(precision="float16"))
