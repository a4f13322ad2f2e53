"""Kinds of ONNX generators whose graphs are written by hand: ranges, shapes, inputs, types and operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.generators import Built, Kind, Reference
from benchmarks.onnx_graphs import (
    CODES,
    DIM,
    IMAGE,
    WEIGHTS,
    Z,
    dense,
    graph_kind,
    onnxruntime_reference,
    parse,
    tail,
    to_levels,
)
from benchmarks.torch_kinds import INPUTS, LABELS, RANGES, SHAPES, TYPES

Array = npt.NDArray[Any]

GRAPHS = "Graphs"

TANH = tail("x = Tanh(h)")


def sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


# Ranges

RANGE_KINDS = [
    graph_kind(RANGES, name, tail(operations), dense(activation, span=span), **settings)
    for name, operations, activation, span, settings in (
        ("tanh", "x = Tanh(h)", np.tanh, (-1, 1), {}),
        ("sigmoid", "x = Sigmoid(h)", sigmoid, (0, 1), {}),
        (
            "tanh * 0.5 + 0.5",
            "t = Tanh(h) u = Mul(t, half) x = Add(u, half)",
            lambda h: np.tanh(h) / 2 + 0.5,
            (0, 1),
            {},
        ),
        (
            "(tanh + 1) / 2",
            "two = Constant <value_float = 2.0> () t = Tanh(h) u = Add(t, one) x = Div(u, two)",
            lambda h: np.tanh(h) / 2 + 0.5,
            (0, 1),
            {},
        ),
        (
            "tanh * 127.5 + 127.5",
            "t = Tanh(h) u = Mul(t, byte) x = Add(byte, u)",
            lambda h: np.tanh(h) * 127.5 + 127.5,
            (0, 255),
            {},
        ),
        (
            "1 - sigmoid",
            "t = Sigmoid(h) x = Sub(one, t)",
            lambda h: 1 - sigmoid(h),
            (0, 1),
            {},
        ),
        ("negative tanh", "t = Tanh(h) x = Neg(t)", lambda h: -np.tanh(h), (-1, 1), {}),
        ("sine", "x = Sin(h)", np.sin, (-1, 1), {}),
        ("clip to 0..1", "x = Clip(h, zero, one)", lambda h: h.clip(0, 1), (0, 1), {}),
        (
            "clip to -1..1, by Max and Min",
            "u = Max(h, minus) x = Min(u, one)",
            lambda h: h.clip(-1, 1),
            (-1, 1),
            {},
        ),
        (
            "clip of opset 9",
            "x = Clip <min = -1.0, max = 1.0> (h)",
            lambda h: h.clip(-1, 1),
            (-1, 1),
            {"opset": 9},
        ),
        (
            "hard sigmoid",
            "x = HardSigmoid <alpha = 0.2, beta = 0.5> (h)",
            lambda h: (0.2 * h + 0.5).clip(0, 1),
            (0, 1),
            {},
        ),
        ("softsign", "x = Softsign(h)", lambda h: h / (1 + np.abs(h)), (-1, 1), {}),
        ("relu of tanh", "t = Tanh(h) x = Relu(t)", lambda h: np.tanh(h).clip(0), (0, 1), {}),
        (
            "linear, with value_range",
            "x = Mul(h, quarter)",
            lambda h: h * 0.25,
            (-1, 1),
            {"options": {"value_range": "tanh"}},
        ),
        (
            "linear, clipped",
            "x = Mul(h, half)",
            lambda h: h * 0.5,
            (-1, 1),
            {"options": {"value_range": "tanh", "clip": True}},
        ),
        (
            "linear, 0..255",
            "u = Mul(h, quarter) v = Add(u, one) x = Mul(v, byte)",
            lambda h: (h * 0.25 + 1) * 127.5,
            (0, 255),
            {"options": {"value_range": (0, 255)}},
        ),
        (
            "tanh * 0.25 + 0.45, with value_range",
            "scale = Constant <value_floats = [0.25]> () shift = Constant <value_floats = [0.45]> ()"
            " t = Tanh(h) u = Mul(t, scale) x = Add(u, shift)",
            lambda h: np.tanh(h) * 0.25 + 0.45,
            (0, 1),
            {"options": {"value_range": "sigmoid"}},
        ),
    )
]

AFTER_TANH = "h = MatMul(z, w) t = Tanh(h) i = Reshape(t, image_shape) "
BEHIND_KINDS = [
    graph_kind(RANGES, name, AFTER_TANH + operations, dense(images=images), outputs=outputs, **settings)
    for name, operations, images, outputs, settings in (
        (
            "slice behind the tanh",
            "s = Constant <value_ints = [2, 2]> () e = Constant <value_ints = [7, 7]> ()"
            " a = Constant <value_ints = [2, 3]> () image = Slice(i, s, e, a)",
            lambda x: x[:, :, 2:7, 2:7],
            "float[n, 3, 5, 5] image",
            {},
        ),
        (
            "nearest resize behind the tanh",
            'f = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> () image = Resize <mode = "nearest",'
            ' coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (i, , f)',
            lambda x: x.repeat(2, 2).repeat(2, 3),
            "float[n, 3, 16, 16] image",
            {},
        ),
        (
            "zero padding behind the tanh",
            "p = Constant <value_ints = [0, 0, 1, 1, 0, 0, 1, 1]> () image = Pad(i, p)",
            lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))),
            "float[n, 3, 10, 10] image",
            {},
        ),
        (
            "reflecting padding behind the tanh",
            'p = Constant <value_ints = [0, 0, 1, 1, 0, 0, 1, 1]> () image = Pad <mode = "reflect"> (i, p)',
            lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect"),
            "float[n, 3, 10, 10] image",
            {},
        ),
        (
            "mean of pixels behind the tanh",
            "image = AveragePool <kernel_shape = [2, 2]> (i)",
            lambda x: (x[..., 1:, 1:] + x[..., :-1, 1:] + x[..., 1:, :-1] + x[..., :-1, :-1]) / 4,
            "float[n, 3, 7, 7] image",
            {},
        ),
        (
            "channels swapped behind the tanh",
            "o = Constant <value_ints = [2, 1, 0]> () image = Gather <axis = 1> (i, o)",
            lambda x: x[:, ::-1],
            IMAGE,
            {},
        ),
        (
            "channels joined behind the tanh",
            "k = Constant <value_ints = [1, 1, 1]> () r, g, b = Split <axis = 1> (i, k)"
            " image = Concat <axis = 1> (b, g, r)",
            lambda x: x[:, ::-1],
            IMAGE,
            {},
        ),
        (
            "mean of an image and its mirror image",
            "s = Constant <value_ints = [7]> () e = Constant <value_ints = [-9]> () a = Constant <value_ints"
            " = [3]> () d = Constant <value_ints = [-1]> () m = Slice(i, s, e, a, d) u = Add(i, m)"
            " image = Mul(u, half)",
            lambda x: (x + x[..., ::-1]) / 2,
            IMAGE,
            {"options": {"value_range": "tanh"}},
        ),
    )
]


def write_cubic(folder: Path) -> Built:
    """Write a graph whose images are resized with cubic interpolation after the tanh, beyond its range."""
    import onnx

    body = 'f = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> () image = Resize <mode = "cubic"> (i, , f)'
    path = folder / "generator.onnx"
    onnx.save(parse(AFTER_TANH + body, outputs="float[n, 3, 16, 16] image"), path)
    return Built(path, onnxruntime_reference(path, DIM))


# Shapes

SHAPE_KINDS = [
    graph_kind(SHAPES, "names for all sides", TANH, outputs="float[n, c, h, w] image"),
    graph_kind(
        SHAPES, "images without a shape", TANH, outputs="float image", change=lambda m: drop(m.graph.output)
    ),
    graph_kind(
        SHAPES,
        "latents and images without a shape",
        TANH,
        inputs="float z",
        outputs="float image",
        change=lambda m: (drop(m.graph.input), drop(m.graph.output)),
    ),
    graph_kind(
        SHAPES, "all sizes are the name N", TANH, inputs="float[N, 16] z", outputs="float[N, N, N, N] image"
    ),
    graph_kind(
        SHAPES,
        "view(1, ...) inside, free batch stated",
        TANH.replace("image_shape", "one_image"),
        constants={"one_image": np.array([1, 3, 8, 8])},
    ),
    graph_kind(
        SHAPES,
        "view(1, ...) inside, batch of 1 stated",
        TANH.replace("image_shape", "one_image"),
        inputs="float[1, 16] z",
        outputs="float[1, 3, 8, 8] image",
        constants={"one_image": np.array([1, 3, 8, 8])},
    ),
    graph_kind(
        SHAPES,
        "batch fixed at 1 by a constant",
        "r = Constant <value_ints = [1, 192]> () b = Expand(zero, r) m = MatMul(z, w) h = Concat <axis = 1>"
        " (m, b) d = Constant <value_ints = [192, 192]> () k, l = Split <axis = 1> (h, d) x = Tanh(k)"
        " image = Reshape(x, image_shape)",
        inputs="float[1, 16] z",
        outputs="float[1, 3, 8, 8] image",
    ),
    graph_kind(
        SHAPES,
        "batch fixed at 4 by a constant",
        "h = MatMul(z, w) u = Add(h, four) x = Tanh(u) image = Reshape(x, image_shape)",
        inputs="float[4, 16] z",
        outputs="float[4, 3, 8, 8] image",
        constants={"four": np.zeros((4, 192), np.float32)},
    ),
    graph_kind(
        SHAPES,
        "latents (n, z, 1, 1)",
        "f = Flatten(z) h = MatMul(f, w) x = Tanh(h) image = Reshape(x, image_shape)",
        inputs="float[n, 16, 1, 1] z",
    ),
    graph_kind(
        SHAPES,
        "latents (n, 1, 1, z)",
        "f = Flatten(z) h = MatMul(f, w) x = Tanh(h) image = Reshape(x, image_shape)",
        inputs="float[n, 1, 1, 16] z",
    ),
    graph_kind(
        SHAPES,
        "latents (n, m)",
        TANH,
        inputs="float[n, m] z",
    ),
    graph_kind(
        SHAPES,
        "latents (n, m, 1, 1)",
        "f = Flatten(z) h = MatMul(f, w) x = Tanh(h) image = Reshape(x, image_shape)",
        inputs="float[n, m, 1, 1] z",
    ),
    graph_kind(
        SHAPES,
        "latents (n, 1, z)",
        "f = Flatten(z) h = MatMul(f, w) x = Tanh(h) image = Reshape(x, image_shape)",
        inputs="float[n, 1, 16] z",
    ),
    graph_kind(
        SHAPES,
        "latents (n, 2, 2, 4)",
        "f = Flatten(z) h = MatMul(f, w) x = Tanh(h) image = Reshape(x, image_shape)",
        inputs="float[n, 2, 2, 4] z",
    ),
    graph_kind(
        SHAPES,
        "latents (1, z), images (3, h, w)",
        "h = MatMul(z, w) x = Tanh(h) image = Reshape(x, single)",
        inputs="float[1, 16] z",
        outputs="float[3, 8, 8] image",
        constants={"single": np.array([3, 8, 8])},
    ),
    graph_kind(
        SHAPES,
        "latents (z), images (h, w, 3)",
        "h = MatMul(z, w) x = Tanh(h) image = Reshape(x, single)",
        dense(shape=(8, 8, 3), layout="NHWC"),
        inputs="float[16] z",
        outputs="float[8, 8, 3] image",
        constants={"single": np.array([8, 8, 3])},
    ),
    graph_kind(
        SHAPES,
        "latents (z), images (h, w)",
        "h = MatMul(z, w) x = Tanh(h) image = Reshape(x, single)",
        dense(shape=(16, 12, 1), layout="NHWC"),
        inputs="float[16] z",
        outputs="float[16, 12] image",
        constants={"single": np.array([16, 12])},
    ),
    graph_kind(
        SHAPES,
        "images (n, h, w, 3)",
        TANH.replace("image_shape", "last"),
        dense(shape=(8, 8, 3), layout="NHWC"),
        outputs="float[n, 8, 8, 3] image",
        constants={"last": np.array([-1, 8, 8, 3])},
    ),
    graph_kind(
        SHAPES,
        "images (n, 3, 4, 16)",
        TANH.replace("image_shape", "wide"),
        dense(shape=(3, 4, 16)),
        outputs="float[n, 3, 4, 16] image",
        constants={"wide": np.array([-1, 3, 4, 16])},
        options={"layout": "NCHW"},
    ),
    graph_kind(
        SHAPES,
        "images (n, 4, 16, 3), which fit both layouts",
        TANH.replace("image_shape", "both"),
        dense(shape=(4, 16, 3), layout="NHWC"),
        outputs="float[n, 4, 16, 3] image",
        constants={"both": np.array([-1, 4, 16, 3])},
        options={"layout": "NHWC"},
    ),
    graph_kind(
        SHAPES,
        "RGBA images (n, h, w, 4)",
        TANH.replace("image_shape", "rgba"),
        dense(shape=(8, 6, 4), layout="NHWC"),
        outputs="float[n, 8, 6, 4] image",
        constants={"rgba": np.array([-1, 8, 6, 4])},
    ),
    graph_kind(
        SHAPES,
        "colour rows, channels last",
        "h = MatMul(z, w) image = Tanh(h)",
        dense(shape=(8, 8, 3), layout="NHWC"),
        outputs="float[n, 192] image",
        options={"image_size": (8, 8, 3), "layout": "NHWC"},
    ),
    graph_kind(
        SHAPES,
        "colour rows, channels first",
        "h = MatMul(z, w) image = Tanh(h)",
        outputs="float[n, 192] image",
        options={"image_size": (8, 8, 3), "layout": "NCHW"},
    ),
    graph_kind(
        SHAPES,
        "grey rows of a wide image",
        "h = MatMul(z, w) image = Tanh(h)",
        dense(shape=(12, 16, 1), layout="NHWC"),
        outputs="float[n, 192] image",
        options={"image_size": (12, 16, 1)},
    ),
]


def drop(values: Any) -> None:
    """Remove the shapes of inputs or outputs."""
    for value in values:
        value.type.tensor_type.ClearField("shape")


# Inputs and labels

LABEL_BODY = (
    "h = MatMul(z, w) c = Gather(codes, {}) s = Add(h, c) x = Tanh(s) image = Reshape(x, image_shape)"
)
JOINED = np.concatenate([WEIGHTS, CODES])
INPUT_KINDS = [
    *(
        graph_kind(
            LABELS,
            f"label (n,) of {kind}",
            f"i = Cast <to = 7> (label) {LABEL_BODY.format('i')}",
            inputs=f"{Z}, {kind}[n] label",
        )
        for kind in ("uint8", "int16", "int8", "double", "float16")
    ),
    graph_kind(
        LABELS,
        "label (n, 1, 1) int64",
        "t = Constant <value_ints = [1, 2]> () i = Squeeze(label, t) " + LABEL_BODY.format("i"),
        inputs=f"{Z}, int64[n, 1, 1] label",
    ),
    graph_kind(
        LABELS,
        "label first, latents second",
        LABEL_BODY.format("label"),
        inputs=f"int64[n] label, {Z}",
    ),
    graph_kind(
        LABELS,
        "label by OneHot",
        "d = Constant <value_int = 7> () v = Constant <value_floats = [0.0, 1.0]> () o = OneHot(label, d, v)"
        " c = MatMul(o, codes) h = MatMul(z, w) s = Add(h, c) x = Tanh(s) image = Reshape(x, image_shape)",
        inputs=f"{Z}, int64[n] label",
    ),
    graph_kind(
        LABELS,
        "label clipped to its range",
        "l = Constant <value_int = 0> () u = Constant <value_int = 6> () i = Clip(label, l, u) "
        + LABEL_BODY.format("i"),
        inputs=f"{Z}, int64[n] label",
        options={"labels": 7},
    ),
    graph_kind(
        LABELS,
        "one-hot code behind the latents, unnamed",
        "h = MatMul(z, joined) x = Tanh(h) image = Reshape(x, image_shape)",
        inputs="float[n, 23] z",
        constants={"joined": JOINED},
        options={"labels": 7},
    ),
    graph_kind(
        LABELS,
        "one-hot code (n, labels, 1, 1)",
        "f = Flatten(y) c = MatMul(f, codes) g = Flatten(z) h = MatMul(g, w) s = Add(h, c) x = Tanh(s)"
        " image = Reshape(x, image_shape)",
        inputs="float[n, 16, 1, 1] z, float[n, 7, 1, 1] y",
        options={"labels": 7},
    ),
    graph_kind(
        LABELS,
        "one label alone, by input_values",
        LABEL_BODY.format("label"),
        lambda z, _: dense()(z, np.full(len(z), 3)),
        inputs=f"{Z}, int64[n] label",
        options={"input_values": {"label": 3}},
    ),
    graph_kind(
        INPUTS,
        "switch of type bool",
        "h = MatMul(z, w) a = Tanh(h) b = Sigmoid(h) x = Where(smooth, b, a) image = Reshape(x, image_shape)",
        inputs=f"{Z}, bool smooth",
        options={"input_values": {"smooth": 0}, "value_range": "tanh"},
    ),
    graph_kind(
        INPUTS,
        "whole number as a constant",
        "f = Cast <to = 1> (step) s = Mul(z, f) h = MatMul(s, w) x = Tanh(h) image = Reshape(x, image_shape)",
        dense(latents=lambda z: 2 * z),
        inputs=f"{Z}, int64 step",
        options={"input_values": {"step": 2}},
    ),
    graph_kind(
        INPUTS,
        "uniform latents in -1..1",
        TANH,
        options={"latents": "uniform"},
    ),
    graph_kind(
        INPUTS,
        "uniform latents in 0..1",
        TANH,
        options={"latents": "uniform01"},
    ),
    graph_kind(
        INPUTS,
        "constant that the graph does not use",
        TANH,
        inputs=f"{Z}, float[1] temperature",
        options={"input_values": {"temperature": 1.0}},
    ),
]

# Types

HALF = WEIGHTS.astype(np.float16)


def to_half(values: Array) -> Array:
    """Return values that were rounded to float16."""
    return values.astype(np.float16).astype(np.float32)


def with_weights(weights: Array) -> Reference:
    """Return a function that generates images with other weights than WEIGHTS."""
    return lambda z, _: to_levels(np.tanh(z @ weights.astype(np.float32)).reshape(-1, 3, 8, 8))


TYPE_KINDS = [
    graph_kind(
        TYPES,
        "float16 in and out, float32 inside",
        "f = Cast <to = 1> (z) h = MatMul(f, w) x = Tanh(h) i = Reshape(x, image_shape)"
        " image = Cast <to = 10> (i)",
        dense(latents=to_half, images=to_half),
        inputs="float16[n, 16] z",
        outputs="float16[n, 3, 8, 8] image",
    ),
    graph_kind(
        TYPES,
        "float64 in and out, float32 inside",
        "f = Cast <to = 1> (z) h = MatMul(f, w) x = Tanh(h) i = Reshape(x, image_shape)"
        " image = Cast <to = 11> (i)",
        inputs="double[n, 16] z",
        outputs="double[n, 3, 8, 8] image",
    ),
    graph_kind(
        TYPES,
        "float32 in, float64 out",
        f"{TANH.replace('image =', 'i =')} image = Cast <to = 11> (i)",
        outputs="double[n, 3, 8, 8] image",
    ),
    graph_kind(
        TYPES,
        "weights of float16, with a Cast",
        "g = Cast <to = 1> (w16) h = MatMul(z, g) x = Tanh(h) image = Reshape(x, image_shape)",
        with_weights(HALF),
        constants={"w16": HALF},
    ),
    graph_kind(
        TYPES,
        "float16 inside",
        "f = Cast <to = 10> (z) h = MatMul(f, w16) x = Tanh(h) i = Reshape(x, image_shape)"
        " image = Cast <to = 1> (i)",
        with_weights(HALF),
        constants={"w16": HALF},
        levels=3,
    ),
    graph_kind(
        TYPES,
        "images of uint8, by Cast",
        "h = MatMul(z, w) t = Tanh(h) u = Mul(t, byte) v = Add(u, byte) r = Round(v) x = Cast <to = 2> (r)"
        " image = Reshape(x, image_shape)",
        outputs="uint8[n, 3, 8, 8] image",
    ),
    graph_kind(
        TYPES,
        "images of int32, by Cast",
        "h = MatMul(z, w) t = Tanh(h) u = Mul(t, byte) v = Add(u, byte) x = Cast <to = 6> (v)"
        " image = Reshape(x, image_shape)",
        dense(lambda h: np.floor(np.tanh(h) * 127.5 + 127.5), span=(0, 255)),
        outputs="int32[n, 3, 8, 8] image",
    ),
    graph_kind(
        TYPES,
        "images of float32 that are rounded to levels",
        "h = MatMul(z, w) t = Tanh(h) u = Mul(t, byte) v = Add(u, byte) x = Round(v)"
        " image = Reshape(x, image_shape)",
        outputs="float[n, 3, 8, 8] image",
    ),
    graph_kind(
        TYPES,
        "images that are quantised to 8 bits and back",
        AFTER_TANH + "q = QuantizeLinear(i, s7, z7) image = DequantizeLinear(q, s7, z7)",
        dense(images=lambda x: np.rint(x * 127).clip(-128, 127) / 127),
        constants={"s7": np.float32(1 / 127), "z7": np.int8(0)},
    ),
]

# Operations and names

IF = """
  h = MatMul(z, w)
  x = If (yes) <
    then_branch = g1 () => (float[n, 192] a) { h2 = Mul(h, one) a = Tanh(h2) },
    else_branch = g2 () => (float[n, 192] b) { h2 = Mul(h, half) b = Sigmoid(h2) }
  >
  image = Reshape(x, image_shape)
"""
CALL = "h = MatMul(z, w) x = local.activation(h) image = Reshape(x, image_shape)"
FUNCTION = '<domain: "local", opset_import: ["": 17]> activation (a) => (b) { b = Tanh(a) }'
DEEP_FUNCTION = FUNCTION.replace("b = Tanh(a)", "c = local.inner(a) b = Identity(c)").replace(
    '["": 17]', '["": 17, "local": 1]'
)
INNER_FUNCTION = '<domain: "local", opset_import: ["": 17]> inner (a) => (b) { b = Tanh(a) }'


def rename(**names: str) -> Any:
    """Return a function that renames values of a model."""

    def change(model: Any) -> None:
        graph = model.graph
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = names.get(value.name, value.name)
        for node in graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]

    return change


def keep(model: Any) -> None:
    """Change nothing."""


def list_weights_as_inputs(model: Any) -> None:
    from onnx import helper

    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )


def use_constant_nodes(model: Any) -> None:
    """Turn all initializers into Constant operations."""
    from onnx import helper

    nodes = [helper.make_node("Constant", [], [each.name], value=each) for each in model.graph.initializer]
    del model.graph.initializer[:]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


GRAPH_KINDS = [
    *(
        graph_kind(
            GRAPHS,
            f"opset {opset}, version {ir} of the format",
            TANH,
            opset=opset,
            ir=ir,
            change=list_weights_as_inputs if ir < 4 else keep,
        )
        for opset, ir in (
            (7, 3),
            (8, 3),
            (9, 4),
            (10, 5),
            (12, 6),
            (13, 7),
            (15, 8),
            (19, 9),
            (22, 10),
            (24, 11),
        )
    ),
    graph_kind(GRAPHS, "weights among the inputs", TANH, change=list_weights_as_inputs),
    graph_kind(GRAPHS, "version 3 of the format, weights not among the inputs", TANH, ir=3, opset=8),
    graph_kind(GRAPHS, "Constant operations for the weights", TANH, change=use_constant_nodes),
    graph_kind(
        GRAPHS,
        "If with a constant condition",
        IF,
        constants={"yes": np.array(True)},
        options={"value_range": "tanh"},
    ),
    graph_kind(
        GRAPHS,
        "If whose condition is computed from a size",
        "s = Shape(z) i = Constant <value_ints = [1]> () d = Gather(s, i) c = Constant <value_ints = [16]> ()"
        " e = Equal(d, c) yes = Squeeze(e) " + IF,
        options={"value_range": "tanh"},
    ),
    graph_kind(
        GRAPHS,
        "function of the model",
        CALL,
        imports=', "local": 1',
        functions=FUNCTION,
        options={"value_range": "tanh"},
    ),
    graph_kind(
        GRAPHS,
        "function within a function of the model",
        CALL,
        imports=', "local": 1',
        functions=f"{DEEP_FUNCTION} {INNER_FUNCTION}",
        options={"value_range": "tanh"},
    ),
    graph_kind(
        GRAPHS,
        "further outputs that are no images",
        TANH,
        outputs=f"float[n, 192] h, {IMAGE}, float[n, 192] x",
    ),
    graph_kind(
        GRAPHS,
        "further output of features with sides",
        f"{TANH} features = Mul(image, half)",
        outputs=f"{IMAGE}, float[n, 3, 8, 8] features",
        options={"output_name": "image"},
    ),
    graph_kind(
        GRAPHS,
        "names with slashes, spaces and Greek letters",
        TANH,
        change=rename(
            z="/input tensor:0", h="layer/1", x="σ(β)", image="serving_default/bild ünïcode", w="gewicht é"
        ),
    ),
    graph_kind(GRAPHS, "names of ganport's own files", TANH, change=rename(z="latent", h="stage/image")),
    graph_kind(
        GRAPHS, "input named image, output named latent", TANH, change=rename(z="image", image="latent")
    ),
    graph_kind(GRAPHS, "input named label takes latents", TANH, change=rename(z="label")),
    graph_kind(
        GRAPHS,
        "Einsum, CumSum and Where",
        'e = Einsum <equation = "ij,jk->ik"> (z, w) a = Constant <value_int = 1> () c = CumSum(e, a) k ='
        " Mul(c, quarter) p = Greater(k, zero) r = Neg(k) q = Where(p, r, k) x = Tanh(q)"
        " image = Reshape(x, image_shape)",
        dense(lambda h: np.tanh(-np.abs(h.cumsum(1) / 4))),
    ),
    graph_kind(
        GRAPHS,
        "shape of the images computed by the graph",
        "h = MatMul(z, w) x = Tanh(h) s = Shape(z) i = Constant <value_ints = [0]> () n = Gather(s, i)"
        " r = Constant <value_ints = [3, 8, 8]> () t = Concat <axis = 0> (n, r) image = Reshape(x, t)",
    ),
]

KINDS: list[Kind] = [
    *RANGE_KINDS,
    *BEHIND_KINDS,
    Kind(RANGES, "cubic resize behind the tanh", write_cubic),
    *SHAPE_KINDS,
    *INPUT_KINDS,
    *TYPE_KINDS,
    *GRAPH_KINDS,
]
