"""From a Keras generator to one verified .onnx file."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from typing import Literal

import onnx

from runtime import Contract, ImageSpec, InputSpec, Sampler, __version__, encode_png, make_grid
from runtime.contract import METADATA_KEY
from runtime.errors import GeneratorError, VerificationError, first_line
from runtime.files import replacing
from runtime.providers import onnxruntime_errors

from .convert import IMAGE, LATENT, convert_generator
from .rewrites import simplify
from .sources import Source
from .tails import add_uint8_tail
from .verify import Verification, check_pixels, verify_parity

Output = Literal["uint8", "float"]

OPSET = 18
GOLDEN_SEEDS = (0, 1, 2, 3)

_RANGES = {"uint8": (0, 255), "float32": (-1, 1)}


def export_generator(source: Source, target: Path, output: Output = "uint8", batch: int | None = None) -> Contract:
    """Write the generator as one .onnx file that is proven to draw what Keras draws, and return its contract.

    Args:
        source: the generator and its facts.
        target: the file to write; one that is there is replaced, but only by a verified one.
        output: "uint8" for pixels in [0, 255], "float" for float32 in [-1, 1].
        batch: images per call, for hosts that need it fixed; None leaves it to the caller.

    Raises:
        GeneratorError: an operation of the model has no counterpart in ONNX.
        VerificationError: the graph does not draw what Keras draws; nothing is written.
        OutputError: the file can't be written.
    """
    # tf2onnx has no errors of its own, and lets operations pass that onnxruntime then does not know.
    errors: tuple[type[Exception], ...] = (*onnxruntime_errors(), KeyError, TypeError)
    try:
        float_model = simplify(convert_generator(source.generator, OPSET, batch))
        model = simplify(add_uint8_tail(float_model)) if output == "uint8" else float_model
        verification = verify_parity(source.generator, float_model, model)
    except VerificationError:
        raise
    except errors as error:
        problem = f"it can't be converted, or onnxruntime can't run the result ({first_line(error)})."
        raise GeneratorError(source.name, problem) from error

    contract = _describe(source, output, batch, verification)
    with replacing(target) as temporary:
        _write(temporary, model, contract)
        # The golden images are drawn by the very file, through the runtime that users have, and held against Keras once more.
        images = Sampler(temporary).sample(GOLDEN_SEEDS)
        check_pixels(source.generator, GOLDEN_SEEDS, images)
        golden = {"seeds": GOLDEN_SEEDS, "png_base64": base64.b64encode(encode_png(make_grid(images))).decode()}
        _write(temporary, model, dataclasses.replace(contract, golden=golden))
        return Sampler(temporary).model


def _describe(source: Source, output: Output, batch: int | None, verification: Verification) -> Contract:
    height, width, channels = source.image_shape
    dtype = "uint8" if output == "uint8" else "float32"
    return Contract(
        name=source.name,
        created_by=f"ganport {__version__}",
        input=InputSpec(kind="latent", name=LATENT, dim=source.latent_dim, distribution="normal"),
        image=ImageSpec(
            name=IMAGE, height=height, width=width, channels=channels, layout="NHWC", dtype=dtype, range=_RANGES[dtype]
        ),
        batch=batch,
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
