"""A generator with any inputs and outputs, together with a description that brings it into standard form."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from ganport.runtime.adapter import Adapter
from ganport.runtime.arrays import Latents
from ganport.runtime.contract import LABEL, Contract
from ganport.runtime.description import Description
from ganport.runtime.display import first_line
from ganport.runtime.errors import ModelError, NotAGeneratorError
from ganport.runtime.latents import generator_inputs
from ganport.runtime.onnx_file import read_outline
from ganport.runtime.providers import onnxruntime_errors
from ganport.runtime.third_party import MOST_OUTSIDE, Described, describe, share_outside

from .errors import GeneratorError
from .parity import error_limit
from .precision import to_float32
from .sessions import open_on_cpu
from .standard_form import LATENT, to_standard_form, with_free_batch

Floats = npt.NDArray[np.float32]
Run = Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[Any]]

_TRIED = 3  # images of the comparison that shows whether a fixed batch can be made free


class DescribedGenerator:
    """A third-party generator in standard form: from latents and one-hot codes to images in [-1, 1].

    Attributes:
        contract: Contract that was derived from the graph and the description.
        note: A doubt that the user should know of; empty if there is none.
        original: What runs the original generator, as a text for messages.
        is_half: Whether the original computes in float16. Its graph is exported in float32.
        fixed_batch: Number of images per run if the graph works with this number only; otherwise None.
    """

    def __init__(
        self,
        shown: object,
        to_onnx: Callable[[int], onnx.ModelProto],
        run: Run,
        described: Described,
        *,
        original: str,
        clip: bool,
        is_half: bool = False,
    ) -> None:
        """Create the generator.

        Args:
            shown: Path or name of the generator, for error messages.
            to_onnx: Function that returns the original graph at an opset.
            run: Function that runs the original generator. It takes a dict from the names of the inputs to
                their values, and returns the output that holds the images.
            described: What the inputs take, and what the output holds.
            original: What runs the original generator, as a text for messages.
            clip: Whether values outside of the range are clipped. Otherwise they are an error.
            is_half: Whether the original computes in float16.
        """
        self._shown, self._run, self._described, self._clip = shown, run, described, clip
        self._original = functools.cache(lambda opset: to_float32(to_onnx(opset)))
        self.note, self.original, self.is_half = described.note, original, is_half
        self.fixed_batch: int | None = None

    @property
    def contract(self) -> Contract:
        """Contract that was derived from the graph and the description."""
        return self._described.contract

    @property
    def _adapter(self) -> Adapter:
        return self._described.adapter

    @property
    def has_levels(self) -> bool:
        """Whether the original's images are whole levels, as those of type uint8 are."""
        return self._described.has_levels

    def find_fixed_batch(self, opset: int) -> int | None:
        """Set and return `fixed_batch`, after an attempt to make the batch free."""
        batch = self.contract.batch
        if batch is not None and not self._is_free(opset, batch):
            self.fixed_batch = batch
        return self.fixed_batch

    def convert(self, opset: int, batch: int | None) -> onnx.ModelProto:
        """Return the graph in standard form.

        Args:
            opset: Version of the ONNX standard operators.
            batch: Number of images per run; None for any number.

        Raises:
            GeneratorError: The graph works with another number of images only.
        """
        if self.fixed_batch not in (None, batch):
            raise GeneratorError(
                self._shown,
                f"its graph generates {self.fixed_batch} images per run; use `batch={self.fixed_batch}`, or "
                "export the original with a free batch.",
            )
        return self._standard(opset, batch, self.contract.batch if self.fixed_batch is None else None)

    def _standard(self, opset: int, batch: int | None, freed: int | None) -> onnx.ModelProto:
        original = self._original(opset)
        if freed is not None:
            original = with_free_batch(original, freed)
        needs_clip = self._clip or self._described.may_exceed_range
        return to_standard_form(original, self._described, batch, clip=needs_clip)

    def _is_free(self, opset: int, batch: int) -> bool:
        """Return whether the graph generates the same images if its batch is made free."""
        seeds, distribution = np.arange(_TRIED), self.contract.input.distribution
        dim, label_count = self._adapter.dim, self._adapter.label_count
        inputs = generator_inputs(seeds, dim, label_count, distribution=distribution)
        try:
            session = open_on_cpu(self._standard(opset, None, batch))
            (images,) = session.run(None, {LATENT: inputs})
        except onnxruntime_errors():
            return False
        expected, limit = self.generate(inputs), error_limit(self.is_half, self.has_levels)
        return images.shape == expected.shape and bool(np.abs(images - expected).max() <= limit)

    def generate(self, inputs: Latents) -> Floats:
        """Return the images of the original generator, float32 (n, height, width, channels) in [-1, 1].

        Args:
            inputs: float32 (n, dim + number of labels): latents, then the one-hot code of the label.

        Raises:
            GeneratorError: Too many values lie outside of the range, and `clip` is false.
        """
        size = self.contract.batch or len(inputs)
        parts = [self._generate(inputs[start : start + size], size) for start in range(0, len(inputs), size)]
        return np.concatenate(parts)

    def _generate(self, inputs: Latents, size: int) -> Floats:
        """Return the images of up to `size` inputs. The batch is filled up with zeros."""
        filled = np.zeros((size, inputs.shape[1]), np.float32)
        filled[: len(inputs)] = inputs
        dim = self._adapter.dim
        given: dict[str, npt.NDArray[Any]] = {self._adapter.latent: filled[:, :dim]}
        if self._adapter.label_count:
            given[LABEL] = filled[:, dim:].argmax(axis=1)
        images = self._adapter.images(self._run(self._adapter.graph_inputs(given)), size)[: len(inputs)]
        image = self.contract.image
        if image.layout == "NCHW":
            images = images.transpose(0, 2, 3, 1)
        low, high = image.range
        scaled = images.astype(np.float32) * np.float32(2 / (high - low)) + np.float32(
            -1 - 2 * low / (high - low)
        )
        if not self._described.is_range_decided and not self._clip:
            self._check_outside(images)
        return np.clip(scaled, -1, 1)

    def _check_outside(self, images: npt.NDArray[Any]) -> None:
        (low, high), share = self.contract.image.range, share_outside(images, self.contract.image.range)
        if share > MOST_OUTSIDE:
            raise GeneratorError(
                self._shown,
                f"{share:.0%} of the values of some images lie outside of the range {low:g} to {high:g} "
                f"({images.min():.3g} to {images.max():.3g}); give another `value_range`, or clip such "
                "values with `clip=True`.",
            )


def describe_graph(shown: object, path: Path, model: onnx.ModelProto, description: Description) -> Described:
    """Return the description of a graph.

    Args:
        shown: Path or name of the generator, for error messages.
        path: Path whose stem is the generator's name.
        model: The graph.
        description: What the user says.

    Raises:
        GeneratorError: The graph is not that of a generator, or it does not decide a fact.
    """
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise GeneratorError(shown, f"its weights hold values that are not finite ({tensor.name}).")
    content = model.SerializeToString()
    try:
        outline = read_outline(content)
        # TensorFlow puts the channels last, unless the shape says otherwise.
        return describe(open_on_cpu(model), outline, path, description, usual_layout="NHWC")
    except NotAGeneratorError as error:
        raise GeneratorError(shown, f"{error.problem}.") from error
    except ModelError as error:
        raise GeneratorError(shown, getattr(error, "problem", str(error)) + ".") from error
    except onnxruntime_errors() as error:
        raise GeneratorError(shown, f"onnxruntime can't open it ({first_line(error)}).") from error
