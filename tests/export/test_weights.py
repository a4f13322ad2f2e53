"""Weights without a network are loaded into the network of a JSON file, or of a Python file."""

import pytest
import tensorflow as tf

from ganport.export.errors import GeneratorError
from ganport.export.loading import load_function
from ganport.export.paths import LoadingOptions, checkpoint_prefix, find_source
from ganport.runtime.errors import UsageError
from tests.export.keras_networks import (
    FRAMEWORKS,
    assert_generates,
    discriminator,
    expected_images,
    generator,
    write,
)

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")  # in Keras 2
BOTH = pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)

# A network as a user writes it, in fresh weights. `keras` is that of TensorFlow, in whichever version.
NETWORK = """
from tensorflow import keras
from tensorflow.keras import layers

def build_generator(width=2):
    return keras.Sequential([
        layers.InputLayer((8,), name="z"),
        layers.Dense(16 * width, use_bias=False),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Reshape((4, 4, width)),
        layers.Dropout(0.5),
        layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="tanh"),
    ])
"""
WIDER = NETWORK.replace("width=2", "width=3")


def load(path, **options):
    return load_function(path, LoadingOptions(**options))


def problem_of(path, **options):
    with pytest.raises(GeneratorError) as error:
        load(path, **options)
    return error.value.problem


@pytest.fixture
def network(tmp_path):
    return write(tmp_path / "network.py", NETWORK)


@pytest.fixture
def wider(tmp_path):
    return write(tmp_path / "wider.py", WIDER)


def save_checkpoint(framework, folder, **others):
    """Write a checkpoint in the manner of TensorFlow's tutorials, after a step of the optimizers."""
    model, critic = generator(framework), discriminator(framework)
    optimizers = [framework.optimizers.Adam() for _ in range(2)]
    for optimizer, each in zip(optimizers, (model, critic), strict=True):
        weights = each.trainable_variables
        optimizer.apply_gradients([(tf.zeros(weight.shape), weight) for weight in weights])
    parts = {"generator": model, "discriminator": critic, **others}
    made, judged = optimizers
    checkpoint = tf.train.Checkpoint(generator_optimizer=made, discriminator_optimizer=judged, **parts)
    checkpoint.save(folder / "ckpt")
    return model


class TestHdf5:
    @BOTH
    def test_weights_are_loaded_into_a_python_file(self, framework, network, tmp_path):
        model = generator(framework)
        model.save_weights(tmp_path / "g.weights.h5")
        assert_generates(load(tmp_path / "g.weights.h5", network=network), expected_images(model))

    def test_weights_in_the_layout_of_keras_2_are_loaded(self, network, tmp_path):
        model = generator(FRAMEWORKS["tf_keras"])
        model.save_weights(tmp_path / "g_weights.h5")
        assert_generates(load(tmp_path / "g_weights.h5", network=network), expected_images(model))

    @BOTH
    @pytest.mark.parametrize("name", ["g.h5", "g.keras"])
    def test_weights_of_a_whole_model_are_loaded(self, framework, name, network, tmp_path):
        model = generator(framework)
        model.save(tmp_path / name)
        assert_generates(load(tmp_path / name, network=network), expected_images(model))

    def test_ending_does_not_matter(self, network, tmp_path):
        model = generator(FRAMEWORKS["keras"])
        model.save_weights(tmp_path / "g.weights.h5")
        (tmp_path / "g.weights.h5").rename(tmp_path / "downloaded.bin.h5")
        assert_generates(load(tmp_path / "downloaded.bin.h5", network=network), expected_images(model))

    @BOTH
    def test_weights_of_another_network_are_an_error(self, framework, wider, tmp_path):
        generator(framework).save_weights(tmp_path / "g.weights.h5")
        problem = problem_of(tmp_path / "g.weights.h5", network=wider)
        assert problem.startswith("its weights don't fit the network (")
        assert len(problem.splitlines()) == 1

    def test_weights_that_the_network_lacks_are_an_error(self, tmp_path):
        """Keras loads such a file, and says nothing about the weights that it leaves out."""
        generator(FRAMEWORKS["keras"]).save_weights(tmp_path / "g.weights.h5")
        shorter = NETWORK.replace("        layers.BatchNormalization(),\n", "")
        problem = problem_of(tmp_path / "g.weights.h5", network=write(tmp_path / "shorter.py", shorter))
        assert "it holds 7 arrays, and the network has" in problem

    def test_layer_of_a_network_is_taken(self, tmp_path):
        keras = FRAMEWORKS["keras"]
        gan = keras.Sequential([keras.Input((8,)), generator(keras), discriminator(keras)])
        gan.save_weights(tmp_path / "gan.weights.h5")
        (tmp_path / "gan.json").write_text(gan.to_json())
        function = load(tmp_path / "gan.weights.h5", layer="generator")
        assert_generates(function, expected_images(gan.get_layer("generator")))


class TestJson:
    @BOTH
    @pytest.mark.parametrize("name", ["g.weights.h5", "g_weights.h5", "g.h5"])
    def test_and_weights_beside_it_find_each_other(self, framework, name, tmp_path):
        model = generator(framework)
        model.save_weights(tmp_path / "g.weights.h5")
        (tmp_path / "g.weights.h5").rename(tmp_path / name)
        (tmp_path / "g.json").write_text(model.to_json())
        for path in (tmp_path / "g.json", tmp_path / name):
            assert_generates(load(path), expected_images(model))

    @BOTH
    def test_is_taken_as_the_network(self, framework, tmp_path):
        model = generator(framework)
        model.save_weights(tmp_path / "a.weights.h5")
        network = write(tmp_path / "b.json", model.to_json())
        assert_generates(load(tmp_path / "a.weights.h5", network=network), expected_images(model))

    def test_without_weights_names_the_expected_files(self, tmp_path):
        path = write(tmp_path / "g.json", generator(FRAMEWORKS["keras"]).to_json())
        assert "expected is g.weights.h5 or g_weights.h5" in problem_of(path)

    @BOTH
    def test_with_a_lambda_layer_needs_trust(self, framework, tmp_path):
        model = generator(framework, end=(framework.layers.Lambda(lambda x: tf.tanh(x)),))
        model.save_weights(tmp_path / "g.weights.h5")
        (tmp_path / "g.json").write_text(model.to_json())
        assert "holds a Lambda layer" in problem_of(tmp_path / "g.json")
        assert_generates(load(tmp_path / "g.json", trust=True), expected_images(model))

    @pytest.mark.parametrize("text", ["{not json", "[]", '{"a": 1}', "[" * 100_000])
    def test_of_another_kind_is_named(self, text, tmp_path):
        assert "it is not a JSON file" in problem_of(write(tmp_path / "g.json", text))


class TestCheckpoint:
    @BOTH
    def test_is_loaded_by_its_folder_its_prefix_and_its_files(self, framework, network, tmp_path):
        model = save_checkpoint(framework, tmp_path / "ckpts")
        expected = expected_images(model)
        for name in ("", "ckpt-1", "ckpt-1.index", "ckpt-1.data-00000-of-00001"):
            path = find_source(tmp_path / "ckpts" / name, print)
            assert_generates(load(path, network=network), expected)

    @BOTH
    def test_of_a_model_alone_is_loaded(self, framework, network, tmp_path):
        model = generator(framework)
        tf.train.Checkpoint(model).write(str(tmp_path / "c"))
        assert_generates(load(tmp_path / "c", network=network), expected_images(model))
        tf.train.Checkpoint(inner=tf.train.Checkpoint(some=model)).write(str(tmp_path / "d"))
        assert_generates(load(tmp_path / "d", network=network), expected_images(model))

    def test_of_save_weights_in_keras_2_is_loaded(self, network, tmp_path):
        model = generator(FRAMEWORKS["tf_keras"])
        model.save_weights(tmp_path / "folder" / "weights")
        assert_generates(load(tmp_path / "folder", network=network), expected_images(model))

    @BOTH
    def test_name_is_needed_if_two_models_fit(self, framework, network, tmp_path):
        average = generator(framework)
        average.set_weights([0.9 * weight for weight in average.get_weights()])
        tf.train.Checkpoint(made=generator(framework), average=average).write(str(tmp_path / "c"))
        assert "average, made; choose one with `layer='average'`" in problem_of(
            tmp_path / "c", network=network
        )
        assert_generates(load(tmp_path / "c", network=network, layer="average"), expected_images(average))

    @BOTH
    def test_of_another_network_is_an_error(self, framework, wider, tmp_path):
        save_checkpoint(framework, tmp_path)
        problem = problem_of(tmp_path, network=wider)
        assert "no object in the checkpoint has variables of the shapes that the network has" in problem
        assert "the objects in it are: discriminator, generator." in problem

    def test_newest_is_taken_from_a_folder(self, tmp_path):
        for name in ("ckpt-9", "ckpt-10"):
            (tmp_path / f"{name}.index").touch()
        assert checkpoint_prefix(tmp_path) == tmp_path / "ckpt-10"
        # The path may be that of the machine that trained.
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/content/run/ckpt-9"\n')
        assert checkpoint_prefix(tmp_path) == tmp_path / "ckpt-9"
        assert checkpoint_prefix(tmp_path / "ckpt-8") is None

    @BOTH
    def test_damage_is_named_in_one_line(self, framework, network, tmp_path):
        save_checkpoint(framework, tmp_path)
        for name in ("ckpt-1.data-00000-of-00001", "ckpt-1.index"):
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
            problem = problem_of(tmp_path, network=network)
            assert "TensorFlow can't read the checkpoint (" in problem
            assert len(problem.splitlines()) == 1

    def test_of_tensorflow_1_is_named(self, network, tmp_path):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            variable = tf.compat.v1.get_variable("w", (2, 2))
            session.run(variable.initializer)
            tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=3)
        assert "it is a checkpoint of TensorFlow 1" in problem_of(tmp_path / "model.ckpt-3", network=network)


class TestNetwork:
    def test_is_asked_for_with_three_lines_to_write(self, tmp_path):
        generator(FRAMEWORKS["keras"]).save_weights(tmp_path / "g.weights.h5")
        save_checkpoint(FRAMEWORKS["keras"], tmp_path / "ckpts")
        for path in (tmp_path / "g.weights.h5", tmp_path / "ckpts"):
            problem = problem_of(path)
            assert problem.startswith("it holds only weights, and not the network")
            assert "    def build_generator():\n" in problem

    @pytest.mark.parametrize(
        ("text", "error", "words"),
        [
            ("x = 1", UsageError, "which defines no function build_generator"),
            (
                "import a_package_that_is_not_there",
                UsageError,
                "can't be run .ModuleNotFoundError: No module",
            ),
            ("def build_generator():\n    return 5", GeneratorError, "returns int, and not a Keras model"),
            (
                "def build_generator():\n    return 1 / 0",
                GeneratorError,
                "ZeroDivisionError: division by zero",
            ),
            (
                "import keras\ndef build_generator():\n    return keras.Sequential([keras.layers.Dense(4)])",
                GeneratorError,
                "its network is not built",
            ),
        ],
    )
    def test_that_is_not_right_is_named(self, text, error, words, tmp_path):
        generator(FRAMEWORKS["keras"]).save_weights(tmp_path / "g.weights.h5")
        with pytest.raises(error, match=words):
            load(tmp_path / "g.weights.h5", network=write(tmp_path / "network.py", text))

    def test_may_import_its_neighbours(self, tmp_path):
        model = generator(FRAMEWORKS["keras"])
        model.save_weights(tmp_path / "g.weights.h5")
        write(tmp_path / "my_networks.py", NETWORK)
        network = write(tmp_path / "network.py", "from my_networks import build_generator\n")
        assert_generates(load(tmp_path / "g.weights.h5", network=network), expected_images(model))

    def test_of_keras_3_does_not_change_what_keras_means(self, network, tmp_path):
        import keras

        generator(FRAMEWORKS["tf_keras"]).save_weights(tmp_path / "g_weights.h5")
        load(tmp_path / "g_weights.h5", network=network)
        assert keras is FRAMEWORKS["keras"]
        from tensorflow import keras as of_tensorflow
        from tensorflow.keras import layers

        assert of_tensorflow.__version__ == keras.__version__
        assert issubclass(layers.Dense, keras.layers.Layer)
