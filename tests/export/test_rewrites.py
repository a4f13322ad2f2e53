"""Each rewrite on a separate graph: the values stay the same, and nodes are removed."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganport.export.rewrites import REWRITES, simplify

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2, shape).astype(np.float32)


def graph(source, target, *nodes, **constants) -> onnx.ModelProto:
    """Return a model from x to y. Each node is (operation, inputs, output, settings)."""
    made = [
        helper.make_node(operation, inputs.split(), [output], **settings)
        for operation, inputs, output, settings in nodes
    ]
    proto = helper.make_graph(
        made,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, source)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, target)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def operations(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    (y,) = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )
    return np.asarray(y)


def assert_rewritten(model: onnx.ModelProto, expected: list[str], *names: str) -> None:
    """Check that the named rewrites, or all, leave these operations, and do not change the values."""
    onnx.checker.check_model(model, full_check=True)
    result = simplify(model, {name: REWRITES[name] for name in names} if names else None)
    onnx.checker.check_model(result, full_check=True)
    assert operations(result) == expected
    for batch in (1, 3):
        shape = [dim.dim_value or batch for dim in model.graph.input[0].type.tensor_type.shape.dim]
        x = RNG.standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(run(result, x), run(model, x), rtol=1e-5, atol=1e-5)


STRIDED = {"strides": [2, 2], "pads": [1, 1, 1, 1], "kernel_shape": [4, 4]}


def test_batch_norm_is_folded_into_the_previous_dense_layer():
    model = graph(
        ["n", 5],
        ["n", 6],
        ("MatMul", "x w", "a", {}),
        ("Mul", "a s", "b", {}),
        ("Add", "t b", "c", {}),
        ("LeakyRelu", "c", "y", {"alpha": 0.2}),
        w=normal(5, 6),
        s=normal(6),
        t=normal(6),
    )
    assert_rewritten(model, ["Gemm", "LeakyRelu"])


def test_batch_norm_after_an_activation_is_folded_into_the_next_dense_layer():
    model = graph(
        ["n", 5],
        ["n", 4],
        ("LeakyRelu", "x", "a", {"alpha": 0.2}),
        ("Mul", "a s", "b", {}),
        ("Add", "b t", "c", {}),
        ("Gemm", "c w v", "y", {}),
        w=normal(5, 4),
        v=normal(4),
        s=normal(5),
        t=normal(5),
    )
    assert_rewritten(model, ["LeakyRelu", "Gemm"], "fold affine into next layer")


@pytest.mark.parametrize("operation", ["Conv", "ConvTranspose"])
def test_batch_normalization_is_folded_into_the_previous_convolution(operation):
    w = normal(7, 3, 4, 4) if operation == "Conv" else normal(3, 7, 4, 4)
    model = graph(
        ["n", 3, 8, 8],
        ["n", 7, "h", "w"],
        (operation, "x w bias", "a", STRIDED),
        ("BatchNormalization", "a s t mean variance", "y", {"epsilon": 1e-3}),
        w=w,
        bias=normal(7),
        s=normal(7),
        t=normal(7),
        mean=normal(7),
        variance=positive(7),
    )
    assert_rewritten(model, [operation])


def test_scale_after_an_activation_moves_before_it_and_the_shift_stays():
    model = graph(
        ["n", 3, 8, 8],
        ["n", 5, 16, 16],
        ("ConvTranspose", "x w", "a", STRIDED),
        ("LeakyRelu", "a", "b", {"alpha": 0.2}),
        ("Mul", "b s", "c", {}),
        ("Add", "c t", "y", {}),
        w=normal(3, 5, 4, 4),
        s=positive(1, 5, 1, 1),
        t=normal(5, 1, 1),
    )
    assert_rewritten(model, ["ConvTranspose", "LeakyRelu", "Add"])


def test_scale_that_is_not_positive_stays_after_the_activation():
    model = graph(
        ["n", 5],
        ["n", 4],
        ("MatMul", "x w", "a", {}),
        ("Relu", "a", "b", {}),
        ("Mul", "b s", "y", {}),
        w=normal(5, 4),
        s=np.float32([1, -1, 2, 3]),
    )
    assert_rewritten(model, ["MatMul", "Relu", "Mul"])


def test_shift_stays_before_a_convolution_that_pads():
    """Padded zeros are not shifted, so a shift in the bias would change the pixels at the border."""
    model = graph(
        ["n", 3, 8, 8],
        ["n", 5, "h", "w"],
        ("Add", "x t", "a", {}),
        ("Conv", "a w", "y", STRIDED),
        w=normal(5, 3, 4, 4),
        t=normal(1, 3, 1, 1),
    )
    assert_rewritten(model, ["Add", "Conv"])


def test_affine_steps_are_folded_into_a_convolution_without_padding():
    model = graph(
        ["n", 3, 8, 8],
        ["n", 5, 6, 6],
        ("Mul", "x s", "a", {}),
        ("Add", "a t", "b", {}),
        ("Conv", "b w", "y", {"kernel_shape": [3, 3]}),
        w=normal(5, 3, 3, 3),
        s=normal(1, 3, 1, 1),
        t=normal(1, 3, 1, 1),
    )
    assert_rewritten(model, ["Conv"])


def test_factor_that_differs_within_a_channel_stays():
    model = graph(
        ["n", 3, 4, 4],
        ["n", 5, 4, 4],
        ("Conv", "x w", "a", {"kernel_shape": [1, 1]}),
        ("Mul", "a s", "y", {}),
        w=normal(5, 3, 1, 1),
        s=normal(1, 5, 4, 1),
    )
    assert_rewritten(model, ["Conv", "Mul"])


def test_value_with_two_uses_is_not_folded_away():
    model = graph(
        ["n", 5],
        ["n", 5],
        ("MatMul", "x w", "a", {}),
        ("Mul", "a s", "b", {}),
        ("Sub", "a b", "y", {}),
        w=normal(5, 5),
        s=normal(5),
    )
    assert_rewritten(model, ["MatMul", "Mul", "Sub"])


def test_bias_is_not_folded_into_a_product_of_more_than_two_axes():
    """A Gemm takes two axes; a MatMul over tokens has three."""
    model = graph(
        ["n", 4, 5],
        ["n", 4, 6],
        ("MatMul", "x w", "a", {}),
        ("Add", "a t", "y", {}),
        w=normal(5, 6),
        t=normal(6),
    )
    assert_rewritten(model, ["MatMul", "Add"])


def test_first_transpose_is_folded_into_the_columns_of_the_dense_layer():
    model = graph(
        ["n", 5],
        ["n", 6, 2, 3],
        ("Gemm", "x w v", "a", {}),
        ("Reshape", "a shape", "b", {}),
        ("Mul", "b s", "c", {}),
        ("LeakyRelu", "c", "d", {"alpha": 0.2}),
        ("Transpose", "d", "y", {"perm": [0, 3, 1, 2]}),
        w=normal(5, 36),
        v=normal(36),
        shape=np.int64([-1, 2, 3, 6]),
        s=normal(6),
    )
    assert_rewritten(model, ["Gemm", "LeakyRelu", "Reshape"])


def test_transposes_that_undo_each_other_are_removed():
    model = graph(
        ["n", 2, 3, 4],
        ["n", 2, 3, 4],
        ("Transpose", "x", "a", {"perm": [0, 3, 1, 2]}),
        ("Tanh", "a", "b", {}),
        ("Transpose", "b", "y", {"perm": [0, 2, 3, 1]}),
    )
    assert_rewritten(model, ["Tanh"])


def scaled_maps(*, shares_maps=False) -> onnx.ModelProto:
    """Return feature maps whose channels are scaled by a dense layer of x, between two convolutions."""
    return graph(
        ["n", 6],
        ["n", 5, 4, 4] if not shares_maps else ["n", 4, 4, 5],
        ("Gemm", "x w b", "rows", {}),
        ("Reshape", "rows map", "first", {}),
        ("Conv", "first k", "convolved", {"pads": [1] * 4}),
        ("Transpose", "convolved", "last", {"perm": [0, 2, 3, 1]}),
        ("Gemm", "x v c", "factors", {}),
        ("Reshape", "factors pixel", "scale", {}),
        ("Mul", "last scale", "scaled", {}),
        ("Transpose", "scaled", "images", {"perm": [0, 3, 1, 2]}),
        ("Conv", "images k", "again", {"pads": [1] * 4}),
        *(
            [("Transpose", "again", "moved", {"perm": [0, 2, 3, 1]}), ("Add", "moved last", "y", {})]
            if shares_maps
            else [("Relu", "again", "y", {})]
        ),
        w=normal(6, 80),
        b=normal(80),
        map=np.array([-1, 5, 4, 4]),
        k=normal(5, 5, 3, 3),
        v=normal(6, 5),
        c=normal(5),
        pixel=np.array([-1, 1, 1, 5]),
    )


def test_transposes_around_a_product_of_two_values_vanish():
    kept = ["Gemm", "Reshape", "Conv", "Gemm", "Reshape", "Mul", "Conv", "Relu"]
    assert_rewritten(scaled_maps(), kept)


def test_transpose_stays_if_another_node_uses_the_value_before_it():
    kept = "Gemm Reshape Conv Transpose Gemm Reshape Mul Transpose Conv Transpose Add"
    assert_rewritten(scaled_maps(shares_maps=True), kept.split())


def test_last_transpose_moves_after_the_pointwise_steps():
    model = graph(
        ["n", 3, 4, 5],
        ["n", 4, 5, 3],
        ("Transpose", "x", "a", {"perm": [0, 2, 3, 1]}),
        ("Tanh", "a", "b", {}),
        ("Mul", "b half", "y", {}),
        half=np.float32(127.5),
    )
    assert_rewritten(model, ["Tanh", "Mul", "Transpose"])


def test_two_reshapes_are_merged():
    model = graph(
        ["n", 12],
        ["n", 4, 3],
        ("Reshape", "x first", "a", {}),
        ("Identity", "a", "b", {}),
        ("Reshape", "b second", "y", {}),
        first=np.int64([-1, 2, 6]),
        second=np.int64([-1, 4, 3]),
    )
    assert_rewritten(model, ["Reshape"])


def test_upsampling_is_fused_with_the_next_convolution():
    for size, pads in (
        (3, [1, 1, 1, 1]),
        (5, [2, 2, 2, 2]),
        (4, [1, 2, 2, 1]),
        (3, [0, 0, 0, 0]),
        (2, [0, 0, 1, 1]),
    ):
        last = [] if pads[:2] == pads[2:] else ["Slice"]
        for scale in ((2, 2), (3, 1), (4, 2)):
            assert_rewritten(
                graph(
                    ["n", 6, 4, 5],
                    ["n", 8, "h", "w"],
                    (
                        "Resize",
                        "x roi s",
                        "a",
                        {"mode": "nearest", "coordinate_transformation_mode": "half_pixel"},
                    ),
                    ("Conv", "a w b", "y", {"pads": pads, "kernel_shape": [size, size]}),
                    roi=np.float32([]),
                    s=np.float32([1, 1, *scale]),
                    w=normal(8, 6, size, size) / 5,
                    b=normal(8),
                ),
                ["ConvTranspose", *last],
            )


def test_one_by_one_convolution_moves_before_the_upsampling():
    assert_rewritten(
        graph(
            ["n", 6, 4, 5],
            ["n", 8, 8, 10],
            ("Resize", "x roi s", "a", {"mode": "nearest"}),
            ("Conv", "a w b", "y", {}),
            roi=np.float32([]),
            s=np.float32([1, 1, 2, 2]),
            w=normal(8, 6, 1, 1),
            b=normal(8),
        ),
        ["Conv", "Resize"],
    )


def test_last_convolution_is_transposed():
    for channels, kinds in ((1, ["ConvTranspose"]), (3, ["ConvTranspose"]), (5, ["Conv"])):
        assert_rewritten(
            graph(
                ["n", 12, 6, 7],
                ["n", channels, 6, 7],
                ("Conv", "x w b", "y", {"pads": [1, 2, 1, 2]}),
                w=normal(channels, 12, 3, 5) / 5,
                b=normal(channels),
            ),
            kinds,
        )


@pytest.mark.parametrize("pads", [[1, 1, 2, 2], [2, 1, 0, 1], [0, 3, 2, 1]])
def test_uneven_pads_of_a_transposed_convolution_become_a_slice(pads):
    """The CUDA provider supports even pads only and leaves the others to the CPU."""
    size = [2 * 3 + 5 - pads[axis] - pads[axis + 2] for axis in (0, 1)]
    model = graph(
        ["n", 6, 4, 4],
        ["n", 8, *size],
        ("ConvTranspose", "x w b", "y", {"pads": pads, "strides": [2, 2]}),
        w=normal(6, 8, 5, 5),
        b=normal(8),
    )
    assert_rewritten(model, ["ConvTranspose", "Slice"])
    settings = {each.name: list(each.ints) for each in simplify(model).graph.node[0].attribute}
    assert settings["pads"][:2] == settings["pads"][2:]


def test_transposed_convolution_of_one_pixel_becomes_a_dense_layer():
    for pads, size in (([0, 0, 0, 0], 4), ([1, 0, 0, 1], 3)):
        assert_rewritten(
            graph(
                ["n", 5],
                ["n", 6, size, size],
                ("Reshape", "x shape", "a", {}),
                ("ConvTranspose", "a w b", "y", {"pads": pads, "strides": [2, 2]}),
                shape=np.int64([-1, 5, 1, 1]),
                w=normal(5, 6, 4, 4),
                b=normal(6),
            ),
            ["Gemm", "Reshape"],
        )


@pytest.mark.parametrize("moved", [False, True])
def test_repeated_pixels_become_one_resize(moved):
    """tf2onnx writes Keras' UpSampling2D as in this graph, with shapes that are computed at run time."""
    source = ["n", 3, 4, 6] if not moved else ["n", 6, 3, 4]
    tiled = [
        ("Unsqueeze", "x two", "a", {}) if not moved else ("Unsqueeze", "x three", "a", {}),
        ("Tile", "a repeats", "b", {}),
        ("Transpose", "b", "c", {"perm": [0, 2, 3, 4, 1]}) if moved else ("Identity", "b", "c", {}),
    ]
    assert_rewritten(
        graph(
            source,
            ["n", 6, 4, 6],
            *tiled,
            ("Shape", "x", "s", {}),
            ("Slice", "s zero one", "batch", {}),
            ("Concat", "batch rest", "target", {"axis": 0}),
            ("Reshape", "c target", "y", {}),
            two=np.int64([2]),
            three=np.int64([3]),
            repeats=np.int64([1, 1, 1, 2, 1] if moved else [1, 1, 2, 1, 1]),
            zero=np.int64([0]),
            one=np.int64([1]),
            rest=np.int64([6, 4, 6]),
        ),
        ["Transpose", "Resize"] if moved else ["Resize"],
    )


def test_transpose_moves_before_the_resize_into_the_dense_layer():
    assert_rewritten(
        graph(
            ["n", 5],
            ["n", 6, 6, 12],
            ("MatMul", "x w", "a", {}),
            ("Reshape", "a shape", "b", {}),
            ("Resize", "b roi s", "c", {"mode": "nearest"}),
            ("Transpose", "c", "y", {"perm": [0, 3, 1, 2]}),
            roi=np.float32([]),
            s=np.float32([1, 2, 3, 1]),
            shape=np.int64([-1, 3, 4, 6]),
            w=normal(5, 72),
        ),
        ["MatMul", "Reshape", "Resize"],
    )


def test_two_resizes_in_a_row_are_merged():
    assert_rewritten(
        graph(
            ["n", 2, 3, 4],
            ["n", 2, 6, 12],
            ("Resize", "x roi s", "a", {"mode": "nearest"}),
            ("Resize", "a roi t", "y", {"mode": "nearest"}),
            roi=np.float32([]),
            s=np.float32([1, 1, 2, 1]),
            t=np.float32([1, 1, 1, 3]),
        ),
        ["Resize"],
    )


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_normalisation_after_depth_to_space_is_folded_into_the_convolution(mode):
    assert_rewritten(
        graph(
            ["n", 3, 4, 4],
            ["n", 5, 8, 8],
            ("Conv", "x w b", "a", {}),
            ("DepthToSpace", "a", "c", {"blocksize": 2, "mode": mode}),
            ("BatchNormalization", "c s t m v", "d", {}),
            ("LeakyRelu", "d", "y", {"alpha": 0.2}),
            w=normal(20, 3, 1, 1),
            b=normal(20),
            s=positive(5),
            t=normal(5),
            m=normal(5),
            v=positive(5),
        ),
        ["Conv", "DepthToSpace", "LeakyRelu"],
    )


def test_bias_of_rows_moves_before_the_reshape():
    assert_rewritten(
        graph(
            ["n", 4, 6],
            ["n", 4, 3],
            ("Reshape", "x rows", "a", {}),
            ("MatMul", "a w", "b", {}),
            ("Reshape", "b back", "c", {}),
            ("Add", "c t", "y", {}),
            rows=np.int64([-1, 6]),
            back=np.int64([-1, 4, 3]),
            w=normal(6, 3),
            t=normal(3),
        ),
        ["Reshape", "Gemm", "Reshape"],
    )


def test_steps_by_scalars_are_merged():
    assert_rewritten(
        graph(
            ["n", 3],
            ["n", 3],
            ("Sigmoid", "x", "a", {}),
            ("Mul", "a two", "b", {}),
            ("Add", "b minus", "c", {}),
            ("Add", "c one", "d", {}),
            ("Mul", "d half", "y", {}),
            two=np.float32(2),
            minus=np.float32(-1),
            one=np.float32(1),
            half=np.float32(127.5),
        ),
        ["Sigmoid", "Mul"],
    )


def test_normalisation_in_training_mode_is_not_changed():
    model = graph(
        ["n", 3, 4, 4],
        ["n", 3, 4, 4],
        ("BatchNormalization", "x s t mean variance", "y", {"training_mode": 1}),
        s=positive(3),
        t=normal(3),
        mean=normal(3),
        variance=positive(3),
    )
    assert operations(simplify(model)) == ["BatchNormalization"]


def test_names_depend_only_on_the_graph():
    def build(prefix):
        return graph(
            ["n", 5],
            ["n", 6],
            ("MatMul", f"x {prefix}w", f"{prefix}a", {}),
            ("Tanh", f"{prefix}a", "y", {}),
            **{f"{prefix}w": np.ones((5, 6), np.float32), f"{prefix}unused": np.ones(3, np.float32)},
        )

    assert simplify(build("one/")).SerializeToString() == simplify(build("another:")).SerializeToString()


# Graphs that look as if a rewrite applies, although it would change the values.
TRAPS = {
    "target that copies a size": (
        ["n", 12],
        ["n", 2, 2, 3],
        [("Relu", "x", "a", {}), ("Reshape", "a shape", "b", {}), ("Add", "b t", "y", {})],
        {"shape": np.int64([0, 2, 2, 3]), "t": normal(1, 1, 1, 1)},
    ),
    "target of half the batch": (
        ["n", 8],
        ["m", 16],
        [
            ("Shape", "x", "s", {"end": 1}),
            ("Add", "s one", "a", {}),
            ("Div", "a two", "b", {}),
            ("Concat", "b six", "t", {"axis": 0}),
            ("Pad", "x pads", "p", {}),
            ("Reshape", "p t", "y", {}),
        ],
        {"one": np.int64([1]), "two": np.int64([2]), "six": np.int64([16]), "pads": np.int64([0, 0, 1, 0])},
    ),
    "target of two values' first sizes": (
        ["n", 8],
        ["n", 4, 2],
        [
            ("Reshape", "x pairs", "p", {}),
            ("Shape", "p", "s", {"end": 1}),
            ("Shape", "x", "t", {"end": 1}),
            ("Div", "s t", "a", {}),
            ("Concat", "minus a two", "b", {"axis": 0}),
            ("Reshape", "p b", "y", {}),
        ],
        {"pairs": np.int64([-1, 2]), "minus": np.int64([-1]), "two": np.int64([2])},
    ),
    "constants alone": (
        ["n", 3],
        ["n", 3],
        [("Add", "s t", "a", {}), ("Add", "a u", "b", {}), ("Add", "x b", "y", {})],
        {"s": np.float32(1), "t": np.float32(2), "u": np.float32(3)},
    ),
    "vector that a constant makes a row of": (
        [3],
        [1, 4],
        [("Mul", "x s", "a", {}), ("MatMul", "a w", "y", {})],
        {"s": normal(1, 3), "w": normal(3, 4)},
    ),
    "vector that a constant makes a row of, after the product": (
        [3],
        [1, 4],
        [("MatMul", "x w", "a", {}), ("Mul", "a s", "y", {})],
        {"s": normal(1, 4), "w": normal(3, 4)},
    ),
    "names like those we give": (
        ["n", 3],
        ["n", 3],
        [("Relu", "x", "001_Sigmoid", {}), ("Sigmoid", "001_Sigmoid", "a", {}), ("Neg", "a", "y", {})],
        {},
    ),
    "resize that interpolates": (
        ["n", 4, 4, 4],
        ["n", 4, 8, 8],
        [
            ("Resize", "x roi s", "a", {"mode": "linear"}),
            ("Conv", "a w", "y", {"pads": [1, 1, 1, 1]}),
        ],
        {"roi": np.float32([]), "s": np.float32([1, 1, 2, 2]), "w": normal(4, 4, 3, 3)},
    ),
    "resize that rounds the other way": (
        ["n", 4, 4, 4],
        ["n", 4, 12, 12],
        [
            ("Resize", "x roi s", "a", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}),
            ("Conv", "a w", "y", {"pads": [1, 1, 1, 1]}),
        ],
        {"roi": np.float32([]), "s": np.float32([1, 1, 3, 3]), "w": normal(4, 4, 3, 3)},
    ),
    "resize by a half": (
        ["n", 4, 4, 4],
        ["n", 4, 6, 6],
        [("Resize", "x roi s", "a", {"mode": "nearest"}), ("Conv", "a w", "y", {"pads": [1, 1, 1, 1]})],
        {"roi": np.float32([]), "s": np.float32([1, 1, 1.5, 1.5]), "w": normal(4, 4, 3, 3)},
    ),
    "resize of channels": (
        ["n", 2, 4, 4],
        ["n", 4, 4, 4],
        [("Resize", "x roi s", "a", {"mode": "nearest"}), ("Conv", "a w", "y", {"pads": [1, 1, 1, 1]})],
        {"roi": np.float32([]), "s": np.float32([1, 2, 1, 1]), "w": normal(4, 4, 3, 3)},
    ),
    "padding wider than the kernel": (
        ["n", 8, 4, 4],
        ["n", 2, 8, 8],
        [("Conv", "x w", "y", {"pads": [3, 3, 3, 3]})],
        {"w": normal(2, 8, 3, 3)},
    ),
    "steps and gaps in the last convolution": (
        ["n", 8, 9, 9],
        ["n", 1, 3, 4],
        [("Conv", "x w", "y", {"strides": [3, 2], "dilations": [1, 1], "pads": [1, 0, 1, 0]})],
        {"w": normal(1, 8, 3, 3)},
    ),
    "gaps in the last convolution": (
        ["n", 8, 9, 9],
        ["n", 1, 9, 9],
        [("Conv", "x w", "y", {"dilations": [2, 2], "pads": [2, 2, 2, 2]})],
        {"w": normal(1, 8, 3, 3)},
    ),
    "one pixel with padding of the output": (
        ["n", 5, 1, 1],
        ["n", 6, 4, 4],
        [("ConvTranspose", "x w", "y", {"strides": [2, 2], "output_padding": [1, 1]})],
        {"w": normal(5, 6, 3, 3)},
    ),
    "tiles that follow each other": (
        ["n", 3, 2],
        ["n", 6, 2],
        [("Unsqueeze", "x one", "a", {}), ("Tile", "a repeats", "b", {}), ("Reshape", "b shape", "y", {})],
        {"one": np.int64([1]), "repeats": np.int64([1, 2, 1, 1]), "shape": np.int64([-1, 6, 2])},
    ),
    "repeats that are not merged": (
        ["n", 4, 2],
        ["n", 2, 8],
        [("Unsqueeze", "x two", "a", {}), ("Tile", "a repeats", "b", {}), ("Reshape", "b shape", "y", {})],
        {"two": np.int64([2]), "repeats": np.int64([1, 1, 2, 1]), "shape": np.int64([-1, 2, 8])},
    ),
    "target that depends on values": (
        ["n", 6],
        [2, 3],
        [
            ("Cast", "count", "b", {"to": TensorProto.INT64}),
            ("Shape", "x", "s", {}),
            ("Slice", "s zero b", "a", {}),
            ("Concat", "a six", "t", {"axis": 0}),
            ("Reshape", "x t", "y", {}),
        ],
        {"count": np.float32([1]), "zero": np.int64([0]), "six": np.int64([6])},
    ),
    "two outputs": (
        ["n", 6],
        ["n", 3],
        [("Split", "x", "a b", {"axis": 1, "num_outputs": 2}), ("Mul", "a b", "y", {})],
        {},
    ),
    "second output through an Identity": (
        ["n", 6],
        ["n", 3],
        [("Split", "x", "a b", {"axis": 1, "num_outputs": 2}), ("Identity", "b", "y", {})],
        {},
    ),
    "constant as large as images after one pixel": (
        ["n", 5],
        ["n", 4, 4, 6],
        [("MatMul", "x w", "a", {}), ("Reshape", "a shape", "b", {}), ("Add", "b t", "y", {})],
        {"w": normal(5, 6), "shape": np.int64([-1, 1, 1, 6]), "t": normal(1, 4, 4, 6)},
    ),
    "one latent that a constant makes five of": (
        ["n", 1],
        ["n", 6],
        [("Mul", "x s", "a", {}), ("MatMul", "a w", "y", {})],
        {"s": normal(5), "w": normal(5, 6)},
    ),
    "one channel that a constant makes three of": (
        ["n", 1, 4, 4],
        ["n", 5, 2, 2],
        [("Mul", "x s", "a", {}), ("Conv", "a w", "y", {})],
        {"s": normal(1, 3, 1, 1), "w": normal(5, 3, 3, 3)},
    ),
    "padding by name": (
        ["n", 3, 5, 5],
        ["n", 5, 5, 5],
        [("Add", "x t", "a", {}), ("Conv", "a w", "y", {"auto_pad": "SAME_UPPER", "kernel_shape": [3, 3]})],
        {"t": normal(1, 3, 1, 1), "w": normal(5, 3, 3, 3)},
    ),
    "normalisation of rows": (
        ["n", 5],
        ["n", 5],
        [("BatchNormalization", "x s b m v", "y", {})],
        {"s": normal(5), "b": normal(5), "m": normal(5), "v": positive(5)},
    ),
    "normalisation of sequences": (
        ["n", 5, 5],
        ["n", 5, 5],
        [("BatchNormalization", "x s b m v", "y", {})],
        {"s": normal(5), "b": normal(5), "m": normal(5), "v": positive(5)},
    ),
    "scalar with axes of its own": (
        ["n", 6],
        [1, "n", 3],
        [("MatMul", "x w", "a", {}), ("Add", "a t", "y", {})],
        {"w": normal(6, 3), "t": normal(1, 1, 1)},
    ),
    "scalar that adds the axis of a transpose": (
        ["n", 6, 3],
        [1, 3, "n", 6],
        [("Add", "x t", "a", {}), ("Transpose", "a", "y", {"perm": [0, 3, 1, 2]})],
        {"t": normal(1, 1, 1, 1)},
    ),
    "transpose that only says to reverse": (["n", 6], [6, "n"], [("Transpose", "x", "y", {})], {}),
    "product of stacks of matrices": (
        [2, 2, 4, 5],
        [2, 2, 4, 6],
        [("Mul", "x s", "a", {}), ("MatMul", "a w", "y", {})],
        {"s": normal(1, 2, 1, 1), "w": normal(2, 2, 5, 6)},
    ),
    "values with names like ours": (
        ["n", 3, 4, 4],
        ["n", 3, 4, 4],
        [("Tanh", "x", "constant", {}), ("BatchNormalization", "constant s b m v", "y", {})],
        {"s": normal(3), "b": normal(3), "m": normal(3), "v": positive(3)},
    ),
    "bias of one value for all columns": (
        ["n", 5],
        ["n", 2, 2, 3],
        [
            ("Gemm", "x w c", "a", {}),
            ("Reshape", "a shape", "b", {}),
            ("Transpose", "b", "y", {"perm": [0, 3, 1, 2]}),
        ],
        {"w": normal(5, 12), "c": normal(1), "shape": np.int64([-1, 2, 3, 2])},
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_values_stay_if_a_step_only_looks_as_if_it_could_be_folded(name):
    source, target, nodes, constants = TRAPS[name]
    made = [
        helper.make_node(operation, i.split(), o.split(), **settings) for operation, i, o, settings in nodes
    ]
    proto = graph(source, target, **constants)
    proto.graph.node.extend(made)
    result = simplify(proto)
    onnx.checker.check_model(result)
    for batch in (1, 3, 5):
        x = RNG.standard_normal([size if isinstance(size, int) else batch for size in source]).astype(
            np.float32
        )
        expected = run(proto, x)
        assert run(result, x).shape == expected.shape
        np.testing.assert_allclose(run(result, x), expected, rtol=1e-5, atol=1e-5)


def test_deep_graph_is_simplified_to_its_last_node():
    nodes, constants, value = [], {}, "x"
    for block in range(100):
        constants |= {
            f"w{block}": normal(4, 4, 3, 3) / 10,
            f"s{block}": positive(1, 4, 1, 1),
            f"t{block}": normal(1, 4, 1, 1),
        }
        nodes += [
            ("Conv", f"{value} w{block}", f"a{block}", {"pads": [1, 1, 1, 1]}),
            ("Mul", f"a{block} s{block}", f"b{block}", {}),
            ("Add", f"b{block} t{block}", f"c{block}", {}),
            ("Relu", f"c{block}", f"d{block}" if block < 99 else "y", {}),
        ]
        value = f"d{block}"
    result = simplify(graph(["n", 4, 8, 8], ["n", 4, 8, 8], *nodes, **constants))
    assert operations(result) == ["Conv", "Relu"] * 100


def test_input_and_output_names_like_ours_stay():
    model = graph(
        ["n", 3], ["n", 3], ("Relu", "x", "a", {}), ("Sigmoid", "a", "b", {}), ("Neg", "b", "y", {})
    )
    model.graph.output[0].name = model.graph.node[2].output[0] = "001_Sigmoid"
    model.graph.input[0].name = model.graph.node[0].input[0] = "000_Relu"
    result = simplify(model)
    onnx.checker.check_model(result, full_check=True)
    assert [value.name for value in (*result.graph.input, *result.graph.output)] == [
        "000_Relu",
        "001_Sigmoid",
    ]


def test_upsampling_by_a_large_factor_keeps_its_small_kernel():
    model = graph(
        ["n", 4, 3, 3],
        ["n", 4, 24, 24],
        ("Resize", "x roi s", "a", {"mode": "nearest"}),
        ("Conv", "a w", "y", {"pads": [1, 1, 1, 1]}),
        roi=np.float32([]),
        s=np.float32([1, 1, 8, 8]),
        w=normal(4, 4, 3, 3),
    )
    assert_rewritten(model, ["Resize", "Conv"])


def test_normalisation_in_float64_is_not_changed():
    model = graph(
        ["n", 3],
        ["n", 3],
        ("Cast", "x", "a", {"to": TensorProto.DOUBLE}),
        ("BatchNormalization", "a s b m v", "c", {}),
        ("Cast", "c", "y", {"to": TensorProto.FLOAT}),
        **{name: np.ones(3) for name in "sbmv"},
    )
    assert_rewritten(model, ["Cast", "BatchNormalization", "Cast"])


def test_transposed_dense_weights_are_stored_as_they_are_used():
    model = graph(
        ["n", 3],
        ["n", 4],
        ("Gemm", "x w b", "y", {"transB": 1}),
        w=normal(4, 3),
        b=normal(4),
    )
    assert_rewritten(model, ["Gemm"], "transpose dense weights")
    (node,) = simplify(model).graph.node
    assert not node.attribute


def test_slice_of_a_concat_is_its_input():
    model = graph(
        ["n", 3],
        ["n", 3],
        ("Mul", "x two", "double", {}),
        ("Concat", "double x", "both", {"axis": 1}),
        ("Slice", "both three six axis", "part", {}),
        ("Tanh", "part", "y", {}),
        two=np.float32(2),
        three=np.array([3]),
        six=np.array([6]),
        axis=np.array([1]),
    )
    assert_rewritten(model, ["Tanh"])
    across = graph(
        ["n", 3],
        ["n", 3],
        ("Mul", "x two", "double", {}),
        ("Concat", "double x", "both", {"axis": 1}),
        ("Slice", "both start stop axis", "part", {}),
        ("Tanh", "part", "y", {}),
        two=np.float32(2),
        start=np.array([2]),
        stop=np.array([5]),
        axis=np.array([1]),
    )
    assert_rewritten(across, ["Mul", "Concat", "Slice", "Tanh"])


def test_index_of_a_one_hot_code_is_the_label():
    def model(values):
        return graph(
            ["n"],
            ["n", 1],
            ("Cast", "x", "label", {"to": TensorProto.INT64}),
            ("OneHot", "label depth values", "code", {"axis": -1}),
            ("ArgMax", "code", "index", {"axis": 1, "keepdims": 1}),
            ("Cast", "index", "y", {"to": TensorProto.FLOAT}),
            depth=np.int64(4),
            values=np.array(values, np.float32),
        )

    x = np.float32([0, 3, 2])
    assert operations(simplify(model([0, 1]))) == ["Cast", "Unsqueeze", "Cast"]
    np.testing.assert_array_equal(run(simplify(model([0, 1])), x), run(model([0, 1]), x))
    # A code whose hot element is the smallest has another index of its largest element.
    assert "OneHot" in operations(simplify(model([1, 0])))
