"""The networks, losses and augmentation of the package lightweight-gan on the CPU.

Its networks, losses, augmentation, initialisation, optimizers and moving average are those of the package
(version 1.2.1). The order of a training step was written for this project, because the package asserts that
there is a CUDA GPU. The settings are defaults of the package: 256 latents, Adam 2e-4 (betas 0.5 and 0.9),
hinge losses of two outputs of the discriminator and the loss of its autoencoder, a gradient penalty of weight
10 on real and generated images in every 4th step, cutout and translation with the probability that follows
from the number of images. The defaults of its command line and of its class Trainer differ in the batch and
in the networks (SETTINGS). The package begins its moving average at step 20,000. A shorter training has none
there, and the images are those of the generator itself.

The package imports torchvision, kornia and adabelief-pytorch. They serve its data loader and options that are
off by default, so empty modules take their place.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import types
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.images_torch import Generate, Step, epochs

PENALTY_INTERVAL, PENALTY_WEIGHT = 4, 10
AVERAGE_FROM, AVERAGE_INTERVAL = 20_000, 10  # steps
TYPES = ["cutout", "translation"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings in which the defaults of the package differ.

    Attributes:
        batch: Number of real images of one gradient.
        accumulated: Number of gradients that are added for one step.
        attention: Sides of the feature maps with attention.
        logits: Side of the discriminator's output.
    """

    batch: int
    accumulated: int
    attention: tuple[int, ...]
    logits: int


SETTINGS = {
    "lightweight-gan": Settings(10, 4, (32,), 1),  # the command line
    "lightweight-gan-trainer": Settings(4, 1, (), 5),  # the class Trainer
}
# Modules that the package imports and that are not needed here, with the names that it imports from them.
_UNUSED = {
    "torchvision": ("transforms",),
    "kornia": (),
    "kornia.filters": ("filter2d",),
    "adabelief_pytorch": ("AdaBelief",),
}


def load_package() -> Any:
    """Return the package's module of networks and losses, which otherwise needs a CUDA GPU to be imported."""
    empty = {name: types.ModuleType(name) for name in _UNUSED}
    for name, attributes in _UNUSED.items():
        for attribute in attributes:
            setattr(empty[name], attribute, None)
    sys.modules.update(empty)
    with mock.patch.object(torch.cuda, "is_available", return_value=True):
        from lightweight_gan import lightweight_gan
    return lightweight_gan


def build_lightweight(images: Tensor, seed: int, settings: Settings) -> tuple[Step, Generate, int]:
    """Return a training step, a function that generates images, and the number of real images per step.

    Args:
        images: Training images, uint8 (n, 3, side, side), whose side is a power of 2.
        seed: Seed of Python's random numbers, which choose whether a batch is augmented.
        settings: One of SETTINGS.
    """
    random.seed(seed)
    package = load_package()
    package.Blur = torch.nn.Identity  # `antialias` is off by default

    class OnCpu(package.LightweightGAN):  # type: ignore[name-defined, misc]
        def cuda(self, device: int | None = None) -> Any:
            return self

    networks = OnCpu(
        latent_dim=256,
        image_size=images.shape[2],
        attn_res_layers=list(settings.attention),
        disc_output_size=settings.logits,
        lr=2e-4,
    )
    networks.train()
    chance = min(0.5, (1e5 - len(images)) * 3e-6) if len(images) < 1e5 else 0.0
    augmented = {"prob": chance, "types": TYPES}
    batch, accumulated = settings.batch, settings.accumulated
    batches, done = epochs(images, batch), 0

    def latents(count: int) -> Tensor:
        return torch.randn(count, networks.latent_dim)

    def discriminator_cost(is_penalised: bool) -> Tensor:
        real = (next(batches).float() / 255).requires_grad_(is_penalised)
        with torch.no_grad():
            fake = networks.G(latents(batch))
        fake, (fake_logits, fake_small, _) = networks.D_aug(
            fake, detach=True, input_requires_grad=is_penalised, return_discr_input=True, **augmented
        )
        real_logits, real_small, reconstruction = networks.D_aug(real, calc_aux_loss=True, **augmented)
        cost = package.hinge_loss(real_logits, fake_logits) + package.hinge_loss(real_small, fake_small)
        cost = cost + reconstruction
        if is_penalised:
            slopes = [slope((real_logits, real_small), real), slope((fake_logits, fake_small), fake)]
            cost = cost + PENALTY_WEIGHT * torch.cat(slopes).square().sum(dim=1).mean()
        return cost

    def slope(outputs: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Return the gradient of the sum of all outputs by the inputs, (batch, values)."""
        total = outputs[0].sum() + outputs[1].sum()
        (gradient,) = torch.autograd.grad(total, inputs, create_graph=True)
        return gradient.flatten(1)

    def step() -> None:
        nonlocal done
        networks.D_opt.zero_grad()
        for _ in range(accumulated):
            (discriminator_cost(done % PENALTY_INTERVAL == 0) / accumulated).backward()
        networks.D_opt.step()
        networks.G_opt.zero_grad()
        for _ in range(accumulated):
            logits, small, _ = networks.D_aug(networks.G(latents(batch)), **augmented)
            cost = package.gen_hinge_loss(logits, None) + package.gen_hinge_loss(small, None)
            (cost / accumulated).backward()
        networks.G_opt.step()
        if done == AVERAGE_FROM:
            networks.reset_parameter_averaging()
        elif done > AVERAGE_FROM and done % AVERAGE_INTERVAL == 0:
            networks.EMA()
        done += 1

    def generate(count: int) -> Tensor:
        network = (networks.GE if done > AVERAGE_FROM else networks.G).eval()
        parts: list[Tensor] = [network(latents(batch)) for _ in range(count // batch)]
        return torch.cat(parts)

    return step, generate, batch * accumulated
