"""The options of an export: what kind of file is written."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np

from ganport.runtime.contract import LARGEST_DIM, InputKind, Layout, Precision
from ganport.runtime.errors import SeedError, UsageError
from ganport.runtime.seeds import check_seeds, parse_seeds
from ganport.runtime.writers import LARGEST_GRID

from .packages import newest_opset
from .targets import TargetName, check_options, target_defaults

Output = Literal["uint8", "float"]
FileFormat = Literal["onnx", "ort", "triton", "c"]

OPSET = 18
OLDEST_OPSET = 13

_SEED_STAGE_OPSET = 18  # first opset with BitwiseAnd and BitwiseXor, which a seed input needs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The options of an export: what kind of file is written.

    Attributes:
        input_kind: "latent" for latents; "seed" for seeds, which the graph turns into latents; "fixed" for a
            graph without inputs that generates the images of `seeds`.
        seeds: Seeds of a "fixed" file, without repetition. The number of seeds is the batch size.
        output: "uint8" for pixels in [0, 255], "float" for float32 in [-1, 1].
        layout: "NHWC" for channels last, "NCHW" for channels first.
        precision: "float32"; "float16" for weights that are stored in float16, and arithmetic in float32;
            "float16-arithmetic" for weights and arithmetic in float16; "int8" for weights and arithmetic in
            8 bits.
        allow_loss: Whether to write a file in float16 or int8 even if its images differ too much from Keras'
            images.
        batch: Number of images per call, for programs that need a fixed number; None if the number may
            differ from call to call.
        opset: Version of the ONNX standard operators, from 13 to the newest that the installed onnx knows.
        target: Runtime that reads less of ONNX than onnxruntime does; None for onnxruntime. The other options
            must fit it: `options_for` fills in those that the user leaves open.

    Raises:
        UsageError: The value of an option is not allowed, or two options contradict each other.
        SeedError: `seeds` contains a value that is not a seed.
        MissingPackageError: onnx is not installed.
    """

    input_kind: InputKind = "latent"
    seeds: tuple[int, ...] = ()
    output: Output = "uint8"
    layout: Layout = "NHWC"
    precision: Precision = "float32"
    allow_loss: bool = False
    batch: int | None = None
    opset: int = OPSET
    target: TargetName | None = None

    def __post_init__(self) -> None:
        check_choice("input_kind", self.input_kind, get_args(InputKind))
        check_choice("output", self.output, get_args(Output))
        check_choice("layout", self.layout, get_args(Layout))
        check_choice("precision", self.precision, get_args(Precision))
        if self.target is not None:
            check_options(
                self.target,
                input_kind=self.input_kind,
                output=self.output,
                layout=self.layout,
                precision=self.precision,
                opset=self.opset,
            )
        self._check_seeds()
        self._check_batch()
        self._check_opset()
        if self.allow_loss and self.precision == "float32":
            raise UsageError(
                "`allow_loss=True` is for a `precision` of float16 or int8; float32 has no loss, so leave "
                "`allow_loss` out."
            )

    def _check_seeds(self) -> None:
        if self.input_kind != "fixed":
            if self.seeds:
                raise UsageError("`seeds` are for `input_kind='fixed'`; add it, or leave `seeds` out.")
            return
        if not self.seeds:
            raise UsageError(
                "`input_kind='fixed'` needs `seeds`: the seeds whose images the file generates, such as 0-63."
            )
        ordered = sorted(check_seeds(self.seeds).tolist())
        repeated = [seed for seed, following in itertools.pairwise(ordered) if seed == following]
        if repeated:
            raise UsageError(f"Seed {repeated[0]} is repeated in `seeds`; list each seed once.")
        if self.batch is not None:
            raise UsageError("With `input_kind='fixed'` the number of seeds is the batch; leave `batch` out.")

    def _check_batch(self) -> None:
        if self.batch is not None and not (_is_whole(self.batch) and 1 <= self.batch <= LARGEST_DIM):
            raise UsageError(
                f"`batch` is {self.batch!r}; it must be a whole number from 1 to {LARGEST_DIM:,}."
            )

    def _check_opset(self) -> None:
        newest, packages = newest_opset()
        if not _is_whole(self.opset) or not OLDEST_OPSET <= self.opset <= newest:
            raise UsageError(
                f"`opset` is {self.opset!r}; it must be a whole number from {OLDEST_OPSET}, the oldest that "
                f"is supported, to {newest}, the newest that {packages} support."
            )
        if self.input_kind == "seed" and self.opset < _SEED_STAGE_OPSET:
            raise UsageError(
                f"`opset` is {self.opset}; `input_kind='seed'` needs {_SEED_STAGE_OPSET} or newer, since "
                "older opsets lack BitwiseAnd and BitwiseXor."
            )


def options_for(target: TargetName | None = None, **given: Any) -> Options:
    """Return the options of an export for a target. An option that is None or missing gets its default.

    Args:
        target: Runtime that reads less of ONNX than onnxruntime does; None for onnxruntime.
        **given: Other options, as for `Options`.

    Raises:
        UsageError: There is no such target, or an option contradicts it.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    return Options(target=target, **target_defaults(target) | chosen)


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raise UsageError if the value of the argument `name` is not among the known values."""
    if value not in known:
        raise UsageError(f"`{name}` is {value!r}; it must be {', '.join(known[:-1])} or {known[-1]}.")


def check_source_options(options: Options) -> None:
    """Raise UsageError if an option does not fit C source, in which one call makes one image from latents.

    Args:
        options: The options of an export with `file_format="c"`.
    """
    only = "the C code turns latents into one image of 8-bit pixels, row by row"
    fixed = {"input_kind": "latent", "output": "uint8", "layout": "NHWC", "batch": None, "target": None}
    for name, value in fixed.items():
        given = getattr(options, name)
        if given != value:
            raise UsageError(
                f"`file_format='c'` does not take `{name}={given!r}`: {only}; leave `{name}` out."
            )
    if options.precision == "float16-arithmetic":
        raise UsageError(
            "`file_format='c'` does not take `precision='float16-arithmetic'`: C has no arithmetic in "
            "float16; use `precision='float16'`, which stores the weights in float16."
        )


def read_seeds(seeds: str | Iterable[int]) -> tuple[int, ...]:
    """Return the seeds of a fixed file as whole numbers; an empty tuple for no seeds.

    Args:
        seeds: A text such as "0-63" or "0,5,9-12", or whole numbers in [0, 2**63).

    Raises:
        SeedError: The text is malformed, a number is not a seed, or there are too many seeds.

    >>> read_seeds("3,5-7")
    (3, 5, 6, 7)
    """
    if isinstance(seeds, str):
        return tuple(parse_seeds(seeds, at_most=LARGEST_GRID).tolist())
    try:
        listed = list(itertools.islice(seeds, LARGEST_GRID + 1))
    except TypeError:
        raise SeedError(seeds, "is not a list of seeds") from None
    if len(listed) > LARGEST_GRID:
        raise SeedError(seeds, f"lists more than {LARGEST_GRID:,} seeds")
    return tuple(check_seeds(listed).tolist()) if listed else ()


def _is_whole(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)
