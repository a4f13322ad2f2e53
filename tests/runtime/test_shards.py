"""Shards: other programs read the files, and a killed run ends with the bytes of an uninterrupted one."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import onnx
import pytest
from PIL import Image

from ganport.runtime import Sampler, shards
from ganport.runtime.errors import ModelFormatError, OutputError, UsageError
from ganport.runtime.png import ZLIB, fast_encoder
from ganport.runtime.shards import plan_shards, write_shards
from tests.conftest import ROOT
from tests.tiny_generator import tiny_model

SEEDS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 2**62, 35, 8])


def write(sampler, *seeds_and_path, **options):
    """Write shards. Return the number of existing images, and the number of images of each new shard."""
    plan = plan_shards(sampler, *seeds_and_path, **options)
    return [plan.existing_images, *write_shards(sampler, plan)]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def sampler(tiny_file):
    return Sampler(tiny_file, batch_size=2)


def test_shards_hold_the_images_of_their_seeds(sampler, tmp_path):
    counts = write(sampler, SEEDS, tmp_path / "x.tar", shard_size=4)
    assert counts[0] == 0
    assert sum(counts) == len(SEEDS)
    assert sorted(contents(tmp_path)) == ["x-000000.tar", "x-000001.tar", "x-000002.tar", "x.json"]
    read = []
    for number in range(3):
        with tarfile.open(tmp_path / f"x-{number:06d}.tar") as shard:
            for member in shard:
                assert (member.mtime, member.uid, member.mode, member.isfile()) == (0, 0, 0o644, True)
                png = shard.extractfile(member).read()
                read.append((member.name, np.asarray(Image.open(io.BytesIO(png)))))
    assert [name for name, _ in read] == [f"seed{seed:07d}.png" for seed in SEEDS]
    np.testing.assert_array_equal(
        np.stack([image for _, image in read])[..., np.newaxis], sampler.sample(SEEDS)
    )


@pytest.mark.skipif(sys.platform == "win32", reason="tar of the system")
def test_system_tar_reads_them(sampler, tmp_path):
    write(sampler, SEEDS, tmp_path / "x.tar")
    listed = subprocess.run(
        ["tar", "tf", "x-000000.tar"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == [f"seed{seed:07d}.png" for seed in SEEDS]
    assert listed.stderr == ""


def test_bytes_do_not_depend_on_batches_and_threads(tiny_file, tmp_path):
    for name, sampler in (
        ("a", Sampler(tiny_file, batch_size=1, threads=1)),
        ("b", Sampler(tiny_file, batch_size=300)),
    ):
        write(sampler, np.arange(500), tmp_path / name / "x.tar", shard_size=123)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_resume_generates_the_missing_images(sampler, tmp_path):
    write(sampler, SEEDS, tmp_path / "x.tar", shard_size=4)
    whole = contents(tmp_path)
    (tmp_path / "x-000001.tar").unlink()
    (tmp_path / ".x-000001.0123abcd.part.tar").write_bytes(b"from a killed run")
    assert write(sampler, SEEDS, tmp_path / "x.tar", shard_size=4, resume=True) == [7, 2, 2]
    assert contents(tmp_path) == whole


def test_a_resumed_run_does_not_mix_encoders(sampler, tmp_path, monkeypatch):
    write(sampler, SEEDS, tmp_path / "x.tar", shard_size=4)
    assert json.loads((tmp_path / "x.json").read_text())["encoder"] == fast_encoder().name
    (tmp_path / "x-000001.tar").unlink()
    other = ZLIB._replace(name="zlib 0.1")
    monkeypatch.setattr(shards, "fast_encoder", lambda: other)
    with pytest.raises(
        OutputError, match=r"were compressed by .*, not by zlib 0\.1; install the same packages"
    ):
        write(sampler, SEEDS, tmp_path / "x.tar", shard_size=4, resume=True)
    assert not (tmp_path / "x-000001.tar").exists()


def test_existing_shards_are_not_overwritten(sampler, tmp_path):
    write(sampler, SEEDS, tmp_path / "x.tar")
    with pytest.raises(OutputError, match="continue with `resume=True`"):
        write(sampler, SEEDS, tmp_path / "x.tar")
    (tmp_path / "x.json").unlink()
    with pytest.raises(OutputError, match="continue with `resume=True`"):
        write(sampler, SEEDS, tmp_path / "x.tar")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_full_disk_is_an_error_with_a_remedy(sampler, tmp_path):
    import resource

    plan = plan_shards(sampler, np.arange(500), tmp_path / "x.tar", shard_size=200)
    counts = write_shards(sampler, plan)
    while not (tmp_path / "x-000000.tar").exists():
        next(counts)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(
            OutputError, match=r"x-000001\.tar: file too large; .* continue with `resume=True`\.$"
        ):
            list(counts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(contents(tmp_path)) == ["x-000000.tar", "x.json"]
    assert write(sampler, np.arange(500), tmp_path / "x.tar", shard_size=200, resume=True)[0] == 200
    assert len(contents(tmp_path)) == 4


def test_second_writer_of_the_same_shards_is_stopped(sampler, tmp_path):
    first, second = (plan_shards(sampler, SEEDS, tmp_path / "x.tar", truncation=each) for each in (1.0, 0.5))
    list(write_shards(sampler, first))
    whole = contents(tmp_path)
    with pytest.raises(OutputError, match="shards exist already"):
        list(write_shards(sampler, second))
    assert contents(tmp_path) == whole


def test_two_processes_do_not_write_the_same_shards(sampler, tmp_path):
    """The second one would remove the file that the first one is writing."""
    options = {"seeds": SEEDS, "path": tmp_path / "x.tar", "shard_size": 4, "resume": True}
    first = write_shards(sampler, plan_shards(sampler, **options))
    count = next(first)
    (part,) = tmp_path.glob(".x-*.part.tar")
    words = rf"x\.json: process {os.getpid()} on \S+ is writing it; wait until that process ends, or choose"
    with pytest.raises(OutputError, match=words):
        write(sampler, **options)
    assert part.exists()
    assert count + sum(first) == len(SEEDS)
    assert write(sampler, **options) == [len(SEEDS)]
    assert sorted(contents(tmp_path)) == ["x-000000.tar", "x-000001.tar", "x-000002.tar", "x.json"]


def test_resume_with_other_settings_is_rejected(sampler, tmp_path):
    path = tmp_path / "x.tar"
    write(sampler, SEEDS, path, shard_size=4)
    for changes, words in (
        ({"seeds": SEEDS[::-1]}, "differ in first_seed, seeds"),
        ({"truncation": 0.5}, "differ in truncation"),
        ({"shard_size": 5}, "differ in shard_size"),
    ):
        requested = {"seeds": SEEDS, "path": path, "shard_size": 4, "resume": True} | changes
        with pytest.raises(OutputError, match=words):
            write(sampler, **requested)
    facts = json.loads((tmp_path / "x.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps(facts | {"model_sha256": "0"}))
    with pytest.raises(OutputError, match="differ in model"):
        write(sampler, SEEDS, path, shard_size=4, resume=True)
    for damaged in ("{", "[" * 100_000):
        (tmp_path / "x.json").write_text(damaged)
        with pytest.raises(OutputError, match="it is damaged"):
            write(sampler, SEEDS, path, shard_size=4, resume=True)


def test_resume_keeps_unrelated_files(sampler, tmp_path):
    others = [tmp_path / ".holiday.part.mkv", tmp_path / ".y-000000.0123abcd.part.tar"]
    for other in others:
        other.touch()
    write(sampler, SEEDS, tmp_path / "x.tar", resume=True)
    assert all(other.exists() for other in others)
    (tmp_path / "x.json").unlink()
    with pytest.raises(OutputError, match="the index that describes them is missing"):
        write(sampler, SEEDS, tmp_path / "x.tar", resume=True)


def test_invalid_request_writes_no_file(sampler, tmp_path):
    with pytest.raises(UsageError):
        write(sampler, SEEDS, tmp_path / "x.tar", truncation=float("nan"))
    assert not contents(tmp_path)


def test_killed_runs_end_with_the_bytes_of_an_uninterrupted_one(tiny_file, tmp_path):
    """One run is killed three times, each time at a different moment."""
    command = [
        sys.executable,
        str(ROOT / "cli.py"),
        "sample",
        str(tiny_file),
        "--seeds",
        "0-59999",
        "--shard-size",
        "3000",
    ]
    subprocess.run([*command, "--out", str(tmp_path / "whole" / "x.tar")], check=True, capture_output=True)
    killed = tmp_path / "killed" / "x.tar"
    rng = random.Random(0)
    kills = 0
    while kills < 3:
        process = subprocess.Popen(
            [*command, "--out", str(killed), *(["--resume"] if kills else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        existing = len(list(killed.parent.glob("x-*"))) if killed.parent.exists() else 0
        while process.poll() is None and (
            not killed.parent.exists() or len(list(killed.parent.glob("x-*"))) < existing + 2
        ):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed; generate more images"
        kills += 1
    subprocess.run([*command, "--out", str(killed), "--resume"], check=True, capture_output=True)
    assert contents(killed.parent) == contents(tmp_path / "whole")


def test_weights_in_a_separate_file_are_found(tmp_path):
    onnx.save_model(
        tiny_model(), tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=100
    )
    with Sampler(tmp_path / "x.onnx", threads=2) as sampler:
        assert sum(write(sampler, SEEDS, tmp_path / "shards" / "x.tar")) == len(SEEDS)


def test_a_model_that_was_replaced_is_rejected(tiny_file, tmp_path):
    shutil.copy(tiny_file, tmp_path / "x.onnx")
    with Sampler(tmp_path / "x.onnx", threads=2) as sampler:
        plan = plan_shards(sampler, SEEDS, tmp_path / "x.tar")
        (tmp_path / "x.onnx").write_bytes((tmp_path / "x.onnx").read_bytes() + b"\0")
        with pytest.raises(ModelFormatError, match="it has changed since it was opened"):
            list(write_shards(sampler, plan))
    assert not list(tmp_path.glob("*-000000.tar"))
