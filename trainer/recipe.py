"""Recipe: all there is to say about a run, but for the pictures that it trains on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from runtime.errors import RecipeError

OptimizerName = Literal["sgd", "adam"]
Decay = Literal["none", "cosine"]
Schedule = Literal["joint", "separate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimiser with its numbers.

    Attributes:
        name: "sgd", or "adam" (Kingma and Ba, ICLR 2015).
        learning_rate: of the first step.
        beta_1, beta_2: decay of the moment estimates; Adam only.
        decay: "none", or "cosine" to zero at the last step (Loshchilov and Hutter, ICLR 2017, without restarts).
    """

    name: OptimizerName
    learning_rate: float
    beta_1: float = 0.9
    beta_2: float = 0.999
    decay: Decay = "none"

    def __post_init__(self) -> None:
        """Raise RecipeError where a value can't be."""
        if self.name not in get_args(OptimizerName) or self.decay not in get_args(Decay):
            known = f"{', '.join(get_args(OptimizerName))} with decay {', '.join(get_args(Decay))}"
            raise RecipeError(f"Optimiser {self.name!r} with decay {self.decay!r} is unknown; there is {known}.")
        if not 0 < self.learning_rate < math.inf:
            raise RecipeError(f"The learning rate is {self.learning_rate}; it must be above 0.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run. Two runs of one recipe on one machine end with the same weights, bit for bit.

    Attributes:
        name: of the recipe; its two networks are in `trainer/recipes/`.
        dataset: the named set that it is made for.
        image_shape: height, width, channels; the networks follow it.
        latent_dim: latents per image.
        steps: training steps; each updates both networks.
        batch_size: real images per step, and as many fakes.
        seed: of the initial weights and of every random draw: a draw is a function of (seed, step).
        schedule: "joint": one discriminator update on real and fake images together, then the generator's, on the same latents.
            "separate": as `train_on_batch` loops have it: an update on real images, one on fakes that the generator drew in
            inference mode, then the generator's, on latents of its own.
        generator_optimizer, discriminator_optimizer: see Optimizer.
        r1_weight: gamma of the R1 penalty; 0 for none.
        r1_interval: steps from one penalty to the next ("lazy regularisation", Karras et al., CVPR 2020); the weight is scaled
            up to match.
        ema_decay: of the averaged generator per step; 0 exports the generator as it is.
        jit: compile the step with XLA. Faster for dense networks on a CPU, slower for convolutional ones.
        preview_interval: steps from one preview grid and checkpoint to the next.
    """

    name: str
    dataset: str
    image_shape: tuple[int, int, int]
    latent_dim: int
    steps: int
    batch_size: int
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    seed: int = 0
    schedule: Schedule = "joint"
    r1_weight: float = 0.0
    r1_interval: int = 1
    ema_decay: float = 0.0
    jit: bool = True
    preview_interval: int = 1000

    def __post_init__(self) -> None:
        """Raise RecipeError where a number can't be."""
        for field in ("latent_dim", "steps", "batch_size", "r1_interval", "preview_interval"):
            if getattr(self, field) < 1:
                raise RecipeError(f"Recipe {self.name!r}: {field} is {getattr(self, field)}; it must be at least 1.")
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"Recipe {self.name!r}: seed is {self.seed}; it must be in 0 .. 2**31 - 1.")
        if not 0 <= self.r1_weight < math.inf:
            raise RecipeError(f"Recipe {self.name!r}: r1_weight is {self.r1_weight}; it must be at least 0.")
        if not 0 <= self.ema_decay < 1:
            raise RecipeError(f"Recipe {self.name!r}: ema_decay is {self.ema_decay}; it must be in [0, 1).")
        if self.schedule not in get_args(Schedule):
            raise RecipeError(f"Recipe {self.name!r}: schedule is {self.schedule!r}; it must be one of {get_args(Schedule)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` made.

        Raises:
            RecipeError: a field is missing, unknown, or out of range.
        """
        fields = dict(document)
        try:
            for optimizer in ("generator_optimizer", "discriminator_optimizer"):
                fields[optimizer] = Optimizer(**fields[optimizer])
            fields["image_shape"] = tuple(fields["image_shape"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise RecipeError(f"Not a recipe of this version of ganport: {error}.") from error
