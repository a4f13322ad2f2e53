"""What a model can be opened from: paths, names, bytes, open files and messages of Protocol Buffers."""

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from ganport.runtime import PRETRAINED, Sampler
from ganport.runtime.errors import ModelFormatError, ModelNotFoundError, UsageError
from ganport.runtime.model_file import find_model_file, resolve_model
from tests.tiny_generator import tiny_model


@pytest.fixture(scope="module")
def content():
    return tiny_model().SerializeToString()


@pytest.fixture(scope="module")
def expected(content):
    return Sampler(content).sample(range(4))


def behind_the_content(content):
    """Return a file in memory as an export leaves it, with the position at its end."""
    file = io.BytesIO()
    file.write(content)
    return file


class Stream:
    """A file that can't seek, such as the response of a web server."""

    def __init__(self, content):
        self.content = content

    def read(self):
        return self.content


SOURCES = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "part of a memoryview": lambda content: memoryview(b"ab" + content + b"c")[2:-1],
    "file in memory": io.BytesIO,
    "file in memory after it was written": behind_the_content,
    "stream": Stream,
    "ModelProto": onnx.load_from_string,
}


@pytest.mark.parametrize("name", SOURCES)
def test_model_is_opened_from_its_content(name, content, expected):
    source = SOURCES[name](content)
    np.testing.assert_array_equal(Sampler(source).sample(range(4)), expected)
    assert find_model_file(source).location == content


@pytest.mark.parametrize("buffering", [0, -1])
def test_model_is_opened_from_an_open_file(buffering, tmp_path, content, expected):
    (tmp_path / "x.onnx").write_bytes(content)
    with (tmp_path / "x.onnx").open("rb", buffering=buffering) as file:
        file.read(10)
        np.testing.assert_array_equal(Sampler(file).sample(range(4)), expected)


def test_change_of_the_given_content_has_no_effect(content, expected):
    given = bytearray(content)
    sampler = Sampler(given)
    given[:] = bytes(len(given))
    np.testing.assert_array_equal(sampler.sample(range(4)), expected)


def test_model_is_opened_from_a_temporary_file(content, expected):
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        np.testing.assert_array_equal(Sampler(file).sample(range(4)), expected)


def test_closed_file_is_rejected():
    file = io.BytesIO(b"content")
    file.close()
    with pytest.raises(UsageError, match="`model` is a file that can't be read: "):
        Sampler(file)


def test_file_that_is_open_for_writing_is_rejected(tmp_path):
    with (tmp_path / "x.onnx").open("wb") as file:
        with pytest.raises(UsageError, match="`model` is a file that can't be read: "):
            Sampler(file)


TAKEN = (
    "it must be a path, the name of a pretrained generator, bytes, a file that is open in binary mode, or an"
)


@pytest.mark.parametrize(
    "value",
    [5, None, {"a": 1}, ["mnist"], object(), io.StringIO("text"), np.zeros(3), [b"a"]],
    ids=lambda value: type(value).__name__,
)
def test_value_of_another_type_is_rejected_with_those_that_are_taken(value):
    with pytest.raises(UsageError, match=f"{TAKEN} onnx.ModelProto") as caught:
        Sampler(value)
    assert "`model` is " in str(caught.value)


def test_path_of_bytes_is_rejected():
    class PathOfBytes(os.PathLike):
        def __fspath__(self):
            return b"x.onnx"

    with pytest.raises(UsageError, match=r"`model` is a path of bytes, b'x\.onnx'; use `os\.fsdecode`"):
        Sampler(PathOfBytes())


@pytest.mark.parametrize(
    "empty", [b"", bytearray(), io.BytesIO(), onnx.ModelProto()], ids=lambda value: type(value).__name__
)
def test_empty_content_is_rejected(empty):
    with pytest.raises(ModelFormatError, match="it is empty"):
        Sampler(empty)


def test_null_character_in_a_path_is_rejected():
    with pytest.raises(ModelNotFoundError, match="a path has no null characters"):
        Sampler("a\0b")


@pytest.mark.parametrize("kind", [str, Path])
def test_tilde_is_the_home_folder(kind, tmp_path, monkeypatch, content, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "x.onnx").write_bytes(content)
    np.testing.assert_array_equal(Sampler(kind("~/x.onnx")).sample(range(4)), expected)
    assert resolve_model(kind("~/x.onnx")) == tmp_path / "x.onnx"


def test_tilde_in_the_name_of_a_file_is_kept(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/nobody")
    for name in ("~", "x~", "~x.onnx"):
        Path(name).write_bytes(content)
        assert find_model_file(f"./{name}").location == tmp_path / name
    assert resolve_model("~no-such-user/x.onnx") == Path("~no-such-user/x.onnx")


def test_name_of_a_pretrained_generator_is_no_path_in_the_home_folder(tmp_path, monkeypatch, content):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("mnist", "~mnist"):
        Path(name).write_bytes(content)
    assert resolve_model("mnist") == PRETRAINED["mnist"]
    assert resolve_model("~/mnist") == tmp_path / "mnist"
    assert resolve_model(Path("mnist")) == Path("mnist")


def test_folder_of_a_saved_model_is_rejected_with_the_command(tmp_path):
    with pytest.raises(ModelNotFoundError, match="a run or a SavedModel, export its generator with: ganport"):
        Sampler(tmp_path)
