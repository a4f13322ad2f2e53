"""The generators in the box: their figures are of these files, and of the measure that is there now."""

import dataclasses
import hashlib
import json

import pytest

from ganport.evaluation import load_reference
from ganport.runtime import BUNDLED, Sampler
from ganport.runtime.bundled import figures
from ganport.trainer.recipes import load_recipe_module
from scripts.bundle_models import MADE_BY, MODELS, page


@pytest.mark.parametrize("name", BUNDLED)
def test_figures_are_of_the_file_and_the_real_images_that_are_there(name):
    found = figures(name)
    assert found["sha256"] == hashlib.sha256(BUNDLED[name].read_bytes()).hexdigest()
    reference = load_reference(name)
    floor = reference.floor_by_class or reference.floor
    assert found["images"] == floor["images"]
    for figure in ("frechet", "kernel", "precision", "recall", "agreement"):
        assert found["floor"][figure] == floor[figure]
    assert BUNDLED[name].stat().st_size <= 4_000_000


@pytest.mark.parametrize("name", BUNDLED)
def test_what_lies_there_is_what_the_script_makes(name):
    (recipe, mixed, evaluate, interval), export = MADE_BY[name]
    assert (mixed, evaluate) == ("--mixed-precision", "--evaluate-every")
    due = dataclasses.replace(load_recipe_module(recipe).RECIPE, mixed_precision=True, evaluate_interval=int(interval))
    model = Sampler(name).model
    assert model.recipe == json.loads(json.dumps(due.to_dict()))
    assert model.precision == export[export.index("--precision") + 1]
    assert ("--best" in export) or model.training["steps"] == due.steps


def test_the_page_says_what_the_files_and_their_figures_say():
    assert (MODELS / "README.md").read_text() == page()
