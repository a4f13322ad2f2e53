"""Small third-party graphs, built by hand: inputs, outputs and types that other exporters write."""

import re

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper

from ganport.runtime import to_uint8

DIM, LABELS, SIDE = 6, 5, 6
RNG = np.random.default_rng(7)
WEIGHTS = RNG.standard_normal((DIM, SIDE * SIDE)).astype(np.float32)
CODES = RNG.standard_normal((LABELS, SIDE * SIDE)).astype(np.float32)
KINDS = {np.dtype("float16"): TensorProto.FLOAT16, np.dtype("float64"): TensorProto.DOUBLE}


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def graph_of(nodes, inputs, outputs, **constants):
    """Return the bytes of a model. The last output of the nodes is turned into images by each test."""
    known = {"w": WEIGHTS, "codes": CODES, "image_shape": np.array([-1, 1, SIDE, SIDE]), **constants}
    used = {name for node in nodes for name in node.input}
    stored = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in known.items() if name in used
    ]
    graph = helper.make_graph(nodes, "third-party", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def node(kind, inputs, output, **settings):
    return helper.make_node(kind, inputs.split(), [output], **settings)


IMAGE = tensor("image", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
Z = tensor("z", TensorProto.FLOAT, ["n", DIM])
TANH = [node("Tanh", "sum", "flat"), node("Reshape", "flat image_shape", "image")]


def expected(latents, codes=None):
    values = latents @ WEIGHTS + (0 if codes is None else codes)
    return to_uint8(np.tanh(values).reshape(-1, SIDE, SIDE, 1).astype(np.float32))


def close(images, reference):
    assert images.shape == reference.shape
    return np.abs(images.astype(int) - reference).max() <= 1


def index_model(shape=("n",), kind=TensorProto.INT64, name="label"):
    nodes = [node("MatMul", "z w", "dense")]
    source = name
    if len(shape) == 2:
        nodes.append(node("Squeeze", f"{name} axis", "row"))
        source = "row"
    nodes += [node("Gather", f"codes {source}", "code"), node("Add", "dense code", "sum"), *TANH]
    return graph_of(nodes, [Z, tensor(name, kind, list(shape))], [IMAGE], axis=np.array([1]))


def one_hot_model(name="onehot"):
    nodes = [
        node("MatMul", "z w", "dense"),
        node("MatMul", f"{name} codes", "code"),
        node("Add", "dense code", "sum"),
        *TANH,
    ]
    return graph_of(nodes, [Z, tensor(name, TensorProto.FLOAT, ["n", LABELS])], [IMAGE])


def joined_model(at=DIM):
    """Return a model of one input: some latents, a one-hot code, and the other latents."""
    weights = np.concatenate([WEIGHTS[:at], CODES, WEIGHTS[at:]])
    joined = tensor("z", TensorProto.FLOAT, ["n", DIM + LABELS])
    return graph_of([node("MatMul", "z both", "sum"), *TANH], [joined], [IMAGE], both=weights)


def chain(*steps, **constants):
    """Return a model whose output is the dense layer's output after some operations."""
    nodes, last = [node("MatMul", "z w", "v0")], "v0"
    for index, (kind, others, settings) in enumerate(steps, start=1):
        nodes.append(node(kind, f"{last} {others}".strip(), f"v{index}", **settings))
        last = f"v{index}"
    nodes.append(node("Reshape", f"{last} image_shape", "image"))
    return graph_of(nodes, [Z], [IMAGE], **constants)


def dynamic_model():
    """Return a model that is quantised dynamically: DynamicQuantizeLinear takes one scale for the batch."""
    scale = np.float32(np.abs(WEIGHTS).max() / 127)
    nodes = [
        node("Mul", "z large", "scaled"),
        helper.make_node("DynamicQuantizeLinear", ["scaled"], ["q", "s", "zero"]),
        node("MatMulInteger", "q w8 zero", "product"),
        node("Cast", "product", "floats", to=TensorProto.FLOAT),
        node("Mul", "floats s", "once"),
        node("Mul", "once ws", "sum"),
        *TANH,
    ]
    constants = {"w8": np.rint(WEIGHTS / scale).astype(np.int8), "ws": scale, "large": np.float32(0.3)}
    return graph_of(nodes, [Z], [IMAGE], **constants)


def parsed(body, *, inputs=f"float[n, {DIM}] z", outputs="float[n, 1, 6, 6] image", **constants):
    """Return the bytes of a model whose operations are written in ONNX's textual syntax."""
    return parsed_model(body, inputs=inputs, outputs=outputs, **constants).SerializeToString()


def parsed_model(
    body,
    *,
    inputs=f"float[n, {DIM}] z",
    outputs="float[n, 1, 6, 6] image",
    heading="",
    functions="",
    **constants,
):
    """Return a model whose operations are written in ONNX's textual syntax."""
    heading = heading or '<ir_version: 9, opset_import: ["": 17]>'
    model = onnx.parser.parse_model(f"{heading} g ({inputs}) => ({outputs}) {{ {body} }} {functions}")
    known = {"w": WEIGHTS, "codes": CODES, "image_shape": np.array([-1, 1, SIDE, SIDE]), **constants}
    for name, value in known.items():
        if re.search(rf"\b{name}\b", body):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model
