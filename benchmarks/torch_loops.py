"""The networks and training steps of the recipes in PyTorch: fused Adam, channels last, eager or compiled."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np

from ganport.trainer.recipe import Optimizer, Recipe

try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    AVAILABLE, VERSION = False, ""
else:
    AVAILABLE, VERSION = True, torch.__version__

Steps = Callable[[int], None]


def build(
    recipe: Recipe,
    images: np.ndarray,
    *,
    compiled: bool = False,
    device: Literal["cpu", "cuda"] = "cpu",
    mixed_precision: bool = False,
) -> Steps:
    """Return a loop with the same training steps as ganport's, for the published schedules.

    Args:
        recipe: The settings.
        images: Real images, uint8 (n, height, width, channels).
        compiled: Whether torch.compile compiles the networks, which needs a C++ compiler.
        device: Device of the networks and of the images. A call of the loop ends when the device has finished
            its steps.
        mixed_precision: Whether the networks compute in bfloat16 (torch.autocast). The weights and the losses
            stay in float32.
    """
    generator, discriminator = (network.to(device) for network in networks(recipe))
    if compiled:
        # `torch.compile` is needed here. The method nn.Sequential.compile compiles nothing in PyTorch 2.13.
        generator, discriminator = torch.compile(generator), torch.compile(discriminator)
        # The step computes two gradients of one graph. Compiled code must therefore keep its buffers.
        torch._functorch.config.donated_buffer = False
        # All networks share the code of nn.Sequential. At its default limit of 8 compilations, PyTorch would
        # run further networks in eager mode.
        torch._dynamo.config.recompile_limit = 64
    precision = torch.autocast(device, torch.bfloat16) if mixed_precision else contextlib.nullcontext()
    g_optimizer = _optimizer(recipe.generator_optimizer, generator)
    d_optimizer = _optimizer(recipe.discriminator_optimizer, discriminator)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
    softplus, size = nn.functional.softplus, recipe.batch_size

    def latents() -> torch.Tensor:
        return torch.randn(size, recipe.latent_dim, device=device)

    def infer(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        with precision:
            return network(inputs).float()

    def descend(optimizer: torch.optim.Optimizer, cost: torch.Tensor) -> None:
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()

    def fakes_by_predict() -> torch.Tensor:
        generator.eval()
        with torch.no_grad():
            fakes = infer(generator, latents())
        generator.train()
        return fakes

    def step() -> None:
        real = pixels[torch.randint(0, len(pixels), (size,), device=device)].float().div_(127.5).sub_(1)
        if real[0].numel() > 784:
            real = real.contiguous(memory_format=torch.channels_last)
        if recipe.schedule == "simultaneous":
            fake = infer(generator, latents())
            fake_logits = infer(discriminator, fake)
            d_cost = softplus(-infer(discriminator, real)).mean() + softplus(fake_logits).mean()
            g_cost = softplus(-fake_logits).mean()
            g_gradients = torch.autograd.grad(g_cost, list(generator.parameters()), retain_graph=True)
            d_gradients = torch.autograd.grad(d_cost, list(discriminator.parameters()))
            gradients = itertools.chain(g_gradients, d_gradients)
            parameters = itertools.chain(generator.parameters(), discriminator.parameters())
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            g_optimizer.step()
            d_optimizer.step()
            return
        fake = fakes_by_predict()
        if recipe.schedule == "stacked":
            real_logits, fake_logits = infer(discriminator, torch.cat([real, fake])).chunk(2)
            descend(d_optimizer, (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2)
        else:
            descend(d_optimizer, softplus(-infer(discriminator, real)).mean())
            descend(d_optimizer, softplus(infer(discriminator, fake)).mean())
        for parameter in discriminator.parameters():
            parameter.requires_grad_(False)
        descend(g_optimizer, softplus(-infer(discriminator, infer(generator, latents()))).mean())
        for parameter in discriminator.parameters():
            parameter.requires_grad_(True)

    def run(steps: int) -> None:
        for _ in range(steps):
            step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def _optimizer(settings: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    if settings.name == "sgd":
        return torch.optim.SGD(network.parameters(), settings.learning_rate, fused=True)
    betas = (settings.beta_1, settings.beta_2)
    return torch.optim.Adam(network.parameters(), settings.learning_rate, betas, eps=1e-7, fused=True)


def networks(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    height, width, channels = recipe.image_shape
    image = nn.Unflatten(1, (channels, height, width))
    out = channels * height * width
    if recipe.name == "mnist-dense":
        generator = _dense(
            [100, 256, 512, 1024, out], lambda n: [nn.LeakyReLU(0.2), nn.BatchNorm1d(n, momentum=0.2)]
        )
        discriminator = _dense([out, 512, 256, 1], lambda n: [nn.LeakyReLU(0.2)])
    elif recipe.name == "fashion-dense":
        generator = _dense(
            [100, 128, 256, 512, 1024, out],
            lambda n: [*([nn.BatchNorm1d(n, eps=0.8, momentum=0.9)] if n > 128 else []), nn.LeakyReLU(0.2)],
        )
        discriminator = _dense([out, 512, 256, 1], lambda n: [nn.LeakyReLU(0.2)])
    elif recipe.name == "mnist-dropout":
        dropped = {1024: 0.2, 512: 0.3, 256: 0.3}
        generator = _dense([100, 256, 512, 1024, out], lambda n: [] if n == 512 else [nn.LeakyReLU(0.2)])
        discriminator = _dense(
            [out, 1024, 512, 256, 128, 1],
            lambda n: [nn.LeakyReLU(0.2), *([nn.Dropout(dropped[n])] if n in dropped else [])],
        )
    elif recipe.name == "mnist-minimal":
        generator = _dense([100, 128, out], lambda n: [nn.LeakyReLU(0.01)])
        discriminator = _dense([out, 128, 1], lambda n: [nn.LeakyReLU(0.01)])
    else:
        return _convolutional(recipe)
    return nn.Sequential(*generator, nn.Tanh(), image), nn.Sequential(nn.Flatten(), *discriminator)


def _dense(widths: list[int], between: Callable[[int], list[nn.Module]]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers.append(nn.Linear(inputs, outputs))
        if outputs != widths[-1]:
            layers += between(outputs)
    return layers


def _convolutional(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    from ganport.trainer.recipes.rps_dcgan import block_sides, block_widths

    sides = [side for side, _ in block_sides(recipe.image_shape)]
    widths, channels = block_widths(len(sides) - 1), recipe.image_shape[2]
    shrinking: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise([channels, *widths]):
        shrinking += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True)]
        shrinking += [nn.LeakyReLU(0.2), nn.Dropout(0.3)]
    discriminator = nn.Sequential(*shrinking, nn.Flatten(), nn.Linear(sides[-1] ** 2 * widths[-1], 1))
    growing: list[nn.Module] = [
        nn.Linear(recipe.latent_dim, sides[-1] ** 2 * widths[-1], bias=False),
        nn.Unflatten(1, (widths[-1], sides[-1], sides[-1])),
    ]
    pairs = itertools.pairwise([*widths[::-1], channels])
    for side, (inputs, outputs) in zip(sides[-2::-1], pairs, strict=True):
        growing += [nn.BatchNorm2d(inputs, eps=1e-3, momentum=0.01), nn.LeakyReLU(0.2)]
        padding, bias = 1 - side % 2, outputs == channels
        growing.append(
            nn.ConvTranspose2d(inputs, outputs, 5, 2, padding=2, output_padding=padding, bias=bias)
        )
    generator = nn.Sequential(*growing, nn.Tanh())
    layout = torch.channels_last
    return generator.to(memory_format=layout), discriminator.to(memory_format=layout)
