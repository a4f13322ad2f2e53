"""Shards on a Ray cluster of two machines, played by processes: the bytes of one machine, whoever is lost on the way."""

from __future__ import annotations

import itertools
import time

import pytest

ray = pytest.importorskip("ray")

import numpy as np  # noqa: E402

from ganport.cluster import write_shards_on_ray  # noqa: E402
from ganport.runtime import BUNDLED, Sampler  # noqa: E402
from ganport.runtime.errors import OutputError  # noqa: E402
from ganport.runtime.shards import plan_shards, write_shards  # noqa: E402
from tests.conftest import failure  # noqa: E402
from tests.tiny_generator import tiny_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::Warning:ray", "ignore::FutureWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def sampler():
    with Sampler(BUNDLED["mnist"]) as sampler:
        yield sampler


def assert_same_files(found, due):
    assert sorted(path.name for path in found.iterdir()) == sorted(path.name for path in due.iterdir())
    for path in due.iterdir():
        assert (found / path.name).read_bytes() == path.read_bytes(), path.name


def draw(sampler, count, path, size=500, address=None, **options):
    plan = plan_shards(sampler, np.arange(count), path, shard_size=size, **options)
    yield plan.there
    yield from write_shards(sampler, plan) if address is None else write_shards_on_ray(sampler, plan, address)


@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_a_lost_machine_changes_nothing(machines, sampler, tmp_path, count):
    """It is killed when the first shards are there."""
    due = tmp_path / "due" / "x.tar"
    size = count // 40
    assert sum(draw(sampler, count, due, size)) == count
    lost = machines.add_node(num_cpus=1)
    machines.wait_for_nodes()
    drawn = draw(sampler, count, tmp_path / "ray" / "x.tar", size, machines.address)
    before = sum(itertools.islice(drawn, 4))
    machines.remove_node(lost, allow_graceful=False)
    assert before + sum(drawn) == count
    assert_same_files(tmp_path / "ray", tmp_path / "due")


def test_goes_on_with_what_is_there(machines, sampler, tmp_path):
    one = tmp_path / "x.tar"
    drawn = draw(sampler, 3_000, one)
    assert sum(itertools.islice(drawn, 4)) > 0  # some of it, on one machine
    drawn.close()
    there, *more = draw(sampler, 3_000, one, address=machines.address, resume=True)
    assert there + sum(more) == 3_000
    sum(draw(sampler, 3_000, tmp_path / "due" / "x.tar"))
    (tmp_path / "ray").mkdir()
    for path in list(tmp_path.glob("x*")):
        path.rename(tmp_path / "ray" / path.name)
    assert_same_files(tmp_path / "ray", tmp_path / "due")
    with pytest.raises(OutputError, match="shards are there already"):
        list(draw(sampler, 3_000, tmp_path / "ray" / "x.tar", address=machines.address))


def test_options_of_the_sampler_go_along(machines, tmp_path):
    """A foreign generator, whose images mean what --range says."""
    file = tmp_path / "foreign.onnx"
    file.write_bytes(tiny_model("float32", metadata={}).SerializeToString())
    with Sampler(file, layout="NHWC", value_range="sigmoid") as foreign:
        sum(draw(foreign, 1_000, tmp_path / "due" / "x.tar"))
        sum(draw(foreign, 1_000, tmp_path / "ray" / "x.tar", address=machines.address))
    assert_same_files(tmp_path / "ray", tmp_path / "due")


def test_an_error_of_a_task_is_that_of_the_library(machines, sampler, tmp_path, monkeypatch):
    drawn = draw(sampler, 3_000, tmp_path / "out" / "x.tar", address=machines.address)
    assert next(drawn) == 0
    (tmp_path / "out" / "x-000003.tar").mkdir(parents=True)  # where a file is to be
    with pytest.raises(OutputError, match="it is a folder"):
        list(drawn)


def test_on_the_command_line(machines, sampler, tmp_path, ganport):
    arguments = ["--seeds", "0-2999", "--shard-size", "500", "--out"]
    result = ganport("sample", "mnist", *arguments, "ray/x.tar", "--engine", "ray", "--address", machines.address)
    assert result.returncode == 0, result.stderr
    assert "3,000 images" in result.stdout
    sum(draw(sampler, 3_000, tmp_path / "due" / "x.tar"))
    assert_same_files(tmp_path / "ray", tmp_path / "due")


def test_nobody_at_the_address(tmp_path, ganport):
    started = time.monotonic()
    result = ganport("sample", "mnist", "--out", "x.tar", "--engine", "ray", "--address", "127.0.0.1:1")
    assert "The Ray cluster at 127.0.0.1:1 can't be used" in failure(result)
    assert not list(tmp_path.iterdir())
    assert time.monotonic() - started < 120


def test_a_grid_is_not_for_a_cluster(ganport):
    assert "--engine is for shards" in failure(ganport("sample", "mnist", "--engine", "ray"), 2)


def test_without_ray(tmp_path, ganport):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('no ray', name='ray')")
    result = ganport("sample", "mnist", "--out", "x.tar", "--engine", "ray", PYTHONPATH=str(tmp_path))
    assert "pip install 'ganport[ray]'" in failure(result)
