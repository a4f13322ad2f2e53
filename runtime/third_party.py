"""Third-party generators: deriving a contract for an ONNX file without one.

Most facts are read from the graph. The user must give the facts that the graph does not decide. Nothing is
guessed: a few images are generated, and they must fit the description.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .adapter import Adapter
from .arrays import Seeds
from .contract import LABEL, LARGEST_DIM, Contract, Distribution, ImageSpec, InputSpec, Layout
from .description import RANGES, Description
from .display import first_line
from .errors import InferenceError, NotAGeneratorError
from .graph_inputs import Assignment, GraphInput, Reject, assign_inputs
from .graph_range import Span, has_levels, last_operation, may_exceed_range, range_of_output
from .images import to_pixels
from .latents import default_labels, sample_latents
from .onnx_file import Outline
from .providers import onnxruntime_errors

# Number of images that are generated to check a description. They are the images of the first seeds.
_PROBED = 4
# Largest accepted difference of a pixel, in levels of 0 to 255, between an image that is generated alone and
# the same image in a batch. Rounding causes smaller differences, and statistics over the batch cause larger
# ones. Graphs in float16 and quantised graphs round more coarsely than others.
_MOST_LEVELS_OFF = 2
_MOST_LEVELS_OFF_IF_COARSE = 16
_COARSE_OPERATIONS = r"Quantize|^QLinear|^QGemm|Integer|NBits"
_FLOAT16, _BFLOAT16 = 10, 16  # ONNX's numbers of these types
# Operations that quantise a whole batch with one scale, so that an image depends on its neighbours.
_QUANTISED_BY_BATCH = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
# Largest share of the values that may lie outside of a range that the user gives. StyleGAN, whose last layer
# has no activation, is trained to [-1, 1] and exceeds it in a few percent of the values.
MOST_OUTSIDE = 0.1
_MOST_CLIPPED = 0.5  # the same if the user has such values clipped
_SMALL_SHARE = 0.05  # a range is wrong if all values lie within this share of it
_USUAL_RANGES = ((-1, 1), (0, 1), (0, 255))  # ranges of images that are taken from the graph
_FEWEST_PIXELS = 4  # an output with fewer values than this holds no image
_INTEGRAL = 1e-4  # a bound of a range that is this near to a whole number is the whole number

Run = Callable[[int], npt.NDArray[Any]]


class Described(NamedTuple):
    """A third-party generator with a contract.

    Attributes:
        contract: The contract, as if ganport had written the file.
        adapter: Turns the inputs that the contract describes into those of the graph.
        is_range_decided: Whether the graph itself decides the range of the images.
        may_exceed_range: Whether values of the images may lie outside of their range, so that they must be
            clipped.
        has_levels: Whether the values of the images are whole levels, as those of type uint8 are.
        note: A doubt that the user should know of; empty if there is none.
    """

    contract: Contract
    adapter: Adapter
    is_range_decided: bool
    may_exceed_range: bool
    has_levels: bool
    note: str


def describe(
    session: Any,
    outline: Outline,
    model: Path | bytes,
    description: Description,
    *,
    usual_layout: Layout | None = None,
) -> Described:
    """Return the contract of a third-party generator.

    A few images are generated. They show the shape of the images if the graph does not state it, the number
    of images that the graph can generate at a time, and whether the range is right.

    Args:
        session: Open onnxruntime session of the model.
        outline: Operations and constants of the model's graph.
        model: The file, or its bytes.
        description: What the user says about the generator.
        usual_layout: Layout of images whose shape fits both layouts, in the framework that wrote the graph.
            None if the user must choose one.

    Raises:
        NotAGeneratorError: The inputs and outputs are not those of a generator, or the graph does not decide
            a fact. The message then names the option to give.
        InferenceError: The graph does not run, or an image depends on the other images in its batch.
    """

    def reject(problem: str) -> NotAGeneratorError:
        return NotAGeneratorError(model, problem)

    inputs = [GraphInput(each.name, each.type, tuple(each.shape)) for each in session.get_inputs()]
    assignment = assign_inputs(inputs, outline, description, reject)
    output = _choose_output(session.get_outputs(), description, reject)
    probe = _Probe(session, outline, model, description.latents or "normal", assignment, output)
    values, batch = probe.generate()
    if description.labels is not None:
        probe.check_last_label(reject)
    stated = next(each.shape for each in session.get_outputs() if each.name == output)
    if not _fits(values.shape[1:], stated[1:]):
        raise reject(f"its output {output!r} has shape {list(values.shape)}, and it states {list(stated)}")
    count = batch or _PROBED
    sizes = _image_sizes(values.shape, count, assignment, reject)
    shape = _read_shape(sizes, description, usual_layout, reject)
    adapter = dataclasses.replace(probe.adapter, graph_shape=shape.graph_shape)
    images = adapter.images(values, count)
    span = _decide_range(images, outline, output, description, reject)
    image = ImageSpec(
        name=output,
        height=shape.height,
        width=shape.width,
        channels=shape.channels,
        layout=shape.layout,
        dtype="uint8" if images.dtype == np.uint8 else "float32",
        range=span,
    )
    batch = probe.check_neighbours(adapter, image, batch)
    contract = Contract(
        name=model.stem if isinstance(model, Path) else "third-party",
        created_by="",
        input=InputSpec(
            kind="latent",
            name=adapter.latent,
            dim=assignment.dim,
            distribution=description.latents or "normal",
            labels=assignment.labels,
        ),
        image=image,
        batch=batch,
        precision="float32",
        recipe={},
        data={},
        training={},
        verification={},
        golden={"seeds": [], "png_base64": ""},
    )
    decided = _decided_range(outline, output)
    is_decided = image.dtype == "uint8" or (decided is not None and _is_within(decided, image.range))
    may_exceed = image.dtype != "uint8" and (not is_decided or may_exceed_range(outline, output))
    are_levels = values.dtype.kind in "iu" or has_levels(outline, output)
    return Described(contract, adapter, is_decided, may_exceed, are_levels, assignment.note)


class _Probe:
    """Generates the images of the first seeds with a graph whose images are not described yet."""

    def __init__(
        self,
        session: Any,
        outline: Outline,
        model: Path | bytes,
        distribution: Distribution,
        assignment: Assignment,
        output: str,
    ) -> None:
        self._session, self._outline, self._model = session, outline, model
        self._distribution: Distribution = distribution
        self._batch = assignment.batch
        latent = next(feed.name for feed in assignment.feeds if feed.content == "latents")
        if latent == LABEL:  # this key is that of the labels
            latent = "latent"
        self.adapter = Adapter(
            feeds=assignment.feeds,
            latent=latent,
            dim=assignment.dim,
            label=LABEL,
            label_count=len(assignment.labels or ()),
            output=output,
            graph_shape=(),
        )

    def generate(self) -> tuple[npt.NDArray[Any], int | None]:
        """Return the values of the first images, and the number of images that the graph generates at a time.

        The number is None if the graph generates any number.
        """
        if self._batch is not None:
            return self._run(self._batch), self._batch
        if any(node.kind in _QUANTISED_BY_BATCH for node in self._outline.nodes):
            return self._run(1), 1
        try:
            values = self._run(_PROBED)
            if values.ndim > 1 and len(values) == _PROBED:
                return values, None
        except InferenceError:
            pass  # a graph may state a free batch size and contain a Reshape to one image
        return self._run(1), 1

    def check_last_label(self, reject: Reject) -> None:
        """Raise an error if the graph does not run with the last label."""
        count = self._batch or 1
        latents = sample_latents(range(count), self.adapter.dim, distribution=self._distribution)
        last = self.adapter.label_count - 1
        try:
            self._infer({self.adapter.latent: latents, LABEL: np.full(count, last)}, self.adapter)
        except InferenceError as error:
            raise reject(
                f"its graph does not run with label {last}; give fewer `labels` ({error.problem})"
            ) from error

    def check_neighbours(self, adapter: Adapter, image: ImageSpec, batch: int | None) -> int | None:
        """Return the number of images that the graph may generate at a time.

        The image of the last seed is generated with other images and without them, and the two are compared.
        If they differ a little, then images must be generated one at a time, so that a seed has one image.
        On the CPU the least difference of a value counts: onnxruntime computes some operations in another
        order if there is one image, such as a mean over the channels, and a pixel of some images then rounds
        to another level.

        Raises:
            InferenceError: An image depends on the other images in its batch.
        """
        if batch == 1:
            return 1
        seeds = np.arange(batch or _PROBED)
        together = self._images(adapter, seeds, len(seeds))[-1:]
        alone = self._images(adapter, seeds[-1:], batch or 1)[:1]
        if not np.isfinite(alone).all():
            raise InferenceError(
                self._model,
                "an image depends on the other images in its batch: alone, its values are NaN or infinite; "
                "export the generator in evaluation mode",
            )
        pixels = [to_pixels(each, image).astype(np.int16) for each in (together, alone)]
        off = int(np.abs(pixels[0] - pixels[1]).max())
        is_exact = batch is not None or not self._is_on_cpu() or np.array_equal(together, alone)
        if off <= (0 if self._is_on_cpu() else 1) and is_exact:
            return batch
        most = _MOST_LEVELS_OFF_IF_COARSE if self._rounds_coarsely() else _MOST_LEVELS_OFF
        if off <= most and batch is None:
            return 1
        raise InferenceError(
            self._model,
            f"an image depends on the other images in its batch: alone, its pixels differ by up to {off} "
            "levels; export the generator in evaluation mode, and quantise it with fixed scales",
        )

    def _rounds_coarsely(self) -> bool:
        """Return whether the graph computes in float16, or with quantised numbers."""
        if any(feed.dtype == "float16" for feed in self.adapter.feeds):
            return True
        return any(
            re.search(_COARSE_OPERATIONS, node.kind) or node.attributes.get("to") in (_FLOAT16, _BFLOAT16)
            for node in self._outline.nodes
        )

    def _is_on_cpu(self) -> bool:
        """Return whether the CPU runs the graph. On a GPU, the order of additions varies from run to run."""
        return bool(self._session.get_providers()[0] == "CPUExecutionProvider")

    def _images(self, adapter: Adapter, seeds: Seeds, batch: int) -> npt.NDArray[Any]:
        """Return the images of a batch: those of the seeds, and then those of latents of 0."""
        latents = np.zeros((batch, adapter.dim), np.float32)
        latents[: len(seeds)] = sample_latents(seeds, adapter.dim, distribution=self._distribution)
        inputs: dict[str, npt.NDArray[Any]] = {adapter.latent: latents}
        if adapter.label_count:
            inputs[LABEL] = np.zeros(batch, np.int64)
            inputs[LABEL][: len(seeds)] = default_labels(seeds, adapter.label_count)
        return adapter.images(self._infer(inputs, adapter), batch)

    def _run(self, count: int) -> npt.NDArray[Any]:
        latents = sample_latents(range(count), self.adapter.dim, distribution=self._distribution)
        inputs: dict[str, npt.NDArray[Any]] = {self.adapter.latent: latents}
        if self.adapter.label_count:
            inputs[LABEL] = default_labels(np.arange(count), self.adapter.label_count)
        return self._infer(inputs, self.adapter)

    def _infer(self, inputs: dict[str, npt.NDArray[Any]], adapter: Adapter) -> npt.NDArray[Any]:
        try:
            values: npt.NDArray[Any] = self._session.run([adapter.output], adapter.graph_inputs(inputs))[0]
        except onnxruntime_errors() as error:
            raise InferenceError(self._model, f"onnxruntime reports: {first_line(error)}") from error
        return values


def _choose_output(outputs: Sequence[Any], description: Description, reject: Reject) -> str:
    """Return the name of the output that holds the images."""
    listed = ", ".join(f"{each.name!r} {list(each.shape)}" for each in outputs)
    chosen = description.output_name
    if chosen is not None:
        if chosen not in [each.name for each in outputs]:
            raise reject(f"`output_name` is {chosen!r}, and its outputs are {listed}")
        return chosen
    if not outputs:
        raise reject("it has no output; expected one of images")
    fitting = list(outputs)
    if len(outputs) > 1:
        fitting = [each for each in outputs if _may_be_images(each.shape)]
    if len(fitting) != 1:
        raise reject(f"it has {len(outputs)} outputs, {listed}; choose the images' with `output_name`")
    name: str = fitting[0].name
    return name


def _fits(found: Sequence[int], stated: Sequence[Any]) -> bool:
    """Return whether a shape is the stated one. A size that is not stated may be any."""
    if not stated:  # onnxruntime has no sizes for an output without a shape
        return True
    pairs = zip(found, stated, strict=False)
    return len(found) == len(stated) and all(not isinstance(b, int) or a == b for a, b in pairs)


def _may_be_images(shape: Sequence[Any]) -> bool:
    return len(shape) == 4 and bool({shape[1], shape[3]} & {1, 3, 4})


def _image_sizes(
    found: tuple[int, ...], count: int, assignment: Assignment, reject: Reject
) -> tuple[int, ...]:
    """Return the sizes of one image, from the shape of an output that holds `count` images."""
    have_batch = all(feed.has_batch for feed in assignment.feeds if feed.content == "latents")
    if have_batch and found[:1] == (count,):
        return found[1:]
    if count > 1:
        raise reject(f"its output has shape {found} for {count} images; expected {count} as its first size")
    # A single image may have an axis for the batch, or none. An output of rank 2 or 4 that begins with 1 has
    # the axis, because an image has one, two or three axes.
    return found[1:] if len(found) in (2, 4) and found[0] == 1 else found


def _read_shape(
    found: tuple[int, ...],
    description: Description,
    usual_layout: Layout | None,
    reject: Reject,
) -> ImageSpec:
    """Return the shape and the layout of the images.

    Args:
        found: Sizes of one image, as the graph gives it.
        description: What the user says.
        usual_layout: Layout of images whose shape fits both layouts; None if the user must choose one.
        reject: Function that returns the error for a problem.
    """
    if len(found) == 1:
        return _shape_of_row(found[0], description, usual_layout, reject)
    sizes = (*found, 1) if len(found) == 2 else found
    if len(sizes) != 3:
        raise reject(
            f"each image has shape {list(found)}; expected (height, width, channels) or (channels, height, "
            "width)"
        )
    if not all(1 <= size <= LARGEST_DIM for size in sizes):
        raise reject(f"its images have shape {list(sizes)}; expected 1 to {LARGEST_DIM} on each side")
    orders: dict[Layout, tuple[int, int, int]] = {
        "NCHW": (sizes[1], sizes[2], sizes[0]),
        "NHWC": (sizes[0], sizes[1], sizes[2]),
    }
    fitting: list[Layout] = [order for order, (_, _, channels) in orders.items() if channels in (1, 3, 4)]
    if description.layout is not None:
        fitting = [order for order in fitting if order == description.layout]
    if fitting and description.image_size is not None:
        fitting = [order for order in fitting if orders[order] == tuple(description.image_size)]
        if not fitting:
            raise reject(f"its images have shape {list(sizes)}, which contradicts `image_size`")
    if not fitting:
        chosen = f" in {description.layout}" if description.layout else ""
        raise reject(f"its images have shape {list(sizes)}; expected 1, 3 or 4 channels{chosen}")
    if len(fitting) > 1 and usual_layout in fitting:
        fitting = [usual_layout]
    if len(fitting) > 1:
        raise reject(
            f"its images have shape {list(sizes)}, which may be {' or '.join(fitting)}; choose one with "
            f"`{description.layout_argument}`"
        )
    return _image(orders[fitting[0]], fitting[0])


def _shape_of_row(
    pixels: int, description: Description, usual_layout: Layout | None, reject: Reject
) -> ImageSpec:
    """Return the shape of images that the graph gives as rows of pixels.

    A row is a square grey image if its length is the square of a whole number. Other images need
    `image_size`, and those with several channels need `layout`, too.
    """
    side = math.isqrt(pixels)
    size = description.image_size
    if pixels < _FEWEST_PIXELS:
        raise reject(
            f"its output has {pixels} value{'s' * (pixels > 1)} per image, as that of a discriminator; "
            "expected images"
        )
    if size is None:
        if side * side != pixels:
            raise reject(
                f"its images are rows of {pixels} values; give `image_size`, such as `image_size=(28, 28, 1)`"
            )
        size = (side, side, 1)
    if math.prod(size) != pixels:
        raise reject(f"its images are rows of {pixels} values, which contradicts `image_size`")
    layout = description.layout or usual_layout
    if size[2] > 1 and layout is None:
        raise reject(
            f"its images are rows of {pixels} values with {size[2]} channels; choose with "
            f"`{description.layout_argument}` whether the channels are first (NCHW) or last (NHWC)"
        )
    return _image(size, layout or "NHWC")


def _image(size: tuple[int, int, int], layout: Layout) -> ImageSpec:
    height, width, channels = size
    return ImageSpec(
        name="", height=height, width=width, channels=channels, layout=layout, dtype="float32", range=(-1, 1)
    )


def _decide_range(
    images: npt.NDArray[Any], outline: Outline, output: str, description: Description, reject: Reject
) -> Span:
    """Return the values of black and white, after comparing them with a few images.

    Args:
        images: Images of the first seeds, as the graph gives them.
        outline: Operations and constants of the graph.
        output: Name of the images' output.
        description: What the user says.
        reject: Function that returns the error for a problem.
    """
    given = description.span
    if images.dtype == np.uint8:
        if given is not None and given != (0, 255):
            raise reject("its images are uint8, which always range from 0 to 255; leave `value_range` out")
        return 0, 255
    if not np.isfinite(images).all():
        raise reject(
            "its images hold values that are NaN or infinite; check the weights of the original, and export "
            "it in float32"
        )
    low, high = float(images.min()), float(images.max())
    decided = _decided_range(outline, output)
    if given is None:
        if decided not in _USUAL_RANGES:
            raise reject(_open_range(outline, output, decided, images))
        assert decided is not None  # noqa: S101
        return decided
    span = _snap(given)
    if not description.clip:
        if (
            decided is not None
            and decided != span
            and (decided in _USUAL_RANGES or not _is_within(decided, span))
        ):
            raise reject(
                f"its last operations give values from {decided[0]:g} to {decided[1]:g}, which contradicts "
                "`value_range`; leave it out"
            )
        _check_span(span, low, high, reject)
    _check_outside(images, span, description.clip, reject)
    return span


def _decided_range(outline: Outline, output: str) -> Span | None:
    """Return the range that the graph decides; None if it decides none."""
    found = range_of_output(outline, output)
    return None if found is None else _snap(found)


def _is_within(inner: Span, outer: Span) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _open_range(outline: Outline, output: str, decided: Span | None, images: npt.NDArray[Any]) -> str:
    """Return the problem of a generator whose range the user must give."""
    if decided is None:
        reason = f"its last operation is {last_operation(outline, output)}, which does not decide the range"
    else:
        reason = f"its last operations give values from {decided[0]:g} to {decided[1]:g}, an unusual range"
    return (
        f"{reason} ({len(images)} images have values from {images.min():.3g} to {images.max():.3g}); give "
        "`value_range`: tanh for -1 to 1, sigmoid for 0 to 1, or the values of black and white, such as "
        "`value_range='0..255'`"
    )


def _check_span(span: Span, low: float, high: float, reject: Reject) -> None:
    """Reject a range that the user gives if the values of a few images fill only a small part of it."""
    is_half = span == (-1, 1) and low >= 0
    if high - low >= _SMALL_SHARE * (span[1] - span[0]) and not is_half:
        return
    fitting = "sigmoid" if low >= 0 and high <= 1 else "tanh" if low >= -1 and high <= 1 else ""
    likely = f", such as {fitting}" if fitting and RANGES[fitting] != span else ""
    raise reject(
        f"the images of the first seeds have values from {low:.3g} to {high:.3g}, a small part of the range "
        f"{span[0]:g} to {span[1]:g}; give another `value_range`{likely}, or `clip=True` if it is right"
    )


def _check_outside(images: npt.NDArray[Any], span: Span, clip: bool, reject: Reject) -> None:
    """Reject a range outside of which too many values lie: a tenth, or a half if values are to be clipped."""
    share = share_outside(images, span)
    if share <= (_MOST_CLIPPED if clip else MOST_OUTSIDE):
        return
    remedy = ", or clip such values with `clip=True`" if share <= _MOST_CLIPPED and not clip else ""
    raise reject(
        f"{share:.0%} of the values of the first images lie outside of the range {span[0]:g} to {span[1]:g} "
        f"({images.min():.3g} to {images.max():.3g}); give another `value_range`{remedy}"
    )


def share_outside(images: npt.NDArray[Any], span: Span) -> float:
    """Return the share of the values that lie outside of a range."""
    return float(((images < span[0]) | (images > span[1])).mean())


def _snap(span: Span) -> Span:
    """Return a range whose bounds are whole numbers if they are near to whole numbers."""
    tolerance = _INTEGRAL * max(1.0, span[1] - span[0])
    low, high = (round(end) if abs(end - round(end)) <= tolerance else end for end in span)
    return low, high
