"""Conditional generators: the label is a second input, and its default depends on the seed."""

import json
import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Contract, InputSpec, Sampler, sample_latents, to_uint8
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.errors import ContractError, ContractVersionError, LabelError, UsageError
from ganport.runtime.request import request_latents, request_seeds
from ganport.runtime.shards import plan_shards, write_shards
from tests.conftest import failure
from tests.tiny_generator import DIM, tiny_contract, tiny_model, tiny_weights

LABELS = ("red", "green", "7")
SHIFTS = np.array([-3.0, 0.0, 3.0], np.float32)  # values that are added before the last activation, by label


def labelled_model(batch=None, labels=LABELS, names=("latent", "label")):
    """Return the tiny generator, whose images are darker or lighter by their label."""
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


def expected(seeds, indices):
    kernel, bias = tiny_weights()
    latents = sample_latents(np.array(seeds), DIM)
    values = np.tanh(latents @ kernel + bias + SHIFTS[indices][:, np.newaxis])
    return to_uint8(values.reshape(-1, 3, 4, 1))


@pytest.mark.parametrize("batch", [None, 2])
def test_label_is_requested_by_name_by_index_and_by_seed(batch):
    sampler = Sampler(labelled_model(batch))
    assert sampler.contract.input.labels == LABELS
    seeds = [5, 6, 8, 100, 3]
    for requested, indices in (
        ("green", [1] * 5),
        ("7", [2] * 5),
        (2, [2] * 5),
        (["red", 1, "7", np.int64(0), 2], [0, 1, 2, 0, 2]),
        (np.array([2, 2, 0, 0, 1]), [2, 2, 0, 0, 1]),
        (np.array(2), [2] * 5),
        (None, [seed % 3 for seed in seeds]),
    ):
        np.testing.assert_array_equal(sampler.sample(seeds, labels=requested), expected(seeds, indices))
    latents = sample_latents(np.array(seeds), DIM)
    images = sampler.sample_from_latents(latents, labels="7")
    np.testing.assert_array_equal(images, expected(seeds, [2] * 5))
    in_turn = sampler.sample_from_latents(latents)
    np.testing.assert_array_equal(in_turn, expected(seeds, [0, 1, 2, 0, 1]))
    streamed = np.concatenate(list(sampler.stream(iter(seeds), labels=1)))
    np.testing.assert_array_equal(streamed, expected(seeds, [1] * 5))
    walked = np.concatenate(list(sampler.walk([5, 6], frames=1, labels="red")))
    np.testing.assert_array_equal(walked, expected([5, 6], [0, 0]))
    np.testing.assert_array_equal(next(sampler.walk([5, 6], frames=1)), expected([5, 6], [2, 2]))
    copy = pickle.loads(pickle.dumps(sampler))
    np.testing.assert_array_equal(copy.sample([1], labels=0), expected([1], [0]))


@pytest.mark.parametrize("requested", ["blue", 3, -1, True, 1.0, "RED", ["red", None], [1.0, 2.0], b"red"])
def test_unknown_label_is_rejected(requested):
    with pytest.raises(LabelError, match="red, green, 7"):
        Sampler(labelled_model()).sample([1, 2], labels=requested)


@pytest.mark.parametrize("requested", [["red"], [], [0] * 300])
def test_number_of_labels_must_be_the_number_of_images(requested):
    with pytest.raises(UsageError, match=rf"`labels` has {len(requested)} entries for 2 images"):
        Sampler(labelled_model()).sample([1, 2], labels=requested)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_parts_of_a_request_keep_the_label_of_each_image(size):
    contract = Sampler(labelled_model()).contract
    labels = ["red", "green", "7", "green", "red", 2, 1]
    request = request_seeds(contract, range(7), labels=labels, truncation=0.5)
    parts = list(request.split(size))
    assert [len(part) for part in parts] == [size] * (7 // size) + [7 % size] * (7 % size > 0)
    np.testing.assert_array_equal(np.concatenate([part.seeds for part in parts]), range(7))
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), [0, 1, 2, 1, 0, 2, 1])
    assert {part.truncation for part in parts} == {0.5}
    assert all(part.latents is None for part in parts)


def test_parts_of_a_request_keep_its_latents():
    latents = np.arange(5 * DIM, dtype=np.float32).reshape(5, DIM)
    unlabelled = request_latents(tiny_contract(), latents)
    parts = list(unlabelled.split(2))
    np.testing.assert_array_equal(np.concatenate([part.latents for part in parts]), latents)
    assert all(part.labels is None for part in parts)
    labelled = request_latents(Sampler(labelled_model()).contract, latents)
    np.testing.assert_array_equal(
        np.concatenate([part.labels for part in labelled.split(2)]), [0, 1, 2, 0, 1]
    )


def test_generator_without_labels_accepts_none(tiny_file):
    with pytest.raises(LabelError, match="the generator has no labels; leave the label out"):
        Sampler(tiny_file).sample([1], labels=0)


def scalar_label():
    model = onnx.load_from_string(labelled_model())
    del model.graph.input[1].type.tensor_type.shape.dim[:]
    return model.SerializeToString()


SPEC = InputSpec(kind="latent", name="latent", dim=DIM, distribution="normal", labels=LABELS)


def missing_label():
    metadata = {METADATA_KEY: tiny_contract(input=SPEC).to_json()}
    return tiny_model(metadata=metadata).SerializeToString()


@pytest.mark.parametrize(
    "make_model",
    [
        lambda: labelled_model(labels=("red",)),
        lambda: labelled_model(labels=("red", "red")),
        lambda: labelled_model(labels=("red", 7)),
        lambda: labelled_model(labels=None),
        scalar_label,
        missing_label,
    ],
    ids=["one label", "same label twice", "number", "no labels", "scalar input", "no input"],
)
def test_contract_that_does_not_fit_the_graph_is_rejected(make_model):
    with pytest.raises(ContractError):
        Sampler(make_model())


def test_file_with_labels_has_the_second_format():
    """An older runtime, which knows only the first format, then reports that it is too old for the file."""
    assert json.loads(tiny_contract(input=SPEC).to_json())["format"] == 2
    assert json.loads(tiny_contract().to_json())["format"] == 1
    with pytest.raises(ContractVersionError):
        Contract.from_json(tiny_contract().to_json().replace('"format": 1', '"format": 5'))


def test_shards_have_one_label(tmp_path):
    sampler = Sampler(labelled_model())
    plan = plan_shards(sampler, np.arange(5), tmp_path / "x.tar", labels="7")
    assert sum(write_shards(sampler, plan)) == 5
    assert json.loads((tmp_path / "x.json").read_text())["label"] == "7"
    again = plan_shards(sampler, np.arange(5), tmp_path / "x.tar", resume=True, labels=np.int64(2))
    assert again.existing_images == 5
    with pytest.raises(OSError, match="differ in label"):
        plan_shards(sampler, np.arange(5), tmp_path / "x.tar", resume=True, labels="red")
    with pytest.raises(UsageError, match="`labels` is a list"):
        plan_shards(sampler, np.arange(5), tmp_path / "y.tar", labels=["red"] * 5)


def test_label_on_the_command_line(ganport, tmp_path):
    (tmp_path / "x.onnx").write_bytes(labelled_model())
    result = ganport("sample", "x.onnx", "--seeds", "4-6", "--label", "7", "--out", "x.npy")
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected([4, 5, 6], [2] * 3))
    assert ganport("walk", "x.onnx", "--seeds", "4,6", "--label", "green").returncode == 0
    for out in ("grid.png", "y.tar", "folder"):
        line = failure(ganport("sample", "x.onnx", "--label", "blue", "--out", out), 2)
        assert "the generator's labels are red, green, 7" in line
    assert {path.name for path in tmp_path.iterdir()} == {"x.onnx", "x.npy", "walk.gif"}
