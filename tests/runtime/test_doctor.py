"""The findings of `ganport doctor`, in this environment and in broken ones."""

import sys
from importlib import metadata

import pytest

from ganport.runtime import doctor


@pytest.fixture
def wheels(monkeypatch):
    def install(*names):
        monkeypatch.setattr(doctor, "installed_wheels", lambda: list(names))

    return install


def state(findings, name):
    return next(finding for finding in findings if finding.name == name)


def test_this_environment_works():
    findings = doctor.examine()
    assert not [finding for finding in findings if finding.state == "broken"]
    assert state(findings, "provider cpu").state == "works"
    assert state(findings, "numpy").detail == metadata.version("numpy")


def test_two_packages_of_onnxruntime_are_broken(wheels):
    wheels("onnxruntime 1.31.0", "onnxruntime-gpu 1.31.0")
    finding = state(doctor.examine(), "onnxruntime")
    assert finding.state == "broken"
    assert "pip uninstall" in finding.remedy
    assert "pip install 'ganport[cpu]'" in finding.remedy


def test_no_provider_is_tried_without_onnxruntime(wheels):
    wheels()
    findings = doctor.examine()
    assert state(findings, "onnxruntime").state == "absent"
    assert not [finding for finding in findings if finding.name.startswith("provider")]


def test_missing_package_is_absent(monkeypatch):
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    assert state(doctor.examine(), "tensorflow").state == "absent"


def test_provider_of_another_system_needs_no_instruction():
    others = {"directml": "win32", "coreml": "darwin"}
    name = next(name for name, system in others.items() if system != sys.platform)
    finding = state(doctor.examine(), f"provider {name}")
    assert finding.state == "absent"
    assert "only" in finding.detail
    assert not finding.remedy
