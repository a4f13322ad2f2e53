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
import statistics

import numpy as np
import numpy.typing as npt

_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
# The multipliers and key increments of Philox4x32, table 2 and section 3.3 of the paper, one per pair of words.
MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64).reshape(2, 1, 1)
KEY_STEPS = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint64).reshape(2, 1, 1)
ROUNDS = 10
LATENTS_PER_BLOCK = 8
_MAGNITUDES = 4096


def sample_latents(seeds: npt.NDArray[np.int64], dim: int) -> npt.NDArray[np.float32]:
    """Return the standard normal latents of the seeds.

    Args:
        seeds: shape (n,), each in [0, 2**63), as `check_seeds` returns them.
        dim: latents per seed, at least 1.

    Returns:
        Shape (n, dim), float32, from a table of 8,192 values in [-3.85, 3.85].

    >>> sample_latents(np.array([0]), 100)[0, :2].tolist()
    [1.2757996320724487, -1.3375895023345947]
    """
    blocks = -(-dim // LATENTS_PER_BLOCK)
    counters = np.zeros((4, 1, blocks), dtype=np.uint64)
    counters[0, 0] = np.arange(blocks)
    keys = np.empty((2, len(seeds), 1), dtype=np.uint64)
    keys[0, :, 0] = seeds & 0xFFFFFFFF
    keys[1, :, 0] = seeds >> 32
    words = philox4x32(counters, keys)  # (4, n, blocks)
    halves = np.stack([words >> np.uint64(16), words & np.uint64(0xFFFF)], axis=-1)  # (4, n, blocks, 2)
    numbers = halves.transpose(1, 2, 0, 3).reshape(len(seeds), -1)[:, :dim]
    # NumPy 2.0 takes no uint64 for places.
    return signed_normal_table().take((numbers >> np.uint64(3)).view(np.int64))


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


def philox4x32(counters: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the output words of Philox4x32-10 (Salmon et al. 2011, section 3.3).

    Args:
        counters: shape (4, ...), 32-bit words held in uint64, which has room for the 32x32-bit products.
        keys: shape (2, ...), 32-bit words; broadcast against the counters.

    Returns:
        Shape (4, ...), 32-bit words in uint64.
    """
    # Words 0 and 2 are multiplied, words 1 and 3 are mixed in: both lanes go through each operation together.
    multiplied, mixed = counters[0::2], counters[1::2]
    for round_ in range(ROUNDS):
        if round_:
            keys = (keys + KEY_STEPS) & _WORD
        products = multiplied * MULTIPLIERS
        multiplied = (products >> _WORD_BITS)[::-1] ^ mixed ^ keys
        mixed = (products & _WORD)[::-1]
    return np.stack([multiplied[0], mixed[0], multiplied[1], mixed[1]])


@functools.cache
def normal_table() -> npt.NDArray[np.float32]:
    """Return the magnitudes: entry k is the quantile 1/2 + (k + 1/2) / 8192 of the standard normal, shape (4096,)."""
    quantile = statistics.NormalDist().inv_cdf
    return np.array([quantile(0.5 + (k + 0.5) / (2 * _MAGNITUDES)) for k in range(_MAGNITUDES)], dtype=np.float32)


@functools.cache
def signed_normal_table() -> npt.NDArray[np.float32]:
    """Return the table that sign and magnitude index together: positive half first, shape (8192,)."""
    return np.concatenate([normal_table(), -normal_table()])
