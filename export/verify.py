"""Proof that an exported graph draws what its Keras generator draws, by onnxruntime, before any file is handed over."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from ganport.runtime import latents_of, to_uint8
from ganport.runtime.contract import LABEL
from ganport.runtime.errors import VerificationError
from ganport.runtime.latents import generator_inputs, labels_of
from ganport.runtime.seeds import check_seeds

from .convert import IMAGE, LATENT
from .heads import SEED, seed_head_alone
from .options import DEFAULTS, Layout, Options, Precision
from .sources import Source

BATCH_SIZES = (1, 7, 64)
# Where the words of a seed carry, and where double precision ends, as well as the seeds that people take.
SEEDS = (*range(248), 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53 + 1, 2**62, 2**63 - 2, 2**63 - 1)
MAX_ABS_ERROR = 1e-4  # of the float output, in [-1, 1]; half a level of 8-bit pixels is 39e-4
MAX_ROUNDING = 1e-3  # the same, at most, where weights are so large that Keras rounds by more than a quarter of that
MAX_PIXEL_MISMATCH = 1e-3  # share of pixels that may be one level off: those that lie on the border of two levels
FEW_PIXELS = 4  # that may be off however few there are: one of a single 28x28 image is more than the share
MAX_MEAN_LEVELS: Mapping[Precision, float] = {"float16": 2.0, "int8": 6.0}  # difference of 8-bit pixels that a loss may make

_PART = 64  # images that are compared at a time, so that memory is bounded

Seeds = npt.NDArray[np.int64]
Draw = Callable[[Seeds], npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was measured.

    Attributes:
        max_abs_error: largest difference to Keras before pixels are made, in [-1, 1]; of float16 and int8 what these lose, too.
        pixel_mismatch: share of 8-bit pixels that differ from Keras'.
        mean_levels, max_levels: by how much, over all pixels.
        batch_sizes: that were compared.
        seeds: how many were drawn.
    """

    max_abs_error: float
    pixel_mismatch: float
    mean_levels: float
    max_levels: int
    batch_sizes: tuple[int, ...]
    seeds: int


def verify_parity(
    generator: keras.Model,
    float_model: onnx.ModelProto,
    shipped: onnx.ModelProto,
    options: Options = DEFAULTS,
    classes: int = 0,
    lossy: onnx.ModelProto | None = None,
) -> Verification:
    """Compare the graph with Keras, and its drawings in one batch with those in another.

    Args:
        generator: the Keras model, latents (batch, dim), and its classes if there are any -> images in [-1, 1].
        float_model: its graph, latents in, floats out, in float32.
        shipped: the graph that is to be written, whatever goes in and comes out.
        options: that it was made by.
        classes: that can be asked for; each seed is drawn as its own of `runtime.latents.labels_of`.
        lossy: the graph in float16 or int8, latents in, floats out, where that is what is shipped.

    Raises:
        VerificationError: a difference is over its limit, or Keras draws outside of [-1, 1].
    """
    dim = generator.input_shape[1] - classes
    seeds = check_seeds(options.seeds or SEEDS)
    floats, batch = _open(float_model, (dim, classes), seeds)
    ships, shipped_batch = _open(shipped, (dim, classes), seeds, options.layout)
    loses = None if lossy is None else _open(lossy, (dim, classes), seeds)
    if any(value.name == SEED for value in shipped.graph.input):
        _verify_seed_head(dim, options.opset)
    errors, levels = [], []
    for start in range(0, len(seeds), _PART):
        part = seeds[start : start + _PART]
        inputs = generator_inputs(part, dim, classes)
        expected = draw_with_keras(generator, inputs)  # (64, height, width, channels)
        _require("the distance of Keras' images from [-1, 1]", float(np.abs(expected).max()) - 1.0, MAX_ABS_ERROR)
        drawings = list(_draw_in_batches(floats, batch, part))
        _require_shapes(drawings, expected)
        error = require_close(drawings, expected, functools.partial(_rounding, generator, inputs))
        errors.append(error if loses is None else float(np.abs(next(_draw_in_batches(*loses, part)) - expected).max()))
        pixels = [_to_pixels(drawing) for drawing in _draw_in_batches(ships, shipped_batch, part)]
        levels.append(_verify_pixels(pixels, to_uint8(expected), options.precision))
    off = np.concatenate(levels)
    mismatch, mean = float((off > 0).mean()), float(off.mean())
    if options.precision == "float32":
        _require("the share of 8-bit pixels that differ from Keras", mismatch, most_mismatch(off.size))
    elif not options.allow_loss:
        check = f"the mean difference of {options.precision} to Keras in 8-bit levels"
        _require(check, mean, MAX_MEAN_LEVELS[options.precision], "--allow-loss writes it all the same")
    batches = (len(options.seeds),) if options.seeds else BATCH_SIZES if shipped_batch is None else (shipped_batch,)
    return Verification(max(errors), mismatch, mean, int(off.max()), batches, len(seeds))


def draw_with_keras(generator: keras.Model, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return Keras' images (batch, height, width, channels) of latents (batch, dim), in full float32.

    That is on the CPU: a GPU that TensorFlow finds would multiply in TF32, which keeps 10 bits.
    """
    with keras.device("cpu:0"):
        return np.asarray(generator(inputs, training=False))


def require_close(
    drawings: Sequence[npt.NDArray[np.float32]], expected: npt.NDArray[np.float32], rounding: Callable[[], float]
) -> float:
    """Return the largest difference of the drawings to Keras' images.

    Sums of large numbers differ by more than MAX_ABS_ERROR in another order, in Keras too. That is allowed where it is noise:
    four times what Keras itself has of it, and not in a pixel on the average over the images.

    Args:
        drawings: the same images several times, (batch, height, width, channels) in [-1, 1].
        expected: Keras' images.
        rounding: returns how far Keras is from itself.

    Raises:
        VerificationError: it is too large.
    """
    differences = [drawing - expected for drawing in drawings]
    error = float(np.max([np.abs(each).max() for each in differences]))  # unlike max(), keeps NaN
    if not error <= MAX_ABS_ERROR:
        limit = min(max(MAX_ABS_ERROR, 4 * rounding()), MAX_ROUNDING)
        _require("the largest difference to Keras", error, limit)
        mean = max(float(np.abs(each.mean(axis=0)).max()) for each in differences)
        _require("the mean difference of a pixel to Keras", mean, MAX_ABS_ERROR)
    return error


def _rounding(generator: keras.Model, inputs: npt.NDArray[np.float32]) -> float:
    """Return how far images that Keras draws one at a time are from those that it draws together: sums in another order."""
    together = draw_with_keras(generator, np.resize(inputs, (_PART, *inputs.shape[1:])))
    alone = np.concatenate([draw_with_keras(generator, inputs[row : row + 1]) for row in range(len(inputs))])
    return float(np.abs(alone - together[: len(inputs)]).max())


def most_mismatch(pixels: int) -> float:
    """Return the share of so many pixels that may be one level off."""
    return max(MAX_PIXEL_MISMATCH, FEW_PIXELS / pixels)


def _verify_pixels(
    drawings: list[npt.NDArray[np.uint8]], expected: npt.NDArray[np.uint8], precision: Precision
) -> npt.NDArray[np.int16]:
    """Return how far the pixels are from Keras'; hold that, and the drawings against each other, to the limits."""
    _require_shapes(drawings, expected)
    levels = _levels_apart(drawings[0], expected)
    if precision == "float32":
        _require("the largest difference to Keras in 8-bit levels", int(levels.max()), 1)
    apart = max(int(_levels_apart(drawing, drawings[0]).max()) for drawing in drawings)
    # In float16 onnxruntime before 1.23, as GPUs do, adds up otherwise for other batches.
    allowed = 1 if precision == "float16" else 0
    _require("the largest difference, in 8-bit levels, of one image between two batches", apart, allowed)
    return levels


def _verify_seed_head(dim: int, opset: int) -> None:
    """Compare the latents that onnxruntime makes of seeds with those of the runtime, bit for bit."""
    seeds = check_seeds(SEEDS)
    (made,) = open_on_cpu(seed_head_alone(dim, opset)).run(None, {SEED: seeds})
    wrong = int((made.view(np.uint32) != latents_of(seeds, dim).view(np.uint32)).sum())
    _require("the number of latents that the seed head makes otherwise than the runtime", wrong, 0)


def check_pixels(
    shipped: onnx.ModelProto, options: Options, source: Source, seeds: Sequence[int], images: npt.NDArray[np.uint8]
) -> None:
    """Raise VerificationError where 8-bit images of these seeds are more than one level from those of the proven graph."""
    chosen = check_seeds(seeds)
    widths = source.latent_dim, len(source.labels)
    draw, batch = _open(shipped, widths, check_seeds(options.seeds or seeds), options.layout)
    (proven, *_) = _draw_in_batches(draw, batch, chosen)
    apart = _levels_apart(images, _to_pixels(proven))
    _require("the largest difference of the golden images to the proven graph in 8-bit levels", int(apart.max()), 1)


def open_on_cpu(model: onnx.ModelProto) -> ort.InferenceSession:
    """Return a session of onnxruntime's, without the runtime's own checks and settings."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _open(model: onnx.ModelProto, widths: tuple[int, int], fixed: Seeds, layout: Layout = "NHWC") -> tuple[Draw, int | None]:
    """Return a function that draws seeds with the graph, channels last, and the batch that it insists on, if any.

    Args:
        model: the graph.
        widths: latents, and classes.
        fixed: the seeds of a graph without inputs.
        layout: of its images.
    """
    axes = (0, 1, 2, 3) if layout == "NHWC" else (0, 2, 3, 1)
    session = open_on_cpu(model)
    if not session.get_inputs():
        (images,) = session.run([IMAGE], {})
        rows = dict(zip(fixed.tolist(), images.transpose(axes), strict=True))
        return lambda seeds: np.stack([rows[seed] for seed in seeds.tolist()]), None
    inputs = {source.name: source.shape for source in session.get_inputs()}
    dim, classes = widths

    def draw(seeds: Seeds) -> npt.NDArray[Any]:
        feed: dict[str, npt.NDArray[Any]] = {}
        if LABEL in inputs:
            feed[LABEL] = labels_of(seeds, classes)
        if SEED in inputs:
            feed[SEED] = seeds
        else:
            feed[LATENT] = latents_of(seeds, dim) if LABEL in inputs else generator_inputs(seeds, dim, classes)
        (images,) = session.run([IMAGE], feed)
        return np.asarray(images).transpose(axes)

    batch = next(iter(inputs.values()))[0]
    return draw, batch if isinstance(batch, int) else None


def _draw_in_batches(draw: Draw, batch: int | None, seeds: Seeds) -> Iterator[npt.NDArray[Any]]:
    """Draw all of the seeds, each time in other company: alone, by 7 and by 64; or forwards and backwards by `batch`."""
    if batch is None:
        for size in BATCH_SIZES:
            yield np.concatenate([draw(seeds[start : start + size]) for start in range(0, len(seeds), size)])
        return
    count = -(-len(seeds) // batch) * batch
    filled = np.resize(seeds, count)  # repeats the first seeds until the last batch is full
    for order in (np.arange(count), np.arange(count)[::-1]):
        drawn = np.concatenate([draw(filled[order[start : start + batch]]) for start in range(0, count, batch)])
        yield drawn[np.argsort(order)][: len(seeds)]


def _to_pixels(images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return images if images.dtype == np.uint8 else to_uint8(images)


def _levels_apart(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    return np.abs(a.astype(np.int16) - b)


def _require_shapes(drawings: Sequence[npt.NDArray[Any]], expected: npt.NDArray[Any]) -> None:
    wrong = sum(drawing.shape != expected.shape for drawing in drawings)  # NumPy would broadcast them
    _require("the number of drawings that have another shape than Keras' images", wrong, 0)


def _require(check: str, measured: float, limit: float, remedy: str = "") -> None:
    # Written so that NaN fails.
    if not measured <= limit:
        raise VerificationError(check, measured, limit, remedy)
