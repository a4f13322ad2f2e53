"""Generators that others exported: what their graph says, put into the words of a contract.

What the graph decides is read from it, what it leaves open has to be told. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .contract import LARGEST_DIM, Contract, ImageSpec, InputSpec
from .errors import InferenceError, NotAGeneratorError, first_line
from .onnx_file import Node
from .providers import onnxruntime_errors, open_session

Layout = Literal["NHWC", "NCHW"]
ValueRange = Literal["tanh", "sigmoid"]
RANGES: Mapping[ValueRange, tuple[int, int]] = {"tanh": (-1, 1), "sigmoid": (0, 1)}

_ENDS: Mapping[str, ValueRange] = {"Tanh": "tanh", "Sigmoid": "sigmoid", "HardSigmoid": "sigmoid"}
# What stands behind the last activation and leaves its values as they are.
_MOVES = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")


def describe(
    session: Any, nodes: Sequence[Node], model: Path | bytes, layout: Layout | None, value_range: ValueRange | None
) -> Contract:
    """Return the contract that a foreign generator would have.

    Args:
        session: of the model.
        nodes: of the model's graph.
        model: the file, or its bytes.
        layout: of its images, where their shape leaves it open.
        value_range: of its images, where its last activation leaves it open: "tanh" is -1 to 1, "sigmoid" 0 to 1.

    Raises:
        NotAGeneratorError: its inputs and outputs are none of a generator, or say too little; the message says what to add.
    """

    def refuse(problem: str) -> NotAGeneratorError:
        return NotAGeneratorError(model, problem)

    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        names = [tensor.name for tensor in (*inputs, *outputs)]
        raise refuse(f"one input and one output are due, it has {len(inputs)} and {len(outputs)} ({', '.join(names)})")
    source, image = inputs[0], outputs[0]
    dim = _read_dim(source, refuse)
    batch = source.shape[0] if isinstance(source.shape[0], int) else None
    if image.type not in ("tensor(float)", "tensor(uint8)"):
        raise refuse(f"its images are {image.type}; float32 and uint8 can be drawn")
    shape = _measure(model, source, image, batch) if len(image.shape) == 4 else tuple(image.shape)
    height, width, channels, found = _read_shape(shape, layout, refuse)
    is_uint8 = image.type == "tensor(uint8)"
    if is_uint8 and value_range:
        raise refuse("its images are uint8, which has no other range than 0 to 255; leave the range out")
    span = (0, 255) if is_uint8 else RANGES[value_range or _read_range(nodes, image.name, refuse)]
    return Contract(
        name=model.stem if isinstance(model, Path) else "foreign",
        created_by="",
        input=InputSpec(kind="latent", name=source.name, dim=dim, distribution="normal"),
        image=ImageSpec(
            name=image.name,
            height=height,
            width=width,
            channels=channels,
            layout=found,
            dtype="uint8" if is_uint8 else "float32",
            range=span,
        ),
        batch=batch,
        precision="float32",
        recipe={},
        data={},
        training={},
        verification={},
        golden={"seeds": [], "png_base64": ""},
    )


def _read_dim(source: Any, refuse: Callable[[str], NotAGeneratorError]) -> int:
    """Return the number of latents of an input (batch, dim), (batch, dim, 1, 1) or (batch, 1, 1, dim)."""
    sizes = [size for size in source.shape[1:] if size != 1] or [1]
    if source.type != "tensor(float)" or len(source.shape) not in (2, 4) or len(sizes) != 1 or not isinstance(sizes[0], int):
        raise refuse(
            f"its input is {source.type} {source.shape}, where float32 latents are due: "
            "(batch, z), (batch, z, 1, 1) or (batch, 1, 1, z)"
        )
    if not 1 <= sizes[0] <= LARGEST_DIM:
        raise refuse(f"it takes {sizes[0]} latents; 1 to {LARGEST_DIM} are due")
    return sizes[0]


def _measure(model: Path | bytes, source: Any, image: Any, batch: int | None) -> tuple[Any, ...]:
    """Return the shape of the images; one is drawn on the CPU where the graph has no numbers for it."""
    if all(isinstance(size, int) for size in image.shape[1:]):
        return tuple(image.shape)
    latents = np.zeros((batch or 1, *source.shape[1:]), dtype=np.float32)
    session = open_session(model, "cpu", threads=1)
    try:
        drawn = session.run([image.name], {source.name: latents})[0]
    except onnxruntime_errors() as error:
        raise InferenceError(model, f"onnxruntime says: {first_line(error)}") from error
    return tuple(drawn.shape)


def _read_shape(
    shape: tuple[Any, ...], layout: Layout | None, refuse: Callable[[str], NotAGeneratorError]
) -> tuple[int, int, int, Layout]:
    """Return height, width, channels and layout of images of a shape with the batch first."""
    if len(shape) != 4:
        raise refuse(f"its output has the shape {shape}; images (batch, height, width, channels) or channels first are due")
    _, *sizes = shape
    if not all(1 <= size <= LARGEST_DIM for size in sizes):
        raise refuse(f"its images have the shape {sizes}; 1 to {LARGEST_DIM} are due on each side")
    orders: dict[Layout, tuple[int, int, int]] = {
        "NCHW": (sizes[1], sizes[2], sizes[0]),
        "NHWC": (sizes[0], sizes[1], sizes[2]),
    }
    fitting: list[Layout] = [order for order, (_, _, channels) in orders.items() if channels in (1, 3, 4)]
    if layout is not None:
        fitting = [order for order in fitting if order == layout]
    if not fitting:
        asked = f" in {layout}" if layout else ""
        raise refuse(f"its images have the shape {sizes}, where 1, 3 or 4 channels are due{asked}")
    if len(fitting) > 1:
        raise refuse(f"its images have the shape {sizes}, which may be {' or '.join(fitting)}; name the layout with --layout")
    return *orders[fitting[0]], fitting[0]


def _read_range(nodes: Sequence[Node], output: str, refuse: Callable[[str], NotAGeneratorError]) -> ValueRange:
    """Return which range the last activation leaves the images in."""
    made_by = {name: node for node in nodes for name in node.outputs}
    node = made_by.get(output)
    while node is not None and node.kind in _MOVES and node.inputs:
        node = made_by.get(node.inputs[0])
    kind = node.kind if node is not None else "nothing that can be seen"
    if kind not in _ENDS:
        raise refuse(
            f"its last step is {kind}, which leaves open what black and white are; name the range with --range: "
            "tanh for -1 to 1, sigmoid for 0 to 1"
        )
    return _ENDS[kind]
