"""The work of a graph: it decides how many images an export compares, and how many at a time."""

import keras
import pytest
from onnx import TensorProto, helper

import ganport
from ganport.export import workload
from ganport.export.conversion import convert_generator
from ganport.export.costs import measure_costs
from ganport.export.rewrites import simplify
from ganport.export.workload import Workload, workload_of
from tests.export.conftest import shake


@pytest.fixture(autouse=True)
def fewer_compared_images():
    """Here the number of images is that of a user's export."""


def dcgan(width: int, side: int) -> keras.Model:
    """Return a generator of images of 4 * side, with two transposed convolutions of `width` channels."""
    layers = [
        keras.layers.Dense(side * side * width),
        keras.layers.Reshape((side, side, width)),
        keras.layers.Conv2DTranspose(width, 4, 2, padding="same", activation="relu"),
        keras.layers.Conv2DTranspose(width, 4, 2, padding="same", activation="relu"),
        keras.layers.Conv2D(3, 5, padding="same", activation="tanh"),
    ]
    return shake(keras.Sequential([keras.Input((8,)), *layers], name="generator"))


def test_multiply_adds_of_dense_and_convolutional_layers_are_counted():
    work = workload_of(simplify(convert_generator(dcgan(16, 4), 18, None)))
    dense = 8 * 4 * 4 * 16
    transposed = (
        (4 * 4 + 8 * 8) * 16 * 16 * 4 * 4
    )  # each input value is multiplied by a 4x4 kernel per channel
    last = 16 * 16 * 3 * 16 * 5 * 5
    assert work.multiply_adds == pytest.approx(dense + transposed + last, rel=0.01)
    assert work.largest_value == 16 * 16 * 16


@pytest.mark.parametrize(
    ("work", "images", "batch"),
    [
        (Workload(1_500_000, 784), 256, 64),  # a dense generator of 28x28 images
        (Workload(3_000_000_000, 64 * 64 * 512), 33, 8),  # the DCGAN of keras.io
        (Workload(10**12, 10**9), 24, 8),
    ],
)
def test_large_generators_are_compared_with_fewer_images_in_smaller_batches(work, images, batch):
    assert (work.images(), work.batch()) == (images, batch)


def test_the_contract_says_what_was_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(workload, "_MOST_WORK", 1e6)
    monkeypatch.setattr(workload, "_MOST_BYTES", 1e5)
    contract = ganport.export(dcgan(16, 4), tmp_path / "large.onnx")
    assert contract.verification["seeds"] == 24
    assert contract.verification["batch_sizes"] == [1, 7, 8]


def test_a_node_without_inputs_has_no_multiply_adds():
    node = helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0, 3.0])
    graph = helper.make_graph(
        [node], "constant", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert workload_of(model).multiply_adds == 0


def test_all_graphs_are_measured_with_the_same_batch_sizes(monkeypatch):
    monkeypatch.setattr(workload, "_MOST_BYTES", 4 * 16 * 16 * 16 * 16)
    models = [simplify(convert_generator(dcgan(width, 4), 18, None)) for width in (8, 16)]
    assert workload_of(models[0]).batch() > workload_of(models[1]).batch()
    assert {tuple(cost.milliseconds) for cost in measure_costs(models)} == {(1, 16)}


def test_a_value_without_a_known_shape_is_left_out():
    node = helper.make_node("Tanh", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in "xy"]
    graph = helper.make_graph([node], "unknown", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert workload_of(model) == Workload(0, 1)
