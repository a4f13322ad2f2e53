"""Small generators in PyTorch with the architectures and the inputs that people use. The weights are random.

The code was written for this project. `benchmarks.torch_kinds` exports these networks to ONNX. Each function
returns a `Network`: the module in evaluation mode, and how latents and labels become its inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from benchmarks.onnx_graphs import to_levels

Feed = Callable[[Tensor, Tensor | None], tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class Network:
    """A generator in PyTorch.

    Attributes:
        module: The generator, in evaluation mode.
        feed: Function from latents, float32 (n, dim), and label indices, (n,), to the module's inputs.
        dim: Number of latents.
        label_count: Number of labels; 0 for none.
        names: Names of the inputs in the ONNX file.
        outputs: Names of the outputs.
        chosen: Index of the output that holds the images.
        span: Values of black and white.
        size: Height, width and channels of images that are rows of pixels, or have no channel axis.
    """

    module: nn.Module
    feed: Feed
    dim: int
    label_count: int = 0
    names: tuple[str, ...] = ("z",)
    outputs: tuple[str, ...] = ("image",)
    chosen: int = 0
    span: tuple[float, float] = (-1, 1)
    size: tuple[int, int, int] | None = None

    def generate(
        self, latents: npt.NDArray[np.float32], labels: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.uint8]:
        """Return images, uint8 (n, height, width, channels), as PyTorch itself generates them."""
        given = None if labels is None else torch.from_numpy(labels)
        with torch.no_grad():
            outputs = self.module(*self.feed(torch.from_numpy(latents), given))
        values = outputs[self.chosen] if isinstance(outputs, tuple) else outputs
        if self.size is not None:
            values = values.reshape(-1, *self.size)
            return to_levels(values.float().numpy(), self.span, layout="NHWC")
        return to_levels(values.float().numpy(), self.span, layout="NCHW")


def latents_alone(latents: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
    return (latents,)


def ready(module: nn.Module, seed: int = 3) -> nn.Module:
    """Return a module in evaluation mode, whose scales, biases and statistics are as after training."""
    generator = torch.Generator().manual_seed(seed)
    for name, values in [*module.named_parameters(), *module.named_buffers()]:
        if not values.is_floating_point():
            continue
        if name.endswith("running_var"):
            values.data.uniform_(0.5, 2.0, generator=generator)
        elif name.endswith("running_mean") or (name.endswith("bias") and values.ndim == 1):
            values.data.normal_(0, 0.1, generator=generator)
        elif name.endswith("weight") and values.ndim == 1:  # the scale of a normalisation
            values.data.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def network(module: nn.Module, dim: int, feed: Feed = latents_alone, **facts: Any) -> Network:
    return Network(ready(module), feed, dim, **facts)


class Grid(nn.Module):
    """A dense layer whose output is a grid of features, (n, channels, side, side)."""

    def __init__(self, dim: int, channels: int, side: int) -> None:
        super().__init__()
        self.dense, self.shape = nn.Linear(dim, channels * side * side), (-1, channels, side, side)

    def forward(self, latents: Tensor) -> Tensor:
        _, channels, height, width = self.shape
        return self.dense(latents).view(-1, channels, height, width)


class Reshape(nn.Module):
    """A view of the rows of a batch in another shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, values: Tensor) -> Tensor:
        return values.view(*self.shape)


# Architectures


def transposed(inputs: int, outputs: int, stride: int = 2, padding: int = 1) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(True),
    ]


def dcgan_layers(dim: int, channels: int = 3) -> nn.Sequential:
    torch.manual_seed(1)
    last = nn.ConvTranspose2d(8, channels, 4, 2, 1, bias=False)
    layers = nn.Sequential(*transposed(dim, 16, 1, 0), *transposed(16, 8), last, nn.Tanh())
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, 0.15)
    return layers


def dcgan(dim: int = 100, channels: int = 3) -> Network:
    """Return the DCGAN of PyTorch's tutorial: latents (n, dim, 1, 1), transposed convolutions, tanh."""
    return network(dcgan_layers(dim, channels), dim, lambda z, _: (z.reshape(-1, dim, 1, 1),))


def unsqueezed() -> Network:
    """Return a DCGAN that takes latents (n, dim) and adds the two axes itself."""

    class Unsqueezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = dcgan_layers(32)

        def forward(self, z: Tensor) -> Tensor:
            return self.layers(z[:, :, None, None])

    return network(Unsqueezed(), 32)


def grey_dcgan() -> Network:
    return dcgan(64, channels=1)


def rgba_dcgan() -> Network:
    return dcgan(64, channels=4)


def mlp(*, size: tuple[int, ...] | None = (1, 28, 28), last: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(9)
    layers = [
        nn.Linear(64, 64),
        nn.LeakyReLU(0.2),
        nn.Linear(64, 128),
        nn.BatchNorm1d(128, 0.8),
        nn.LeakyReLU(0.2),
        nn.Linear(128, 784),
    ]
    nn.init.normal_(layers[-1].weight, 0, 0.1)
    return nn.Sequential(*layers, last or nn.Tanh(), *([] if size is None else [Reshape(-1, *size)]))


def dense() -> Network:
    """Return a generator of dense layers, as in the first GAN of most collections."""
    return network(mlp(), 64)


def rows() -> Network:
    return network(mlp(size=None), 64, size=(28, 28, 1))


def grey_without_channels() -> Network:
    return network(mlp(size=(28, 28)), 64, size=(28, 28, 1))


def channels_last() -> Network:
    return network(mlp(size=(28, 28, 1)), 64, size=(28, 28, 1))


def dense_one_latent_axis() -> Network:
    """Return a generator of one image from latents (dim,), without a batch axis."""
    layers = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 192), nn.Tanh(), Reshape(3, 8, 8))
    torch.manual_seed(9)
    nn.init.normal_(layers[2].weight, 0, 0.3)

    class Each(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, z: Tensor) -> Tensor:
            return self.layers(z) if z.ndim == 1 else torch.stack([self.layers(each) for each in z])

    return network(Each(), 24)


def nested() -> Network:
    """Return a generator of modules within modules, with a ModuleList and a loop."""
    torch.manual_seed(2)

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.main = nn.Sequential(nn.Sequential(*transposed(inputs, outputs)))
            self.more = nn.ModuleList([nn.Conv2d(outputs, outputs, 3, padding=1) for _ in range(2)])

        def forward(self, values: Tensor) -> Tensor:
            values = self.main(values)
            for layer in self.more:
                values = values + functional.leaky_relu(layer(values), 0.2)
            return values

    blocks = nn.Sequential(Block(16, 12), Block(12, 8))
    return network(nn.Sequential(Grid(32, 16, 4), blocks, nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()), 32)


def with_weight_norm(norm: Callable[[nn.Module], nn.Module]) -> Network:
    """Return a generator whose convolutions have normalised weights."""
    torch.manual_seed(4)
    layers = [Grid(32, 16, 4), nn.ReLU(), norm(nn.ConvTranspose2d(16, 8, 4, 2, 1)), nn.ReLU()]
    return network(nn.Sequential(*layers, norm(nn.Conv2d(8, 3, 3, padding=1)), nn.Tanh()), 32)


def spectral_norm() -> Network:
    return with_weight_norm(parametrizations.spectral_norm)


def old_spectral_norm() -> Network:
    return with_weight_norm(nn.utils.spectral_norm)


def weight_norm() -> Network:
    return with_weight_norm(parametrizations.weight_norm)


def removed_spectral_norm() -> Network:
    """Return a generator whose spectral normalisation was folded into the weights before the export."""
    found = spectral_norm()
    for layer in found.module:
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    return found


def pixel_shuffle() -> Network:
    torch.manual_seed(5)
    steps = [nn.Conv2d(16, 32, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
    return network(
        nn.Sequential(Grid(32, 16, 4), *steps, nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2), nn.Tanh()),
        32,
    )


def upsampling(mode: str, **settings: Any) -> Network:
    """Return a generator that upsamples features, and then convolves them."""
    torch.manual_seed(6)
    steps: list[nn.Module] = [Grid(32, 16, 4)]
    for inputs, outputs in ((16, 12), (12, 8)):
        steps += [nn.Upsample(scale_factor=2, mode=mode, **settings), nn.Conv2d(inputs, outputs, 3, 1, 1)]
        steps += [nn.BatchNorm2d(outputs, 0.8), nn.LeakyReLU(0.2)]
    return network(nn.Sequential(*steps, nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()), 32)


def nearest() -> Network:
    return upsampling("nearest")


def bilinear() -> Network:
    return upsampling("bilinear", align_corners=False)


def bilinear_corners() -> Network:
    return upsampling("bilinear", align_corners=True)


def bicubic() -> Network:
    return upsampling("bicubic", align_corners=False)


def normalised(norm: Callable[[int], nn.Module]) -> Network:
    torch.manual_seed(7)
    steps: list[nn.Module] = [Grid(32, 16, 4)]
    for inputs, outputs in ((16, 12), (12, 8)):
        steps += [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, 1, 1), norm(outputs), nn.SiLU()]
    return network(nn.Sequential(*steps, nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()), 32)


def instance_norm() -> Network:
    return normalised(lambda channels: nn.InstanceNorm2d(channels, affine=True))


def group_norm() -> Network:
    return normalised(lambda channels: nn.GroupNorm(4, channels))


def layer_norm() -> Network:
    torch.manual_seed(8)
    layers = [nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 192)]
    return network(nn.Sequential(*layers, nn.Tanh(), Reshape(-1, 3, 8, 8)), 32)


def pixel_norm() -> Network:
    """Return a generator with the pixel normalisation and the equalised learning rate of progressive GANs."""
    torch.manual_seed(8)

    class PixelNorm(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values / torch.sqrt(torch.mean(values**2, dim=1, keepdim=True) + 1e-8)

    class Equal(nn.Module):
        def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
            self.scale = (2 / (inputs * kernel * kernel)) ** 0.5

        def forward(self, values: Tensor) -> Tensor:
            return functional.conv2d(values, self.weight * self.scale, padding=self.weight.shape[2] // 2)

    class Progressive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.grid = PixelNorm(), Grid(32, 16, 4)
            self.convs = nn.ModuleList([Equal(16, 16, 3), Equal(16, 16, 3)])
            self.rgbs = nn.ModuleList([Equal(16, 3, 1), Equal(16, 3, 1)])

        def forward(self, z: Tensor) -> Tensor:
            values, previous = self.grid(self.norm(z)), None
            for conv, rgb in zip(self.convs, self.rgbs, strict=True):
                values = functional.interpolate(values, scale_factor=2, mode="nearest")
                values = self.norm(functional.leaky_relu(conv(values), 0.2))
                image = rgb(values)
                if previous is not None:
                    image = 0.3 * functional.interpolate(previous, scale_factor=2) + 0.7 * image
                previous = image
            return torch.tanh(image)

    return network(Progressive(), 32)


class Attention(nn.Module):
    """Self-attention over the pixels (Zhang et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Conv2d(channels, channels // 4, 1) for _ in range(2))
        self.value, self.gain = nn.Conv2d(channels, channels, 1), nn.Parameter(torch.tensor(0.7))

    def forward(self, values: Tensor) -> Tensor:
        query, key, value = (each(values).flatten(2) for each in (self.query, self.key, self.value))
        seen = torch.bmm(value, torch.softmax(torch.bmm(query.transpose(1, 2), key), -1).transpose(1, 2))
        return values + self.gain * seen.view_as(values)


def sagan() -> Network:
    torch.manual_seed(10)
    norm = nn.utils.spectral_norm
    steps = [Grid(32, 16, 4), nn.ReLU(), norm(nn.ConvTranspose2d(16, 16, 4, 2, 1)), Attention(16)]
    return network(nn.Sequential(*steps, nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh()), 32)


def transformer() -> Network:
    """Return a generator of transformer blocks whose tokens are pixels (TransGAN, ViTGAN)."""
    torch.manual_seed(11)

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.positions = nn.Linear(32, 16 * 24), nn.Parameter(torch.randn(1, 16, 24))
            layer = nn.TransformerEncoderLayer(24, 4, 48, dropout=0.1, batch_first=True)
            self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.last = nn.Linear(24, 12)

        def forward(self, z: Tensor) -> Tensor:
            tokens = self.blocks(self.dense(z).view(-1, 16, 24) + self.positions)
            grid = self.last(tokens).transpose(1, 2).reshape(-1, 12, 4, 4)
            return torch.tanh(functional.pixel_shuffle(grid, 2))

    return network(Transformer(), 32)


def fastgan() -> Network:
    """Return a generator with two outputs and skip-layer excitation (Liu et al. 2021)."""
    torch.manual_seed(12)

    class FastGan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.ConvTranspose2d(32, 16, 4)
            self.up, self.up2 = (nn.Conv2d(16, 32, 3, padding=1) for _ in range(2))
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Conv2d(16, 16, 4), nn.Sigmoid())
            self.big, self.small = nn.Conv2d(16, 3, 3, padding=1), nn.Conv2d(16, 3, 1)

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            first = torch.relu(self.first(z[:, :, None, None]))
            half = functional.glu(self.up(functional.interpolate(first, scale_factor=2)), 1)
            full = functional.glu(self.up2(functional.interpolate(half, scale_factor=2)), 1)
            return torch.tanh(9 * self.big(full * self.gate(first))), torch.tanh(9 * self.small(half))

    return network(FastGan(), 32, outputs=("image", "image_small"))


def fastgan_small() -> Network:
    return dataclasses.replace(fastgan(), chosen=1)


def residual() -> Network:
    """Return the residual generator of WGAN-GP."""
    torch.manual_seed(13)

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(channels, channels, 3, 1, 1),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, 1, 1),
            )

        def forward(self, values: Tensor) -> Tensor:
            return self.branch(values) + functional.interpolate(values, scale_factor=2)

    last = [nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 3, 3, padding=1), nn.Tanh()]
    return network(nn.Sequential(Grid(32, 12, 4), Block(12), Block(12), *last), 32)


def coordinates() -> Network:
    """Return a generator that computes each pixel from its coordinates and the latents (CPPN, INR-GAN)."""
    torch.manual_seed(14)

    class Coordinates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            steps = torch.linspace(-1, 1, 12)
            self.register_buffer("grid", torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1))
            self.dense, self.last = nn.Linear(18, 32), nn.Linear(32, 3)

        def forward(self, z: Tensor) -> Tensor:
            repeated = z[:, None, None, :].expand(-1, 12, 12, -1)
            grid = self.grid[None].expand(z.shape[0], -1, -1, -1)
            hidden = torch.sin(3 * self.dense(torch.cat([grid, repeated], -1)))
            return torch.sigmoid(4 * self.last(hidden))  # (n, 12, 12, 3)

    return network(Coordinates(), 16, size=(12, 12, 3), span=(0, 1))


def adain() -> Network:
    """Return a generator with adaptive instance normalisation and a learned constant (StyleGAN)."""
    torch.manual_seed(15)

    class Adain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mapping = nn.Sequential(nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32))
            self.constant = nn.Parameter(torch.randn(1, 12, 4, 4))
            self.styles = nn.ModuleList([nn.Linear(32, 24) for _ in range(2)])
            self.convs = nn.ModuleList([nn.Conv2d(12, 12, 3, padding=1) for _ in range(2)])
            self.norm, self.last = nn.InstanceNorm2d(12), nn.Conv2d(12, 3, 1)

        def forward(self, z: Tensor) -> Tensor:
            style = self.mapping(z)
            values = self.constant.expand(z.shape[0], -1, -1, -1)
            for convolve, affine in zip(self.convs, self.styles, strict=True):
                values = functional.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)
                scale, shift = affine(style)[:, :, None, None].chunk(2, 1)
                values = functional.leaky_relu(self.norm(convolve(values)) * (1 + scale) + shift, 0.2)
            return torch.tanh(self.last(values))

    return network(Adain(), 32)


class Modulated(nn.Module):
    """A modulated convolution (Karras et al. 2020), in one of its two usual forms."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, demodulate: bool, fused: bool) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) / (inputs**0.5 * kernel))
        self.affine = nn.Linear(24, inputs)
        self.demodulate, self.fused = demodulate, fused

    def forward(self, values: Tensor, style: Tensor) -> Tensor:
        style, padding = 1 + self.affine(style), self.kernels.shape[2] // 2
        kernels = self.kernels[None] * style[:, None, :, None, None]  # (n, outputs, inputs, k, k)
        scale = (kernels.square().sum((2, 3, 4)) + 1e-8).rsqrt() if self.demodulate else None
        if not self.fused:
            values = functional.conv2d(values * style[:, :, None, None], self.kernels, padding=padding)
            return values if scale is None else values * scale[:, :, None, None]
        if scale is not None:
            kernels = kernels * scale[:, :, None, None, None]
        count, inputs, height, width = values.shape
        values = values.reshape(1, count * inputs, height, width)
        values = functional.conv2d(values, kernels.flatten(0, 1), padding=padding, groups=count)
        return values.reshape(count, -1, height, width)


class StyleGan2(nn.Module):
    """A small StyleGAN2: mapping, constant input, modulated convolutions, noise, skips to RGB."""

    def __init__(self, *, labels: int = 0, noise: str = "const", fused: bool = False) -> None:
        super().__init__()
        torch.manual_seed(16)
        self.noise, self.labels = noise, labels
        self.embedding = nn.Linear(labels, 24) if labels else None
        self.mapping = nn.Sequential(
            nn.Linear(48 if labels else 24, 24), nn.LeakyReLU(0.2), nn.Linear(24, 24)
        )
        self.register_buffer("average", 0.1 * torch.randn(24))
        self.constant = nn.Parameter(torch.randn(12, 4, 4))
        self.convs = nn.ModuleList([Modulated(12, 12, 3, demodulate=True, fused=fused) for _ in range(3)])
        self.rgbs = nn.ModuleList([Modulated(12, 3, 1, demodulate=False, fused=fused) for _ in range(3)])
        for index in range(3):
            self.register_buffer(f"noise{index}", torch.randn(4 * 2**index, 4 * 2**index))

    def map(self, z: Tensor, c: Tensor | None = None, psi: float | Tensor = 1.0) -> Tensor:
        z = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        if self.embedding is not None and c is not None:
            z = torch.cat([z, self.embedding(c)], 1)
        return self.average + (self.mapping(z) - self.average) * psi

    def synthesize(self, styles: Tensor) -> Tensor:
        """Return images from styles, (n, 24) or (n, 3, 24), one for each resolution."""
        values, image = self.constant[None].repeat(styles.shape[0], 1, 1, 1), None
        for index, (convolve, rgb) in enumerate(zip(self.convs, self.rgbs, strict=True)):
            style = styles if styles.ndim == 2 else styles[:, index]
            if index:
                values = self.double(values)
            values = convolve(values, style)
            noise = getattr(self, f"noise{index}")
            if self.noise == "random":
                noise = torch.randn(values.shape[0], 1, *values.shape[2:])
            values = functional.leaky_relu(values + 0.2 * noise, 0.2) * 2**0.5
            added = 0.4 * rgb(values, style)
            image = added if image is None else added + self.double(image)
        return image

    @staticmethod
    def double(values: Tensor) -> Tensor:
        return functional.interpolate(values, scale_factor=2.0, mode="bilinear", align_corners=False)

    def forward(self, z: Tensor, c: Tensor | None = None, psi: float | Tensor = 1.0) -> Tensor:
        return self.synthesize(self.map(z, c, psi))


class OfZ(StyleGan2):
    """StyleGAN2 whose only input is z."""

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesize(self.map(z))


class OfW(StyleGan2):
    """The synthesis network of StyleGAN2, whose input is one style for each resolution."""

    def forward(self, w: Tensor) -> Tensor:
        return self.synthesize(w)


class OfZAndPsi(StyleGan2):
    """StyleGAN2 with the truncation as an input."""

    def forward(self, z: Tensor, truncation_psi: Tensor) -> Tensor:
        return self.synthesize(self.map(z, None, truncation_psi))


def stylegan2(**settings: Any) -> Network:
    return network(OfZ(**settings), 24)


def stylegan2_fused() -> Network:
    return stylegan2(fused=True)


def stylegan2_random_noise() -> Network:
    return stylegan2(noise="random")


def stylegan2_styles() -> Network:
    return network(OfW(), 72, lambda z, _: (z.reshape(-1, 3, 24),), names=("w",))


def stylegan2_psi(shape: tuple[int, ...] = (1,)) -> Network:
    def feed(z: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
        sizes = tuple(len(z) if size < 0 else size for size in shape)
        return z, torch.full(sizes, 0.7)

    return network(OfZAndPsi(), 24, feed, names=("z", "truncation_psi"))


def stylegan2_psi_scalar() -> Network:
    return stylegan2_psi(())


def stylegan2_psi_each() -> Network:
    return stylegan2_psi((-1, 1))


def stylegan2_classes() -> Network:
    """Return StyleGAN2-ADA with all of its inputs: z, the one-hot code c, and the truncation."""

    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return z, functional.one_hot(labels, 6).float(), torch.tensor([0.7])

    return network(StyleGan2(labels=6), 24, feed, label_count=6, names=("z", "c", "truncation_psi"))


def stylegan2_no_classes() -> Network:
    """Return StyleGAN2-ADA without classes, which still takes `c` of width 0."""

    class Unconditional(StyleGan2):
        def forward(self, z: Tensor, c: Tensor) -> Tensor:
            return self.synthesize(self.map(torch.cat([z, c], 1)))

    return network(Unconditional(), 24, lambda z, _: (z, z[:, :0]), names=("z", "c"))


# Labels


class Conditional(nn.Module):
    """A conditional generator whose `encode` turns labels into features."""

    def __init__(self, code: nn.Module, features: int, *, multiply: bool = False) -> None:
        super().__init__()
        torch.manual_seed(17)
        self.encode, self.multiply = code, multiply
        self.layers = nn.Sequential(
            nn.Linear(32 if multiply else 32 + features, 64), nn.ReLU(), nn.Linear(64, 192), nn.Tanh()
        )
        nn.init.normal_(self.layers[2].weight, 0, 0.4)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        code = self.encode(label)
        joined = z * code if self.multiply else torch.cat([z, code], 1)
        return self.layers(joined).view(-1, 3, 8, 8)


class Embedding(nn.Module):
    """An embedding of labels of any integer or float type, (n,) or (n, 1)."""

    def __init__(self, count: int, features: int) -> None:
        super().__init__()
        torch.manual_seed(18)
        self.table = nn.Embedding(count, features)

    def forward(self, label: Tensor) -> Tensor:
        return self.table(label.long()).flatten(1)


class OneHot(nn.Module):
    """The one-hot code of a label, which the graph itself computes."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, label: Tensor) -> Tensor:
        return functional.one_hot(label, self.count).float()


class Compared(nn.Module):
    """The one-hot code of a label by a comparison with all labels."""

    def forward(self, label: Tensor) -> Tensor:
        return (label[:, None] == torch.arange(7)[None, :]).float()


def labelled(
    shape: tuple[int, ...] = (-1,),
    kind: torch.dtype = torch.int64,
    code: nn.Module | None = None,
    features: int = 8,
    name: str = "label",
    **settings: Any,
) -> Network:
    """Return a conditional generator of seven labels, which takes labels of a shape and a type."""

    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return z, labels.reshape(shape).to(kind)

    module = Conditional(code or Embedding(7, features), features, **settings)
    return network(module, 32, feed, label_count=7, names=("z", name))


def label_column() -> Network:
    return labelled((-1, 1))


def label_int32() -> Network:
    return labelled(kind=torch.int32)


def label_float() -> Network:
    return labelled(kind=torch.float32)


def label_float_column() -> Network:
    return labelled((-1, 1), kind=torch.float32)


def label_one_hot_inside() -> Network:
    return labelled(code=OneHot(7), features=7)


def label_compared() -> Network:
    return labelled(code=Compared(), features=7)


def label_multiplied() -> Network:
    """Return an ACGAN: the embedding of the label is multiplied with the latents."""
    return labelled(features=32, multiply=True)


def label_one_hot(kind: torch.dtype = torch.float32, name: str = "onehot") -> Network:
    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return z, functional.one_hot(labels, 7).to(kind)

    class ToFloat(nn.Module):
        def forward(self, code: Tensor) -> Tensor:
            return code.float()

    module = Conditional(nn.Identity() if kind == torch.float32 else ToFloat(), 7)
    return network(module, 32, feed, label_count=7, names=("z", name))


def label_one_hot_int64() -> Network:
    return label_one_hot(torch.int64)


def label_scalar() -> Network:
    """Return a conditional generator of one image per run, whose label is a scalar."""

    class Scalar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Conditional(Embedding(7, 8), 8)

        def forward(self, z: Tensor, label: Tensor) -> Tensor:
            return self.inner(z, label.expand(z.shape[0]) if label.ndim == 0 else label)

    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return z, labels.reshape(()) if len(z) == 1 else labels

    return network(Scalar(), 32, feed, label_count=7, names=("z", "label"))


def joined(at: int = 32) -> Network:
    """Return a generator whose one input holds latents and, from an index on, the label's one-hot code."""
    torch.manual_seed(19)
    layers = nn.Sequential(nn.Linear(42, 64), nn.ReLU(), nn.Linear(64, 192), nn.Tanh(), Reshape(-1, 3, 8, 8))
    nn.init.normal_(layers[2].weight, 0, 0.4)

    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return (torch.cat([z[:, :at], functional.one_hot(labels, 10).float(), z[:, at:]], 1),)

    return network(layers, 32, feed, label_count=10)


def infogan() -> Network:
    """Return an InfoGAN: noise, then the one-hot code, then two continuous codes, in one input."""
    return joined(30)


def joined_first() -> Network:
    return joined(0)


def infogan_inputs() -> Network:
    """Return an InfoGAN with an input for each: noise, one-hot code, continuous codes."""

    class InfoGan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Conditional(nn.Identity(), 7)

        def forward(self, noise: Tensor, labels: Tensor, code: Tensor) -> Tensor:
            return self.inner(torch.cat([noise, code], 1), labels)

    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return z[:, :30], functional.one_hot(labels, 7).float(), z[:, 30:]

    return network(InfoGan(), 32, feed, label_count=7, names=("noise", "labels", "code"))


class ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and shift depend on the class (BigGAN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.affine = nn.BatchNorm2d(channels), nn.Linear(16, 2 * channels)

    def forward(self, values: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.affine(code)[:, :, None, None].chunk(2, 1)
        return self.norm(values) * (1 + scale) + shift


class BigGan(nn.Module):
    """A small BigGAN: class vector, conditional normalisation, split latents, and a truncation."""

    def __init__(self, count: int, *, embedded: bool) -> None:
        super().__init__()
        torch.manual_seed(20)
        self.classes = nn.Embedding(count, 8) if embedded else nn.Linear(count, 8, bias=False)
        self.grid, self.norms = Grid(8, 12, 4), nn.ModuleList([ConditionalNorm(12) for _ in range(2)])
        self.convs = nn.ModuleList([nn.Conv2d(12, 12, 3, padding=1) for _ in range(2)])
        self.last = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, z: Tensor, class_vector: Tensor, truncation: Tensor | float = 0.4) -> Tensor:
        first, *parts = z.chunk(3, 1)
        code, values = self.classes(class_vector), self.grid(first)
        for part, norm, convolve in zip(parts, self.norms, self.convs, strict=True):
            values = torch.relu(norm(values, torch.cat([part, code * truncation], 1)))
            values = convolve(functional.interpolate(values, scale_factor=2))
        return torch.tanh(2 * self.last(values))


def biggan() -> Network:
    """Return a BigGAN with the inputs of the usual PyTorch version: z, class vector, truncation."""

    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return z, functional.one_hot(labels, 100).float(), torch.tensor(0.4)

    names = ("z", "class_vector", "truncation")
    return network(BigGan(100, embedded=False), 24, feed, label_count=100, names=names)


def biggan_index() -> Network:
    def feed(z: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        return z, labels

    class OfIndex(BigGan):
        def forward(self, z: Tensor, y: Tensor) -> Tensor:
            return super().forward(z, y)

    return network(OfIndex(100, embedded=True), 24, feed, label_count=100, names=("z", "y"))


def two_latents() -> Network:
    """Return a generator with two inputs for latents, for content and style."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Conditional(nn.Identity(), 12)

        def forward(self, content: Tensor, style: Tensor) -> Tensor:
            return self.inner(content, style)

    names = ("content", "style")
    return network(Two(), 44, lambda z, _: (z[:, :32], z[:, 32:]), names=names)


def noise_maps() -> Network:
    """Return a StyleGAN2 whose noise maps are inputs."""

    class Noise(StyleGan2):
        def forward(self, z: Tensor, noise_4: Tensor, noise_16: Tensor) -> Tensor:
            values = super().forward(z)
            return values + noise_16 + functional.interpolate(noise_4, scale_factor=4)

    def feed(z: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
        return z, torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 16, 16)

    return network(Noise(), 24, feed, names=("z", "noise_4", "noise_16"))


# Faulty exports


def minibatch_statistics() -> Network:
    """Return a generator that normalises by the statistics of its batch, also in evaluation mode."""
    torch.manual_seed(21)

    class Centred(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return (values - values.mean(0)) / values.std(0, unbiased=False)

    layers = [nn.Linear(32, 64), Centred(), nn.ReLU(), nn.Linear(64, 192), nn.Tanh(), Reshape(-1, 3, 8, 8)]
    return network(nn.Sequential(*layers), 32)


def image_to_image() -> Network:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())
    return network(layers, 3 * 32 * 32, lambda z, _: (z.reshape(-1, 3, 32, 32),), names=("photo",))


def voxels() -> Network:
    layers = nn.Sequential(nn.ConvTranspose3d(16, 8, 4), nn.ReLU(), nn.ConvTranspose3d(8, 1, 4, 2, 1))
    module = nn.Sequential(layers, nn.Sigmoid())
    return network(module, 16, lambda z, _: (z.reshape(-1, 16, 1, 1, 1),))


def half() -> Network:
    """Return a generator in float16, as `generator.half()` gives it."""
    found = unsqueezed()
    module = found.module.half()
    return dataclasses.replace(found, module=module, feed=lambda z, _: (z.half(),))


def double(found: Network | None = None) -> Network:
    """Return a generator in float64, for which onnxruntime implements some operations only."""
    torch.manual_seed(9)
    layers = [nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 192), nn.Tanh(), Reshape(-1, 3, 8, 8)]
    found = found or network(nn.Sequential(*layers), 32)
    return dataclasses.replace(found, module=found.module.double(), feed=lambda z, _: (z.double(),))


def double_dcgan() -> Network:
    return double(unsqueezed())


def linear() -> Network:
    """Return a generator without an activation at its end, whose values are mostly in [-1, 1]."""
    return network(mlp(last=nn.Identity()), 64)


def hard_tanh() -> Network:
    return network(mlp(last=nn.Hardtanh()), 64)


def relu6() -> Network:
    class Sixth(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return functional.relu6(values + 3) / 6

    return network(mlp(last=Sixth()), 64, span=(0, 1))


def to_uint8() -> Network:
    """Return a generator with the usual last lines of demos: images of uint8, channels last."""

    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = OfZ()

        def forward(self, z: Tensor) -> Tensor:
            image = self.inner(z).permute(0, 2, 3, 1)
            return (image * 127.5 + 128).clamp(0, 255).to(torch.uint8)

    return network(Bytes(), 24, size=(16, 16, 3), span=(0, 255))
