"""Generators that others exported: what the graph decides is read from it, what it leaves open is asked for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Sampler, latents_of, to_uint8
from ganport.runtime.errors import ContractError, InferenceError, NotAGeneratorError, UsageError
from ganport.runtime.golden import check_golden

HERE = Path(__file__).parent / "foreign"
DIM = 6
RNG = np.random.default_rng(4)


def foreign(latent_shape=(DIM,), image_shape=(3, 8, 5), last="Tanh", dtype="float32", batch="n", output_shape=None, moved=()):
    """Return the bytes of a generator: one dense layer, an activation, and the shape that is asked for."""
    size = int(np.prod(image_shape))
    weights = RNG.standard_normal((DIM, size)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["z", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["a"]),
        helper.make_node(last, ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["image" if dtype == "float32" and not moved else "c"]),
    ]
    if moved:
        nodes.append(helper.make_node("Transpose", ["c"], ["image"], perm=list(moved)))
    if dtype == "uint8":
        nodes += [
            helper.make_node("Mul", ["c", "scale"], ["d"]),
            helper.make_node("Cast", ["d"], ["image"], to=TensorProto.UINT8),
        ]
    constants = {
        "flat": np.array([-1, DIM]),
        "w": weights,
        "shape": np.array([-1, *image_shape]),
        "scale": np.float32(200),
    }
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, *latent_shape])],
        [
            helper.make_tensor_value_info(
                "image", TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT, output_shape or [batch, *image_shape]
            )
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString(), weights


def expected(weights, count, act=np.tanh):
    return act(latents_of(np.arange(count), DIM) @ weights)


@pytest.mark.parametrize("latent_shape", [(DIM,), (DIM, 1, 1), (1, 1, DIM)], ids=str)
@pytest.mark.parametrize(
    ("image_shape", "layout"), [((3, 8, 5), "NCHW"), ((8, 5, 3), "NHWC"), ((1, 8, 5), "NCHW"), ((8, 5, 4), "NHWC")], ids=str
)
@pytest.mark.parametrize("batch", ["n", 4])
def test_shapes_are_read_from_the_graph(latent_shape, image_shape, layout, batch):
    model, weights = foreign(latent_shape, image_shape, batch=batch)
    sampler = Sampler(model)
    drawn = sampler.sample(range(9))
    values = expected(weights, 9).reshape(9, *image_shape)
    values = values.transpose(0, 2, 3, 1) if layout == "NCHW" else values
    assert sampler.model.image.layout == layout
    assert sampler.model.batch == (None if batch == "n" else 4)
    assert drawn.shape == values.shape
    assert np.abs(drawn.astype(int) - to_uint8(values)).max() <= 1


def test_range_is_read_from_the_last_activation():
    model, weights = foreign(last="Sigmoid")
    values = expected(weights, 5, lambda x: 1 / (1 + np.exp(-x))).reshape(5, 3, 8, 5).transpose(0, 2, 3, 1)
    drawn = Sampler(model).sample(range(5))
    assert np.abs(drawn.astype(int) - np.rint(values * 255)).max() <= 1
    assert drawn.min() < 20
    assert drawn.max() > 235


def test_activation_is_found_behind_what_only_moves_values():
    model, _ = foreign(image_shape=(8, 5, 3), moved=(0, 3, 1, 2), output_shape=["n", 3, 8, 5])
    assert Sampler(model).model.image.range == (-1, 1)


def test_range_that_the_graph_leaves_open_is_asked_for():
    model, weights = foreign(last="Identity")
    with pytest.raises(NotAGeneratorError, match=r"its last step is MatMul.*--range"):
        Sampler(model)
    values = expected(weights, 5, np.asarray).reshape(5, 3, 8, 5).transpose(0, 2, 3, 1)
    for name, lowest in (("tanh", -1), ("sigmoid", 0)):
        drawn = Sampler(model, value_range=name).sample(range(5))
        assert np.abs(drawn.astype(int) - to_uint8(values, lowest)).max() <= 1


def test_layout_that_the_shape_leaves_open_is_asked_for():
    model, _ = foreign(image_shape=(3, 7, 4))
    with pytest.raises(NotAGeneratorError, match="may be NCHW or NHWC; name the layout with --layout"):
        Sampler(model)
    assert Sampler(model, layout="NCHW").sample([0]).shape == (1, 7, 4, 3)
    assert Sampler(model, layout="NHWC").sample([0]).shape == (1, 3, 7, 4)
    with pytest.raises(NotAGeneratorError, match="1, 3 or 4 channels are due in NHWC"):
        Sampler(foreign(image_shape=(3, 7, 5))[0], layout="NHWC")


def test_shape_that_the_graph_leaves_open_is_drawn_once():
    model, _ = foreign(output_shape=["n", "c", "h", "w"])
    assert Sampler(model).sample([1, 2]).shape == (2, 8, 5, 3)


@pytest.mark.parametrize("batch", ["n", 4])
def test_images_that_depend_on_their_batch_are_refused(batch):
    proto = onnx.load_from_string(foreign(batch=batch)[0])
    matmul = next(node for node in proto.graph.node if node.op_type == "MatMul")
    matmul.output[0] = "raw"
    place = list(proto.graph.node).index(matmul)
    proto.graph.node.insert(place + 1, helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[0]))
    proto.graph.node.insert(place + 2, helper.make_node("Sub", ["raw", "mean"], ["a"]))
    with pytest.raises(InferenceError, match="depends on the others in its batch: alone it is up to"):
        Sampler(proto.SerializeToString(), threads=4)


def test_images_that_depend_on_a_batch_which_threads_share_are_refused():
    """A part of one image is proven of nothing, and a ConvTranspose has the batch shared."""
    kernel = RNG.standard_normal((DIM, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("ConvTranspose", ["z", "kernel"], ["raw"]),
        helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["raw", "mean"], ["centred"]),
        helper.make_node("Tanh", ["centred"], ["image"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])]
        for name, shape in (("z", (DIM, 1, 1)), ("image", (3, 8, 8)))
    ]
    graph = helper.make_graph(nodes, "foreign", *ends, [numpy_helper.from_array(kernel, "kernel")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(InferenceError, match="depends on the others in its batch"):
        Sampler(model.SerializeToString(), threads=4)


def test_uint8_images_are_pixels():
    model, weights = foreign(last="Sigmoid", dtype="uint8")
    values = expected(weights, 5, lambda x: 1 / (1 + np.exp(-x))).reshape(5, 3, 8, 5).transpose(0, 2, 3, 1) * 200
    assert np.abs(Sampler(model).sample(range(5)).astype(int) - values.astype(int)).max() <= 1
    with pytest.raises(NotAGeneratorError, match="uint8, which has no other range"):
        Sampler(model, value_range="tanh")


def test_foreign_generator_walks_and_has_no_golden_images():
    sampler = Sampler(foreign((DIM, 1, 1))[0])
    assert sum(len(frames) for frames in sampler.walk([1, 2], 4)) == 8
    assert sampler.sample_latents(np.zeros((2, DIM))).shape == (2, 8, 5, 3)
    with pytest.raises(ContractError, match="no golden image"):
        check_golden(sampler)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_shape": (8, 5, 2)}, "1, 3 or 4 channels"),
        ({"image_shape": (3, 40), "output_shape": ["n", 3, 40]}, "its output has the shape"),
        ({"latent_shape": (2, 3)}, "float32 latents are due"),
        ({"latent_shape": (2, 3, 1)}, "float32 latents are due"),
        ({"latent_shape": ("dim",)}, "float32 latents are due"),
    ],
    ids=str,
)
def test_what_is_no_generator_says_so(settings, words):
    with pytest.raises(NotAGeneratorError, match=words):
        Sampler(foreign(**settings)[0])


def test_file_with_a_contract_needs_no_telling(tiny_file):
    for choice in ({"layout": "NHWC"}, {"value_range": "tanh"}):
        with pytest.raises(UsageError, match="says itself"):
            Sampler(tiny_file, **choice)
    for choice in ({"layout": "CHW"}, {"value_range": "relu"}):
        with pytest.raises(UsageError, match="it takes"):
            Sampler(tiny_file, **choice)


def test_dcgan_as_pytorch_exports_it():
    stored = np.load(HERE / "torch_dcgan.npz")
    sampler = Sampler(HERE / "torch_dcgan.onnx")
    assert sampler.model.input.dim == 16
    assert (sampler.model.image.layout, sampler.model.image.range) == ("NCHW", (-1, 1))
    drawn = sampler.sample_latents(stored["latents"].reshape(3, 16))
    assert np.abs(drawn.astype(int) - to_uint8(stored["images"].transpose(0, 2, 3, 1))).max() <= 1
