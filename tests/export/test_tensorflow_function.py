"""Functions of TensorFlow keep their names and shapes as ONNX graphs, and compute in float32."""

import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from ganport.export.errors import GeneratorError
from ganport.export.keras_models import function_of_model
from ganport.export.tensorflow_function import trace
from tests.conftest import ROOT
from tests.export.keras_networks import (
    FRAMEWORKS,
    LATENTS,
    TOLERANCE,
    assert_generates,
    expected_images,
    generator,
)

BOTH = pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)

# Largest difference between images in a precision and in float32. float16 has 10 bits behind the first one,
# bfloat16 has 7. An image in [-1, 1] behind three layers is off by a few units of the last place.
ROUNDING = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2, "float64": TOLERANCE}


def traced(compute, *specs, outputs=("image",)):
    return trace("the test", specs, outputs, compute, owner=None)


def test_names_are_cleaned_and_unique():
    function = traced(
        lambda *values: values,
        tf.TensorSpec((None, 2), name="serving/z:0"),
        tf.TensorSpec((None, 2), name="z"),
        outputs=("z", "z"),
    )
    assert [spec.name for spec in function.inputs] == ["serving_z_0", "z"]
    assert function.outputs == ("z_1", "z_2")
    graph = function.to_onnx(18).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["serving_z_0", "z", "z_1", "z_2"]


def test_outputs_keep_their_order_and_inputs_that_are_not_used_stay():
    function = traced(
        lambda latent, unused: [latent + 1, latent * 2],
        tf.TensorSpec((None, 2), name="z"),
        tf.TensorSpec((), tf.int32, name="unused"),
        outputs=("later", "earlier"),
    )
    feeds = {"z": np.ones((3, 2), np.float32), "unused": np.array(1, np.int32)}
    session = onnxruntime.InferenceSession(function.to_onnx(18).SerializeToString())
    for outputs in (function.run(feeds).values(), session.run(None, feeds)):
        later, earlier = outputs
        np.testing.assert_array_equal(later, 2)
        np.testing.assert_array_equal(earlier, 2)
        assert later.shape == earlier.shape == (3, 2)


@pytest.mark.parametrize(("batch", "axis"), [(None, "batch"), (4, 4)])
def test_free_batch_is_named(batch, axis):
    function = traced(lambda latent: [tf.tanh(latent)], tf.TensorSpec((batch, 8), name="z"))
    graph = function.to_onnx(18).graph
    for value in (*graph.input, *graph.output):
        first, second = value.type.tensor_type.shape.dim
        assert (first.dim_param or first.dim_value) == axis
        assert second.dim_value == 8


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_graph_has_the_opset(opset):
    model = function_of_model(generator(FRAMEWORKS["keras"])).to_onnx(opset)
    assert model.opset_import[0].version == opset
    onnx.checker.check_model(model, full_check=True)


@BOTH
@pytest.mark.parametrize("policy", ROUNDING)
def test_other_precisions_are_computed_in_float32(framework, policy):
    """Keras' images in this precision are rounded. Those of the same weights in float32 are not."""
    model = in_policy(framework, policy)
    function = function_of_model(model)
    assert [spec.dtype for spec in function.inputs] == [tf.float32]
    weights = model.get_weights()
    plain = generator(framework)
    plain.set_weights(weights)
    assert_generates(function, expected_images(plain))
    rounded = expected_images(model).astype(np.float32)
    assert_generates(function, rounded, atol=ROUNDING[policy])
    if policy != "float64":
        assert np.abs(rounded - expected_images(plain)).max() > TOLERANCE


def in_policy(framework, policy):
    before = framework.mixed_precision.global_policy() if framework.__name__ == "tf_keras" else None
    framework.mixed_precision.set_global_policy(policy)
    try:
        return generator(framework)
    finally:
        framework.mixed_precision.set_global_policy(before or "float32")


@BOTH
def test_channels_first_are_computed_as_by_xla(framework):
    model = generator(framework, data_format="channels_first")
    by_xla = tf.function(lambda latents: model(latents, training=False), jit_compile=True)
    assert_generates(function_of_model(model), np.asarray(by_xla(LATENTS)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ("data_format='channels_first'", (5, 1, 8, 8)),
        ("end=(keras.layers.Conv2D(2, 1), keras.layers.Conv2D(4, 3, groups=2))", (5, 6, 6, 4)),
    ],
    ids=["channels-first", "groups"],
)
def test_convolutions_that_need_onednn_are_computed_by_xla(options, shape):
    code = (
        "from tests.export.test_tensorflow_function import *\n"
        "keras = FRAMEWORKS['keras']\n"
        f"function = function_of_model(generator(keras, {options}))\n"
        "feeds = {function.inputs[0].name: LATENTS}\n"
        "try:\n    function.call(tf.constant(LATENTS))\n"
        "except tf.errors.OpError:\n    print('not on this CPU')\n"
        "print(function.run(feeds)[function.outputs[0]].shape)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"not on this CPU\n{shape}\n"


Z = tf.TensorSpec((None, 8), name="z")


def test_tensors_from_outside_become_constants():
    """Keras 2 makes such tensors when it loads a model that calls operations of TensorFlow on numbers."""
    factor = tf.constant(0.5)
    function = traced(lambda latent: [tf.tanh(latent * factor)], Z)
    assert_generates(function, np.tanh(0.5 * LATENTS))


def test_functions_that_xla_compiles_are_converted():
    compiled = tf.function(tf.tanh, jit_compile=True)
    assert_generates(traced(lambda latent: [compiled(2 * latent)], Z), np.tanh(2 * LATENTS))


def test_grouped_convolutions_of_keras_are_converted():
    layers = FRAMEWORKS["keras"].layers
    model = generator(FRAMEWORKS["keras"], end=(layers.Conv2D(2, 1), layers.Conv2D(4, 3, groups=2)))
    assert_generates(function_of_model(model), expected_images(model))


def test_gelu_is_converted():
    function = traced(lambda latent: [tf.nn.gelu(latent)], Z)
    assert_generates(function, np.asarray(tf.nn.gelu(LATENTS)))


def test_operations_without_a_counterpart_are_named():
    function = traced(lambda latent: [tf.math.igamma(tf.abs(latent), tf.math.lgamma(latent))], Z)
    with pytest.raises(GeneratorError, match="operations that have no counterpart in ONNX: Igamma, Lgamma"):
        function.to_onnx(18)


def test_inputs_of_texts_are_rejected():
    with pytest.raises(GeneratorError, match="its input 'label' takes texts, a type that is not supported"):
        traced(lambda label: [tf.strings.length(label)], tf.TensorSpec((None,), tf.string, name="label"))


def test_values_of_a_wrong_shape_are_an_error_in_one_line():
    function = function_of_model(generator(FRAMEWORKS["keras"]))
    with pytest.raises(GeneratorError, match="TensorFlow can't run it") as error:
        function.run({function.inputs[0].name: np.zeros((2, 7), np.float32)})
    assert len(str(error.value).splitlines()) == 1
