"""A short part of the fuzzing: the same inputs each time. `make fuzz` runs more of them, and longer."""

import shutil
import subprocess
import sys

import pytest

from tests.fuzz.driver import ROOT, fuzz_target
from tests.fuzz.target import TARGETS

# Fewer inputs of the targets that take long.
INPUTS = {"command": 20, "run-folder": 40, "contract": 100, "image": 100, "onnx": 100}
SLOW_TO_START = {"checkpoint"}  # needs TensorFlow; the target `npz` reads the same kind of file


@pytest.mark.parametrize("target", sorted(set(TARGETS) - SLOW_TO_START))
def test_every_input_ends_in_a_result_or_in_an_error_of_ganport(target, tmp_path):
    if target == "javascript" and shutil.which("node") is None:
        pytest.skip("node is not installed")
    inputs = INPUTS.get(target, 200)
    result = fuzz_target(target, tmp_path, inputs=inputs, seed=1, limit=60)
    assert not result.findings, "\n".join(finding.text for finding in result.findings)
    assert result.inputs == inputs
    assert result.kept > 0


def test_every_kind_of_failure_is_found(tmp_path):
    """`faulty` fails on some of its inputs in each way, and the driver goes on after a crash and a hang."""
    result = fuzz_target("tests.fuzz.faulty:FaultyTarget", tmp_path, inputs=200, seed=6, limit=1)
    assert {finding.kind for finding in result.findings} == {
        "exception",
        "crash",
        "hang",
        "memory",
        "traceback",
    }
    assert result.inputs == 200
    (exception,) = [finding for finding in result.findings if finding.kind == "exception"]
    assert exception.path.read_bytes() == b"e"  # minimised
    command = [sys.executable, *exception.command.split()[1:]]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "KeyError" in again.stderr
