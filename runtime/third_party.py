"""Third-party generators: deriving a contract for an ONNX file without one.

Most facts are read from the graph. The user must give the facts that the graph does not decide. Nothing is
guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .contract import LARGEST_DIM, Contract, ImageSpec, InputSpec, Layout
from .display import first_line
from .errors import InferenceError, NotAGeneratorError
from .onnx_file import Node
from .providers import onnxruntime_errors, open_session

ValueRange = Literal["tanh", "sigmoid"]
RANGES: Mapping[ValueRange, tuple[int, int]] = {"tanh": (-1, 1), "sigmoid": (0, 1)}

# Dict from the kind of the last activation to the range of the images.
_ENDS: Mapping[str, ValueRange] = {"Tanh": "tanh", "Sigmoid": "sigmoid", "HardSigmoid": "sigmoid"}
# Operations that may follow the last activation, because they do not change the values.
_MOVES = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")

_Reject = Callable[[str], NotAGeneratorError]


def describe(
    session: Any,
    nodes: Sequence[Node],
    model: Path | bytes,
    *,
    layout: Layout | None = None,
    value_range: ValueRange | None = None,
) -> Contract:
    """Return the contract of a third-party generator.

    Args:
        session: Open onnxruntime session of the model.
        nodes: Nodes of the model's graph.
        model: The file, or its bytes.
        layout: Layout of the images; needed if the shape of the images fits both layouts.
        value_range: Range of the images, "tanh" for -1 to 1 or "sigmoid" for 0 to 1; needed if the last
            activation does not decide the range.

    Raises:
        NotAGeneratorError: The inputs and outputs are not those of a generator, or the graph does not decide
            the layout or the range. The message then names the option to give.
    """

    def reject(problem: str) -> NotAGeneratorError:
        return NotAGeneratorError(model, problem)

    source, image = _single_input_and_output(session, reject)
    dim = _read_dim(source, reject)
    batch = source.shape[0] if isinstance(source.shape[0], int) else None
    if image.type not in ("tensor(float)", "tensor(uint8)"):
        raise reject(f"its images are {image.type}; float32 and uint8 are supported")
    shape = _measure(model, source, image, batch) if len(image.shape) == 4 else tuple(image.shape)
    height, width, channels, found = _read_shape(shape, layout, reject)
    is_uint8 = image.type == "tensor(uint8)"
    if is_uint8 and value_range:
        raise reject("its images are uint8, which always range from 0 to 255; leave `value_range` out")
    span = (0, 255) if is_uint8 else RANGES[value_range or _read_range(nodes, image.name, reject)]
    return Contract(
        name=model.stem if isinstance(model, Path) else "third-party",
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


def _single_input_and_output(session: Any, reject: _Reject) -> tuple[Any, Any]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        names = ", ".join(tensor.name for tensor in (*inputs, *outputs))
        raise reject(f"expected one input and one output, found {len(inputs)} and {len(outputs)} ({names})")
    return inputs[0], outputs[0]


def _read_dim(source: Any, reject: _Reject) -> int:
    """Return the number of latents of an input (batch, dim), (batch, dim, 1, 1) or (batch, 1, 1, dim)."""
    sizes = [size for size in source.shape[1:] if size != 1] or [1]
    has_latents = len(source.shape) in (2, 4) and len(sizes) == 1 and isinstance(sizes[0], int)
    if source.type != "tensor(float)" or not has_latents:
        raise reject(
            f"its input is {source.type} {source.shape}; expected float32 latents (batch, z), (batch, z, 1, "
            "1) or (batch, 1, 1, z)"
        )
    if not 1 <= sizes[0] <= LARGEST_DIM:
        raise reject(f"it takes {sizes[0]} latents; expected 1 to {LARGEST_DIM}")
    dim: int = sizes[0]
    return dim


def _measure(model: Path | bytes, source: Any, image: Any, batch: int | None) -> tuple[Any, ...]:
    """Return the shape of the images. If the graph does not state it, generate and measure images."""
    if all(isinstance(size, int) for size in image.shape[1:]):
        return tuple(image.shape)
    latents = np.zeros((batch or 1, *source.shape[1:]), dtype=np.float32)
    session = open_session(model, "cpu", threads=1)
    try:
        images = session.run([image.name], {source.name: latents})[0]
    except onnxruntime_errors() as error:
        raise InferenceError(model, f"onnxruntime reports: {first_line(error)}") from error
    return tuple(images.shape)


def _read_shape(
    shape: tuple[Any, ...], layout: Layout | None, reject: _Reject
) -> tuple[int, int, int, Layout]:
    """Return height, width, channels and layout of images. The first axis of `shape` is the batch."""
    if len(shape) != 4:
        raise reject(
            f"its output has shape {shape}; expected (batch, height, width, channels) or "
            "(batch, channels, height, width)"
        )
    _, *sizes = shape
    if not all(1 <= size <= LARGEST_DIM for size in sizes):
        raise reject(f"its images have shape {sizes}; expected 1 to {LARGEST_DIM} on each side")
    orders: dict[Layout, tuple[int, int, int]] = {
        "NCHW": (sizes[1], sizes[2], sizes[0]),
        "NHWC": (sizes[0], sizes[1], sizes[2]),
    }
    fitting: list[Layout] = [order for order, (_, _, channels) in orders.items() if channels in (1, 3, 4)]
    if layout is not None:
        fitting = [order for order in fitting if order == layout]
    if not fitting:
        chosen = f" in {layout}" if layout else ""
        raise reject(f"its images have shape {sizes}; expected 1, 3 or 4 channels{chosen}")
    if len(fitting) > 1:
        raise reject(
            f"its images have shape {sizes}, which may be {' or '.join(fitting)}; choose one with `layout`"
        )
    return *orders[fitting[0]], fitting[0]


def _read_range(nodes: Sequence[Node], output: str, reject: _Reject) -> ValueRange:
    """Return the range of the images' values, which the last activation decides."""
    made_by = {name: node for node in nodes for name in node.outputs}
    node = made_by.get(output)
    while node is not None and node.kind in _MOVES and node.inputs:
        node = made_by.get(node.inputs[0])
    kind = "not visible" if node is None else node.kind
    if kind not in _ENDS:
        raise reject(
            f"its last operation is {kind}, which does not decide the range of values; give "
            "`value_range`: tanh for -1 to 1, sigmoid for 0 to 1"
        )
    return _ENDS[kind]
