"""Adapter: turns latents and labels into the inputs of a third-party graph, and its output into images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .arrays import LabelIndices, Latents

Arrays = Mapping[str, npt.NDArray[Any]]
Content = Literal["latents", "label", "one_hot", "value"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feed:
    """How one input of a graph is filled.

    Attributes:
        name: Name of the input.
        dtype: NumPy name of the input's type, such as "float32".
        shape: Shape of the values of one image.
        has_batch: Whether the input has a batch axis before `shape`. An input without a batch axis takes the
            values of one image, or a constant.
        content: "latents", and behind or between them the one-hot code of the label if `one_hot_at` is given;
            "label" for the label's index; "one_hot" for its one-hot code alone; "value" for a constant.
        first: Index of the first latent that this input takes.
        count: Number of latents that this input takes.
        one_hot_at: Index in this input at which the one-hot code begins; None for latents alone.
        value: The constant.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    has_batch: bool
    content: Content
    first: int = 0
    count: int = 0
    one_hot_at: int | None = None
    value: float = 0.0

    def __str__(self) -> str:
        one_hot = "the one-hot code of the label"
        contents = {
            "latents": f"{self.count} latents",
            "label": "the index of the label",
            "one_hot": one_hot,
            "value": f"the constant {self.value:g}",
        }
        place = "" if self.one_hot_at is None else f", and {one_hot} from index {self.one_hot_at} on"
        return f"{contents[self.content]}{place}"

    def fill(self, latents: Latents, labels: LabelIndices | None, label_count: int) -> npt.NDArray[Any]:
        """Return the array for this input.

        Args:
            latents: float32 (n, dim).
            labels: Label indices, (n,); None for a generator without labels.
            label_count: Number of labels.
        """
        count = len(latents)
        shape = (count, *self.shape) if self.has_batch else self.shape
        if self.content == "value":
            return np.full(shape, self.value, self.dtype)
        if self.content == "latents" and self.one_hot_at is None:
            values: npt.NDArray[Any] = latents[:, self.first : self.first + self.count]
        elif labels is None:
            raise AssertionError("a graph that takes labels was described without labels")
        elif self.content == "label":
            values = labels
        else:
            values = np.eye(label_count, dtype=np.float32)[labels]
            if self.content == "latents":
                own = latents[:, self.first : self.first + self.count]
                values = np.concatenate(
                    [own[:, : self.one_hot_at], values, own[:, self.one_hot_at :]], axis=1
                )
        return np.ascontiguousarray(values.reshape(shape), dtype=self.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapter:
    """The inputs and the output of a third-party graph, in terms of latents, labels and images.

    Attributes:
        feeds: How each input is filled.
        latent: Key of the latents in the inputs that `graph_inputs` takes.
        dim: Number of latents per image.
        label: Key of the label indices in these inputs.
        label_count: Number of labels; 0 for none.
        output: Name of the output that holds the images.
        graph_shape: Shape of one image: (height, width, channels), or (channels, height, width).
    """

    feeds: tuple[Feed, ...]
    latent: str
    dim: int
    label: str
    label_count: int
    output: str
    graph_shape: tuple[int, ...]

    def graph_inputs(self, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays for the graph, from latents (n, dim) and label indices (n,)."""
        latents, labels = inputs[self.latent], inputs.get(self.label)
        return {feed.name: feed.fill(latents, labels, self.label_count) for feed in self.feeds}

    def images(self, output: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
        """Return the graph's output as images (count, *graph_shape), float32 or uint8.

        An output of another size is returned as it is.
        """
        values = output if output.dtype == np.uint8 else output.astype(np.float32, copy=False)
        shape = (count, *self.graph_shape)
        return values.reshape(shape) if values.size == np.prod(shape) else values

    def wrap(self, session: Any) -> AdaptedSession:
        """Return a session that takes latents and labels, and returns images."""
        return AdaptedSession(session, self)


class AdaptedSession:
    """An onnxruntime session of a third-party graph that is run like one of ganport's own graphs."""

    def __init__(self, session: Any, adapter: Adapter) -> None:
        self._session, self._adapter = session, adapter

    def run(self, outputs: Sequence[str], inputs: Arrays) -> list[npt.NDArray[Any]]:
        """Return a list with the images of one batch."""
        adapter = self._adapter
        (values,) = self._session.run([adapter.output], adapter.graph_inputs(inputs))
        return [adapter.images(values, len(inputs[adapter.latent]))]

    def get_provider_options(self) -> dict[str, Any]:
        """Return no options, because the graph of an adapted session is never captured."""
        return {}
