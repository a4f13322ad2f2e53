"""Harmful files are rejected before onnxruntime reads them, in little time and memory."""

import hashlib
import os
import time
import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Sampler
from ganport.runtime.errors import (
    ModelFormatError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from ganport.runtime.onnx_file import read_outline
from tests.tiny_generator import tiny_model

HUGE = 2**40


def model(*nodes, initializers=(), functions=(), output=("n", 3, 8, 8)):
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [result], **settings) for kind, inputs, result, settings in nodes],
        "g",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(output))],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def tensor(name, dims, raw=b"\0" * 16, kind=TensorProto.FLOAT):
    made = TensorProto(name=name, data_type=kind, raw_data=raw)
    made.dims.extend(dims)
    return made


def shape(*sizes):
    return numpy_helper.from_array(np.array(sizes, np.int64), "s")


def factors(*numbers):
    return numpy_helper.from_array(np.array(numbers, np.float32), "s")


def numbers_in(kind, unknown=b"", **fields):
    """Return a scalar whose numbers are in these fields, followed by fields in wire format."""
    return TensorProto.FromString(
        TensorProto(name="s", data_type=kind, **fields).SerializeToString() + unknown
    )


def varint(number):
    groups = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([group | 0x80 for group in groups[:-1]] + [groups[-1]])


def scalar(name, value, kind):
    return numpy_helper.from_array(np.array(value, kind), name)


def in_typed_field(name, value):
    return helper.make_tensor(name, TensorProto.FLOAT, [], [value])


def branches():
    inner = helper.make_graph([], "inner", [], [], [tensor("w", [HUGE])])
    return {"then_branch": inner, "else_branch": inner}


def looping_function(calls):
    return helper.make_function(
        "own",
        "f",
        ["a"],
        ["b"],
        [helper.make_node(calls, ["a"], ["b"], domain="own")],
        [helper.make_opsetid("own", 1)],
    )


def twice_the_attribute(name, *values):
    made = model(("Pad", ["z"], "y", {}))
    made.graph.node[0].attribute.extend(helper.make_attribute(name, value) for value in values)
    return made


BODY = helper.make_graph([], "body", [], [])
HOSTILE = {
    "2**40 values in 16 bytes": (model(initializers=[tensor("w", [HUGE])]), "which is too few"),
    "many large dimensions": (model(initializers=[tensor("w", [2**62, 2**62])]), "which is too few"),
    "thousands of dimensions": (model(initializers=[tensor("w", [2**62] * 5000)]), "5,000 dimensions"),
    "negative dimension": (model(initializers=[tensor("w", [-4])]), "negative dimension"),
    "in a branch": (model(("If", ["z"], "y", branches())), "which is too few"),
    "shape of 2**40": (
        model(("ConstantOfShape", ["s"], "y", {}), initializers=[shape(HUGE)]),
        "ConstantOfShape to the shape",
    ),
    "shape of 2**20 twice": (
        model(("Expand", ["z", "s"], "y", {}), initializers=[shape(2**20, 2**20)]),
        "Expand to the shape",
    ),
    "shape in a Constant": (
        model(("Constant", [], "s", {"value": shape(HUGE)}), ("Tile", ["z", "s"], "y", {})),
        "Tile to the shape",
    ),
    "shape of nine dimensions": (
        model(("ConstantOfShape", ["s"], "y", {}), initializers=[shape(2**20, 2**20, *[1] * 7)]),
        "ConstantOfShape to the shape",
    ),
    "shape of twenty dimensions": (
        model(("Expand", ["z", "s"], "y", {}), initializers=[shape(*[2] * 20)]),
        "Expand to the shape",
    ),
    "shape in an attribute of integers": (
        model(("Constant", [], "s", {"value_ints": [2**20, 2**20]}), ("ConstantOfShape", ["s"], "y", {})),
        "ConstantOfShape to the shape",
    ),
    "negative shape": (
        model(("ConstantOfShape", ["s"], "y", {}), initializers=[shape(-5, 3)]),
        "ConstantOfShape to the shape",
    ),
    "pads": (model(("Pad", ["z", "s"], "y", {}), initializers=[shape(0, 2**30, 0, 0)]), "a Pad by"),
    "pads on two axes": (
        model(("Pad", ["z", "s"], "y", {}), initializers=[shape(2**15, 2**15, 0, 0)]),
        "a Pad by",
    ),
    "pads as an attribute": (model(("Pad", ["z"], "y", {"pads": [0, 0, 0, 2**40]})), "a Pad by"),
    "pads of nine axes": (
        model(("Pad", ["z", "s"], "y", {}), initializers=[shape(*[0] * 17, 2**40)]),
        "a Pad by",
    ),
    **{
        f"range of {kind} values": (
            model(
                ("Range", ["a", "b", "a"], "y", {}),
                initializers=[scalar("a", 1, kind), scalar("b", 2**30, kind)],
            ),
            "a Range from 1 to",
        )
        for kind in ("float32", "float64", "int32")
    },
    "range without a step": (
        model(
            ("Range", ["a", "b", "c"], "y", {}), initializers=[scalar(name, 0, "float32") for name in "abc"]
        ),
        "a Range from 0 to 0 by 0",
    ),
    "range in typed fields": (
        model(
            ("Range", ["a", "b", "a"], "y", {}),
            initializers=[in_typed_field("a", 1.0), in_typed_field("b", 1e14)],
        ),
        "a Range from 1 to",
    ),
    "range": (
        model(
            ("Range", ["a", "s", "a"], "y", {}),
            initializers=[numpy_helper.from_array(np.array(1), "a"), shape(HUGE)],
        ),
        "a Range from 1 to",
    ),
    "scales": (
        model(("Resize", ["z", "", "s"], "y", {}), initializers=[factors(1, 1, 2**15, 2**15)]),
        "operation Resize with the factors",
    ),
    "scales in a Constant": (
        model(("Constant", [], "s", {"value_floats": [1.0, 1e20]}), ("Resize", ["z", "", "s"], "y", {})),
        "operation Resize with the factors",
    ),
    "scales in typed fields": (
        model(
            ("Resize", ["z", "", "s"], "y", {}),
            initializers=[helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0**30])],
        ),
        "operation Resize with the factors",
    ),
    "scales as an attribute": (
        model(("Upsample", ["z"], "y", {"scales": [1.0, 2.0**30]})),
        "operation Upsample with the factors",
    ),
    "scales as the second input": (
        model(("Upsample", ["z", "s"], "y", {}), initializers=[factors(1, 2**30)]),
        "operation Upsample with the factors",
    ),
    "scales of 18 dimensions": (
        model(("Resize", ["z", "", "s"], "y", {}), initializers=[factors(*[1] * 17, 1e9)]),
        "Resize with the factors",
    ),
    "scales before their Constant": (
        model(("Resize", ["z", "", "s"], "y", {}), ("Constant", [], "s", {"value_floats": [1.0, 1e20]})),
        "Resize with the factors",
    ),
    "values in two fields": (
        model(
            ("ConstantOfShape", ["s"], "y", {}),
            initializers=[numbers_in(TensorProto.INT64, int32_data=[0], int64_data=[HUGE])],
        ),
        "damaged",
    ),
    "int32 value of more than 32 bits": (
        model(
            ("Range", ["a", "s", "a"], "y", {}),
            initializers=[
                scalar("a", 1, "int32"),
                numbers_in(TensorProto.INT32, unknown=b"\x28" + varint(2**63 + 2**30)),
            ],
        ),
        "a Range from 1 to",
    ),
    "Constant of two values": (
        model(
            ("Constant", [], "s", {"value_ints": [HUGE], "value_floats": [1.0]}),
            ("ConstantOfShape", ["s"], "y", {}),
        ),
        "more than one value",
    ),
    "pads in a tensor of two dimensions": (
        model(
            ("Pad", ["z", "s"], "y", {}),
            initializers=[numpy_helper.from_array(np.array([[0, 2**30, 0, 0]]), "s")],
        ),
        "a Pad by",
    ),
    "range to a Constant of one number": (
        model(
            ("Constant", [], "s", {"value_int": HUGE}),
            ("Range", ["a", "s", "a"], "y", {}),
            initializers=[scalar("a", 1, "int64")],
        ),
        "a Range from 1 to",
    ),
    "depth of an unusual type": (
        model(("OneHot", ["z", "s", "z"], "y", {}), initializers=[scalar("s", HUGE, "uint64")]),
        "a OneHot to the shape",
    ),
    "two attributes of one name": (twice_the_attribute("pads", [0, 0, 0, HUGE], [0, 0, 0, 0]), "damaged"),
    "function of itself": (
        model(("f", ["z"], "y", {"domain": "own"}), functions=[looping_function("f")]),
        "calls itself",
    ),
}


def repeated_graph():
    random = model(("RandomNormalLike", ["z"], "y", {}))
    return random.SerializeToString() + onnx.ModelProto(graph=onnx.GraphProto(name="g")).SerializeToString()


def long_tag():
    """Return a model with a field whose number equals that of nodes only in the lowest 32 bits."""
    node = helper.make_node("RandomNormalLike", ["z"], ["y"]).SerializeToString()
    graph = b"\x8a\x80\x80\x80\x10" + bytes([len(node)]) + node
    return onnx.ModelProto(ir_version=9).SerializeToString() + b"\x3a" + bytes([len(graph)]) + graph


@pytest.mark.parametrize("content", [repeated_graph(), long_tag()], ids=["two graphs", "long tag"])
def test_file_that_onnxruntime_would_read_differently_is_rejected(content):
    with pytest.raises(ModelFormatError, match="damaged"):
        Sampler(content)


def test_onnx_file_with_the_mark_of_the_ort_format_is_checked(tmp_path):
    proto = model(("RandomNormalLike", ["z"], "y", {}))
    proto.ir_version, proto.producer_name = 9, "ORTM"
    content = proto.SerializeToString()
    assert content[4:8] == b"ORTM"
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(UnsupportedModelError, match="an image would not depend on its seed alone"):
        Sampler(tmp_path / "x.onnx")
    with pytest.raises(ModelFormatError):
        Sampler(content)


def normalisation(opset, outputs, **settings):
    """Return a model of one BatchNormalization that scales and shifts by 1."""
    node = helper.make_node("BatchNormalization", ["z", *"sbmv"], outputs, **settings)
    made = model(initializers=[helper.make_tensor(name, TensorProto.FLOAT, [4], [1] * 4) for name in "sbmv"])
    made.graph.node.append(node)
    made.opset_import[0].version = opset
    return made


def dropout(is_training):
    return model(
        ("Dropout", ["z", "r", "t"], "y", {}),
        initializers=[scalar("r", 0.5, "float32"), scalar("t", is_training, "bool")],
        output=("n", 4),
    )


RANDOM = "an image would not depend on its seed alone"
OF_THE_BATCH = "an image would depend on the other images in its batch"
IN_EVALUATION_MODE = r"in PyTorch, call model\.eval\(\) first"
UNSUPPORTED = {
    "loop": (model(("Loop", ["n", "c", "z"], "y", {"body": BODY})), "a Loop, which may never end", "loops"),
    "scan": (model(("Scan", ["z"], "y", {"body": BODY})), "a Scan, which may never end", "without loops"),
    "random": (
        model(("RandomNormalLike", ["z"], "y", {})),
        f"it has a RandomNormalLike: {RANDOM}",
        "noise_mode='const'",
    ),
    "statistics of the batch": (
        normalisation(17, ["y", "a", "b2"], training_mode=1),
        f"a BatchNormalization in training mode: {OF_THE_BATCH}",
        IN_EVALUATION_MODE,
    ),
    "statistics of the batch, before opset 14": (
        normalisation(9, ["y", "a", "b2", "c", "d"]),
        f"a BatchNormalization in training mode: {OF_THE_BATCH}",
        IN_EVALUATION_MODE,
    ),
    "dropout": (dropout(is_training=True), f"a Dropout in training mode: {RANDOM}", IN_EVALUATION_MODE),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_operation_that_is_rejected_on_purpose_gets_its_remedy(name):
    proto, problem, remedy = UNSUPPORTED[name]
    with pytest.raises(
        UnsupportedModelError, match=f"Can't use the model of .*{problem}; .*{remedy}"
    ) as caught:
        Sampler(proto.SerializeToString())
    assert "not a readable ONNX file" not in str(caught.value)
    assert problem in caught.value.problem


@pytest.mark.parametrize("proto", [dropout(is_training=False), normalisation(9, ["y"])])
def test_operation_in_evaluation_mode_is_read(proto):
    assert len(read_outline(proto.SerializeToString()).nodes) == 1


@pytest.mark.parametrize("name", ["statistics of the batch, before opset 14", "dropout"])
def test_onnxruntime_would_run_the_operation_in_training_mode(name):
    """The check is needed: onnxruntime gives one latent vector another image in another batch or run."""
    session = onnxruntime.InferenceSession(UNSUPPORTED[name][0].SerializeToString())
    latents = np.random.default_rng(0).standard_normal((5, 4), np.float32)
    # Dropout may take the same values of a few by chance, so there are many runs.
    images = [session.run(["y"], {"z": part})[0][0] for part in [latents[:1], latents] * 20]
    assert np.ptp(images, axis=0).max() > 0.1


def test_tensor_with_two_raw_fields_is_rejected():
    """onnxruntime would use the second field, whose size is not checked."""
    twice = shape(5).SerializeToString() + b"\x4a\x08" + HUGE.to_bytes(8, "little")
    graph = (
        model(("ConstantOfShape", ["s"], "y", {})).graph.SerializeToString()
        + b"\x2a"
        + bytes([len(twice)])
        + twice
    )
    content = b"\x08\x09\x3a" + varint(len(graph)) + graph
    with pytest.raises(ModelFormatError, match="damaged"):
        read_outline(content)


def test_region_of_interest_is_not_read_as_a_scale_factor():
    region = numpy_helper.from_array(np.array([0, 0, 20_000, 20_000], np.float32), "r")
    proto = model(("Resize", ["z", "r", "s"], "y", {}), initializers=[region, factors(1, 2)])
    assert [node.kind for node in read_outline(proto.SerializeToString()).nodes] == ["Resize"]


def test_function_with_the_name_of_an_operation_is_not_recursive():
    body = [helper.make_node("Tanh", ["a"], ["b"])]
    function = helper.make_function("own", "Tanh", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    content = model(("Tanh", ["z"], "y", {"domain": "own"}), functions=[function]).SerializeToString()
    assert [node.domain for node in read_outline(content).nodes] == ["own"]


@pytest.mark.parametrize("name", HOSTILE)
def test_harmful_file_is_rejected_quickly(name):
    proto, words = HOSTILE[name]
    content = proto.SerializeToString()
    tracemalloc.start()
    started = time.thread_time()  # thread time, which excludes the time of other programs
    with pytest.raises(ModelFormatError, match=words) as caught:
        Sampler(content)
    assert time.thread_time() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 5e7
    tracemalloc.stop()
    assert len(str(caught.value)) < 500


def test_many_functions_branches_and_constants_are_read_in_linear_time():
    def seconds(count):
        content = model_of_many(count).SerializeToString()
        started = time.thread_time()
        assert len(read_outline(content).nodes) == count
        return time.thread_time() - started

    # If each function were compared with all others, eight times as many would take 64 times as long.
    assert min(seconds(480) for _ in range(2)) < 24 * min(seconds(60) for _ in range(3))


def model_of_many(count):
    """Return a model with this number of functions and operations, and with more branches and constants."""
    body = [helper.make_node("Tanh", ["a"], ["b"])]
    branch = helper.make_graph([], "inner", [], [])
    return model(
        *[("If", ["z"], "y", {"then_branch": branch, "else_branch": branch})] * count,
        initializers=[scalar(f"n{index}", 1, "int64") for index in range(10 * count)],
        functions=[
            helper.make_function("own", f"f{index}", ["a"], ["b"], body, []) for index in range(count)
        ],
    )


def test_two_functions_of_one_name_are_rejected():
    function = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Tanh", ["a"], ["b"])], [])
    content = model(("f", ["z"], "y", {"domain": "own"}), functions=[function] * 2).SerializeToString()
    with pytest.raises(
        UnsupportedModelError, match=r"two functions of the name 'f'; .*inline_local_functions"
    ):
        read_outline(content)


def test_unknown_domain_is_rejected():
    with pytest.raises(UnsupportedModelError, match="it has the operation Unheard of the domain 'own'"):
        Sampler(model(("Unheard", ["z"], "y", {"domain": "own"})).SerializeToString())


def test_output_of_a_huge_shape_takes_no_memory():
    """onnxruntime infers the true shape of the output, and the images have this shape."""
    sampler = Sampler(model(("Tanh", ["z"], "y", {}), output=("n", 3, HUGE, HUGE)).SerializeToString())
    assert sampler.sample([0]).shape == (1, 2, 2, 1)


def test_fingerprint_covers_the_file_and_the_weights_beside_it(tmp_path):
    content = tiny_model().SerializeToString()
    (tmp_path / "alone.onnx").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert Sampler(content).model.fingerprint() == expected
    assert Sampler(tmp_path / "alone.onnx").model.fingerprint() == expected

    onnx.save_model(
        tiny_model(), tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=100
    )
    before = Sampler(tmp_path / "x.onnx").model.fingerprint()
    weights = bytearray((tmp_path / "x.data").read_bytes())
    weights[3] ^= 1
    (tmp_path / "x.data").write_bytes(weights)
    sampler = Sampler(tmp_path / "x.onnx")
    assert sampler.model.fingerprint() != before
    os.utime(tmp_path / "x.onnx")
    with pytest.raises(ModelFormatError, match="has changed since it was opened"):
        sampler.model.fingerprint()
    (tmp_path / "x.onnx").unlink()
    with pytest.raises(ModelNotFoundError):
        sampler.model.fingerprint()


def test_operations_are_returned_in_the_order_of_the_file(tmp_path):
    proto = tiny_model()
    path = tmp_path / "x.onnx"
    path.write_bytes(proto.SerializeToString())
    for source in (path, proto.SerializeToString()):
        assert [node.kind for node in read_outline(source).nodes] == [
            node.op_type for node in proto.graph.node
        ]
        assert [node.inputs for node in read_outline(source).nodes] == [
            tuple(node.input) for node in proto.graph.node
        ]


def test_depth_of_graphs_is_bounded():
    inner = helper.make_graph([], "inner", [], [])
    for _ in range(20):
        inner = helper.make_graph([helper.make_node("If", ["c"], [], then_branch=inner)], "outer", [], [])
    with pytest.raises(ModelFormatError, match="graphs within graphs, more than 16 levels deep"):
        Sampler(helper.make_model(inner).SerializeToString())
