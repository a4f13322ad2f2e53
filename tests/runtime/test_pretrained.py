"""The pretrained generators that come with the package."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from ganport.runtime import PRETRAINED, Sampler, check_golden
from ganport.runtime.errors import ModelNotFoundError, UnsupportedModelError
from ganport.runtime.pretrained import DEFAULT, default_pretrained
from tests.conftest import failure


@pytest.mark.parametrize("name", PRETRAINED)
def test_each_pretrained_generator_generates_its_golden_images(name):
    assert PRETRAINED[name].stat().st_size <= 4e6
    sampler = Sampler(name)
    assert sampler.contract.data["licence"]
    assert all(check.passed for check in check_golden(sampler))


def test_default_generator_is_a_pretrained_one():
    assert default_pretrained() == PRETRAINED[DEFAULT]
    images = Sampler().sample(range(5))
    np.testing.assert_array_equal(images, Sampler(DEFAULT).sample(range(5)))
    np.testing.assert_array_equal(images, pickle.loads(pickle.dumps(Sampler())).sample(range(5)))
    assert images.std() > 50  # digits, not a grey field


@pytest.mark.parametrize("name", ["cifar", "./cifar", "MNIST", ""])
def test_name_that_is_not_pretrained_is_a_path(name):
    with pytest.raises(ModelNotFoundError):
        Sampler(name)


def test_similar_name_gets_an_error_that_lists_the_names():
    expected = "or name a pretrained generator: faces, fashion-mnist, mnist, rock-paper-scissors"
    with pytest.raises(ModelNotFoundError, match=expected):
        Sampler("minst")


def test_name_means_the_pretrained_generator_even_beside_a_file_of_that_name(tmp_path, monkeypatch, ganport):
    monkeypatch.chdir(tmp_path)
    Path("mnist").write_bytes(b"not a model")
    expected = Sampler(PRETRAINED["mnist"]).sample(range(4))
    np.testing.assert_array_equal(Sampler("mnist").sample(range(4)), expected)
    generated = ganport("sample", "mnist", "--seeds", "0-3", "--out", "x.npy")
    assert generated.returncode == 0, generated.stderr
    np.testing.assert_array_equal(np.load("x.npy"), expected)


@pytest.mark.parametrize("name", ["./mnist", Path("mnist"), Path("./mnist")])
def test_path_means_the_file_even_if_a_pretrained_generator_has_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match="No model file at mnist"):
        Sampler(name)
    Path("mnist").write_bytes(b"not a model")
    with pytest.raises(UnsupportedModelError, match="Can't use mnist: it is a text"):
        Sampler(name)


def test_path_means_the_file_on_the_command_line_too(tmp_path, ganport):
    (tmp_path / "mnist").write_bytes(b"not a model")
    assert "Can't use mnist: it is a text" in failure(ganport("sample", "./mnist"))
