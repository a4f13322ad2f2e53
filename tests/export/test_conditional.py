"""Classes on demand, exported: every head draws the class that was asked for, in every precision."""

import keras
import numpy as np
import pytest

from ganport.export import Options, Source, export_generator, measure_costs, prove, write_model
from ganport.export.card import write_card
from ganport.runtime import Sampler, to_uint8
from ganport.runtime.golden import check_golden
from ganport.runtime.latents import latents_of, with_classes
from ganport.trainer.recipes import load_recipe_module
from tests.export.conftest import shake

LABELS = ("a", "b", "c")
DIM = 8


@pytest.fixture(scope="module")
def generator():
    return shake(load_recipe_module("mnist-conditional").build_generator(DIM + len(LABELS), (28, 28, 1)))


@pytest.fixture(scope="module")
def source(generator) -> Source:
    return Source(name="classes", generator=generator, labels=LABELS)


def expected(generator: keras.Model, seeds, places):
    inputs = with_classes(latents_of(np.array(seeds), DIM), np.array(places), len(LABELS))
    return to_uint8(generator(inputs, training=False).numpy())


@pytest.mark.parametrize("kind", ["latent", "seed"])
@pytest.mark.parametrize(("precision", "batch", "limit"), [("float32", None, 1), ("float32", 4, 1), ("int8", None, 60)])
def test_class_is_drawn_as_keras_draws_it(source, generator, tmp_path, kind, precision, batch, limit):
    options = Options(input=kind, precision=precision, batch=batch, allow_loss=precision != "float32")
    export_generator(source, tmp_path / "x.onnx", options)
    with Sampler(tmp_path / "x.onnx") as sampler:
        assert sampler.model.input.labels == LABELS
        for asked, places in (("b", [1] * 6), ([2, 0, 1, 1, 0, 2], [2, 0, 1, 1, 0, 2]), (None, [0, 1, 2, 0, 1, 2])):
            apart = np.abs(sampler.sample(range(6), labels=asked).astype(int) - expected(generator, range(6), places))
            assert apart.max() <= limit
        apart = sampler.sample([7], labels="a").astype(int) - sampler.sample([7], labels="b")
        assert np.abs(apart).mean() > 1
        assert all(check.passed for check in check_golden(sampler))


def test_fixed_file_holds_the_classes_of_its_seeds(source, generator, tmp_path):
    export_generator(source, tmp_path / "x.onnx", Options(input="fixed", seeds=(4, 9)))
    assert np.abs(Sampler(tmp_path / "x.onnx").sample([9, 4]).astype(int) - expected(generator, [9, 4], [0, 1])).max() <= 1


def test_bill_card_and_server_know_the_label(source, tmp_path):
    proven = prove(source, Options(input="seed"))
    assert measure_costs([proven.model])[0].milliseconds
    write_model(proven, tmp_path / "served", "triton")
    config = (tmp_path / "served" / "config.pbtxt").read_text()
    assert 'name: "seed" data_type: TYPE_INT64' in config
    assert 'name: "label" data_type: TYPE_INT64' in config
    write_model(proven, tmp_path / "x.onnx")
    page, _ = write_card(tmp_path / "x.onnx", tmp_path)
    assert "`label`, int64 [batch]: 0 to 2 for a, b, c" in page.read_text()
