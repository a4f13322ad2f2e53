"""What a cell of the matrix compares, and what it measures.

A cell belongs to one model file and one engine. The file's golden images say which images are right.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ganport.runtime import Contract, Sampler, sample_latents
from ganport.runtime.images import split_grid, to_pixels
from ganport.runtime.latents import default_labels, one_hot

Pixels = npt.NDArray[np.uint8]
Inputs = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model file, the inputs of its golden images, and these images.

    Attributes:
        path: The .onnx file.
        contract: Contract of the file.
        seeds: Seeds of the golden images.
        golden: Golden images, uint8 (seeds, height, width, channels).
    """

    path: Path
    contract: Contract
    seeds: tuple[int, ...]
    golden: Pixels

    def inputs(self, *, float_labels: bool = False) -> Inputs:
        """Return the inputs of the graph for all golden images, by the name of the input.

        Args:
            float_labels: Whether the graph takes labels as one-hot vectors, float32 (seeds, labels). By
                default it takes indices, int64 (seeds,).
        """
        source, seeds = self.contract.input, np.asarray(self.seeds)
        inputs = {source.name: sample_latents(self.seeds, source.dim, distribution=source.distribution)}
        if source.labels:
            labels = default_labels(seeds, len(source.labels))
            inputs["label"] = one_hot(labels, len(source.labels)) if float_labels else labels
        return inputs


@dataclasses.dataclass(frozen=True)
class Measured:
    """A cell that has images.

    Attributes:
        off: Number of pixel values that differ from the golden images.
        values: Number of pixel values.
        largest: Largest difference in levels.
        milliseconds: Median time of one image, in milliseconds; None if no clock could measure it.
        bytes: Size of what the engine loads: the model file, or the program in flash.
        note: Further facts, such as the RAM of a program.
    """

    off: int
    values: int
    largest: int
    milliseconds: float | None
    bytes: int
    note: str = ""

    @property
    def share(self) -> float:
        """Share of the pixel values that differ."""
        return self.off / self.values


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A cell without images.

    Attributes:
        reason: Why the engine generated no images.
    """

    reason: str


Cell = Measured | Skipped


@dataclasses.dataclass(frozen=True)
class Generated:
    """What an engine returns.

    Attributes:
        images: Images of the case's seeds, uint8 (seeds, height, width, channels).
        milliseconds: Median time of one image, in milliseconds; None if no clock could measure it.
        bytes: Size of what the engine loads.
        note: Further facts.
    """

    images: Pixels
    milliseconds: float | None
    bytes: int
    note: str = ""


def read_case(path: Path) -> Case:
    """Return the case of a model file that ganport wrote."""
    with Sampler(path, provider="cpu") as sampler:
        contract = sampler.contract
    seeds = tuple(contract.golden["seeds"])
    content = base64.b64decode(contract.golden["png_base64"])
    with Image.open(io.BytesIO(content), formats=["PNG"]) as png:
        grid = np.asarray(png)
    golden = split_grid(np.atleast_3d(grid), len(seeds), contract.image.shape)
    return Case(path, contract, seeds, golden)


def compare(case: Case, generated: Generated) -> Measured:
    """Return the comparison of an engine's images with the golden images.

    Raises:
        ValueError: The images have another shape than the golden images.
    """
    if generated.images.shape != case.golden.shape:
        raise ValueError(f"the images have shape {generated.images.shape}; expected {case.golden.shape}")
    levels = np.abs(generated.images.astype(np.int16) - case.golden)
    return Measured(
        off=int((levels > 0).sum()),
        values=levels.size,
        largest=int(levels.max()),
        milliseconds=generated.milliseconds,
        bytes=generated.bytes,
        note=generated.note,
    )


def as_pixels(output: npt.NDArray[Any], case: Case, value_range: tuple[float, float] = (-1, 1)) -> Pixels:
    """Return the output of a graph as images, uint8 (seeds, height, width, channels).

    A form of the file, or the converter of an engine, may have changed the layout and the type of the output.

    Args:
        output: Output of the graph for all seeds.
        case: The case.
        value_range: The values of black and white, if the output is not uint8.

    Raises:
        ValueError: The output has another size, or values that are NaN.
    """
    height, width, channels = case.contract.image.shape
    layout = "NHWC" if output.shape[1:] == (height, width, channels) else "NCHW"
    shape = (height, width, channels) if layout == "NHWC" else (channels, height, width)
    dtype = "uint8" if output.dtype == np.uint8 else "float32"
    spec = dataclasses.replace(case.contract.image, layout=layout, dtype=dtype, range=value_range)
    return to_pixels(output.reshape(len(case.seeds), *shape), spec)
