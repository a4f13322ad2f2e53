"""From a Keras generator to one verified .onnx file."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import onnx

from runtime import Contract, ImageSpec, InputSpec, Sampler, __version__, encode_png, make_grid
from runtime.contract import METADATA_KEY
from runtime.errors import GeneratorError, UsageError, VerificationError, first_line
from runtime.files import replacing
from runtime.providers import onnxruntime_errors
from runtime.seeds import check_seeds

from .convert import IMAGE, LATENT, OPSET, convert_generator
from .heads import SEED, add_seed_head, bake_seeds
from .rewrites import simplify
from .sources import Source
from .tails import add_uint8_tail
from .verify import Verification, check_pixels, verify_parity

Input = Literal["latent", "seed", "fixed"]
Output = Literal["uint8", "float"]

GOLDEN_SEEDS = (0, 1, 2, 3)

_INPUT_NAMES: Mapping[Input, str] = {"latent": LATENT, "seed": SEED, "fixed": ""}
_RANGES = {"uint8": (0, 255), "float32": (-1, 1)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What kind of file is wanted.

    Attributes:
        input: "latent"; "seed" for hosts that give whole numbers; "fixed" for the images of `seeds` and no input at all.
        seeds: for "fixed": which, each once. Their number is the batch.
        output: "uint8" for pixels in [0, 255], "float" for float32 in [-1, 1].
        batch: images per call, for hosts that need it fixed; None leaves it to the caller.

    Raises:
        UsageError: they do not fit together.
        SeedError: what is no seed is among the seeds.
    """

    input: Input = "latent"
    seeds: tuple[int, ...] = ()
    output: Output = "uint8"
    batch: int | None = None

    def __post_init__(self) -> None:
        if (self.input == "fixed") != bool(self.seeds):
            raise UsageError("Seeds are baked in with --input fixed, which needs them: --input fixed --seeds 0-63.")
        if self.seeds and len(set(check_seeds(self.seeds).tolist())) < len(self.seeds):
            raise UsageError("A seed is listed twice; each is baked in once.")
        if self.seeds and self.batch is not None:
            raise UsageError("With --input fixed the number of seeds is the batch; leave out --batch.")


def export_generator(source: Source, target: Path, options: Options = Options()) -> Contract:
    """Write the generator as one .onnx file that is proven to draw what Keras draws, and return its contract.

    Args:
        source: the generator and its facts.
        target: the file to write; one that is there is replaced, but only by a verified one.
        options: what kind of file.

    Raises:
        GeneratorError: an operation of the model has no counterpart in ONNX.
        VerificationError: the graph does not draw what Keras draws; nothing is written.
        OutputError: the file can't be written.
    """
    # tf2onnx has no errors of its own, and lets operations pass that onnxruntime then does not know.
    errors: tuple[type[Exception], ...] = (*onnxruntime_errors(), KeyError, TypeError)
    try:
        float_model = simplify(convert_generator(source.generator, OPSET, options.batch))
        model = simplify(_finish(float_model, options))
        verification = verify_parity(source.generator, float_model, model, options.seeds)
    except VerificationError:
        raise
    except errors as error:
        problem = f"it can't be converted, or onnxruntime can't run the result ({first_line(error)})."
        raise GeneratorError(source.name, problem) from error

    contract = _describe(source, options, verification)
    golden_seeds = options.seeds[: len(GOLDEN_SEEDS)] or GOLDEN_SEEDS
    with replacing(target) as temporary:
        _write(temporary, model, contract)
        # The golden images are drawn by the very file, through the runtime that users have, and held against Keras once more.
        images = Sampler(temporary).sample(golden_seeds)
        check_pixels(source.generator, golden_seeds, images)
        golden = {"seeds": golden_seeds, "png_base64": base64.b64encode(encode_png(make_grid(images))).decode()}
        _write(temporary, model, dataclasses.replace(contract, golden=golden))
        return Sampler(temporary).model


def _finish(float_model: onnx.ModelProto, options: Options) -> onnx.ModelProto:
    """Return the model with the head and the tail that are wanted."""
    model = add_uint8_tail(float_model) if options.output == "uint8" else float_model
    if options.input == "seed":
        return add_seed_head(model)
    return bake_seeds(model, options.seeds) if options.input == "fixed" else model


def _describe(source: Source, options: Options, verification: Verification) -> Contract:
    height, width, channels = source.image_shape
    dtype = "uint8" if options.output == "uint8" else "float32"
    return Contract(
        name=source.name,
        created_by=f"ganport {__version__}",
        input=InputSpec(
            kind=options.input,
            name=_INPUT_NAMES[options.input],
            dim=source.latent_dim,
            distribution="normal",
            seeds=options.seeds or None,
        ),
        image=ImageSpec(
            name=IMAGE, height=height, width=width, channels=channels, layout="NHWC", dtype=dtype, range=_RANGES[dtype]
        ),
        batch=len(options.seeds) or options.batch,
        precision="float32",
        recipe=source.recipe,
        data=source.data,
        training=source.training,
        verification=dataclasses.asdict(verification),
        golden={"seeds": [], "png_base64": ""},
    )


def _write(path: Path, model: onnx.ModelProto, contract: Contract) -> None:
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    path.write_bytes(model.SerializeToString())
