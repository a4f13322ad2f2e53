"""Four convolutions against four, told which hand to show: 104x104 in colour.

python cli.py train rps-conditional --mixed-precision

27 minutes on two cores with AMX; without bfloat16 about half as long again. Scores: docs/quality.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganport.evaluation.features import LABELS

from ..recipe import Optimizer, Recipe
from . import mnist_dcgan

if TYPE_CHECKING:
    import keras


def build_generator(latent_dim: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return latents -> 13x13x128 -> 26x26x64 -> 52x52x32 -> 104x104x16 -> 104x104 for 104x104 images."""
    return mnist_dcgan.build_generator(latent_dim, image_shape, widths=(128, 64, 32), detail=16)


def build_discriminator(image_shape: tuple[int, int, int], classes: int = 1) -> keras.Model:
    """Return 104x104 -> 104x104x16 -> 52x52x32 -> 26x26x64 -> 13x13x128 -> a logit, or one for each class."""
    return mnist_dcgan.build_discriminator(image_shape, classes, widths=(32, 64, 128), detail=16)


_ADAM = Optimizer(name="adam", learning_rate=2e-3, beta_1=0.5, beta_2=0.99, decay="cosine")

RECIPE = Recipe(
    name="rps-conditional",
    dataset="rock-paper-scissors",
    image_shape=(104, 104, 3),
    latent_dim=64,
    labels=LABELS["rock-paper-scissors"],
    steps=12_000,
    batch_size=16,
    generator_optimizer=_ADAM,
    discriminator_optimizer=_ADAM,
    r1_weight=1.0,
    penalty_interval=4,
    flip=True,
    diff_augment=("translation",),
    ema_decay=0.999,
    jit=False,
    log_interval=20,
    preview_interval=1_000,
)
