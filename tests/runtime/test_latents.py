"""The seed rule, compared with its known answers (docs/contract.md)."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganport.runtime.errors import UsageError
from ganport.runtime.latents import interpolate, normal_table, philox4x32, sample_latents, slerp, truncate

seeds = st.integers(0, 2**63 - 1)
distributions = st.sampled_from(["normal", "uniform", "uniform01"])


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers(counter, key, expected):
    words = philox4x32(
        np.array(counter, np.uint32).reshape(4, 1, 1), np.array(key, np.uint32).reshape(2, 1, 1)
    )
    assert " ".join(f"{int(word.item()):08x}" for word in words) == expected


def test_table_is_the_known_one():
    digest = hashlib.sha256(normal_table().astype("<f4").tobytes()).hexdigest()
    assert digest == "e8eb444f05726695700203a75ec7530b3f40d467ad7dfe220ba549b4e3000556"


@pytest.mark.parametrize(
    ("seed", "first", "last"),
    [
        (0, [1.2757996320724487, -1.3375895023345947, -1.1777617931365967, -0.7443495392799377], None),
        (
            42,
            [-0.2870841920375824, -1.5446269512176514, 1.8601365089416504, 0.7928650379180908],
            -1.2473198175430298,
        ),
        (
            2**53 + 1,
            [-0.7379064559936523, 0.08470600843429565, -0.802116870880127, -1.4830485582351685],
            None,
        ),
        (2**63 - 1, [], 0.33008861541748047),
    ],
)
def test_latents_are_the_known_ones(seed, first, last):
    latents = sample_latents(np.array([seed]), 100)[0]
    assert latents[: len(first)].tolist() == first
    assert last is None or latents[-1] == np.float32(last)


@pytest.mark.parametrize(
    ("seed", "digest"), [(0, "85292f7f50872ed3"), (1, "a8af2e3c23af1dfa"), (42, "7a769952e0d1f5a8")]
)
def test_all_hundred_latents_are_the_known_ones(seed, digest):
    latents = sample_latents(np.array([seed]), 100)
    assert latents.dtype == np.float32
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("distribution", "seed", "first", "digest"),
    [
        (
            *("uniform", 0),
            [-0.2019195556640625, 0.8190155029296875, 0.7610321044921875, 0.5433807373046875],
            "22f3322ab3b7792c",
        ),
        (
            *("uniform", 42),
            [0.2259063720703125, 0.8775482177734375, -0.0628204345703125, -0.4278717041015625],
            "f5b4ad202f442af4",
        ),
        (
            *("uniform", 2**53 + 1),
            [0.5393218994140625, -0.9324798583984375, 0.5776214599609375, 0.8618316650390625],
            "7d00b20aa88a9969",
        ),
        (
            *("uniform", 2**63 - 1),
            [-0.6023101806640625, -0.3776397705078125, 0.1556243896484375, 0.8512420654296875],
            "485eebd375a03632",
        ),
        (
            *("uniform01", 0),
            [0.39904022216796875, 0.9095077514648438, 0.8805160522460938, 0.7716903686523438],
            "e182268466fa3729",
        ),
        (
            *("uniform01", 42),
            [0.6129531860351562, 0.9387741088867188, 0.46858978271484375, 0.28606414794921875],
            "45a76decd02f196d",
        ),
        (
            *("uniform01", 2**53 + 1),
            [0.7696609497070312, 0.03376007080078125, 0.7888107299804688, 0.9309158325195312],
            "e43a6424f154008f",
        ),
        (
            *("uniform01", 2**63 - 1),
            [0.19884490966796875, 0.31118011474609375, 0.5778121948242188, 0.9256210327148438],
            "51d371049f41404f",
        ),
    ],
)
def test_uniform_latents_are_the_known_ones(distribution, seed, first, digest):
    latents = sample_latents(np.array([seed]), 100, distribution=distribution)
    assert latents.dtype == np.float32
    assert latents[0, :4].tolist() == first
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest()[:16] == digest


def numbers_of(seed: int, dim: int) -> list[int]:
    """Return the 16-bit numbers of a seed, computed from the words of Philox one by one."""
    numbers = []
    for block in range(-(-dim // 8)):
        counter = np.array([block, 0, 0, 0], np.uint32).reshape(4, 1, 1)
        key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32).reshape(2, 1, 1)
        for word in philox4x32(counter, key):
            numbers += [int(word.item()) >> 16, int(word.item()) & 0xFFFF]
    return numbers[:dim]


@given(st.lists(seeds, min_size=1, max_size=8), st.integers(1, 20))
def test_uniform_latents_are_the_exact_fractions_of_the_16_bit_numbers(chosen, dim):
    symmetric, positive = (
        sample_latents(chosen, dim, distribution=each).tolist() for each in ("uniform", "uniform01")
    )
    for row, seed in enumerate(chosen):
        numbers = numbers_of(seed, dim)
        assert symmetric[row] == [Fraction(2 * h + 1, 65_536) - 1 for h in numbers]
        assert positive[row] == [Fraction(2 * h + 1, 131_072) for h in numbers]


@pytest.mark.parametrize("seeds", [[1], range(10)])
@pytest.mark.parametrize("distribution", ["cauchy", "", None, ["uniform"]])
def test_unknown_distribution_is_rejected(seeds, distribution):
    with pytest.raises(UsageError, match=r"`distribution` is .*; it must be one of 'normal', 'uni"):
        sample_latents(seeds, 100, distribution=distribution)


@given(st.lists(seeds, min_size=1, max_size=20), st.integers(1, 40), distributions, st.data())
def test_latent_depends_only_on_its_seed_and_index(chosen, dim, distribution, data):
    together = sample_latents(np.array(chosen, np.int64), dim, distribution=distribution)
    index = data.draw(st.integers(0, len(chosen) - 1))
    longer = dim + data.draw(st.integers(0, 40))
    alone = sample_latents(np.array([chosen[index]], np.int64), longer, distribution=distribution)
    assert together.shape == (len(chosen), dim)
    np.testing.assert_array_equal(together[index], alone[0, :dim])


def test_latents_are_standard_normal():
    latents = sample_latents(np.arange(10_000), 100)
    assert abs(latents.mean()) < 0.003  # three standard errors of a million samples
    assert abs(latents.std() - 1) < 0.003
    assert abs(np.corrcoef(latents[:, 0], latents[:, 1])[0, 1]) < 0.04
    assert abs(np.corrcoef(latents[:-1, 0], latents[1:, 0])[0, 1]) < 0.04  # neighbouring seeds


@pytest.mark.parametrize(("distribution", "mean"), [("uniform", 0.0), ("uniform01", 0.5)])
def test_uniform_latents_fill_their_range_evenly(distribution, mean):
    latents = sample_latents(np.arange(10_000), 100, distribution=distribution)
    width = 2 - 2 * mean
    counts, _ = np.histogram(latents, 16, (mean - width / 2, mean + width / 2))
    assert counts.sum() == latents.size
    assert abs(counts / latents.size * 16 - 1).max() < 0.02  # five standard errors
    assert abs(np.corrcoef(latents[:, 0], latents[:, 1])[0, 1]) < 0.04
    assert abs(np.corrcoef(latents[:-1, 0], latents[1:, 0])[0, 1]) < 0.04  # neighbouring seeds


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("normal", [[-0.25, 0.125, 0.75]]),
        ("uniform", [[-0.25, 0.125, 0.75]]),
        ("uniform01", [[0.0, 0.375, 1.0]]),
    ],
)
def test_truncation_scales_towards_the_mean_of_the_distribution(distribution, expected):
    latents = np.array([[-1, 0.5, 3]], np.float32) / 2
    assert truncate(latents, 1, distribution=distribution) is latents
    half = truncate(latents, 0.5, distribution=distribution)
    assert half.dtype == np.float32
    assert half.tolist() == expected
    mean = 0.5 if distribution == "uniform01" else 0
    assert (truncate(latents, 0, distribution=distribution) == mean).all()


@pytest.mark.parametrize("distribution", ["uniform", "uniform01"])
def test_uniform_latents_are_interpolated_on_a_straight_line(distribution):
    first, second = sample_latents([3, 8], 100, distribution=distribution)[:, np.newaxis]
    position = np.linspace(0, 1, 9)
    points = interpolate(first, second, position, distribution=distribution)
    assert points.dtype == np.float32
    expected = first + position[:, np.newaxis] * (second.astype(np.float64) - first)
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(points[[0, -1]], np.concatenate([first, second]))


def test_normal_latents_are_interpolated_on_the_great_circle():
    first, second = sample_latents([3, 8], 100)[:, np.newaxis]
    position = np.linspace(0, 1, 9)
    points = interpolate(first, second, position, distribution="normal")
    np.testing.assert_array_equal(points, slerp(first, second, position))
    line = interpolate(first, second, position, distribution="uniform")
    assert np.linalg.norm(points[4]) > 1.2 * np.linalg.norm(line[4])
