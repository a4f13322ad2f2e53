"""The programs in examples/, run as a user runs them: they generate the golden images of the model file."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import PRETRAINED, Sampler
from ganport.runtime.images import split_grid
from ganport.web import write_module
from tests.conftest import ROOT
from tests.web.conftest import missing


@pytest.fixture(scope="module")
def golden():
    """Seeds and golden images of the pretrained MNIST generator."""
    with Sampler(PRETRAINED["mnist"]) as sampler:
        contract = sampler.contract
    seeds = contract.golden["seeds"]
    grid = np.asarray(Image.open(io.BytesIO(base64.b64decode(contract.golden["png_base64"]))))
    return seeds, split_grid(grid.reshape(*grid.shape[:2], -1), len(seeds), contract.image.shape)


def test_the_node_example_generates_the_golden_images(golden, tmp_path):
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("Node.js")
    seeds, expected = golden
    model = write_module(PRETRAINED["mnist"], tmp_path / "ganport").model
    program = str(ROOT / "examples/node/generate.mjs")
    command = ["node", program, str(model), ",".join(map(str, seeds)), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    for seed, image in zip(seeds, expected, strict=True):
        generated = np.asarray(Image.open(tmp_path / f"seed{seed:07}.pgm"))[:, :, np.newaxis]
        assert np.abs(generated.astype(int) - image).max() <= 1


def test_the_service_example_generates_the_golden_images(golden):
    """In this test the names are the seeds, and each PNG is written after its length."""
    code = (
        "import app, sys\n"
        "app.seed_of = int\n"
        "for name in sys.argv[1:]:\n"
        "    png = app.avatar(name).body\n"
        "    sys.stdout.buffer.write(len(png).to_bytes(4, 'big') + png)\n"
    )
    seeds, expected = golden
    command = [sys.executable, "-c", code, *map(str, seeds)]
    env = {"PYTHONPATH": f"{ROOT / 'examples/service'}:{ROOT}"}
    result = subprocess.run(command, env=env, capture_output=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    content = io.BytesIO(result.stdout)
    for image in expected:
        png = content.read(int.from_bytes(content.read(4), "big"))
        assert (np.asarray(Image.open(io.BytesIO(png)))[:, :, np.newaxis] == image).all()
