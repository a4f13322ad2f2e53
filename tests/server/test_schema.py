"""The OpenAPI document against what the service does: schemathesis asks for what it allows, and for what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def run_schemathesis(service, examples: int, folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        *(str(program), "run", f"http://127.0.0.1:{service.port}/openapi.json", "--checks", CHECKS),
        *("--max-examples", str(examples), "--seed", "7", "--suppress-health-check", "all", "--no-color"),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200, check=False)


def test_does_what_it_says(service, tmp_path):
    result = run_schemathesis(service, 10, tmp_path)
    assert result.returncode == 0, result.stdout[-6000:]


@pytest.mark.slow
def test_does_what_it_says_at_length(service, tmp_path):
    result = run_schemathesis(service, 300, tmp_path)
    assert result.returncode == 0, result.stdout[-6000:]
