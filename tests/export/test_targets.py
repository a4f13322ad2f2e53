"""Targets: a graph has only the operators and types in the target's table, and generates the same images."""

import hashlib
import json
from statistics import NormalDist

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from ganport.export import export, export_generator
from ganport.export.errors import TargetError
from ganport.export.options import Options, options_for
from ganport.export.parity import open_on_cpu
from ganport.export.paths import check_path
from ganport.export.rewrites import TARGET_REWRITES, simplify
from ganport.export.sources import Source, load_source
from ganport.export.targets import TARGETS, check_graph
from ganport.export.verified import convert_and_verify
from ganport.runtime import Sampler, check_golden, sample_latents
from ganport.runtime.errors import OutputError, UsageError
from ganport.trainer.recipes import load_recipe
from tests.conftest import failure, run_ganport
from tests.export.conftest import shake

LABELS = ("a", "b", "c")


def conditional() -> Source:
    """Return a generator with labels, uneven pads, one channel, and a convolution in the middle."""
    steps = [
        keras.Input((8 + len(LABELS),)),
        layers.Dense(7 * 7 * 8),
        layers.Reshape((7, 7, 8)),
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Conv2DTranspose(8, 5, 2, padding="same"),
        layers.LeakyReLU(),
        layers.Conv2D(8, 2, padding="same", activation="relu"),
        layers.UpSampling2D(),
        layers.Conv2D(1, 3, padding="same", activation="tanh"),
    ]
    return Source(name="conditional", generator=shake(keras.Sequential(steps)), labels=LABELS)


@pytest.fixture(scope="module")
def source() -> Source:
    return conditional()


@pytest.fixture(scope="module")
def ordinary(source, tmp_path_factory) -> Sampler:
    path = tmp_path_factory.mktemp("ordinary") / "x.onnx"
    export_generator(source, path)
    return Sampler(path)


@pytest.mark.parametrize("name", TARGETS)
def test_graph_has_only_what_the_table_of_its_target_has(source, ordinary, tmp_path, name):
    target = TARGETS[name]
    for precision in target.precisions:
        path = tmp_path / f"{precision}.onnx"
        contract = export_generator(source, path, options_for(name, precision=precision, allow_loss=None))
        model = onnx.load(path)
        assert {node.op_type for node in model.graph.node} <= target.operators
        check_graph(model, name)
        (opset,) = model.opset_import
        assert opset.version == target.opset
        inputs = {value.name: value.type.tensor_type for value in model.graph.input}
        assert {each.elem_type for each in inputs.values()} == {TensorProto.FLOAT}
        assert [size.dim_value for size in inputs["label"].shape.dim] == [target.batch or 0, len(LABELS)]
        assert (contract.batch, contract.image.layout) == (target.batch, "NCHW")
        with Sampler(path) as sampler:
            assert sampler.contract.input.label_encoding == "one-hot"
            images = sampler.sample(range(7), labels=[2, 0, 1, 1, 0, 2, 2]).astype(int)
            expected = ordinary.sample(range(7), labels=[2, 0, 1, 1, 0, 2, 2])
            limit = 1 if precision == "float32" else 4
            assert np.abs(images - expected).max() <= limit
            assert all(check.passed for check in check_golden(sampler))


def test_portable_graph_has_the_eight_operators(source):
    model = convert_and_verify(source, options_for("portable")).model
    kinds = {node.op_type for node in model.graph.node}
    assert kinds <= {
        *("Gemm", "Reshape", "ConvTranspose", "Conv", "LeakyRelu", "Tanh", "Add", "Mul"),
        "Relu",  # this generator has one
    }
    for node in model.graph.node:
        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        assert not {"auto_pad", "output_shape", "output_padding"} & set(settings)
        if "pads" in settings:
            assert settings["pads"][:2] == settings["pads"][2:]


@pytest.mark.parametrize("recipe", ["mnist-dense", "digits", "rps-conditional", "images"])
@pytest.mark.slow
def test_every_kind_of_recipe_is_portable(recipe, tmp_path):
    count = len(LABELS) if recipe in ("rps-conditional", "images") else 0
    shape = {"mnist-dense": (28, 28, 1), "digits": (8, 8, 1)}.get(recipe, (104, 104, 3))
    generator = shake(load_recipe(recipe).build_generator(100 + count, shape))
    source = Source(name=recipe, generator=generator, labels=LABELS[:count])
    export_generator(source, tmp_path / "x.onnx", options_for("portable"))
    assert Sampler(tmp_path / "x.onnx").sample([0]).shape == (1, *shape)


@pytest.mark.parametrize("kind", ["dense", "dcgan", "upsampling", "pixel-shuffle"])
@pytest.mark.slow
def test_third_party_architectures_are_portable(kind, tmp_path):
    from benchmarks.third_party_generators import build

    build(kind).save(tmp_path / "x.keras")
    export_generator(load_source(tmp_path / "x.keras"), tmp_path / "x.onnx", options_for("portable"))
    assert all(check.passed for check in check_golden(Sampler(tmp_path / "x.onnx")))


def test_operator_that_a_target_does_not_read_is_named_with_a_way_on(tmp_path):
    steps = [
        keras.Input((4,)),
        layers.Dense(48),
        layers.Softmax(),
        layers.Dense(48, activation="tanh"),
        layers.Reshape((4, 4, 3)),
    ]
    source = Source(name="attention", generator=shake(keras.Sequential(steps)))
    with pytest.raises(
        TargetError, match=r"the operator Softmax .* use `target='webgpu'`, which reads it"
    ) as caught:
        export_generator(source, tmp_path / "x.onnx", options_for("portable"))
    assert caught.value.target == "portable"
    assert not list(tmp_path.iterdir())
    export_generator(source, tmp_path / "x.onnx", options_for("webgpu"))


def graph_of(node, *, constants, opset=15, kind=TensorProto.FLOAT, size=1):
    ends = [
        helper.make_tensor_value_info("x", kind, [size, 2, 4, 4]),
        helper.make_tensor_value_info("y", kind, None),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


WEIGHTS = np.random.default_rng(3).normal(size=(2, 3, 4, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"pads": [1, 0, 1, 1]}, "uneven pads"),
        ({"auto_pad": "SAME_UPPER"}, "automatic pads"),
        ({"output_shape": [8, 8], "strides": [2, 2]}, "an output shape"),
        ({"output_padding": [1, 1], "strides": [2, 2]}, "an output shape or output pads"),
        ({"dilations": [2, 2]}, "dilations"),
        ({"group": 2}, "groups"),
    ],
)
def test_convolution_that_simple_runtimes_misread_is_named(settings, problem):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **settings)
    with pytest.raises(TargetError, match=problem):
        check_graph(graph_of(node, constants={"w": WEIGHTS}), "portable")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"opset": 16}, "opset 16, and the target reads up to 15"),
        ({"kind": TensorProto.DOUBLE}, "values of float64, and the target reads float32"),
        ({"size": "batch"}, "a free size; give a number for `batch`"),
        ({"constants": {"w": WEIGHTS.astype(np.float16)}}, "values of float16, and the target reads float32"),
    ],
)
def test_type_size_and_opset_that_a_target_does_not_read_are_named(changes, problem):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"])
    model = graph_of(node, **{"constants": {"w": WEIGHTS}} | changes)
    with pytest.raises(TargetError, match=problem):
        check_graph(model, "unity")


PADS = [
    {"pads": [0, 1, 1, 0], "strides": [2, 2]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [3, 3]},
    {"auto_pad": "VALID"},
]
OUTPUT_SIZES = [
    {"output_padding": [1, 0], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"output_shape": [9, 8], "strides": [2, 2]},
]


@pytest.mark.parametrize(
    ("operator", "settings"),
    [
        *(("Conv", each) for each in PADS),
        *(("ConvTranspose", each) for each in (*PADS, *OUTPUT_SIZES)),
    ],
    ids=str,
)
def test_pads_become_explicit_and_even_and_the_images_stay(settings, operator):
    weights = WEIGHTS if operator == "ConvTranspose" else WEIGHTS.transpose(1, 0, 2, 3).copy()
    node = helper.make_node(operator, ["x", "w"], ["y"], kernel_shape=[4, 4], **settings)
    before = graph_of(node, constants={"w": weights})
    after = simplify(before, TARGET_REWRITES)
    check_graph(after, "portable")
    x = np.random.default_rng(4).normal(size=(1, 2, 4, 4)).astype(np.float32)
    (expected,), (images,) = (open_on_cpu(each).run(None, {"x": x}) for each in (before, after))
    assert images.shape == expected.shape
    np.testing.assert_allclose(images, expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("is_uniform", [True, False])
def test_depth_to_space_becomes_one_transposed_convolution(mode, is_uniform):
    rng = np.random.default_rng(5)
    weights, bias = rng.normal(size=(12, 2, 3, 3)).astype(np.float32), rng.normal(size=12).astype(np.float32)
    if is_uniform:
        bias[:] = 0.5
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["c"], ["r"]),
        helper.make_node("DepthToSpace", ["r"], ["y"], blocksize=2, mode=mode),
    ]
    model = graph_of(nodes[0], constants={"w": weights, "b": bias})
    model.graph.node.extend(nodes[1:])
    after = simplify(model, TARGET_REWRITES)
    check_graph(after, "portable")
    x = rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
    (expected,), (images,) = (open_on_cpu(each).run(None, {"x": x}) for each in (model, after))
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_crop_after_a_transposed_convolution_is_folded_into_its_pads():
    bounds = {"starts": np.array([1, -9]), "ends": np.array([8, -1]), "axes": np.array([2, 3])}
    model = graph_of(
        helper.make_node("ConvTranspose", ["x", "w"], ["c"], strides=[2, 2]),
        constants={"w": WEIGHTS, **bounds},
    )
    model.graph.node.append(helper.make_node("Slice", ["c", *bounds], ["y"]))
    after = simplify(model, TARGET_REWRITES)
    check_graph(after, "portable")
    x = np.random.default_rng(6).normal(size=(1, 2, 4, 4)).astype(np.float32)
    (expected,), (images,) = (open_on_cpu(each).run(None, {"x": x}) for each in (model, after))
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_embedding_of_a_label_becomes_a_dense_layer(tmp_path):
    latents, label = keras.Input((6,), name="z"), keras.Input((1,), dtype="int32", name="label")
    code = layers.Flatten()(layers.Embedding(len(LABELS), 6)(label))
    hidden = layers.Dense(48, activation="tanh")(layers.Multiply()([latents, code]))
    model = shake(keras.Model([latents, label], layers.Reshape((4, 4, 3))(hidden)))
    model.save(tmp_path / "x.keras")
    export(tmp_path / "x.keras", tmp_path / "x.onnx", labels=len(LABELS), target="portable")
    export(tmp_path / "x.keras", tmp_path / "y.onnx", labels=len(LABELS))
    images = [Sampler(tmp_path / f"{name}.onnx").sample(range(6), labels=[0, 1, 2] * 2) for name in "xy"]
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "uint8"}, "needs output float, and `output` is 'uint8'; leave `output` out"),
        ({"layout": "NHWC"}, "needs layout NCHW, and `layout` is 'NHWC'"),
        ({"input_kind": "seed"}, "needs input kind latent, and `input_kind` is 'seed'"),
        ({"precision": "int8"}, "needs precision float32 or float16, and `precision` is 'int8'"),
        ({"opset": 18}, "needs opset 15 or older, and `opset` is 18"),
    ],
)
def test_option_that_contradicts_the_target_is_named(options, message):
    with pytest.raises(UsageError, match=message):
        options_for("portable", **options)


def test_options_that_fit_the_target_are_kept():
    assert options_for("portable", batch=4, opset=14) == Options(
        target="portable", output="float", layout="NCHW", batch=4, opset=14
    )
    assert options_for(batch=None, output=None) == Options()
    with pytest.raises(
        UsageError, match=r"`target` is 'psp'; it must be portable, unity, webgpu, .* or tensorrt"
    ):
        options_for("psp")


@pytest.fixture(scope="module")
def described(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("described") / "x.onnx"
    export_generator(source, path, options_for("portable"))
    return path


def test_description_lies_inside_and_beside_the_file(described):
    beside = json.loads(described.with_suffix(".json").read_text())
    (entry,) = onnx.load(described).metadata_props
    assert json.loads(entry.value) == beside
    assert beside["format"] == 4
    assert beside["golden"]["png_base64"]
    with Sampler(described) as sampler:
        known = sampler.contract.to_dict()
    assert json.loads(json.dumps(known)).items() <= beside.items()


def test_host_can_make_latents_from_the_description_alone(described):
    document = json.loads(described.with_suffix(".json").read_text())
    rule, dim = document["seed_rule"], document["input"]["dim"]
    table = [np.float32(NormalDist().inv_cdf(0.5 + (k + 0.5) / 8192)) for k in range(4096)]
    assert hashlib.sha256(np.array(table, "<f4").tobytes()).hexdigest() == rule["table_sha256"]
    known = rule["known_answers"]["philox"]
    assert philox(rule, known["counter"], known["key"]) == known["words"]
    for answer in rule["known_answers"]["latents"]:
        seed = int(answer["seed"])
        latents = [latent(rule, table, seed, index) for index in range(dim)]
        assert latents[:4] == answer["first"]
        assert hashlib.sha256(np.array(latents, "<f4").tobytes()).hexdigest() == answer["sha256"]
        np.testing.assert_array_equal(latents, sample_latents([seed], dim)[0])


def philox(rule, counter, key):
    """Return four words, by the text of the rule."""
    c, key, word = list(counter), list(key), 2**32
    for _ in range(rule["rounds"]):
        p, q = rule["multipliers"][0] * c[0], rule["multipliers"][1] * c[2]
        c = [q // word ^ c[1] ^ key[0], q % word, p // word ^ c[3] ^ key[1], p % word]
        key = [(each + step) % word for each, step in zip(key, rule["key_steps"], strict=True)]
    return c


def latent(rule, table, seed, index):
    words = philox(rule, [index // 8, 0, 0, 0], [seed & 0xFFFFFFFF, seed >> 32])
    word = words[index % 8 // 2]
    h = word & 0xFFFF if index % 2 else word >> 16
    magnitude = float(table[h >> 3 & 4095])
    return -magnitude if h >> 15 else magnitude


def test_file_of_a_target_and_its_description_are_written_together_or_not_at_all(source, tmp_path):
    (tmp_path / "x.json").write_text("existing")
    with pytest.raises(OutputError, match=r"x\.json: it exists"):
        export_generator(source, tmp_path / "x.onnx", options_for("portable"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(UsageError, match="`target='portable'` is for `file_format='onnx'`"):
        check_path(tmp_path / "y.ort", options_for("portable"), "ort")


def test_command_says_which_option_contradicts_the_target(tmp_path):
    (tmp_path / "mine.keras").touch()
    done = run_ganport("export", "mine.keras", "--for", "unity", "--output", "uint8", cwd=tmp_path)
    assert (
        "--for unity needs output float, and --output is 'uint8'; leave --output out, or leave --for out."
        in failure(done, 2)
    )
