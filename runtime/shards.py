"""Images in bulk: numbered .tar files of PNGs, as WebDataset reads them, each whole or not there.

Which seeds a shard holds depends on the seeds and its number alone, and its bytes on the model, the seeds and the options. So a
run that was killed goes on with the shards that are missing, and ends with the bytes of one that was not.

    images.json         what the shards are drawn from
    images-000000.tar   seed0000000.png, seed0000001.png, ...
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import OutputError, system_reason
from .files import remove_leftovers, replacing, write_bytes
from .images import encode_pngs
from .providers import usable_cores
from .sampler import Label, Pixels, Sampler
from .writers import image_name

SHARD_SIZE = 10_000  # images: few files, each written in a minute or less

_BLOCK = 512  # bytes, of a tar file
_THERE_ALREADY = "shards are there already", "go on with --resume, or name another place with --out."
_AT_ONCE = 64  # images that a thread encodes before the next looks for work

Seeds = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of images: its path, and the seeds in it, int64 (n,)."""

    path: Path
    seeds: Seeds


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be written.

    Attributes:
        path: beside which the shards are.
        facts: what their bytes depend on, for the index.
        missing: the shards that are not there yet.
        there: images of those that are.
        is_resumed: whether shards may be there.
        truncation: as for `Sampler.stream`.
        label: as for `Sampler.stream`.
    """

    path: Path
    facts: Mapping[str, object]
    missing: Sequence[Shard]
    there: int
    is_resumed: bool
    truncation: float
    label: str | None

    @property
    def index(self) -> Path:
        """The file that says what the shards are of."""
        return self.path.with_suffix(".json")


def write_shards(sampler: Sampler, plan: Plan) -> Iterator[int]:
    """Draw what a plan misses.

    Args:
        sampler: that the plan was made for.
        plan: of `plan_shards`.

    Yields:
        How many images came to what is there, after each batch.

    Raises:
        OutputError: shards can't be written.
    """
    begin(plan)
    with ThreadPoolExecutor(usable_cores(), "ganport-png") as encoders:
        for shard in plan.missing:
            yield from draw_shard(sampler, shard, plan, encoders)


def plan_shards(
    sampler: Sampler,
    seeds: Seeds,
    path: Path,
    truncation: float = 1.0,
    shard_size: int = SHARD_SIZE,
    resume: bool = False,
    label: Label | None = None,
) -> Plan:
    """Return what is to be written, after all checks; nothing is written yet.

    Args:
        sampler: to draw with.
        seeds: of the images, in the order of the shards.
        path: ends in .tar; NAME.tar gives NAME-000000.tar and so on, and NAME.json.
        truncation: as for `Sampler.sample`.
        shard_size: images per shard, at least 1; the last takes what is left.
        resume: go on with shards that are there, of the same model, seeds and options.
        label: as for `Sampler.stream`.

    Raises:
        OutputError: shards are there and resume is not asked for, or they are of something else.
        GanportError: as `Sampler.check_request`.
    """
    sampler.check_request(seeds, truncation, label)
    known = sampler.model.input.labels or ()
    label = label if label is None or isinstance(label, str) else known[int(label)]
    facts = _describe(sampler, seeds, truncation, shard_size, label)
    shards = list(_shards(path, seeds, shard_size))
    missing = [shard for shard in shards if not shard.path.exists()]
    begun = len(missing) < len(shards)
    there = len(seeds) - sum(len(shard.seeds) for shard in missing)
    plan = Plan(path, facts, missing, there, resume, truncation, label)
    if resume:
        _check_index(plan.index, facts, begun)
    elif begun or plan.index.exists():
        raise OutputError(plan.index, *_THERE_ALREADY)
    return plan


def begin(plan: Plan) -> None:
    """Write the index, which says what the shards are of; where a run goes on, remove what it left. Raises OutputError."""
    if plan.is_resumed:
        remove_parts(plan)
    elif plan.index.exists():  # somebody else has begun since
        raise OutputError(plan.index, *_THERE_ALREADY)
    write_bytes(plan.index, json.dumps(plan.facts, indent=2).encode())


def remove_parts(plan: Plan) -> None:
    """Remove what killed writers left of a plan's shards."""
    path = plan.path
    for stem in (glob.escape(path.stem), f"{glob.escape(path.stem)}-{'[0-9]' * 6}"):
        remove_leftovers(path.parent, stem)


def draw_shard(sampler: Sampler, shard: Shard, plan: Plan, encoders: ThreadPoolExecutor) -> Iterator[int]:
    """Write one shard of a plan, whole or not at all, and yield how many images came to it each time. Raises OutputError."""
    batches = sampler.stream(shard.seeds, plan.truncation, plan.label)
    try:
        yield from _write_shard(shard.path, shard.seeds, batches, encoders)
    except OutputError as error:
        remedy = "the shards that are there are whole; put that right, and go on with --resume."
        raise OutputError(error.path, error.problem, remedy) from error


def _shards(path: Path, seeds: Seeds, size: int) -> Iterator[Shard]:
    for number, start in enumerate(range(0, len(seeds), size)):
        yield Shard(path.with_name(f"{path.stem}-{number:06d}.tar"), seeds[start : start + size])


def _describe(sampler: Sampler, seeds: Seeds, truncation: float, shard_size: int, label: Label | None) -> dict[str, object]:
    """Return what the bytes of the shards depend on."""
    return {
        "model": sampler.model.name,
        "model_sha256": sampler.fingerprint(),
        "provider": sampler.provider,
        "layout": sampler.model.image.layout,
        "range": list(sampler.model.image.range),
        # On a GPU a batch of another size may be drawn by another algorithm.
        "batch_size": None if sampler.provider == "cpu" else sampler.batch_size,
        "truncation": truncation,
        "label": label,
        "shard_size": shard_size,
        "images": len(seeds),
        "first_seed": int(seeds[0]),
        "seeds_sha256": hashlib.sha256(seeds.astype("<i8").tobytes()).hexdigest(),
    }


def _check_index(index: Path, facts: dict[str, object], begun: bool) -> None:
    try:
        found = json.loads(index.read_bytes())
    except FileNotFoundError:
        if begun:
            raise OutputError(index, "shards are there, and nothing says of what", "name another place with --out.") from None
        return
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else "it is damaged"
        raise OutputError(index, f"it says what the shards are of, and {reason}") from error
    others = [name for name in facts if not isinstance(found, dict) or found.get(name) != facts[name]]
    if others:
        raise OutputError(index, f"the shards there differ in {', '.join(others)}", "ask for the same, or name another --out.")


def _write_shard(shard: Path, seeds: Seeds, batches: Iterator[Pixels], encoders: ThreadPoolExecutor) -> Iterator[int]:
    """Write one shard, and yield how many images came to it each time."""
    with replacing(shard) as temporary, temporary.open("wb") as file:
        place = 0
        for images in batches:
            names = [image_name(seed) for seed in seeds[place : place + len(images)].tolist()]
            parts = range(0, len(images), _AT_ONCE)
            for packed in encoders.map(lambda start, images=images, names=names: _pack(images, names, start), parts):
                file.write(packed)
            place += len(images)
            yield len(images)
        file.write(bytes(2 * _BLOCK))  # the end of a tar file


def _pack(images: npt.NDArray[np.uint8], names: Sequence[str], start: int) -> bytes:
    """Return the tar entries of some images of a batch."""
    entries = []
    for name, png in zip(names[start : start + _AT_ONCE], encode_pngs(images[start : start + _AT_ONCE]), strict=True):
        entries += [_header(name, len(png)), png, bytes(-len(png) % _BLOCK)]
    return b"".join(entries)


def _header(name: str, size: int) -> bytes:
    """Return the header of a tar entry (ustar, POSIX.1-1988): a plain file of nobody's, made at no time.

    `tarfile` takes as long for one as the picture takes to encode.
    """
    fields = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    rest = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    checksum = sum(fields) + 8 * ord(" ") + sum(rest)
    return (fields + b"%06o\0 " % checksum + rest).ljust(_BLOCK, b"\0")
