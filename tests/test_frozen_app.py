"""An app that PyInstaller froze generates the images of the app that was not frozen."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("PyInstaller")
pytestmark = pytest.mark.slow

APP = '''"""Prints the sha256 of the images of each pretrained generator."""

import hashlib

import ganport

for name in ganport.PRETRAINED:
    images = ganport.Sampler(name).sample(range(8))
    print(name, hashlib.sha256(images.tobytes()).hexdigest())
'''


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a program, and return what it printed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder in which the wheel of this repository is installed, with the entry point for PyInstaller."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", folder / "site", wheel, cwd=folder)
    return folder / "site"


def test_frozen_app_generates_the_same_images(installed, tmp_path):
    (tmp_path / "app.py").write_text(APP)
    paths = {"PYTHONPATH": str(installed)}
    # In this environment onnxruntime's tools would bring PyTorch and TensorFlow into the app.
    options = ("--noconfirm", "--exclude-module", "onnxruntime.transformers")
    run(sys.executable, "-m", "PyInstaller", *options, "app.py", cwd=tmp_path, **paths)
    frozen = run(tmp_path / "dist" / "app" / "app", cwd=tmp_path.parent)
    assert len(frozen.splitlines()) == 3
    assert frozen == run(sys.executable, "-P", tmp_path / "app.py", cwd=tmp_path.parent, **paths)
    modules = re.findall(r"'(ganport\.\w+)", (tmp_path / "build" / "app" / "PYZ-00.toc").read_text())
    assert set(modules) == {"ganport.runtime"}
