"""Classes on demand: a second input, which the seeds fill where nobody does."""

import json
import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Contract, InputSpec, Sampler, latents_of, to_uint8
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.errors import ContractError, ContractVersionError, LabelError, UsageError
from ganport.runtime.shards import plan_shards, write_shards
from tests.conftest import failure
from tests.tiny_generator import DIM, tiny_contract, tiny_model, tiny_weights

LABELS = ("red", "green", "7")
SHIFTS = np.array([-3.0, 0.0, 3.0], np.float32)  # what a class adds before the last step


def labelled_model(batch=None, labels=LABELS, names=("latent", "label")):
    """The tiny generator, darker or lighter by its class."""
    model = tiny_model(batch=batch, metadata={})
    graph = model.graph
    nodes = list(graph.node)
    nodes[0].output[0] = "plain"
    graph.initializer.append(numpy_helper.from_array(SHIFTS.reshape(-1, 1), "shifts"))
    nodes[1:1] = [
        helper.make_node("Gather", ["shifts", "label"], ["shift"]),
        helper.make_node("Add", ["plain", "shift"], ["hidden"]),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    if "label" in names:
        graph.input.append(helper.make_tensor_value_info("label", TensorProto.INT64, [batch or "batch"]))
    spec = InputSpec(kind="latent", name="latent", dim=DIM, distribution="normal", labels=labels)
    helper.set_model_props(model, {METADATA_KEY: tiny_contract(input=spec, batch=batch).to_json()})
    return model.SerializeToString()


def expected(seeds, places):
    kernel, bias = tiny_weights()
    latents = latents_of(np.array(seeds), DIM)
    return to_uint8(np.tanh(latents @ kernel + bias + SHIFTS[places][:, np.newaxis]).reshape(-1, 3, 4, 1))


@pytest.mark.parametrize("batch", [None, 2])
def test_class_is_drawn_by_name_by_place_and_by_seed(batch):
    sampler = Sampler(labelled_model(batch))
    assert sampler.model.input.labels == LABELS
    seeds = [5, 6, 8, 100, 3]
    for asked, places in (
        ("green", [1] * 5),
        ("7", [2] * 5),
        (2, [2] * 5),
        (["red", 1, "7", np.int64(0), 2], [0, 1, 2, 0, 2]),
        (np.array([2, 2, 0, 0, 1]), [2, 2, 0, 0, 1]),
        (np.array(2), [2] * 5),
        (None, [seed % 3 for seed in seeds]),
    ):
        np.testing.assert_array_equal(sampler.sample(seeds, labels=asked), expected(seeds, places))
    latents = latents_of(np.array(seeds), DIM)
    np.testing.assert_array_equal(sampler.sample_latents(latents, "7"), expected(seeds, [2] * 5))
    np.testing.assert_array_equal(np.concatenate(list(sampler.stream(iter(seeds), label=1))), expected(seeds, [1] * 5))
    walked = np.concatenate(list(sampler.walk([5, 6], frames=1, label="red")))
    np.testing.assert_array_equal(walked, expected([5, 6], [0, 0]))
    np.testing.assert_array_equal(next(sampler.walk([5, 6], frames=1)), expected([5, 6], [2, 2]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(sampler)).sample([1], labels=0), expected([1], [0]))


@pytest.mark.parametrize("asked", ["blue", 3, -1, True, 1.0, "RED", ["red", None], [1.0, 2.0], b"red"])
def test_class_that_there_is_not_is_refused(asked):
    with pytest.raises(LabelError, match="red, green, 7"):
        Sampler(labelled_model()).sample([1, 2], labels=asked)


@pytest.mark.parametrize("asked", [["red"], [], [0] * 300])
def test_labels_that_are_not_one_for_each_are_counted(asked):
    with pytest.raises(UsageError, match=rf"{len(asked)} labels for 2 images"):
        Sampler(labelled_model()).sample([1, 2], labels=asked)


def test_generator_without_classes_takes_no_label(tiny_file):
    with pytest.raises(LabelError, match="leave the label out"):
        Sampler(tiny_file).sample([1], labels=0)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (lambda: labelled_model(labels=("red",)), ContractError),
        (lambda: labelled_model(labels=("red", "red")), ContractError),
        (lambda: labelled_model(labels=("red", 7)), ContractError),
        (lambda: labelled_model(labels=None), ContractError),
        (lambda: scalar_label(), ContractError),
        (lambda: tiny_model(metadata={METADATA_KEY: tiny_contract(input=SPEC).to_json()}).SerializeToString(), ContractError),
    ],
)
def test_contract_that_does_not_fit_the_graph_is_refused(model, error):
    with pytest.raises(error):
        Sampler(model())


def scalar_label():
    model = onnx.load_from_string(labelled_model())
    del model.graph.input[1].type.tensor_type.shape.dim[:]
    return model.SerializeToString()


def test_file_with_labels_is_of_the_second_format():
    """So that a runtime of before says that it is too old, and not that the file is broken."""
    assert json.loads(tiny_contract(input=SPEC).to_json())["format"] == 2
    assert json.loads(tiny_contract().to_json())["format"] == 1
    with pytest.raises(ContractVersionError):
        Contract.from_json(tiny_contract().to_json().replace('"format": 1', '"format": 3'))


SPEC = InputSpec(kind="latent", name="latent", dim=DIM, distribution="normal", labels=LABELS)


def test_shards_are_of_one_class(tmp_path):
    sampler = Sampler(labelled_model())
    assert sum(write_shards(sampler, plan_shards(sampler, np.arange(5), tmp_path / "x.tar", label="7"))) == 5
    assert json.loads((tmp_path / "x.json").read_text())["label"] == "7"
    assert plan_shards(sampler, np.arange(5), tmp_path / "x.tar", resume=True, label=np.int64(2)).there == 5
    with pytest.raises(OSError, match="differ in label"):
        plan_shards(sampler, np.arange(5), tmp_path / "x.tar", resume=True, label="red")


def test_label_on_the_command_line(ganport, tmp_path):
    (tmp_path / "x.onnx").write_bytes(labelled_model())
    drawn = ganport("sample", "x.onnx", "--seeds", "4-6", "--label", "7", "--out", "x.npy")
    assert drawn.returncode == 0, drawn.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected([4, 5, 6], [2] * 3))
    assert ganport("walk", "x.onnx", "--seeds", "4,6", "--label", "green").returncode == 0
    for out in ("grid.png", "y.tar", "folder"):
        assert "its classes are red, green, 7" in failure(ganport("sample", "x.onnx", "--label", "blue", "--out", out), 2)
    assert {path.name for path in tmp_path.iterdir()} == {"x.onnx", "x.npy", "walk.gif"}
