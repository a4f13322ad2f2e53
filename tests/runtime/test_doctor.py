"""What the doctor finds in environments that are not well."""

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


def test_this_environment_is_well():
    findings = doctor.examine()
    assert not [finding for finding in findings if finding.state == "broken"]
    assert state(findings, "provider cpu").state == "works"
    assert state(findings, "numpy").detail == metadata.version("numpy")


def test_two_wheels_are_broken(wheels):
    wheels("onnxruntime 1.31.0", "onnxruntime-gpu 1.31.0")
    finding = state(doctor.examine(), "onnxruntime")
    assert finding.state == "broken"
    assert "pip uninstall" in finding.remedy


def test_without_onnxruntime_nothing_is_tried(wheels):
    wheels()
    findings = doctor.examine()
    assert state(findings, "onnxruntime").state == "absent"
    assert not [finding for finding in findings if finding.name.startswith("provider")]


def test_package_that_is_not_there(monkeypatch):
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    assert state(doctor.examine(), "tensorflow").state == "absent"
