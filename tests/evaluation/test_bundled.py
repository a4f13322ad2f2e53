"""The pretrained generators: their figures belong to these files, references and measures."""

import dataclasses
import hashlib
import json

import pytest

from ganport.evaluation import evaluate, load_reference
from ganport.runtime import PRETRAINED, Sampler
from ganport.runtime.pretrained import measured_quality
from ganport.trainer.recipes import load_recipe
from scripts.bundle_models import MADE_BY, MODELS, page


@pytest.mark.parametrize("name", PRETRAINED)
def test_figures_belong_to_the_file(name):
    assert measured_quality(name)["sha256"] == hashlib.sha256(PRETRAINED[name].read_bytes()).hexdigest()
    assert PRETRAINED[name].stat().st_size <= 4_000_000


@pytest.mark.parametrize("name", MADE_BY)
def test_figures_belong_to_the_reference(name):
    report = measured_quality(name)
    reference = load_reference(name)
    baseline = reference.label_matched_baseline or reference.baseline
    assert report["images"] == baseline["images"]
    for figure in ("frechet", "kernel", "precision", "recall", "label_accuracy"):
        assert report["baseline"][figure] == baseline[figure]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "rock-paper-scissors"])
def test_evaluate_gives_the_figures_again(name):
    """Copies are only searched if the training images exist. Figures may differ by rounding between CPUs."""
    expected = measured_quality(name)
    report = json.loads(json.dumps(evaluate(name).to_dict()))
    assert report.keys() == expected.keys()
    expected["baseline"].pop("nearest_in_training", None)
    if report["nearest_in_training"] is None:
        expected["nearest_in_training"] = None
    else:  # $GANPORT_DATA has the training images
        report["baseline"].pop("nearest_in_training")
    for key, value in expected.items():
        if isinstance(value, float):
            assert report[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key
        elif key not in ("shares", "margins"):
            assert report[key] == value, key
    assert report["shares"] == pytest.approx(expected["shares"], abs=1e-3)
    assert report["margins"] == pytest.approx(expected["margins"], rel=1e-3)


@pytest.mark.parametrize("name", MADE_BY)
def test_files_are_those_that_the_script_makes(name):
    (recipe, mixed, choice, option, interval), export = MADE_BY[name]
    assert (mixed, choice, option) == ("--mixed-precision", "on", "--evaluate-interval")
    expected = dataclasses.replace(load_recipe(recipe), mixed_precision=True, evaluate_interval=int(interval))
    contract = Sampler(name).contract
    settings = json.loads(json.dumps(expected.to_dict()))
    # Settings that recipes have got since then stand at the values that change nothing.
    newer = {key: settings.pop(key) for key in settings.keys() - contract.recipe.keys()}
    assert not any(newer.values())
    assert contract.recipe == settings
    assert contract.precision == export[export.index("--precision") + 1]
    assert ("--best" in export) or contract.training["steps"] == expected.steps


def test_the_page_agrees_with_the_files_and_their_reports():
    assert (MODELS / "README.md").read_text() == page()
