"""Third-party generators: facts are read from the graph, and the user gives those that it leaves open."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Sampler, sample_latents, to_uint8
from ganport.runtime.errors import InferenceError, NotAGeneratorError, UsageError
from ganport.runtime.golden import check_golden

HERE = Path(__file__).parent / "third_party"
DIM = 6
RNG = np.random.default_rng(4)


def third_party_model(
    latent_shape=(DIM,),
    image_shape=(3, 8, 5),
    last="Tanh",
    dtype="float32",
    batch="n",
    output_shape=None,
    perm=(),
):
    """Return the bytes of a generator and its weights: one dense layer, an activation, and a reshape.

    Args:
        latent_shape: Shape of one image's latents.
        image_shape: Shape that the last reshape gives an image.
        last: Operation of the last activation.
        dtype: Type of the images.
        batch: Size of the first axis.
        output_shape: Shape of the output that the graph declares. By default the true shape.
        perm: Permutation of a Transpose after the Reshape. None for no Transpose.
    """
    size = int(np.prod(image_shape))
    weights = RNG.standard_normal((DIM, size)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["z", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["a"]),
        helper.make_node(last, ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["image" if dtype == "float32" and not perm else "c"]),
    ]
    if perm:
        nodes.append(helper.make_node("Transpose", ["c"], ["image"], perm=list(perm)))
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
    output_type = TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "third-party",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, *latent_shape])],
        [helper.make_tensor_value_info("image", output_type, output_shape or [batch, *image_shape])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString(), weights


def expected_values(weights, count, activation=np.tanh):
    return activation(sample_latents(np.arange(count), DIM) @ weights)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("latent_shape", [(DIM,), (DIM, 1, 1), (1, 1, DIM)], ids=str)
@pytest.mark.parametrize(
    ("image_shape", "layout"),
    [((3, 8, 5), "NCHW"), ((8, 5, 3), "NHWC"), ((1, 8, 5), "NCHW"), ((8, 5, 4), "NHWC")],
    ids=str,
)
@pytest.mark.parametrize("batch", ["n", 4])
def test_shapes_are_read_from_the_graph(latent_shape, image_shape, layout, batch):
    model, weights = third_party_model(latent_shape, image_shape, batch=batch)
    sampler = Sampler(model)
    images = sampler.sample(range(9))
    values = expected_values(weights, 9).reshape(9, *image_shape)
    values = values.transpose(0, 2, 3, 1) if layout == "NCHW" else values
    assert sampler.contract.image.layout == layout
    assert sampler.contract.batch == (None if batch == "n" else 4)
    assert images.shape == values.shape
    assert np.abs(images.astype(int) - to_uint8(values)).max() <= 1


def test_range_is_read_from_the_last_activation():
    model, weights = third_party_model(last="Sigmoid")
    values = expected_values(weights, 5, sigmoid).reshape(5, 3, 8, 5).transpose(0, 2, 3, 1)
    images = Sampler(model).sample(range(5))
    assert np.abs(images.astype(int) - np.rint(values * 255)).max() <= 1
    assert images.min() < 20
    assert images.max() > 235


def test_activation_is_found_before_operations_that_keep_values():
    model, _ = third_party_model(image_shape=(8, 5, 3), perm=(0, 3, 1, 2), output_shape=["n", 3, 8, 5])
    assert Sampler(model).contract.image.range == (-1, 1)


def test_value_range_that_the_graph_leaves_open_must_be_given():
    model, weights = third_party_model(last="Identity")
    with pytest.raises(NotAGeneratorError, match=r"its last operation is MatMul.*give `value_range`"):
        Sampler(model)
    values = expected_values(weights, 5, np.asarray).reshape(5, 3, 8, 5).transpose(0, 2, 3, 1)
    for span in ((-12, 12), (-5, 6.5)):
        images = Sampler(model, value_range=span, clip=True).sample(range(5))
        assert np.abs(images.astype(int) - to_uint8(values, value_range=span)).max() <= 1


def test_layout_that_the_shape_leaves_open_must_be_given():
    model, _ = third_party_model(image_shape=(3, 7, 4))
    with pytest.raises(NotAGeneratorError, match="may be NCHW or NHWC; choose one with `layout`"):
        Sampler(model)
    assert Sampler(model, layout="NCHW").sample([0]).shape == (1, 7, 4, 3)
    assert Sampler(model, layout="NHWC").sample([0]).shape == (1, 3, 7, 4)
    with pytest.raises(NotAGeneratorError, match="expected 1, 3 or 4 channels in NHWC"):
        Sampler(third_party_model(image_shape=(3, 7, 5))[0], layout="NHWC")


def test_shape_that_the_graph_leaves_open_is_measured():
    model, _ = third_party_model(output_shape=["n", "c", "h", "w"])
    assert Sampler(model).sample([1, 2]).shape == (2, 8, 5, 3)


@pytest.mark.parametrize("batch", ["n", 4])
def test_images_that_depend_on_their_batch_are_rejected(batch):
    proto = onnx.load_from_string(third_party_model(batch=batch)[0])
    matmul = next(node for node in proto.graph.node if node.op_type == "MatMul")
    matmul.output[0] = "raw"
    index = list(proto.graph.node).index(matmul)
    proto.graph.node.insert(index + 1, helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[0]))
    proto.graph.node.insert(index + 2, helper.make_node("Sub", ["raw", "mean"], ["a"]))
    with pytest.raises(
        InferenceError, match="depends on the other images in its batch: alone, its pixels differ"
    ):
        Sampler(proto.SerializeToString(), threads=4)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_small_differences_in_a_batch_are_rounding_in_float16_only(kind):
    """The graph adds a twentieth of the mean over the batch, which changes pixels by a few levels."""
    proto = onnx.load_from_string(third_party_model()[0])
    nodes = list(proto.graph.node)
    index = [node.op_type for node in nodes].index("Tanh")
    small = numpy_helper.from_array(np.float32(0.05), "small")
    added = [
        helper.make_node("ReduceMean", ["b"], ["mean"], axes=[0]),
        helper.make_node("Mul", ["mean", "small"], ["part"]),
        helper.make_node("Sub", ["b", "part"], ["c"]),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
    ]
    if kind == "float16":
        added.append(helper.make_node("Cast", ["d"], ["half"], to=TensorProto.FLOAT16))
        added.append(helper.make_node("Cast", ["half"], ["e"], to=TensorProto.FLOAT))
    nodes[index + 1].input[0] = added[-1].output[0]
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes[: index + 1], *added, *nodes[index + 1 :]])
    bounds = [numpy_helper.from_array(np.float32(value), name) for value, name in ((-1, "low"), (1, "high"))]
    proto.graph.initializer.extend([small, *bounds])
    if kind == "float16":
        assert Sampler(proto.SerializeToString()).contract.batch == 1
        return
    with pytest.raises(InferenceError, match=r"its pixels differ by up to \d levels"):
        Sampler(proto.SerializeToString())


def test_latents_with_free_sides_are_rejected():
    """The last axis has the latents of a pixel. The sides of the image are free, and must not be guessed."""
    kernel = RNG.standard_normal((8, 3, 2, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["z"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("ConvTranspose", ["first", "kernel"], ["raw"], strides=[2, 2]),
        helper.make_node("Tanh", ["raw"], ["image"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])]
        for name, shape in (("z", ("h", "w", 8)), ("image", (3, "H", "W")))
    ]
    graph = helper.make_graph(nodes, "third-party", *ends, [numpy_helper.from_array(kernel, "kernel")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(NotAGeneratorError, match="does not state how many latents it takes"):
        Sampler(model.SerializeToString())


def test_images_that_depend_on_a_batch_that_is_split_are_rejected():
    """The runtime splits batches of models with a ConvTranspose, but must not do so for this check."""
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
    graph = helper.make_graph(nodes, "third-party", *ends, [numpy_helper.from_array(kernel, "kernel")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(InferenceError, match="depends on the other images in its batch"):
        Sampler(model.SerializeToString(), threads=4)


def test_uint8_images_are_pixels():
    model, weights = third_party_model(last="Sigmoid", dtype="uint8")
    values = expected_values(weights, 5, sigmoid).reshape(5, 3, 8, 5).transpose(0, 2, 3, 1) * 200
    assert np.abs(Sampler(model).sample(range(5)).astype(int) - values.astype(int)).max() <= 1
    expected = "its images are uint8, which always range from 0 to 255; leave `value_range` out"
    with pytest.raises(NotAGeneratorError, match=expected):
        Sampler(model, value_range="tanh")


def test_third_party_generator_walks_and_has_no_golden_images():
    sampler = Sampler(third_party_model((DIM, 1, 1))[0])
    assert sum(len(frames) for frames in sampler.walk([1, 2], frames=4)) == 8
    assert sampler.sample_from_latents(np.zeros((2, DIM))).shape == (2, 8, 5, 3)
    with pytest.raises(UsageError, match="a third-party model, which holds no golden images"):
        check_golden(sampler)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_shape": (8, 5, 2)}, "expected 1, 3 or 4 channels"),
        ({"image_shape": (2, 2, 5, 3)}, "each image has shape"),
        ({"image_shape": (3, 5, 8), "layout": "NHWC"}, "expected 1, 3 or 4 channels in NHWC"),
        ({"image_shape": (40,)}, "rows of 40 values; give `image_size`"),
        ({"image_shape": (8, 5, 3), "image_size": (5, 8, 3)}, "contradicts `image_size`"),
    ],
    ids=str,
)
def test_model_that_is_not_a_generator_is_rejected(settings, words):
    described = {name: settings.pop(name) for name in ("layout", "image_size") if name in settings}
    with pytest.raises(NotAGeneratorError, match=words):
        Sampler(third_party_model(**settings)[0], **described)


def test_file_with_a_contract_takes_no_description(tiny_file):
    for choice in ({"layout": "NHWC"}, {"value_range": "tanh"}):
        (name,) = choice
        with pytest.raises(UsageError, match=f"states what `{name}` would say; leave it out"):
            Sampler(tiny_file, **choice)
    for choice, expected in (
        ({"layout": "CHW"}, "`layout` is 'CHW'; it must be NHWC or NCHW"),
        ({"value_range": "relu"}, "`value_range` is 'relu'; it must be tanh for -1 to 1"),
    ):
        with pytest.raises(UsageError, match=expected):
            Sampler(tiny_file, **choice)


def test_dcgan_as_pytorch_exports_it():
    stored = np.load(HERE / "torch_dcgan.npz")
    sampler = Sampler(HERE / "torch_dcgan.onnx")
    assert sampler.contract.input.dim == 16
    assert (sampler.contract.image.layout, sampler.contract.image.range) == ("NCHW", (-1, 1))
    images = sampler.sample_from_latents(stored["latents"].reshape(3, 16))
    assert np.abs(images.astype(int) - to_uint8(stored["images"].transpose(0, 2, 3, 1))).max() <= 1
