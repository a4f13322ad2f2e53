"""Recipe: two networks and the settings of their training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from .errors import RecipeError

if TYPE_CHECKING:
    import keras

OptimizerName = Literal["sgd", "adam"]
Decay = Literal["none", "cosine"]
Schedule = Literal["joint", "simultaneous", "stacked", "separate", "alternating"]
LossName = Literal["non-saturating", "minimax", "least-squares", "hinge", "relativistic", "wasserstein"]
DiffAugment = Literal["color", "translation", "cutout"]
Sampling = Literal["replacement", "epochs"]
ImageShape = tuple[int, int, int]  # height, width, channels

TITLE_RULE = "one line of text of at most 100 characters"

_WITH_TARGETS = ("non-saturating", "minimax", "least-squares")  # losses that `label_smoothing` applies to
_NETWORKS = ("build_generator", "build_discriminator")


def is_title(title: object) -> bool:
    """Return whether a title follows TITLE_RULE. An empty title does."""
    return isinstance(title, str) and len(title) <= 100 and len(title.splitlines()) <= 1


class GeneratorBuilder(Protocol):
    """Type of a function that builds a generator."""

    def __call__(self, latent_dim: int, image_shape: ImageShape, /) -> keras.Model:
        """Return a network that maps latents (batch, latent_dim) to images (batch, *image_shape) in [-1, 1].

        For a recipe with labels, the network's input is the latents followed by the one-hot code of the
        requested label. `latent_dim` is then the number of latents plus the number of labels.
        """


# Type of a function that builds a discriminator. build_discriminator(image_shape) returns a network that maps
# images (batch, *image_shape) in [-1, 1] to logits (batch, 1), which are large for real images. For a recipe
# with labels, build_discriminator(image_shape, classes) returns a network with one logit for each label,
# (batch, classes).
DiscriminatorBuilder = Callable[..., "keras.Model"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer with its settings.

    Attributes:
        name: "sgd", or "adam" (Kingma and Ba, ICLR 2015).
        learning_rate: Learning rate of the first step.
        beta_1, beta_2: Decay rates of Adam's moment estimates.
        decay: Decay of the learning rate: "none", or "cosine", which reaches zero at the last step
            (Loshchilov and Hutter, ICLR 2017, without restarts).
    """

    name: OptimizerName
    learning_rate: float
    beta_1: float = 0.9
    beta_2: float = 0.999
    decay: Decay = "none"

    def __post_init__(self) -> None:
        """Raise RecipeError if a value is not valid."""
        if self.name not in get_args(OptimizerName) or self.decay not in get_args(Decay):
            known = f"{' or '.join(get_args(OptimizerName))} with decay {' or '.join(get_args(Decay))}"
            raise RecipeError(
                f"Optimizer {self.name!r} with decay {self.decay!r} is unknown; choose {known}."
            )
        if not 0 < self.learning_rate < math.inf:
            raise RecipeError(f"`learning_rate` is {self.learning_rate}; it must be above 0.")
        if not (0 <= self.beta_1 < 1 and 0 <= self.beta_2 < 1):
            raise RecipeError(
                f"`beta_1` is {self.beta_1} and `beta_2` is {self.beta_2}; both must be in [0, 1)."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Two networks and the settings of their training.

    Two runs of one recipe on the same images and machine end with the same weights, bit for bit.

    Attributes:
        name: Name of the recipe.
        title: Name of the model on cards and pages; if it is empty, they show the name of the recipe.
        dataset: Name of the data set for training, if no other data is given.
        image_shape: Height, width and channels of the images. The networks are built for this shape.
        latent_dim: Number of latents per image.
        steps: Number of training steps. Each step updates both networks, except with the schedule
            "alternating".
        batch_size: Number of real images per step, over all devices. A batch of generated images has the same
            size.
        labels: Names of the labels of a conditional generator; empty for an unconditional generator. The
            generator's input is the latents followed by the one-hot code of the requested label (Mirza and
            Osindero, "Conditional generative adversarial nets", 2014). The discriminator returns a logit for
            each label, and the losses use the logit of the image's label (as in Mescheder et al., ICML 2018,
            section 5). In each batch, the generated images have the same labels as the real images.
        seed: Seed of the initial weights and of all random numbers, which are a function of (seed, step).
        schedule: Order of the updates in a step.
            "joint": The discriminator is updated on real and generated images together. Then the generator is
            updated on the same generated images.
            "simultaneous": As "joint", but the gradients of both networks are computed before either network
            is updated.
            "stacked": The discriminator is updated on one batch of real and generated images, with the mean
            loss over this batch. The generator runs in inference mode for this batch. Then the generator is
            updated on new latents.
            "separate": As "stacked", but the discriminator has one update on the real images and one on the
            generated images.
            "alternating": Each step updates one network: the generator in n steps, where n is the number of
            batches in an epoch, then the discriminator in n - 1 steps.
        loss: Name of the loss, a key of `losses.LOSSES`.
        label_smoothing: Amount subtracted from the target of real images ("one-sided", Salimans et al., NIPS
            2016), for the losses that have targets.
        generator_optimizer, discriminator_optimizer: The optimizers.
        r1_weight: Gamma of the R1 penalty, on real images; 0 for no penalty.
        r2_weight: Gamma of the R2 penalty, on generated images; 0 for no penalty.
        gradient_penalty_weight: Lambda of the WGAN-GP penalty; 0 for no penalty.
        penalty_interval: Steps between two penalties ("lazy regularization", Karras et al., CVPR 2020). The
            penalties are multiplied by this interval.
        sampling: Choice of the real images. "replacement": each image of a batch is chosen at random from the
            whole data set. "epochs": each image occurs once per epoch, in a new random order every epoch.
        flip: Whether about half of the real images are mirrored left to right.
        diff_augment: Transformations of both real and generated images before the discriminator; see
            `augment.diff_augment`.
        ema_decay: Decay of the generator's moving average per step. With 0 there is no average, and the
            trained generator itself is exported.
        mixed_precision: Whether to compute in bfloat16 and keep the weights in float32 (Micikevicius et al.,
            ICLR 2018).
        jit: Whether to compile the step with XLA. On a CPU, XLA makes dense networks faster and convolutional
            networks slower.
        log_interval: Steps between two lines of the history; each line holds the means over these steps.
        preview_interval: Steps between two previews; a checkpoint is saved with each preview.
        evaluate_interval: Steps between two measurements of the Fréchet distance, each at a checkpoint; 0 for
            no measurements. The best checkpoint is the one with the smallest measured Fréchet distance, or,
            without measurements, with the smallest pixel distance.
        held_out_share: Share of the images that are not trained on, at least 16 and at most 500 images; see
            `held_out.split_images`. The discriminator's logits for them show whether it memorises the
            training images.
        early_stop: Number of measurements of the Fréchet distance without a new smallest value after which
            the training ends; 0 for the training of all steps. It needs `evaluate_interval`.
        build_generator: Function that builds the generator; see `GeneratorBuilder`. In a recipe file, the
            function `build_generator` of the file.
        build_discriminator: Function that builds the discriminator: build_discriminator(image_shape), or
            build_discriminator(image_shape, classes=1) for a recipe with labels. In a recipe file, the
            function `build_discriminator` of the file.
    """

    name: str
    dataset: str
    image_shape: ImageShape
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
    r2_weight: float = 0.0
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
    held_out_share: float = 0.0
    early_stop: int = 0
    title: str = ""
    build_generator: GeneratorBuilder | None = dataclasses.field(default=None, compare=False, repr=False)
    build_discriminator: DiscriminatorBuilder | None = dataclasses.field(
        default=None, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        """Raise RecipeError if a value is not valid, or if two values contradict each other."""
        for field in (
            "latent_dim",
            "steps",
            "batch_size",
            "penalty_interval",
            "log_interval",
            "preview_interval",
        ):
            value = getattr(self, field)
            self._check(field, type(value) is int and value >= 1, "a whole number of at least 1")
        self._check("title", is_title(self.title), TITLE_RULE)
        is_labels = len(self.labels) != 1 and len(set(self.labels)) == len(self.labels)
        self._check("labels", is_labels, "empty, or two or more different names")
        self._check(
            "seed", type(self.seed) is int and 0 <= self.seed < 2**31, "a whole number from 0 to 2**31 - 1"
        )
        for field in ("r1_weight", "r2_weight", "gradient_penalty_weight", "evaluate_interval"):
            self._check(field, 0 <= getattr(self, field) < math.inf, "at least 0")
        self._check("ema_decay", 0 <= self.ema_decay < 1, "in [0, 1)")
        self._check("held_out_share", 0 <= self.held_out_share <= 0.5, "in [0, 0.5]")
        is_count = type(self.early_stop) is int and self.early_stop >= 0
        self._check("early_stop", is_count, "a whole number of at least 0")
        for field, choices in (("schedule", Schedule), ("loss", LossName), ("sampling", Sampling)):
            self._check(
                field, getattr(self, field) in get_args(choices), f"one of {', '.join(get_args(choices))}"
            )
        transformations = get_args(DiffAugment)
        self._check(
            "diff_augment", set(self.diff_augment) <= set(transformations), f"a subset of {transformations}"
        )
        self._check("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.loss == "relativistic":
            expected = "another schedule for the loss 'relativistic', which compares pairs of images"
            self._check("schedule", self.schedule != "separate", expected)
        if self.schedule == "alternating":
            self._check("penalty_interval", self.penalty_interval == 1, "1 for the schedule 'alternating'")
        if self.early_stop:
            expected = "0 without `evaluate_interval`, since the Fréchet distance decides when to stop"
            self._check("early_stop", self.evaluate_interval > 0, expected)
        if self.loss not in _WITH_TARGETS:
            expected = f"0 for the loss {self.loss!r}, which has no targets"
            self._check("label_smoothing", self.label_smoothing == 0, expected)

    def _check(self, field: str, holds: bool, expected: str) -> None:
        if not holds:
            raise RecipeError(
                f"Recipe {self.name!r}: `{field}` is {getattr(self, field)!r}; it must be {expected}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON types, without the functions that build the networks."""
        document = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for network in _NETWORKS:
            del document[network]
        for optimizer in ("generator_optimizer", "discriminator_optimizer"):
            document[optimizer] = dataclasses.asdict(document[optimizer])
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, version: str = "") -> Recipe:
        """Return the recipe whose settings `to_dict` returned. The recipe has no networks.

        Args:
            document: The settings.
            version: Version of ganport that wrote the settings, for the error message; empty if it is not
                known.

        Raises:
            RecipeError: A field is missing, unknown, or out of range.
        """
        fields = dict(document)
        # A missing field must not become today's default, since the run was trained with another value.
        # Only `labels` is left out by runs of early versions, which had none.
        missing = {field.name for field in dataclasses.fields(cls)} - {*_NETWORKS, "labels"} - set(fields)
        if missing:
            raise _of_another_version(f"missing fields: {', '.join(sorted(missing))}", version)
        try:
            for optimizer in ("generator_optimizer", "discriminator_optimizer"):
                fields[optimizer] = Optimizer(**fields[optimizer])
            for name in ("image_shape", "labels", "diff_augment"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except (AttributeError, KeyError, TypeError) as error:
            raise _of_another_version(str(error), version) from error


def _of_another_version(problem: str, version: str) -> RecipeError:
    writer = f"ganport {version}, which" if version else "the version that"
    return RecipeError(
        f"The settings are not those of a recipe of this version of ganport ({problem}); use {writer} wrote "
        "the settings."
    )
