import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganport.runtime.errors import SeedError, UsageError
from ganport.runtime.seeds import check_seeds, parse_seeds, seed_of
from tests.known_names import KNOWN_NAMES, LONG_NAME, LONG_NAME_SEED


@pytest.mark.parametrize(
    "text",
    ["", " ", "abc", "-1", "1-", "-", "1--2", "9-3", "1,,2", "1,", "1.5", "0x10", "٣", "1-2-3", "9" * 5000],
)
def test_text_that_does_not_list_seeds_is_rejected(text):
    with pytest.raises(SeedError):
        parse_seeds(text, at_most=100)


@pytest.mark.parametrize("text", [str(2**63), f"0-{2**63}"])
def test_seed_out_of_range_is_rejected(text):
    with pytest.raises(SeedError, match="out of range"):
        parse_seeds(text, at_most=2**64)


def test_too_many_seeds_are_rejected_before_memory_is_allocated():
    with pytest.raises(SeedError, match="lists 9,223,372,036,854,775,808 seeds, and the limit is 100"):
        parse_seeds(f"0-{2**63 - 1}", at_most=100)


def test_seeds_keep_their_order_and_repetitions():
    assert parse_seeds("5, 9-11,5", at_most=5).tolist() == [5, 9, 10, 11, 5]
    assert parse_seeds(str(2**63 - 1), at_most=1).tolist() == [2**63 - 1]


@given(st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 9)), min_size=1, max_size=5))
def test_ranges_list_all_their_seeds(spans):
    spans = [(first, min(first + more, 2**63 - 1)) for first, more in spans]
    text = ",".join(f"{first}-{last}" for first, last in spans)
    expected = [seed for first, last in spans for seed in range(first, last + 1)]
    assert parse_seeds(text, at_most=50).tolist() == expected


@pytest.mark.parametrize(
    "seeds",
    [
        [1.0],
        [True],
        [np.True_],
        ["1"],
        [None],
        [-1],
        [2**63],
        [],
        7,
        "12",
        np.array([1.0]),
        np.array([True]),
        np.array([[1]]),
        np.array([], np.int64),
        np.array([-1]),
        np.array([2**63], np.uint64),
    ],
)
def test_values_that_are_not_a_list_of_seeds_are_rejected(seeds):
    with pytest.raises(SeedError) as caught:
        check_seeds(seeds)
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "seeds", [[3, 1], (3, 1), range(3, 0, -2), np.array([3, 1], np.uint8), (seed for seed in (3, 1))]
)
def test_every_kind_of_list_is_accepted(seeds):
    checked = check_seeds(seeds)
    assert checked.dtype == np.int64
    assert checked.tolist() == [3, 1]


@pytest.mark.parametrize("seed", [7, np.int64(7)])
def test_single_seed_is_rejected_with_the_list_to_write(seed):
    with pytest.raises(SeedError, match=r"is not a list of seeds \(write \[7\] for one seed\)"):
        check_seeds(seed)


@pytest.mark.parametrize("value", [True, 7.0, None])
def test_value_that_is_no_seed_gets_no_list_to_write(value):
    with pytest.raises(SeedError) as caught:
        check_seeds(value)
    assert "write" not in str(caught.value)


def test_name_has_a_known_seed():
    for name, seed in KNOWN_NAMES.items():
        assert seed_of(name) == seed, name
    assert seed_of(LONG_NAME) == LONG_NAME_SEED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "`text` is ''; it must be a text of one or more characters"),
        (7, "`text` is 7; it must be a text"),
        (b"alice", "`text` is b'alice'; it must be a text"),
        ("a\ud800", "half of a surrogate pair is missing"),
    ],
)
def test_value_that_has_no_seed_is_named(text, expected):
    with pytest.raises(UsageError, match=expected):
        seed_of(text)
