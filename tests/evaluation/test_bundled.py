"""The generators in the box: their figures are of these files, and of the measure that is there now."""

import hashlib

import pytest

from evaluation import load_reference
from runtime import BUNDLED
from runtime.bundled import figures
from scripts.bundle_models import MODELS, page


@pytest.mark.parametrize("name", BUNDLED)
def test_figures_are_of_the_file_and_the_real_images_that_are_there(name):
    found = figures(name)
    assert found["sha256"] == hashlib.sha256(BUNDLED[name].read_bytes()).hexdigest()
    reference = load_reference(name)
    assert found["images"] == reference.floor["images"]
    for figure in ("frechet", "kernel", "precision", "recall", "agreement"):
        assert found["floor"][figure] == reference.floor[figure]
    assert BUNDLED[name].stat().st_size <= 4_000_000


def test_the_page_says_what_the_files_and_their_figures_say():
    assert (MODELS / "README.md").read_text() == page()
