"""Golden images: comparing the images that a file generates now with those that it generated at export."""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from .arrays import Pixels
from .contract import Precision
from .errors import ContractError, DescriptionMismatchError, GoldenMismatchError, UsageError
from .images import split_grid
from .sampler import Sampler

Verdict = Literal["same", "within tolerance", "different"]

_FEW_VALUES = 4  # number of values of an image that may differ by one level in any case
_PICTURE_SIDE = 128  # least side of one image in the picture of the differences, in pixels
_PICTURE_GAP = 4


class Tolerance(NamedTuple):
    """Limits for the difference between an image and its golden image.

    Attributes:
        largest: Limit for the largest difference of a value, in levels of 0 to 255.
        share: Limit for the share of the values that differ. Four values may differ by one level anyway.
        mean: Limit for the mean difference of all values, in levels.
    """

    largest: int
    share: float
    mean: float


# Two devices add numbers in different orders, so they round the sums differently. In float32 this changes a
# value by at most one level: on CPUs very seldom, and on a GPU with TF32 once in a hundred values. In int8
# and in float16 arithmetic, an activation can have only few values. One device may round a sum to the value
# above it, and the other device to the value below. Some pixels then differ by several levels.
_CPU = Tolerance(largest=1, share=1e-3, mean=1e-3)
_OTHER_PROVIDERS = Tolerance(largest=1, share=1e-2, mean=1e-2)
_COARSE = Tolerance(largest=24, share=1.0, mean=0.25)


def tolerance_of(precision: Precision, provider: str) -> Tolerance:
    """Return the limits for images of a precision on a provider. docs/contract.md has them as a table."""
    if precision in ("int8", "float16-arithmetic"):
        return _COARSE
    return _CPU if provider == "cpu" else _OTHER_PROVIDERS


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

    @property
    def verdict(self) -> Verdict:
        """Whether the images are the same, differ within the tolerance, or differ by more."""
        if not self.passed:
            return "different"
        return "within tolerance" if self.largest else "same"


class GoldenComparison(NamedTuple):
    """The comparison of several images.

    Attributes:
        checks: The comparison of each image.
        expected: Images to compare with, uint8 (n, height, width, channels).
        generated: Images that are generated now, of the same shape.
    """

    checks: list[GoldenCheck]
    expected: Pixels
    generated: Pixels


def check_golden(sampler: Sampler) -> list[GoldenCheck]:
    """Compare the golden images in a file with images that the sampler generates for the same seeds.

    Returns one comparison for each image.

    Raises:
        UsageError: The file is third-party, so it holds no golden images.
        ContractError: The file holds no golden images although ganport wrote it, or their PNG is damaged.
    """
    return compare_golden(sampler).checks


def compare_golden(sampler: Sampler) -> GoldenComparison:
    """Do what `check_golden` does, and return the images, too."""
    seeds = list(sampler.contract.golden["seeds"])
    if not sampler.contract.created_by:
        raise UsageError(
            "This is a third-party model, which holds no golden images; `ganport export FILE.onnx` checks it "
            "and writes a file that holds them."
        )
    if not seeds:
        raise ContractError("golden.seeds", "there is no golden image to compare with")
    stored = _read_golden(sampler, len(seeds))
    generated = sampler.sample(seeds)
    limits = tolerance_of(sampler.contract.precision, sampler.provider)
    checks = [_compare(*each, limits) for each in zip(seeds, stored, generated, strict=True)]
    return GoldenComparison(checks, stored, generated)


def _compare(seed: int, expected: Pixels, generated: Pixels, limits: Tolerance) -> GoldenCheck:
    levels = _differences(expected, generated)
    largest, count, total = int(levels.max()), int((levels > 0).sum()), int(levels.sum())
    is_rare = count <= max(limits.share * levels.size, _FEW_VALUES)
    is_near = total <= max(limits.mean * levels.size, _FEW_VALUES)
    passed = largest <= limits.largest and is_rare and is_near
    return GoldenCheck(seed, largest, count / levels.size, total / levels.size, passed)


def _differences(a: Pixels, b: Pixels) -> npt.NDArray[np.int16]:
    levels: npt.NDArray[np.int16] = np.abs(a.astype(np.int16) - b)
    return levels


def difference_picture(comparison: GoldenComparison) -> tuple[Pixels, int]:
    """Return a picture of a comparison, uint8 (height, width, channels), and its amplification.

    The picture has three rows: the golden images, the images that are generated now, and their differences.
    The largest difference is white: each level is multiplied by the amplification.
    """
    levels = _differences(comparison.expected, comparison.generated)
    factor = 255 // max(1, int(levels.max()))
    shown = (levels * factor).astype(np.uint8)
    if shown.shape[-1] == 4:
        shown[..., 3] = 255  # a difference of the alpha channel would be transparent
    height, width = shown.shape[1:3]
    scale = max(1, -(-_PICTURE_SIDE // max(height, width)))
    rows = [_row(images, scale) for images in (comparison.expected, comparison.generated, shown)]
    return np.concatenate(rows)[:-_PICTURE_GAP], factor


def _row(images: Pixels, scale: int) -> Pixels:
    """Return images side by side, with each pixel as a square, and with gaps to the right and below."""
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    gaps = [(0, 0), (0, _PICTURE_GAP), (0, _PICTURE_GAP), (0, 0)]
    cells = np.pad(large, gaps, constant_values=128)
    return np.concatenate(list(cells), axis=1)[:, :-_PICTURE_GAP]


def require_golden(sampler: Sampler, checks: list[GoldenCheck]) -> None:
    """Raise GoldenMismatchError unless all comparisons passed."""
    failed = [check.seed for check in checks if not check.passed]
    if failed:
        raise GoldenMismatchError(sampler.model.source, sampler.provider, failed)


def check_description_beside(sampler: Sampler) -> None:
    """Raise DescriptionMismatchError if NAME.json beside the model NAME.onnx describes another file.

    `export --for` writes such a description. Other JSON files, such as the report of an evaluation, are not
    looked at.
    """
    source = sampler.model.source
    path = source.with_suffix(".json") if isinstance(source, Path) else None
    if path is None or not path.is_file():
        return
    content = path.read_bytes()
    try:
        stated = json.loads(content)
    except (ValueError, RecursionError):
        if b'"created_by"' in content:
            raise DescriptionMismatchError(path, "the whole text, which is damaged,") from None
        return
    if not isinstance(stated, dict) or "seed_rule" not in stated:
        return
    contract = json.loads(json.dumps(sampler.contract.to_dict()))
    for field, value in contract.items():
        if stated.get(field) != value:
            raise DescriptionMismatchError(path, repr(field))


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
