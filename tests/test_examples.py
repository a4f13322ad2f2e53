"""The programs in examples/, run as their users would: they draw the golden images of the model file."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import BUNDLED, Sampler
from ganport.runtime.images import split_grid
from ganport.web import write_site
from tests.conftest import ROOT
from tests.web.conftest import missing


@pytest.fixture(scope="module")
def golden():
    """Seeds of the golden images, and the images, as the file drew them when it was made."""
    model = Sampler(BUNDLED["mnist"]).model
    seeds = model.golden["seeds"]
    grid = np.asarray(Image.open(io.BytesIO(base64.b64decode(model.golden["png_base64"]))))
    return seeds, split_grid(grid.reshape(*grid.shape[:2], -1), len(seeds), model.image.shape)


def test_node(golden, tmp_path):
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("Node.js")
    seeds, due = golden
    site = write_site(BUNDLED["mnist"], tmp_path / "site").folder
    command = ["node", str(ROOT / "examples/node/draw.mjs"), str(site), ",".join(map(str, seeds)), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    for seed, image in zip(seeds, due, strict=True):
        drawn = np.asarray(Image.open(tmp_path / f"seed{seed:07}.pgm"))[:, :, np.newaxis]
        assert np.abs(drawn.astype(int) - image).max() <= 1


def test_service(golden):
    code = (
        "import app, sys\n"
        "seeds = [int(seed) for seed in sys.argv[1:]]\n"
        "app.seed_of = dict(zip(map(str, seeds), seeds)).get\n"
        "for seed in seeds: sys.stdout.buffer.write(len(c := app.avatar(str(seed)).body).to_bytes(4, 'big') + c)\n"
    )
    seeds, due = golden
    command = [sys.executable, "-c", code, *map(str, seeds)]
    env = {"PYTHONPATH": f"{ROOT / 'examples/service'}:{ROOT}"}
    content = io.BytesIO(subprocess.run(command, env=env, capture_output=True, check=True, timeout=120).stdout)
    for image in due:
        png = content.read(int.from_bytes(content.read(4), "big"))
        assert (np.asarray(Image.open(io.BytesIO(png)))[:, :, np.newaxis] == image).all()
