"""The seed rule, compared with its known answers (docs/contract.md)."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganport.runtime.latents import normal_table, philox4x32, sample_latents

seeds = st.integers(0, 2**63 - 1)


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


@given(st.lists(seeds, min_size=1, max_size=20), st.integers(1, 40), st.data())
def test_latent_depends_only_on_its_seed_and_index(chosen, dim, data):
    together = sample_latents(np.array(chosen, np.int64), dim)
    index = data.draw(st.integers(0, len(chosen) - 1))
    longer = dim + data.draw(st.integers(0, 40))
    alone = sample_latents(np.array([chosen[index]], np.int64), longer)
    assert together.shape == (len(chosen), dim)
    np.testing.assert_array_equal(together[index], alone[0, :dim])


def test_latents_are_standard_normal():
    latents = sample_latents(np.arange(10_000), 100)
    assert abs(latents.mean()) < 0.003  # three standard errors of a million samples
    assert abs(latents.std() - 1) < 0.003
    assert abs(np.corrcoef(latents[:, 0], latents[:, 1])[0, 1]) < 0.04
    assert abs(np.corrcoef(latents[:-1, 0], latents[1:, 0])[0, 1]) < 0.04  # neighbouring seeds
