"""Damaged model files: thousands of mutations, each opened and sampled in a process with little memory.

Each mutation gives images or an error of ganport, in bounded time and memory, and the process survives.
"""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.tiny_generator import tiny_model

MUTATIONS = 800
MEMORY = 4 * 2**30  # limit of the address space in bytes; onnxruntime's libraries and threads take most of it
HERE = Path(__file__).parent


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with a few bytes changed, or with a part removed, doubled or moved."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start, kind = int(rng.integers(len(changed))), rng.integers(6)
        length = int(rng.integers(1, 40))
        if kind < 2:
            changed[start] = int(rng.integers(256))
        elif kind == 2:
            changed[start] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            del changed[start : start + length]
        elif kind == 4:
            changed[start:start] = changed[int(rng.integers(len(changed))) :][:length]
        else:
            changed[start : start + 5] = b"\xff\xff\xff\xff\x7f"  # a large number replaces a small one
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def sample_all(path: str, start: str) -> None:
    """Open and sample all mutations from number `first`. The last printed number shows which one crashed."""
    from ganport.runtime import Sampler
    from ganport.runtime.errors import GanportError

    content = Path(path).read_bytes()
    sampled = rejected = 0
    for number in range(int(start), MUTATIONS):
        print(number, flush=True)
        try:
            Sampler(mutate(content, np.random.default_rng(number)), threads=1).sample([0, 1])
            sampled += 1
        except GanportError:
            rejected += 1
    print("sampled", sampled, "rejected", rejected)


@pytest.mark.parametrize("name", ["own", "torch"])
def test_mutated_files_are_sampled_or_rejected(name, tmp_path):
    path = tmp_path / "x.onnx"
    if name == "torch":
        path.write_bytes((HERE / "third_party" / "torch_dcgan.onnx").read_bytes())
    else:
        path.write_bytes(tiny_model("uint8").SerializeToString())
    code = f"from tests.runtime.test_fuzz import sample_all; sample_all({str(path)!r}, '0')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert result.returncode == 0, f"mutation {result.stdout.split()[-1]}: {result.stderr[-2000:]}"
    _, sampled, _, rejected = result.stdout.split()[-4:]
    assert int(sampled) > 0
    assert int(rejected) > MUTATIONS // 4
