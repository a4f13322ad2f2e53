"""Requests for images: checking seeds, latents, labels and truncation, and making the graph's inputs."""

from __future__ import annotations

import dataclasses
import itertools
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from .arrays import LabelIndices, Latents, Seeds
from .contract import LABEL, Contract
from .display import shortened
from .errors import (
    FixedSeedError,
    InputKindError,
    LabelError,
    LatentShapeError,
    LatentValueError,
    UsageError,
)
from .latents import default_labels, one_hot, sample_checked, truncate
from .seeds import check_seeds, not_a_list

Label = str | int  # a name in the contract's labels, or an index into them
Labels = Label | Sequence[Label] | npt.NDArray[np.integer[Any]] | None
Inputs = Mapping[str, npt.NDArray[Any]]  # from the name of a graph input to an array of shape (n, ...)


@dataclasses.dataclass(frozen=True)
class Request:
    """Images to generate.

    Attributes:
        seeds: Seeds, int64 (n,). They are not used if `latents` are given.
        labels: Index of each image's label, int64 (n,). None for a generator that takes no label.
        truncation: Factor by which the seeds' latents are scaled towards their mean.
        latents: Latents from the caller, float32 (n, dim). None if the latents come from the seeds.
    """

    seeds: Seeds
    labels: LabelIndices | None = None
    truncation: float = 1.0
    latents: Latents | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def split(self, size: int) -> Iterator[Request]:
        """Yield this request in parts of at most `size` images."""
        if len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Request(
                self.seeds[part],
                None if self.labels is None else self.labels[part],
                self.truncation,
                None if self.latents is None else self.latents[part],
            )


def request_seeds(
    contract: Contract, seeds: Iterable[int], *, labels: Labels = None, truncation: float = 1.0
) -> Request:
    """Return the request for one image per seed, after all checks. Nothing is generated.

    Args:
        contract: Contract of the generator.
        seeds: Whole numbers in [0, 2**63).
        labels: One label for all images, or one for each. None for the default, seed modulo number of labels.
        truncation: Factor of the latents in [0, 1].

    Raises:
        SeedError: There are no seeds, or a seed is not a whole number or is out of range.
        FixedSeedError: The generator has fixed seeds, and a requested seed is not among them.
        InputKindError: A truncation or label is given for a generator that does not take one.
        LabelError: A label is not a label of this generator.
        UsageError: The truncation is out of range, or the number of labels is not the number of seeds.
    """
    checked = check_seeds(seeds)
    check_truncation(contract, truncation)
    if contract.input.seeds is not None:
        known = set(contract.input.seeds)
        for seed in checked.tolist():
            if seed not in known:
                raise FixedSeedError(seed, contract.input.seeds)
    return Request(checked, resolve_labels(contract, labels, checked), truncation)


def request_latents(contract: Contract, latents: npt.ArrayLike, *, labels: Labels = None) -> Request:
    """Return the request for one image per latent vector, after all checks. Nothing is generated.

    Args:
        contract: Contract of the generator.
        latents: Numbers of shape (n, dim), n >= 1.
        labels: One label for all images, or one for each. None for the default: image i has label i modulo
            the number of labels.

    Raises:
        UsageError: The latents are not numbers, or the number of labels is not the number of latents.
        LatentShapeError: The latents do not have the shape (n, dim).
        LatentValueError: A latent is not finite.
        InputKindError: The generator takes seeds or no input.
        LabelError: A label is not a label of this generator.
    """
    if contract.input.kind != "latent":
        raise InputKindError(contract.input.kind)
    checked = _check_latents(latents, contract.input.dim)
    turns = np.arange(len(checked))
    return Request(turns, resolve_labels(contract, labels, turns), latents=checked)


def _check_latents(latents: npt.ArrayLike, dim: int) -> Latents:
    try:
        given = np.asarray(latents)
    except ValueError:  # nested lists have different lengths
        given = np.array(None)
    if given.dtype.kind not in "fiu":
        raise UsageError(f"`latents` is {shortened(latents)}; it must be numbers of shape (n, {dim}).")
    if given.ndim != 2 or given.shape[0] == 0 or given.shape[1] != dim:
        raise LatentShapeError(given.shape, dim)
    checked = np.ascontiguousarray(given, dtype=np.float32)
    finite = np.isfinite(checked)
    if not finite.all():
        raise LatentValueError(int((~finite).sum()))
    return checked


def check_truncation(contract: Contract, truncation: float) -> None:
    """Raise UsageError for a truncation out of range, InputKindError if the generator takes no truncation."""
    # The order of the types matters: `numbers.Real` has a slow check, which a float does not reach.
    if not (isinstance(truncation, (float, numbers.Real)) and 0 <= truncation <= 1):
        raise UsageError(f"`truncation` is {truncation!r}; it must be a factor from 0 to 1.")
    if contract.input.kind != "latent" and truncation != 1:
        raise InputKindError(contract.input.kind)


def check_single_label(contract: Contract, labels: Labels) -> None:
    """Raise UsageError if `labels` is a list and not one label, LabelError if the label is unknown."""
    if _is_list(labels):
        raise UsageError("`labels` is a list; a stream and a walk take one label for all images.")
    resolve_labels(contract, labels, np.zeros(1, np.int64))


def resolve_labels(contract: Contract, labels: Labels, seeds: Seeds) -> LabelIndices | None:
    """Return the index of each image's label, int64 (n,); None if the generator takes no label as input.

    Args:
        contract: Contract of the generator.
        labels: One label for all images, or one for each. None for the default, seed modulo number of labels.
        seeds: Seeds of the images, int64 (n,).

    Raises:
        LabelError: A label is not a label of this generator.
        InputKindError: A label is given for a generator with fixed labels.
        UsageError: The number of labels is not the number of images.
    """
    known, is_fixed = contract.input.labels or (), contract.input.kind == "fixed"
    if labels is None:
        return None if is_fixed or not known else default_labels(seeds, len(known))
    if not known:
        raise LabelError(labels, known)
    if is_fixed:
        raise InputKindError("fixed")
    if not _is_list(labels):
        return np.full(len(seeds), _label_index(labels, known), np.int64)
    if len(labels) != len(seeds):
        raise UsageError(
            f"`labels` has {len(labels):,} entries for {len(seeds):,} images; give one for each, or one "
            "for all."
        )
    return np.array([_label_index(label, known) for label in labels], np.int64)


def graph_inputs(contract: Contract, request: Request) -> Inputs:
    """Return a dict from the name of a graph input to its array; empty for a generator with fixed seeds."""
    if contract.input.kind == "fixed":
        return {}
    labels = {} if request.labels is None else {LABEL: _encode(contract, request.labels)}
    if contract.input.kind == "seed":
        return {contract.input.name: request.seeds, **labels}
    return {contract.input.name: _latents(contract, request), **labels}


def _encode(contract: Contract, labels: LabelIndices) -> npt.NDArray[Any]:
    """Return label indices as the graph takes them: int64 (n,), or as one-hot codes, float32 (n, count)."""
    if contract.input.label_encoding == "index":
        return labels
    return one_hot(labels, len(contract.input.labels or ()))


def _latents(contract: Contract, request: Request) -> Latents:
    if request.latents is not None:
        return request.latents
    dim, distribution = contract.input.dim, contract.input.distribution
    latents = sample_checked(request.seeds, dim, distribution=distribution)
    return truncate(latents, request.truncation, distribution=distribution)


def _is_list(labels: object) -> TypeGuard[Sequence[Label] | npt.NDArray[Any]]:
    if isinstance(labels, np.ndarray):
        return labels.ndim > 0
    return isinstance(labels, Sequence) and not isinstance(labels, (str, bytes))


def _label_index(label: object, known: Sequence[str]) -> int:
    """Return the index of a label that is given by name or by index. Raises LabelError."""
    if isinstance(label, np.ndarray) and label.ndim == 0:
        label = label.item()
    if isinstance(label, str) and label in known:
        return known.index(label)
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool) and 0 <= label < len(known):
        return int(label)
    raise LabelError(label, known)


def split_seeds(seeds: Iterable[int], size: int) -> Iterator[Seeds | list[int]]:
    """Yield the seeds in parts of `size`. An iterator is read only as far as the next part needs."""
    if isinstance(seeds, np.ndarray) and seeds.ndim == 1:
        yield from (seeds[start : start + size] for start in range(0, len(seeds), size))
        return
    try:
        remaining = iter(seeds)
    except TypeError:
        raise not_a_list(seeds) from None
    while part := list(itertools.islice(remaining, size)):
        yield part
