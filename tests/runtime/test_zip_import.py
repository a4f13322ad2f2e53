"""The runtime works as a copy inside of a zip archive, with its pretrained generators."""

import hashlib
import json
import subprocess
import sys
import zipfile

import pytest

from ganport.runtime import PRETRAINED, Sampler
from ganport.runtime.pretrained import measured_quality
from tests.conftest import ROOT

CODE = """
import hashlib, json, pickle, sys
from ganlib import PRETRAINED, Sampler
from ganlib.errors import ModelNotFoundError
from ganlib.pretrained import default_pretrained, measured_quality

def hash_of(sampler):
    return hashlib.sha256(sampler.sample(range(8)).tobytes()).hexdigest()

found = {
    "images": {name: hash_of(Sampler(name)) for name in PRETRAINED},
    "by path": {name: hash_of(Sampler(path)) for name, path in PRETRAINED.items()},
    "pickled": hash_of(pickle.loads(pickle.dumps(Sampler()))),
    "isolated": hash_of(Sampler(isolated=True)),
    "fingerprint": Sampler().model.fingerprint(),
    "default": str(default_pretrained()),
    "quality": measured_quality("mnist"),
}
try:
    Sampler(PRETRAINED["mnist"].with_name("none.onnx"))
except ModelNotFoundError as error:
    found["error"] = str(error)
assert not {"runtime", "ganport"} & set(sys.modules)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a program finds that imports the runtime from an archive, in a folder without other files."""
    folder = tmp_path_factory.mktemp("packed")
    with zipfile.ZipFile(folder / "app.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (ROOT / "runtime").rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                archive.write(file, f"ganlib/{file.relative_to(ROOT / 'runtime')}")
    result = subprocess.run(
        [sys.executable, "-P", "-c", CODE],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "app.zip")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained_generators_in_an_archive_generate_their_images(found, name):
    expected = hashlib.sha256(Sampler(name).sample(range(8)).tobytes()).hexdigest()
    assert found["images"][name] == expected
    assert found["by path"][name] == expected


def test_generator_from_an_archive_can_be_pickled_and_isolated(found):
    assert found["pickled"] == found["isolated"] == found["images"]["mnist"]


def test_facts_about_a_generator_in_an_archive_are_those_of_its_file(found):
    assert found["fingerprint"] == hashlib.sha256(PRETRAINED["mnist"].read_bytes()).hexdigest()
    assert found["quality"] == measured_quality("mnist")
    assert found["default"].endswith("mnist.onnx")


def test_other_paths_within_the_archive_are_not_found(found):
    assert "none.onnx" in found["error"]
