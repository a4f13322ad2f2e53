"""Memory of long runs, and of data larger than its limit. `make test-slow` prints the figures."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
]


def train(folder: Path, *arguments: str) -> list[tuple[int, float]]:
    """Train in another process; return (last step in the history, resident MB), ten times a second."""
    command = [sys.executable, str(ROOT / "cli.py"), "train", *arguments, "--out", "run"]
    seen = []
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            seen.append((last_step(folder / "run" / "history.jsonl"), resident_megabytes(process.pid)))
            time.sleep(0.1)
    assert process.returncode == 0
    return [(step, megabytes) for step, megabytes in seen if megabytes]


def last_step(history: Path) -> int:
    lines = history.read_text().splitlines() if history.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def resident_megabytes(pid: int) -> float:
    """Return the resident memory in MB according to /proc, or 0 if the process has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000


def test_memory_of_a_long_run_is_flat(tmp_path, capsys):
    recipe = ("mnist-minimal", "--as-published", "--data", "digits", "--preview-interval", "1000")
    seen = train(tmp_path, *recipe)
    after = {
        step: next(megabytes for seen_step, megabytes in seen if seen_step >= step)
        for step in (2_000, 11_000, 19_000)
    }
    report(capsys, "mnist-minimal", {f"after step {step:,}": megabytes for step, megabytes in after.items()})
    assert after[19_000] < after[2_000] + 20


def test_folder_larger_than_the_limit_does_not_fill_memory(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (10, 10, 3)).astype(np.uint8)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(10_000):
        image = Image.fromarray(np.roll(noise, number, axis=1)).resize((100, 100))
        image.save(photos / f"{number:05d}.jpg")
    peaks = {}
    for limit in (2_048, 50):
        folder = tmp_path / str(limit)
        folder.mkdir()
        arguments = ("--data", str(photos), "--steps", "10", "--batch-size", "4", "--data-memory", str(limit))
        peaks[limit] = max(megabytes for _, megabytes in train(folder, "rps-dcgan", *arguments))
    figures = {f"peak with --data-memory {limit}": peak for limit, peak in peaks.items()}
    report(capsys, "300 MB of pixels", figures)
    assert peaks[50] < peaks[2_048] - 200


def report(capsys, what: str, figures: dict[str, float]) -> None:
    with capsys.disabled():
        figures_text = ", ".join(f"{name} {megabytes:,.0f} MB" for name, megabytes in figures.items())
        print(f"\n{what}: {figures_text}")
