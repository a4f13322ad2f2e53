"""Third-party generators, which no recipe of ganport uses, are exported, verified and simplified."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf2onnx

from benchmarks.third_party_generators import GENERATORS, build
from ganport.export import export_file
from ganport.export.errors import GeneratorError
from ganport.export.sources import load_source
from ganport.export.verified import convert_and_verify
from ganport.runtime import Sampler, sample_latents

# Operations that the rewrites remove: BatchNormalization and its parts, upsampling outside of a convolution,
# and the computation of shapes.
REMOVED = {"BatchNormalization", "Shape", "Tile", "Unsqueeze", "Slice"}


# Each shape is exported in the benchmark of the devices, too; the fast tests keep one of each kind of layer.
SLOW = ("residual", "upsampling", "self-attention")


@pytest.mark.parametrize(
    ("name", "input_kind"),
    [
        *(pytest.param(name, "latent", marks=pytest.mark.slow) for name in SLOW),
        *((name, "latent") for name in GENERATORS if name not in SLOW),
        ("self-attention", "seed"),
    ],
)
def test_generator_of_another_architecture_is_exported(name, tmp_path, input_kind):
    model = build(name)
    path = tmp_path / name
    if name == "pixel-shuffle":  # has a custom layer, whose code is in a SavedModel but not in a .keras file
        model.export(path, verbose=False)
    else:
        path = path.with_suffix(".keras")
        model.save(path)
    verified = export_file(path, tmp_path / "x.onnx", input_kind=input_kind).verified
    latents = sample_latents(np.arange(9), verified.source.latent_dim).reshape(-1, *model.input_shape[1:])
    expected = model(latents).numpy()
    levels = 255 * expected if name == "dense" else 127.5 * (expected + 1)
    images = Sampler(tmp_path / "x.onnx").sample(range(9))
    assert np.abs(images - np.clip(np.rint(levels), 0, 255)).max() <= 1
    assert images.std() > 5
    if input_kind == "latent":
        assert not REMOVED & {node.op_type for node in verified.model.graph.node}
        assert len(verified.model.graph.node) <= len(verified.plain.graph.node) - 2


@pytest.mark.parametrize("name", ["dcgan", "upsampling"])
def test_file_of_tf2onnx_alone_can_be_sampled(name, tmp_path):
    model = build(name)
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="z")]
    function = tf.function(lambda latent: model(latent, training=False), autograph=False)
    tf2onnx.convert.from_function(
        function, input_signature=signature, opset=18, output_path=tmp_path / "x.onnx"
    )
    with Sampler(tmp_path / "x.onnx") as sampler:
        assert sampler.contract.image.layout == "NHWC"
        images = sampler.sample(range(9))
    latents = sample_latents(np.arange(9), model.input_shape[-1]).reshape(-1, *model.input_shape[1:])
    assert np.abs(images - np.clip(np.rint(127.5 * (model(latents).numpy() + 1)), 0, 255)).max() <= 1
    assert images.std() > 5


def test_missing_custom_layer_is_named(tmp_path):
    registered = keras.saving.get_custom_objects()
    build("pixel-shuffle").save(tmp_path / "x.keras")
    layer = registered.pop("third_party>PixelShuffle")
    try:
        with pytest.raises(
            GeneratorError, match=r"PixelShuffle, which is not part of Keras; .* `custom_objects`"
        ):
            load_source(tmp_path / "x.keras")
    finally:
        registered["third_party>PixelShuffle"] = layer


def test_upsampling_and_convolution_are_fused(tmp_path):
    build("upsampling").save(tmp_path / "x.keras")
    model = convert_and_verify(load_source(tmp_path / "x.keras")).model
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("ConvTranspose") == 3
    assert not {"Conv", "Resize", "Transpose"} & set(kinds)
    onnx.checker.check_model(model, full_check=True)
