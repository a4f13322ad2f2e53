"""Recipe: all there is to say about a run, but for the pictures that it trains on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from ganport.runtime.errors import RecipeError

OptimizerName = Literal["sgd", "adam"]
Decay = Literal["none", "cosine"]
Schedule = Literal["joint", "simultaneous", "stacked", "separate", "alternating"]
LossName = Literal["non-saturating", "minimax", "least-squares", "hinge", "relativistic", "wasserstein"]
DiffAugment = Literal["color", "translation", "cutout"]
Sampling = Literal["replacement", "epochs"]

_SMOOTHABLE = ("non-saturating", "minimax", "least-squares")  # losses with a label that could be smoothed


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
        if not (0 <= self.beta_1 < 1 and 0 <= self.beta_2 < 1):
            raise RecipeError(f"beta_1 is {self.beta_1} and beta_2 {self.beta_2}; they must be in [0, 1).")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run. Two runs of one recipe on one machine end with the same weights, bit for bit.

    Attributes:
        name: of the recipe; its two networks are in `trainer/recipes/`.
        dataset: the named set that it is made for.
        image_shape: height, width, channels; the networks follow it.
        latent_dim: latents per image.
        steps: training steps; each updates both networks, but for the schedule "alternating".
        batch_size: real images per step, and as many fakes; over all devices.
        labels: names of the classes that the generator draws on demand; none for a generator that takes no class. Its input is
            then the latents and behind them one number per class, 1 for the one that is asked for (Mirza and Osindero,
            "Conditional generative adversarial nets", 2014); the discriminator gives a logit for each class, of which that of
            the image's own class counts (as in Mescheder et al., ICML 2018, section 5). Fakes have the classes of the real
            images in their batch.
        seed: of the initial weights and of every random draw: a draw is a function of (seed, step).
        schedule: who learns from what, and when.
            "joint": a discriminator update on real and fake images together, then the generator's, on the same fakes.
            "simultaneous": as "joint", but both answer the networks as they were before the step.
            "stacked": a discriminator update on one batch of real images and fakes, drawn in inference mode, its cost the mean
            over both; then the generator's, on latents of its own.
            "separate": as "stacked", but an update on the real images, then one on the fakes.
            "alternating": one update a step: the generator's through a whole epoch of n steps, then the discriminator's for
            n - 1.
        loss: see `losses.LOSSES`.
        label_smoothing: taken off the label of real images ("one-sided", Salimans et al., NIPS 2016); for losses with labels.
        generator_optimizer, discriminator_optimizer: see Optimizer.
        r1_weight: gamma of the R1 penalty; 0 for none.
        gradient_penalty_weight: lambda of the WGAN-GP penalty; 0 for none.
        penalty_interval: steps from one penalty to the next ("lazy regularisation", Karras et al., CVPR 2020); the weight is
            scaled up to match.
        sampling: "replacement": each image of a batch is any image of the set. "epochs": each comes once an epoch, in an order
            that is new every epoch.
        flip: mirror every other real image, left to right.
        diff_augment: transformations of all that the discriminator sees, real and fake; see `augment.diff_augment`.
        ema_decay: of the averaged generator per step; 0 exports the generator as it is.
        mixed_precision: compute in bfloat16, keep weights in float32 (Micikevicius et al., ICLR 2018).
        jit: compile the step with XLA. Faster for dense networks on a CPU, slower for convolutional ones.
        log_interval: steps from one line of the history to the next, which is their mean.
        preview_interval: steps from one preview grid and checkpoint to the next.
        evaluate_interval: steps from one checkpoint that is evaluated (see `quality.Quality`) to the next; 0 for none. The best
            of them is then the one that is kept, not the one with the smallest pixel distance.
    """

    name: str
    dataset: str
    image_shape: tuple[int, int, int]
    latent_dim: int
    steps: int
    batch_size: int
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    labels: tuple[str, ...] = ()
    seed: int = 0
    schedule: Schedule = "joint"
    loss: LossName = "non-saturating"
    label_smoothing: float = 0.0
    r1_weight: float = 0.0
    gradient_penalty_weight: float = 0.0
    penalty_interval: int = 1
    sampling: Sampling = "replacement"
    flip: bool = False
    diff_augment: tuple[DiffAugment, ...] = ()
    ema_decay: float = 0.0
    mixed_precision: bool = False
    jit: bool = True
    log_interval: int = 100
    preview_interval: int = 1000
    evaluate_interval: int = 0

    def __post_init__(self) -> None:
        """Raise RecipeError where a number can't be."""
        for field in ("latent_dim", "steps", "batch_size", "penalty_interval", "log_interval", "preview_interval"):
            value = getattr(self, field)
            self._check(field, type(value) is int and value >= 1, "a whole number of at least 1")
        self._check(
            "labels", len(self.labels) != 1 and len(set(self.labels)) == len(self.labels), "none, or two different ones or more"
        )
        self._check("seed", type(self.seed) is int and 0 <= self.seed < 2**31, "a whole number in 0 .. 2**31 - 1")
        for field in ("r1_weight", "gradient_penalty_weight", "evaluate_interval"):
            self._check(field, 0 <= getattr(self, field) < math.inf, "at least 0")
        self._check("ema_decay", 0 <= self.ema_decay < 1, "in [0, 1)")
        for field, choices in (("schedule", Schedule), ("loss", LossName), ("sampling", Sampling)):
            self._check(field, getattr(self, field) in get_args(choices), f"one of {', '.join(get_args(choices))}")
        self._check("diff_augment", set(self.diff_augment) <= set(get_args(DiffAugment)), f"of {get_args(DiffAugment)}")
        self._check("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        if self.loss == "relativistic":
            self._check("schedule", self.schedule != "separate", "another for the loss 'relativistic', which compares pairs")
        if self.schedule == "alternating":
            self._check("penalty_interval", self.penalty_interval == 1, "1 for the schedule 'alternating'")
        if self.loss not in _SMOOTHABLE:
            self._check("label_smoothing", self.label_smoothing == 0, f"0 for the loss {self.loss!r}, which has no labels")

    def _check(self, field: str, holds: bool, due: str) -> None:
        if not holds:
            raise RecipeError(f"Recipe {self.name!r}: {field} is {getattr(self, field)!r}; it must be {due}.")

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
            fields["labels"] = tuple(fields.get("labels", ()))  # runs of before there were any
            fields["diff_augment"] = tuple(fields["diff_augment"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise RecipeError(f"Not a recipe of this version of ganport: {error}.") from error
