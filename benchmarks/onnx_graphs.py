"""Small generators as ONNX graphs in ONNX's textual syntax, and the same generators in NumPy.

The graph of most kinds is one dense layer between two texts: `h = MatMul(z, w)`, then the operations of the
kind, which compute `x` from `h`, then `image = Reshape(x, image_shape)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.generators import Built, Kind, Pixels, Reference

Array = npt.NDArray[Any]
Activation = Callable[[Array], Array]

DIM, LABELS = 16, 7
CHANNELS, HEIGHT, WIDTH = 3, 8, 8
RNG = np.random.default_rng(7)
WEIGHTS = (0.3 * RNG.standard_normal((DIM, CHANNELS * HEIGHT * WIDTH))).astype(np.float32)
CODES = RNG.standard_normal((LABELS, CHANNELS * HEIGHT * WIDTH)).astype(np.float32)

Z = "float[n, 16] z"
IMAGE = "float[n, 3, 8, 8] image"
# Initializers that a graph gets if it uses their names.
CONSTANTS: Mapping[str, Array] = {
    "w": WEIGHTS,
    "codes": CODES,
    "image_shape": np.array([-1, CHANNELS, HEIGHT, WIDTH]),
    "zero": np.float32(0),
    "half": np.float32(0.5),
    "one": np.float32(1),
    "minus": np.float32(-1),
    "byte": np.float32(127.5),
    "quarter": np.float32(0.25),
}


def to_levels(values: Array, span: tuple[float, float] = (-1, 1), *, layout: str = "NCHW") -> Pixels:
    """Return images as uint8 (n, height, width, channels). Values are rounded half to even, and clipped."""
    low, high = span
    levels = np.rint((values.astype(np.float64) - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return levels.transpose(0, 2, 3, 1) if layout == "NCHW" else levels


def dense(
    activation: Activation = np.tanh,
    *,
    span: tuple[float, float] = (-1, 1),
    shape: tuple[int, ...] = (CHANNELS, HEIGHT, WIDTH),
    layout: str = "NCHW",
    latents: Activation = lambda z: z,
    images: Activation = lambda x: x,
) -> Reference:
    """Return a function that generates the images of a graph with NumPy.

    Args:
        activation: What the graph computes from the output of the dense layer, (n, 192).
        span: Values of black and white.
        shape: Shape of one image in the graph.
        layout: Layout of the images in the graph.
        latents: What the graph computes from the latents before the dense layer.
        images: What the graph computes from the images.
    """

    def generate(z: Array, labels: Array | None) -> Pixels:
        values = latents(z) @ WEIGHTS
        if labels is not None:
            values = values + CODES[labels]
        return to_levels(images(activation(values).reshape(-1, *shape)), span, layout=layout)

    return generate


def parse(
    body: str,
    *,
    inputs: str = Z,
    outputs: str = IMAGE,
    opset: int = 17,
    ir: int = 8,
    imports: str = "",
    functions: str = "",
    constants: Mapping[str, Array] | None = None,
) -> Any:
    """Return the model of a graph.

    Args:
        body: Operations in ONNX's textual syntax.
        inputs: Inputs of the graph.
        outputs: Outputs of the graph.
        opset: Version of ONNX's own operations.
        ir: Version of the format.
        imports: Further domains of operations with their versions, such as `, "local": 1`.
        functions: Functions of the model.
        constants: Initializers, in addition to CONSTANTS.
    """
    import onnx.parser
    from onnx import numpy_helper

    heading = f'<ir_version: {ir}, opset_import: ["": {opset}{imports}]>'
    model = onnx.parser.parse_model(f"{heading}\ng ({inputs}) => ({outputs}) {{ {body} }}\n{functions}")
    for name, value in {**CONSTANTS, **(constants or {})}.items():
        if _uses(model.graph, name):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def _uses(graph: Any, name: str) -> bool:
    """Return whether an operation of a graph, or of a graph in it, uses a name."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return any(name in node.input for node in graph.node) or any(_uses(each, name) for each in inner)


@dataclasses.dataclass(frozen=True)
class Graph:
    """A generator as text: the arguments of `parse`, and the name of its file."""

    body: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    change: Callable[[Any], object] = lambda model: None
    file: str = "generator.onnx"

    def write(self, folder: Path) -> Path:
        """Write the graph into a folder, and return the path."""
        import onnx

        model = parse(self.body, **self.settings)
        self.change(model)
        path = folder / self.file
        onnx.save(model, path)
        return path


def graph_kind(
    group: str,
    name: str,
    body: str,
    reference: Reference | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    rejected: str | None = None,
    levels: int = 1,
    change: Callable[[Any], object] = lambda model: None,
    **settings: Any,
) -> Kind:
    """Return a kind whose graph is written as text.

    Args:
        group: Group of the kind.
        name: Name of the kind.
        body: Operations in ONNX's textual syntax.
        reference: Function that generates the images; by default `dense()`.
        options: Options of the kind.
        rejected: Regular expression for the message of a kind that is not supported.
        levels: Largest accepted difference, in levels.
        change: Function that changes the model before it is saved.
        **settings: Other arguments of `parse`.
    """
    graph = Graph(body, settings, change)

    def build(folder: Path) -> Built:
        return Built(graph.write(folder), reference or dense())

    return Kind(group, name, build, options or {}, rejected, levels=levels)


def tail(operations: str) -> str:
    """Return a whole graph from the operations that compute `x` from `h`."""
    return f"h = MatMul(z, w) {operations} image = Reshape(x, image_shape)"


def onnxruntime_reference(path: Path, dim: int, span: tuple[float, float] = (-1, 1)) -> Reference:
    """Return a function that generates images with plain onnxruntime, one image at a time.

    Args:
        path: File with one input, (n, dim), and images (n, channels, height, width).
        dim: Number of latents.
        span: Values of black and white.
    """
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    dtype = np.float16 if source.type == "tensor(float16)" else np.float32

    def generate(z: Array, labels: Array | None) -> Pixels:
        rows = [session.run(None, {source.name: row.reshape(1, dim).astype(dtype)})[0] for row in z]
        return to_levels(np.concatenate(rows), span)

    return generate
