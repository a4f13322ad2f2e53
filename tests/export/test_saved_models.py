"""SavedModels are loaded by their signatures, by their functions, or by the models inside of them."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from ganport.export.errors import GeneratorError
from ganport.export.loading import load_function
from ganport.export.paths import LoadingOptions
from tests.export.keras_networks import (
    FRAMEWORKS,
    LATENTS,
    assert_generates,
    discriminator,
    expected_images,
    generator,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Compiled the loaded model"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]
RNG = np.random.default_rng(3)
WEIGHTS = RNG.standard_normal((8, 16)).astype(np.float32)
CLASSES = RNG.standard_normal((10, 8)).astype(np.float32)


class Module(tf.Module):
    """A module in the manner of TF-Hub, with functions of one input and of three."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(WEIGHTS)
        self.classes = tf.Variable(CLASSES)

    @tf.function(input_signature=[tf.TensorSpec((None, 8), name="latent_vector")])
    def simple(self, latent_vector):
        return {"default": tf.reshape(tf.tanh(latent_vector @ self.weights), (-1, 4, 4, 1))}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 8), name="z"),
            tf.TensorSpec((None, 10), name="y"),
            tf.TensorSpec((), name="truncation"),
        ]
    )
    def conditional(self, z, y, truncation):
        mixed = truncation * z + y @ self.classes
        return {"default": tf.reshape(tf.tanh(mixed @ self.weights), (-1, 4, 4, 1))}


SIMPLE = np.tanh(LATENTS @ WEIGHTS).reshape(-1, 4, 4, 1)
ONE_HOT = np.eye(10, dtype=np.float32)[:5]
TRUNCATION = np.array(0.5, np.float32)
CONDITIONAL = np.tanh((0.5 * LATENTS + ONE_HOT @ CLASSES) @ WEIGHTS).reshape(-1, 4, 4, 1)


def load(path, **options):
    return load_function(path, LoadingOptions(**options))


def problem_of(path, **options):
    with pytest.raises(GeneratorError) as error:
        load(path, **options)
    return error.value.problem


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function that saves a Module once with the given signatures, and returns its folder."""
    folders = {}

    def save(**signatures):
        key = tuple(sorted(signatures.items()))
        if key not in folders:
            module = Module()
            folders[key] = tmp_path_factory.mktemp("saved")
            functions = {name: getattr(module, function) for name, function in signatures.items()}
            tf.saved_model.save(module, folders[key], signatures=functions)
        return folders[key]

    return save


@pytest.mark.parametrize("name", ["serving_default", "default", "generate"])
def test_default_or_only_signature_is_taken(saved, name):
    function = load(saved(**{name: "simple"}))
    assert [spec.name for spec in function.inputs] == ["latent_vector"]
    assert_generates(function, SIMPLE)


def test_default_comes_before_other_signatures(saved):
    function = load(saved(serving_default="simple", other="conditional"))
    assert_generates(function, SIMPLE)


def test_signatures_are_listed_and_chosen(saved):
    path = saved(one="simple", three="conditional")
    problem = problem_of(path)
    assert "has no default signature; choose one of " in problem
    assert "one (batch, 8) -> (batch, 4, 4, 1)" in problem
    assert "three (), (batch, 10), (batch, 8) -> (batch, 4, 4, 1)" in problem
    assert_generates(load(path, signature="one"), SIMPLE)
    assert "no signature or function `signature='two'`; it has" in problem_of(path, signature="two")


def test_signature_with_three_inputs_has_them_all(saved):
    function = load(saved(one="simple", three="conditional"), signature="three")
    values = {"z": LATENTS, "y": ONE_HOT, "truncation": TRUNCATION}
    assert_generates(function, CONDITIONAL, *(values[spec.name] for spec in function.inputs))


def test_function_without_a_signature_is_taken(saved):
    path = saved(default="simple")
    function = load(path, signature="conditional")
    assert [spec.name for spec in function.inputs] == ["z", "y", "truncation"]
    assert_generates(function, CONDITIONAL, LATENTS, ONE_HOT, TRUNCATION)


def test_only_function_is_taken_with_the_free_batch_among_its_traces(tmp_path):
    class Traced(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable(WEIGHTS)

        @tf.function
        def generate(self, z, training=False):
            noise = tf.random.normal(tf.shape(z)) if training else 0.0
            return tf.reshape(tf.tanh((z + noise) @ self.weights), (-1, 4, 4, 1))

    module = Traced()
    module.generate(tf.zeros((1, 8)), training=True)
    module.generate(tf.zeros((1, 8)))
    tf.saved_model.save(module, tmp_path / "fixed")
    assert load(tmp_path / "fixed").inputs[0].shape.as_list() == [1, 8]
    module.generate.get_concrete_function(tf.TensorSpec((None, 8)), training=True)
    module.generate.get_concrete_function(tf.TensorSpec((None, 8)))
    tf.saved_model.save(module, tmp_path / "free")
    assert_generates(load(tmp_path / "free"), SIMPLE)


def test_folder_without_functions_says_so(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path)
    assert "neither a signature nor a function" in problem_of(tmp_path)


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_keras_models_of_both_versions_are_loaded(framework, tmp_path):
    model = generator(framework)
    tf.saved_model.save(model, tmp_path / "by_tensorflow")
    if framework.__name__ == "keras":
        model.export(tmp_path / "by_keras", verbose=False)
    else:
        model.save(tmp_path / "by_keras")
    for name in ("by_tensorflow", "by_keras"):
        assert_generates(load(tmp_path / name), expected_images(model))
    assert_generates(load(tmp_path / "by_keras" / "saved_model.pb"), expected_images(model))


def test_mixed_precision_is_computed_in_float32(tmp_path):
    keras = FRAMEWORKS["keras"]
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = generator(keras)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.export(tmp_path / "saved", verbose=False)
    assert_generates(load(tmp_path / "saved"), expected_images(generator(keras)))


def test_generator_inside_of_a_gan_of_keras_2_is_found_and_taken(tmp_path):
    keras = FRAMEWORKS["tf_keras"]
    latent = keras.layers.Input((8,))
    made = generator(keras)
    keras.Model(latent, discriminator(keras)(made(latent))).save(tmp_path / "gan")
    assert problem_of(tmp_path / "gan") == (
        "the whole model returns no images, but a model inside of it does: generator (batch, 8) -> "
        "(batch, 8, 8, 1); use `layer='generator'`."
    )
    assert_generates(load(tmp_path / "gan", layer="generator"), expected_images(made))
    assert "discriminator (batch, 8, 8, 1) -> (batch, 1)" in problem_of(tmp_path / "gan", layer="critic")


def test_layer_of_a_saved_model_of_keras_3_is_explained(tmp_path):
    generator(FRAMEWORKS["keras"]).export(tmp_path / "saved", verbose=False)
    assert "contains no models that can run alone" in problem_of(tmp_path / "saved", layer="generator")


def test_graph_that_reads_files_needs_trust(tmp_path):
    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8), name="z")])
        def generate(self, z):
            length = tf.strings.length(tf.io.read_file(str(tmp_path / "secret.txt")))
            return tf.reshape(tf.tanh(z) + tf.cast(length, tf.float32), (-1, 2, 4, 1))

    (tmp_path / "secret.txt").write_text("secret")
    tf.saved_model.save(Reader(), tmp_path / "saved")
    assert "contains the operation ReadFile, which can use the files" in problem_of(tmp_path / "saved")
    function = load(tmp_path / "saved", trust=True)
    images = function.run({"z": LATENTS})[function.outputs[0]]
    np.testing.assert_allclose(images, np.tanh(LATENTS).reshape(-1, 2, 4, 1) + 6, atol=1e-6)


@pytest.mark.parametrize("damage", ["cut", "variables", "no variables"])
def test_damaged_folder_is_named_in_one_line(saved, tmp_path, damage):
    folder = shutil.copytree(saved(default="simple"), tmp_path / "saved")
    if damage == "cut":
        (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:500])
    elif damage == "variables":
        (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"cut")
    else:
        shutil.rmtree(folder / "variables")
    problem = problem_of(folder)
    assert len(problem.splitlines()) == 1
    assert "damaged" in problem or "TensorFlow can't load the SavedModel (" in problem
