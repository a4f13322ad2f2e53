"""Files that would do harm are refused before onnxruntime sees them, in little time and memory."""

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
from ganport.runtime.onnx_file import read_nodes
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
    """Return a scalar whose numbers lie in these fields, or in wire format behind it."""
    return TensorProto.FromString(TensorProto(name="s", data_type=kind, **fields).SerializeToString() + unknown)


def varint(number):
    groups = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([group | 0x80 for group in groups[:-1]] + [groups[-1]])


def scalar(name, value, kind):
    return numpy_helper.from_array(np.array(value, kind), name)


def written_out(name, value):
    return helper.make_tensor(name, TensorProto.FLOAT, [], [value])


def branches():
    inner = helper.make_graph([], "inner", [], [], [tensor("w", [HUGE])])
    return {"then_branch": inner, "else_branch": inner}


def looping_function(calls):
    return helper.make_function(
        "own", "f", ["a"], ["b"], [helper.make_node(calls, ["a"], ["b"], domain="own")], [helper.make_opsetid("own", 1)]
    )


BODY = helper.make_graph([], "body", [], [])
HOSTILE = {
    "2**40 numbers in 16 bytes": (model(initializers=[tensor("w", [HUGE])]), "which is too few"),
    "many large dimensions": (model(initializers=[tensor("w", [2**62, 2**62])]), "which is too few"),
    "thousands of dimensions": (model(initializers=[tensor("w", [2**62] * 5000)]), "5,000 dimensions"),
    "negative dimension": (model(initializers=[tensor("w", [-4])]), "negative dimension"),
    "in a branch": (model(("If", ["z"], "y", branches())), "which is too few"),
    "shape of 2**40": (model(("ConstantOfShape", ["s"], "y", {}), initializers=[shape(HUGE)]), "ConstantOfShape to the shape"),
    "shape of 2**20 twice": (model(("Expand", ["z", "s"], "y", {}), initializers=[shape(2**20, 2**20)]), "Expand to the shape"),
    "shape in a constant": (
        model(("Constant", [], "s", {"value": shape(HUGE)}), ("Tile", ["z", "s"], "y", {})),
        "Tile to the shape",
    ),
    "shape of nine": (
        model(("ConstantOfShape", ["s"], "y", {}), initializers=[shape(2**20, 2**20, *[1] * 7)]),
        "ConstantOfShape to the shape",
    ),
    "shape of twenty": (model(("Expand", ["z", "s"], "y", {}), initializers=[shape(*[2] * 20)]), "Expand to the shape"),
    "shape in numbers": (
        model(("Constant", [], "s", {"value_ints": [2**20, 2**20]}), ("ConstantOfShape", ["s"], "y", {})),
        "ConstantOfShape to the shape",
    ),
    "negative shape": (model(("ConstantOfShape", ["s"], "y", {}), initializers=[shape(-5, 3)]), "ConstantOfShape to the shape"),
    "pads": (model(("Pad", ["z", "s"], "y", {}), initializers=[shape(0, 2**30, 0, 0)]), "a Pad by"),
    "pads on two axes": (model(("Pad", ["z", "s"], "y", {}), initializers=[shape(2**15, 2**15, 0, 0)]), "a Pad by"),
    "pads of old": (model(("Pad", ["z"], "y", {"pads": [0, 0, 0, 2**40]})), "a Pad by"),
    "pads of nine axes": (model(("Pad", ["z", "s"], "y", {}), initializers=[shape(*[0] * 17, 2**40)]), "a Pad by"),
    **{
        f"range of {kind}": (
            model(("Range", ["a", "b", "a"], "y", {}), initializers=[scalar("a", 1, kind), scalar("b", 2**30, kind)]),
            "a Range from 1 to",
        )
        for kind in ("float32", "float64", "int32")
    },
    "range without a step": (
        model(("Range", ["a", "b", "c"], "y", {}), initializers=[scalar(name, 0, "float32") for name in "abc"]),
        "a Range from 0 to 0 by 0",
    ),
    "range written out": (
        model(("Range", ["a", "b", "a"], "y", {}), initializers=[written_out("a", 1.0), written_out("b", 1e14)]),
        "a Range from 1 to",
    ),
    "range": (
        model(("Range", ["a", "s", "a"], "y", {}), initializers=[numpy_helper.from_array(np.array(1), "a"), shape(HUGE)]),
        "a Range from 1 to",
    ),
    "scales": (model(("Resize", ["z", "", "s"], "y", {}), initializers=[factors(1, 1, 2**15, 2**15)]), "operation Resize by"),
    "scales in a constant": (
        model(("Constant", [], "s", {"value_floats": [1.0, 1e20]}), ("Resize", ["z", "", "s"], "y", {})),
        "operation Resize by",
    ),
    "scales written out": (
        model(
            ("Resize", ["z", "", "s"], "y", {}),
            initializers=[helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0**30])],
        ),
        "operation Resize by",
    ),
    "scales of old": (model(("Upsample", ["z"], "y", {"scales": [1.0, 2.0**30]})), "operation Upsample by"),
    "scales of less old": (model(("Upsample", ["z", "s"], "y", {}), initializers=[factors(1, 2**30)]), "operation Upsample by"),
    "scales of 18 sides": (model(("Resize", ["z", "", "s"], "y", {}), initializers=[factors(*[1] * 17, 1e9)]), "Resize by"),
    "scales before their constant": (
        model(("Resize", ["z", "", "s"], "y", {}), ("Constant", [], "s", {"value_floats": [1.0, 1e20]})),
        "Resize by",
    ),
    "numbers written twice": (
        model(
            ("ConstantOfShape", ["s"], "y", {}), initializers=[numbers_in(TensorProto.INT64, int32_data=[0], int64_data=[HUGE])]
        ),
        "damaged",
    ),
    "int32 of more bits": (
        model(
            ("Range", ["a", "s", "a"], "y", {}),
            initializers=[scalar("a", 1, "int32"), numbers_in(TensorProto.INT32, unknown=b"\x28" + varint(2**63 + 2**30))],
        ),
        "a Range from 1 to",
    ),
    "constant of two values": (
        model(("Constant", [], "s", {"value_ints": [HUGE], "value_floats": [1.0]}), ("ConstantOfShape", ["s"], "y", {})),
        "more than one value",
    ),
    "loop": (model(("Loop", ["n", "c", "z"], "y", {"body": BODY})), "a Loop, which may have no end"),
    "random": (model(("RandomNormalLike", ["z"], "y", {})), "no image belongs to its seed"),
    "statistics of the batch": (
        model(("BatchNormalization", ["z", "s", "b", "m", "v"], "y", {"training_mode": 1})),
        "a BatchNormalization in training mode: an image would depend on the others in its batch",
    ),
    "function of itself": (model(("f", ["z"], "y", {"domain": "own"}), functions=[looping_function("f")]), "calls itself"),
}


def repeated_graph():
    random = model(("RandomNormalLike", ["z"], "y", {}))
    return random.SerializeToString() + onnx.ModelProto(graph=onnx.GraphProto(name="g")).SerializeToString()


def long_tag():
    """A node under a field number that wraps to that of nodes in 32 bits."""
    node = helper.make_node("RandomNormalLike", ["z"], ["y"]).SerializeToString()
    graph = b"\x8a\x80\x80\x80\x10" + bytes([len(node)]) + node
    return onnx.ModelProto(ir_version=9).SerializeToString() + b"\x3a" + bytes([len(graph)]) + graph


@pytest.mark.parametrize("content", [repeated_graph(), long_tag()], ids=["two graphs", "long tag"])
def test_what_onnxruntime_would_read_otherwise_is_refused(content):
    with pytest.raises(ModelFormatError, match="damaged"):
        Sampler(content)


def test_mark_of_the_other_format_hides_nothing(tmp_path):
    proto = model(("RandomNormalLike", ["z"], "y", {}))
    proto.ir_version, proto.producer_name = 9, "ORTM"
    content = proto.SerializeToString()
    assert content[4:8] == b"ORTM"
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(ModelFormatError, match="no image belongs to its seed"):
        Sampler(tmp_path / "x.onnx")
    with pytest.raises(ModelFormatError):
        Sampler(content)


def test_tensor_with_two_raw_fields_is_refused():
    """onnxruntime would take the last."""
    twice = shape(5).SerializeToString() + b"\x4a\x08" + HUGE.to_bytes(8, "little")
    graph = model(("ConstantOfShape", ["s"], "y", {})).graph.SerializeToString() + b"\x2a" + bytes([len(twice)]) + twice
    content = b"\x08\x09\x3a" + varint(len(graph)) + graph
    with pytest.raises(ModelFormatError, match="damaged"):
        read_nodes(content)


def test_region_of_interest_is_no_factor():
    region = numpy_helper.from_array(np.array([0, 0, 20_000, 20_000], np.float32), "r")
    proto = model(("Resize", ["z", "r", "s"], "y", {}), initializers=[region, factors(1, 2)])
    assert [node.kind for node in read_nodes(proto.SerializeToString())] == ["Resize"]


def test_function_with_the_name_of_an_operation_is_no_loop():
    body = [helper.make_node("Tanh", ["a"], ["b"])]
    function = helper.make_function("own", "Tanh", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    assert read_nodes(model(("Tanh", ["z"], "y", {"domain": "own"}), functions=[function]).SerializeToString())


@pytest.mark.parametrize("name", HOSTILE)
def test_harmful_file_is_refused_in_no_time(name):
    proto, words = HOSTILE[name]
    content = proto.SerializeToString()
    tracemalloc.start()
    started = time.thread_time()  # what other programs take does not count
    with pytest.raises(ModelFormatError, match=words) as caught:
        Sampler(content)
    assert time.thread_time() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 5e7
    tracemalloc.stop()
    assert len(str(caught.value)) < 500


def test_many_functions_of_one_name_and_many_branches_are_read_in_little_time():
    function = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Tanh", ["a"], ["b"])], [])
    branch = helper.make_graph([], "inner", [], [])
    proto = model(
        *[("If", ["z"], "y", {"then_branch": branch, "else_branch": branch})] * 20_000,
        initializers=[scalar(f"n{place}", 1, "int64") for place in range(20_000)],
        functions=[function] * 20_000,
    )
    content = proto.SerializeToString()
    started = time.thread_time()
    assert len(read_nodes(content)) == 20_000
    assert time.thread_time() - started < 4  # 12 s, where each is compared with all the others


def test_unknown_domain_is_refused():
    with pytest.raises(ModelFormatError, match="own"):
        Sampler(model(("Unheard", ["z"], "y", {"domain": "own"})).SerializeToString())


def test_output_that_claims_too_much_is_refused():
    with pytest.raises(ModelError):
        Sampler(model(("Tanh", ["z"], "y", {}), output=("n", 3, HUGE, HUGE)).SerializeToString())


@pytest.mark.parametrize(
    ("location", "entries", "words"),
    [
        ("../secret", {}, "outside of its folder"),
        ("/etc/passwd", {}, "outside of its folder"),
        ("C:\\secret", {}, "outside of its folder"),
        ("a/../../secret", {}, "outside of its folder"),
        ("link", {}, "no file in its folder"),
        ("none", {}, "no file in its folder"),
        ("", {}, "no file in its folder"),
        ("data", {"offset": 8, "length": 16}, "which has 16 bytes"),
        ("data", {"offset": -8, "length": 16}, "which has 16 bytes"),
        ("data", {"offset": "x"}, "no numbers"),
    ],
)
def test_weights_elsewhere_are_refused(tmp_path, location, entries, words):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "data").write_bytes(bytes(16))
    path = folder / "x.onnx"
    path.write_bytes(model(initializers=[external(location, **entries)]).SerializeToString())
    with pytest.raises(ModelFormatError, match=words):
        Sampler(path)


def test_weights_in_a_file_beside_are_read(tmp_path):
    onnx.save_model(tiny_model(), tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=100)
    np.testing.assert_array_equal(
        Sampler(tmp_path / "x.onnx").sample(range(3)), Sampler(tiny_model().SerializeToString()).sample(range(3))
    )
    with pytest.raises(ModelFormatError, match="which bytes do not bring along"):
        Sampler((tmp_path / "x.onnx").read_bytes())


def test_fingerprint_is_of_the_file_and_of_the_weights_beside_it(tmp_path):
    content = tiny_model().SerializeToString()
    (tmp_path / "alone.onnx").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert Sampler(content).fingerprint() == Sampler(tmp_path / "alone.onnx").fingerprint() == expected

    onnx.save_model(tiny_model(), tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=100)
    before = Sampler(tmp_path / "x.onnx").fingerprint()
    weights = bytearray((tmp_path / "x.data").read_bytes())
    weights[3] ^= 1
    (tmp_path / "x.data").write_bytes(weights)
    sampler = Sampler(tmp_path / "x.onnx")
    assert sampler.fingerprint() != before
    os.utime(tmp_path / "x.onnx")
    with pytest.raises(ModelFormatError, match="has changed since it was opened"):
        sampler.fingerprint()
    (tmp_path / "x.onnx").unlink()
    with pytest.raises(ModelNotFoundError):
        sampler.fingerprint()


def test_operations_are_listed(tmp_path):
    proto = tiny_model()
    path = tmp_path / "x.onnx"
    path.write_bytes(proto.SerializeToString())
    for source in (path, proto.SerializeToString()):
        assert [node.kind for node in read_nodes(source)] == [node.op_type for node in proto.graph.node]
        assert [node.inputs for node in read_nodes(source)] == [tuple(node.input) for node in proto.graph.node]


def test_depth_of_graphs_is_bounded():
    inner = helper.make_graph([], "inner", [], [])
    for _ in range(20):
        inner = helper.make_graph([helper.make_node("If", ["c"], [], then_branch=inner)], "outer", [], [])
    with pytest.raises(ModelFormatError, match="graphs within graphs"):
        Sampler(helper.make_model(inner).SerializeToString())
