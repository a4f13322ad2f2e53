"""Small model files that would take much time or memory, for tests of the budget and of isolated models."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]


def model(nodes, tensors=(), functions=(), sparse=(), inputs=("n", 4)):
    """Return the bytes of a model with input z and output y."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, list(inputs))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(tensors),
    )
    graph.sparse_initializer.extend(sparse)
    made = helper.make_model(graph, opset_imports=OPSETS, functions=functions, ir_version=10)
    return made.SerializeToString()


def ints(name, *numbers):
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def scalar(name, value, dtype=np.int64):
    return numpy_helper.from_array(np.array(value, dtype), name)


def ones(name, *shape):
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def added(name):
    """Return nodes that add the sum of a value to tanh(z)."""
    return [
        node("ReduceSum", [name], ["sum"], keepdims=0),
        node("Tanh", ["z"], ["t"]),
        node("Add", ["t", "sum"], ["y"]),
    ]


def filled(name, shape, value=1e-4):
    return node(
        "ConstantOfShape", [shape], [name], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [value])
    )


def calling_functions(levels, calls):
    """Return functions, each of which calls the next one several times."""
    names = ["a", *[f"t{index}" for index in range(calls - 1)], "b"]
    functions = []
    for level in range(levels):
        is_last = level == levels - 1
        kind, domain = ("Tanh", "") if is_last else (f"f{level + 1}", "own")
        body = [node(kind, [names[k]], [names[k + 1]], domain=domain) for k in range(calls)]
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], body, OPSETS))
    return functions


def branch(operation):
    """Return a graph of one operation, for a branch."""
    outputs = [helper.make_tensor_value_info(operation.output[0], TensorProto.FLOAT, None)]
    return helper.make_graph([operation], "branch", [], outputs)


def branches(depth, name="o"):
    """Return an If whose branches are such Ifs again, as deep as stated."""
    if depth == 0:
        return node("Identity", ["z"], [name])
    inner = [branch(branches(depth - 1, name + side)) for side in "01"]
    return node("If", ["c"], [name], then_branch=inner[0], else_branch=inner[1])


CONDITION = [node("ReduceMax", ["z"], ["m"], keepdims=0), node("Cast", ["m"], ["c"], to=TensorProto.BOOL)]


def function_bomb(levels=12, calls=10):
    return model([node("f0", ["z"], ["y"], domain="own")], functions=calling_functions(levels, calls))


def function_bomb_in_a_branch():
    call = [node("f0", ["z"], [name], domain="own") for name in "pq"]
    choice = node("If", ["c"], ["y"], then_branch=branch(call[0]), else_branch=branch(call[1]))
    return model([*CONDITION, choice], functions=calling_functions(6, 10))


def shape_from_the_attribute_of_a_function():
    body = [node("Constant", [], ["s"]), filled("c", "s"), node("Add", ["a", "c"], ["b"])]
    ints_type = onnx.AttributeProto.INTS
    body[0].attribute.append(onnx.AttributeProto(name="value_ints", ref_attr_name="size", type=ints_type))
    function = helper.make_function("own", "f", ["a"], ["b"], body, OPSETS, attributes=["size"])
    call = node("f", ["z"], ["y"], domain="own", size=[2**28])
    return model([call], functions=[function])


def matrix_chain():
    products = [node("MatMul", [f"c{k}"] * 2, [f"c{k + 1}"]) for k in range(20)]
    return model([filled("c0", "s"), *products, *added("c20")], [ints("s", 2048, 2048)])


def matrices_of_the_input():
    products = [node("MatMul", [f"c{k}"] * 2, [f"c{k + 1}"]) for k in range(200)]
    start = [filled("ones", "s"), node("ReduceMax", ["z"], ["m"]), node("Mul", ["ones", "m"], ["c0"])]
    return model([*start, *products, *added("c200")], [ints("s", 4096, 4096)])


def concat_doubling():
    doublings = [node("Concat", [f"c{k}"] * 2, [f"c{k + 1}"], axis=0) for k in range(30)]
    return model([filled("c0", "s"), *doublings, *added("c30")], [ints("s", 1)])


def sequence_doubling():
    doublings = []
    for k in range(30):
        doublings.append(node("SequenceConstruct", [f"c{k}"] * 2, [f"q{k}"]))
        doublings.append(node("ConcatFromSequence", [f"q{k}"], [f"c{k + 1}"], axis=0))
    return model([filled("c0", "s"), *doublings, *added("c30")], [ints("s", 1)])


def many_constants():
    parts = [filled(f"c{k}", "s", value=k) for k in range(8)]
    total = node("Sum", [f"c{k}" for k in range(8)], ["c"])
    return model([*parts, total, *added("c")], [ints("s", 2**25)])


def chain(count=20_000):
    names = ["z", *[f"v{k}" for k in range(count - 1)], "y"]
    return model([node("Tanh", [names[k]], [names[k + 1]]) for k in range(count)])


def sparse_tensors():
    made = [
        helper.make_sparse_tensor(
            helper.make_tensor(f"w{k}", TensorProto.FLOAT, [1], [1.0]), ints(f"i{k}", 3), [2**26]
        )
        for k in range(4)
    ]
    return model([node("Sum", [f"w{k}" for k in range(4)], ["w"]), *added("w")], sparse=made)


def dequantised():
    small = helper.make_tensor("v", TensorProto.UINT8, [1], [7])
    part = node("ConstantOfShape", ["s"], ["c"], value=small)
    floats = [node("DequantizeLinear", ["c", "scale"], [f"d{k}"]) for k in range(4)]
    total = node("Sum", [f"d{k}" for k in range(4)], ["d"])
    return model([part, *floats, total, *added("d")], [ints("s", 2**25), scalar("scale", 0.1, np.float32)])


def image_of(*operations, tensors, fixed=False):
    """Return a model whose operations compute e from i, an image of 2x2 values."""
    nodes = [
        node("Reshape", ["z", "image"], ["i"]),
        *operations,
        node("ReduceSum", ["e", "axes"], ["r"], keepdims=0),
        node("Reshape", ["r", "column"], ["rr"]),
        node("Add", ["z", "rr"], ["y"]),
    ]
    shapes = [ints("image", 1 if fixed else -1, 1, 2, 2), ints("axes", 1, 2, 3), ints("column", -1, 1)]
    return model(nodes, [*shapes, *tensors], inputs=(1, 4) if fixed else ("n", 4))


def largest_of_a_batch(nodes, tensors):
    """Return a model whose nodes compute e from z; y is z plus the largest value of each row of e."""
    return model(
        [*nodes, node("ReduceMax", ["e", "rows"], ["r"]), node("Add", ["z", "r"], ["y"])],
        [ints("rows", 1), *tensors],
    )


def power_of_the_batch():
    """The shape is harmless for one image, and huge for four."""
    nodes = [
        node("Shape", ["z"], ["s"], end=1),
        node("Pow", ["s", "k"], ["p"]),
        filled("c", "p"),
        *added("c"),
    ]
    return model(nodes, [ints("k", 18)])


def outer_products():
    """The values of a batch are multiplied with each other, three times, without a shape from constants."""
    nodes = [node("ReduceMax", ["z", "rows"], ["c0"])]
    for k in range(3):
        nodes.append(node("Reshape", [f"c{k}", "column"], [f"a{k}"]))
        nodes.append(node("Transpose", [f"a{k}"], [f"b{k}"]))
        nodes.append(node("Mul", [f"a{k}", f"b{k}"], [f"c{k + 1}"]))
    return model([*nodes, *added("c3")], [ints("column", -1, 1), ints("rows", 1)])


def many_messages(kind, count=70_000):
    """Return a model with very many small messages, each of which has two fields or more."""
    made = onnx.load_from_string(model([node("Tanh", ["z"], ["y"])]))
    if kind == "initializers":
        made.graph.initializer.extend(TensorProto(name=f"{k:x}", dims=[0]) for k in range(count))
    elif kind == "inputs":
        made.graph.input.extend(onnx.ValueInfoProto(name=f"{k:x}") for k in range(count))
    else:
        made.graph.node[0].input.extend([""] * 2 * count)
    return made.SerializeToString()


def overlapping_weights(folder, count=200):
    """Write a model whose tensors all lie in the same bytes of a second file, and return its path."""
    (folder / "data").write_bytes(bytes(2**21))
    made = onnx.load_from_string(model([node("Tanh", ["z"], ["y"])]))
    for k in range(count):
        tensor = made.graph.initializer.add(name=f"w{k}", data_type=TensorProto.FLOAT, dims=[2**19])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="data")
    (folder / "x.onnx").write_bytes(made.SerializeToString())
    return folder / "x.onnx"


def random_window(kind):
    return model([node(f"{kind}Window", ["s"], ["w"]), *added("w")], [scalar("s", 2**29)])


# Dict from what a file does to a function that returns the file, and a part of the error message.
BOMBS = {
    "functions that call each other": (function_bomb, "1,111,111,111,111 operations in the file, after"),
    "functions in a branch": (function_bomb_in_a_branch, "operations in the file, after its functions"),
    **{
        f"{kind} window": (lambda kind=kind: random_window(kind), f"to an operation '{kind}Window'")
        for kind in ("Hann", "Hamming", "Blackman")
    },
    "constant": (lambda: model([filled("c", "s"), *added("c")], [ints("s", 2**28)]), "bytes of constants"),
    "constants that add up": (many_constants, "bytes of constants when it is opened"),
    "shape from the attribute of a function": (shape_from_the_attribute_of_a_function, "bytes of constants"),
    "products of constant matrices": (matrix_chain, "multiply-adds when it is opened, .* 'MatMul'"),
    "products of matrices": (matrices_of_the_input, "multiply-adds for one image, .* 'MatMul'"),
    "doubling": (concat_doubling, "bytes of constants .* 'Concat'"),
    "doubling of sequences": (sequence_doubling, "bytes of constants .* 'SequenceConstruct'"),
    "many operations": (chain, "16,385 operations in the file"),
    "many operations but constants": (lambda: chain(5000), "5,000 operations in the file, after"),
    "many branches": (
        lambda: model([*CONDITION, branches(10), node("Identity", ["o"], ["y"])]),
        "1,025 graphs in the file",
    ),
    "sparse tensors": (sparse_tensors, "bytes of sparse tensors"),
    "small numbers that become floats": (dequantised, "bytes of constants .* 'DequantizeLinear'"),
    "Expand": (
        lambda: model([node("Expand", ["one", "s"], ["e"]), *added("e")], [ones("one", 1), ints("s", 2**27)]),
        "bytes of constants .* 'Expand'",
    ),
    "Expand of texts": (
        lambda: model(
            [node("Expand", ["a", "s"], ["e"]), node("Equal", ["e", "a"], ["b"]), *added("z")],
            [numpy_helper.from_array(np.array(["a"], object), "a"), ints("s", 2**25)],
        ),
        "bytes of constants .* 'Expand'",
    ),
    "Range by arithmetic": (
        lambda: model(
            [node("Mul", ["a", "a"], ["b"]), node("Range", ["o", "b", "i"], ["r"]), *added("z")],
            [scalar("a", 2**14), scalar("o", 0), scalar("i", 1)],
        ),
        "bytes of constants .* 'Range'",
    ),
    "OneHot": (
        lambda: model(
            [node("Range", ["o", "d", "i"], ["r"]), node("OneHot", ["r", "depth", "v"], ["h"]), *added("h")],
            [scalar("d", 512), scalar("o", 0), scalar("i", 1), scalar("depth", 2**20), ones("v", 2)],
        ),
        "bytes of constants .* 'OneHot'",
    ),
    "EyeLike": (
        lambda: model(
            [filled("c", "s"), node("EyeLike", ["c"], ["e"], dtype=TensorProto.DOUBLE), *added("z")],
            [ints("s", 2**12, 2**13)],
        ),
        "bytes of constants .* 'EyeLike'",
    ),
    "Gather of many rows": (
        lambda: model(
            [
                node(
                    "ConstantOfShape",
                    ["s"],
                    ["i"],
                    value=helper.make_tensor("v", TensorProto.INT64, [1], [0]),
                ),
                node("Gather", ["row", "i"], ["g"]),
                *added("g"),
            ],
            [ints("s", 2**14), ones("row", 1, 2**13)],
        ),
        "bytes of constants .* 'Gather'",
    ),
    "Einsum": (
        lambda: model(
            [node("Einsum", ["a"] * 3, ["e"], equation="i,j,k->ijk"), *added("e")], [ones("a", 500)]
        ),
        "bytes of constants .* 'Einsum'",
    ),
    "Fourier transform": (
        lambda: model(
            [filled("c", "s"), node("DFT", ["c", "n"], ["d"]), *added("d")],
            [ints("s", 1, 3, 1), scalar("n", 2**23)],
        ),
        "multiply-adds when it is opened, .* 'DFT'",
    ),
    "Tile of the input": (
        lambda: largest_of_a_batch([node("Tile", ["z", "s"], ["e"])], [ints("s", 1, 2**28)]),
        "bytes of memory for one image, .* 'Tile'",
    ),
    "Pads of the input that add up": (
        lambda: largest_of_a_batch(
            [
                *[node("Pad", ["z", "p"], [f"e{k}"]) for k in range(5)],
                node("Sum", [f"e{k}" for k in range(5)], ["e"]),
            ],
            [ints("p", 0, 0, 0, 2**27)],
        ),
        "bytes of memory for one image, .* 'Pad'",
    ),
    "Resize": (
        lambda: image_of(
            node("Resize", ["i", "", "f"], ["e"]),
            tensors=[numpy_helper.from_array(np.array([1, 1, 2**14, 2**13], np.float32), "f")],
        ),
        "for one image, .* 'Resize'",
    ),
    "cubic Resize": (
        lambda: image_of(
            node("Resize", ["i", "", "", "s"], ["e"], mode="cubic"),
            tensors=[ints("s", 1, 1, 2**14, 2**13)],
            fixed=True,
        ),
        "multiply-adds for one image, .* 'Resize'",
    ),
    "strides": (
        lambda: image_of(
            node("ConvTranspose", ["i", "w"], ["e"], strides=[2**15, 2**15]), tensors=[ones("w", 1, 1, 9, 9)]
        ),
        "bytes of memory for one image, .* 'ConvTranspose'",
    ),
    "padding of a convolution": (
        lambda: image_of(node("Conv", ["i", "w"], ["e"], pads=[2**13] * 4), tensors=[ones("w", 1, 1, 1, 1)]),
        "bytes of memory for one image, .* 'Conv'",
    ),
    "large kernel": (
        lambda: image_of(
            node("Resize", ["i", "", "f"], ["j"]),
            node("MaxPool", ["j"], ["e"], kernel_shape=[513, 513]),
            tensors=[numpy_helper.from_array(np.array([1, 1, 1024, 1024], np.float32), "f")],
        ),
        "multiply-adds for one image, .* 'MaxPool'",
    ),
    "samples of RoiAlign": (
        lambda: image_of(
            node(
                "RoiAlign", ["i", "w", "b"], ["e"], output_height=2**10, output_width=2**10, sampling_ratio=64
            ),
            tensors=[ones("w", 1, 4), ints("b", 0)],
        ),
        "for one image, .* 'RoiAlign'",
    ),
    "steps of an LSTM": (
        lambda: model(
            [
                node("ReduceMax", ["z"], ["m"], keepdims=0),
                node("Expand", ["m", "s"], ["x"]),
                node("LSTM", ["x", "w", "r"], ["e"], hidden_size=64),
                *added("e"),
            ],
            [ints("s", 2**22, 1, 1), ones("w", 1, 256, 1), ones("r", 1, 256, 64)],
        ),
        "for one image, .* 'LSTM'",
    ),
    "power of the batch": (power_of_the_batch, "for 4 images, .* 'ConstantOfShape'"),
    "outer products of a batch": (outer_products, "for 64 images, .* 'Mul'"),
}
