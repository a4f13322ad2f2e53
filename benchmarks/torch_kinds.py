"""Kinds of generators that PyTorch exports to ONNX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.generators import Built, Kind

if TYPE_CHECKING:
    from benchmarks.torch_networks import Network

TORCHSCRIPT = "PyTorch, TorchScript exporter"
DYNAMO = "PyTorch, dynamo exporter"
ARCHITECTURES = "Architectures"
LABELS = "Labels"
INPUTS = "Other inputs"
SHAPES = "Shapes"
TYPES = "Types and quantisation"
RANGES = "Ranges"
FAULTS = "Not supported"


@dataclasses.dataclass(frozen=True)
class Exporter:
    """How PyTorch writes a network.

    Attributes:
        network: Name of a function of `benchmarks.torch_networks`.
        arguments: Arguments of this function.
        dynamo: Whether the newer of the two exporters is used.
        batch: Number of images of the example.
        is_dynamic: Whether the file takes any number of images. Otherwise it takes that of the example.
        is_named: Whether the inputs and outputs have names.
        scripted: Whether the network is compiled by `torch.jit.script` before.
        settings: Further arguments of `torch.onnx.export`.
    """

    network: str
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dynamo: bool = False
    batch: int = 2
    is_dynamic: bool = True
    is_named: bool = True
    scripted: bool = False
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, folder: Path) -> Built:
        """Write the network into a folder."""
        import torch

        if self.dynamo:
            import onnxscript  # noqa: F401 - the exporter needs it, and its own error is no ModuleNotFoundError

        from benchmarks import torch_networks

        network: Network = getattr(torch_networks, self.network)(**self.arguments)
        labels = torch.arange(self.batch) % network.label_count if network.label_count else None
        example = network.feed(torch.randn(self.batch, network.dim), labels)
        module = torch.jit.script(network.module) if self.scripted else network.module
        path = folder / "generator.onnx"
        settings = {**self._names(network), **self._dynamic(network, example), **self.settings}
        torch.onnx.export(module, example, path, dynamo=self.dynamo, **settings)
        return Built(path, network.generate)

    def _names(self, network: Network) -> dict[str, Any]:
        if not self.is_named:
            return {}
        return {"input_names": list(network.names), "output_names": list(network.outputs)}

    def _dynamic(self, network: Network, example: Sequence[Any]) -> dict[str, Any]:
        """Return the argument that frees the batch of the inputs whose first axis is the batch."""
        if not self.is_dynamic:
            return {}
        have_batch = [bool(each.ndim) and each.shape[0] == self.batch for each in example]
        if self.dynamo:
            import torch

            batch = torch.export.Dim("batch")
            return {"dynamic_shapes": tuple({0: batch} if each else None for each in have_batch)}
        names = [name for name, each in zip(network.names, have_batch, strict=True) if each]
        return {"dynamic_axes": {name: {0: "batch"} for name in (*names, *network.outputs)}}


def kind(
    group: str,
    name: str,
    network: str,
    *,
    options: Mapping[str, Any] | None = None,
    rejected: str | None = None,
    levels: int = 1,
    **exporter: Any,
) -> Kind:
    """Return a kind that PyTorch exports.

    Args:
        group: Group of the kind.
        name: Name of the kind.
        network: Name of a function of `benchmarks.torch_networks`.
        options: Options of the kind.
        rejected: Regular expression for the message of a kind that is not supported.
        levels: Largest accepted difference, in levels.
        **exporter: Fields of `Exporter`. Other arguments are those of `torch.onnx.export`.
    """
    fields = {field.name for field in dataclasses.fields(Exporter)}
    known = {key: value for key, value in exporter.items() if key in fields}
    settings = {key: value for key, value in exporter.items() if key not in fields}
    return Kind(
        group, name, Exporter(network, settings=settings, **known), options or {}, rejected, levels=levels
    )


TANH = {"value_range": "tanh"}

EXPORTERS = [
    kind(TORCHSCRIPT, "TorchScript: batch fixed at 1, as by default", "dcgan", batch=1, is_dynamic=False),
    kind(
        TORCHSCRIPT,
        "TorchScript: batch fixed at 1, without names",
        "unsqueezed",
        batch=1,
        is_dynamic=False,
        is_named=False,
    ),
    *(
        kind(TORCHSCRIPT, f"TorchScript: DCGAN, opset {opset}", "dcgan", opset_version=opset)
        for opset in (9, 11, 13, 15, 17, 20, 21)
    ),
    kind(TORCHSCRIPT, "TorchScript: StyleGAN2, opset 11", "stylegan2", opset_version=11, options=TANH),
    kind(TORCHSCRIPT, "TorchScript: nearest upsampling, opset 9", "nearest", opset_version=9),
    kind(TORCHSCRIPT, "TorchScript: bilinear upsampling, opset 12", "bilinear", opset_version=12),
    kind(
        TORCHSCRIPT,
        "TorchScript: weights listed among the inputs",
        "dense",
        keep_initializers_as_inputs=True,
        opset_version=9,
    ),
    kind(TORCHSCRIPT, "TorchScript: constants not folded", "sagan", do_constant_folding=False),
    kind(TORCHSCRIPT, "TorchScript: a scripted module", "dense", scripted=True),
    kind(
        DYNAMO,
        "dynamo: batch fixed at 1, as by default",
        "dcgan",
        dynamo=True,
        batch=1,
        is_dynamic=False,
        is_named=False,
    ),
    *(
        kind(DYNAMO, f"dynamo: DCGAN, opset {opset}", "dcgan", dynamo=True, opset_version=opset)
        for opset in (17, 18, 20, 21, 23)
    ),
    kind(DYNAMO, "dynamo: weights in the same file", "dense", dynamo=True, external_data=False),
    kind(DYNAMO, "dynamo: not optimised", "residual", dynamo=True, optimize=False),
    *(
        kind(DYNAMO, f"dynamo: {name}", network, dynamo=True, options=options)
        for name, network, options in (
            ("spectral norm", "spectral_norm", {}),
            ("bilinear upsampling", "bilinear", {}),
            ("group norm", "group_norm", {}),
            ("self-attention", "sagan", {}),
            ("transformer", "transformer", {}),
            ("StyleGAN2", "stylegan2", TANH),
            ("label of an embedding", "labelled", {}),
            ("one-hot code inside", "label_one_hot_inside", {}),
            ("BigGAN with class vector", "biggan", {"labels": 100, "input_values": {"truncation": 0.4}}),
        )
    ),
]

NETWORKS = [
    kind(ARCHITECTURES, name, network, **settings)
    for name, network, settings in (
        ("dense layers", "dense", {}),
        ("DCGAN, grey", "grey_dcgan", {}),
        ("DCGAN, RGBA", "rgba_dcgan", {}),
        ("DCGAN, latents (n, z)", "unsqueezed", {}),
        ("modules within modules", "nested", {}),
        ("residual blocks (WGAN-GP)", "residual", {}),
        ("spectral norm, folded into the weights", "removed_spectral_norm", {}),
        ("spectral norm of older PyTorch", "old_spectral_norm", {}),
        ("weight norm", "weight_norm", {}),
        ("pixel shuffle", "pixel_shuffle", {}),
        ("nearest upsampling and convolution", "nearest", {}),
        ("bilinear upsampling and convolution", "bilinear", {}),
        ("bilinear upsampling, corners aligned", "bilinear_corners", {}),
        ("bicubic upsampling", "bicubic", {}),
        ("instance norm", "instance_norm", {}),
        ("group norm", "group_norm", {}),
        ("layer norm", "layer_norm", {}),
        ("pixel norm (progressive GAN)", "pixel_norm", {}),
        ("adaptive instance norm (StyleGAN)", "adain", {}),
        ("self-attention (SAGAN)", "sagan", {}),
        ("transformer", "transformer", {}),
        ("pixels from coordinates", "coordinates", {}),
        ("StyleGAN2, constant noise", "stylegan2", {"options": TANH}),
        ("StyleGAN2, constant noise, clipped", "stylegan2", {"options": TANH | {"clip": True}}),
        (
            "StyleGAN2, grouped convolutions, batch 1",
            "stylegan2_fused",
            {"options": TANH, "batch": 1, "is_dynamic": False},
        ),
        (
            "StyleGAN2, grouped convolutions, batch 4",
            "stylegan2_fused",
            {"options": TANH, "batch": 4, "is_dynamic": False},
        ),
        ("StyleGAN2, styles as the latents", "stylegan2_styles", {"options": TANH}),
        ("FastGAN, first of two outputs", "fastgan", {"options": {"output_name": "image"}}),
        ("FastGAN, second of two outputs", "fastgan_small", {"options": {"output_name": "image_small"}}),
    )
]

NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt"]
CONDITIONAL = [
    kind(LABELS, name, network, **settings)
    for name, network, settings in (
        ("label (n,) int64, embedding concatenated", "labelled", {}),
        ("label with names", "labelled", {"options": {"labels": NAMES}}),
        ("label (n, 1) int64", "label_column", {}),
        ("label (n,) int32", "label_int32", {}),
        ("label (n,) float32", "label_float", {}),
        ("label (n, 1) float32", "label_float_column", {}),
        ("label as a scalar, one image per run", "label_scalar", {"batch": 1, "is_dynamic": False}),
        ("label (1,), batch fixed at 1", "labelled", {"batch": 1, "is_dynamic": False}),
        ("label (4,), batch fixed at 4", "labelled", {"batch": 4, "is_dynamic": False}),
        ("embedding multiplied (ACGAN)", "label_multiplied", {}),
        ("one-hot code computed inside", "label_one_hot_inside", {}),
        ("label compared with all labels", "label_compared", {"options": {"labels": 7}}),
        ("one-hot code as an input", "label_one_hot", {"options": {"labels": 7}}),
        (
            "one-hot code as an input, batch fixed at 1",
            "label_one_hot",
            {"options": {"labels": 7}, "batch": 1, "is_dynamic": False},
        ),
        ("one-hot code of int64 as an input", "label_one_hot_int64", {"options": {"labels": 7}}),
        ("one-hot code behind the latents", "joined", {"options": {"labels": 10}}),
        ("one-hot code before the latents", "joined_first", {"options": {"labels": 10, "labels_at": 0}}),
        (
            "one-hot code between the latents (InfoGAN)",
            "infogan",
            {"options": {"labels": 10, "labels_at": 30}},
        ),
        ("noise, one-hot code and codes as inputs (InfoGAN)", "infogan_inputs", {"options": {"labels": 7}}),
        (
            "BigGAN with class vector",
            "biggan",
            {"options": {"labels": 100, "input_values": {"truncation": 0.4}}},
        ),
        ("BigGAN with class index", "biggan_index", {}),
        (
            "StyleGAN2-ADA with c and truncation",
            "stylegan2_classes",
            {"options": TANH | {"labels": 6, "input_values": {"truncation_psi": 0.7}}},
        ),
    )
]

PSI = TANH | {"input_values": {"truncation_psi": 0.7}}
MORE_INPUTS = [
    kind(INPUTS, name, network, **settings)
    for name, network, settings in (
        ("truncation as a scalar", "stylegan2_psi_scalar", {"options": PSI}),
        ("truncation (1,)", "stylegan2_psi", {"options": PSI}),
        ("truncation (n, 1)", "stylegan2_psi_each", {"options": PSI}),
        ("c of width 0", "stylegan2_no_classes", {"options": TANH}),
        ("two inputs of latents", "two_latents", {}),
        (
            "noise maps as inputs",
            "noise_maps",
            {"options": TANH | {"input_values": {"noise_4": 0.0, "noise_16": 0.0}}},
        ),
    )
]

SIZES = [
    kind(SHAPES, name, network, **settings)
    for name, network, settings in (
        ("batch fixed at 4", "dcgan", {"batch": 4, "is_dynamic": False}),
        ("batch fixed at 16", "dense", {"batch": 16, "is_dynamic": False}),
        ("rows (n, 784)", "rows", {}),
        ("images (n, 28, 28)", "grey_without_channels", {}),
        ("images (n, 28, 28, 1)", "channels_last", {}),
    )
]


@dataclasses.dataclass(frozen=True)
class WithoutBatch:
    """Writes a network whose latents and images have no batch axis."""

    def __call__(self, folder: Path) -> Built:
        """Write the network into a folder."""
        import torch

        from benchmarks import torch_networks

        network = torch_networks.dense_one_latent_axis()
        path = folder / "generator.onnx"
        torch.onnx.export(network.module, (torch.randn(network.dim),), path, dynamo=False)
        return Built(path, network.generate)


SIZES.append(Kind(SHAPES, "latents and images without a batch axis", WithoutBatch()))

PRECISIONS = [
    kind(TYPES, "float16, by half()", "half", levels=3),
    kind(TYPES, "float64, by double()", "double"),
    kind(
        TYPES,
        "float64, transposed convolutions",
        "double_dcgan",
        rejected="does not implement its operation ConvTranspose .*; export the model in float32",
    ),
    kind(TYPES, "images of uint8", "to_uint8"),
]

ENDS = [
    kind(RANGES, "PyTorch: linear, with value_range", "linear", options=TANH),
    kind(RANGES, "PyTorch: linear, clipped", "linear", options=TANH | {"clip": True}),
    kind(RANGES, "PyTorch: hardtanh", "hard_tanh"),
    kind(RANGES, "PyTorch: relu6 / 6", "relu6"),
]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Writes what `torch.save` writes.

    Attributes:
        file: Name of the file.
    """

    file: str

    def __call__(self, folder: Path) -> Built:
        """Write the checkpoint into a folder."""
        import torch

        from benchmarks import torch_networks

        network, path = torch_networks.dense(), folder / self.file
        torch.save(network.module.state_dict(), path)
        return Built(path, network.generate)


UNSUPPORTED = [
    kind(
        FAULTS,
        "random noise inside (StyleGAN2)",
        "stylegan2_random_noise",
        options=TANH,
        rejected="has a RandomNormalLike: an image would not depend on its seed alone; .* noise_mode='const'",
    ),
    kind(
        FAULTS,
        "random noise inside (StyleGAN2), dynamo",
        "stylegan2_random_noise",
        dynamo=True,
        options=TANH,
        rejected="has a Random.*: an image would not depend on its seed alone; .* noise_mode='const'",
    ),
    kind(
        FAULTS,
        "statistics of the batch in the generator",
        "minibatch_statistics",
        rejected="an image depends on the other images in its batch",
    ),
    kind(
        FAULTS,
        "network from images to images",
        "image_to_image",
        rejected="'photo' .* takes images, not latents",
    ),
    kind(FAULTS, "voxels", "voxels", rejected=r"each image has shape .*; expected \(height, width"),
    Kind(
        FAULTS,
        "PyTorch checkpoint, named .pt",
        Checkpoint("generator.pt"),
        rejected="is a PyTorch checkpoint; load its generator in PyTorch, and export it",
        steps=("sample",),
    ),
    Kind(
        FAULTS,
        "PyTorch checkpoint, named .onnx",
        Checkpoint("generator.onnx"),
        rejected="is a PyTorch checkpoint; load its generator in PyTorch, and export it",
    ),
]

KINDS = [
    *EXPORTERS,
    *NETWORKS,
    *CONDITIONAL,
    *MORE_INPUTS,
    *SIZES,
    *PRECISIONS,
    *ENDS,
    *UNSUPPORTED,
]
