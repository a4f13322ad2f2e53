"""Third-party graphs with other inputs and outputs than ganport's own: labels, constants, rows, ranges."""

import numpy as np
import pytest
from onnx import TensorProto

from ganport.runtime import Sampler, sample_latents, to_uint8
from ganport.runtime.description import (
    Description,
    parse_description,
    parse_image_size,
    parse_labels,
    parse_range,
)
from ganport.runtime.errors import InferenceError, LabelError, NotAGeneratorError, UsageError
from tests.third_party_graphs import (
    CODES,
    DIM,
    IMAGE,
    KINDS,
    LABELS,
    RNG,
    SIDE,
    TANH,
    WEIGHTS,
    Z,
    chain,
    close,
    dynamic_model,
    expected,
    graph_of,
    index_model,
    joined_model,
    node,
    one_hot_model,
    parsed,
    tensor,
)


@pytest.mark.parametrize("shape", [("n",), ("n", 1)], ids=str)
@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32], ids=str)
def test_label_input_of_an_embedding_gives_the_labels(shape, kind):
    sampler = Sampler(index_model(shape, kind))
    assert sampler.contract.input.labels == ("0", "1", "2", "3", "4")
    latents = sample_latents(range(9), DIM)
    assert close(sampler.sample(range(9)), expected(latents, CODES[np.arange(9) % LABELS]))
    assert close(sampler.sample(range(9), labels=3), expected(latents, CODES[3]))


def test_labels_can_be_named():
    sampler = Sampler(index_model(), labels=["a", "b", "c"])
    latents = sample_latents([0], DIM)
    assert close(sampler.sample([0], labels="c"), expected(latents, CODES[2]))
    with pytest.raises(LabelError, match="the generator's labels are a, b, c"):
        sampler.sample([0], labels="d")
    with pytest.raises(NotAGeneratorError, match="`labels` has 6 labels, and the graph has 5"):
        Sampler(index_model(), labels=6)


@pytest.mark.parametrize(
    ("model", "options"),
    [(one_hot_model(), {}), (joined_model(), {}), (joined_model(2), {"labels_at": 2})],
    ids=["input of its own", "behind the latents", "between the latents"],
)
def test_one_hot_code_of_a_label(model, options):
    sampler = Sampler(model, labels=LABELS, **options)
    assert sampler.contract.input.dim == DIM
    latents = sample_latents(range(7), DIM)
    assert close(sampler.sample(range(7), labels=4), expected(latents, CODES[4]))
    assert close(sampler.sample(range(7)), expected(latents, CODES[np.arange(7) % LABELS]))


LABELLED = "h = MatMul(z, w) c = Gather(codes, {}) s = Add(h, c) x = Tanh(s) image = Reshape(x, image_shape)"


@pytest.mark.parametrize("kind", ["float", "double", "float16", "uint8"])
@pytest.mark.parametrize("shape", ["[n]", "[n, 1]", "[n, 1, 1]"])
def test_label_input_of_any_type_is_found_by_its_embedding(kind, shape):
    """Keras declares its label inputs as floats, unless the author says otherwise."""
    body = "t = Constant <value_ints = [-1]> () r = Reshape(label, t) i = Cast <to = 7> (r) "
    body += LABELLED.format("i")
    sampler = Sampler(parsed(body, inputs=f"float[n, {DIM}] z, {kind}{shape} label"))
    assert sampler.contract.input.labels == ("0", "1", "2", "3", "4")
    assert sampler.contract.input.dim == DIM
    assert close(sampler.sample(range(9), labels=3), expected(sample_latents(range(9), DIM), CODES[3]))


def test_negative_labels_of_keras_do_not_hide_the_embedding():
    """Keras' Embedding computes the index from the label, so that -1 is the last label."""
    body = "l = Less(label, first) m = Cast <to = 7> (l) a = Add(label, added) p = Mul(m, a) o = Not(l)"
    body += " q = Cast <to = 7> (o) r = Mul(label, q) i = Add(p, r) " + LABELLED.format("i")
    inputs = f"float[n, {DIM}] z, int64[n] label"
    sampler = Sampler(parsed(body, inputs=inputs, first=np.int64(0), added=np.int64(LABELS)))
    assert close(sampler.sample(range(9), labels=3), expected(sample_latents(range(9), DIM), CODES[3]))
    # After another addition, the last row of the embedding belongs to no label.
    with pytest.raises(NotAGeneratorError, match="the graph does not show how many labels there are"):
        Sampler(parsed(body, inputs=inputs, first=np.int64(0), added=np.int64(1)))


def test_labels_that_the_graph_does_not_have_are_rejected():
    """After an addition, the number of rows does not show the number of labels."""
    body = "i = Add(label, added) " + LABELLED.format("i")
    model = parsed(body, inputs=f"float[n, {DIM}] z, int64[n] label", added=np.int64(1))
    images = Sampler(model, labels=LABELS - 1).sample(range(9), labels=3)
    assert close(images, expected(sample_latents(range(9), DIM), CODES[4]))
    with pytest.raises(NotAGeneratorError, match=r"does not run with label 4; give fewer `labels` \(.*idx=5"):
        Sampler(model, labels=LABELS)


@pytest.mark.parametrize(("model", "labels"), [(index_model(), LABELS), (chain(("Tanh", "", {})), None)])
def test_index_of_a_one_hot_code_is_for_codes_among_the_latents(model, labels):
    with pytest.raises(NotAGeneratorError, match="`labels_at` is for a one-hot code in one input together"):
        Sampler(model, labels=labels, labels_at=2)


@pytest.mark.parametrize(("numbers", "is_shown"), [(range(LABELS), True), ([3, 1, 4, 1, 5], False)])
def test_label_that_is_compared_with_all_labels(numbers, is_shown):
    """PyTorch exports a one-hot code in this way."""
    body = "u = Unsqueeze(label, axis) e = Equal(u, all) o = Cast <to = 1> (e) c = MatMul(o, codes)"
    body += " h = MatMul(z, w) s = Add(h, c) x = Tanh(s) image = Reshape(x, image_shape)"
    model = parsed(
        body,
        inputs=f"float[n, {DIM}] z, int64[n] label",
        axis=np.array([1]),
        all=np.array(list(numbers)),
    )
    if is_shown:
        images = Sampler(model).sample(range(9), labels=3)
        assert close(images, expected(sample_latents(range(9), DIM), CODES[3]))
    else:
        with pytest.raises(NotAGeneratorError, match="does not show how many labels"):
            Sampler(model)


def test_one_hot_code_of_whole_numbers():
    body = "f = Cast <to = 1> (y) c = MatMul(f, codes) h = MatMul(z, w) s = Add(h, c) x = Tanh(s)"
    model = parsed(
        body + " image = Reshape(x, image_shape)", inputs=f"float[n, {DIM}] z, int64[n, {LABELS}] y"
    )
    images = Sampler(model, labels=LABELS).sample(range(9), labels=4)
    assert close(images, expected(sample_latents(range(9), DIM), CODES[4]))
    with pytest.raises(NotAGeneratorError, match=r"'y' .* seems to take a label's one-hot code.*`labels=5`"):
        Sampler(model)
    with pytest.raises(NotAGeneratorError, match="takes 5 whole numbers per image; expected a label's index"):
        Sampler(model, labels=4)


def test_latents_may_be_named_like_labels():
    nodes = [node("MatMul", "label w", "dense"), node("MatMul", "y codes", "code")]
    nodes += [node("Add", "dense code", "sum"), *TANH]
    ends = [tensor("label", TensorProto.FLOAT, ["n", DIM]), tensor("y", TensorProto.FLOAT, ["n", LABELS])]
    sampler = Sampler(graph_of(nodes, ends, [IMAGE]), labels=LABELS)
    assert close(sampler.sample(range(9), labels=2), expected(sample_latents(range(9), DIM), CODES[2]))


def test_one_hot_input_is_not_guessed():
    with pytest.raises(NotAGeneratorError, match=r"'onehot'.* seems to take a label's one-hot.*`labels=5`"):
        Sampler(one_hot_model())
    # An input whose name says nothing takes further latents.
    assert Sampler(one_hot_model("style")).contract.input.dim == DIM + LABELS


def test_width_that_suggests_a_one_hot_code_is_noted():
    model = graph_of(
        [node("MatMul", "z wide", "sum"), *TANH],
        [tensor("z", TensorProto.FLOAT, ["n", 138])],
        [IMAGE],
        wide=RNG.standard_normal((138, SIDE * SIDE)).astype(np.float32) / 8,
    )
    assert "may hold a label's one-hot code" in Sampler(model).model.note
    assert Sampler(model, labels=10).model.note == ""
    assert Sampler(index_model()).model.note == ""


def test_constant_input_takes_the_given_value():
    nodes = [node("Mul", "z psi", "scaled"), node("MatMul", "scaled w", "sum"), *TANH]
    model = graph_of(nodes, [Z, tensor("psi", TensorProto.FLOAT, [1])], [IMAGE])
    with pytest.raises(NotAGeneratorError, match=r"give its value, such as `input_values=\{'psi': 0.7\}`"):
        Sampler(model)
    images = Sampler(model, input_values={"psi": 0.5}).sample(range(5))
    assert close(images, expected(sample_latents(range(5), DIM) * np.float32(0.5)))
    with pytest.raises(NotAGeneratorError, match="`input_values` names 'phi', and its inputs are z, psi"):
        Sampler(model, input_values={"phi": 0.5})


def test_input_without_elements_is_filled():
    """StyleGAN without classes takes `c` of width 0."""
    nodes = [node("Concat", "z c", "both", axis=1), node("MatMul", "both w", "sum"), *TANH]
    model = graph_of(nodes, [Z, tensor("c", TensorProto.FLOAT, ["n", 0])], [IMAGE])
    assert close(Sampler(model).sample(range(5)), expected(sample_latents(range(5), DIM)))


def test_several_latents_are_parts_of_one_vector():
    nodes = [node("Concat", "z style", "both", axis=1), node("MatMul", "both w", "sum"), *TANH]
    inputs = [tensor(name, TensorProto.FLOAT, ["n", DIM // 2]) for name in ("z", "style")]
    sampler = Sampler(graph_of(nodes, inputs, [IMAGE]))
    assert sampler.contract.input.dim == DIM
    assert close(sampler.sample(range(5)), expected(sample_latents(range(5), DIM)))


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_float_types_go_in_and_out(kind):
    nodes = [
        node("Cast", "z", "single", to=TensorProto.FLOAT),
        node("MatMul", "single w", "sum"),
        node("Tanh", "sum", "flat"),
        node("Reshape", "flat image_shape", "shaped"),
        node("Cast", "shaped", "image", to=KINDS[np.dtype(kind)]),
    ]
    ends = (
        [tensor("z", KINDS[np.dtype(kind)], ["n", DIM])],
        [tensor("image", KINDS[np.dtype(kind)], ["n", "c", "h", "w"])],
    )
    sampler = Sampler(graph_of(nodes, *ends))
    assert sampler.contract.image.dtype == "float32"
    latents = sample_latents(range(5), DIM).astype(kind).astype(np.float32)
    assert close(sampler.sample(range(5)), expected(latents))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ([-1, 36], {}),
        ([-1, 36], {"image_size": (6, 6, 1)}),
        ([-1, 6, 6], {}),
        ([-1, 6, 6, 1], {}),
    ],
    ids=str,
)
def test_rows_and_grey_images_without_channels(shape, options):
    nodes = [
        node("MatMul", "z w", "sum"),
        node("Tanh", "sum", "flat"),
        node("Reshape", "flat target", "image"),
    ]
    model = graph_of(
        nodes, [Z], [tensor("image", TensorProto.FLOAT, ["n", *shape[1:]])], target=np.array(shape)
    )
    assert close(Sampler(model, **options).sample(range(5)), expected(sample_latents(range(5), DIM)))


def test_colour_rows_need_a_size_and_a_layout():
    weights = RNG.standard_normal((DIM, 2 * 4 * 3)).astype(np.float32)
    nodes = [node("MatMul", "z colour", "sum"), node("Tanh", "sum", "image")]
    model = graph_of(nodes, [Z], [tensor("image", TensorProto.FLOAT, ["n", 24])], colour=weights)
    with pytest.raises(NotAGeneratorError, match="rows of 24 values; give `image_size`"):
        Sampler(model)
    with pytest.raises(NotAGeneratorError, match="choose with `layout`"):
        Sampler(model, image_size=(2, 4, 3))
    values = to_uint8(np.tanh(sample_latents(range(3), DIM) @ weights))
    last = Sampler(model, image_size=(2, 4, 3), layout="NHWC").sample(range(3))
    first = Sampler(model, image_size=(2, 4, 3), layout="NCHW").sample(range(3))
    assert close(last, values.reshape(3, 2, 4, 3))
    assert close(first, values.reshape(3, 3, 2, 4).transpose(0, 2, 3, 1))


def test_graph_without_a_batch_axis_generates_one_image_at_a_time():
    nodes = [
        node("MatMul", "z w", "sum"),
        node("Tanh", "sum", "flat"),
        node("Reshape", "flat single", "image"),
    ]
    model = graph_of(
        nodes,
        [tensor("z", TensorProto.FLOAT, [DIM])],
        [tensor("image", TensorProto.FLOAT, [1, SIDE, SIDE])],
        single=np.array([1, SIDE, SIDE]),
    )
    sampler = Sampler(model)
    assert sampler.contract.batch == 1
    assert close(sampler.sample(range(5)), expected(sample_latents(range(5), DIM)))


def test_images_without_a_batch_axis_from_latents_with_one():
    body = "h = MatMul(z, w3) x = Tanh(h) image = Reshape(x, three)"
    weights = RNG.standard_normal((DIM, 3 * 5 * 7)).astype(np.float32)
    model = parsed(
        body,
        inputs=f"float[1, {DIM}] z",
        outputs="float[3, 5, 7] image",
        w3=weights,
        three=np.array([3, 5, 7]),
    )
    values = np.tanh(sample_latents(range(4), DIM) @ weights).reshape(4, 3, 5, 7).transpose(0, 2, 3, 1)
    assert close(Sampler(model).sample(range(4)), to_uint8(values))


def test_output_of_one_value_is_no_image():
    model = parsed(
        "h = MatMul(z, w) m = ReduceMean <axes = [1], keepdims = 1> (h) score = Sigmoid(m)",
        outputs="float[n, 1] score",
    )
    with pytest.raises(NotAGeneratorError, match="has 1 value per image, as that of a discriminator"):
        Sampler(model)


@pytest.mark.parametrize("stated", ["n", 1])
def test_reshape_to_one_image_is_noticed(stated):
    nodes = [node("MatMul", "z w", "sum"), node("Tanh", "sum", "flat"), node("Reshape", "flat one", "image")]
    model = graph_of(
        nodes,
        [tensor("z", TensorProto.FLOAT, [stated, DIM])],
        [tensor("image", TensorProto.FLOAT, [stated, 1, SIDE, SIDE])],
        one=np.array([1, 1, SIDE, SIDE]),
    )
    assert Sampler(model).contract.batch == 1
    assert Sampler(model, batch_size=1).sample([1, 2]).shape == (2, SIDE, SIDE, 1)
    assert close(Sampler(model).sample(range(5)), expected(sample_latents(range(5), DIM)))


def test_images_of_a_dynamically_quantised_graph_do_not_depend_on_their_batch():
    sampler = Sampler(dynamic_model())
    assert sampler.contract.batch == 1
    together = sampler.sample(range(64))
    alone = np.concatenate([sampler.sample([seed]) for seed in range(64)])
    np.testing.assert_array_equal(together, alone)


def test_images_are_generated_alone_if_rounding_depends_on_the_batch():
    """onnxruntime computes the mean over the channels in another order for one image than for several."""
    weights = RNG.standard_normal((DIM, 16 * 36)).astype(np.float32)
    body = "h = MatMul(z, wide) f = Reshape(h, grid) q = Mul(f, f) m = ReduceMean <axes = [1]> (q)"
    body += (
        " r = Sqrt(m) d = Div(f, r) s = ReduceSum(d, channels) x = Tanh(s) image = Reshape(x, image_shape)"
    )
    model = parsed(body, wide=weights, grid=np.array([-1, 16, 6, 6]), channels=np.array([1]))
    sampler = Sampler(model)
    assert sampler.contract.batch == 1
    alone = np.concatenate([sampler.sample([seed]) for seed in range(64)])
    np.testing.assert_array_equal(sampler.sample(range(64)), alone)


def test_image_that_is_nan_alone_is_reported():
    body = "h = MatMul(z, w) a = ReduceMean <axes = [0]> (h) c = Sub(h, a) q = Mul(c, c)"
    body += " v = ReduceMean <axes = [0]> (q) r = Sqrt(v) d = Div(c, r) x = Tanh(d)"
    with pytest.raises(InferenceError, match=r"depends on the other images.* alone, its values are NaN"):
        Sampler(parsed(body + " image = Reshape(x, image_shape)"))


HALF, BYTE = {"half": np.float32(0.5)}, {"byte": np.float32(127.5)}


@pytest.mark.parametrize(
    ("steps", "constants", "span"),
    [
        ([("Tanh", "", {}), ("Mul", "half", {}), ("Add", "half", {})], HALF, (0, 1)),
        ([("Tanh", "", {}), ("Mul", "byte", {}), ("Add", "byte", {})], BYTE, (0, 255)),
        ([("Sigmoid", "", {}), ("Sub", "half", {}), ("Div", "half", {})], HALF, (-1, 1)),
        ([("Mul", "half", {}), ("Add", "half", {}), ("Clip", "low high", {})], HALF, (0, 1)),
        ([("Tanh", "", {}), ("Relu", "", {})], {}, (0, 1)),
        ([("Softsign", "", {})], {}, (-1, 1)),
        ([("Tanh", "", {}), ("Neg", "", {})], {}, (-1, 1)),
        ([("Max", "low", {}), ("Min", "high", {})], {}, (0, 1)),
        ([("Sin", "", {})], {}, (-1, 1)),
    ],
    ids=["half", "255", "back", "clip", "relu", "softsign", "negative", "bounds", "sine"],
)
def test_range_is_read_from_the_last_operations(steps, constants, span):
    model = chain(*steps, low=np.float32(0), high=np.float32(1), **constants)
    sampler = Sampler(model)
    assert sampler.contract.image.range == span
    images = sampler.sample(range(50))
    assert images.min() < 30
    assert images.max() > 225
    with pytest.raises(NotAGeneratorError, match="contradicts `value_range`"):
        Sampler(model, value_range=(0, 7))


@pytest.mark.parametrize(
    ("operations", "span"),
    [
        ("o = Constant <value_float = 1.0> () t = Sigmoid(h) x = Sub(o, t)", (0, 1)),
        ("t = Tanh(h) a, b = Split <axis = 1> (t, two) x = Concat <axis = 1> (b, a)", (-1, 1)),
        ("t = Tanh(h) a, b = Split <axis = 1> (t, two) c = Sigmoid(a) x = Concat <axis = 1> (b, c)", None),
        ("t = Tanh(h) l = Pad(t, pads) x = Slice(l, start, end, axis)", (-1, 1)),
        ("t = Tanh(h) l = Pad(t, pads, nine) x = Slice(l, start, end, axis)", None),
    ],
    ids=["one minus", "joined", "joined with another", "padded", "padded by another value"],
)
def test_range_of_several_values(operations, span):
    body = f"h = MatMul(z, w) {operations} image = Reshape(x, image_shape)"
    model = parsed(
        body,
        two=np.array([18, 18]),
        pads=np.array([0, 3, 0, 3]),
        nine=np.float32(9),
        start=np.array([3]),
        end=np.array([39]),
        axis=np.array([1]),
    )
    if span is None:
        with pytest.raises(NotAGeneratorError, match="does not decide the range"):
            Sampler(model)
    else:
        assert Sampler(model).contract.image.range == span


@pytest.mark.parametrize(
    ("scale", "given", "words"),
    [
        (0.4, "tanh", "lie outside of the range -1 to 1 .* clip such values with `clip=True`"),
        (1.0, "tanh", r"lie outside of the range -1 to 1 .*; give another `value_range`\.$"),
        (1.0, None, r"does not decide the range \(4 images have values from -"),
        (0.01, "0..255", "a small part of the range 0 to 255; give another `value_range`, such as tanh"),
        (1000.0, (-1, 1), "lie outside of the range"),
    ],
)
def test_wrong_range_is_noticed(scale, given, words):
    model = chain(("Mul", "scale", {}), scale=np.float32(scale))
    options = {} if given is None else {"value_range": parse_range(given) if given == "0..255" else given}
    with pytest.raises(NotAGeneratorError, match=words):
        Sampler(model, **options)


def test_values_outside_of_a_range_are_clipped_on_request():
    model = chain(("Mul", "scale", {}), scale=np.float32(0.5))
    images = Sampler(model, value_range="tanh", clip=True).sample(range(5))
    values = (sample_latents(range(5), DIM) @ WEIGHTS * np.float32(0.5)).reshape(5, SIDE, SIDE, 1)
    assert close(images, to_uint8(values))
    with pytest.raises(NotAGeneratorError, match="of the values of the first images lie outside"):
        Sampler(chain(("Mul", "scale", {}), scale=np.float32(90)), value_range="tanh", clip=True)


def test_one_of_several_outputs_is_chosen():
    nodes = [node("MatMul", "z w", "sum"), *TANH, node("Neg", "image", "negative")]
    second = tensor("negative", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    model = graph_of(nodes, [Z], [IMAGE, second])
    with pytest.raises(NotAGeneratorError, match=r"it has 2 outputs, 'image' .* with `output_name`"):
        Sampler(model)
    images = Sampler(model, output_name="negative", value_range="tanh").sample(range(5))
    assert close(images, expected(-sample_latents(range(5), DIM)))
    with pytest.raises(NotAGeneratorError, match="`output_name` is 'x', and its outputs are"):
        Sampler(model, output_name="x")


def test_output_that_is_not_an_image_is_passed_over():
    nodes = [node("MatMul", "z w", "sum"), *TANH]
    model = graph_of(nodes, [Z], [IMAGE, tensor("sum", TensorProto.FLOAT, ["n", SIDE * SIDE])])
    assert Sampler(model).contract.image.name == "image"


def test_network_from_images_to_images_is_rejected():
    model = graph_of([node("Tanh", "photo", "image")], [tensor("photo", TensorProto.FLOAT, ["n", 3, 32, 32])],
                     [tensor("image", TensorProto.FLOAT, ["n", 3, 32, 32])])  # fmt: skip
    with pytest.raises(NotAGeneratorError, match="takes images, not latents"):
        Sampler(model)


def test_error_while_running_is_reported_in_one_line():
    nodes = [
        node("MatMul", "z w", "sum"),
        node("Tanh", "sum", "flat"),
        node("Reshape", "flat wrong", "image"),
    ]
    model = graph_of(nodes, [Z], [IMAGE], wrong=np.array([-1, 1, 5, 7]))
    with pytest.raises(InferenceError, match="onnxruntime reports") as caught:
        Sampler(model)
    assert "\n" not in str(caught.value)


def test_description_changes_the_fingerprint():
    model = joined_model()
    plain, described = Sampler(model).model, Sampler(model, labels=LABELS).model
    assert plain.fingerprint() != described.fingerprint()
    assert described.fingerprint() == Sampler(model, labels=LABELS).model.fingerprint()


def test_texts_of_the_command_line(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\n\ndog\n")
    assert parse_labels(str(names)) == ("cat", "dog")
    assert parse_description(
        {"layout": None, "value_range": "0..1", "labels": "10", "input_values": ["psi=0.5"], "clip": False}
    ) == {"value_range": (0.0, 1.0), "labels": 10, "input_values": {"psi": 0.5}}
    assert parse_image_size("28x28") == (28, 28, 1)
    for parse, text in (
        (parse_range, "1..0"),
        (parse_range, "0-255"),
        (parse_image_size, "28"),
        (parse_image_size, "28x28x2"),
        (parse_labels, "1"),
        (parse_labels, str(tmp_path / "none.txt")),
        (parse_labels, "~no-such-user/names.txt"),
        (parse_labels, "a\0b"),
        (parse_labels, "9" * 5_000),
        (parse_image_size, "9" * 5_000 + "x1"),
    ):
        with pytest.raises(UsageError):
            parse(text)


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "CHW"},
        {"value_range": (1, 1)},
        {"value_range": (0, np.inf)},
        {"image_size": (28, 28)},
        {"labels": 1},
        {"labels": ["a", "a"]},
        {"labels_at": -1},
        {"latents": "gauss"},
        {"input_values": {"psi": "x"}},
    ],
    ids=str,
)
def test_invalid_descriptions_are_rejected(options):
    with pytest.raises(UsageError, match=f"`{next(iter(options))}`"):
        Description(**options)
