"""Which input of a third-party graph takes what: latents, a label, its one-hot code, or a constant.

The types, the shapes and the names of the inputs decide this, together with what the user says. An input that
may take several things is never guessed: the error names the option that decides it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .adapter import Content, Feed
from .contract import LARGEST_DIM
from .description import Description, default_names
from .errors import NotAGeneratorError
from .onnx_file import Node, Outline

Reject = Callable[[str], NotAGeneratorError]

# Dict from onnxruntime's name of a type to NumPy's.
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
_FLOATS = ("float32", "float16", "float64")
# Names that an author gives to an input for labels, and to an input for a constant such as a truncation.
_LABEL_NAME = (
    r"(?:^|[^a-z])(labels?|class(?:es|_ids?|_labels?)?|cls|y|c|cond(?:ition|itioning)?|one_?hot|category)"
    r"(?:[^a-z]|$)"
)
_CONSTANT_NAME = r"psi|trunc|strength|temperature|sigma|alpha|scale|lod"
# Usual numbers of latents. An input with ten elements more may hold a one-hot code of ten classes.
_USUAL_DIMS = (32, 50, 62, 64, 100, 128, 256, 512)
_MOST_IMAGE_SIDE = 8  # a float input with larger sides than this is an image, not latents
# Operations that pass on the values of a label or of latents.
_MOVES = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand")
# Operations with which Keras' Embedding replaces negative indices, and keeps the others.
_SELECTS = ("Less", "Not", "Add", "Mul", "Where")


class GraphInput(NamedTuple):
    """One input of a graph.

    Attributes:
        name: Name of the input.
        kind: onnxruntime's name of the type, such as "tensor(float)".
        shape: Sizes of the axes: a number, or a text or None for a size that is not fixed.
    """

    name: str
    kind: str
    shape: tuple[Any, ...]

    @property
    def dtype(self) -> str:
        """NumPy name of the type; empty for a type that is not supported."""
        return _TYPES.get(self.kind, "")

    @property
    def width(self) -> int | None:
        """Number of values of one image, without the batch axis; None if it is not stated."""
        sizes = self.shape[1:]
        return math.prod(sizes) if all(isinstance(size, int) for size in sizes) else None

    def __str__(self) -> str:
        return f"{self.name!r} of {self.kind} {list(self.shape)}"


class Assignment(NamedTuple):
    """How all inputs of a graph are filled.

    Attributes:
        feeds: How each input is filled.
        dim: Number of latents per image.
        labels: Names of the labels; None for a generator without labels.
        batch: Number of images per run that the inputs fix; None if they allow any number.
        note: A doubt that the user should know of; empty if there is none.
    """

    feeds: tuple[Feed, ...]
    dim: int
    labels: tuple[str, ...] | None
    batch: int | None
    note: str = ""


def assign_inputs(
    inputs: Sequence[GraphInput], outline: Outline, description: Description, reject: Reject
) -> Assignment:
    """Return how each input of a graph is filled.

    Args:
        inputs: Inputs of the graph.
        outline: Operations and constants of the graph.
        description: What the user says.
        reject: Function that returns the error for a problem.

    Raises:
        NotAGeneratorError: The graph takes no latents, or the role of an input is not clear.
    """
    _check_inputs(inputs, description, reject)
    constants = [source for source in inputs if _is_constant(source, description)]
    others = [source for source in inputs if source not in constants]
    classes = [source for source in others if _takes_index(source, outline)]
    codes = [source for source in others if source.dtype not in _FLOATS and source not in classes]
    is_alone = len(others) == 1
    floats = [_with_width(each, outline, alone=is_alone) for each in others if each not in (*classes, *codes)]
    names = _label_names(classes, outline, description, reject)
    _check_codes(codes, names, bool(classes), reject)
    _check_floats(floats, names, bool(classes), reject)
    one_hot = None
    if names is not None and not classes:
        one_hot = codes[0] if codes else _find_one_hot(floats, len(names), description, reject)
    floats = [source for source in floats if source is not one_hot]
    joined = names is not None and not classes and one_hot is None
    if description.labels_at is not None and not joined:
        raise reject(
            "`labels_at` is for a one-hot code in one input together with the latents; give `labels`, too, "
            "or leave it out"
        )
    latents = list(_latent_feeds(floats, len(names or ()) if joined else 0, description, reject))
    feeds = [
        *latents,
        *(_feed(source, "label") for source in classes),
        *([_feed(one_hot, "one_hot")] if one_hot else []),
        *(_constant_feed(source, description) for source in constants),
    ]
    by_name = {feed.name: feed for feed in feeds}
    return Assignment(
        feeds=tuple(by_name[source.name] for source in inputs),
        dim=sum(feed.count for feed in latents),
        labels=names,
        batch=_fixed_batch(others, classes),
        note="" if names else _doubt(floats),
    )


def _check_inputs(inputs: Sequence[GraphInput], description: Description, reject: Reject) -> None:
    known = [source.name for source in inputs]
    for name in description.input_values:
        if name not in known:
            raise reject(f"`input_values` names {name!r}, and its inputs are {', '.join(known) or 'none'}")
    for source in inputs:
        if not source.dtype:
            raise reject(
                f"its input {source} has a type that is not supported; export it with latents of float32 and "
                "labels of int64"
            )


def _is_constant(source: GraphInput, description: Description) -> bool:
    """Return whether an input takes a constant: the user gives a value, or the input has no elements."""
    return source.name in description.input_values or 0 in source.shape[1:]


def _takes_index(source: GraphInput, outline: Outline) -> bool:
    """Return whether an input takes the index of a label.

    An input of whole numbers does, unless it takes several numbers per image. An input of floats does if the
    graph looks up its values in a table, which Keras' Embedding does after a conversion to whole numbers.
    """
    if source.dtype not in _FLOATS:
        return source.width in (1, None)
    return source.width == 1 and _count_labels(source.name, outline) is not None


def _constant_feed(source: GraphInput, description: Description) -> Feed:
    has_batch = bool(source.shape) and not isinstance(source.shape[0], int)
    sizes = source.shape[1:] if has_batch else source.shape
    return Feed(
        name=source.name,
        dtype=source.dtype,
        shape=tuple(size if isinstance(size, int) else 1 for size in sizes),
        has_batch=has_batch,
        content="value",
        value=description.input_values.get(source.name, 0.0),
    )


def _label_names(
    classes: Sequence[GraphInput], outline: Outline, description: Description, reject: Reject
) -> tuple[str, ...] | None:
    """Return the names of the labels, from the user or from the graph; None for no labels."""
    names = description.label_names
    if not classes:
        return names
    if len(classes) > 1:
        listed = " and ".join(map(str, classes))
        raise reject(
            f"its inputs {listed} may all take labels; give a constant with `input_values` for all but one"
        )
    (source,) = classes
    if source.dtype == "bool":
        raise reject(
            f"its input {source} takes true or false; give `input_values={{{source.name!r}: 0}}`, or 1"
        )
    decided = _count_labels(source.name, outline)
    if names is None and decided is None:
        raise reject(
            f"its input {source} takes a label, and the graph does not show how many labels there are; give "
            f"`labels`, such as `labels=10`, or `input_values={{{source.name!r}: 0}}` for one label alone"
        )
    if names is not None and decided is not None and len(names) > decided:
        raise reject(f"`labels` has {len(names)} labels, and the graph has {decided}")
    return names or default_names(decided or 0)


def _count_labels(name: str, outline: Outline) -> int | None:
    """Return the number of labels that a graph shows; None if it shows none.

    It is the number of rows of an embedding, the depth of a OneHot, or the number of labels that the label is
    compared with, as in the one-hot codes that PyTorch exports.
    """
    counts = {"Gather": _count_rows, "OneHot": _depth, "Equal": _count_compared}
    added: set[float] = set()
    for node in _consumers(name, outline, (*_MOVES, *_SELECTS)):
        if node.kind == "Add":
            added.update(number for each in node.inputs for number in _numbers(each, outline))
        if node.kind in counts and len(node.inputs) > 1:
            count = counts[node.kind](node, outline)
            # Keras adds the number of labels to a negative index. After another addition, a label is not the
            # index, so that there are fewer labels than rows.
            if count is not None and count >= 2 and added <= {count}:
                return count
    return None


def _numbers(name: str, outline: Outline) -> tuple[float, ...]:
    constant = outline.constants.get(name)
    return () if constant is None else constant.numbers or ()


def _count_rows(node: Node, outline: Outline) -> int | None:
    table = outline.constants.get(node.inputs[0])
    return table.shape[0] if table and table.shape else None


def _depth(node: Node, outline: Outline) -> int | None:
    depth = outline.constants.get(node.inputs[1])
    return int(depth.numbers[0]) if depth and depth.numbers else None


def _count_compared(node: Node, outline: Outline) -> int | None:
    """Return the length of the constant 0, 1, 2, ... that a label is compared with.

    The numbers of a long constant are not in the outline, and are not checked.
    """
    others = next((outline.constants[name] for name in node.inputs if name in outline.constants), None)
    if others is None or not others.shape:
        return None
    count = others.shape[-1]
    is_range = others.numbers is None or others.numbers == tuple(range(count))
    return count if is_range and math.prod(others.shape) == count else None


def _consumers(name: str, outline: Outline, passing: Sequence[str] = _MOVES) -> Iterator[Node]:
    """Yield the operations that use a value, or what other operations compute from this value alone.

    Args:
        name: Name of the value.
        outline: Operations and constants of the graph.
        passing: Kinds of these other operations.
    """
    reached = {name}
    for node in outline.nodes:
        if not reached.intersection(node.inputs):
            continue
        yield node
        used = node.inputs[:1] if node.kind in _MOVES else node.inputs
        if node.kind in passing and all(each in reached or each in outline.constants for each in used):
            reached.update(node.outputs)


def _with_width(source: GraphInput, outline: Outline, *, alone: bool) -> GraphInput:
    """Return an input with a stated number of latents, which the first layer's weights show if need be.

    Args:
        source: Input of the graph.
        outline: Operations and constants of the graph.
        alone: Whether there is no other input. Only then can an input without any shape be the latents.
    """
    if source.width is not None and source.shape:
        return source
    if not source.shape and not alone:
        return source
    sizes = list(source.shape) or ["batch", None]
    unknown = [axis for axis in range(1, len(sizes)) if not isinstance(sizes[axis], int)]
    width = next(_first_widths(source.name, outline), None)
    stated = [size for size in sizes[1:] if isinstance(size, int)]
    # If a size other than 1 is stated, it is the number of latents of a pixel, and the sides are free.
    if width is None or not unknown or any(size != 1 for size in stated):
        return source
    sizes[unknown[0]] = width
    for axis in unknown[1:]:
        sizes[axis] = 1
    return source._replace(shape=tuple(sizes))


def _first_widths(name: str, outline: Outline) -> Iterator[int]:
    """Yield the number of inputs of each layer that takes a value as it is, from the shape of the weights."""
    for node in _consumers(name, outline):
        weights = outline.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if weights is None or len(weights.shape) < 2:
            continue
        if node.kind in ("MatMul", "ConvTranspose"):
            yield weights.shape[0]
        elif node.kind == "Gemm":
            yield weights.shape[1 if node.attributes.get("transB") else 0]
        elif node.kind == "Conv":
            yield weights.shape[1]


def _check_codes(
    codes: Sequence[GraphInput], names: tuple[str, ...] | None, has_class: bool, reject: Reject
) -> None:
    """Reject inputs of several whole numbers per image that do not take the one-hot code of a label."""
    for source in codes:
        if names is None:
            raise reject(_open_code(source))
        if has_class or len(codes) > 1 or source.width != len(names):
            raise reject(
                f"its input {source} takes {source.width} whole numbers per image; expected a label's index, "
                f"or a one-hot code of {len(names)} labels"
            )


def _open_code(source: GraphInput) -> str:
    """Return the problem of an input that may take a one-hot code, if the user says nothing about labels."""
    return (
        f"its input {source} seems to take a label's one-hot code; give `labels={source.width}`, or a "
        f"constant, such as `input_values={{{source.name!r}: 0}}`"
    )


def _check_floats(
    floats: Sequence[GraphInput], names: tuple[str, ...] | None, has_class: bool, reject: Reject
) -> None:
    """Reject inputs that take neither latents nor, if there are labels, a one-hot code."""
    if not floats:
        raise reject("it takes no latents; expected an input of floats, such as (batch, 100)")
    for source in floats:
        is_scalar = not source.shape or (len(source.shape) == 1 and not isinstance(source.shape[0], int))
        is_named = source.width == 1 and re.search(_CONSTANT_NAME, source.name.lower())
        if len(floats) > 1 and (is_scalar or source.shape == (1,) or is_named):
            raise reject(
                f"its input {source} takes one number for all images; give its value, such as "
                f"`input_values={{{source.name!r}: 0.7}}`"
            )
        _check_latents(source, reject)
    if len(floats) > 1 and names is None and not has_class:
        for source in floats:
            if re.search(_LABEL_NAME, source.name.lower()) and (source.width or 0) > 1:
                raise reject(_open_code(source))


def _check_latents(source: GraphInput, reject: Reject) -> None:
    if not source.shape or (len(source.shape) > 1 and source.width is None):
        raise reject(f"its input {source} does not state how many latents it takes")
    width = source.shape[0] if len(source.shape) == 1 else source.width
    if not isinstance(width, int) or not 1 <= width <= LARGEST_DIM:
        raise reject(f"its input {source} takes {width} latents; expected 1 to {LARGEST_DIM}")
    large = [size for size in source.shape[1:] if isinstance(size, int) and size > _MOST_IMAGE_SIDE]
    if len(source.shape) >= 4 and len(large) > 1:
        raise reject(
            f"its input {source} takes images, not latents; a network from images to images is not supported"
        )


def _find_one_hot(
    floats: Sequence[GraphInput], count: int, description: Description, reject: Reject
) -> GraphInput | None:
    """Return the input that takes the one-hot code alone; None if it is in one input with the latents."""
    if len(floats) == 1 or description.labels_at is not None:
        return None
    fitting = [source for source in floats if source.width == count]
    if len(fitting) > 1:
        fitting = [source for source in fitting if re.search(_LABEL_NAME, source.name.lower())] or fitting
    if len(fitting) != 1:
        listed = ", ".join(map(str, floats))
        raise reject(
            f"`labels` has {count} labels, and not one of its inputs takes {count} numbers ({listed})"
        )
    return fitting[0]


def _latent_feeds(
    floats: Sequence[GraphInput], one_hot: int, description: Description, reject: Reject
) -> Iterator[Feed]:
    """Yield how the inputs for latents are filled, one input after the other.

    Args:
        floats: Inputs for latents.
        one_hot: Length of the one-hot code that is in the last input together with the latents; 0 for none.
        description: What the user says.
        reject: Function that returns the error for a problem.
    """
    first = 0
    for source in floats:
        has_batch = len(source.shape) > 1
        width = (source.width if has_batch else source.shape[0]) or 0
        at = None
        if one_hot and source is floats[-1]:
            width -= one_hot
            at = width if description.labels_at is None else description.labels_at
            if width < 1 or at > width:
                raise reject(
                    f"its input {source} has no room for latents and a one-hot code of {one_hot} labels"
                    + (f" from index {at} on" if description.labels_at is not None else "")
                )
        yield _feed(source, "latents", first=first, count=width, one_hot_at=at)
        first += width


def _feed(source: GraphInput, content: Content, **latents: Any) -> Feed:
    """Return how an input is filled. An input of one axis has a batch axis only if it takes labels."""
    is_single = len(source.shape) == 0 or (content == "latents" and len(source.shape) == 1)
    sizes = source.shape if is_single else source.shape[1:]
    return Feed(
        name=source.name,
        dtype=source.dtype,
        shape=tuple(size if isinstance(size, int) else 1 for size in sizes),
        has_batch=not is_single,
        content=content,
        **latents,
    )


def _fixed_batch(inputs: Iterable[GraphInput], classes: Sequence[GraphInput]) -> int | None:
    """Return the number of images per run that the inputs for latents and labels fix; None for any number."""
    for source in inputs:
        if len(source.shape) == 0 or (len(source.shape) == 1 and source not in classes):
            return 1
        if isinstance(source.shape[0], int):
            return int(source.shape[0])
    return None


def _doubt(floats: Sequence[GraphInput]) -> str:
    """Return a note if the name or the width of the latents suggests that they hold a one-hot code."""
    for source in floats:
        width = source.width or 0
        is_usual = width - 10 in _USUAL_DIMS or width == 62 + 10 + 2
        is_named = re.search(_LABEL_NAME, source.name.lower().replace("latent", "")) is not None
        if (is_usual and width not in _USUAL_DIMS) or is_named:
            return (
                f"the input {source.name!r} takes {width} numbers, which may hold a label's one-hot code; "
                "all of them get random numbers. If it holds labels, give `labels`, such as `labels=10`"
            )
    return ""
