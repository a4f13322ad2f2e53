"""What kind of file is wanted."""

from __future__ import annotations

import dataclasses
from typing import Literal

import onnx

from ganport.runtime.errors import UsageError
from ganport.runtime.seeds import check_seeds

Input = Literal["latent", "seed", "fixed"]
Output = Literal["uint8", "float"]
Layout = Literal["NHWC", "NCHW"]
Precision = Literal["float32", "float16", "int8"]

OPSET = 18
OLDEST_OPSET = 13

_SEED_HEAD_OPSET = 18  # of BitwiseAnd and BitwiseXor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What kind of file is wanted.

    Attributes:
        input: "latent"; "seed" for hosts that give whole numbers; "fixed" for the images of `seeds` and no input at all.
        seeds: for "fixed": which, each once. Their number is the batch.
        output: "uint8" for pixels in [0, 255], "float" for float32 in [-1, 1].
        layout: "NHWC", or "NCHW" for hosts that want the channels before the height.
        precision: of weights and arithmetic.
        allow_loss: write a file in float16 or int8 however much its pictures lose.
        batch: images per call, for hosts that need it fixed; None leaves it to the caller.
        opset: of the ONNX standard operators, 13 or newer, as far as the installed onnx knows them.

    Raises:
        UsageError: they do not fit together.
        SeedError: what is no seed is among the seeds.
    """

    input: Input = "latent"
    seeds: tuple[int, ...] = ()
    output: Output = "uint8"
    layout: Layout = "NHWC"
    precision: Precision = "float32"
    allow_loss: bool = False
    batch: int | None = None
    opset: int = OPSET

    def __post_init__(self) -> None:
        if (self.input == "fixed") != bool(self.seeds):
            raise UsageError("Seeds are baked in with --input fixed, which needs them: --input fixed --seeds 0-63.")
        if self.seeds and len(set(check_seeds(self.seeds).tolist())) < len(self.seeds):
            raise UsageError("A seed is listed twice; each is baked in once.")
        if self.seeds and self.batch is not None:
            raise UsageError("With --input fixed the number of seeds is the batch; leave out --batch.")
        if self.opset < OLDEST_OPSET:
            raise UsageError(f"--opset is {self.opset}; {OLDEST_OPSET} is the oldest that generators are written in.")
        if self.opset > (newest := onnx.defs.onnx_opset_version()):
            raise UsageError(f"--opset is {self.opset}; {newest} is the newest that onnx {onnx.__version__} knows.")
        if self.input == "seed" and self.opset < _SEED_HEAD_OPSET:
            raise UsageError(
                f"--input seed works with BitwiseAnd and BitwiseXor, which ONNX has from opset {_SEED_HEAD_OPSET} on; "
                f"--opset is {self.opset}."
            )
        if self.allow_loss and self.precision == "float32":
            raise UsageError("--allow-loss is for --precision float16 or int8; float32 loses nothing.")


DEFAULTS = Options()
