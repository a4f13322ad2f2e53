"""Files that ganport wrote are exported again: the new file generates what the old one generates."""

import numpy as np
import onnx
import pytest

from ganport.export import export
from ganport.export.errors import GeneratorError
from ganport.runtime import PRETRAINED, Sampler
from ganport.runtime.locks import try_lock
from tests.third_party_graphs import chain, close, index_model, one_hot_model

SOURCES = {
    "tanh": (chain(("Tanh", "", {})), {}),
    "0..255": (chain(("Tanh", "", {}), ("Mul", "b", {}), ("Add", "b", {}), b=np.float32(127.5)), {}),
    "clipped": (chain(("Mul", "half", {}), half=np.float32(0.2)), {"value_range": "tanh", "clip": True}),
    "sigmoid": (chain(("Sigmoid", "", {})), {}),
    "labels": (index_model(), {}),
    "one-hot": (one_hot_model(), {"labels": ["a", "b", "c", "d", "e"]}),
}
FIRST = {
    "default": {},
    "float": {"output": "float"},
    "NCHW": {"layout": "NCHW"},
    "NCHW float": {"layout": "NCHW", "output": "float"},
    "float16": {"precision": "float16"},
    "float16 arithmetic": {"precision": "float16-arithmetic"},
    "three at a time": {"batch": 3},
    "webgpu": {"target": "webgpu"},
}


@pytest.fixture
def exported(tmp_path):
    def export_twice(content, description, first, again):
        (tmp_path / "original.onnx").write_bytes(content)
        export(tmp_path / "original.onnx", tmp_path / "first.onnx", title="Twice", **description, **first)
        export(tmp_path / "first.onnx", tmp_path / "again.onnx", **again)
        return Sampler(tmp_path / "first.onnx"), Sampler(tmp_path / "again.onnx")

    return export_twice


@pytest.mark.parametrize(
    ("source", "first"),
    [*((source, "default") for source in SOURCES), *(("one-hot", first) for first in FIRST)],
)
def test_file_is_exported_again_in_the_default_form(exported, source, first):
    before, after = exported(*SOURCES[source], FIRST[first], {})
    assert after.contract.name == "Twice"
    assert after.contract.image.dtype == "uint8"
    assert after.contract.input.dim == before.contract.input.dim
    assert after.contract.input.labels == before.contract.input.labels
    assert close(after.sample(range(24)), before.sample(range(24)))
    if after.contract.input.labels:
        assert close(after.sample(range(9), labels=2), before.sample(range(9), labels=2))


@pytest.mark.parametrize("source", ["tanh", "0..255", "one-hot"])
def test_second_export_has_no_trace_of_the_first_one(exported, tmp_path, source):
    """The stages around the network are removed, and not computed twice."""
    exported(*SOURCES[source], {}, {"output": "float"})
    again = onnx.load(tmp_path / "again.onnx").graph
    export(tmp_path / "original.onnx", tmp_path / "direct.onnx", output="float", **SOURCES[source][1])
    direct = onnx.load(tmp_path / "direct.onnx").graph
    assert [node.op_type for node in again.node] == [node.op_type for node in direct.node]


@pytest.mark.parametrize(
    "again", [{"target": "portable"}, {"input_kind": "seed"}, {"precision": "float16"}], ids=str
)
@pytest.mark.parametrize("model", ["mnist", pytest.param("rock-paper-scissors", marks=pytest.mark.slow)])
def test_pretrained_file_is_exported_again(tmp_path, model, again):
    contract = export(PRETRAINED[model], tmp_path / "again.onnx", **again)
    before, after = Sampler(PRETRAINED[model]), Sampler(tmp_path / "again.onnx")
    assert contract.recipe == before.contract.recipe
    assert contract.data == before.contract.data
    assert contract.training == before.contract.training
    off = after.sample(range(8)).astype(int) - before.sample(range(8))
    assert np.mean(off != 0) < 1e-4
    assert np.abs(off).max() <= 1


def test_pretrained_generator_is_exported_by_its_name_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export("mnist", target="portable")
    assert Sampler("mnist-exported.onnx").contract.batch == 1
    assert (tmp_path / "mnist-exported.json").is_file()


@pytest.mark.parametrize(
    ("first", "again", "message"),
    [
        ({"input_kind": "seed"}, {}, "it is an export that takes seeds"),
        ({"input_kind": "fixed", "seeds": "0-3"}, {}, "it is an export that takes no input"),
        ({}, {"labels": 3}, "an export of ganport, which states what `labels` says; leave `labels` out"),
        ({}, {"source_layout": "NCHW"}, "leave `source_layout` out"),
        ({}, {"clip": True}, "leave `clip` out"),
    ],
    ids=str,
)
def test_file_that_cannot_be_exported_again_is_named(exported, tmp_path, first, again, message):
    with pytest.raises(GeneratorError, match=f"first.onnx: .*{message}"):
        exported(*SOURCES["tanh"], first, again)
    assert not (tmp_path / "again.onnx").exists()


def test_what_a_killed_export_left_behind_is_removed(tmp_path):
    old, new = (tmp_path / f".x.0123abc{digit}.part.onnx" for digit in (1, 2))
    old.touch()
    with new.open("w") as file:  # a process that writes it at this moment has locked it
        assert try_lock(file.fileno())
        export("mnist", tmp_path / "x.onnx", target="portable")
        assert new.exists()
    assert not old.exists()
