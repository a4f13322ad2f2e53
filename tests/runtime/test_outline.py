"""What the outline of a graph tells of its constants and of the attributes of its operations."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime.errors import ModelFormatError
from ganport.runtime.onnx_file import Constant, read_outline


def content_of(*nodes, initializers=(), opsets=(("", 17),), sparse=()):
    graph = helper.make_graph(
        list(nodes), "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])], list(initializers)
    )
    graph.sparse_initializer.extend(sparse)
    imports = [helper.make_opsetid(*opset) for opset in opsets]
    return helper.make_model(graph, opset_imports=imports).SerializeToString()


def outline_of(*nodes, **settings):
    return read_outline(content_of(*nodes, **settings))


def constant_of(tensor):
    return outline_of(initializers=[tensor]).constants[tensor.name]


TYPES = {
    "float32": ("float32", [0.5, -1.0]),
    "float16": ("float16", [0.5, -2.0]),
    "float64": ("float64", [0.1, -1e300]),
    "uint8": ("uint8", [0, 255]),
    "int8": ("int8", [-128, 127]),
    "uint16": ("uint16", [0, 65535]),
    "int16": ("int16", [-32768, 7]),
    "uint32": ("uint32", [0, 2**32 - 1]),
    "int32": ("int32", [-(2**31), 5]),
    "uint64": ("uint64", [0, 2**64 - 1]),
    "int64": ("int64", [-(2**63), 9]),
    "bool": ("bool", [True, False]),
}


@pytest.mark.parametrize("name", TYPES)
def test_numbers_of_each_type_are_read_from_raw_bytes_and_from_typed_fields(name):
    dtype, numbers = TYPES[name]
    raw = numpy_helper.from_array(np.array(numbers, dtype), "c")
    typed = helper.make_tensor("c", raw.data_type, [2], np.array(numbers, dtype))
    assert raw.raw_data
    assert not typed.raw_data
    for tensor in (raw, typed):
        assert constant_of(tensor) == Constant((2,), tuple(numbers))


@pytest.mark.parametrize("is_raw", [True, False])
def test_numbers_of_bfloat16_are_read(is_raw):
    values = np.array([1.0, -0.5], np.float32)
    tensor = helper.make_tensor("c", TensorProto.BFLOAT16, [2], values)
    if is_raw:
        upper_halves = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        tensor = TensorProto(name="c", data_type=TensorProto.BFLOAT16, dims=[2], raw_data=upper_halves)
    assert constant_of(tensor) == Constant((2,), (1.0, -0.5))


def test_shape_of_a_constant_is_read_and_its_numbers_if_they_are_few():
    values = {
        "scalar": np.float32(127.5),
        "few": np.arange(16, dtype=np.float32).reshape(2, 8),
        "many": np.zeros(17, np.float32),
        "weights": np.zeros((10, 128), np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }
    tensors = [numpy_helper.from_array(np.asarray(each), name) for name, each in values.items()]
    assert outline_of(initializers=tensors).constants == {
        "scalar": Constant((), (127.5,)),
        "few": Constant((2, 8), tuple(range(16))),
        "many": Constant((17,), None),
        "weights": Constant((10, 128), None),
        "empty": Constant((0, 3), ()),
    }


def test_constant_without_numbers_has_a_shape():
    text = helper.make_tensor("text", TensorProto.STRING, [1], [b"a"])
    small = helper.make_tensor("small", TensorProto.INT4, [2], [1, -2])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [3])
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0]), indices, [5]
    )
    assert outline_of(initializers=[text, small], sparse=[sparse]).constants == {
        "text": Constant((1,), None),
        "small": Constant((2,), None),
        "sparse": Constant((5,), None),
    }


def test_tensor_of_the_wrong_size_has_no_numbers():
    """onnxruntime rejects such a tensor, so no number of it may be relied on."""
    tensor = TensorProto(
        name="c", data_type=TensorProto.FLOAT, dims=[2], raw_data=np.zeros(3, "<f4").tobytes()
    )
    assert constant_of(tensor) == Constant((2,), None)
    tensor.raw_data = tensor.raw_data[:6]
    assert constant_of(tensor) == Constant((2,), None)


CONSTANTS = {
    "value": (
        numpy_helper.from_array(np.array([[1.0, 2.0]], np.float16)),
        Constant((1, 2), (1.0, 2.0)),
    ),
    "value_float": (0.25, Constant((), (0.25,))),
    "value_int": (-3, Constant((), (-3,))),
    "value_floats": ([0.5, 1.5], Constant((2,), (0.5, 1.5))),
    "value_ints": ([3, -4, 5], Constant((3,), (3, -4, 5))),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_output_of_a_constant_operation_is_a_constant(name):
    value, expected = CONSTANTS[name]
    node = helper.make_node("Constant", [], ["c"], **{name: value})
    assert outline_of(node).constants == {"c": expected}


def test_long_lists_in_a_constant_operation_have_a_shape_and_no_numbers():
    for name, value in (("value_ints", [300] * 50), ("value_floats", [0.5] * 17)):
        node = helper.make_node("Constant", [], ["c"], **{name: value})
        assert outline_of(node).constants == {"c": Constant((len(value),), None)}


def test_packed_list_of_integers_is_counted():
    """Some writers pack the integers of a list into one field."""
    packed = b"\x42\x04\x01\xac\x02\x05"  # field 8: 1, 300, 5
    attribute = (
        onnx.AttributeProto(name="value_ints", type=onnx.AttributeProto.INTS).SerializeToString() + packed
    )
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(onnx.AttributeProto.FromString(attribute))
    assert list(node.attribute[0].ints) == [1, 300, 5]
    in_node = helper.make_node("Constant", [], ["c"]).SerializeToString()
    in_node += b"\x2a" + bytes([len(attribute)]) + attribute
    graph = b"\x0a" + bytes([len(in_node)]) + in_node
    outline = read_outline(b"\x08\x09\x3a" + bytes([len(graph)]) + graph)
    assert outline.constants == {"c": Constant((3,), (1, 300, 5))}


def test_constants_of_branches_are_not_those_of_the_graph():
    inner = helper.make_graph(
        [], "inner", [], [], [numpy_helper.from_array(np.zeros(2, np.float32), "inner")]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    outer = numpy_helper.from_array(np.array(1.0, np.float32), "outer")
    assert list(outline_of(node, initializers=[outer]).constants) == ["outer"]


def test_numbers_in_attributes_are_read():
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        kernel_shape=[3, 3],
        pads=[0] * 32,
        group=2,
        alpha=0.25,
        scales=[1.0, 2.0],
        auto_pad="SAME_UPPER",
        too_long=[1] * 33,
        zero=0,
    )
    assert outline_of(node).nodes[0].attributes == {
        "kernel_shape": (3, 3),
        "pads": (0,) * 32,
        "group": 2,
        "alpha": 0.25,
        "scales": (1.0, 2.0),
        "zero": 0,
    }
    assert outline_of(helper.make_node("Tanh", ["x"], ["y"])).nodes[0].attributes == {}


def test_type_of_an_attribute_decides_which_number_it_holds():
    """Some writers fill the unused fields with zeros, and leave out a number that is 0."""
    node = helper.make_node("Gemm", ["a", "b"], ["y"])
    kinds = onnx.AttributeProto
    node.attribute.extend(
        [
            onnx.AttributeProto(name="alpha", type=kinds.FLOAT, f=0.5, i=0),
            onnx.AttributeProto(name="transB", type=kinds.INT, i=1, f=0.0),
            onnx.AttributeProto(name="transA", type=kinds.INT),
            onnx.AttributeProto(name="untyped", i=7),
            onnx.AttributeProto(name="undecided", i=7, f=1.0),
            onnx.AttributeProto(name="nothing", type=kinds.INTS),
        ]
    )
    assert outline_of(node).nodes[0].attributes == {
        "alpha": 0.5,
        "transB": 1,
        "transA": 0,
        "untyped": 7,
        "nothing": (),
    }


def test_constant_with_two_values_is_rejected():
    """onnxruntime would use one of them, which may not be the one that is read."""
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(onnx.AttributeProto(name="value_int", type=onnx.AttributeProto.INT, i=1, f=2.0))
    with pytest.raises(ModelFormatError, match="more than one value"):
        outline_of(node)


@pytest.mark.parametrize(
    ("opsets", "expected"),
    [
        ([("", 21)], 21),
        ([("ai.onnx", 13)], 13),
        ([("own", 3), ("", 17), ("ai.onnx.ml", 5)], 17),
        ([("own", 3)], None),
    ],
)
def test_opset_is_that_of_the_operations_of_onnx(opsets, expected):
    assert outline_of(opsets=opsets).opset == expected


def test_numbers_in_a_file_beside_the_model_are_read(tmp_path):
    tensors = [
        numpy_helper.from_array(np.array(127.5, np.float32), "half"),
        numpy_helper.from_array(np.arange(3), "shape"),
        numpy_helper.from_array(np.ones((4, 5), np.float32), "weights"),
    ]
    onnx.save_model(
        onnx.load_from_string(content_of(initializers=tensors)),
        tmp_path / "x.onnx",
        save_as_external_data=True,
        location="data",
        size_threshold=0,
    )
    assert read_outline(tmp_path / "x.onnx").constants == {
        "half": Constant((), (127.5,)),
        "shape": Constant((3,), (0, 1, 2)),
        "weights": Constant((4, 5), None),
    }


def test_harmful_shape_in_a_file_beside_the_model_is_rejected(tmp_path):
    node = helper.make_node("ConstantOfShape", ["s"], ["y"])
    content = content_of(node, initializers=[numpy_helper.from_array(np.array([2**40]), "s")])
    onnx.save_model(
        onnx.load_from_string(content),
        tmp_path / "x.onnx",
        save_as_external_data=True,
        location="data",
        size_threshold=0,
    )
    with pytest.raises(ModelFormatError, match="ConstantOfShape to the shape"):
        read_outline(tmp_path / "x.onnx")


def test_outline_of_a_pretrained_generator_has_the_last_constants():
    from ganport.runtime import PRETRAINED

    outline = read_outline(PRETRAINED["mnist"])
    model = onnx.load(PRETRAINED["mnist"])
    assert outline.opset == next(each.version for each in model.opset_import if not each.domain)
    assert outline.path == PRETRAINED["mnist"]
    expected = {each.name: tuple(each.dims) for each in model.graph.initializer}
    assert {name: each.shape for name, each in outline.constants.items()} == expected
