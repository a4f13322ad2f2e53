"""Files that are no Keras files are named for what they are, with the way on."""

import zipfile

import pytest
import tensorflow as tf

from ganport.export.errors import GeneratorError
from ganport.export.loading import load_function
from ganport.export.paths import LoadingOptions
from tests.export.keras_networks import FRAMEWORKS, generator

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 123\n"


def problem_of(path):
    with pytest.raises(GeneratorError) as error:
        load_function(path, LoadingOptions())
    assert len(str(error.value).splitlines()) == 1
    return error.value.problem


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("g.keras", b"", "the file is empty; give a run folder, a .keras, .h5 or .onnx file"),
        ("g.h5", LFS, "git lfs pull"),
        ("g.h5", b"<!DOCTYPE html><html></html>", "web page"),
        ("g.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite model"),
        ("g.pkl", b"\x80\x04K\x05.", "Python pickle"),
        ("g.bin", bytes(range(1, 200)), "of a type that is not known, or damaged"),
    ],
)
def test_kind_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert words in problem_of(tmp_path / name)


def test_checkpoint_of_pytorch_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "g.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    assert "torch.onnx.export" in problem_of(tmp_path / "g.pth")


def test_frozen_graph_is_named(tmp_path):
    with tf.Graph().as_default() as graph:
        tf.tanh(tf.compat.v1.placeholder(tf.float32, (None, 8), name="z"))
    (tmp_path / "frozen.pb").write_bytes(graph.as_graph_def().SerializeToString())
    assert "frozen graph of TensorFlow" in problem_of(tmp_path / "frozen.pb")


def test_onnx_file_of_another_ending_is_named(tiny_file, tmp_path):
    (tmp_path / "model.bin").write_bytes(tiny_file.read_bytes())
    assert "it is an ONNX file; give it a name that ends in .onnx" in problem_of(tmp_path / "model.bin")


def test_keras_file_of_any_ending_is_not_rejected(tmp_path):
    generator(FRAMEWORKS["keras"]).save(tmp_path / "g.keras")
    (tmp_path / "g.keras").rename(tmp_path / "model")
    assert load_function(tmp_path / "model", LoadingOptions()).inputs
