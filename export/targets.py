"""Targets: named sets of export options for runtimes that read less of ONNX than onnxruntime does.

Each target states the operators and types that its runtime reads. `check_graph` compares a graph with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from ganport.runtime.contract import Layout, Precision
from ganport.runtime.errors import UsageError

from .errors import TargetError

if TYPE_CHECKING:
    import onnx

TargetName = Literal["portable", "unity", "webgpu", "ncnn", "coreml", "tensorrt"]

# Operators whose definition for float32 is the same in all opsets from 13 on, as far as a generator uses
# them. Later opsets have further types, which no generator here has.
_PORTABLE = frozenset(
    ("Add", "Conv", "ConvTranspose", "Gemm", "LeakyRelu", "Mul", "Relu", "Reshape", "Sigmoid", "Tanh")
)
_CAST = frozenset(("Cast",))  # turns stored float16 into float32
# Further operators for generators with attention, normalisations or upsampling: those in the list of
# onnxruntime's WebGPU provider (js/web/docs/webgpu-operators.md) and in the list of TensorRT 8.4
# (docs/operators.md of onnx-tensorrt).
_BOTH_LISTS = frozenset(
    (
        *("Clip", "Concat", "Div", "Elu", "Erf", "Exp", "Expand", "Flatten", "InstanceNormalization"),
        *("MatMul", "Neg", "Pad", "Pow", "ReduceMean", "Resize", "Slice", "Softmax", "Sqrt", "Squeeze"),
        *("Sub", "Tile", "Transpose", "Unsqueeze"),
    )
)
_WEBGPU = _BOTH_LISTS | {"Reciprocal"}
_TENSORRT = _BOTH_LISTS | {"DepthToSpace", "Identity", "Softplus"}
_MOST_OPERATORS_SHOWN = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """What the runtime of a target reads.

    All targets have latents as input, labels as one-hot codes in float32, and images in float32 with the
    channels first. The host converts the floats to pixels.

    Attributes:
        why: The reason for this set of options, in one sentence.
        opset: Version of the ONNX standard operators.
        batch: Number of images per run if the user gives none; None if any number is allowed.
        precisions: Precisions that the runtime reads.
        operators: Operators that the runtime reads.
        has_plain_convolutions: Whether convolutions must have even pads, one group and no dilation.
    """

    why: str
    opset: int
    batch: int | None
    precisions: tuple[Precision, ...]
    operators: frozenset[str]
    has_plain_convolutions: bool = True

    @property
    def types(self) -> frozenset[str]:
        """Types of the values in a graph. The shapes of Reshape are int64, as ONNX requires."""
        halves = {"float16"} if self.precisions != ("float32",) else set()
        return frozenset({"float32", "int64"} | halves)


TARGETS: Mapping[TargetName, Target] = {
    "portable": Target(
        why="The smallest set that every runtime we know reads: few operators, fixed sizes, floats only.",
        opset=15,
        batch=1,
        precisions=("float32", "float16"),
        operators=_PORTABLE | _CAST,
    ),
    "unity": Target(
        why="Unity's inference engine reads opset 7 to 15, and has tensors of float32 and int32 only.",
        opset=15,
        batch=1,
        precisions=("float32",),
        operators=_PORTABLE,
    ),
    "webgpu": Target(
        why="onnxruntime computes OneHot and QuantizeLinear on the CPU, away from the GPU.",
        opset=18,
        batch=None,
        precisions=("float32", "float16"),
        operators=_PORTABLE | _CAST | _WEBGPU,
        has_plain_convolutions=False,
    ),
    "ncnn": Target(
        why="Its converter stops at OneHot and QuantizeLinear, and stores weights in float16 by itself.",
        opset=15,
        batch=1,
        precisions=("float32",),
        operators=_PORTABLE,
    ),
    "coreml": Target(
        why="Core ML wants fixed sizes, and a ConvTranspose with explicit pads that computes in float32.",
        opset=15,
        batch=1,
        precisions=("float32", "float16"),
        operators=_PORTABLE | _CAST,
    ),
    "tensorrt": Target(
        why="Parser 8.4 has no OneHot and no uint8, wants constant weights, and ends at opset 13.",
        opset=13,
        batch=1,
        precisions=("float32", "float16-arithmetic"),
        operators=_PORTABLE | _CAST | _TENSORRT,
        has_plain_convolutions=False,
    ),
}


def target_defaults(target: TargetName | None) -> dict[str, Any]:
    """Return the values of the options that a target decides, by the name of the option.

    Raises:
        UsageError: There is no such target.
    """
    if target is None:
        return {}
    found = find_target(target)
    return {"output": "float", "layout": "NCHW", "opset": found.opset, "batch": found.batch}


def find_target(name: str) -> Target:
    """Return the target with this name. Raises UsageError if there is none."""
    if name not in get_args(TargetName):
        *others, last = get_args(TargetName)
        raise UsageError(f"`target` is {name!r}; it must be {', '.join(others)} or {last}.")
    return next(target for known, target in TARGETS.items() if known == name)


def check_options(
    name: TargetName, *, input_kind: str, output: str, layout: Layout, precision: Precision, opset: int
) -> None:
    """Raise UsageError if an option contradicts a target."""
    target = find_target(name)
    wanted: list[tuple[str, object, tuple[object, ...]]] = [
        ("input_kind", input_kind, ("latent",)),
        ("output", output, ("float",)),
        ("layout", layout, ("NCHW",)),
        ("precision", precision, target.precisions),
    ]
    for option, given, allowed in wanted:
        if given not in allowed:
            values = " or ".join(map(str, allowed))
            raise UsageError(
                f"`target={name!r}` needs {option.replace('_', ' ')} {values}, and `{option}` is {given!r}; "
                f"leave `{option}` out, or leave `target` out."
            )
    if opset > target.opset:
        raise UsageError(
            f"`target={name!r}` needs opset {target.opset} or older, and `opset` is {opset}; leave `opset` "
            "out, or leave `target` out."
        )


def prepare(model: onnx.ModelProto, name: TargetName) -> onnx.ModelProto:
    """Return a graph at the opset of a target, after a check of its operators and types.

    Raises:
        TargetError: The graph has something that the target does not read.
    """
    target = find_target(name)
    used = {node.domain for node in model.graph.node} | {"", "ai.onnx"}
    imported = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imported)
    standard = next(each for each in model.opset_import if each.domain in ("", "ai.onnx"))
    kinds = {node.op_type for node in model.graph.node}
    if standard.version > target.opset and kinds <= _PORTABLE | _CAST:
        # These operators mean the same at the older opset, so the graph needs no conversion.
        standard.version = target.opset
    check_graph(model, name)
    return model


def check_graph(model: onnx.ModelProto, name: TargetName) -> None:
    """Raise TargetError if a graph has something that a target does not read.

    Args:
        model: The graph to write.
        name: Name of the target.
    """
    target = find_target(name)
    for standard in model.opset_import:
        if standard.domain not in ("", "ai.onnx"):
            raise TargetError(name, f"the graph has operators of {standard.domain}", _remedy())
        if standard.version > target.opset:
            raise TargetError(
                name,
                f"the graph has opset {standard.version}, and the target reads up to {target.opset}",
                f"export the original at opset {target.opset}",
            )
    for node in model.graph.node:
        if node.op_type not in target.operators:
            shown = [*sorted(target.operators)[:_MOST_OPERATORS_SHOWN], "..."]
            known = ", ".join(shown if len(target.operators) > _MOST_OPERATORS_SHOWN else shown[:-1])
            raise TargetError(
                name,
                f"the graph has the operator {node.op_type} ({node.name}); the target reads {known}",
                _remedy(node.op_type),
            )
        for problem in _problems_of(node) if target.has_plain_convolutions else ():
            raise TargetError(name, f"{node.op_type} ({node.name}) has {problem}", _remedy())
    for type_ in _types(model):
        if type_ not in target.types:
            known = ", ".join(sorted(target.types))
            raise TargetError(
                name, f"the graph has values of {type_}, and the target reads {known}", _remedy()
            )
    if target.batch is not None and not _is_fixed(model):
        raise TargetError(name, "the graph has a free size", "give a number for `batch`")


def _problems_of(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what simple runtimes misread in a convolution: everything but explicit, even pads and strides."""
    from .graph import attributes  # onnx is imported when it is needed

    if node.op_type not in ("Conv", "ConvTranspose"):
        return
    settings = attributes(node)
    if settings.get("auto_pad", b"NOTSET") != b"NOTSET":
        yield "automatic pads"
    if "output_shape" in settings or any(settings.get("output_padding", ())):
        yield "an output shape or output pads"
    pads = settings.get("pads", ())
    if list(pads[: len(pads) // 2]) != list(pads[len(pads) // 2 :]):
        yield f"uneven pads {list(pads)}"
    if any(step != 1 for step in settings.get("dilations", ())):
        yield "dilations"
    if settings.get("group", 1) != 1:
        yield "groups"


def _types(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the type of each input, each output and each constant, and the results of each Cast."""
    import onnx

    from .graph import attributes

    name_of = onnx.TensorProto.DataType.Name
    names = {"FLOAT": "float32", "DOUBLE": "float64"}
    values = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    casts = [attributes(node)["to"] for node in model.graph.node if node.op_type == "Cast"]
    for kind in (*values, *(tensor.data_type for tensor in model.graph.initializer), *casts):
        yield names.get(name_of(kind), name_of(kind).lower())


def _is_fixed(model: onnx.ModelProto) -> bool:
    shapes = [value.type.tensor_type.shape for value in (*model.graph.input, *model.graph.output)]
    return all(size.dim_value > 0 for shape in shapes for size in shape.dim)


def _remedy(operator: str = "") -> str:
    """Return a way on for a graph that a target does not read."""
    others = [repr(name) for name, target in TARGETS.items() if operator in target.operators]
    if others:
        return f"use `target={others[0]}`, which reads it, or leave `target` out for onnxruntime"
    return "leave `target` out for onnxruntime, which reads every operator, or change the generator"
