"""Golden images: what a file drew when it was made, held against what it draws here and now."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from .errors import ContractError
from .images import split_grid
from .sampler import Sampler

# Another device rounds its sums otherwise. In float32 that may move a pixel by a level, not more; where activations are rounded
# to few bits, a sum beside the border of two is rounded to another one, and some pixels go with it.
_FLOAT32_LIMITS = (1, 1e-2, 1e-2)  # largest difference, share of pixels that differ, mean difference
_COARSE_LIMITS = (24, 1.0, 0.25)


@dataclasses.dataclass(frozen=True)
class GoldenCheck:
    """One golden image beside the one drawn now.

    Attributes:
        seed: of the image.
        largest: difference of a pixel, in levels of 0 to 255.
        share: of the pixels that differ.
        mean: difference of all pixels, in levels.
        passed: whether the two are the same, up to the rounding of the file's precision.
    """

    seed: int
    largest: int
    share: float
    mean: float
    passed: bool


def check_golden(sampler: Sampler) -> list[GoldenCheck]:
    """Draw the golden images of a file on the sampler's provider, and return how far each is from its picture in the file.

    Raises:
        ContractError: the file holds no golden images, or a damaged picture of them.
    """
    seeds = list(sampler.model.golden["seeds"])
    if not seeds:
        raise ContractError("golden.seeds", "there is no golden image to compare with")
    stored = _read_golden(sampler, len(seeds))
    apart = np.abs(sampler.sample(seeds).astype(np.int16) - stored)
    limits = _FLOAT32_LIMITS if sampler.model.precision == "float32" else _COARSE_LIMITS
    checks = []
    for seed, levels in zip(seeds, apart, strict=True):
        measured = int(levels.max()), float((levels > 0).mean()), float(levels.mean())
        passed = all(value <= limit for value, limit in zip(measured, limits, strict=True))
        checks.append(GoldenCheck(seed, *measured, passed))
    return checks


def _read_golden(sampler: Sampler, count: int) -> npt.NDArray[np.uint8]:
    """Return the golden images, uint8 (count, height, width, channels)."""
    field = "golden.png_base64"
    try:
        content = base64.b64decode(sampler.model.golden["png_base64"], validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as png:
            grid = np.asarray(png)
        return split_grid(grid[..., np.newaxis] if grid.ndim == 2 else grid, count, sampler.model.image.shape)
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ContractError(field, "it is no PNG picture") from error
    except ValueError as error:
        raise ContractError(field, str(error)) from error
