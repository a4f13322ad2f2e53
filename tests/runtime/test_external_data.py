"""Weights in files beside a model: found through links as in a cache, and never read from elsewhere."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ganport.runtime import Sampler
from ganport.runtime.errors import ModelFormatError, ModelNotFoundError, UnsupportedModelError
from ganport.runtime.onnx_file import read_outline
from tests.tiny_generator import tiny_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 51234567\n"


def external(location, **entries):
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    made.dims.extend([4])
    for key, value in {"location": location, **entries}.items():
        made.external_data.add(key=key, value=str(value))
    return made


def save(path, *tensors):
    """Write a model of y = Tanh(z) with these tensors."""
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["z"], ["y"])],
        "g",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        list(tensors),
    )
    path.write_bytes(helper.make_model(graph, ir_version=9).SerializeToString())


def save_tiny(path):
    """Write the tiny generator, with its weights in a second file beside it."""
    onnx.save_model(
        tiny_model(),
        path,
        save_as_external_data=True,
        location=f"{path.name}.data",
        size_threshold=100,
    )


@pytest.fixture
def cache(tmp_path):
    """A cache as that of Hugging Face: a folder of links to files with other names in another folder."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0123"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_tiny(snapshot / "model.onnx")
    for number, name in enumerate(("model.onnx", "model.onnx.data")):
        (snapshot / name).rename(blobs / f"sha{number}")
        (snapshot / name).symlink_to(f"../../blobs/sha{number}")
    return snapshot


def images_of(model):
    return Sampler(model).sample(range(3))


@pytest.fixture(scope="module")
def expected():
    return images_of(tiny_model().SerializeToString())


def test_weights_in_a_file_beside_the_model_are_read(tmp_path, expected):
    save_tiny(tmp_path / "x.onnx")
    np.testing.assert_array_equal(images_of(tmp_path / "x.onnx"), expected)
    assert read_outline(tmp_path / "x.onnx").weight_files == (tmp_path / "x.onnx.data",)


def test_weights_beside_a_model_in_memory_are_asked_for(tmp_path):
    save_tiny(tmp_path / "x.onnx")
    with pytest.raises(UnsupportedModelError, match=r"in 'x.onnx.data', another file; open .* by its path"):
        Sampler((tmp_path / "x.onnx").read_bytes())


def test_links_of_a_cache_are_followed(cache, expected):
    np.testing.assert_array_equal(images_of(cache / "model.onnx"), expected)


def test_link_to_a_link_of_a_cache_is_followed(cache, expected, tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.onnx").symlink_to(cache / "model.onnx")
    (own / "second.onnx").symlink_to("model.onnx")
    for name in ("model.onnx", "second.onnx"):
        np.testing.assert_array_equal(images_of(own / name), expected)
    monkeypatch.chdir(own)
    np.testing.assert_array_equal(images_of("second.onnx"), expected)
    outline = read_outline(own / "second.onnx")
    assert outline.path == cache / "model.onnx"
    assert outline.weight_files == (cache / "model.onnx.data",)


def test_fingerprint_of_a_link_is_that_of_the_cache(cache, tmp_path):
    (tmp_path / "model.onnx").symlink_to(cache / "model.onnx")
    fingerprint = Sampler(tmp_path / "model.onnx").model.fingerprint()
    assert fingerprint == Sampler(cache / "model.onnx").model.fingerprint()
    assert fingerprint != Sampler(tiny_model().SerializeToString()).model.fingerprint()


def test_weights_beside_the_file_that_a_link_leads_to_are_read(tmp_path, expected):
    (tmp_path / "real").mkdir()
    save_tiny(tmp_path / "real" / "x.onnx")
    (tmp_path / "link.onnx").symlink_to("real/x.onnx")
    np.testing.assert_array_equal(images_of(tmp_path / "link.onnx"), expected)


def test_weights_behind_a_link_into_a_folder_of_the_model_are_read(tmp_path, expected):
    save_tiny(tmp_path / "x.onnx")
    (tmp_path / "weights").mkdir()
    (tmp_path / "x.onnx.data").rename(tmp_path / "weights" / "0")
    (tmp_path / "x.onnx.data").symlink_to("weights/0")
    np.testing.assert_array_equal(images_of(tmp_path / "x.onnx"), expected)


@pytest.mark.parametrize("target", ["../../secret", "../../others/sha1", "../0124/data"])
def test_link_in_a_cache_that_leads_out_of_its_files_is_rejected(cache, tmp_path, target):
    for path in (tmp_path / "secret", tmp_path / "others" / "sha1", tmp_path / "snapshots" / "0124" / "data"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((tmp_path / "blobs" / "sha1").read_bytes())
    (cache / "model.onnx.data").unlink()
    (cache / "model.onnx.data").symlink_to(target)
    assert (cache / "model.onnx.data").is_file()
    (tmp_path / "own.onnx").symlink_to(cache / "model.onnx")
    for model in (cache / "model.onnx", tmp_path / "own.onnx"):
        with pytest.raises(ModelFormatError, match="not a file in the model's folder"):
            Sampler(model)


@pytest.mark.parametrize(
    ("location", "entries", "words"),
    [
        ("../secret", {}, "outside of the model's folder"),
        ("/etc/passwd", {}, "outside of the model's folder"),
        ("C:\\secret", {}, "outside of the model's folder"),
        ("a/../../secret", {}, "outside of the model's folder"),
        ("link", {}, "not a file in the model's folder"),
        ("inside", {}, "not a file in the model's folder"),
        ("", {}, "not a file in the model's folder"),
        ("data", {"offset": 8, "length": 16}, "which has 16 bytes"),
        ("data", {"offset": -8, "length": 16}, "which has 16 bytes"),
        ("data", {"offset": "x"}, "is not a number"),
    ],
)
def test_weights_outside_of_the_folder_are_rejected(tmp_path, location, entries, words):
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "data").write_bytes(bytes(16))
    save(folder / "x.onnx", external(location, **entries))
    with pytest.raises(ModelFormatError, match=words):
        Sampler(folder / "x.onnx")


def test_folder_of_the_first_weights_is_that_of_all_weights(tmp_path):
    """onnxruntime opens one path, so a second file beside another link is not found."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "b").write_bytes(bytes(16))
    (tmp_path / "a").write_bytes(bytes(16))
    save(tmp_path / "real" / "x.onnx", external("a"), external("b"))
    (tmp_path / "x.onnx").symlink_to("real/x.onnx")
    with pytest.raises(UnsupportedModelError, match="its weights are in 'b', which is missing"):
        Sampler(tmp_path / "x.onnx")


@pytest.mark.parametrize("location", ["none", "none/none", "long" * 100, "null\0"])
def test_missing_weights_are_named(tmp_path, location):
    save(tmp_path / "x.onnx", external(location))
    with pytest.raises(
        UnsupportedModelError, match="which is missing; copy this file into the model's folder"
    ):
        Sampler(tmp_path / "x.onnx")


def test_link_in_a_circle_is_missing(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    save(tmp_path / "x.onnx", external("a"))
    with pytest.raises(UnsupportedModelError, match="its weights are in 'a', which is missing"):
        Sampler(tmp_path / "x.onnx")
    with pytest.raises(ModelNotFoundError):
        Sampler(tmp_path / "a")


def test_pointer_of_git_lfs_in_place_of_the_weights_is_named(tmp_path):
    (tmp_path / "data").write_bytes(POINTER)
    save(tmp_path / "x.onnx", external("data", length=1000))
    with pytest.raises(
        UnsupportedModelError, match=r"in 'data', which is a pointer of Git LFS .*git lfs pull"
    ):
        Sampler(tmp_path / "x.onnx")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_unreadable_weights_are_rejected_with_the_reason(tmp_path):
    save_tiny(tmp_path / "x.onnx")
    (tmp_path / "x.onnx.data").chmod(0)
    with pytest.raises(ModelNotFoundError, match=r"x\.onnx\.data \(permission denied\)"):
        Sampler(tmp_path / "x.onnx")
