"""Keras files of both versions are loaded as functions, and what can't be loaded is said in words."""

import json
import sys
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

from ganport.export.errors import GeneratorError
from ganport.export.loading import load_function
from ganport.export.paths import LoadingOptions
from ganport.runtime.errors import UsageError
from tests.export.keras_networks import (
    FRAMEWORKS,
    LATENTS,
    OWN_LAYER,
    assert_generates,
    expected_images,
    generator,
    randomise,
    write,
)

# The code of `lambda x: tf.tanh(x)` in base64, as versions of Python write it.
TANH = {
    (
        3,
        8,
    ): "4wEAAAAAAAAAAAAAAAEAAAADAAAAQwAAAHMKAAAAdACgAXwAoQFTAKkBTikC2gJ0ZtoEdGFuaKkB2gF0qQByBgAAAPoHPHN0ZGlu"
    "PtoIPGxhbWJkYT4FAAAA8wAAAAA=",
    (
        3,
        11,
    ): "4wEAAAAAAAAAAAAAAAMAAAADAAAA8zYAAACXAHQAAAAAAAAAAAAAAKABAAAAAAAAAAAAAAAAAAAAAAAAAAB8AKYBAACrAQAAAAAA"
    "AAAAUwCpAU4pAtoCdGbaBHRhbmipAdoBdHMBAAAAIPoHPHN0ZGluPvoIPGxhbWJkYT5yCAAAAAUAAABzFgAAAIAA1VVX11Vc0lVc0F1e0VVf"
    "1FVfgADzAAAAAA==",
    (
        3,
        12,
    ): "4wEAAAAAAAAAAAAAAAMAAAADAAAA8ywAAACXAHQAAAAAAAAAAABqAwAAAAAAAAAAAAAAAAAAAAAAAHwAqwEAAAAAAABTAKkBTikC"
    "2gJ0ZtoEdGFuaKkB2gF0cwEAAAAg+gc8c3RkaW4++gg8bGFtYmRhPnIIAAAABQAAAHMTAAAAgADUVVfXVVzRVVzQXV7TVV+AAPMAAAAA",
    (
        3,
        13,
    ): "4wEAAAAAAAAAAAAAAAMAAAADAAAA8ywAAACVAFsAAAAAAAAAAABSAwAAAAAAAAAAAAAAAAAAAAAAAFUANQEAAAAAAAAkAKkBTikC"
    "2gJ0ZtoEdGFuaKkB2gF0cwEAAAAg2gc8c3RkaW4+2gg8bGFtYmRhPnIIAAAABQAAAHMRAAAAgADUVVfXVVzRVVzQXV7UVV/zAAAAAA==",
}
OF_OTHER_PYTHONS = [version for version in TANH if version != sys.version_info[:2]]

ENDINGS = (".keras", ".h5", ".hdf5")
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")  # in Keras 2
BOTH = pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)


def load(path, **options):
    return load_function(path, LoadingOptions(**options))


def problem_of(path, **options):
    with pytest.raises(GeneratorError) as error:
        load(path, **options)
    assert str(path) in str(error.value)
    return error.value.problem


def edit_hdf5(path, edit):
    """Change the configuration in a file of HDF5."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config)
        file.attrs["model_config"] = json.dumps(config)


def edit_zip(path, name, edit):
    """Change one file in a .keras file; leave it out if `edit` returns None."""
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    content[name] = edit(content[name])
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in content.items():
            if data is not None:
                archive.writestr(each, data)


@BOTH
@pytest.mark.parametrize("ending", ENDINGS)
def test_file_of_either_version_is_loaded(framework, ending, tmp_path):
    model = generator(framework)
    model.save(tmp_path / f"g{ending}")
    function = load(tmp_path / f"g{ending}")
    assert_generates(function, expected_images(model))
    assert [spec.shape.as_list() for spec in function.inputs] == [[None, 8]]


@BOTH
def test_other_weights_generate_other_images(framework, tmp_path):
    model = generator(framework)
    model.save(tmp_path / "g.h5")
    images = expected_images(model)
    model.set_weights([1.01 * weight for weight in model.get_weights()])
    model.save(tmp_path / "other.h5")
    assert_generates(load(tmp_path / "g.h5"), images)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_generates(load(tmp_path / "other.h5"), images)


@BOTH
def test_sequential_model_in_a_functional_one_is_loaded(framework, tmp_path):
    latent = framework.layers.Input((8,))
    model = framework.Model(latent, generator(framework)(latent))
    model.save(tmp_path / "g.h5")
    assert_generates(load(tmp_path / "g.h5"), expected_images(model))


def test_operations_of_tensorflow_in_a_file_of_keras_2_are_loaded(tmp_path):
    keras = FRAMEWORKS["tf_keras"]
    latent = keras.layers.Input((8,))
    images = tf.reshape(tf.tanh(keras.layers.Dense(64)(latent)), (-1, 8, 8, 1))[:, ::-1]
    model = keras.Model(latent, images)
    model.save(tmp_path / "g.h5")
    assert_generates(load(tmp_path / "g.h5"), expected_images(model))


def test_setting_groups_of_keras_2_in_a_file_of_keras_3_is_read(tmp_path):
    model = generator(FRAMEWORKS["keras"])
    model.save(tmp_path / "g.h5")

    def add_groups(config):
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Conv2DTranspose":
                layer["config"]["groups"] = 1

    edit_hdf5(tmp_path / "g.h5", add_groups)
    assert_generates(load(tmp_path / "g.h5"), expected_images(model))


@BOTH
@pytest.mark.parametrize(("saved", "named"), [("g.h5", "g.keras"), ("g.keras", "g.h5"), ("g.keras", "g")])
def test_format_is_recognised_by_content(framework, saved, named, tmp_path):
    model = generator(framework)
    model.save(tmp_path / saved)
    (tmp_path / saved).rename(tmp_path / named)
    assert_generates(load(tmp_path / named), expected_images(model))


@BOTH
def test_folder_with_the_content_of_a_keras_file_is_loaded(framework, tmp_path):
    model = generator(framework)
    model.save(tmp_path / "g.keras")
    with zipfile.ZipFile(tmp_path / "g.keras") as archive:
        archive.extractall(tmp_path / "folder")
    assert_generates(load(tmp_path / "folder"), expected_images(model))


@BOTH
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_two_inputs_and_dict_of_outputs_have_their_names(framework, ending, tmp_path):
    layers = framework.layers
    latent, label = layers.Input((8,), name="z"), layers.Input((1,), dtype="int32", name="label")
    joined = layers.multiply([latent, layers.Flatten()(layers.Embedding(10, 8)(label))])
    images = layers.Reshape((4, 4, 1))(layers.Dense(16, activation="tanh")(joined))
    model = randomise(framework.Model([latent, label], [images, layers.Flatten()(images)]))
    model.save(tmp_path / f"g{ending}")
    function = load(tmp_path / f"g{ending}")
    assert [(spec.name, spec.dtype) for spec in function.inputs] == [("z", tf.float32), ("label", tf.int32)]
    assert len(function.outputs) == 2
    labels = np.arange(5, dtype=np.int32)[:, None]
    assert_generates(function, np.asarray(model([LATENTS, labels])[0]), LATENTS, labels)


@pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize")  # in Keras 2
@BOTH
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_initializers_of_tensorflow_need_no_code(framework, ending, tmp_path):
    initializer = tf.random_normal_initializer(0.0, 0.02)
    layer = framework.layers.Conv2D(1, 3, padding="same", kernel_initializer=initializer)
    model = generator(framework, end=(layer,))
    model.save(tmp_path / f"g{ending}")
    assert_generates(load(tmp_path / f"g{ending}"), expected_images(model))


class TestLambda:
    @BOTH
    @pytest.mark.parametrize("ending", [".keras", ".h5"])
    def test_is_rejected_without_trust(self, framework, ending, tmp_path):
        """The code must not run, not even during the load. Here it would end the process."""
        model = generator(
            framework, end=(framework.layers.Lambda(lambda x: x if x is not None else exit(1)),)
        )
        model.save(tmp_path / f"g{ending}")
        assert "holds a Lambda layer, which is code" in problem_of(tmp_path / f"g{ending}")

    @BOTH
    @pytest.mark.parametrize("ending", [".keras", ".h5"])
    def test_finds_the_usual_names_with_trust(self, framework, ending, tmp_path):
        code = (
            "lambda x, factor=0.5: K.tanh(tf.nn.relu(x)) * np.float32(factor) + keras.activations.sigmoid(x)"
        )
        backend = framework.backend if framework.__name__ == "tf_keras" else tf.keras.backend
        names = {"K": backend, "tf": tf, "np": np, "keras": framework}
        function = eval(code, dict(names))
        model = generator(framework, end=(framework.layers.Lambda(function),))
        model.save(tmp_path / f"g{ending}")
        assert_generates(load(tmp_path / f"g{ending}", trust=True), expected_images(model))

    def test_finds_names_in_the_file_of_custom_objects(self, tmp_path):
        keras = FRAMEWORKS["keras"]
        function = eval("lambda x: STRENGTH * x", {"STRENGTH": 0.25})
        model = generator(keras, end=(keras.layers.Lambda(function, output_shape=(8, 8, 1)),))
        model.save(tmp_path / "g.keras")
        assert "uses a name that the file does not define (name 'STRENGTH' is not defined)" in problem_of(
            tmp_path / "g.keras", trust=True
        )
        own = write(tmp_path / "own.py", "STRENGTH = 0.25\n")
        function = load(tmp_path / "g.keras", trust=True, custom_objects=own)
        assert_generates(function, expected_images(model))

    @BOTH
    @pytest.mark.parametrize("version", OF_OTHER_PYTHONS)
    def test_of_another_python_is_named(self, framework, version, tmp_path):
        model = generator(framework, end=(framework.layers.Lambda(lambda x: tf.tanh(x)),))
        model.save(tmp_path / "g.h5")

        def exchange(config):
            (layer,) = (each for each in config["config"]["layers"] if each["class_name"] == "Lambda")
            function = layer["config"]["function"]
            if framework.__name__ == "tf_keras":
                function[0] = TANH[version]
            else:
                function["config"]["code"] = TANH[version]

        edit_hdf5(tmp_path / "g.h5", exchange)
        assert "code of another version of Python" in problem_of(tmp_path / "g.h5", trust=True)


class TestOwnLayers:
    @BOTH
    @pytest.mark.parametrize("ending", [".keras", ".h5"])
    @pytest.mark.parametrize("package", [None, "mine"])
    def test_are_found_in_a_file(self, framework, ending, package, tmp_path):
        own = write(tmp_path / "own.py", OWN_LAYER)
        layer = self.layer(framework, own, package)
        model = generator(framework, end=(layer(), framework.layers.Rescaling(0.5)))
        model.save(tmp_path / f"g{ending}")
        if package:
            del framework.utils.get_custom_objects()[f"{package}>PixelNorm"]
        assert "uses PixelNorm, which is not part of Keras; give the Python file" in problem_of(
            tmp_path / f"g{ending}"
        )
        before = dict(framework.utils.get_custom_objects())
        for _ in range(2):  # a second export of a program runs the file again
            function = load(tmp_path / f"g{ending}", trust=True, custom_objects=own)
        assert_generates(function, expected_images(model))
        assert framework.utils.get_custom_objects() == before

    @staticmethod
    def layer(framework, own, package):
        """Return the class in a user's file as a class of a version of Keras."""
        names = {"__name__": "my_program", "tf": tf, "Layer": framework.layers.Layer}
        exec(own.read_text()[own.read_text().index("class ") :], names)
        layer = names["PixelNorm"]
        return framework.utils.register_keras_serializable(package)(layer) if package else layer

    def test_file_may_register_them_itself(self, tmp_path):
        keras = FRAMEWORKS["tf_keras"]
        text = OWN_LAYER.replace("class ", '@keras.utils.register_keras_serializable("mine")\nclass ')
        layer = self.layer(keras, write(tmp_path / "own.py", OWN_LAYER), "mine")
        model = generator(keras, end=(layer(), keras.layers.Rescaling(0.5)))
        model.save(tmp_path / "g.h5")
        del keras.utils.get_custom_objects()["mine>PixelNorm"]
        own = write(tmp_path / "own.py", text)
        for _ in range(2):
            function = load(tmp_path / "g.h5", trust=True, custom_objects=own)
        assert_generates(function, expected_images(model))

    def test_of_the_running_program_need_no_file(self, tmp_path):
        keras = FRAMEWORKS["keras"]
        layer = self.layer(keras, write(tmp_path / "own.py", OWN_LAYER), "mine")
        model = generator(keras, end=(layer(), keras.layers.Rescaling(0.5)))
        model.save(tmp_path / "g.keras")
        try:
            assert_generates(load(tmp_path / "g.keras"), expected_images(model))
        finally:
            del keras.utils.get_custom_objects()["mine>PixelNorm"]

    def test_need_trust(self, tmp_path):
        generator(FRAMEWORKS["keras"]).save(tmp_path / "g.keras")
        own = write(tmp_path / "own.py", "raise SystemExit('the file was run')")
        with pytest.raises(UsageError, match="to run it, use `trust=True` too"):
            load(tmp_path / "g.keras", custom_objects=own)
        with pytest.raises(UsageError, match=r"can't be run \(SystemExit: the file was run"):
            load(tmp_path / "g.keras", custom_objects=own, trust=True)
        with pytest.raises(UsageError, match="which is not a file; give a Python file"):
            load(tmp_path / "g.keras", custom_objects=tmp_path / "none.py", trust=True)


class TestCodeInAConfiguration:
    @pytest.mark.parametrize(
        "part",
        [
            {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
            {"module": "builtins", "class_name": "function", "config": "print", "registered_name": None},
            {"module": "subprocess", "class_name": "Popen", "config": {}, "registered_name": "Popen"},
        ],
    )
    def test_of_other_modules_is_rejected(self, part, tmp_path):
        """Keras 2 imports each module that a file names, and would call the function as an activation."""
        model = generator(FRAMEWORKS["tf_keras"])
        model.save(tmp_path / "g.keras")

        def exchange(content):
            config = json.loads(content)
            config["config"]["layers"][1]["config"]["activation"] = part
            return json.dumps(config)

        edit_zip(tmp_path / "g.keras", "config.json", exchange)
        assert "which is not part of Keras" in problem_of(tmp_path / "g.keras")

    def test_that_writes_files_is_rejected(self, tmp_path):
        keras = FRAMEWORKS["tf_keras"]
        latent = keras.layers.Input((8,))
        model = keras.Model(latent, tf.tanh(latent))
        model.save(tmp_path / "g.h5")

        def exchange(config):
            config["config"]["layers"][1]["config"]["function"] = "io.write_file"

        edit_hdf5(tmp_path / "g.h5", exchange)
        assert "runs io.write_file of TensorFlow, which can read or write files" in problem_of(
            tmp_path / "g.h5"
        )


class TestDamage:
    def test_cut_files_are_named(self, tmp_path):
        for ending in (".h5", ".keras"):
            path = tmp_path / f"g{ending}"
            generator(FRAMEWORKS["keras"]).save(path)
            path.write_bytes(path.read_bytes()[:3_000])
            assert "it is not a Keras file, or it is damaged (" in problem_of(path)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("config.json", None),
            ("config.json", b"{not json"),
            ("config.json", b"[1, 2]"),
            ("metadata.json", None),
            ("metadata.json", b"[1, 2]"),
            ("model.weights.h5", None),
            ("model.weights.h5", b"not HDF5"),
        ],
    )
    @BOTH
    def test_damaged_parts_are_named_in_one_line(self, framework, name, content, tmp_path):
        generator(framework).save(tmp_path / "g.keras")
        edit_zip(tmp_path / "g.keras", name, lambda _: content)
        problem = problem_of(tmp_path / "g.keras")
        assert len(problem.splitlines()) == 1
        assert len(problem) < 400

    @BOTH
    def test_wrong_settings_are_named_without_a_dump_of_the_configuration(self, framework, tmp_path):
        generator(framework).save(tmp_path / "g.h5")

        def add_setting(config):
            config["config"]["layers"][1]["config"]["colour"] = "red"

        edit_hdf5(tmp_path / "g.h5", add_setting)
        problem = problem_of(tmp_path / "g.h5")
        assert "colour" in problem
        assert "units" not in problem  # a right setting of the same layer
        assert len(problem.splitlines()) == 1

    def test_hdf5_of_other_programs_is_named(self, tmp_path):
        with h5py.File(tmp_path / "g.h5", "w") as file:
            file["data"] = [1, 2, 3]
        assert "neither a model nor weights of Keras" in problem_of(tmp_path / "g.h5")


class TestKeras2Alone:
    """Keras 2 writes these files, but can't read all of them itself."""

    @pytest.mark.parametrize("ending", [".keras", ".h5"])
    def test_own_activation_is_read(self, ending, tmp_path):
        text = "import tensorflow as tf\n\ndef half(x):\n    return 0.5 * tf.tanh(x)\n"
        own = write(tmp_path / "own.py", text)
        keras = FRAMEWORKS["tf_keras"]
        names = {"__name__": "my_program"}
        exec(text, names)
        model = generator(keras, end=(keras.layers.Activation(names["half"]),))
        model.save(tmp_path / f"g{ending}")
        assert "uses half, which is not part of Keras" in problem_of(tmp_path / f"g{ending}")
        function = load(tmp_path / f"g{ending}", trust=True, custom_objects=own)
        assert_generates(function, expected_images(model))

    @pytest.mark.parametrize("ending", [".keras", ".h5"])
    def test_spectral_normalization_is_read(self, ending, tmp_path, monkeypatch):
        keras = FRAMEWORKS["tf_keras"]
        monkeypatch.setattr(tf.compat.v2, "keras", keras)  # as in TensorFlow 2.15
        last = keras.layers.Conv2D(1, 3, padding="same", activation="tanh")
        model = generator(keras, end=(keras.layers.SpectralNormalization(last),))
        model.save(tmp_path / f"g{ending}")
        expected = expected_images(model)
        monkeypatch.undo()
        assert_generates(load(tmp_path / f"g{ending}"), expected)
