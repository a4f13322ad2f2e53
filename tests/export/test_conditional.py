"""Conditional generators: every kind of input generates the requested label, in every precision."""

import keras
import numpy as np
import pytest

from ganport.export import Options, export_generator
from ganport.export.card import write_card
from ganport.export.costs import measure_costs
from ganport.export.sources import Source
from ganport.export.verified import convert_and_verify
from ganport.export.writing import write_model
from ganport.runtime import Sampler, to_uint8
from ganport.runtime.golden import check_golden
from ganport.runtime.latents import append_one_hot, sample_latents
from ganport.trainer.recipes import load_recipe
from tests.export.conftest import shake

LABELS = ("a", "b", "c")
DIM = 8


@pytest.fixture(scope="module")
def generator():
    return shake(load_recipe("mnist-conditional").build_generator(DIM + len(LABELS), (28, 28, 1)))


@pytest.fixture(scope="module")
def source(generator) -> Source:
    return Source(name="conditional", generator=generator, labels=LABELS)


def expected(generator: keras.Model, seeds, indices):
    inputs = append_one_hot(sample_latents(np.array(seeds), DIM), np.array(indices), len(LABELS))
    return to_uint8(generator(inputs, training=False).numpy())


@pytest.mark.parametrize("kind", ["latent", "seed"])
@pytest.mark.parametrize(
    ("precision", "batch", "limit"), [("float32", None, 1), ("float32", 4, 1), ("int8", None, 60)]
)
def test_requested_label_is_generated_as_keras_generates_it(
    source, generator, tmp_path, kind, precision, batch, limit
):
    options = Options(input_kind=kind, precision=precision, batch=batch, allow_loss=precision != "float32")
    export_generator(source, tmp_path / "x.onnx", options)
    with Sampler(tmp_path / "x.onnx") as sampler:
        assert sampler.contract.input.labels == LABELS
        by_default = [0, 1, 2, 0, 1, 2]
        for requested, indices in (
            ("b", [1] * 6),
            ([2, 0, 1, 1, 0, 2], [2, 0, 1, 1, 0, 2]),
            (None, by_default),
        ):
            images = sampler.sample(range(6), labels=requested).astype(int)
            assert np.abs(images - expected(generator, range(6), indices)).max() <= limit
        difference = sampler.sample([7], labels="a").astype(int) - sampler.sample([7], labels="b")
        assert np.abs(difference).mean() > 1
        assert all(check.passed for check in check_golden(sampler))


def test_fixed_file_holds_the_default_labels_of_its_seeds(source, generator, tmp_path):
    export_generator(source, tmp_path / "x.onnx", Options(input_kind="fixed", seeds=(4, 9)))
    images = Sampler(tmp_path / "x.onnx").sample([9, 4]).astype(int)
    assert np.abs(images - expected(generator, [9, 4], [0, 1])).max() <= 1


def test_costs_card_and_triton_configuration_know_the_label_input(source, tmp_path):
    verified = convert_and_verify(source, Options(input_kind="seed"))
    assert measure_costs([verified.model])[0].milliseconds
    write_model(verified, tmp_path / "served", "triton")
    config = (tmp_path / "served" / "config.pbtxt").read_text()
    assert 'name: "seed" data_type: TYPE_INT64' in config
    assert 'name: "label" data_type: TYPE_INT64' in config
    write_model(verified, tmp_path / "x.onnx")
    page, _ = write_card(tmp_path / "x.onnx", tmp_path)
    assert "`label`, int64 [batch]: index of a label in a, b, c" in page.read_text()
