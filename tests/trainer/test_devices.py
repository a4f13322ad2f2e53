"""Devices: what is asked for is what runs; several share a batch and learn what one would."""

import json
import os
import socket
import subprocess
import sys

import pytest

from ganport.runtime.errors import DeviceError
from ganport.trainer.devices import choose_devices
from ganport.trainer.runs import Run
from tests.conftest import ROOT

# As published: plain SGD. Adam, in its first steps, makes a whole step of a gradient that is nearly zero, whatever its sign.
TRAIN = [sys.executable, str(ROOT / "cli.py"), "train", "mnist-dense", "--as-published"]
TRAIN += ["--data", "digits", "--steps", "20", "--batch-size", "16"]
TOLERANCE = 1e-4  # of a loss, as the mean over 20 steps: sums are taken in another order, and one device alone uses XLA


def losses(run):
    return [(line["d_loss"], line["g_loss"]) for line in run.read_history() if "d_loss" in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([*TRAIN, "--out", "run"], cwd=folder, check=True, capture_output=True)
    return losses(Run(folder / "run"))


def test_two_devices_learn_what_one_does(tmp_path, alone):
    result = subprocess.run(
        [*TRAIN, "--devices", "2", "--out", "run"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "on 2 CPU devices" in result.stderr
    for ours, theirs in zip(losses(Run(tmp_path / "run")), alone, strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE)


def test_two_hosts_learn_what_one_does(tmp_path, alone):
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(2)]}
    hosts = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        env = os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
        command = [*TRAIN, "--device", "cpu", "--out", "run"]
        pipe = subprocess.PIPE
        hosts.append(subprocess.Popen(command, cwd=tmp_path, env=env, stderr=pipe, stdout=pipe, text=True))
    try:
        said = [host.communicate(timeout=120) for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [0, 0], said
    assert "on 2 hosts with 1 CPU each" in said[0][1]
    assert "trained to step 20" in said[0][0]
    assert said[1][0] == ""  # the chief speaks for both
    for ours, theirs in zip(losses(Run(tmp_path / "run")), alone, strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_gpu_that_is_not_there_is_an_error():
    with pytest.raises(DeviceError, match=r"finds 0 of 1.*train-gpu"):
        choose_devices("gpu")


def test_devices_can_only_be_chosen_before_tensorflow_computes():
    import tensorflow as tf

    tf.constant(1.0) + 1.0
    with pytest.raises(DeviceError, match="before anything else"):
        choose_devices("cpu", 2)


@pytest.mark.parametrize("text", ["no json", "[]", '{"cluster": 5}'])
def test_cluster_that_cant_be_read_is_an_error(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(DeviceError, match="TF_CONFIG"):
        choose_devices("cpu")
