"""Parity: the check that a graph, run by onnxruntime, generates the same images as its original generator.

No file is written before this check has passed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ganport.runtime import sample_latents, to_uint8
from ganport.runtime.arrays import Latents, Pixels, Seeds
from ganport.runtime.contract import LABEL, Distribution, Layout, Precision
from ganport.runtime.latents import default_labels, generator_inputs, one_hot
from ganport.runtime.seeds import check_seeds

from .errors import VerificationError
from .input_stages import SEED, seed_stage_model
from .options import Options
from .sessions import open_on_cpu
from .standard_form import IMAGE, LATENT
from .workload import workload_of

# Seeds at the limits of number formats. A seed of 2**32 or more needs a second 32-bit word. Above 2**53,
# double precision can't represent every whole number.
_LARGE_SEEDS = (2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53 + 1, 2**62, 2**63 - 2, 2**63 - 1)
# Limit for the difference between floats in [-1, 1]. Half a level of 8-bit pixels is 0.0039.
MAX_ABS_ERROR = 1e-4
# With large weights, the image that the original generates for a seed depends on the size of the batch. The
# limit may then be larger than MAX_ABS_ERROR, but at most this value.
MAX_ROUNDING = 1e-3
# Limit for the share of 8-bit pixels that differ by one level. A float between two levels may be rounded to
# either of them.
MAX_PIXEL_MISMATCH = 1e-3
# Number of pixels that may differ by one level in any case. One pixel of a single 28x28 image is already a
# larger share than MAX_PIXEL_MISMATCH.
FEW_PIXELS = 4
# Limit if the original's images are whole levels (uint8). A value near the bound between two levels becomes
# the one level in the original and the other level in the graph.
MAX_LEVEL_ERROR = 2 / 255 + MAX_ABS_ERROR
# Limits if the original computes in float16. It rounds each step to 11 bits, and its graph is exported in
# float32, which rounds to 24 bits. So the two can't agree better than float16 itself.
MAX_HALF_ERROR = 2e-2
MAX_HALF_LEVELS = 3
MAX_HALF_MEAN_LEVELS = 0.5
# Limits for the mean difference of 8-bit pixels, in levels.
MAX_MEAN_LEVELS: Mapping[Precision, float] = {"float16": 2.0, "float16-arithmetic": 2.0, "int8": 6.0}
# Precisions in which all arithmetic is in float32. Images differ by its rounding only.
_FLOAT32_ARITHMETIC: tuple[Precision, ...] = ("float32", "float16")

_DEPENDS_ON_BATCH = (
    "the original generates another image for a seed alone than in a batch, so save it in inference mode, in "
    "which it uses no statistics of the batch"
)

Floats = npt.NDArray[np.float32]
Generate = Callable[[Seeds], npt.NDArray[Any]]  # seeds -> images (n, height, width, channels)
Original = Callable[[Latents], Floats]  # latents and one-hot codes -> images of the original generator


@dataclasses.dataclass(frozen=True)
class Verification:
    """Measured differences between the images of a graph and those of the original generator.

    Attributes:
        max_abs_error: Largest difference between the floats in [-1, 1], before they are rounded to pixels.
            For float16 and int8 this includes the loss of precision.
        pixel_mismatch: Share of 8-bit pixels that differ from those of the original.
        mean_levels: Mean absolute difference between 8-bit pixels and those of the original, in levels.
        max_levels: Largest difference of an 8-bit pixel from that of the original, in levels.
        batch_sizes: Batch sizes that were compared.
        seeds: Number of seeds that were compared.
    """

    max_abs_error: float
    pixel_mismatch: float
    mean_levels: float
    max_levels: int
    batch_sizes: tuple[int, ...]
    seeds: int


@dataclasses.dataclass(frozen=True)
class InputSize:
    """The size of the input of a generator, and the distribution of the latents.

    Attributes:
        dim: Number of latents per image.
        label_count: Number of labels, whose one-hot code follows the latents; 0 for none.
        distribution: Distribution of the latents.
    """

    dim: int
    label_count: int
    distribution: Distribution = "normal"

    def sample_inputs(self, seeds: Seeds) -> Latents:
        """Return the input of the generator for the seeds, with their default labels if there are labels."""
        return generator_inputs(seeds, self.dim, self.label_count, distribution=self.distribution)

    def sample_latents(self, seeds: Seeds) -> Latents:
        """Return the latents of the seeds, float32 (n, dim)."""
        return sample_latents(seeds, self.dim, distribution=self.distribution)


def verify_parity(
    original: Original,
    size: InputSize,
    options: Options,
    *,
    float_model: onnx.ModelProto,
    shipped: onnx.ModelProto,
    lossy: onnx.ModelProto | None = None,
    is_half: bool = False,
    has_levels: bool = False,
    is_third_party: bool = False,
    progress: Callable[[str], object],
) -> Verification:
    """Compare the graph's images with those of the original generator, and return the differences.

    Images that the graph generates for one seed in different batches are also compared with each other.

    Args:
        original: Function that runs the original generator; see `Source.generate`.
        size: Size of the generator's input. If there are labels, the image of each seed has the label that
            `runtime.latents.default_labels` returns for the seed.
        options: Options that `shipped` was made with.
        float_model: The generator's graph from latents to floats, in float32.
        shipped: The graph to write, with input and output stages.
        lossy: The graph from latents to floats in the precision of `shipped`; None if that is float32. For
            float16 it is the float32 graph with rounded weights. The images of `shipped` are compared with
            its images by the limits of float32, and with the original's by the limit of the loss.
        is_half: Whether the original computes in float16.
        has_levels: Whether the original's images are whole levels, as those of a graph with uint8 images are.
        is_third_party: Whether the original was not trained by ganport. Then an image may differ by one level
            between two batches, in a share MAX_PIXEL_MISMATCH of its pixels.
        progress: Function that is called with a line of text before each part of the comparison.

    Raises:
        VerificationError: A difference is over its limit, or the original images are not in [-1, 1].
    """
    workload = workload_of(float_model)
    most_error = error_limit(is_half, has_levels)
    seeds = check_seeds(options.seeds or compared_seeds(workload.images()))
    chunk_size = workload.batch()
    sizes = (1, 7, chunk_size)
    generate_floats, float_batch = _open_graph(float_model, size, seeds)
    generate_shipped, shipped_batch = _open_graph(shipped, size, seeds, options.layout)
    opened_lossy = None if lossy is None else _open_graph(lossy, size, seeds)
    if any(value.name == SEED for value in shipped.graph.input):
        _verify_seed_stage(size, options.opset)
    errors, levels, stored_levels = [], [], []
    for start in range(0, len(seeds), chunk_size):
        progress(f"comparing with the original: {start} of {len(seeds)} images")
        chunk = seeds[start : start + chunk_size]
        inputs = size.sample_inputs(chunk)
        expected = original(inputs)  # (n, height, width, channels), n <= chunk_size
        _require(
            "the distance of the original images from [-1, 1]",
            float(np.abs(expected).max()) - 1.0,
            MAX_ABS_ERROR,
        )
        batchings = list(_generate_in_batches(generate_floats, float_batch, chunk, sizes))
        _require_shapes(batchings, expected)
        rounding = functools.partial(_rounding_of, original, inputs, chunk_size)
        error = require_close(batchings, expected, rounding, least=most_error)
        if opened_lossy is not None:
            lossy_images = next(_generate_in_batches(*opened_lossy, chunk, sizes))
            error = float(np.abs(lossy_images - expected).max())
        errors.append(error)
        pixels = [
            _to_pixels(images)
            for images in _generate_in_batches(generate_shipped, shipped_batch, chunk, sizes)
        ]
        most_levels = MAX_HALF_LEVELS if is_half else 1
        if options.precision == "float16":
            stored_levels.append(_compare_pixels(pixels, to_uint8(lossy_images), "float32", most_levels=1))
        levels.append(_compare_pixels(pixels, to_uint8(expected), options.precision, most_levels))
        # In float16 arithmetic, onnxruntime before 1.23 adds up numbers in an order that depends on the batch
        # size, and so do GPUs. A third-party graph may do so in any precision.
        is_tolerant = is_third_party or options.precision == "float16-arithmetic"
        require_same_in_batches(pixels, options.precision, most_levels=int(is_tolerant))
    if stored_levels:
        share = float((np.concatenate(stored_levels) > 0).mean())
        check = "the share of 8-bit pixels that differ from float32 arithmetic on the same rounded weights"
        _require(check, share, allowed_mismatch(sum(each.size for each in stored_levels)))
    differences = np.concatenate(levels)
    mismatch, mean = float((differences > 0).mean()), float(differences.mean())
    if options.precision == "float32" and is_half:
        check = "the mean difference to the original, which computes in float16, in 8-bit levels"
        _require(check, mean, MAX_HALF_MEAN_LEVELS)
    elif options.precision == "float32":
        limit = allowed_mismatch(differences.size)
        _require("the share of 8-bit pixels that differ from the original", mismatch, limit)
    elif not options.allow_loss:
        check = f"the mean difference of {options.precision} to the original in 8-bit levels"
        _require(check, mean, MAX_MEAN_LEVELS[options.precision], "`allow_loss=True` writes the file anyway")
    batch_sizes = _compared_batches(options, shipped_batch, sizes)
    return Verification(max(errors), mismatch, mean, int(differences.max()), batch_sizes, len(seeds))


def error_limit(is_half: bool, has_levels: bool) -> float:
    """Return the limit for the difference between floats in [-1, 1], for an original of a kind.

    Args:
        is_half: Whether the original computes in float16.
        has_levels: Whether its images are whole levels.
    """
    if is_half:
        return MAX_HALF_ERROR
    return MAX_LEVEL_ERROR if has_levels else MAX_ABS_ERROR


def compared_seeds(count: int) -> tuple[int, ...]:
    """Return the seeds whose images are compared: the first ones, which people use most, and large ones."""
    return (*range(count - len(_LARGE_SEEDS)), *_LARGE_SEEDS)


def _compared_batches(options: Options, batch: int | None, free_sizes: tuple[int, ...]) -> tuple[int, ...]:
    if options.seeds:
        return (len(options.seeds),)
    if batch is not None:
        return (batch,)
    return free_sizes


def require_close(
    batchings: Sequence[Floats],
    expected: Floats,
    rounding: Callable[[], float],
    *,
    least: float = MAX_ABS_ERROR,
) -> float:
    """Return the largest difference of the graph's images from the original images.

    The limit is `least`, with one exception. In a generator with large weights, rounding alone can
    exceed this limit: a sum depends on the order in which its terms are added, and frameworks use different
    orders for different batch sizes. The limit is then four times the difference that `rounding` returns, but
    at least MAX_ABS_ERROR and at most MAX_ROUNDING. In this case the difference of each pixel, averaged over
    the images, must still be at most MAX_ABS_ERROR.

    Args:
        batchings: The graph's images, once for each way of dividing them into batches; each array (n, height,
            width, channels) in [-1, 1].
        expected: Images of the original generator, of the same shape.
        rounding: Function that returns the largest difference between images that the original
            generates in one batch and images that it generates for the same latents in other batches.
        least: Least limit.

    Raises:
        VerificationError: The difference is too large.
    """
    differences = [images - expected for images in batchings]
    error = float(np.max([np.abs(each).max() for each in differences]))  # unlike max(), np.max keeps NaN
    if not error <= least:
        rounded = rounding()
        limit = max(least, min(4 * rounded, MAX_ROUNDING))
        remedy = _DEPENDS_ON_BATCH if rounded > 4 * MAX_ROUNDING else ""
        _require("the largest difference to the original", error, limit, remedy)
        mean = max(float(np.abs(each.mean(axis=0)).max()) for each in differences)
        _require("the mean difference of a pixel to the original", mean, least)
    return error


def _rounding_of(original: Original, inputs: Latents, batch: int) -> float:
    """Generate images one at a time and again in one batch, and return the largest difference.

    The images differ since the order in which a framework adds up numbers depends on the batch size.
    """
    together = original(np.resize(inputs, (batch, *inputs.shape[1:])))
    alone = np.concatenate([original(inputs[row : row + 1]) for row in range(len(inputs))])
    return float(np.abs(alone - together[: len(inputs)]).max())


def allowed_mismatch(pixels: int) -> float:
    """Return the share of pixels that may differ by one level, if `pixels` pixels are compared."""
    return max(MAX_PIXEL_MISMATCH, FEW_PIXELS / pixels)


def _compare_pixels(
    batchings: list[Pixels], expected: Pixels, precision: Precision, most_levels: int
) -> npt.NDArray[np.int16]:
    """Return the absolute difference of each pixel from the original, in levels, shaped like `expected`.

    Args:
        batchings: The graph's images, once for each way of dividing them into batches.
        expected: Images of the original generator.
        precision: Precision of the graph.
        most_levels: Limit for the difference of a pixel, if the precision is float32.

    Raises:
        VerificationError: The precision is float32, and a pixel differs from the original by more than
            `most_levels`.
    """
    _require_shapes(batchings, expected)
    levels = _level_differences(batchings[0], expected)
    if precision == "float32":
        _require("the largest difference to the original in 8-bit levels", int(levels.max()), most_levels)
    return levels


def require_same_in_batches(batchings: list[Pixels], precision: Precision, *, most_levels: int) -> None:
    """Raise VerificationError if the image of a seed depends on how the seeds are divided into batches.

    Args:
        batchings: The graph's images, once for each way of dividing them into batches.
        precision: Precision of the graph.
        most_levels: Limit for the difference of a pixel between two batches.
    """
    differences = [_level_differences(images, batchings[0]) for images in batchings]
    _require(
        "the largest difference, in 8-bit levels, of one image between two batches",
        max(int(each.max()) for each in differences),
        most_levels,
    )
    if precision in _FLOAT32_ARITHMETIC:
        share = max(float((each > 0).mean()) for each in differences)
        limit = allowed_mismatch(batchings[0].size)
        _require("the share of 8-bit pixels that differ between two batches", share, limit)


def _verify_seed_stage(size: InputSize, opset: int) -> None:
    """Raise VerificationError unless the graph's latents equal those of the runtime in every bit."""
    seeds = check_seeds(compared_seeds(256))
    stage = seed_stage_model(size.dim, opset, distribution=size.distribution)
    (latents,) = open_on_cpu(stage).run(None, {SEED: seeds})
    wrong = int((latents.view(np.uint32) != size.sample_latents(seeds).view(np.uint32)).sum())
    _require("the number of latents in which the graph differs from the runtime", wrong, 0)


def require_same_images(
    shipped: onnx.ModelProto, size: InputSize, options: Options, *, seeds: Sequence[int], images: Pixels
) -> None:
    """Raise VerificationError if images of the file and of the verified graph differ by more than one level.

    Args:
        shipped: The verified graph.
        size: Size of the generator's input.
        options: Options that the graph was made with.
        seeds: Seeds of `images`.
        images: Images that the written file generated, uint8 (n, height, width, channels).
    """
    chosen = check_seeds(seeds)
    generate, batch = _open_graph(shipped, size, check_seeds(options.seeds or seeds), options.layout)
    verified = next(_generate_in_batches(generate, batch, chosen, (1,)))
    difference = int(_level_differences(images, _to_pixels(verified)).max())
    _require(
        "the largest difference of the golden images to the verified graph in 8-bit levels", difference, 1
    )


def _open_graph(
    model: onnx.ModelProto, size: InputSize, fixed: Seeds, layout: Layout = "NHWC"
) -> tuple[Generate, int | None]:
    """Return a pair: a function that generates images with a graph, and the batch size.

    The function takes seeds and returns images (n, height, width, channels). The batch size is the number of
    seeds that the function takes; None if it takes any number.

    Args:
        model: The graph.
        size: Size of the generator's input.
        fixed: Seeds of the images that a graph without an input generates. Not used for other graphs.
        layout: Layout of the graph's images.
    """
    axes = (0, 1, 2, 3) if layout == "NHWC" else (0, 2, 3, 1)
    session = open_on_cpu(model)
    if not session.get_inputs():
        (images,) = session.run([IMAGE], {})
        rows = dict(zip(fixed.tolist(), images.transpose(axes), strict=True))
        return lambda seeds: np.stack([rows[seed] for seed in seeds.tolist()]), None
    inputs = {source.name: source.shape for source in session.get_inputs()}

    def generate(seeds: Seeds) -> npt.NDArray[Any]:
        feed: dict[str, npt.NDArray[Any]] = {}
        if LABEL in inputs:
            labels = default_labels(seeds, size.label_count)
            feed[LABEL] = one_hot(labels, size.label_count) if len(inputs[LABEL]) == 2 else labels
        if SEED in inputs:
            feed[SEED] = seeds
        elif LABEL in inputs:
            feed[LATENT] = size.sample_latents(seeds)
        else:
            feed[LATENT] = size.sample_inputs(seeds)
        (images,) = session.run([IMAGE], feed)
        return np.asarray(images).transpose(axes)

    batch = next(iter(inputs.values()))[0]
    return generate, batch if isinstance(batch, int) else None


def _generate_in_batches(
    generate: Generate, batch: int | None, seeds: Seeds, free_sizes: Sequence[int]
) -> Iterator[npt.NDArray[Any]]:
    """Yield the images of all seeds several times, each time with a different division into batches.

    If the batch size is free (`batch` is None), the batch sizes are `free_sizes`. If the batch size is fixed,
    the images are generated in the order of `seeds` and in reverse order.
    """
    if batch is None:
        for size in free_sizes:
            yield np.concatenate(
                [generate(seeds[start : start + size]) for start in range(0, len(seeds), size)]
            )
        return
    count = -(-len(seeds) // batch) * batch
    filled = np.resize(seeds, count)  # np.resize repeats the first seeds until the last batch is full
    for order in (np.arange(count), np.arange(count)[::-1]):
        images = np.concatenate(
            [generate(filled[order[start : start + batch]]) for start in range(0, count, batch)]
        )
        yield images[np.argsort(order)][: len(seeds)]


def _to_pixels(images: npt.NDArray[Any]) -> Pixels:
    return images if images.dtype == np.uint8 else to_uint8(images)


def _level_differences(a: Pixels, b: Pixels) -> npt.NDArray[np.int16]:
    return np.abs(a.astype(np.int16) - b)


def _require_shapes(batchings: Sequence[npt.NDArray[Any]], expected: npt.NDArray[Any]) -> None:
    # Without this check, NumPy might broadcast images of a wrong shape and compare them without an error.
    wrong = sum(images.shape != expected.shape for images in batchings)
    _require("the number of batches whose images have another shape than the original images", wrong, 0)


def _require(check: str, measured: float, limit: float, remedy: str = "") -> None:
    # The comparison is written so that NaN fails.
    if not measured <= limit:
        raise VerificationError(check, measured, limit, remedy)
