"""Kinds of ONNX generators: those of PyTorch, graphs written by hand, quantised graphs, and other files."""

from __future__ import annotations

import gzip
import itertools
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import graph_kinds, torch_kinds
from benchmarks.generators import Built, Kind, Step
from benchmarks.graph_kinds import TANH
from benchmarks.onnx_graphs import (
    DIM,
    WEIGHTS,
    Z,
    dense,
    graph_kind,
    onnxruntime_reference,
    parse,
    tail,
)
from benchmarks.torch_kinds import FAULTS, TYPES

FILES = "Files"
DESCRIPTIONS = "Descriptions that are missing or wrong"
OTHER_FILES = "Files that are not ONNX"

Write = Callable[[Path], Path]

# Quantised graphs. Their reference is onnxruntime itself, which generates one image at a time.

WIDTHS = (DIM, 48, 64, 192)


def write_deep(folder: Path) -> Path:
    """Write a generator of three dense layers in float32, which is to be quantised."""
    import onnx

    rng = np.random.default_rng(11)
    layers = {
        f"w{index}": (1.3 * rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32)
        for index, shape in enumerate(itertools.pairwise(WIDTHS))
    }
    body = (
        "a = MatMul(z, w0) b = LeakyRelu(a) c = MatMul(b, w1) d = LeakyRelu(c) e = MatMul(d, w2) x = Tanh(e)"
        " image = Reshape(x, image_shape)"
    )
    path = folder / "original.onnx"
    onnx.save(parse(body, constants=layers, opset=21, ir=10), path)
    return path


def quantised(quantise: Callable[[Path, Path], object]) -> Callable[[Path], Built]:
    """Return the function that writes a quantised generator.

    Args:
        quantise: Function from the path of a float32 file and the path of the file that it writes.
    """

    def build(folder: Path) -> Built:
        path = folder / "generator.onnx"
        quantise(write_deep(folder), path)
        return Built(path, onnxruntime_reference(path, DIM))

    return build


def quantise_dynamically(original: Path, path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(original, path)


def quantise_statically(format_name: str) -> Callable[[Path, Path], None]:
    def quantise(original: Path, path: Path) -> None:
        from onnxruntime import quantization

        from ganport.runtime import sample_latents

        class Reader(quantization.CalibrationDataReader):
            def __init__(self) -> None:
                self.batches = iter([{"z": sample_latents(range(256), DIM)}])

            def get_next(self) -> dict[str, Any] | None:
                return next(self.batches, None)

        chosen = quantization.QuantFormat[format_name]
        quantization.quantize_static(original, path, Reader(), quant_format=chosen)

    return quantise


def store_weights_in_int8(original: Path, path: Path) -> None:
    """Store the weights in 8 bits, with a DequantizeLinear before each layer."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(original)
    graph, nodes = model.graph, list(model.graph.node)
    weights = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    for tensor in weights:
        values = numpy_helper.to_array(tensor)
        scale = np.float32(np.abs(values).max() / 127)
        graph.initializer.remove(tensor)
        for name, array in (("q", np.rint(values / scale).astype(np.int8)), ("s", scale)):
            graph.initializer.append(numpy_helper.from_array(np.asarray(array), f"{tensor.name}/{name}"))
        parts = [f"{tensor.name}/q", f"{tensor.name}/s"]
        nodes.insert(0, helper.make_node("DequantizeLinear", parts, [tensor.name]))
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)


def convert_to_float16(*, keep_ends: bool) -> Callable[[Path, Path], None]:
    def convert(original: Path, path: Path) -> None:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(original), keep_io_types=keep_ends), path)

    return convert


def quantise_to_4_bits(original: Path, path: Path) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(original), block_size=16, is_symmetric=True)
    quantizer.process()
    onnx.save(quantizer.model.model, path)


QUANTISED = [
    Kind(TYPES, "int8, quantize_dynamic", quantised(quantise_dynamically)),
    Kind(TYPES, "int8, quantize_static, QDQ", quantised(quantise_statically("QDQ"))),
    Kind(TYPES, "int8, quantize_static, QOperator", quantised(quantise_statically("QOperator"))),
    Kind(TYPES, "int8 weights with a DequantizeLinear", quantised(store_weights_in_int8)),
    Kind(TYPES, "4-bit weights", quantised(quantise_to_4_bits)),
    Kind(
        TYPES, "float16 by onnxruntime, float32 ends", quantised(convert_to_float16(keep_ends=True)), levels=3
    ),
    Kind(
        TYPES,
        "float16 by onnxruntime, float16 ends",
        quantised(convert_to_float16(keep_ends=False)),
        levels=3,
    ),
]

# Files


def save_with_weights_beside(path: Path, *, in_one_file: bool) -> None:
    """Write the graph, and its weights into another file or other files."""
    import onnx

    onnx.save(
        parse(TANH),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=in_one_file,
        location=f"{path.name}.data" if in_one_file else None,
    )


def one_weight_file(folder: Path) -> Built:
    path = folder / "generator.onnx"
    save_with_weights_beside(path, in_one_file=True)
    return Built(path, dense())


def many_weight_files(folder: Path) -> Built:
    path = folder / "generator.onnx"
    save_with_weights_beside(path, in_one_file=False)
    return Built(path, dense())


def hugging_face_cache(folder: Path) -> Built:
    """Write a graph and its weights as links into a folder of blobs, as huggingface_hub does."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "0123abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_with_weights_beside(snapshot / "model.onnx", in_one_file=True)
    for index, name in enumerate(("model.onnx", "model.onnx.data")):
        (snapshot / name).rename(blobs / f"sha{index}")
        (snapshot / name).symlink_to(f"../../blobs/sha{index}")
    (folder / "mine").mkdir()
    (folder / "mine" / "generator.onnx").symlink_to(snapshot / "model.onnx")
    return Built(folder / "mine" / "generator.onnx", dense())


def weights_missing(folder: Path) -> Built:
    found = one_weight_file(folder)
    (folder / "generator.onnx.data").unlink()
    return found


def weights_are_a_pointer(folder: Path) -> Built:
    found = one_weight_file(folder)
    (folder / "generator.onnx.data").write_bytes(LFS_POINTER)
    return found


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 51234567\n"
WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Not found</body></html>\n"

FILE_KINDS = [
    Kind(FILES, "weights in one file beside the model", one_weight_file),
    Kind(FILES, "weights in many files beside the model", many_weight_files),
    Kind(FILES, "weights behind the links of Hugging Face's cache", hugging_face_cache),
    Kind(FILES, "weights missing", weights_missing, rejected="generator.onnx.data', which is missing"),
    Kind(
        FILES,
        "weights are a Git LFS pointer",
        weights_are_a_pointer,
        rejected="pointer of Git LFS.*git lfs pull",
    ),
]


def written(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], Built]:
    """Return the function that writes a file which is not an ONNX file.

    Args:
        name: Name of the file.
        content: Function from the bytes of an ONNX file to the bytes of the file.
    """

    def build(folder: Path) -> Built:
        path = folder / name
        path.write_bytes(content(parse(TANH).SerializeToString()))
        return Built(path, dense())

    return build


def zipped(names: dict[str, bytes]) -> bytes:
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return file.getvalue()


KERAS_ZIP = zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"})
BOTH: tuple[Step, ...] = ("sample", "export")
SAMPLE: tuple[Step, ...] = ("sample",)
EXPORT: tuple[Step, ...] = ("export",)

OTHER_KINDS = [
    Kind(OTHER_FILES, name, written(file, content), rejected=rejected, steps=steps)
    for name, file, content, rejected, steps in (
        (
            "Git LFS pointer",
            "generator.onnx",
            lambda _: LFS_POINTER,
            "pointer of Git LFS.*git lfs pull",
            BOTH,
        ),
        ("web page", "generator.onnx", lambda _: WEB_PAGE, "is a web page; download", BOTH),
        ("empty file", "generator.onnx", lambda _: b"", "the file is empty", BOTH),
        ("truncated file", "generator.onnx", lambda model: model[: len(model) // 2], "damaged", BOTH),
        (
            "truncated by a few bytes",
            "generator.onnx",
            lambda model: model[:-5],
            "damaged|not a readable ONNX file",
            BOTH,
        ),
        ("random bytes", "generator.onnx", lambda _: np.random.default_rng(1).bytes(5_000), "damaged", BOTH),
        (
            "error message as text",
            "generator.onnx",
            lambda _: b"404: Not Found\n",
            "a text that begins with",
            BOTH,
        ),
        ("pickle", "generator.pkl", lambda _: pickle.dumps({"G_ema": WEIGHTS}), "is a Python pickle", SAMPLE),
        (
            "pickle, given to export",
            "x.pkl",
            lambda _: pickle.dumps({"G_ema": WEIGHTS}),
            "pickle|PyTorch",
            EXPORT,
        ),
        ("gzip", "generator.onnx.gz", gzip.compress, "packed archive; unpack it", SAMPLE),
        (
            "zip",
            "generator.zip",
            lambda model: zipped({"g.onnx": model}),
            "packed archive; unpack it",
            SAMPLE,
        ),
        ("gzip, named .onnx", "generator.onnx", gzip.compress, "packed archive; unpack it", BOTH),
        ("Keras file", "generator.keras", lambda _: KERAS_ZIP, "Keras model; run: ganport export", SAMPLE),
        (
            "HDF5 file",
            "generator.h5",
            lambda _: b"\x89HDF\r\n\x1a\n" + bytes(99),
            "HDF5 file.*ganport export",
            SAMPLE,
        ),
        (
            "TensorFlow Lite file",
            "generator.tflite",
            lambda _: b"\x1c\0\0\0TFL3" + bytes(99),
            "TensorFlow Lite model; export the model that it was converted from",
            SAMPLE,
        ),
        (
            "TensorFlow Lite file, given to export",
            "x.tflite",
            lambda _: b"\x1c\0\0\0TFL3" + bytes(99),
            "tflite",
            EXPORT,
        ),
    )
]

# What is not supported


LOOP = """
  h = MatMul(z, w)
  steps = Constant <value_int = 3> ()
  x = Loop (steps, yes, h) <
    body = g1 (int64 i, bool c, float[n, 192] a) => (bool d, float[n, 192] b) { d = Identity(c) b = Tanh(a) }
  >
  image = Reshape(x, image_shape)
"""
SCAN = """
  h = MatMul(z, w)
  x = Scan (h) <
    num_scan_inputs = 1,
    body = g1 (float[192] a) => (float[192] b) { b = Tanh(a) }
  >
  image = Reshape(x, image_shape)
"""
NORMALISE = (
    "h = MatMul(z, w) i = Reshape(h, image_shape)"
    " {} = BatchNormalization <{}> (i, scale, bias, mean, variance) image = Tanh(n)"
)
STATISTICS = {name: np.ones(3, np.float32) for name in ("scale", "bias", "mean", "variance")}

FAULT_KINDS = [
    graph_kind(
        FAULTS,
        name,
        body,
        rejected=rejected,
        **settings,
    )
    for name, body, rejected, settings in (
        (
            "Loop",
            LOOP,
            "has a Loop, which may never end; export it without loops",
            {"constants": {"yes": np.array(True)}},
        ),
        ("Scan", SCAN, "has a Scan, which may never end; export it without loops", {}),
        (
            "uniform noise inside",
            tail("u = RandomUniformLike(h) s = Add(h, u) x = Tanh(s)"),
            "has a RandomUniformLike: an image would not depend on its seed alone",
            {},
        ),
        (
            "dropout in training mode",
            tail("d = Dropout(h, half, yes) x = Tanh(d)"),
            "has a Dropout in training mode: an image would not depend on its seed alone",
            {"constants": {"yes": np.array(True)}},
        ),
        (
            "batch normalisation in training mode",
            NORMALISE.format("n, m, v", "training_mode = 1"),
            "has a BatchNormalization in training mode: .* model.eval",
            {"constants": STATISTICS},
        ),
        (
            "batch normalisation in training mode, opset 9",
            NORMALISE.format("n, m, v, s, t", "momentum = 0.9"),
            "has a BatchNormalization in training mode: .* model.eval",
            {"constants": STATISTICS, "opset": 9},
        ),
        (
            "statistics of the batch by ReduceMean",
            "h = MatMul(z, w) m = ReduceMean <axes = [0]> (h) s = Sub(h, m) x = Tanh(s)"
            " image = Reshape(x, image_shape)",
            "an image depends on the other images in its batch",
            {},
        ),
        (
            "images with two channels",
            TANH.replace("image_shape", "two"),
            "expected 1, 3 or 4 channels",
            {"constants": {"two": np.array([-1, 2, 8, 12])}, "outputs": "float[n, 2, 8, 12] image"},
        ),
        (
            "video (n, 3, 2, 4, 8)",
            TANH.replace("image_shape", "video"),
            "each image has shape .*; expected",
            {"constants": {"video": np.array([-1, 3, 2, 4, 8])}, "outputs": "float[n, 3, 2, 4, 8] image"},
        ),
        (
            "discriminator",
            "f = Flatten(image) h = MatMul(f, wt) s = ReduceMean <axes = [1]> (h) score = Sigmoid(s)",
            "takes images, not latents",
            {
                "inputs": "float[n, 1, 12, 16] image",
                "outputs": "float[n, 1] score",
                "constants": {"wt": WEIGHTS.T.copy()},
            },
        ),
        (
            "one value in place of an image",
            "h = MatMul(z, w) s = ReduceMean <axes = [1], keepdims = 1> (h) score = Sigmoid(s)",
            "its output has 1 value per image, as that of a discriminator; expected images",
            {"outputs": "float[n, 1] score"},
        ),
        (
            "text as an input",
            TANH,
            "'prompt' .* has a type that is not supported",
            {"inputs": f"{Z}, string[n] prompt"},
        ),
        (
            "bfloat16 latents",
            "f = Cast <to = 1> (z) " + TANH.replace("MatMul(z", "MatMul(f"),
            "'z' .* has a type that is not supported",
            {"inputs": "bfloat16[n, 16] z"},
        ),
        (
            "operation of a custom domain",
            "h = MatMul(z, w) x = custom.StyledTanh(h) image = Reshape(x, image_shape)",
            "operation StyledTanh of the domain 'custom'.*export the model with ONNX's own operations only",
            {"imports": ', "custom": 1'},
        ),
        (
            "operation that ONNX does not have",
            "h = MatMul(z, w) x = StyledTanh(h) image = Reshape(x, image_shape)",
            "operation StyledTanh",
            {},
        ),
        (
            "future opset",
            TANH,
            "uses opset 99 .* supports up to opset .*; install a newer onnxruntime",
            {"opset": 99},
        ),
        (
            "future version of the format",
            TANH,
            "has version 99 of the ONNX format, .* reads up to version .*; install a newer onnxruntime",
            {"ir": 99},
        ),
        (
            "shapes that do not fit",
            "h = MatMul(z, codes) x = Tanh(h) image = Reshape(x, image_shape)",
            "",
            {},
        ),
        ("images that are NaN", tail("u = Sub(zero, one) v = Sqrt(u) s = Mul(h, v) x = Tanh(s)"), "NaN", {}),
        (
            "no latents",
            "image = Identity(picture)",
            "takes no latents",
            {"inputs": "", "constants": {"picture": np.zeros((1, 3, 8, 8), np.float32)}},
        ),
    )
]

# Missing and wrong descriptions

HALVES = "h = MatMul(z, w) x = Tanh(h) image = Reshape(x, image_shape) second = Mul(image, half)"
ONE_HOT = (
    "c = MatMul({name}, codes) h = MatMul(z, w) s = Add(h, c) x = Tanh(s) image = Reshape(x, image_shape)"
)
LABEL = "c = Gather(codes, label) h = MatMul(z, w) s = Add(h, c) x = Tanh(s) image = Reshape(x, image_shape)"
CLIPPED_LABEL = "l = Constant <value_int = 0> () i = Max(label, l) " + LABEL.replace("label", "i")
PSI = "s = Mul(z, psi) h = MatMul(s, w) x = Tanh(h) image = Reshape(x, image_shape)"

DESCRIPTION_KINDS = [
    graph_kind(DESCRIPTIONS, name, body, rejected=rejected, options=options, **settings)
    for name, body, rejected, options, settings in (
        (
            "two outputs, without output_name",
            HALVES,
            "has 2 outputs, 'image' .* 'second' .*; choose the images' with `output_name`",
            {},
            {"outputs": "float[n, 3, 8, 8] image, float[n, 3, 8, 8] second"},
        ),
        (
            "output_name that does not exist",
            HALVES,
            "`output_name` is 'images', and its outputs are 'image'",
            {"output_name": "images"},
            {"outputs": "float[n, 3, 8, 8] image, float[n, 3, 8, 8] second"},
        ),
        (
            "one-hot code, without labels",
            ONE_HOT.format(name="onehot"),
            "'onehot' .* seems to take a label's one-hot code; give `labels=7`",
            {},
            {"inputs": f"{Z}, float[n, 7] onehot"},
        ),
        (
            "one-hot code, wrong number of labels",
            ONE_HOT.format(name="y"),
            "`labels` has 5 labels, and not one of its inputs takes 5 numbers",
            {"labels": 5},
            {"inputs": f"{Z}, float[n, 7] y"},
        ),
        (
            "label, number of labels not shown",
            CLIPPED_LABEL,
            "takes a label, and the graph does not show how many labels there are; give `labels`",
            {},
            {"inputs": f"{Z}, int64[n] label"},
        ),
        (
            "more labels than the embedding has",
            LABEL,
            "`labels` has 8 labels, and the graph has 7",
            {"labels": 8},
            {"inputs": f"{Z}, int64[n] label"},
        ),
        (
            "truncation, without a value",
            PSI,
            "'psi' .* takes one number for all images; give its value, such as `input_values=",
            {},
            {"inputs": f"{Z}, float[1] psi"},
        ),
        (
            "value for an input that does not exist",
            PSI,
            "`input_values` names 'trunc', and its inputs are z, psi",
            {"input_values": {"trunc": 0.7}},
            {"inputs": f"{Z}, float[1] psi"},
        ),
        (
            "range that is not decided",
            tail("x = Mul(h, quarter)"),
            "last operation is Mul, which does not decide the range .* give `value_range`",
            {},
            {},
        ),
        (
            "wrong range: sigmoid for tanh",
            TANH,
            "contradicts `value_range`",
            {"value_range": "sigmoid"},
            {},
        ),
        (
            "wrong range: tanh for 0..255",
            tail("t = Mul(h, quarter) u = Add(t, one) x = Mul(u, byte)"),
            "lie outside of the range -1 to 1 .*; give another `value_range`",
            {"value_range": "tanh"},
            {},
        ),
        (
            "wrong range: 0..255 for tanh",
            tail("x = Mul(h, quarter)"),
            "a small part of the range 0 to 255; give another `value_range`",
            {"value_range": (0, 255)},
            {},
        ),
        (
            "shape that fits both layouts, without layout",
            TANH.replace("image_shape", "both"),
            "may be NCHW or NHWC; choose one with `(source_)?layout`",
            {},
            {"constants": {"both": np.array([-1, 4, 16, 3])}, "outputs": "float[n, 4, 16, 3] image"},
        ),
        (
            "colour rows, without image_size",
            "h = MatMul(z, w) image = Tanh(h)",
            "rows of 192 values; give `image_size`",
            {},
            {"outputs": "float[n, 192] image"},
        ),
        (
            "colour rows, without layout",
            "h = MatMul(z, w) image = Tanh(h)",
            "choose with `(source_)?layout`",
            {"image_size": (8, 8, 3)},
            {"outputs": "float[n, 192] image"},
        ),
        (
            "image_size that does not fit",
            "h = MatMul(z, w) image = Tanh(h)",
            "contradicts `image_size`",
            {"image_size": (9, 8, 3), "layout": "NHWC"},
            {"outputs": "float[n, 192] image"},
        ),
        (
            "one-hot code that is longer than the input",
            TANH,
            "has no room for latents and a one-hot code of 20 labels",
            {"labels": 20},
            {},
        ),
    )
]

KINDS = [
    *torch_kinds.KINDS,
    *graph_kinds.KINDS,
    *QUANTISED,
    *FILE_KINDS,
    *OTHER_KINDS,
    *FAULT_KINDS,
    *DESCRIPTION_KINDS,
]
