"""Files that people take for ONNX files are named for what they are, with what to do."""

import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from PIL import Image

from ganport.runtime import Sampler
from ganport.runtime.errors import ModelFormatError, UnsupportedModelError
from ganport.runtime.file_kinds import recognise
from tests.conftest import failure
from tests.tiny_generator import tiny_model

LEGACY_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps({"weight": 1}, protocol=2)
TORCH = r"torch\.onnx\.export\(.*dynamic_axes=\{'z': \{0: 'batch'\}\}"


def zipped(*names, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


def written(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def tarred():
    def write(buffer):
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("model.onnx"))

    return written(write)


def image(kind):
    return written(lambda buffer: Image.new("RGB", (8, 8)).save(buffer, kind))


def message(number, content):
    """Return one field of bytes in Protocol Buffers' wire format."""
    tag = number << 3 | 2
    assert len(content) < 128
    head = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
    return head + bytes([len(content)]) + content


def safetensors():
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


# Dict from a file to its content, to what it is, and to a pattern in what to do.
KINDS = {
    "pointer.onnx": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 5123\n",
        "a pointer of Git LFS",
        "run: git lfs pull",
    ),
    "page.onnx": (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page", "file itself"),
    "page2.onnx": (b"\xef\xbb\xbf<!-- a --><!-- b -->\n<HTML lang='en'>", "a web page", "file itself"),
    "page3.onnx": (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC>", "a web page", "file itself"),
    "denied.onnx": (b"<?xml version='1.0'?>\n<Error>AccessDenied</Error>", "an XML text", "file itself"),
    "missing.onnx": (b"Entry not found", "a text that begins with 'Entry not found'", "download it again"),
    "cut.txt": (("a" + "ä" * 5_000).encode(), "a text that begins with 'aää", "download it again"),
    "model.xml": (b'<?xml version="1.0"?>\n<net name="g" version="11">', "an OpenVINO model", "to ONNX"),
    "config.json": (json.dumps({"a": 1}, indent=1).encode(), "a JSON text", r"\.onnx file"),
    "list.json": (b"[[1, 2]]", "a JSON text", r"\.onnx file"),
    "model.pt": (zipped("archive/data.pkl", "archive/data/0"), "a PyTorch checkpoint", TORCH),
    "script.pt": (zipped("g/extra/a", "g/data.pkl", "g/code/a.py"), "a PyTorch checkpoint", TORCH),
    "program.pt2": (zipped("g/models/model.json", "g/archive_format"), "a PyTorch checkpoint", TORCH),
    "legacy.pth": (LEGACY_TORCH, "a PyTorch checkpoint", TORCH),
    "network.pkl": (pickle.dumps({"G_ema": [1]}, protocol=3), "a Python pickle", TORCH),
    "model.safetensors": (safetensors(), "a safetensors file", TORCH),
    "model.keras": (
        zipped("metadata.json", "config.json", "model.weights.h5"),
        "a Keras model",
        r"run: ganport export .*/model\.keras",
    ),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file", r"run: ganport export .*/model\.h5"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(99), "a TensorFlow Lite model", "to ONNX"),
    "model.engine": (b"ftrt" + bytes(99), "a TensorRT engine", "to ONNX"),
    "ort.onnx": (b"\x18\0\0\0ORTM" + bytes(99), "a model in onnxruntime's own format", r"in \.ort"),
    "frozen.pb": (
        message(1, message(1, b"x") + message(2, b"Placeholder")) + message(4, b"\x08\x01"),
        "a frozen graph of TensorFlow",
        "tf2onnx",
    ),
    "saved_model.pb": (
        b"\x08\x01" + message(2, message(1, message(4, b"serve"))),
        "the graph of a TensorFlow SavedModel",
        "run: ganport export .*[^b]$",
    ),
    "model.mlmodel": (
        b"\x08\x05" + message(2, b"\x0a\x03abc") + message(500, b"\x0a\x01a"),
        "a Core ML model",
        "to ONNX",
    ),
    "arrays.npz": (written(lambda buffer: np.savez(buffer, a=np.zeros(2))), "a file of NumPy", r"\.onnx"),
    "array.npy": (written(lambda buffer: np.save(buffer, np.zeros(2))), "a file of NumPy", r"\.onnx"),
    "model.zip": (zipped("model.onnx", "readme.txt"), "a packed archive", "unpack it"),
    "model.onnx.gz": (gzip.compress(b"abc"), "a packed archive", "unpack it"),
    "model.onnx.xz": (lzma.compress(b"abc"), "a packed archive", "unpack it"),
    "model.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a packed archive", "unpack it"),
    "model.tar": (tarred(), "a packed archive", "unpack it"),
    "image.png": (image("PNG"), "an image", r"\.onnx file"),
    "image.jpeg": (image("JPEG"), "an image", r"\.onnx file"),
    "image.webp": (image("WEBP"), "an image", r"\.onnx file"),
}


@pytest.mark.parametrize("name", KINDS)
def test_file_of_another_kind_is_named_with_what_to_do(name, tmp_path, capfd):
    content, kind, remedy = KINDS[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=remedy) as caught:
        Sampler(path)
    error = caught.value
    assert str(error) == f"Can't use {path}: it is {error.problem.removeprefix('it is ')}; {error.remedy}"
    assert error.problem.startswith(f"it is {kind}")
    assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", KINDS)
def test_content_of_another_kind_is_named_as_well(name):
    content, kind, _ = KINDS[name]
    if name == "ort.onnx":  # bytes with the mark of this format are a model
        return
    with pytest.raises(UnsupportedModelError, match=r"Can't use the model of .* bytes: it is ") as caught:
        Sampler(content)
    assert caught.value.problem.startswith(f"it is {kind}")
    assert "$" not in caught.value.remedy


@pytest.mark.parametrize("name", ["model.pt", "image.png", "model.h5"])
def test_other_kind_with_the_ending_of_the_ort_format_is_named(name, tmp_path):
    content, kind, _ = KINDS[name]
    (tmp_path / "x.ort").write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=kind):
        Sampler(tmp_path / "x.ort")


def test_remedy_quotes_the_path_for_the_shell(tmp_path):
    path = tmp_path / "my model $1.h5"
    path.write_bytes(KINDS["model.h5"][0])
    with pytest.raises(UnsupportedModelError) as caught:
        Sampler(path)
    assert caught.value.remedy == f"run: ganport export '{path}'"


def test_command_line_shows_the_kind(tmp_path, ganport):
    (tmp_path / "model.pt").write_bytes(KINDS["model.pt"][0])
    assert "model.pt: it is a PyTorch checkpoint; load its generator" in failure(
        ganport("sample", "model.pt")
    )


def test_pickle_is_not_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "loaded").write_bytes, (b"",)

    for content in (pickle.dumps(Trap()), zipped("a/data.pkl") + pickle.dumps(Trap())):
        with pytest.raises(UnsupportedModelError):
            Sampler(content)
    assert not (tmp_path / "loaded").exists()


def test_onnx_file_is_no_other_kind():
    """A damaged ONNX file is a damaged one, wherever it was cut."""
    content = tiny_model().SerializeToString()
    kinds = {recognise(memoryview(content[:length])) for length in range(1, len(content))}
    assert kinds == {None}


def test_onnx_file_that_begins_like_another_kind_is_opened():
    proto = tiny_model()
    proto.ir_version, proto.producer_name = 9, "TFL3"
    assert proto.SerializeToString()[4:8] == b"TFL3"
    assert (
        Sampler(proto.SerializeToString()).sample([0]).shape
        == Sampler(tiny_model().SerializeToString()).sample([0]).shape
    )


@pytest.mark.parametrize("content", [bytes(1000), b"\xff" * 1000, b"abc\0def", b"\x08\x07", b"\n \n"])
def test_content_of_no_known_kind_is_damaged(content):
    with pytest.raises(ModelFormatError, match="it is damaged, or it is not ONNX"):
        Sampler(content)


def test_message_without_a_graph_is_not_onnx():
    graph = helper.make_graph([], "g", [], [])
    with pytest.raises(ModelFormatError, match="it is damaged, or it is not ONNX"):
        Sampler(graph.SerializeToString())


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_damaged_file_of_another_kind_is_an_error_of_ganport(name, data):
    changed = bytearray(KINDS[name][0])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    kind = recognise(memoryview(bytes(changed[: data.draw(st.integers(1, len(changed)))])))
    assert kind is None or len(kind.name) < 200


HOSTILE = {
    "long list of names": zipped(*(f"{number:0200}" for number in range(10_000))),
    "unending comments": b"<!---->" * 600,
    "long line": b"a" * 100_000,
    "large directory": zipped("a")[:-22] + b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, 2**32 - 2, 0, 0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_recognised_quickly_and_in_little_memory(name):
    tracemalloc.start()
    started = time.thread_time()
    kind = recognise(memoryview(HOSTILE[name]))
    assert time.thread_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 6e6  # the whole long list of names takes 9 MB
    tracemalloc.stop()
    assert len(kind.name) < 100
