"""Latents from seeds, bit-identical on every host, by a counter-based generator and a table.

1. Philox4x32-10 turns a seed and a block number into four 32-bit words (Salmon et al., "Parallel random
   numbers: as easy as 1, 2, 3", SC 2011). The key is the seed (low word, high word). The counter of block b
   is (b, 0, 0, 0).
2. Each word gives two 16-bit numbers, the high half first.
3. A table gives the normal variate of each 16-bit number. Bit 15 is the sign, and the next 12 bits choose the
   magnitude. The table is computed in double precision and rounded to float32. Hosts may differ in the last
   bits of a double, and the rounding hides this difference. A test checks the table by its hash.

Uniform latents come from the same 16-bit numbers, but a multiplication and an addition replace the table.
Both are exact in float32, since their results have at most 17 bits.

So latent j of a seed depends on the seed and on j only. It never depends on the batch, on the order, or on
earlier calls. Only the table is computed in floating-point arithmetic that rounds.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from .arrays import LabelIndices, Latents, Seeds
from .contract import Distribution
from .display import shortened
from .errors import UsageError
from .seeds import check_seeds

_LOW, _HIGH = (0, 1) if sys.byteorder == "little" else (1, 0)  # index of each half of a 64-bit word in memory
# Multipliers and key increments of Philox4x32 (table 2 and section 3.3 of the paper). Philox handles its four
# words in two pairs, and each pair has its own multiplier and key increment.
MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint32).reshape(2, 1, 1)
KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint32).reshape(2, 1, 1)
_WIDE_MULTIPLIERS = MULTIPLIERS.astype(np.uint64)
ROUNDS = 10
LATENTS_PER_BLOCK = 8
_MAGNITUDES = 4096  # number of magnitudes in the table; 12 bits choose one of them
# Scale and offset of each uniform distribution. A 16-bit number h becomes h * scale + offset. The values are
# the middles of 65,536 equal parts of (-1, 1) or (0, 1).
UNIFORM_STEPS: Mapping[Distribution, tuple[np.float32, np.float32]] = {
    "uniform": (np.float32(2**-15), np.float32(2**-16 - 1)),
    "uniform01": (np.float32(2**-16), np.float32(2**-17)),
}

_WORD = 0xFFFFFFFF  # mask of the lowest 32 bits
(_MULTIPLIER, _OTHER_MULTIPLIER), (_KEY_STEP, _OTHER_KEY_STEP) = (
    [int(each) for each in pair.ravel()] for pair in (MULTIPLIERS, KEY_STEPS)
)
_FEW = 4  # up to this number of seeds, a loop over the seeds is faster than NumPy's arrays


def sample_latents(seeds: Iterable[int], dim: int, *, distribution: Distribution = "normal") -> Latents:
    """Return the latents of the seeds, float32 (n, dim). By default they are standard normal.

    Normal latents are taken from a table of 8,192 values in [-3.85, 3.85]. Uniform latents have 65,536
    different values.

    Args:
        seeds: Whole numbers in [0, 2**63), in any order.
        dim: Number of latents per seed, at least 1.
        distribution: Distribution of the latents: "normal" for the standard normal distribution, "uniform"
            for the uniform distribution on (-1, 1), "uniform01" for the uniform distribution on (0, 1).

    Raises:
        SeedError: There are no seeds, or a seed is not a whole number or is out of range.
        UsageError: `dim` is less than 1, or the distribution is unknown.

    >>> sample_latents([0], 100)[0, :2].tolist()
    [1.2757996320724487, -1.3375895023345947]
    >>> sample_latents([0], 100, distribution="uniform")[0, :2].tolist()
    [-0.2019195556640625, 0.8190155029296875]
    """
    if dim < 1:
        raise UsageError(f"`dim` is {dim!r}; it must be at least 1.")
    return sample_checked(check_seeds(seeds), dim, distribution=distribution)


def sample_checked(seeds: Seeds, dim: int, *, distribution: Distribution = "normal") -> Latents:
    """Return the latents of seeds that `check_seeds` has checked, float32 (n, dim).

    Raises:
        UsageError: The distribution is unknown.
    """
    if len(seeds) <= _FEW:
        numbers = _numbers_of_few(seeds, dim)
    else:
        numbers = _numbers_of_many(seeds, -(-dim // LATENTS_PER_BLOCK))[:, :dim]
    if distribution == "normal":
        return signed_normal_table().take(numbers >> 3)
    return _to_uniform(numbers, distribution)


def _to_uniform(numbers: npt.NDArray[np.uint16], distribution: Distribution) -> Latents:
    """Return the uniform variate of each 16-bit number, float32. Each step is exact.

    Raises:
        UsageError: The distribution is unknown.
    """
    if distribution not in get_args(Distribution):
        expected = ", ".join(map(repr, get_args(Distribution)))
        raise UsageError(f"`distribution` is {shortened(distribution)}; it must be one of {expected}.")
    scale, offset = UNIFORM_STEPS[distribution]
    return numbers.astype(np.float32) * scale + offset


def truncate(latents: Latents, truncation: float, *, distribution: Distribution) -> Latents:
    """Return the latents, scaled towards the mean of their distribution, float32 (n, dim).

    Args:
        latents: Latents, float32 (n, dim).
        truncation: Factor in [0, 1]. With 1 the latents do not change. With 0 each latent is the mean.
        distribution: Distribution of the latents. The mean of "uniform01" is 0.5, and the mean of the others
            is 0.
    """
    if truncation == 1:
        return latents
    factor = np.float32(truncation)
    if distribution == "uniform01":
        mean = np.float32(0.5)
        return mean + factor * (latents - mean)
    return latents * factor


def default_labels(seeds: Seeds, count: int) -> LabelIndices:
    """Return the default label index of each seed, int64 (n,): seed modulo the number of labels."""
    return seeds % count


def labels_by_share(count: int, shares: Sequence[float]) -> LabelIndices:
    """Return label indices, int64 (count,), in ascending order. Each label is as frequent as its share says.

    Args:
        count: Number of images.
        shares: Share of each label in [0, 1]; their sum is 1.

    >>> labels_by_share(8, (0.25, 0.75)).tolist()
    [0, 0, 1, 1, 1, 1, 1, 1]
    """
    return np.searchsorted(np.cumsum(shares)[:-1], (np.arange(count) + 0.5) / count, side="right")


def append_one_hot(latents: Latents, labels: npt.NDArray[np.integer], count: int) -> Latents:
    """Return latents (n, dim) followed by a one-hot code of each image's label: float32 (n, dim + count).

    Args:
        latents: float32 (n, dim).
        labels: Label indices, (n,).
        count: Number of labels.
    """
    return np.concatenate([latents, one_hot(labels, count)], axis=1)


def one_hot(labels: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.float32]:
    """Return the one-hot code of each label index, float32 (n, count).

    Args:
        labels: Label indices, (n,).
        count: Number of labels.
    """
    codes: npt.NDArray[np.float32] = np.eye(count, dtype=np.float32)[labels]
    return codes


def generator_inputs(
    seeds: Seeds,
    dim: int,
    label_count: int,
    labels: npt.NDArray[np.integer] | None = None,
    *,
    distribution: Distribution = "normal",
) -> Latents:
    """Return the input of a trained Keras generator for the seeds, float32 (n, dim + label_count).

    Args:
        seeds: Seeds, as for `sample_latents`.
        dim: Number of latents per seed.
        label_count: Number of the generator's labels; 0 for none.
        labels: Label index of each seed, (n,). By default `default_labels` chooses the labels.
        distribution: Distribution of the latents.
    """
    latents = sample_latents(seeds, dim, distribution=distribution)
    if not label_count:
        return latents
    chosen = default_labels(seeds, label_count) if labels is None else labels
    return append_one_hot(latents, chosen, label_count)


def _numbers_of_many(seeds: Seeds, blocks: int) -> npt.NDArray[np.uint16]:
    """Return the 16-bit numbers of many seeds, shape (n, 8 * blocks), computed by NumPy for all at once."""
    counters = np.zeros((4, blocks, 1), dtype=np.uint32)
    counters[0, :, 0] = np.arange(blocks)
    keys = np.empty((2, 1, len(seeds)), dtype=np.uint32)
    keys[0, 0] = seeds & 0xFFFFFFFF
    keys[1, 0] = seeds >> 32
    numbers = np.empty((len(seeds), blocks, 4, 2), dtype=np.uint16)
    for index, word in enumerate(philox4x32(counters, keys)):  # each word has the shape (blocks, n)
        numbers[:, :, index, 0] = (word >> 16).T
        numbers[:, :, index, 1] = word.T  # conversion to uint16 keeps the low half
    return numbers.reshape(len(seeds), -1)


def _numbers_of_few(seeds: Seeds, dim: int) -> npt.NDArray[np.uint16]:
    """Return the 16-bit numbers of up to four seeds, shape (n, dim), computed in Python's long integers."""
    blocks = -(-dim // LATENTS_PER_BLOCK)
    pairs = b"".join([_words_of_one(seed, blocks) for seed in seeds.tolist()])
    halves = np.frombuffer(pairs, dtype="<u2").reshape(len(seeds), -1)
    return halves.take(_positions(dim), axis=1)


@functools.cache
def _positions(dim: int) -> npt.NDArray[np.intp]:
    """Return the position of each number in the bytes of `_words_of_one`, (dim,), in units of 16 bits."""
    blocks = -(-dim // LATENTS_PER_BLOCK)
    # The axes are (pair, block, word, half). In the bytes of a word, the low half is first. In the result,
    # the high half is first.
    positions = np.arange(LATENTS_PER_BLOCK * blocks).reshape(2, blocks, 2, 2)[..., ::-1]
    return positions.swapaxes(0, 1).reshape(-1)[:dim]


def _words_of_one(seed: int, blocks: int) -> bytes:
    """Return Philox's words for one seed, computed in Python's long integers.

    The first half of the bytes holds the first two words of each block, the second half the other two. Each
    word is stored in little-endian order.

    Philox computes blocks of four 32-bit words. Four long integers hold all blocks: the first integer holds
    the first word of each block, and so on. Each word is stored in 64 bits, which leave room for the product
    of two words. So one multiplication of long integers multiplies the words of all blocks. For one seed this
    takes a fifth of the time that NumPy takes.
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
    size = 8 * blocks
    return (first | second << 32).to_bytes(size, "little") + (third | fourth << 32).to_bytes(size, "little")


@functools.cache
def _lanes(blocks: int) -> tuple[int, int]:
    """Return two long integers that have 64 bits for each block.

    In the first integer, the 64 bits of each block hold 1. In the second, they hold the block's number.
    """
    return sum(1 << 64 * block for block in range(blocks)), sum(
        block << 64 * block for block in range(blocks)
    )


def interpolate(
    first: Latents, second: Latents, position: npt.NDArray[np.float64], *, distribution: Distribution
) -> Latents:
    """Return points on the way from one latent vector to another, float32 (n, dim).

    Normal latents are interpolated on the great circle (`slerp`). Uniform latents fill a cube, and each point
    of the straight line between two of them is in the cube, so they are interpolated on this line.

    Args:
        first: Latents, (n, dim).
        second: Latents, (n, dim).
        position: Position on the way, shape (n,): 0 at `first`, 1 at `second`.
        distribution: Distribution of the latents.

    >>> first, second = np.float32([[-0.5, 0.5]]), np.float32([[0.5, 1.0]])
    >>> interpolate(first, second, np.array([0.25]), distribution="uniform").tolist()
    [[-0.25, 0.625]]
    """
    if distribution == "normal":
        return slerp(first, second, position)
    t = position[:, np.newaxis]  # float64, so the sum is rounded once
    return ((1 - t) * first + t * second).astype(np.float32)


def slerp(first: Latents, second: Latents, position: npt.NDArray[np.float64]) -> Latents:
    """Return points on the great circle through two latents, float32 (n, dim) (Shoemake, SIGGRAPH 1985).

    Normal latents of many dimensions lie near a sphere. The points on the straight line between two latents
    lie inside the sphere, so they are shorter than normal latents. If the two latents point in the same
    direction or in opposite directions, the great circle is not defined, and the straight line is used.

    Args:
        first: Latents, (n, dim).
        second: Latents, (n, dim).
        position: Position on the circle, shape (n,): 0 at `first`, 1 at `second`.

    >>> slerp(np.float32([[1, 0]]), np.float32([[0, 1]]), np.array([0.5])).round(3).tolist()
    [[0.7070000171661377, 0.7070000171661377]]
    """
    a, b, t = first.astype(np.float64), second.astype(np.float64), position[:, np.newaxis]
    lengths = np.linalg.norm(a, axis=1, keepdims=True) * np.linalg.norm(b, axis=1, keepdims=True)
    cosine = (a * b).sum(axis=1, keepdims=True) / np.maximum(lengths, np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    curved = sine > 1e-6
    safe = np.where(curved, sine, 1)
    weights = [np.where(curved, np.sin(part * angle) / safe, part) for part in (1 - t, t)]
    return (weights[0] * a + weights[1] * b).astype(np.float32)


def philox4x32(
    counters: npt.NDArray[np.uint32], keys: npt.NDArray[np.uint32]
) -> list[npt.NDArray[np.uint32]]:
    """Return the four output words of Philox4x32-10 (Salmon et al. 2011, section 3.3).

    The axes after the first axis of `counters` and `keys` are broadcast. Each word has the broadcast shape.

    Args:
        counters: The four words of the counters, shape (4, ...).
        keys: The two words of the keys, shape (2, ...).
    """
    shape = np.broadcast_shapes(counters[0::2].shape, keys.shape)
    # A round multiplies words 0 and 2 by constants, and combines the products with words 1 and 3 by XOR.
    # `multiplied` holds words 0 and 2, and `mixed` holds words 1 and 3. `multiplied` is a view of the low
    # halves of the 64-bit numbers in `wide`. So the 64-bit products need no conversion and no new memory.
    wide, *products = (np.zeros(shape, np.uint64) for _ in range(3))
    multiplied = _halves(wide, _LOW)
    multiplied[:] = counters[0::2]
    mixed, both = counters[1::2], np.empty(shape, np.uint32)
    # Two product buffers are used alternately. Round r + 1 still reads the low words of round r, and
    # round r + 2 overwrites them.
    high, low = ([_halves(product, half)[::-1] for product in products] for half in (_HIGH, _LOW))
    # The keys of each round. The uint32 arithmetic is modulo 2**32, as Philox requires.
    schedule = keys + KEY_STEPS * np.arange(ROUNDS, dtype=np.uint32).reshape(ROUNDS, 1, 1, 1)
    for round_, round_keys in enumerate(schedule):
        turn = round_ % 2
        np.multiply(wide, _WIDE_MULTIPLIERS, out=products[turn])
        np.bitwise_xor(high[turn], mixed, out=both)
        np.bitwise_xor(both, round_keys, out=multiplied)
        mixed = low[turn]
    return [multiplied[0], mixed[0], multiplied[1], mixed[1]]


def _halves(words: npt.NDArray[np.uint64], half: int) -> npt.NDArray[np.uint32]:
    """Return a view of the low or the high 32-bit halves of 64-bit words."""
    return words.view(np.uint32)[..., half::2]


@functools.cache
def normal_table() -> npt.NDArray[np.float32]:
    """Return the magnitudes of the normal variates, float32 (4096,).

    Entry k is the standard normal quantile of 1/2 + (k + 1/2) / 8192.
    """
    import statistics  # not at the top: the import takes 20 ms, and is not always needed

    quantile = statistics.NormalDist().inv_cdf
    return np.array(
        [quantile(0.5 + (k + 0.5) / (2 * _MAGNITUDES)) for k in range(_MAGNITUDES)], dtype=np.float32
    )


@functools.cache
def signed_normal_table() -> npt.NDArray[np.float32]:
    """Return the positive and then the negative normal variates, float32 (8192,).

    The sign bit and the 12 magnitude bits together are the index.
    """
    return np.concatenate([normal_table(), -normal_table()])
