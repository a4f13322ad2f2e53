"""The quickstart notebook runs from its first cell to its last, and shows the outputs that it describes."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
STEPS = "steps=800"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with the outputs of a shorter training, by the first words of each code cell."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    training = next(cell for cell in notebook.cells if STEPS in cell.source)
    training.source = training.source.replace(STEPS, "steps=40")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        resources = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def output(cells, source: str, kind: str):
    """Return the last output of a kind of the cell that holds a source."""
    cell = next(cell for cell in cells if source in cell.source)
    return [each["data"][kind] for each in cell.outputs if kind in each.get("data", {})][-1]


def image(cells, source: str):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(output(cells, source, "image/png")))))


@pytest.mark.slow
def test_training_shows_a_progress_bar_and_the_newest_preview(executed):
    assert "step 40 of 40" in output(executed, "ganport.train", "text/html")
    assert image(executed, "ganport.train").shape == (238, 238)


@pytest.mark.slow
def test_the_exported_file_generates_the_images_of_the_preview(executed):
    preview, grid = image(executed, "ganport.train"), image(executed, "sampler.grid(range(64))")
    assert np.abs(preview.astype(int) - grid).max() <= 1


@pytest.mark.slow
def test_results_are_shown_as_tables(executed):
    assert "28x28x1 uint8" in output(executed, "ganport.export", "text/html")
    assert "Fréchet distance" in output(executed, 'ganport.evaluate("mnist"', "text/html")


def test_the_stored_notebook_shows_its_outputs():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert image(cells, "sampler.grid(range(64))").shape == (238, 238)
    assert "error" not in {each.output_type for cell in cells for each in cell.outputs}
