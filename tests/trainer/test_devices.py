"""Devices: the requested devices are used, and devices that share a batch have the losses of one device."""

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ganport.trainer.devices import choose_devices, load_tensorflow
from ganport.trainer.errors import DeviceError
from ganport.trainer.run_folder import RunFolder
from tests.conftest import ROOT

# The published settings have plain SGD. Adam's first updates have full size even for a gradient near zero, so
# rounding would decide their sign.
TRAIN = [sys.executable, str(ROOT / "cli.py"), "train", "mnist-dense", "--as-published"]
TRAIN += ["--data", "digits", "--steps", "20", "--batch-size", "16"]
# Tolerance for the mean of a loss over 20 steps. Several devices add in a different order, and without XLA.
TOLERANCE = 1e-4


def losses(run):
    return [(line["d_loss"], line["g_loss"]) for line in run.read_history() if "d_loss" in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([*TRAIN, "--out", "run"], cwd=folder, check=True, capture_output=True)
    return losses(RunFolder(folder / "run"))


@pytest.mark.slow
def test_two_devices_have_the_losses_of_one(tmp_path, alone):
    result = subprocess.run(
        [*TRAIN, "--devices", "2", "--out", "run"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "on 2 CPU devices" in result.stderr
    for ours, theirs in zip(losses(RunFolder(tmp_path / "run")), alone, strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE)


@pytest.mark.slow
def test_two_hosts_have_the_losses_of_one(tmp_path, alone):
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(2)]}
    hosts = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        env = os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
        command = [*TRAIN, "--device", "cpu", "--out", "run"]
        pipe = subprocess.PIPE
        hosts.append(subprocess.Popen(command, cwd=tmp_path, env=env, stderr=pipe, stdout=pipe, text=True))
    try:
        outputs = [host.communicate(timeout=120) for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [0, 0], outputs
    assert "on 2 hosts with 1 CPU each" in outputs[0][1]
    assert "trained to step 20" in outputs[0][0]
    assert outputs[1] == ("", "")  # the chief reports for both
    for ours, theirs in zip(losses(RunFolder(tmp_path / "run")), alone, strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_missing_gpu_is_an_error():
    with pytest.raises(DeviceError, match=r"finds 0 of 1.*train-gpu"):
        choose_devices("gpu")


def test_devices_can_only_be_chosen_before_tensorflow_computes():
    import tensorflow as tf

    tf.constant(1.0) + 1.0
    with pytest.raises(DeviceError, match="before anything else"):
        choose_devices("cpu", 2)


@pytest.mark.parametrize("text", ["no json", "[]", '{"cluster": 5}'])
def test_unreadable_cluster_is_an_error(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(DeviceError, match="TF_CONFIG"):
        choose_devices("cpu")


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="oneDNN is for x86 CPUs")
@pytest.mark.parametrize(("setting", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_unless_the_user_decided_otherwise(setting, expected):
    """TensorFlow by itself turns it on for some x86 CPUs only."""
    code = (
        "from ganport.trainer.devices import load_tensorflow; load_tensorflow(); "
        "import os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    if setting is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = setting
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == expected


def test_keras_writes_no_folder_for_a_user_without_a_home_folder(monkeypatch):
    """Such a user has neither HOME nor an entry in the list of users, as in many containers."""

    def unknown(_):
        raise KeyError("no such user")

    monkeypatch.setenv("KERAS_HOME", "")
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    load_tensorflow()
    with pytest.raises(NotADirectoryError):
        Path(os.environ["KERAS_HOME"]).mkdir(parents=True)
