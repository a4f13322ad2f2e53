"""Harmful files are rejected before onnxruntime reads them, in little time and memory."""

import hashlib
import os
import time
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import Sampler
from ganport.runtime.errors import ModelError, ModelFormatError, ModelNotFoundError
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


def external(location, **entries):
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    made.dims.extend([4])
    for key, value in {"location": location, **entries}.items():
        made.external_data.add(key=key, value=str(value))
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
    "loop": (model(("Loop", ["n", "c", "z"], "y", {"body": BODY})), "a Loop, which may never end"),
    "random": (model(("RandomNormalLike", ["z"], "y", {})), "an image would not depend on its seed alone"),
    "statistics of the batch": (
        model(("BatchNormalization", ["z", "s", "b", "m", "v"], "y", {"training_mode": 1})),
        "a BatchNormalization in training mode: an image would depend on the other images in its batch",
    ),
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
    with pytest.raises(ModelFormatError, match="an image would not depend on its seed alone"):
        Sampler(tmp_path / "x.onnx")
    with pytest.raises(ModelFormatError):
        Sampler(content)


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


def test_many_functions_of_one_name_and_many_branches_are_read_in_linear_time():
    def seconds(count):
        content = model_of_many(count).SerializeToString()
        started = time.thread_time()
        assert len(read_outline(content).nodes) == count
        return time.thread_time() - started

    # If each function were compared with all others, four times as many would take sixteen times as long.
    assert min(seconds(16_000) for _ in range(2)) < 8 * min(seconds(4_000) for _ in range(3))


def model_of_many(count):
    """Return a model with as many functions of one name, branches and constants."""
    function = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Tanh", ["a"], ["b"])], [])
    branch = helper.make_graph([], "inner", [], [])
    return model(
        *[("If", ["z"], "y", {"then_branch": branch, "else_branch": branch})] * count,
        initializers=[scalar(f"n{index}", 1, "int64") for index in range(count)],
        functions=[function] * count,
    )


def test_unknown_domain_is_rejected():
    with pytest.raises(ModelFormatError, match="own"):
        Sampler(model(("Unheard", ["z"], "y", {"domain": "own"})).SerializeToString())


def test_output_of_a_huge_shape_is_rejected():
    with pytest.raises(ModelError):
        Sampler(model(("Tanh", ["z"], "y", {}), output=("n", 3, HUGE, HUGE)).SerializeToString())


@pytest.mark.parametrize(
    ("location", "entries", "words"),
    [
        ("../secret", {}, "outside of the model's folder"),
        ("/etc/passwd", {}, "outside of the model's folder"),
        ("C:\\secret", {}, "outside of the model's folder"),
        ("a/../../secret", {}, "outside of the model's folder"),
        ("link", {}, "not a file in the model's folder"),
        ("none", {}, "not a file in the model's folder"),
        ("", {}, "not a file in the model's folder"),
        ("data", {"offset": 8, "length": 16}, "which has 16 bytes"),
        ("data", {"offset": -8, "length": 16}, "which has 16 bytes"),
        ("data", {"offset": "x"}, "is not a number"),
    ],
)
def test_weights_outside_of_the_folder_are_rejected(tmp_path, location, entries, words):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "data").write_bytes(bytes(16))
    path = folder / "x.onnx"
    path.write_bytes(model(initializers=[external(location, **entries)]).SerializeToString())
    with pytest.raises(ModelFormatError, match=words):
        Sampler(path)


def test_weights_in_a_file_beside_the_model_are_read(tmp_path):
    onnx.save_model(
        tiny_model(), tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=100
    )
    np.testing.assert_array_equal(
        Sampler(tmp_path / "x.onnx").sample(range(3)),
        Sampler(tiny_model().SerializeToString()).sample(range(3)),
    )
    with pytest.raises(ModelFormatError, match=r"are in another file, .*; open the model by its path"):
        Sampler((tmp_path / "x.onnx").read_bytes())


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
