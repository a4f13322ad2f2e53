"""Fixtures of the evaluation tests: the data set `digits`, and a small reference."""

import dataclasses

import pytest

from ganport.datasets import load_images
from ganport.evaluation import FeatureNetwork, load_reference


@pytest.fixture(scope="session")
def digits():
    return load_images("digits")


@pytest.fixture(scope="session")
def reference():
    """The reference of MNIST with a fifth of its images, so that distances are computed quickly."""
    whole = load_reference("mnist")
    return dataclasses.replace(whole, features=whole.features[::5])


@pytest.fixture(scope="session")
def network():
    return FeatureNetwork("mnist")
