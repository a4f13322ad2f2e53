"""Damaged model files: thousands of mutations, each loaded and drawn from in a process with little memory.

What has to hold for every one: images, or an error of ours; in bounded time and memory, and the process lives.
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
MEMORY = 4 * 2**30  # bytes of address space; onnxruntime's libraries and threads take the most of it
HERE = Path(__file__).parent


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with a few bytes changed, a part cut out, doubled, or moved."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place, kind = int(rng.integers(len(changed))), rng.integers(6)
        length = int(rng.integers(1, 40))
        if kind < 2:
            changed[place] = int(rng.integers(256))
        elif kind == 2:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = changed[int(rng.integers(len(changed))) :][:length]
        else:
            changed[place : place + 5] = b"\xff\xff\xff\xff\x7f"  # a large number where a small one was
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def draw_all(path: str, start: str) -> None:
    """Load and draw each mutation from a number on; print each number before, so that what crashed is known."""
    from ganport.runtime import Sampler
    from ganport.runtime.errors import GanportError

    content = Path(path).read_bytes()
    drawn = refused = 0
    for number in range(int(start), MUTATIONS):
        print(number, flush=True)
        try:
            Sampler(mutate(content, np.random.default_rng(number)), threads=1).sample([0, 1])
            drawn += 1
        except GanportError:
            refused += 1
    print("drawn", drawn, "refused", refused)


@pytest.mark.parametrize("name", ["own", "torch"])
def test_mutated_files_are_drawn_or_refused(name, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(
        (HERE / "foreign" / "torch_dcgan.onnx").read_bytes() if name == "torch" else tiny_model("uint8").SerializeToString()
    )
    command = [sys.executable, "-c", f"from tests.runtime.test_fuzz import draw_all; draw_all({str(path)!r}, '0')"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == 0, f"mutation {done.stdout.split()[-1]}: {done.stderr[-2000:]}"
    _, drawn, _, refused = done.stdout.split()[-4:]
    assert int(drawn) > 0
    assert int(refused) > MUTATIONS // 4
