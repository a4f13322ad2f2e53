"""Keras generators in standard form: their conversion by tf2onnx, and their images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter
import tensorflow as tf
import tf2onnx

from ganport.runtime.arrays import Latents

from .standard_form import IMAGE, LATENT

_LARGEST_OPSET = 18  # newest opset that tf2onnx 1.17 can write


def convert_generator(generator: keras.Model, opset: int, batch: int | None) -> onnx.ModelProto:
    """Return the generator as an ONNX graph.

    Args:
        generator: Keras model from latents (batch, dim) to images (batch, height, width, channels).
        opset: Version of the ONNX standard operators.
        batch: Fixed number of images per call; None if the number may differ from call to call.

    Returns:
        A model with one input "latent", float32 (batch, dim), and one output "image", float32 (batch, height,
        width, channels), with the same range as the output of the generator. BatchNormalization is in
        inference mode.
    """
    signature = [tf.TensorSpec((batch, generator.input_shape[1]), tf.float32, name=LATENT)]
    model = convert_function(lambda latent: generator(latent, training=False), signature, opset)
    _rename_output(model.graph, IMAGE)
    model.graph.name = "generator"
    _declare_shape(model.graph.input[0], batch, generator.input_shape[1:])
    _declare_shape(model.graph.output[0], batch, generator.output_shape[1:])
    return model


def convert_function(
    function: Callable[..., Any], signature: Sequence[tf.TensorSpec], opset: int
) -> onnx.ModelProto:
    """Return a function of TensorFlow as an ONNX graph.

    Args:
        function: Function of tensors, one for each entry of `signature`, that returns tensors.
        signature: Types, shapes and names of the inputs. The graph's inputs have these names.
        opset: Version of the ONNX standard operators.

    Returns:
        A model whose outputs have names that tf2onnx chooses.
    """
    # By default tf2onnx prints a line for each pass over the graph.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    model, _ = tf2onnx.convert.from_function(
        tf.function(function, autograph=False), input_signature=signature, opset=min(opset, _LARGEST_OPSET)
    )
    if opset > _LARGEST_OPSET:
        model = onnx.version_converter.convert_version(model, opset)
        model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))
    _replace_negative_pads(model.graph)
    _replace_erfc(model.graph)
    return model


def generate_with_keras(generator: keras.Model, inputs: Latents) -> npt.NDArray[np.float32]:
    """Return Keras' images, float32 (batch, height, width, channels), for inputs (batch, dim + labels).

    Keras runs on the CPU here. On a GPU, TensorFlow would multiply in TF32, which rounds the fraction of each
    factor to 10 bits.
    """
    with keras.device("cpu:0"):
        return np.asarray(generator(inputs, training=False))


def _replace_negative_pads(graph: onnx.GraphProto) -> None:
    """Replace the negative pads of each ConvTranspose by output padding. No runtime accepts negative pads.

    The output of a transposed convolution may have extra rows and columns, which the kernel does not reach.
    TensorFlow puts all of them at the end of the axis, as output padding does. tf2onnx instead writes
    negative pads, half of them at the start of the axis and half at the end.
    """
    for node in graph.node:
        pads: Any = next((attribute.ints for attribute in node.attribute if attribute.name == "pads"), [])
        if node.op_type != "ConvTranspose":
            continue
        axes = len(pads) // 2
        extra = [max(0, -begin - end) for begin, end in zip(pads[:axes], pads[axes:], strict=True)]
        if any(extra):
            pads[:] = [0 if extra[index % axes] else pad for index, pad in enumerate(pads)]
            node.attribute.append(onnx.helper.make_attribute("output_padding", extra))


def _replace_erfc(graph: onnx.GraphProto) -> None:
    """Replace each Erfc by 1 - Erf. ONNX has no Erfc, with which TensorFlow computes GELU."""
    nodes = list(graph.node)
    if not any(node.op_type == "Erfc" for node in nodes):
        return
    one = "erfc/one"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.float32), one))
    del graph.node[:]
    for node in nodes:
        if node.op_type != "Erfc":
            graph.node.append(node)
            continue
        (output,) = node.output
        erf = f"{output}/erf"
        graph.node.append(onnx.helper.make_node("Erf", node.input, [erf]))
        graph.node.append(onnx.helper.make_node("Sub", [one, erf], [output]))


def _rename_output(graph: onnx.GraphProto, name: str) -> None:
    (output,) = graph.output
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if each == output.name else each for each in names]
    output.name = name


def _declare_shape(value: onnx.ValueInfoProto, batch: int | None, rest: tuple[int, ...]) -> None:
    # tf2onnx gives a free batch size a name such as "unk__17". The number in this name differs from
    # conversion to conversion. All sizes are declared again here, so that the same generator gives the same
    # file.
    del value.type.tensor_type.shape.dim[:]
    for size in ("batch" if batch is None else batch, *rest):
        dimension = value.type.tensor_type.shape.dim.add()
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size
