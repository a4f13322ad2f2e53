"""Generators that this project never saw: exported from the files that others hand over, verified, sampled, smaller."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf2onnx

from benchmarks.foreign_generators import GENERATORS, build
from ganport.export import Options, load_source, prove, write_model
from ganport.runtime import Sampler, latents_of
from ganport.runtime.errors import GeneratorError

# What must be gone: BatchNormalization or what is left of it, upsampling outside of a convolution, shapes worked out anew.
GONE = {"BatchNormalization", "Shape", "Tile", "Unsqueeze", "Slice"}


@pytest.mark.parametrize(("name", "input_kind"), [*((name, "latent") for name in GENERATORS), ("self-attention", "seed")])
def test_generator_of_another_shape_is_exported(name, tmp_path, input_kind):
    model = build(name)
    path = tmp_path / name
    if name == "pixel-shuffle":  # has a layer of its own: its SavedModel carries what a .keras file does not
        model.export(path, verbose=False)
    else:
        path = path.with_suffix(".keras")
        model.save(path)
    source = load_source(path, value_range="tanh" if path.is_dir() else None)
    proven = prove(source, Options(input=input_kind))
    write_model(proven, tmp_path / "x.onnx")
    latents = latents_of(np.arange(9), source.latent_dim).reshape(-1, *model.input_shape[1:])
    expected = model(latents).numpy()
    levels = 255 * expected if name == "dense" else 127.5 * (expected + 1)
    drawn = Sampler(tmp_path / "x.onnx").sample(range(9))
    assert np.abs(drawn - np.clip(np.rint(levels), 0, 255)).max() <= 1
    assert drawn.std() > 5
    if input_kind == "latent":
        assert not GONE & {node.op_type for node in proven.model.graph.node}
        assert len(proven.model.graph.node) <= len(proven.plain.graph.node) - 2


@pytest.mark.parametrize("name", ["dcgan", "upsampling"])
def test_what_tf2onnx_alone_exports_is_drawn(name, tmp_path):
    model = build(name)
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="z")]
    function = tf.function(lambda latent: model(latent, training=False), autograph=False)
    tf2onnx.convert.from_function(function, input_signature=signature, opset=18, output_path=tmp_path / "x.onnx")
    with Sampler(tmp_path / "x.onnx") as sampler:
        assert sampler.model.image.layout == "NHWC"
        drawn = sampler.sample(range(9))
    latents = latents_of(np.arange(9), model.input_shape[-1]).reshape(-1, *model.input_shape[1:])
    assert np.abs(drawn - np.clip(np.rint(127.5 * (model(latents).numpy() + 1)), 0, 255)).max() <= 1
    assert drawn.std() > 5


def test_custom_layer_that_is_not_there_is_named(tmp_path):
    registered = keras.saving.get_custom_objects()
    build("pixel-shuffle").save(tmp_path / "x.keras")
    layer = registered.pop("foreign>PixelShuffle")
    try:
        with pytest.raises(GeneratorError, match=r"class PixelShuffle in it .* model\.export"):
            load_source(tmp_path / "x.keras")
    finally:
        registered["foreign>PixelShuffle"] = layer


def test_upsampling_and_convolution_become_one(tmp_path):
    build("upsampling").save(tmp_path / "x.keras")
    model = prove(load_source(tmp_path / "x.keras")).model
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("ConvTranspose") == 3
    assert not {"Conv", "Resize", "Transpose"} & set(kinds)
    onnx.checker.check_model(model, full_check=True)
