"""The text of the C code, from the steps of a plan."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from importlib import resources

import numpy as np
import numpy.typing as npt

from ganport.runtime.contract import Distribution, Precision
from ganport.runtime.latents import UNIFORM_STEPS, normal_table

from ..errors import GeneratorError
from .expressions import literal
from .planning import Plan
from .steps import Layer, Loop, Product, Reduction, Resampling, Step
from .views import Buffer, Floats, Latent, Shape, View
from .weights import in_blocks, store

ROWS = 128  # rows of weights that are turned into floats at a time
DECODED = ROWS * 16  # floats of one block of these rows
_PER_LINE = 12

_C_TYPES = {"float32": "float", "float16": "uint16_t", "uint16": "uint16_t", "int8": "int8_t"}


@dataclasses.dataclass(frozen=True)
class Code:
    """The body of the C file.

    Attributes:
        text: Definitions: tables, weights, functions of the layers, `ganport_generate` and `ganport_latent`.
        flash: Bytes of all constant arrays.
        ram: Bytes of all static buffers.
    """

    text: str
    flash: int
    ram: int


class Emitter:
    """Writes the definitions that the steps need, each once."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.flash = 0
        self._arrays: dict[tuple[str, bytes], str] = {}
        self.definitions: list[str] = []
        self.body: list[str] = []
        self.channels = 0  # most input channels of a layer that may read zeros
        self.features: set[str] = set()
        self.narrow: set[int] = set()

    def array(self, values: npt.NDArray[np.generic], what: str) -> str:
        """Return the name of a constant array with these values."""
        if values.dtype == np.float16:
            values = values.view(np.uint16)
        kind = "short" if what in ("taps", "indices") else _C_TYPES[values.dtype.name]
        key = kind, values.tobytes()
        if key not in self._arrays:
            name = f"ganport_{what}_{len(self._arrays)}"
            self._arrays[key] = name
            self.flash += values.size * (2 if kind == "short" else values.itemsize)
            self.definitions.append(f"static const {kind} {name}[{values.size}] = {{\n{_listed(values)}}};\n")
        return self._arrays[key]

    def steps(self, steps: Sequence[Step]) -> None:
        """Write all steps."""
        for number, step in enumerate(steps):
            if isinstance(step, Layer):
                self._layer(step, number)
            elif isinstance(step, Loop):
                self._loop(step)
            elif isinstance(step, Reduction):
                self._reduction(step)
            elif isinstance(step, Product):
                self._product(step)
            else:
                self._resampling(step, number)

    def _layer(self, step: Layer, number: int) -> None:
        source, target = step.source, step.target
        inputs, outputs = step.weights.shape[1:]
        taps = self.array(step.taps.reshape(-1), "taps") if len(step.taps) else "NULL"
        facts = [
            taps,
            len(step.taps),
            *(source.shape[0], source.shape[1], inputs, source.strides[0], source.strides[1]),
            *(target.shape[0], target.shape[1], outputs, target.strides[0], target.strides[1]),
            *step.strides,
        ]
        self.definitions.append(
            f"static const ganport_layer ganport_layer_{number} = {{{', '.join(map(str, facts))}}};\n"
        )
        places = f"{self._place(source)}, {self._place(target)}"
        if step.is_narrow:
            self.narrow.add(outputs)
            weights = self.array(step.weights.transpose(0, 2, 1).reshape(-1), "weights")
            bias = self.array(step.bias, "bias")
            call = f"ganport_narrow_{outputs}(&ganport_layer_{number}, {weights}, {bias}, {places});"
        else:
            stored, scale = store(step.weights, step.peak, self.precision)
            kernel = in_blocks(stored)
            weights = self.array(kernel, "weights") if kernel.size else "NULL"
            bias = self.array(_filled(step.bias), "bias")
            scales = self.array(_filled(scale), "scales") if self.precision == "int8" else "NULL"
            self.features.add("dense" if step.is_dense else "convolution")
            if outputs % 16 and (outputs % 16 + 3) // 4 * 4 != 16:
                self.features.add("quad")
            if not step.is_dense:
                self.channels = max(self.channels, inputs)
            call = f"ganport_wide(&ganport_layer_{number}, {weights}, {scales}, {bias}, {places});"
        self.body.append(f"    {call}")

    def _loop(self, step: Loop) -> None:
        views = [step.target, *step.sources]
        axes = _axes(step.target.shape, views)
        names = "abc"[: len(step.sources)]
        lines = [
            f"const float {name} = {self._element(source, [strides[1 + index] for _, strides in axes])};"
            for index, (name, source) in enumerate(zip(names, step.sources, strict=True))
        ]
        lines.append(
            f"{self._element(step.target, [strides[0] for _, strides in axes])} = {step.expression};"
        )
        self._nest([size for size, _ in axes], lines)

    def _reduction(self, step: Reduction) -> None:
        kept = dataclasses.replace(
            step.target,
            shape=tuple(
                1 if stride == 0 else size
                for size, stride in zip(step.target.shape, step.target.strides, strict=True)
            ),
        )
        start = {"max": "-HUGE_VALF", "min": "HUGE_VALF"}.get(step.kind, "0.0f")
        self._loop(Loop(kept, (), start))
        axes = _axes(step.source.shape, [step.source, step.target])
        source = self._element(step.source, [strides[0] for _, strides in axes])
        target = self._element(step.target, [strides[1] for _, strides in axes])
        text = f"{target} += {source};"
        if step.kind in ("max", "min"):
            text = f"{target} = f{step.kind}f({target}, {source});"
        self._nest([size for size, _ in axes], [text])
        if step.kind == "mean":
            self._loop(Loop(kept, (kept,), f"a / {literal(step.count)}"))

    def _product(self, step: Product) -> None:
        target, left, right = step.target, step.left, step.right
        batches, rows, columns = target.shape
        inner = left.shape[2]
        sizes = [batches, rows, columns]
        self._nest(sizes, [f"{self._element(target, target.strides)} = 0.0f;"])
        places = [
            self._element(view, strides)
            for view, strides in (
                (target, (target.strides[0], target.strides[1], 0, target.strides[2])),
                (left, (left.strides[0], left.strides[1], left.strides[2], 0)),
                (right, (right.strides[0], 0, right.strides[1], right.strides[2])),
            )
        ]
        self._nest([batches, rows, inner, columns], [f"{places[0]} += {places[1]} * {places[2]};"])

    def _resampling(self, step: Resampling, number: int) -> None:
        source, target = step.source, step.target
        facts = [
            self.array(step.rows.reshape(-1), "indices"),
            self.array(step.columns.reshape(-1), "indices"),
            self.array(step.row_weights.reshape(-1), "weights"),
            self.array(step.column_weights.reshape(-1), "weights"),
            *(step.rows.shape[1], step.columns.shape[1], *target.shape),
            *(source.strides[0], source.strides[1], target.strides[0], target.strides[1], source.strides[2]),
        ]
        self.features.add("resample")
        listed = ", ".join(map(str, facts))
        self.definitions.append(
            f"static const ganport_resampling ganport_resampling_{number} = {{{listed}}};\n"
        )
        places = f"{self._place(source)}, {self._place(target)}"
        self.body.append(f"    ganport_resample(&ganport_resampling_{number}, {places});")

    def image(self, view: View) -> None:
        """Write the conversion of the image to 8 bits."""
        strides = _row_major(view.shape)
        axes = [
            (size, (stride, own))
            for size, stride, own in zip(view.shape, strides, view.strides, strict=True)
            if size > 1
        ]
        merged = _merge(axes)
        index = _index(0, [strides[0] for _, strides in merged])
        source = self._element(view, [strides[1] for _, strides in merged])
        self._nest([size for size, _ in merged], [f"image[{index}] = ganport_pixel({source});"])

    def _nest(self, sizes: Sequence[int], lines: Sequence[str]) -> None:
        """Write nested loops over i0, i1, ... around lines of code."""
        for depth, size in enumerate(sizes):
            indent = "    " * (depth + 1)
            self.body.append(f"{indent}for (int i{depth} = 0; i{depth} < {size}; ++i{depth}) {{")
        indent = "    " * (len(sizes) + 1)
        if not sizes:
            self.body.append("    {")
            indent = "        "
        self.body += [f"{indent}{line}" for line in lines]
        for depth in reversed(range(max(1, len(sizes)))):
            self.body.append(f"{'    ' * (depth + 1)}}}")

    def _memory(self, view: View) -> tuple[str, int]:
        """Return the name of the array that holds a view, and the index of its first element."""
        if isinstance(view.memory, Buffer):
            return "ganport_activations", view.memory.offset + view.offset
        if isinstance(view.memory, Latent):
            return "latent", view.offset
        return self.array(view.memory.values, "table"), view.offset

    def _place(self, view: View) -> str:
        name, offset = self._memory(view)
        label = f" + label * {view.label_stride}" if view.label_stride else ""
        return f"{name}{f' + {offset}' if offset else ''}{label}"

    def _element(self, view: View, strides: Sequence[int]) -> str:
        name, offset = self._memory(view)
        label = f" + label * {view.label_stride}" if view.label_stride else ""
        return f"{name}[{_index(offset, strides)}{label}]"


def emit(plan: Plan, precision: Precision, *, dim: int, distribution: Distribution) -> Code:
    """Return the body of the C file.

    Args:
        plan: What the code computes.
        precision: Precision of the stored weights.
        dim: Number of latents.
        distribution: Distribution of the latents.

    Raises:
        GeneratorError: A weight is not a finite number.
        PrecisionError: A weight is too large for float16.
    """
    emitter = Emitter(precision)
    emitter.steps(plan.steps)
    emitter.image(plan.image)
    features = set(emitter.features) | {"normal"} & {distribution}
    wide = bool(features & {"dense", "convolution"})
    if features >= {"convolution", "dense"}:
        features.add("both")
    lossy = precision != "float32" and wide
    if lossy:
        features.add("decoded")
    parts: list[str] = []
    ram = 4 * plan.activations
    if wide or emitter.narrow:
        parts += [_template("vectors", features), _template("layer", features)]
    if lossy:
        weight = {"float16": "uint16_t", "int8": "int8_t"}[precision]
        parts.append(f"typedef {weight} ganport_weight;\n\n#define GANPORT_ROWS {ROWS}\n")
        parts.append(f"GANPORT_MEMORY float ganport_decoded[{DECODED}];\n")
        parts.append(_template(f"decode_{precision}", features))
        ram += 4 * DECODED
    elif wide:
        parts.append("typedef float ganport_weight;\n")
    if wide:
        parts.append(_template("part", features))
        if "convolution" in features:
            parts.append(f"static const float ganport_zeros[{emitter.channels}] = {{0.0f}};\n")
            emitter.flash += 4 * emitter.channels
        for name, kind, count, lanes in _lanes(features):
            for template in ("convolve", "dense"):
                if {"convolve": "convolution"}.get(template, template) in features:
                    parts.append(
                        _template(template, features, NAME=name, TYPE=kind, COUNT=count, LANES=lanes)
                    )
        parts.append(_template("wide", features))
    parts += [_template("narrow", features, OUTPUTS=str(outputs)) for outputs in sorted(emitter.narrow)]
    if "resample" in features:
        parts.append(_template("resample", features))
    parts += [_template("pixel", features), *emitter.definitions]
    parts.append(f"GANPORT_MEMORY float ganport_activations[{max(1, plan.activations)}];\n")
    parts.append(_generate(emitter.body))
    flash = emitter.flash
    if distribution == "normal":
        table = normal_table()
        parts.append(f"static const float ganport_normal[{table.size}] = {{\n{_listed(table)}}};\n")
        flash += table.nbytes
        parts.append(_template("latents", features))
    else:
        scale, offset = UNIFORM_STEPS[distribution]
        parts.append(
            _template("latents", features, SCALE=literal(float(scale)), OFFSET=literal(float(offset)))
        )
    return Code("\n".join(parts), flash, ram)


def _lanes(features: set[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the name, vector type, number of vectors and number of lanes of each version of a function."""
    yield "lanes", "ganport_vector", "GANPORT_VECTORS", "GANPORT_LANES"
    if "quad" in features:
        yield "quad", "ganport_quad", "GANPORT_QUADS", "4"


def _generate(body: Sequence[str]) -> str:
    lines = "\n".join(body)
    uses_label = "label" in lines
    label = "    label = (label % GANPORT_LABELS + GANPORT_LABELS) % GANPORT_LABELS;\n"
    head = "void ganport_generate(const float *latent, int label, uint8_t *image)\n{\n"
    return f"{head}{label if uses_label else '    (void)label;' + chr(10)}{lines}\n}}\n"


def _filled(values: Floats) -> Floats:
    """Return one value per output channel, filled up with zeros to a multiple of 4."""
    return np.pad(values, (0, -len(values) % 4))


def _axes(shape: Shape, views: Sequence[View]) -> list[tuple[int, tuple[int, ...]]]:
    """Return pairs of a size and the strides of all views, outermost first, with as few axes as possible."""
    axes = [
        (size, tuple(view.strides[axis] for view in views)) for axis, size in enumerate(shape) if size > 1
    ]
    return _merge(sorted(axes, key=lambda pair: (-abs(pair[1][0]), *(-abs(each) for each in pair[1][1:]))))


def _merge(axes: Sequence[tuple[int, tuple[int, ...]]]) -> list[tuple[int, tuple[int, ...]]]:
    merged: list[tuple[int, tuple[int, ...]]] = []
    for size, strides in axes:
        if merged and merged[-1][1] == tuple(stride * size for stride in strides):
            merged[-1] = merged[-1][0] * size, strides
        else:
            merged.append((size, strides))
    return merged


def _row_major(shape: Shape) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _index(offset: int, strides: Sequence[int]) -> str:
    terms = [str(offset)] if offset else []
    for depth, stride in enumerate(strides):
        if stride:
            terms.append(f"i{depth}" if stride == 1 else f"i{depth} * {stride}")
    return " + ".join(terms).replace("+ -", "- ") or "0"


def _listed(values: npt.NDArray[np.generic]) -> str:
    """Return the values of an array as lines of C literals."""
    flat = values.reshape(-1)
    if flat.dtype == np.float32:
        if not np.isfinite(flat).all():
            raise GeneratorError("the generator", "a weight of it is not a finite number.")
        texts = ("%.9g " * flat.size % tuple(flat.tolist())).split()
        words = [f"{text}f" if "." in text or "e" in text else f"{text}.0f" for text in texts]
    else:
        words = list(map(str, flat.tolist()))
    lines = (words[start : start + _PER_LINE] for start in range(0, len(words), _PER_LINE))
    return "".join(f"    {', '.join(line)},\n" for line in lines)


def listed_bytes(values: npt.NDArray[np.uint8]) -> str:
    """Return 8-bit values as lines of C literals."""
    return _listed(values)


@functools.cache
def _read(name: str) -> str:
    return (resources.files(__package__) / "templates" / f"{name}.c").read_text()


def _template(name: str, features: set[str], **values: str) -> str:
    """Return a template without the parts for other features, and with its @NAMES@ replaced."""
    lines, shown = [], [True]
    for line in _read(name).splitlines():
        if line.startswith("//@if "):
            shown.append(line.removeprefix("//@if ") in features)
        elif line == "//@else":
            shown[-1] = not shown[-1]
        elif line == "//@end":
            shown.pop()
        elif all(shown):
            lines.append(line)
    text = "\n".join(lines) + "\n"
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def selftest(**values: str) -> str:
    """Return the self-test of the C file."""
    return _template("selftest", set(), **values)
