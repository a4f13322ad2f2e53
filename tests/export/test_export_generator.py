"""Exported files generate the images of Keras; models that can't be exported are rejected."""

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

from ganport.export import Options, export, export_generator
from ganport.export.errors import GeneratorError, SourceNotFoundError, VerificationError
from ganport.export.sources import Source, load_source
from ganport.runtime import Sampler, encode_png, make_grid, sample_latents, to_uint8
from ganport.runtime.contract import METADATA_KEY, Contract
from ganport.runtime.description import Description
from ganport.runtime.errors import OutputError, UnsupportedModelError
from ganport.trainer.errors import CheckpointError, RunNotFoundError
from ganport.trainer.recipes import load_recipe
from tests.export.conftest import shake

SEEDS = np.arange(1000, 1100)


@pytest.mark.parametrize("output", ["uint8", "float"])
@pytest.mark.parametrize("batch", [None, 1, 5])
def test_exported_file_generates_the_images_of_keras(source, tmp_path, output, batch):
    target = tmp_path / "generator.onnx"
    contract = export_generator(source, target, Options(output=output, batch=batch))
    sampler = Sampler(target)
    expected = to_uint8(source.generator(sample_latents(SEEDS, 100), training=False).numpy())
    differences = np.abs(sampler.sample(SEEDS).astype(int) - expected)
    assert differences.max() <= 1
    assert (differences > 0).mean() <= 1e-3
    assert expected.std() > 50  # images of a single colour would make the comparison meaningless

    assert sampler.contract == contract
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


def test_golden_images_are_those_that_the_file_generates(source, tmp_path):
    contract = export_generator(source, tmp_path / "x.onnx")
    grid = np.asarray(Image.open(io.BytesIO(base64.b64decode(contract.golden["png_base64"]))))
    np.testing.assert_array_equal(
        grid[..., np.newaxis], make_grid(Sampler(tmp_path / "x.onnx").sample([0, 1, 2, 3]))
    )
    assert base64.b64decode(contract.golden["png_base64"]) == encode_png(grid[..., np.newaxis])


def test_one_seed_gives_the_same_bytes_alone_and_in_batches_of_7_and_64(source, tmp_path):
    export_generator(source, tmp_path / "x.onnx")
    sampler = Sampler(tmp_path / "x.onnx")
    rng = np.random.default_rng()
    for seed in rng.integers(0, 2**63, 20):
        alone = sampler.sample([seed])[0]
        for size in (7, 64):
            seeds = rng.integers(0, 2**63, size)
            index = rng.integers(size)
            seeds[index] = seed
            np.testing.assert_array_equal(
                sampler.sample(seeds)[index], alone, err_msg=f"seed {seed}, batch {size}"
            )


def test_operation_without_a_counterpart_is_rejected(tmp_path):
    class Odd(keras.layers.Layer):
        """A layer with an operation that ONNX does not have."""

        def call(self, latents):
            return tf.reshape(tf.math.bessel_i0(latents[:, :1]) * 0, (-1, 1, 1, 1))

    model = keras.Sequential([keras.Input((5,)), Odd()])
    with pytest.raises(GeneratorError, match="can't be converted"):
        export_generator(Source(name="odd", generator=model), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_output_outside_of_the_range_is_rejected(tmp_path):
    model = shake(
        keras.Sequential([keras.Input((5,)), keras.layers.Dense(12), keras.layers.Reshape((3, 4, 1))])
    )
    with pytest.raises(VerificationError, match=r"from \[-1, 1\]"):
        export_generator(Source(name="linear", generator=model), tmp_path / "x.onnx")


def test_colour_generator(tmp_path):
    layers = [keras.Input((5,)), keras.layers.Dense(36, activation="tanh"), keras.layers.Reshape((3, 4, 3))]
    export_generator(Source(name="colour", generator=shake(keras.Sequential(layers))), tmp_path / "x.onnx")
    assert Sampler(tmp_path / "x.onnx").sample(range(9)).shape == (9, 3, 4, 3)


def test_path_that_cant_be_written_is_an_output_error(source, tmp_path):
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
def test_file_without_a_keras_model_is_rejected(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a Keras file")
    with pytest.raises((GeneratorError, UnsupportedModelError), match="x"):
        load_source(tmp_path / name)


def test_truncated_keras_file_is_rejected(dense, tmp_path):
    dense.save(tmp_path / "x.keras")
    content = (tmp_path / "x.keras").read_bytes()
    (tmp_path / "x.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(GeneratorError, match="it is damaged"):
        load_source(tmp_path / "x.keras")


@pytest.mark.parametrize("name", ["x.keras", "x.h5"])
def test_code_in_a_keras_file_is_not_run(tmp_path, name):
    layers = [
        keras.Input((5,)),
        keras.layers.Lambda(lambda x: x),
        keras.layers.Dense(12),
        keras.layers.Reshape((3, 4, 1)),
    ]
    keras.Sequential(layers).save(tmp_path / name)
    with pytest.raises(GeneratorError, match="Lambda layer"):
        load_source(tmp_path / name)


def build(input_shape, *layers):
    return keras.Sequential([keras.Input(input_shape), *layers])


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (lambda: build((5,), keras.layers.Dense(12)), "rows of 12 values; give `image_size`"),
        (
            lambda: build((5,), keras.layers.Dense(60), keras.layers.Reshape((6, 5, 2))),
            "expected 1, 3 or 4 channels",
        ),
        (
            lambda: build((32, 32, 3), keras.layers.Conv2D(3, 3, padding="same", activation="tanh")),
            "takes images, not latents",
        ),
        (
            lambda: keras.Model([a := keras.Input((5,)), b := keras.Input((5,))], keras.layers.add([a, b])),
            "rows of 5 values",
        ),
    ],
    ids=["flat", "two channels", "images", "two inputs"],
)
def test_model_that_is_not_a_generator_is_rejected(tmp_path, model, problem):
    model().save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match=problem):
        load_source(tmp_path / "x.keras")


def test_weight_that_is_not_finite_is_named(tmp_path):
    model = build(
        (5,), keras.layers.Dense(12, activation="tanh", name="culprit"), keras.layers.Reshape((3, 4, 1))
    )
    model.layers[0].bias.assign(np.full(12, np.nan))
    model.save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match=r"weights hold values that are not finite \(.*culprit"):
        load_source(tmp_path / "x.keras")


def test_folder_that_is_not_a_run_is_rejected(tmp_path):
    with pytest.raises(RunNotFoundError, match=r"No run in .*; create one with: ganport train"):
        export(tmp_path, tmp_path / "x.onnx")


@pytest.mark.parametrize("name", ["generator.keras", "nosuch"])
def test_missing_file_or_folder_is_named(tmp_path, name):
    with pytest.raises(
        SourceNotFoundError, match=rf"No file or folder at .*{name}; give a run folder"
    ) as caught:
        export(tmp_path / name)
    assert isinstance(caught.value, FileNotFoundError)


def test_missing_file_of_a_run_points_to_the_run(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(SourceNotFoundError, match=r"at .*; .* is a run folder; give this folder to export"):
        export(tmp_path / "generator.keras")


def test_run_without_a_checkpoint_is_rejected(tmp_path):
    recipe = load_recipe("digits")
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    facts = {
        "name": "x",
        "images": 1,
        "licence": "x",
        "source": "x",
        "preparation": {},
        "fingerprint": "x",
        "classes": {},
    }
    (tmp_path / "data.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="No usable checkpoint"):
        export(tmp_path)
    assert not (tmp_path / "generator.onnx").exists()


def test_opset_is_the_requested_one(source, tmp_path):
    export_generator(source, tmp_path / "x.onnx")
    assert [opset.version for opset in onnx.load(tmp_path / "x.onnx").opset_import if opset.domain == ""] == [
        Options().opset
    ]


def test_same_generator_gives_the_same_bytes(source, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    files = [tmp_path / "x.onnx", tmp_path / "elsewhere" / "another.onnx"]
    for file in files:
        export_generator(source, file)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("output", ["uint8", "float"])
@pytest.mark.parametrize("batch", [None, 5])
def test_seed_input_generates_the_images_of_latent_input(source, tmp_path, output, batch):
    export_generator(source, tmp_path / "latent.onnx", Options(output=output, batch=batch))
    contract = export_generator(
        source, tmp_path / "seed.onnx", Options(input_kind="seed", output=output, batch=batch)
    )
    assert (contract.input.kind, contract.input.name, contract.batch) == ("seed", "seed", batch)
    seeds = [*range(20), 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1]
    images = Sampler(tmp_path / "seed.onnx").sample(seeds)
    np.testing.assert_array_equal(images, Sampler(tmp_path / "latent.onnx").sample(seeds))


def test_fixed_file_generates_its_seeds_without_an_input(source, tmp_path):
    seeds = (7, 2**40, 0)
    contract = export_generator(source, tmp_path / "fixed.onnx", Options(input_kind="fixed", seeds=seeds))
    assert (contract.input.seeds, contract.batch, contract.golden["seeds"]) == (seeds, 3, list(seeds))
    session = ort.InferenceSession(tmp_path / "fixed.onnx", providers=["CPUExecutionProvider"])
    assert not session.get_inputs()
    (images,) = session.run(None, {})
    export_generator(source, tmp_path / "latent.onnx")
    # onnxruntime computes a graph without inputs when it loads the file. It then uses different kernels.
    assert np.abs(images.astype(int) - Sampler(tmp_path / "latent.onnx").sample(seeds)).max() <= 1
    np.testing.assert_array_equal(Sampler(tmp_path / "fixed.onnx").sample([0, 7]), images[[2, 0]])


def third_party(source=(5,), activation="tanh"):
    """Return a small third-party generator with weights that are not trivial."""
    layers = [
        keras.layers.Flatten(),
        keras.layers.Dense(12, activation=activation),
        keras.layers.Reshape((3, 4, 1)),
    ]
    return shake(build(source, *layers))


def generated_by_keras(model, latent_shape, levels):
    latents = sample_latents(np.arange(9), 5).reshape(-1, *latent_shape)
    return np.clip(np.rint(levels(model(latents).numpy())), 0, 255).astype(int)


@pytest.mark.parametrize("latent_shape", [(5,), (1, 1, 5)], ids=str)
@pytest.mark.parametrize(
    ("activation", "levels"), [("tanh", lambda x: 127.5 * (x + 1)), ("sigmoid", lambda x: 255 * x)]
)
@pytest.mark.parametrize("name", ["x.keras", "x.h5", "saved"])
def test_third_party_model_of_any_format_is_exported(tmp_path, name, activation, levels, latent_shape):
    model = third_party(latent_shape, activation)
    if name == "saved":
        model.export(tmp_path / name, verbose=False)
    else:
        model.save(tmp_path / name)
    assert export(tmp_path / name, tmp_path / "x.onnx").input.dim == 5
    images = Sampler(tmp_path / "x.onnx").sample(range(9)).astype(int)
    assert np.abs(images - generated_by_keras(model, latent_shape, levels)).max() <= 1
    assert images.std() > 20  # images of a single colour would make the comparison meaningless


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_value_range_that_is_unknown_must_be_given(tmp_path, activation):
    third_party(activation=activation).save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match=r"which does not decide the range .* give `value_range`"):
        load_source(tmp_path / "x.keras")
    described = Description(value_range=(-2, 2), clip=True)
    assert load_source(tmp_path / "x.keras", description=described).image_shape == (3, 4, 1)


def test_value_range_that_contradicts_the_model_is_rejected(tmp_path):
    third_party(activation="sigmoid").save(tmp_path / "x.keras")
    with pytest.raises(GeneratorError, match="contradicts"):
        load_source(tmp_path / "x.keras", description=Description(value_range="tanh"))


def test_saved_model_without_a_generator_is_rejected(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "empty")
    with pytest.raises(GeneratorError, match="has neither a signature nor a function"):
        load_source(tmp_path / "empty")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(GeneratorError, match=r"saved_model\.pb in it is damaged"):
        load_source(tmp_path / "damaged")


def test_existing_file_is_kept_without_overwrite(source, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"existing")
    with pytest.raises(OutputError, match="`overwrite=True`"):
        export_generator(source, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"existing"
    export_generator(source, tmp_path / "x.onnx", overwrite=True)
    assert Sampler(tmp_path / "x.onnx").contract.name == "shaken"


@pytest.mark.parametrize("name", ["x.keras", "x.h5"])
def test_code_in_a_keras_file_is_run_if_it_is_trusted(tmp_path, name):
    layers = [
        keras.layers.Dense(12, activation="tanh"),
        keras.layers.Lambda(lambda x: 0.5 * x),
        keras.layers.Reshape((3, 4, 1)),
    ]
    shake(build((5,), *layers)).save(tmp_path / name)
    with pytest.raises(GeneratorError, match="`trust=True`"):
        load_source(tmp_path / name)
    contract = export(tmp_path / name, tmp_path / "x.onnx", value_range="tanh", trust=True)
    assert contract.verification["max_abs_error"] < 1e-5


@pytest.mark.parametrize("opset", [13, 17, 19, 21, 23, 26])
def test_opsets(tmp_path, opset):
    contract = export_generator(Source("x", third_party()), tmp_path / "x.onnx", Options(opset=opset))
    model = onnx.load(tmp_path / "x.onnx")
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    assert contract.verification["max_abs_error"] < 1e-5


@pytest.mark.parametrize("input_kind", ["latent", "seed", "fixed"])
@pytest.mark.parametrize("output", ["uint8", "float"])
def test_channels_first(tmp_path, input_kind, output):
    layers = [keras.layers.Dense(36, activation="tanh"), keras.layers.Reshape((3, 4, 3))]
    source = Source("x", shake(build((5,), *layers)))
    seeds = (3, 1, 2) if input_kind == "fixed" else ()
    export_generator(source, tmp_path / "last.onnx", Options(output=output))
    export_generator(
        source,
        tmp_path / "first.onnx",
        Options(input_kind=input_kind, seeds=seeds, output=output, layout="NCHW"),
    )
    session = ort.InferenceSession(tmp_path / "first.onnx", providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape[1:] == [3, 3, 4]
    images = Sampler(tmp_path / "first.onnx").sample([1, 2, 3]).astype(int)
    differences = np.abs(images - Sampler(tmp_path / "last.onnx").sample([1, 2, 3]))
    assert differences.max() <= (1 if input_kind == "fixed" else 0)


@pytest.mark.parametrize(
    ("size", "strides", "extra", "padding"),
    [(2, 3, 1, "valid"), (5, 3, 2, "valid"), (5, 3, 2, "same"), (5, 2, 1, "same")],
)
def test_output_padding(tmp_path, size, strides, extra, padding):
    layers = [
        keras.layers.Dense(48),
        keras.layers.Reshape((4, 4, 3)),
        keras.layers.Conv2DTranspose(
            3, size, strides, padding=padding, output_padding=extra, activation="tanh"
        ),
    ]
    export_generator(Source("x", shake(build((5,), *layers))), tmp_path / "x.onnx")


def test_ones_like_in_float16(tmp_path):
    class Shifted(keras.layers.Layer):
        def call(self, images):
            return 0.5 * images - 0.25 * keras.ops.ones_like(images)

    layers = [keras.layers.Dense(12, activation="tanh"), Shifted(), keras.layers.Reshape((3, 4, 1))]
    export_generator(
        Source("x", shake(build((5,), *layers))), tmp_path / "x.onnx", Options(precision="float16")
    )
