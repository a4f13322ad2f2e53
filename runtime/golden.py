"""Golden images: comparing the images that a file generates now with those that it generated at export."""

from __future__ import annotations

import base64
import binascii
import io
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from .arrays import Pixels
from .errors import ContractError, GoldenMismatchError, UsageError
from .images import split_grid
from .sampler import Sampler

# Two devices add numbers in different orders, so they round the sums differently. In float32 this changes a
# pixel by at most one level. In float16 and int8, an activation can have only few values. One device may
# round a sum to the value above it, and the other device to the value below. Some pixels then differ by
# several levels.
_FLOAT32_LIMITS = (1, 1e-2, 1e-2)  # limits for `largest`, `share` and `mean` of a GoldenCheck
_COARSE_LIMITS = (24, 1.0, 0.25)  # limits for the same three values in float16 and int8


class GoldenCheck(NamedTuple):
    """The comparison of one golden image with the image that is generated now.

    Attributes:
        seed: Seed of the image.
        largest: Largest difference of a pixel value, in levels of 0 to 255.
        share: Share of the pixel values that differ.
        mean: Mean difference of all pixel values, in levels.
        passed: Whether the two images are equal up to the rounding of the file's precision.
    """

    seed: int
    largest: int
    share: float
    mean: float
    passed: bool


def check_golden(sampler: Sampler) -> list[GoldenCheck]:
    """Compare the golden images in a file with images that the sampler generates for the same seeds.

    Returns one comparison for each image.

    Raises:
        UsageError: The file is third-party, so it holds no golden images.
        ContractError: The file holds no golden images although ganport wrote it, or their PNG is damaged.
    """
    seeds = list(sampler.contract.golden["seeds"])
    if not sampler.contract.created_by:
        raise UsageError(
            "This is a third-party model, which holds no golden images; `ganport export FILE.onnx` checks it "
            "and writes a file that holds them."
        )
    if not seeds:
        raise ContractError("golden.seeds", "there is no golden image to compare with")
    stored = _read_golden(sampler, len(seeds))
    differences = np.abs(sampler.sample(seeds).astype(np.int16) - stored)
    limits = _FLOAT32_LIMITS if sampler.contract.precision == "float32" else _COARSE_LIMITS
    checks = []
    for seed, levels in zip(seeds, differences, strict=True):
        measured = int(levels.max()), float((levels > 0).mean()), float(levels.mean())
        passed = all(value <= limit for value, limit in zip(measured, limits, strict=True))
        checks.append(GoldenCheck(seed, *measured, passed))
    return checks


def require_golden(sampler: Sampler, checks: list[GoldenCheck]) -> None:
    """Raise GoldenMismatchError unless all comparisons passed."""
    failed = [check.seed for check in checks if not check.passed]
    if failed:
        raise GoldenMismatchError(sampler.model.source, sampler.provider, failed)


def _read_golden(sampler: Sampler, count: int) -> Pixels:
    """Return the stored golden images, uint8 (count, height, width, channels)."""
    field = "golden.png_base64"
    try:
        content = base64.b64decode(sampler.contract.golden["png_base64"], validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as png:
            grid = np.asarray(png)
        cells = grid[..., np.newaxis] if grid.ndim == 2 else grid
        return split_grid(cells, count, sampler.contract.image.shape)
    except (
        binascii.Error,
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise ContractError(field, "it is not a PNG image") from error
    except ValueError as error:
        raise ContractError(field, str(error)) from error
