"""The service conforms to its OpenAPI document: schemathesis sends valid and invalid requests."""

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


def test_the_service_conforms_to_its_schema(service, tmp_path):
    result = run_schemathesis(service, 10, tmp_path)
    assert result.returncode == 0, result.stdout[-6000:]


@pytest.mark.slow
def test_the_service_conforms_to_its_schema_in_many_requests(service, tmp_path):
    result = run_schemathesis(service, 300, tmp_path)
    assert result.returncode == 0, result.stdout[-6000:]
