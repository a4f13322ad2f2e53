"""PyTorch's DCGAN tutorial and lightweight-gan on the CPU, as programs with a time limit for training.

    python -m benchmarks.images_torch pytorch-dcgan --data training.npz --out images.npz --seed 0
        --seconds 60 --clock wall --count 64

`benchmarks.images` runs this program. The clock starts before the first step, when the images are in memory
and the networks are built. It writes the generated images, and prints one JSON document.

The DCGAN has the networks, losses and settings of PyTorch's tutorial "DCGAN Tutorial" (Nathan Inkawhich): 100
latents, 64 feature maps in both networks, images of 64x64, Adam 2e-4 with beta1 0.5, batches of 128, weights
from N(0, 0.02), scales of BatchNorm from N(1, 0.02). The code was written for this project. As in the
tutorial, images are generated in training mode, so BatchNorm uses the statistics of their batch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.images_data import read_training
from ganport.runtime.cores import usable_cores

LATENTS, FEATURES = 100, 64
DCGAN_BATCH = 128

Step = Callable[[], None]
Generate = Callable[[int], Tensor]  # from a number of images to images (n, 3, height, width) in [0, 1]


def build_dcgan(images: Tensor) -> tuple[Step, Generate, int]:
    """Return a training step of the DCGAN tutorial, a function that generates images, and the batch size.

    Args:
        images: Training images, uint8 (n, 3, 64, 64).
    """
    if images.shape[2:] != (64, 64):
        raise SystemExit("error: the networks of the DCGAN tutorial are for images of 64x64 pixels")
    generator, discriminator = _dcgan_generator(), _dcgan_discriminator()
    for network in (generator, discriminator):
        network.apply(_initialise)
    optimizers = [
        torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
        for network in (discriminator, generator)
    ]
    cross_entropy, batches = nn.BCELoss(), epochs(images, DCGAN_BATCH)

    def cost(batch: Tensor, target: float) -> Tensor:
        found = discriminator(batch).flatten()
        return cross_entropy(found, torch.full_like(found, target))

    def step() -> None:
        real = next(batches).float() / 127.5 - 1
        fake = generator(torch.randn(len(real), LATENTS, 1, 1))
        discriminator.zero_grad()
        cost(real, 1.0).backward()
        cost(fake.detach(), 0.0).backward()
        optimizers[0].step()
        generator.zero_grad()
        cost(fake, 1.0).backward()
        optimizers[1].step()

    def generate(count: int) -> Tensor:
        return (generator(torch.randn(count, LATENTS, 1, 1)) + 1) / 2

    return step, generate, DCGAN_BATCH


def _dcgan_generator() -> nn.Module:
    """Return a network from latents (batch, 100, 1, 1) to images (batch, 3, 64, 64) in [-1, 1]."""
    widths = [LATENTS, 8 * FEATURES, 4 * FEATURES, 2 * FEATURES, FEATURES]  # sides 1, 4, 8, 16, 32
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        stride, padding = (1, 0) if index == 0 else (2, 1)
        layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    last = nn.ConvTranspose2d(FEATURES, 3, 4, 2, 1, bias=False)
    return nn.Sequential(*layers, last, nn.Tanh())


def _dcgan_discriminator() -> nn.Module:
    """Return a network from images (batch, 3, 64, 64) to probabilities (batch, 1, 1, 1) of real images."""
    widths = [3, FEATURES, 2 * FEATURES, 4 * FEATURES, 8 * FEATURES]  # sides 64, 32, 16, 8, 4
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
        if index:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(8 * FEATURES, 1, 4, 1, 0, bias=False), nn.Sigmoid())


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)


def epochs(images: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield batches of images without end. Each image occurs at most once per epoch, in a new order."""
    while True:
        order = torch.randperm(len(images))
        for start in range(0, len(images) - batch_size + 1, batch_size):
            yield images[order[start : start + batch_size]]


def train(step: Step, seconds: float, clock: Callable[[], float]) -> tuple[int, float]:
    """Repeat a training step until the time is over. Returns the number of steps and the seconds."""
    steps, started = 0, clock()
    while (elapsed := clock() - started) < seconds:
        step()
        steps += 1
    return steps, elapsed


def cpu_clock() -> float:
    """Return the CPU time of this process, with its threads, divided by the number of cores."""
    return time.process_time() / usable_cores()


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": cpu_clock}


def main() -> None:
    """Train a peer, write its images, and print what it did."""
    parser = argparse.ArgumentParser(description="Train a PyTorch peer for a given time.")
    parser.add_argument("peer", choices=["pytorch-dcgan", "lightweight-gan", "lightweight-gan-trainer"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--clock", choices=list(CLOCKS), required=True)
    parser.add_argument("--count", type=int, required=True, help="number of images to generate")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(usable_cores())
    images = torch.from_numpy(read_training(arguments.data).transpose(0, 3, 1, 2).copy())
    if arguments.peer == "pytorch-dcgan":
        step, generate, batch_size = build_dcgan(images)
    else:
        from benchmarks.images_lightweight import SETTINGS, build_lightweight

        step, generate, batch_size = build_lightweight(images, arguments.seed, SETTINGS[arguments.peer])
    started = time.perf_counter()
    steps, _ = train(step, arguments.seconds, CLOCKS[arguments.clock])
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    parts: list[np.ndarray] = []
    with torch.no_grad():
        while sum(map(len, parts)) < arguments.count:
            parts.append(generate(batch_size).clamp(0, 1).numpy())
    generated = np.concatenate(parts)[: arguments.count].transpose(0, 2, 3, 1)
    np.savez(arguments.out, images=np.rint(255 * generated).astype(np.uint8))
    facts = {
        "steps": steps,
        "images_seen": steps * batch_size,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
