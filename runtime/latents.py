"""Seed -> latent, bit-identical on every host: a counter and a table; no floating-point arithmetic but to make the table.

1. Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The key is the seed (low word,
   high word); block b uses the counter (b, 0, 0, 0) and gives four 32-bit words.
2. A word gives two 16-bit numbers, high half first.
3. A 16-bit number becomes a normal variate by one look-up: bit 15 is the sign, the next 12 bits choose the magnitude. The table
   is computed in double precision and rounded to float32, which hides the last bits where hosts may differ; its hash is tested.

So latent j of a seed depends on that seed and j alone, never on the batch, the order, or an earlier draw.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .seeds import check_seeds

_LOW, _HIGH = (0, 1) if sys.byteorder == "little" else (1, 0)  # words of a 64-bit product
# The multipliers and key increments of Philox4x32, table 2 and section 3.3 of the paper, one per pair of words.
MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint32).reshape(2, 1, 1)
KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint32).reshape(2, 1, 1)
_WIDE_MULTIPLIERS = MULTIPLIERS.astype(np.uint64)
ROUNDS = 10
LATENTS_PER_BLOCK = 8
_MAGNITUDES = 4096

_WORD = 0xFFFFFFFF
(_MULTIPLIER, _OTHER_MULTIPLIER), (_KEY_STEP, _OTHER_KEY_STEP) = (
    [int(each) for each in pair.ravel()] for pair in (MULTIPLIERS, KEY_STEPS)
)
_FEW = 4  # seeds that are faster one by one


def latents_of(seeds: Iterable[int], dim: int) -> npt.NDArray[np.float32]:
    """Return the standard normal latents of the seeds.

    Args:
        seeds: as for `check_seeds`.
        dim: latents per seed, at least 1.

    Returns:
        Shape (n, dim), float32, from a table of 8,192 values in [-3.85, 3.85].

    Raises:
        SeedError: as `check_seeds`.

    >>> latents_of([0], 100)[0, :2].tolist()
    [1.2757996320724487, -1.3375895023345947]
    """
    seeds = check_seeds(seeds)
    blocks = -(-dim // LATENTS_PER_BLOCK)
    if len(seeds) <= _FEW:
        numbers = np.stack([_numbers_of_one(seed, blocks) for seed in seeds.tolist()])
    else:
        numbers = _numbers_of_many(seeds, blocks)
    return signed_normal_table().take(numbers[:, :dim] >> 3)


def labels_of(seeds: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Return the class of each seed where none is asked for, shape (n,): the classes in turn, so that all are as frequent."""
    return seeds % classes


def labels_by_share(count: int, shares: Sequence[float]) -> npt.NDArray[np.int64]:
    """Return the classes of so many images, shape (count,), in order: each as often as its share, a number in [0, 1], says.

    >>> labels_by_share(8, (0.25, 0.75)).tolist()
    [0, 0, 1, 1, 1, 1, 1, 1]
    """
    return np.searchsorted(np.cumsum(shares)[:-1], (np.arange(count) + 0.5) / count, side="right")


def with_classes(latents: npt.NDArray[np.float32], labels: npt.NDArray[np.integer], classes: int) -> npt.NDArray[np.float32]:
    """Return latents (n, dim) and behind them one number per class, 1 for the image's own: shape (n, dim + classes)."""
    return np.concatenate([latents, np.eye(classes, dtype=np.float32)[labels]], axis=1)


def generator_inputs(
    seeds: npt.NDArray[np.int64], dim: int, classes: int, labels: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.float32]:
    """Return what a trained network draws the seeds from, shape (n, dim + classes).

    Args:
        seeds: as for `latents_of`.
        dim: latents per seed.
        classes: that the generator draws on demand; 0 for none.
        labels: the class of each seed, shape (n,); by default its own of `labels_of`.
    """
    latents = latents_of(seeds, dim)
    if not classes:
        return latents
    return with_classes(latents, labels_of(seeds, classes) if labels is None else labels, classes)


def _numbers_of_many(seeds: npt.NDArray[np.int64], blocks: int) -> npt.NDArray[np.uint16]:
    """Return the 16-bit numbers of seeds, shape (n, 8 * blocks): array by array, which many seeds are worth."""
    counters = np.zeros((4, blocks, 1), dtype=np.uint32)
    counters[0, :, 0] = np.arange(blocks)
    keys = np.empty((2, 1, len(seeds)), dtype=np.uint32)
    keys[0, 0] = seeds & 0xFFFFFFFF
    keys[1, 0] = seeds >> 32
    numbers = np.empty((len(seeds), blocks, 4, 2), dtype=np.uint16)
    for place, word in enumerate(philox4x32(counters, keys)):  # each (blocks, n)
        numbers[:, :, place, 0] = (word >> 16).T
        numbers[:, :, place, 1] = word.T  # its lower half
    return numbers.reshape(len(seeds), -1)


def _numbers_of_one(seed: int, blocks: int) -> npt.NDArray[np.uint16]:
    """Return the 16-bit numbers of one seed, shape (8 * blocks,): the blocks side by side in Python's long integers.

    Each has 64 bits of the integer, which is room for a product, so that one operation does all blocks. For one seed that takes
    a fifth of the time of NumPy's calls.
    """
    ones, counters = _lanes(blocks)
    low = ones * _WORD
    first, second, third, fourth = counters, 0, 0, 0
    key, other_key = seed & _WORD, seed >> 32
    for _ in range(ROUNDS):
        product, other_product = first * _MULTIPLIER, third * _OTHER_MULTIPLIER
        first = (other_product >> 32 & low) ^ second ^ key * ones
        third = (product >> 32 & low) ^ fourth ^ other_key * ones
        second, fourth = other_product & low, product & low
        key, other_key = (key + _KEY_STEP) & _WORD, (other_key + _OTHER_KEY_STEP) & _WORD
    pairs = b"".join(part.to_bytes(8 * blocks, "little") for part in (first | second << 32, third | fourth << 32))
    # (pair, block, word, half), where a host counts halves from the low one
    halves = np.frombuffer(pairs, dtype="<u2").reshape(2, blocks, 2, 2)[..., ::-1]
    return halves.swapaxes(0, 1).reshape(-1)


@functools.cache
def _lanes(blocks: int) -> tuple[int, int]:
    """Return so many ones, and the numbers from 0 on, each in 64 bits of its own."""
    return sum(1 << 64 * block for block in range(blocks)), sum(block << 64 * block for block in range(blocks))


def slerp(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], place: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return what lies between latents on the great circle through both (Shoemake, SIGGRAPH 1985).

    Normal latents of many dimensions lie near a sphere; on the straight line between two, all are too short. Where both point
    the same way, or opposite ways, the circle is not defined, and the line is taken.

    Args:
        first: latents, shape (n, dim).
        second: latents, shape (n, dim).
        place: shape (n,), 0 is the first, 1 the second.

    Returns:
        Shape (n, dim), float32.

    >>> slerp(np.float32([[1, 0]]), np.float32([[0, 1]]), np.array([0.5])).round(3).tolist()
    [[0.7070000171661377, 0.7070000171661377]]
    """
    a, b, t = first.astype(np.float64), second.astype(np.float64), place[:, np.newaxis]
    lengths = np.linalg.norm(a, axis=1, keepdims=True) * np.linalg.norm(b, axis=1, keepdims=True)
    cosine = (a * b).sum(axis=1, keepdims=True) / np.maximum(lengths, np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    curved = sine > 1e-6
    safe = np.where(curved, sine, 1)
    weights = [np.where(curved, np.sin(part * angle) / safe, part) for part in (1 - t, t)]
    return (weights[0] * a + weights[1] * b).astype(np.float32)


def philox4x32(counters: npt.NDArray[np.uint32], keys: npt.NDArray[np.uint32]) -> list[npt.NDArray[np.uint32]]:
    """Return the output words of Philox4x32-10 (Salmon et al. 2011, section 3.3).

    Args:
        counters: shape (4, ...).
        keys: shape (2, ...); broadcast against the counters.

    Returns:
        Four words, each of the broadcast shape.
    """
    shape = np.broadcast_shapes(counters[0::2].shape, keys.shape)
    # Words 0 and 2 are multiplied, words 1 and 3 are mixed in: both lanes go through each operation together. The words to
    # multiply are the low halves of 64 bits, so that nothing is converted and no array is made within a round.
    wide, *products = (np.zeros(shape, np.uint64) for _ in range(3))
    multiplied = _halves(wide, _LOW)
    multiplied[:] = counters[0::2]
    mixed, both = counters[1::2], np.empty(shape, np.uint32)
    # What one product mixes in, the round after the next writes over.
    high, low = ([_halves(product, half)[::-1] for product in products] for half in (_HIGH, _LOW))
    schedule = keys + KEY_STEPS * np.arange(ROUNDS, dtype=np.uint32).reshape(ROUNDS, 1, 1, 1)  # modulo 2**32
    for round_, round_keys in enumerate(schedule):
        turn = round_ % 2
        np.multiply(wide, _WIDE_MULTIPLIERS, out=products[turn])
        np.bitwise_xor(high[turn], mixed, out=both)
        np.bitwise_xor(both, round_keys, out=multiplied)
        mixed = low[turn]
    return [multiplied[0], mixed[0], multiplied[1], mixed[1]]


def _halves(words: npt.NDArray[np.uint64], half: int) -> npt.NDArray[np.uint32]:
    """Return a view of the low or the high halves."""
    return words.view(np.uint32)[..., half::2]


@functools.cache
def normal_table() -> npt.NDArray[np.float32]:
    """Return the magnitudes: entry k is the quantile 1/2 + (k + 1/2) / 8192 of the standard normal, shape (4096,)."""
    import statistics  # 20 ms, which an import of this package need not take

    quantile = statistics.NormalDist().inv_cdf
    return np.array([quantile(0.5 + (k + 0.5) / (2 * _MAGNITUDES)) for k in range(_MAGNITUDES)], dtype=np.float32)


@functools.cache
def signed_normal_table() -> npt.NDArray[np.float32]:
    """Return the table that sign and magnitude index together: positive half first, shape (8192,)."""
    return np.concatenate([normal_table(), -normal_table()])
