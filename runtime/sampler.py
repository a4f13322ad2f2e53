"""Sampler: load a generator once, draw many images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .contract import METADATA_KEY, Contract
from .errors import (
    ContractError,
    FixedSeedError,
    InputKindError,
    LatentShapeError,
    ModelFormatError,
    ModelNotFoundError,
    NotAGeneratorError,
    system_reason,
)
from .images import to_uint8
from .latents import sample_latents
from .providers import open_session
from .seeds import check_seeds

BATCH_SIZE = 64  # images per call where the model leaves the choice: enough to fill a CPU, little enough to bound memory

Latents = npt.NDArray[np.float32]
Seeds = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

_ORT_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)", "int64": "tensor(int64)"}


class Sampler:
    """Draws images from one exported generator.

    An image belongs to its seed: on the CPU the same bytes whether drawn alone, in a batch, or in another order.

    Args:
        path: an .onnx file that `ganport export` made.
        provider: "cpu" or "cuda". What is asked for is what runs, or there is an error.

    Raises:
        ModelError: the file is missing, damaged, or no ganport generator (see runtime.errors for the leaves).
        ProviderError: the provider can't be used on this machine.

    Example::

        sampler = Sampler("generator.onnx")
        images = sampler.sample(range(64))  # uint8 (64, 28, 28, 1)
    """

    def __init__(self, path: str | os.PathLike[str], provider: str = "cpu") -> None:
        self.path = Path(path)
        self.provider = provider
        self._session = open_session(_check_file(self.path), provider)
        self._model = _read_contract(self._session, self.path)
        self._batch_size = self._model.batch or BATCH_SIZE

    @property
    def model(self) -> Contract:
        """What the model file says about itself."""
        return self._model

    def sample(self, seeds: Iterable[int]) -> Pixels:
        """Draw one image per seed.

        Args:
            seeds: whole numbers in [0, 2**63), in any order.

        Returns:
            uint8 (n, height, width, channels), in the order of the seeds.

        Raises:
            SeedError: a seed is no whole number or out of range, or there is none.
            FixedSeedError: the file draws certain seeds only, and one is not among them.
        """
        checked = check_seeds(seeds)
        source = self._model.input
        if source.kind == "fixed":
            return self._pick(checked)
        if source.kind == "seed":
            return self._draw(len(checked), lambda part: checked[part])
        return self._draw(len(checked), lambda part: sample_latents(checked[part], source.dim))

    def sample_latents(self, latents: npt.NDArray[np.floating[Any]]) -> Pixels:
        """Draw one image per latent.

        Args:
            latents: shape (n, dim), n >= 1, any float type.

        Returns:
            uint8 (n, height, width, channels), in the order of the latents.

        Raises:
            LatentShapeError: another shape.
            InputKindError: the file takes seeds, or nothing.
        """
        if self._model.input.kind != "latent":
            raise InputKindError(self._model.input.kind)
        dim = self._model.input.dim
        if latents.ndim != 2 or latents.shape[0] == 0 or latents.shape[1] != dim:
            raise LatentShapeError(latents.shape, dim)
        checked = np.ascontiguousarray(latents, dtype=np.float32)
        return self._draw(len(checked), lambda part: checked[part])

    def _pick(self, seeds: Seeds) -> Pixels:
        """Draw the images that are baked in; return those of the seeds."""
        rows = {seed: row for row, seed in enumerate(self._model.input.seeds or ())}
        for seed in seeds.tolist():
            if seed not in rows:
                raise FixedSeedError(seed, tuple(rows))
        (images,) = self._session.run([self._model.image.name], {})
        return self._to_pixels(images[[rows[seed] for seed in seeds.tolist()]])

    def _draw(self, count: int, inputs_of: Callable[[slice], Latents | Seeds]) -> Pixels:
        """Draw batch by batch, so that memory beyond the result is bounded."""
        images = np.empty((count, *self._model.image.shape), dtype=np.uint8)
        for start in range(0, count, self._batch_size):
            part = slice(start, start + self._batch_size)
            images[part] = self._run(inputs_of(part))
        return images

    def _run(self, inputs: Latents | Seeds) -> Pixels:
        """Draw at most one batch of latents (n, dim), or of seeds (n,), with n <= batch_size."""
        count = len(inputs)
        if self._model.batch is not None and count < self._model.batch:
            padded = np.zeros((self._model.batch, *inputs.shape[1:]), dtype=inputs.dtype)
            padded[:count] = inputs
            inputs = padded
        (images,) = self._session.run([self._model.image.name], {self._model.input.name: inputs})
        return self._to_pixels(images[:count])

    def _to_pixels(self, images: npt.NDArray[Any]) -> Pixels:
        if self._model.image.layout == "NCHW":
            images = images.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images if images.dtype == np.uint8 else to_uint8(images))


def _check_file(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelFormatError(path, "the file is empty")
    except FileNotFoundError:
        raise ModelNotFoundError(path) from None
    except OSError as error:
        raise ModelNotFoundError(path, system_reason(error)) from error
    return path


def _read_contract(session: Any, path: Path) -> Contract:
    """Return the contract, after holding it against the graph that it came with."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise NotAGeneratorError(path)
    contract = Contract.from_json(text)
    source, image = contract.input, contract.image
    if source.kind == "fixed":
        _check_fixed(contract, session.get_inputs())
    elif source.kind == "seed":
        _check_tensors("input", session.get_inputs(), source.name, "int64", contract.batch, ())
    else:
        _check_tensors("input", session.get_inputs(), source.name, "float32", contract.batch, (source.dim,))
    _check_tensors("image", session.get_outputs(), image.name, image.dtype, contract.batch, image.graph_shape)
    return contract


def _check_fixed(contract: Contract, inputs: Any) -> None:
    if inputs:
        raise ContractError("input", f"the contract promises no input, the graph has {[tensor.name for tensor in inputs]}")
    if contract.batch != len(contract.input.seeds or ()):
        raise ContractError("input.seeds", f"one seed per image is due, batch is {contract.batch or 'dynamic'}")


def _check_tensors(field: str, tensors: Any, name: str, dtype: str, batch: int | None, shape: tuple[int, ...]) -> None:
    """Raise ContractError unless the graph has exactly the one tensor that the contract promises."""
    there = [(tensor.name, tensor.type, tuple(tensor.shape)) for tensor in tensors]
    fits = (
        len(there) == 1
        and there[0][:2] == (name, _ORT_TYPES[dtype])
        and there[0][2][1:] == shape
        and (not isinstance(there[0][2][0], int) if batch is None else there[0][2][0] == batch)
    )
    if not fits:
        due = (name, _ORT_TYPES[dtype], ("batch" if batch is None else batch, *shape))
        raise ContractError(field, f"the contract promises {due}, the graph has {there}")
