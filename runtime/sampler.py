"""Sampler: opens a generator once, and generates many images."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from .arrays import Latents, Pixels, Seeds
from .contract import Contract
from .description import Description, DescriptionOptions
from .display import model_name, printable, shortened
from .errors import ClosedSamplerError, InferenceError, InputKindError, SeedError, UsageError
from .images import make_grid, to_image
from .latents import interpolate, sample_latents, truncate
from .model import Model, ModelOptions
from .model_file import ModelSource
from .png import encode_png
from .pretrained import DEFAULT
from .providers import ProviderChoice
from .request import (
    Label,
    Labels,
    Request,
    check_single_label,
    check_truncation,
    graph_inputs,
    request_latents,
    request_seeds,
    split_seeds,
)

if TYPE_CHECKING:
    from .isolation import Isolation

_MOST_FRAMES = 2**24  # largest number of frames from one seed of a walk to the next
_SHOWN = 16  # number of images that a notebook shows for a Sampler


class Sampler:
    """Generates images with one exported generator.

    A seed stands for one image. On the CPU the image has the same bytes whether it is generated alone, in a
    batch, or in another order. Many threads may share a Sampler.

    Args:
        model: Path or bytes of an .onnx or .ort file that `ganport export` wrote, or of a third-party ONNX
            generator. A file that is open for reading and an onnx.ModelProto are read as bytes. Or the name
            of a pretrained generator, such as "mnist", the default. Write "./mnist" for a file that is named
            mnist.
        provider: Execution provider. There is no fallback: the requested provider runs the model, or
            ProviderError is raised. "auto" chooses the fastest provider that works, and the attribute
            `provider` then holds its name.
        threads: Number of CPU threads. By default the number of cores that the process may use.
        batch_size: Largest number of images in one run. By default 256, and 64 on the CPU for images of more
            than 64x64x3 values.
        repeatable: Whether the same bytes are generated each time on CUDA, too. By default a few pixels in a
            million may differ from call to call by one level, because the order of additions in a convolution
            varies. Repeatable convolutions take several times as long.
        budget: Factor of the limits of what a file may cost: its operations, its memory and its work. A file
            that exceeds a limit is not opened. Raise it only for a file that you trust.
        isolated: Whether the model lives in a process of its own, so that a harmful file can't crash this
            process or take its memory. `Isolation` changes the limits of that process. The images are the
            same. It is not supported on Windows and with other providers than "cpu".
        **description: What the graph of a third-party generator does not decide, such as `layout`,
            `value_range`, `labels` or `input_values`. `Description` explains these arguments.

    Attributes:
        contract: Contract of the model, which describes its input and its images.
        provider: The provider that runs the model.
        model: Open model, with its source file, its batch size and its number of threads.

    Raises:
        UsageError: An option has an invalid value, or the file already decides the option.
        ModelError: The file is missing, damaged or harmful, or it is not a generator.
        ModelTooLargeError: The file exceeds its budget.
        IsolationError: The process of an isolated model crashed, or it exceeded its memory or its time.
        ProviderError: The provider is not available on this machine, or it can't run this model.

    Example::

        with Sampler("generator.onnx") as sampler:
            images = sampler.sample(range(64))  # uint8 (64, 28, 28, 1)

    >>> Sampler("mnist").sample([7, 42]).shape
    (2, 28, 28, 1)
    """

    def __init__(
        self,
        model: ModelSource = DEFAULT,
        *,
        provider: ProviderChoice = "cpu",
        threads: int | None = None,
        batch_size: int | None = None,
        repeatable: bool = False,
        budget: float = 1.0,
        isolated: bool | Isolation = False,
        **description: Unpack[DescriptionOptions],
    ) -> None:
        options = ModelOptions(
            provider=provider,
            threads=threads,
            batch_size=batch_size,
            repeatable=repeatable,
            budget=budget,
            description=Description(**description),
        )
        self.model = _open_isolated(model, options, isolated) if isolated else Model(model, options)

    @classmethod
    def of(cls, model: Model) -> Sampler:
        """Return a Sampler of a model that is already open."""
        sampler = cls.__new__(cls)
        sampler.model = model
        return sampler

    @property
    def contract(self) -> Contract:
        """Contract of the model, which describes its input and its images."""
        return self.model.contract

    @property
    def provider(self) -> str:
        """Execution provider that runs the model."""
        return self.model.provider

    def sample(self, seeds: Iterable[int], *, labels: Labels = None, truncation: float = 1.0) -> Pixels:
        """Generate one image per seed.

        Args:
            seeds: Whole numbers in [0, 2**63), in any order.
            labels: One label for all images, or one for each: a name, or an index into
                `contract.input.labels`. By default seed s has label s modulo the number of labels.
            truncation: Factor of the latents in [0, 1]. Below 1 the images are nearer to the average image
                and less varied. The latents are scaled towards their mean, as by Karras et al. (CVPR 2019,
                section B). The mean is 0, or 0.5 for latents that are uniform on (0, 1). No latent is
                resampled.

        Returns:
            Images, uint8 (n, height, width, channels), in the order of the seeds.

        Raises:
            SeedError: There are no seeds, or a seed is not a whole number or is out of range.
            FixedSeedError: The model has fixed seeds, and a requested seed is not among them.
            InputKindError: The model does not take the given truncation or labels.
            LabelError: A label is not a label of this generator.
            UsageError: The truncation is out of range, or the number of labels is not the number of seeds.
        """
        return self._generate(request_seeds(self.contract, seeds, labels=labels, truncation=truncation))

    def sample_from_latents(self, latents: npt.ArrayLike, *, labels: Labels = None) -> Pixels:
        """Generate one image per latent vector.

        Args:
            latents: Numbers of shape (n, dim), n >= 1.
            labels: One label for all images, or one for each. By default image i has label i modulo the
                number of labels.

        Returns:
            Images, uint8 (n, height, width, channels), in the order of the latents.

        Raises:
            LatentShapeError: The latents do not have the shape (n, dim).
            LatentValueError: A latent is not finite.
            InputKindError: The model takes seeds or no input.
            LabelError: A label is not a label of this generator.
            UsageError: The latents are not numbers, or the number of labels is not the number of latents.
        """
        return self._generate(request_latents(self.contract, latents, labels=labels))

    def grid(
        self, seeds: Iterable[int] | None = None, *, labels: Labels = None, truncation: float = 1.0
    ) -> Image:
        """Generate one image per seed, and return a Pillow image that shows them all in rows.

        The arguments and the errors are those of `sample`. By default the seeds are 0 to 63, or the file's
        fixed seeds.
        """
        chosen = (self.contract.input.seeds or range(64)) if seeds is None else seeds
        return to_image(make_grid(self.sample(chosen, labels=labels, truncation=truncation)))

    def stream(
        self, seeds: Iterable[int], *, labels: Label | None = None, truncation: float = 1.0
    ) -> Iterator[Pixels]:
        """Generate images batch by batch. While the caller works on one batch, the next one is generated.

        Args:
            seeds: Whole numbers in [0, 2**63). The iterable may be endless: a seed is read when its batch is
                needed.
            labels: One label for all images.
            truncation: Factor of the latents in [0, 1], as for `sample`.

        Yields:
            Images, uint8 (n, height, width, channels). At most three batches are in memory.

        Raises:
            SeedError: A seed is not a whole number or is out of range. The error is raised when the batch of
                the seed is needed.
            GanportError: Another argument is not valid. The errors are those of `sample`, and are raised when
                `stream` is called.
        """
        check_truncation(self.contract, truncation)
        check_single_label(self.contract, labels)
        generate = functools.partial(self.sample, labels=labels, truncation=truncation)
        return _generate_ahead(split_seeds(seeds, self.model.batch_size), generate)

    def walk(
        self,
        seeds: Sequence[int],
        *,
        frames: int = 15,
        loop: bool = True,
        labels: Label | None = None,
        truncation: float = 1.0,
    ) -> Iterator[Pixels]:
        """Generate the frames of a walk from seed to seed.

        Between two seeds, normal latents are interpolated on the sphere near which they lie, and uniform
        latents on a straight line (`latents.interpolate`).

        Args:
            seeds: Two or more seeds.
            frames: Number of frames from one seed to the next.
            loop: Whether the walk goes on from the last seed to the first seed. A walk with a loop ends one
                frame before the first seed, so that no frame is doubled when the frames are repeated. A walk
                without a loop ends on the last seed.
            labels: One label for all frames. By default it is the label of the first seed.
            truncation: Factor of the latents in [0, 1], as for `sample`.

        Yields:
            Frames, uint8 (n, height, width, channels), a batch at a time.

        Raises:
            UsageError: There are fewer than two seeds, or no frames.
            InputKindError: The model does not take latents.
            GanportError: Another argument is not valid. The errors are those of `sample`.
        """
        check_single_label(self.contract, labels)
        request = request_seeds(self.contract, seeds, labels=labels, truncation=truncation)
        if len(request) < 2:
            raise UsageError("`seeds` has one seed; a walk needs two or more.")
        if not isinstance(frames, (int, np.integer)) or not 1 <= frames <= _MOST_FRAMES:
            raise UsageError(f"`frames` is {frames!r}; it must be a whole number from 1 to {_MOST_FRAMES:,}.")
        if self.contract.input.kind != "latent":
            raise InputKindError(self.contract.input.kind)
        label = None if request.labels is None else int(request.labels[0])
        dim, distribution = self.contract.input.dim, self.contract.input.distribution
        latents = sample_latents(request.seeds, dim, distribution=distribution)
        return self._walk(latents, int(frames), loop, label, truncation)

    def close(self) -> None:
        """Release the model. Calls of `sample` that run in other threads are completed."""
        self.model.close()

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width, channels = self.contract.image.shape
        facts = f"{self.contract.name!r} on {self.provider}, {height}x{width}x{channels} images"
        return f"<Sampler of {facts}, from {printable(model_name(self.model.source))}>"

    def _repr_png_(self) -> bytes | None:
        """Return the images of the first seeds, for a notebook; None if the sampler is closed."""
        seeds = (self.contract.input.seeds or range(_SHOWN))[:_SHOWN]
        try:
            return encode_png(make_grid(self.sample(seeds)))
        except ClosedSamplerError:
            return None

    def _generate(self, request: Request) -> Pixels:
        """Generate images batch by batch. Besides the result, only one batch is in memory at a time."""
        generate = self.model.generator()
        if self.contract.input.seeds is not None:
            rows = {seed: row for row, seed in enumerate(self.contract.input.seeds)}
            return generate({})[[rows[seed] for seed in request.seeds.tolist()]]
        if len(request) <= self.model.batch_size:
            return generate(graph_inputs(self.contract, request))
        images, start = self._allocate(len(request)), 0
        for part in request.split(self.model.batch_size):
            images[start : start + len(part)] = generate(graph_inputs(self.contract, part))
            start += len(part)
        return images

    def _allocate(self, count: int) -> Pixels:
        shape = self.contract.image.shape
        try:
            return np.empty((count, *shape), dtype=np.uint8)
        except MemoryError:
            size = count * math.prod(shape) / 1e9
            problem = f"{count:,} images take {size:,.1f} GB of memory; use stream()"
            raise InferenceError(self.model.source, problem) from None

    def _walk(
        self, ends: Latents, frames: int, loop: bool, label: int | None, truncation: float
    ) -> Iterator[Pixels]:
        distribution = self.contract.input.distribution
        legs = len(ends) if loop else len(ends) - 1
        steps = legs * frames + (not loop)
        for start in range(0, steps, self.model.batch_size):
            indices = np.arange(start, min(start + self.model.batch_size, steps))
            leg = np.minimum(indices // frames, legs - 1)
            position = (indices - leg * frames) / frames
            latents = interpolate(ends[leg], ends[(leg + 1) % len(ends)], position, distribution=distribution)
            latents = truncate(latents, truncation, distribution=distribution)
            yield self.sample_from_latents(latents, labels=label)


def _open_isolated(model: ModelSource, options: ModelOptions, isolated: bool | Isolation) -> Model:
    """Return a model in a process of its own."""
    from .isolation import IsolatedModel, Isolation  # not at the top, because few models are isolated

    if isolated is True:
        isolated = Isolation()
    if not isinstance(isolated, Isolation):
        raise UsageError(f"`isolated` is {shortened(isolated)}; it must be True, False or an Isolation.")
    return IsolatedModel(model, options, isolated)


def _generate_ahead(
    parts: Iterator[Seeds | list[int]], generate: Callable[[Seeds | list[int]], Pixels]
) -> Iterator[Pixels]:
    """Yield the images part by part. While the caller works on one part, the next one is generated."""
    first, second = next(parts, None), next(parts, None)
    if first is None:
        raise SeedError((), "is an empty list")
    if second is None:
        yield generate(first)
        return
    # This import takes 30 ms, and it is needed only if there are two or more parts.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "ganport-stream") as worker:
        batch = worker.submit(generate, first)
        for part in itertools.chain([second], parts):
            following = worker.submit(generate, part)
            yield batch.result()
            batch = following
        yield batch.result()
