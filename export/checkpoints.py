"""Checkpoints of TensorFlow: files of tf.train.Checkpoint, and of model.save_weights in Keras 2."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import trackable_object_graph_pb2

from .causes import cause_of
from .errors import GeneratorError
from .paths import checkpoint_prefix
from .tensorflow_function import FUNCTION_ERRORS

_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_COUNTER = "save_counter"  # variable that tf.train.Checkpoint adds
_GENERATOR = "generator"  # name that most programs give their generator in a checkpoint
_KERAS_3 = {"_functional", "_operations", "_kernel"}  # names of objects that only Keras 3 has

Shapes = collections.Counter[tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of TensorFlow.

    Attributes:
        path: Path that the user gave, for error messages.
        prefix: Path of its files without their endings.
        graph: Objects in it, as TensorFlow describes them. The first one is the root.
        shapes: Shapes of the variables, by the keys that `graph` has for them.
    """

    path: Path
    prefix: str
    graph: Any
    shapes: dict[str, list[int]]

    @property
    def keras_version(self) -> str:
        """Main version of Keras that wrote the checkpoint."""
        names = {child.local_name for node in self.graph.nodes for child in node.children}
        return "3" if names & _KERAS_3 else "2"

    def restore(self, model: Any, name: str | None) -> None:
        """Load the weights of a model.

        Args:
            model: Keras model, whose weights are replaced.
            name: Name of the model in the checkpoint; None for "generator", or for the only object whose
                variables fit the model.

        Raises:
            GeneratorError: No object in the checkpoint fits the model, or several do.
        """
        candidates = self._find(_shapes_of(model), name)
        for parts in candidates:
            try:
                self._read(model, parts)
            except FUNCTION_ERRORS as error:
                if parts == candidates[-1]:
                    raise GeneratorError(
                        self.path, f"its weights don't fit the network ({cause_of(error)})."
                    ) from error
            else:
                return

    def _read(self, model: Any, parts: tuple[str, ...]) -> None:
        """Load the weights of a model from the object that the names lead to. All weights must be there."""
        target = model
        for part in reversed(parts):
            target = tf.train.Checkpoint(**{part: target})
        checkpoint = target if isinstance(target, tf.train.Checkpoint) else tf.train.Checkpoint(target)
        status = checkpoint.read(self.prefix)
        # Otherwise TensorFlow prints a line for each value that is not used, such as those of an optimizer.
        status.expect_partial()
        status.assert_existing_objects_matched()

    def _find(self, wanted: Shapes, name: str | None) -> list[tuple[str, ...]]:
        """Return the names that lead from the root to the object whose variables have the wanted shapes.

        If an object has all its variables in an object inside of it, the names for both are returned, those
        of the outer one first.
        """
        fitting = [parts for parts, node in self._objects() if self._shapes_below(node) == wanted]
        named = [parts for parts in fitting if parts[-1:] == (name or _GENERATOR,)]
        chosen = named or ([] if name else fitting)
        if not chosen:
            known = ", ".join(parts[0] for parts, _ in self._objects() if len(parts) == 1)
            missing = f"no object `layer={name!r}`" if name else "no object"
            raise GeneratorError(
                self.path,
                f"{missing} in the checkpoint has variables of the shapes that the network has; the objects "
                f"in it are: {known}. Check that `network` builds the network that was saved.",
            )
        if any(outer != inner[: len(outer)] for outer, inner in itertools.pairwise(chosen)):
            listed = ", ".join("/".join(parts) for parts in chosen)
            raise GeneratorError(
                self.path,
                f"several objects in the checkpoint fit the network: {listed}; choose one with "
                f"`layer={chosen[0][-1]!r}`.",
            )
        return chosen

    def _objects(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """Iterate over the objects that may be models: the names that lead to each, and its number.

        Objects inside of a Keras model, and lists of variables, have names that begin with an underscore.
        """
        waiting: collections.deque[tuple[tuple[str, ...], int]] = collections.deque([((), 0)])
        seen = {0}
        while waiting:
            parts, number = waiting.popleft()
            yield parts, number
            for child in self.graph.nodes[number].children:
                name = child.local_name
                if child.node_id in seen or name.startswith("_") or "optimizer" in name or name == _COUNTER:
                    continue
                seen.add(child.node_id)
                waiting.append(((*parts, name), child.node_id))

    def _shapes_below(self, number: int) -> Shapes:
        """Return how often each shape occurs among the variables of an object and of those inside of it."""
        waiting, seen = [number], {number}
        found: Shapes = collections.Counter()
        while waiting:
            node = self.graph.nodes[waiting.pop()]
            for attribute in node.attributes:
                found[tuple(self.shapes.get(attribute.checkpoint_key, ()))] += 1
            for child in node.children:
                if child.node_id not in seen and child.local_name != _COUNTER:
                    seen.add(child.node_id)
                    waiting.append(child.node_id)
        return found


def _shapes_of(model: Any) -> Shapes:
    return collections.Counter(tuple(weight.shape) for weight in model.weights)


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint at a path: a folder with checkpoints, or the prefix of the files of one.

    Raises:
        GeneratorError: The checkpoint is damaged, or TensorFlow 1 wrote it.
    """
    prefix = str(checkpoint_prefix(path))
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = reader.get_variable_to_shape_map()
        if _GRAPH_KEY in shapes:
            graph.ParseFromString(reader.get_tensor(_GRAPH_KEY))
    except (*FUNCTION_ERRORS, DecodeError) as error:
        raise GeneratorError(path, f"TensorFlow can't read the checkpoint ({cause_of(error)}).") from error
    if not graph.nodes:
        raise GeneratorError(
            path,
            "it is a checkpoint of TensorFlow 1, whose weights belong to a graph that is not in it; load it "
            "in the program that wrote it, and save a SavedModel there.",
        )
    return Checkpoint(path, prefix, graph, shapes)
