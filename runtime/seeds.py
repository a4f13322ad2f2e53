"""Seeds: whole numbers, 0 <= seed < 2**63, one per image; texts that list them, and the seeds of names."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .arrays import Seeds
from .display import shortened
from .errors import SeedError, UsageError

SEED_LIMIT = 2**63
_INT64 = np.dtype(np.int64)
_ITEM = r"(\d+)(?:-(\d+))?"


def check_seeds(seeds: Iterable[int]) -> Seeds:
    """Return the seeds as an int64 array of shape (n,), n >= 1.

    Args:
        seeds: Whole numbers in [0, 2**63) in any order and with repetitions: a range, a list, or an integer
            array.

    Raises:
        SeedError: There are no seeds, or a seed is not a whole number or is out of range.

    >>> check_seeds(range(3)).tolist()
    [0, 1, 2]
    """
    if isinstance(seeds, np.ndarray):
        return _check_array(seeds)
    if isinstance(seeds, str):
        raise SeedError(seeds, "is a text, which parse_seeds turns into a list")
    try:
        checked = [_check_seed(seed) for seed in seeds]
    except TypeError:
        raise not_a_list(seeds) from None
    if not checked:
        raise SeedError(seeds, "is an empty list")
    return np.array(checked, dtype=np.int64)


def not_a_list(seeds: object) -> SeedError:
    """Return the error about a value that is not a list of seeds."""
    is_seed = isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool)
    hint = f" (write [{seeds}] for one seed)" if is_seed else ""
    return SeedError(seeds, f"is not a list of seeds{hint}")


def parse_seeds(text: str, *, at_most: int = 10_000_000) -> Seeds:
    """Return the seeds that a text lists, as an int64 array of shape (n,), in the order written.

    Args:
        text: Numbers and ranges, separated by commas, such as "0-63" or "0,5,9-12". A range includes
            both ends.
        at_most: Largest number of seeds. It is checked before any memory is allocated.

    Raises:
        SeedError: The text is malformed, a seed is out of range, a range runs backwards, or there are too
            many seeds.

    >>> parse_seeds("0,5,9-12").tolist()
    [0, 5, 9, 10, 11, 12]
    """
    if not isinstance(text, str):
        raise SeedError(text, "is not a text")
    spans = [_parse_item(item.strip()) for item in text.split(",")]
    count = sum(last - first + 1 for first, last in spans)
    if count > at_most:
        raise SeedError(text, f"lists {count:,} seeds, and the limit is {at_most:,}")
    return np.concatenate([first + np.arange(last - first + 1, dtype=np.int64) for first, last in spans])


def seed_of(text: str) -> int:
    """Return the seed of a name, or of any other text: a whole number in [0, 2**63).

    The seed is the first 8 bytes of the SHA-256 hash of the text (FIPS 180-4), read as a big-endian number
    without its highest bit. The text is hashed as UTF-8, in Unicode's normal form C, in which a letter with
    an accent has the same bytes however it was typed. Nothing else is changed: upper and lower case and
    spaces matter. The HTTP service (`/v1/images/by-name/`) and the JavaScript module (`seedOf`) compute the
    same seed.

    Args:
        text: Text of any length, but not empty.

    Raises:
        UsageError: `text` is not a str, is empty, or is not valid Unicode.

    >>> seed_of("alice")
    3159282601090220207
    """
    if not isinstance(text, str) or not text:
        raise UsageError(f"`text` is {shortened(text)}; it must be a text of one or more characters.")
    # Only this function needs these modules, and a program that generates one image does not import them.
    import hashlib
    import unicodedata

    try:
        encoded = unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"`text` is {shortened(text)}, which is not valid Unicode: half of a surrogate pair is missing."
        ) from error
    return int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big") & (SEED_LIMIT - 1)


def _parse_item(item: str) -> tuple[int, int]:
    match = re.fullmatch(_ITEM, item)
    # A seed has at most 19 digits. Longer texts are rejected before int(), which raises a ValueError for
    # thousands of digits.
    if match is None or not item.isascii() or len(item) > 2 * 19 + 1:
        raise SeedError(item, "is not a seed or a range of seeds")
    first = _check_seed(int(match[1]))
    last = _check_seed(int(match[2])) if match[2] else first
    if last < first:
        raise SeedError(item, f"is a range that runs backwards (write {last}-{first})")
    return first, last


def _check_seed(seed: object) -> int:
    if isinstance(seed, (bool, np.bool_)):
        raise SeedError(seed, "is a bool")
    try:
        number = operator.index(seed)  # type: ignore[arg-type]  # rejects floats and strings, takes NumPy integers
    except TypeError:
        raise SeedError(seed, "is not a whole number") from None
    if not 0 <= number < SEED_LIMIT:
        raise SeedError(number, "is out of range")
    return number


def _check_array(seeds: npt.NDArray[np.generic]) -> Seeds:
    if seeds.ndim != 1 or seeds.dtype.kind not in "iu":
        raise SeedError(
            f"array of {seeds.dtype} with shape {seeds.shape}", "is not a flat array of whole numbers"
        )
    if seeds.size == 0:
        raise SeedError(seeds, "is an empty list")
    checked: Seeds = seeds.astype(_INT64)
    # Every int64 value of 0 or more is a valid seed, so an int64 array without negative values is accepted.
    # `np.minimum.reduce` is a method in C. `ndarray.min` and `ndarray.any` are Python functions around such
    # methods. Directly after a session has run, their code is no longer in the CPU's cache.
    if seeds.dtype != _INT64 or np.minimum.reduce(checked) < 0:
        for extreme in (seeds.min(), seeds.max()):
            _check_seed(extreme)
    return checked
