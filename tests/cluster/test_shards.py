"""Shards on a Ray cluster: the same bytes as from one process, also after a machine is lost."""

from __future__ import annotations

import io
import itertools
import tarfile
import time

import pytest

ray = pytest.importorskip("ray")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from ganport.cluster import write_shards_on_ray  # noqa: E402
from ganport.cluster.errors import ClusterError  # noqa: E402
from ganport.runtime import PRETRAINED, Sampler  # noqa: E402
from ganport.runtime.errors import OutputError  # noqa: E402
from ganport.runtime.shards import plan_shards, write_shards  # noqa: E402
from tests.conftest import failure  # noqa: E402
from tests.tiny_generator import tiny_model  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore::Warning:ray", "ignore::FutureWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def sampler():
    with Sampler(PRETRAINED["mnist"]) as sampler:
        yield sampler


def assert_same_files(found, expected):
    assert sorted(path.name for path in found.iterdir()) == sorted(path.name for path in expected.iterdir())
    for path in expected.iterdir():
        if (found / path.name).read_bytes() != path.read_bytes():
            pytest.fail(f"{path.name} differs in {list(differing_images(found / path.name, path))}")


def differing_images(found, expected):
    """Yield the name of each image that differs between two shards, and how many of its values differ."""
    with tarfile.open(found) as first, tarfile.open(expected) as second:
        for one, other in zip(first, second, strict=True):
            files = first.extractfile(one).read(), second.extractfile(other).read()
            if files[0] != files[1]:
                images = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
                yield one.name, int(np.sum(images[0] != images[1])), [len(file) for file in files]


def write(sampler, count, path, *, size=500, address=None, resume=False):
    """Write shards. Yields the number of existing images, and then the number of images of each new shard."""
    plan = plan_shards(sampler, np.arange(count), path, shard_size=size, resume=resume)
    yield plan.existing_images
    if address is None:
        yield from write_shards(sampler, plan)
    else:
        yield from write_shards_on_ray(sampler, plan, address=address)


@pytest.mark.slow
@pytest.mark.parametrize("count", [20_000, 200_000], ids=["soon", "late"])
def test_a_lost_machine_does_not_change_the_shards(machines, sampler, tmp_path, count):
    """A machine is removed after the first shards are written."""
    size = count // 40
    assert sum(write(sampler, count, tmp_path / "expected" / "x.tar", size=size)) == count
    extra = machines.add_node(num_cpus=1)
    machines.wait_for_nodes()
    written = write(sampler, count, tmp_path / "ray" / "x.tar", size=size, address=machines.address)
    before = sum(itertools.islice(written, 4))
    machines.remove_node(extra, allow_graceful=False)
    assert before + sum(written) == count
    assert_same_files(tmp_path / "ray", tmp_path / "expected")


@pytest.mark.slow
def test_a_cluster_resumes_the_shards_of_one_process(machines, sampler, tmp_path):
    path = tmp_path / "ray" / "x.tar"
    written = write(sampler, 3_000, path)
    assert sum(itertools.islice(written, 4)) > 0  # some of the shards
    written.close()
    existing, *more = write(sampler, 3_000, path, address=machines.address, resume=True)
    assert existing + sum(more) == 3_000
    sum(write(sampler, 3_000, tmp_path / "expected" / "x.tar"))
    assert_same_files(tmp_path / "ray", tmp_path / "expected")
    with pytest.raises(OutputError, match="continue with `resume=True`"):
        list(write(sampler, 3_000, path, address=machines.address))


@pytest.mark.slow
def test_the_cluster_uses_the_options_of_the_sampler(machines, tmp_path):
    """The value range of a third-party generator is an option of Sampler, and not in the model file."""
    file = tmp_path / "third-party.onnx"
    file.write_bytes(tiny_model("float32", metadata={}).SerializeToString())
    with Sampler(file, layout="NHWC", value_range=(-2, 2), clip=True) as sampler:
        sum(write(sampler, 1_000, tmp_path / "expected" / "x.tar"))
        sum(write(sampler, 1_000, tmp_path / "ray" / "x.tar", address=machines.address))
    assert_same_files(tmp_path / "ray", tmp_path / "expected")


def test_an_error_in_a_task_is_raised_unchanged(machines, sampler, tmp_path):
    written = write(sampler, 3_000, tmp_path / "out" / "x.tar", address=machines.address)
    assert next(written) == 0
    (tmp_path / "out" / "x-000003.tar").mkdir(parents=True)  # a folder at the path of a shard
    with pytest.raises(OutputError, match="it is a folder"):
        list(written)


@pytest.mark.slow
def test_the_command_writes_the_same_shards(machines, sampler, tmp_path, ganport):
    arguments = ["--seeds", "0-2999", "--shard-size", "500", "--out", "ray/x.tar"]
    result = ganport("sample", "mnist", *arguments, "--engine", "ray", "--address", machines.address)
    assert result.returncode == 0, result.stderr
    assert "3,000 images" in result.stdout
    sum(write(sampler, 3_000, tmp_path / "expected" / "x.tar"))
    assert_same_files(tmp_path / "ray", tmp_path / "expected")


def test_an_address_without_a_cluster_is_named(sampler, tmp_path, ganport):
    plan = plan_shards(sampler, np.arange(10), tmp_path / "x.tar")
    with pytest.raises(ClusterError, match="choose another `address`"):
        list(write_shards_on_ray(sampler, plan, address="127.0.0.1:1"))
    started = time.monotonic()
    line = failure(ganport("sample", "mnist", "-o", "x.tar", "--engine", "ray", "--address", "127.0.0.1:1"))
    assert "The Ray cluster at 127.0.0.1:1 is not usable: " in line
    assert "choose another --address" in line
    assert not list(tmp_path.iterdir())
    assert time.monotonic() - started < 120


def test_a_grid_is_not_written_on_a_cluster(ganport):
    assert "--engine is for shards" in failure(ganport("sample", "mnist", "--engine", "ray"), 2)


def test_without_ray_the_command_gives_the_install_line(tmp_path, ganport):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('no ray', name='ray')")
    arguments = ["--out", "x.tar", "--engine", "ray"]
    result = ganport("sample", "mnist", *arguments, PYTHONPATH=str(tmp_path))
    assert "pip install 'ganport[ray]'" in failure(result)
