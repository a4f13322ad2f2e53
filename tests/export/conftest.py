"""Fixtures of the export tests: a generator of mnist-dense with random weights, as if trained."""

from __future__ import annotations

import numpy as np
import pytest

from ganport.trainer.devices import load_tensorflow

load_tensorflow()

import keras  # noqa: E402

from ganport.export import workload  # noqa: E402
from ganport.export.sources import Source  # noqa: E402
from ganport.trainer.recipes import load_recipe  # noqa: E402

COMPARED_IMAGES = 72  # more than one batch


@pytest.fixture(autouse=True)
def fewer_compared_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare fewer images in each export than the 256 of a user's export."""
    monkeypatch.setattr(workload, "_MOST_IMAGES", COMPARED_IMAGES)


def shake(model: keras.Model) -> keras.Model:
    """Give every weight and statistic a value that affects the images: no bias of 0, no variance of 1."""
    rng = np.random.default_rng(5)
    for variable in model.variables:
        value = np.asarray(variable.value)
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 2.0, value.shape))
        else:
            variable.assign(value + 0.1 * rng.standard_normal(value.shape))
    return model


@pytest.fixture(scope="session")
def dense() -> keras.Model:
    return shake(load_recipe("mnist-dense").build_generator(100, (28, 28, 1)))


@pytest.fixture(scope="session")
def source(dense: keras.Model) -> Source:
    return Source(name="shaken", generator=dense, data={"name": "none", "images": 0, "licence": "CC0"})
