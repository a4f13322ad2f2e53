"""Proof that an exported graph draws what its Keras generator draws, by onnxruntime, before any file is handed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from runtime import sample_latents, to_uint8
from runtime.errors import VerificationError
from runtime.seeds import check_seeds

from .convert import IMAGE, LATENT

BATCH_SIZES = (1, 7, 64)
MAX_ABS_ERROR = 1e-4  # of the float output, in [-1, 1]; half a level of 8-bit pixels is 39e-4
MAX_PIXEL_MISMATCH = 1e-3  # share of pixels that may be one level off: those that lie on the border of two levels

Floats = npt.NDArray[np.float32]
Draw = Callable[[Floats], npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was measured.

    Attributes:
        max_abs_error: largest difference to Keras on the float output.
        pixel_mismatch: share of 8-bit pixels that differ from Keras' by one level.
        batch_sizes: that were compared.
    """

    max_abs_error: float
    pixel_mismatch: float
    batch_sizes: tuple[int, ...]


def verify_parity(generator: keras.Model, float_model: onnx.ModelProto, shipped: onnx.ModelProto) -> Verification:
    """Compare the graph with Keras, and its drawings in one batch with those in another.

    Args:
        generator: the Keras model, latents (batch, dim) -> images in [-1, 1].
        float_model: its graph with float output.
        shipped: the graph that is to be written, with float or uint8 output.

    Raises:
        VerificationError: a difference is over its limit, or Keras draws outside of [-1, 1].
    """
    latents = sample_latents(check_seeds(range(max(BATCH_SIZES))), generator.input_shape[1])
    expected = generator(latents, training=False).numpy()  # (64, height, width, channels)
    _require("the distance of Keras' images from [-1, 1]", float(np.abs(expected).max()) - 1.0, MAX_ABS_ERROR)
    draw, batch = _open(float_model)
    draw_shipped, _ = _open(shipped)

    drawings = list(_draw_in_batches(draw, batch, latents))
    max_abs_error = max(float(np.abs(drawing - expected).max()) for drawing in drawings)
    _require("the largest difference to Keras", max_abs_error, MAX_ABS_ERROR)

    drawings = [_to_pixels(drawing) for drawing in _draw_in_batches(draw_shipped, batch, latents)]
    differences = [_levels_apart(drawing, to_uint8(expected)) for drawing in drawings]
    _require("the largest difference to Keras in 8-bit levels", max(int(levels.max()) for levels in differences), 1)
    pixel_mismatch = max(float((levels > 0).mean()) for levels in differences)
    _require("the share of 8-bit pixels that differ from Keras", pixel_mismatch, MAX_PIXEL_MISMATCH)

    apart = max(int(_levels_apart(drawing, drawings[0]).max()) for drawing in drawings)
    _require("the largest difference, in 8-bit levels, of one image between two batches", apart, 0)
    return Verification(max_abs_error, pixel_mismatch, BATCH_SIZES if batch is None else (batch,))


def check_pixels(generator: keras.Model, seeds: Sequence[int], images: npt.NDArray[np.uint8]) -> None:
    """Raise VerificationError where 8-bit images of these seeds are more than one level from Keras' own."""
    latents = sample_latents(check_seeds(seeds), generator.input_shape[1])
    apart = _levels_apart(images, to_uint8(generator(latents, training=False).numpy()))
    _require("the largest difference of the golden images to Keras in 8-bit levels", int(apart.max()), 1)


def _open(model: onnx.ModelProto) -> tuple[Draw, int | None]:
    """Return a function that draws with the graph, and the batch that it insists on, if any."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[0]

    def draw(latents: Floats) -> npt.NDArray[Any]:
        (images,) = session.run([IMAGE], {LATENT: latents})
        return np.asarray(images)

    return draw, batch if isinstance(batch, int) else None


def _draw_in_batches(draw: Draw, batch: int | None, latents: Floats) -> Iterator[npt.NDArray[Any]]:
    """Draw all of the latents, each time in other company: alone, by 7 and by 64; or forwards and backwards by `batch`."""
    if batch is None:
        for size in BATCH_SIZES:
            yield np.concatenate([draw(latents[start : start + size]) for start in range(0, len(latents), size)])
        return
    count = -(-len(latents) // batch) * batch
    filled = np.resize(latents, (count, latents.shape[1]))  # repeats the first latents until the last batch is full
    for order in (np.arange(count), np.arange(count)[::-1]):
        drawn = np.concatenate([draw(filled[order[start : start + batch]]) for start in range(0, count, batch)])
        yield drawn[np.argsort(order)][: len(latents)]


def _to_pixels(images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return images if images.dtype == np.uint8 else to_uint8(images)


def _levels_apart(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    return np.abs(a.astype(np.int16) - b)


def _require(check: str, measured: float, limit: float) -> None:
    # Written so that NaN fails.
    if not measured <= limit:
        raise VerificationError(check, measured, limit)
