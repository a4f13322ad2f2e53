"""The shapes and numbers that are known before a graph runs are those that onnxruntime computes."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from ganport.runtime.external_data import WeightFiles
from ganport.runtime.graph_numbers import numbers_of
from ganport.runtime.graph_shapes import broadcast, sizes_of_outputs
from ganport.runtime.graph_values import Call, Known, UnknownSizeError
from ganport.runtime.onnx_attribute import read_attribute
from ganport.runtime.onnx_tensor import ModelReader

OPSET = 21
IMAGE, MATRIX = np.ones((2, 3, 8, 6), np.float32), np.ones((4, 5), np.float32)
SIDES = {"kernel_shape": [3, 2]}


def ints(*numbers):
    return np.array(numbers, np.int64)


def floats(*numbers):
    return np.array(numbers, np.float32)


def ones(*shape):
    return np.ones(shape, np.float32)


# Operations with their inputs (None for one that is left out), attributes, number of outputs, and opset.
CASES = [
    ("Relu", [IMAGE]),
    ("Add", [IMAGE, ones(6)]),
    ("Where", [np.array(True), ones(3, 1), ones(4)]),
    ("PRelu", [IMAGE, ones(3, 1, 1)]),
    ("Reshape", [IMAGE, ints(0, -1, 4)]),
    ("Reshape", [ones(0, 3), ints(3, 0)], {"allowzero": 1}),
    ("Transpose", [IMAGE], {"perm": [0, 2, 3, 1]}),
    ("Transpose", [MATRIX]),
    *[("Flatten", [IMAGE], {"axis": axis}) for axis in (0, 2, -1)],
    ("Squeeze", [ones(1, 3, 1), ints(0)]),
    ("Squeeze", [ones(1, 3, 1)]),
    ("Squeeze", [ones(1, 3, 1)], {"axes": [2]}, 1, 11),
    ("Unsqueeze", [ones(3, 4), ints(0, -1)]),
    ("Concat", [MATRIX, MATRIX], {"axis": -1}),
    ("Split", [MATRIX, ints(1, 4)], {"axis": 1}, 2),
    ("Split", [MATRIX], {"axis": 1, "num_outputs": 3}, 3),
    ("Split", [MATRIX], {"axis": 0}, 2, 12),
    ("Slice", [IMAGE, ints(1, -5), ints(9, -2), ints(2, 3), ints(2, 1)]),
    ("Slice", [IMAGE, ints(-1), ints(-100), ints(2), ints(-3)]),
    ("Slice", [IMAGE, ints(6), ints(1), ints(-2), ints(-2)]),
    ("Slice", [MATRIX], {"starts": [1], "ends": [3]}, 1, 9),
    ("Gather", [IMAGE, np.zeros((2, 2), np.int64)], {"axis": 1}),
    ("Gather", [MATRIX, np.array(1)]),
    ("GatherElements", [MATRIX, np.zeros((2, 5), np.int64)]),
    ("GatherND", [IMAGE, np.zeros((7, 2), np.int64)]),
    ("ScatterND", [MATRIX, np.zeros((2, 1), np.int64), ones(2, 5)]),
    ("DepthToSpace", [ones(1, 8, 3, 4)], {"blocksize": 2}),
    ("SpaceToDepth", [ones(1, 2, 6, 4)], {"blocksize": 2}),
    ("Expand", [ones(3, 1), ints(2, 1, 6)]),
    ("Tile", [MATRIX, ints(2, 3)]),
    ("Pad", [IMAGE, ints(0, 0, 1, 2, 0, 0, 3, -1)]),
    ("Pad", [IMAGE, ints(1, 2), None, ints(3)]),
    ("Pad", [MATRIX], {"pads": [1, 0, 0, 2]}, 1, 9),
    ("Resize", [IMAGE, None, floats(1, 1, 2, 1.5)]),
    ("Resize", [IMAGE, None, None, ints(2, 3, 5, 7)]),
    ("Resize", [IMAGE, None, floats(3)], {"axes": [2]}),
    ("Upsample", [IMAGE, floats(1, 1, 2, 2)], {}, 1, 9),
    ("OneHot", [ints(0, 1, 2), ints(5), floats(0, 1)]),
    ("OneHot", [ints(0, 1, 2), ints(5), floats(0, 1)], {"axis": 0}),
    ("ConstantOfShape", [ints(2, 3)]),
    ("Range", [np.array(3), np.array(20), np.array(4)]),
    *[(f"{name}Window", [np.array(9)]) for name in ("Hann", "Hamming", "Blackman")],
    (
        "MelWeightMatrix",
        [np.array(4), np.array(16), np.array(8000), np.array(10.0, "f"), np.array(4000.0, "f")],
    ),
    ("EyeLike", [MATRIX]),
    ("GridSample", [IMAGE, ones(2, 5, 4, 2)]),
    ("Col2Im", [ones(1, 6, 9), ints(4, 5), ints(2, 3)]),
    ("CenterCropPad", [IMAGE, ints(4, 9)], {"axes": [2, 3]}),
    ("DFT", [ones(1, 10, 1), np.array(16)], {"onesided": 1}, 1, 20),
    ("DFT", [ones(1, 10, 2)], {"axis": 1}, 1, 17),
    ("STFT", [ones(1, 32, 1), np.array(4), ones(8)], {"onesided": 1}),
    (
        "RoiAlign",
        [ones(1, 3, 8, 8), floats(0, 0, 4, 4).reshape(1, 4), ints(0)],
        {"output_height": 3, "output_width": 2},
    ),
    (
        "MaxUnpool",
        [ones(1, 1, 2, 2), np.zeros((1, 1, 2, 2), np.int64)],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    ("Shape", [IMAGE]),
    ("Shape", [IMAGE], {"start": 1, "end": -1}),
    ("Size", [IMAGE]),
    ("NonZero", [MATRIX]),
    ("Unique", [ints(3, 1, 2)], {}, 4),
    ("Compress", [MATRIX, np.array([True] * 4)], {"axis": 0}),
    ("ReduceMean", [IMAGE, ints(1, -1)]),
    ("ReduceSum", [IMAGE, ints(1)], {"keepdims": 0}),
    ("ReduceMax", [IMAGE]),
    ("ReduceProd", [IMAGE], {"axes": [0, 2], "keepdims": 0}, 1, 13),
    ("ArgMax", [IMAGE], {"axis": 1, "keepdims": 0}),
    ("TopK", [MATRIX, ints(2)], {}, 2),
    ("MatMul", [ones(7, 1, 2, 3), ones(4, 3, 5)]),
    ("MatMul", [ones(3), ones(3, 5)]),
    ("Gemm", [ones(3, 2), ones(5, 3), ones(5)], {"transA": 1, "transB": 1}),
    ("Einsum", [ones(2, 3), ones(3, 4)], {"equation": "ij,jk->ik"}),
    ("Einsum", [ones(2, 3), ones(3, 4)], {"equation": "ij,jk"}),
    ("Conv", [IMAGE, ones(4, 3, 3, 2)], {"pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}),
    ("Conv", [IMAGE, ones(6, 1, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2], "group": 3}),
    (
        "ConvTranspose",
        [IMAGE, ones(3, 4, 3, 3)],
        {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 0], "dilations": [2, 1]},
    ),
    ("ConvTranspose", [IMAGE, ones(3, 4, 2, 2)], {"strides": [2, 2], "output_shape": [16, 13]}),
    ("ConvTranspose", [IMAGE, ones(3, 4, 3, 3)], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ("MaxPool", [IMAGE], {**SIDES, "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", [IMAGE], {**SIDES, "pads": [1, 0, 1, 1]}),
    ("GlobalAveragePool", [IMAGE]),
    ("LSTM", [ones(5, 2, 3), ones(1, 16, 3), ones(1, 16, 4)], {"hidden_size": 4}, 3),
    ("GRU", [ones(5, 2, 3), ones(1, 12, 3), ones(1, 12, 4)], {"hidden_size": 4}, 2),
    ("QuantizeLinear", [MATRIX, np.array(0.1, "f"), np.array(3, np.uint8)]),
]


def make_call(kind, inputs, node):
    """Return the call of an operation whose inputs are known."""
    reader = ModelReader(WeightFiles(None), 1000)
    read = [read_attribute(memoryview(each.SerializeToString()), reader) for each in node.attribute]
    known = [
        None if each is None else Known(each.shape, each.size, 4, each if each.size <= 64 else None, True)
        for each in inputs
    ]
    return Call(kind, known, {each.name: each for each in read}, len(node.output))


def run(kind, inputs, node, opset):
    """Return the outputs of an operation in onnxruntime."""
    tensors = [numpy_helper.from_array(each, f"i{k}") for k, each in enumerate(inputs) if each is not None]
    outputs = [ValueInfoProto(name=name) for name in node.output]  # onnxruntime infers the types
    graph = helper.make_graph([node], "g", [], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {})


def make_node(kind, inputs, attributes, outputs):
    names = ["" if each is None else f"i{index}" for index, each in enumerate(inputs)]
    return helper.make_node(kind, names, [f"o{index}" for index in range(outputs)], **attributes)


def test_shapes_are_those_of_onnxruntime():
    for case in CASES:
        kind, inputs, attributes, outputs, opset = (*case, *({}, 1, OPSET)[len(case) - 2 :])
        node = make_node(kind, inputs, attributes, outputs)
        expected = run(kind, inputs, node, opset)
        call = make_call(kind, inputs, node)
        shapes = list(sizes_of_outputs(call))
        assert shapes[: len(expected)] == [values.shape for values in expected][: len(shapes)], case
        numbers = numbers_of(call, shapes[0])
        if numbers is not None:
            np.testing.assert_allclose(numbers, expected[0], rtol=1e-6, err_msg=str(case))


NUMBERS = [
    *[(kind, [ints(7, -7, 6), ints(2, 2, -4)]) for kind in ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min")],
    *[(kind, [floats(7, -7), floats(2, 4)]) for kind in ("Div", "Pow", "Greater", "Equal")],
    ("Mod", [ints(7, -7), ints(2, 2)], {"fmod": 1}),
    ("Pow", [ints(3, 2), ints(4)]),
    *[(kind, [floats(0.5, 2)]) for kind in ("Exp", "Log", "Sqrt", "Floor", "Ceil", "Round", "Reciprocal")],
    ("Cast", [floats(2.7, -2.7)], {"to": TensorProto.INT64}),
    ("Cast", [ints(300)], {"to": TensorProto.UINT8}),
    ("Clip", [floats(-3, 3), np.array(-1, "f"), np.array(1, "f")]),
    ("Concat", [ints(1), ints(2, 3)], {"axis": 0}),
    ("Gather", [ints(5, 6, 7), ints(-1)]),
    ("Slice", [ints(5, 6, 7, 8), ints(-1), ints(-9), ints(0), ints(-2)]),
    ("Range", [np.array(0.5, "f"), np.array(3.0, "f"), np.array(1.0, "f")]),
    ("ReduceProd", [ints(5, 6, 7)]),
    ("ReduceSum", [MATRIX, ints(0)]),
    ("ConstantOfShape", [ints(3)], {"value": helper.make_tensor("v", TensorProto.INT64, [1], [9])}),
    ("Where", [np.array([True, False]), ints(1, 2), ints(3, 4)]),
    ("Tile", [ints(1, 2), ints(2)]),
    ("Expand", [ints(4), ints(3)]),
    ("Unsqueeze", [np.array(5), ints(0)]),
    ("Identity", [ints(1, 2)]),
    ("Not", [np.array([True, False])]),
]


def test_small_numbers_are_those_of_onnxruntime():
    for case in NUMBERS:
        kind, inputs, attributes = (*case, {})[:3]
        node = make_node(kind, inputs, attributes, 1)
        call = make_call(kind, inputs, node)
        (shape,) = sizes_of_outputs(call)
        expected = run(kind, inputs, node, OPSET)[0]
        np.testing.assert_allclose(numbers_of(call, shape), expected, rtol=1e-6, err_msg=str(case))


def test_unknown_operation_and_unknown_input_have_no_size():
    for call in (
        Call("Unheard", [Known((1,), 1)], {}, 1),
        Call("MatMul", [Known(), Known((2, 3), 6)], {}, 1),
    ):
        with pytest.raises(UnknownSizeError):
            sizes_of_outputs(call)


def test_number_of_elements_is_known_where_the_shape_is_not():
    many = Known(None, 1000)
    assert sizes_of_outputs(Call("Concat", [many, many], {}, 1)) == [2000]
    assert sizes_of_outputs(Call("Reshape", [many, Known((2,), 2)], {}, 1)) == [1000]
    assert broadcast((None, 3), (1, 1)) == (None, 3)
