"""What is shipped: a wheel with the same bytes from any machine, and a list of the packages that it needs."""

import filecmp
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from scripts.make_sbom import NPM_LOCK, describe_npm, make_sbom, read_lock
from tests.conftest import ROOT

LOCK = """\
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{one} \\
    --hash=sha256:{two}
    # via typer
typer==0.29.2 \\
    --hash=sha256:{one}
    # via
    #   ganport (pyproject.toml)
    #   colorama
""".format(one="1" * 64, two="2" * 64)


def test_a_package_has_its_hashes_its_condition_and_its_parents():
    colorama, typer = read_lock(LOCK)
    assert (colorama.name, colorama.version, colorama.marker) == (
        "colorama",
        "0.4.6",
        "sys_platform == 'win32'",
    )
    assert (colorama.hashes, colorama.parents) == (["1" * 64, "2" * 64], ["typer"])
    assert typer.parents == ["ganport (pyproject.toml)", "colorama"]


def test_a_line_that_is_not_understood_is_an_error():
    with pytest.raises(SystemExit, match="not understood: -e git"):
        read_lock("-e git+https://example.org/x\n")


@pytest.mark.parametrize("name", ["cpu.txt", "dev.txt"])
def test_every_pinned_package_is_in_the_list(name):
    text = (ROOT / "requirements" / name).read_text()
    document = make_sbom(read_lock(text), describe_npm(json.loads((ROOT / NPM_LOCK).read_text())))
    listed = {component["bom-ref"] for component in document["components"]}
    pins = re.findall(r"^([\w.-]+)\S*?==([^\s;]+)", text, re.MULTILINE)
    assert {f"pkg:pypi/{package.lower().replace('_', '-')}@{version}" for package, version in pins} <= listed
    assert any(ref.startswith("pkg:npm/onnxruntime-web@") for ref in listed)
    ours = document["metadata"]["component"]["bom-ref"]
    edges = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert edges[ours]
    assert {*edges, *(ref for needed in edges.values() for ref in needed)} <= {ours, *listed}
    hashes = re.findall(r"sha256:(\w{64})", text)
    files = [component.get("externalReferences", [{"hashes": []}]) for component in document["components"]]
    assert sorted(each["content"] for (file,) in files for each in file["hashes"]) == sorted(hashes)


def test_wheel_has_the_same_bytes_whatever_the_times_and_modes_of_the_files(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in ROOT.iterdir():
        if (folder / "__init__.py").exists() and folder.name not in ("tests", "benchmarks"):
            shutil.copytree(folder, one / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, one / name)
    shutil.copytree(one, other)
    for file in other.rglob("*.py"):
        os.utime(file, (1e9, 1e9))
        file.chmod(0o600)
    wheels = [Path(wheel) for folder in (one, other) for wheel in WheelBuilder(str(folder)).build()]
    assert len({wheel.name for wheel in wheels}) == 1
    assert filecmp.cmp(*wheels, shallow=False)
