"""The generators in the box."""

import pickle

import numpy as np
import pytest

from ganport.runtime import BUNDLED, Sampler, check_golden
from ganport.runtime.errors import ModelNotFoundError
from ganport.runtime.sampler import DEFAULT


@pytest.mark.parametrize("name", BUNDLED)
def test_each_draws_what_it_drew_when_it_was_made(name):
    assert BUNDLED[name].stat().st_size <= 4e6
    sampler = Sampler(name)
    assert sampler.model.data["licence"]
    assert all(check.passed for check in check_golden(sampler))


def test_default_is_one_of_them():
    drawn = Sampler().sample(range(5))
    np.testing.assert_array_equal(drawn, Sampler(DEFAULT).sample(range(5)))
    np.testing.assert_array_equal(drawn, pickle.loads(pickle.dumps(Sampler())).sample(range(5)))
    assert drawn.std() > 50  # digits, not a grey field


def test_name_that_is_none_of_them_is_a_path():
    with pytest.raises(ModelNotFoundError):
        Sampler("cifar")
