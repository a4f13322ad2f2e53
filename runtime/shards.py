"""Shards: numbered .tar files of PNGs, as WebDataset reads them. Each file is whole or absent.

The seeds of a shard depend only on the list of seeds and on the number of the shard. The bytes of a shard
depend only on the model, the seeds and the options. So a killed run can continue with the missing shards, and
its files have the same bytes as those of a run that was not killed.

    images.json         the index, which states what the shards were generated from
    images-000000.tar   seed0000000.png, seed0000001.png, ...
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import glob
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from .arrays import Pixels, Seeds
from .cores import usable_cores
from .display import system_reason
from .errors import OutputError
from .files import lock_output, remove_leftovers, replacing, write_bytes
from .png import Encoder, encode_pngs, encoder_of, fast_encoder
from .request import Label, check_single_label, request_seeds
from .sampler import Sampler
from .writers import image_name

SHARD_SIZE = 10_000  # default number of images per shard; such a shard is written in a minute or less

_BLOCK = 512  # bytes of a block in a tar file
# Problem and remedy of the OutputError that is raised if shards exist and `resume` is not set.
_EXISTING = "shards exist already", "continue with `resume=True`, or choose another `out`."
_CHUNK = 64  # images that a thread encodes at a time, if a GPU generates them
_AHEAD = 2  # batches for each core that may wait until they are written, to limit the memory


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of images: its path, and its seeds, int64 (n,)."""

    path: Path
    seeds: Seeds


@dataclasses.dataclass(frozen=True)
class Plan:
    """The shards to write.

    Attributes:
        path: Path NAME.tar, from which the paths of the numbered shards are made.
        facts: Facts that the bytes of the shards depend on. The index, NAME.json, holds these facts.
        missing: Shards that do not exist yet.
        existing_images: Number of images in the shards that exist.
        is_resumed: Whether the run continues with existing shards.
        truncation: Factor of the latents in [0, 1].
        label: Label of all images; None for the default, which depends on the seed.
    """

    path: Path
    facts: Mapping[str, object]
    missing: Sequence[Shard]
    existing_images: int
    is_resumed: bool
    truncation: float
    label: str | None

    @property
    def encoder(self) -> str:
        """Name of the encoder that compresses the PNGs."""
        return str(self.facts["encoder"])

    @property
    def index(self) -> Path:
        """Path of the JSON file with the facts that the shards were generated from."""
        return self.path.with_suffix(".json")


def write_shards(sampler: Sampler, plan: Plan) -> Iterator[int]:
    """Write the missing shards of a plan, and yield the number of new images after each batch.

    Args:
        sampler: Sampler that the plan was made with.
        plan: Result of `plan_shards`.

    Raises:
        OutputError: A shard can't be written, or another process writes these shards.
    """
    threads = sampler.model.threads if sampler.provider == "cpu" else usable_cores()
    with (
        writing(plan),
        ThreadPoolExecutor(threads, "ganport-shards") as pool,
        _single_threaded(sampler) as worker,
    ):
        for shard in plan.missing:
            yield from write_shard(worker, shard, plan, pool)


@contextlib.contextmanager
def _single_threaded(sampler: Sampler) -> Iterator[Sampler]:
    """Yield a Sampler of the same model, whose session runs on one thread. A GPU's Sampler stays as it is.

    Each thread of the pool generates and encodes its own images. This is faster than a session with several
    threads beside threads that encode, since no thread waits for another one.
    """
    if sampler.provider != "cpu" or sampler.model.threads == 1:
        yield sampler
        return
    with Sampler.of(sampler.model.with_threads(1)) as worker:
        yield worker


def plan_shards(
    sampler: Sampler,
    seeds: Seeds,
    path: Path,
    *,
    labels: Label | None = None,
    truncation: float = 1.0,
    shard_size: int = SHARD_SIZE,
    resume: bool = False,
) -> Plan:
    """Return the shards to write, after all checks. Nothing is written yet.

    Args:
        sampler: Sampler that generates the images.
        seeds: Seeds of the images, in the order of the shards.
        path: Path that ends in .tar. NAME.tar gives NAME-000000.tar and so on, and NAME.json.
        labels: One label for all images.
        truncation: Factor of the latents in [0, 1].
        shard_size: Images per shard, at least 1. The last shard holds the remaining images.
        resume: Whether to continue with existing shards of the same model, seeds and options.

    Raises:
        OutputError: Shards exist and `resume` is not set, or the existing shards were generated
            from another model, other seeds or other options.
        GanportError: Seeds, label or truncation are not valid for this generator.
    """
    check_single_label(sampler.contract, labels)
    request_seeds(sampler.contract, seeds, labels=labels, truncation=truncation)
    known = sampler.contract.input.labels or ()
    label = labels if labels is None or isinstance(labels, str) else known[int(labels)]
    facts = _describe(sampler, seeds, truncation, shard_size, label)
    shards = list(_shards(path, seeds, shard_size))
    missing = [shard for shard in shards if not shard.path.exists()]
    begun = len(missing) < len(shards)
    existing = len(seeds) - sum(len(shard.seeds) for shard in missing)
    plan = Plan(path, facts, missing, existing, resume, truncation, label)
    if resume:
        _check_index(plan.index, facts, begun)
    elif begun or plan.index.exists():
        raise OutputError(plan.index, *_EXISTING)
    return plan


@contextlib.contextmanager
def writing(plan: Plan) -> Iterator[None]:
    """Write the index of a plan, and keep other processes from writing its shards in the `with` block.

    If the run is resumed, the temporary files that the killed run has left are removed first.

    Raises:
        OutputError: The index can't be written, or another process writes these shards.
    """
    with lock_output(plan.index):
        if plan.is_resumed:
            remove_parts(plan)
        elif plan.index.exists():  # another process has written the index since the plan was made
            raise OutputError(plan.index, *_EXISTING)
        write_bytes(plan.index, json.dumps(plan.facts, indent=2).encode())
        yield


def remove_parts(plan: Plan) -> None:
    """Remove the temporary files that killed writers of a plan's shards have left."""
    path = plan.path
    for stem in (glob.escape(path.stem), f"{glob.escape(path.stem)}-{'[0-9]' * 6}"):
        remove_leftovers(path.parent, stem)


def write_shard(sampler: Sampler, shard: Shard, plan: Plan, pool: ThreadPoolExecutor) -> Iterator[int]:
    """Write one shard of a plan, whole or not at all, and yield the number of images of each batch.

    Args:
        sampler: Sampler of the plan's model. On the CPU, all threads of the pool use it, so its session
            should run on one thread.
        shard: The shard.
        plan: The plan.
        pool: Threads that encode the images and, on the CPU, also generate them.

    Raises:
        OutputError: The shard can't be written.
        UsageError: The encoder that the plan was made with is not installed here.
    """
    pack = _pack_on_cpu if sampler.provider == "cpu" else _pack_from_gpu
    try:
        with replacing(shard.path) as temporary, temporary.open("wb") as file:
            for count, entries in pack(sampler, shard, plan, pool):
                file.write(entries)
                yield count
            file.write(bytes(2 * _BLOCK))  # two empty blocks are the end of a tar file
    except OutputError as error:
        remedy = "the finished shards are complete; remove the cause, and continue with `resume=True`."
        raise OutputError(error.path, error.problem, remedy) from error


def _shards(path: Path, seeds: Seeds, size: int) -> Iterator[Shard]:
    for number, start in enumerate(range(0, len(seeds), size)):
        yield Shard(path.with_name(f"{path.stem}-{number:06d}.tar"), seeds[start : start + size])


def _describe(
    sampler: Sampler, seeds: Seeds, truncation: float, shard_size: int, label: str | None
) -> dict[str, object]:
    """Return the facts that the bytes of the shards depend on."""
    return {
        "model": sampler.contract.name,
        "model_sha256": sampler.model.fingerprint(),
        "provider": sampler.provider,
        "layout": sampler.contract.image.layout,
        "range": list(sampler.contract.image.range),
        # On a GPU the algorithm, and so the bytes, may depend on the batch size.
        "batch_size": None if sampler.provider == "cpu" else sampler.model.batch_size,
        "truncation": truncation,
        "label": label,
        "shard_size": shard_size,
        "encoder": fast_encoder().name,
        "images": len(seeds),
        "first_seed": int(seeds[0]),
        "seeds_sha256": hashlib.sha256(seeds.astype("<i8").tobytes()).hexdigest(),
    }


def _check_index(index: Path, facts: dict[str, object], begun: bool) -> None:
    try:
        found = json.loads(index.read_bytes())
    except FileNotFoundError:
        if begun:
            problem = "shards exist, and the index that describes them is missing"
            raise OutputError(index, problem) from None
        return
    except (OSError, ValueError, RecursionError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else "it is damaged"
        raise OutputError(index, f"the index of the existing shards can't be read ({reason})") from error
    known = found if isinstance(found, dict) else {}
    differing = {name.removesuffix("_sha256") for name in facts if known.get(name) != facts[name]}
    if differing:
        problem = f"the existing shards differ in {', '.join(sorted(differing))}"
        remedy = "repeat the request that created the shards, or choose another `out`."
        if differing == {"encoder"}:
            problem = (
                f"the existing shards were compressed by {known.get('encoder')}, not by {facts['encoder']}"
            )
            remedy = "install the same packages as before, or choose another `out`."
        raise OutputError(index, problem, remedy)


def _pack_on_cpu(
    sampler: Sampler, shard: Shard, plan: Plan, pool: ThreadPoolExecutor
) -> Iterator[tuple[int, bytes]]:
    """Yield the number of images and the tar entries of each batch. Each thread generates whole batches."""
    encoder, size = encoder_of(plan.encoder), sampler.model.batch_size

    def generate(seeds: Seeds) -> tuple[int, bytes]:
        images = sampler.sample(seeds, labels=plan.label, truncation=plan.truncation)
        return len(seeds), _pack(images, seeds, encoder)

    parts = (shard.seeds[start : start + size] for start in range(0, len(shard.seeds), size))
    waiting: collections.deque[Future[tuple[int, bytes]]] = collections.deque()
    try:
        for part in parts:
            waiting.append(pool.submit(generate, part))
            if len(waiting) > _AHEAD * usable_cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _pack_from_gpu(
    sampler: Sampler, shard: Shard, plan: Plan, pool: ThreadPoolExecutor
) -> Iterator[tuple[int, bytes]]:
    """Yield the number of images and the tar entries of each batch. The threads encode the GPU's batches."""
    pack, written = functools.partial(_pack, encoder=encoder_of(plan.encoder)), 0
    for images in sampler.stream(shard.seeds, labels=plan.label, truncation=plan.truncation):
        seeds = shard.seeds[written : written + len(images)]
        starts = range(0, len(images), _CHUNK)
        chunks = ([values[start : start + _CHUNK] for start in starts] for values in (images, seeds))
        yield len(images), b"".join(pool.map(pack, *chunks))
        written += len(images)


def _pack(images: Pixels, seeds: Seeds, encoder: Encoder) -> bytes:
    """Return the tar entries of some images."""
    entries = []
    for seed, png in zip(seeds.tolist(), encode_pngs(images, encoder=encoder), strict=True):
        entries += [_header(image_name(seed), len(png)), png, bytes(-len(png) % _BLOCK)]
    return b"".join(entries)


def _header(name: str, size: int) -> bytes:
    """Return the header of a tar entry (ustar, POSIX.1-1988): a plain file without owner and time.

    Python's `tarfile` is not used, because it takes as long for a header as the encoder takes for an image.
    """
    entry, length = name.encode(), b"%011o" % size
    checksum = b"%06o\0 " % (_CHECKSUM_OF_REST + sum(entry) + sum(length))
    return entry.ljust(100, b"\0") + _MODE_TO_GROUP + length + _TIME + checksum + _TYPE_TO_END


_MODE_TO_GROUP = b"0000644\0" + b"0000000\0" * 2  # mode, user and group
_TIME = b"\x0000000000000\0"
_TYPE_TO_END = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
# The checksum is the sum of all bytes of the header, in which the checksum itself counts as 8 spaces.
_CHECKSUM_OF_REST = sum(_MODE_TO_GROUP) + sum(_TIME) + 8 * ord(" ") + sum(_TYPE_TO_END)
