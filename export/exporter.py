"""From a Keras generator to one verified .onnx file."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx.shape_inference
import onnx.version_converter

from ganport.runtime import Contract, ImageSpec, InputSpec, Sampler, __version__, encode_png, make_grid
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.errors import GanportError, GeneratorError, OutputError, UsageError, first_line
from ganport.runtime.files import replacing, write_bytes
from ganport.runtime.providers import onnxruntime_errors

from .convert import IMAGE, LATENT, convert_generator
from .formats import Format, to_ort, triton_config
from .heads import SEED, add_label_head, add_seed_head, bake_seeds
from .options import DEFAULTS, Input, Options
from .precision import to_float16, to_int8
from .rewrites import INT8_REWRITES, simplify
from .sources import Source
from .tails import add_uint8_tail, put_channels_first
from .verify import Verification, check_pixels, verify_parity

GOLDEN_SEEDS = (0, 1, 2, 3)

_INPUT_NAMES: Mapping[Input, str] = {"latent": LATENT, "seed": SEED, "fixed": ""}
# Of onnx: it derives them from Exception alone.
_ONNX_ERRORS = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)
_RANGES = {"uint8": (0, 255), "float32": (-1, 1)}
_TRITON_MODEL, _TRITON_CONFIG = Path("1") / "model.onnx", "config.pbtxt"  # version 1


@dataclasses.dataclass(frozen=True)
class Proven:
    """A graph that draws what Keras draws, and what it was made of.

    Attributes:
        source, options: what it was made of.
        plain: the graph with the same head and tail in float32, as tf2onnx converts it, without a rewrite.
        float32: the same after the rewrites.
        model: the graph that is to be shipped.
        verification: what was measured.
    """

    source: Source
    options: Options
    plain: onnx.ModelProto
    float32: onnx.ModelProto
    model: onnx.ModelProto
    verification: Verification


def export_generator(source: Source, target: Path, options: Options = DEFAULTS, overwrite: bool = False) -> Contract:
    """Write the generator as one .onnx file that is proven to draw what Keras draws, and return its contract.

    Args:
        source: the generator and its facts.
        target: the file to write.
        options: what kind of file.
        overwrite: replace a file that is there, once this one is proven.

    Raises:
        GeneratorError: an operation of the model has no counterpart in ONNX.
        PrecisionError: its numbers do not fit into the precision.
        VerificationError: the graph does not draw what Keras draws; nothing is written.
        OutputError: the file can't be written, or there is one.
    """
    check_target(target, options, overwrite=overwrite)
    return write_model(prove(source, options), target, overwrite=overwrite)


def prove(source: Source, options: Options = DEFAULTS) -> Proven:
    """Convert the generator, and hold the graph against Keras.

    Raises:
        GeneratorError, PrecisionError, VerificationError: as `export_generator`.
    """
    # tf2onnx has no errors of its own, and lets operations pass that onnxruntime then does not know.
    errors: tuple[type[Exception], ...] = (*onnxruntime_errors(), *_ONNX_ERRORS, KeyError, TypeError)
    try:
        converted = convert_generator(source.generator, options.opset, options.batch)
        floats = simplify(converted)
        classes = len(source.labels)
        plain = _finish(converted, options, classes)
        float32 = simplify(_finish(floats, options, classes))
        lossy = None
        if options.precision == "float16":
            lossy = simplify(to_float16(floats))
        elif options.precision == "int8":
            lossy = simplify(to_int8(simplify(converted, INT8_REWRITES), source.latent_dim, classes))
        model = float32 if lossy is None else simplify(_finish(lossy, options, classes))
        onnx.checker.check_model(model, full_check=True)
        verification = verify_parity(source.generator, floats, model, options, classes, lossy)
    except GanportError:
        raise
    except errors as error:
        problem = f"it can't be converted to opset {options.opset}, or onnxruntime can't run the result ({first_line(error)})."
        raise GeneratorError(source.name, problem) from error
    return Proven(source, options, plain, float32, model, verification)


def write_model(proven: Proven, target: Path, form: Format = "onnx", overwrite: bool = False) -> Contract:
    """Write a proven graph with its contract, and return that.

    Args:
        proven: by `prove`.
        target: the file, or for Triton the folder of the model; its name is the model's.
        form: "onnx", "ort" for onnxruntime's small builds, or "triton" for a model repository.
        overwrite: replace the files that are there.

    Raises:
        UsageError: Triton takes no model without inputs.
        VerificationError: the runtime draws something else with the written file; nothing is left there.
        OutputError: the file can't be written, or there is one.
    """
    check_target(target, proven.options, form, overwrite)
    with replacing(model_file(target, form)) as temporary:
        contract = _write_verified(proven, temporary, form)
    if form == "triton":
        write_bytes(target / _TRITON_CONFIG, triton_config(contract, target.resolve().name).encode())
    return contract


def model_file(target: Path, form: Format) -> Path:
    """Return the file that `write_model` writes."""
    return target / _TRITON_MODEL if form == "triton" else target


def check_target(target: Path, options: Options, form: Format = "onnx", overwrite: bool = False) -> None:
    """Raise what `write_model` would, before anything is worked out.

    Raises:
        UsageError: Triton takes no model without inputs.
        OutputError: a file of the export is there already.
    """
    if form == "triton" and options.input == "fixed":
        raise UsageError("Triton takes no model without inputs; export it with --input latent or seed.")
    for path in (model_file(target, form), *([target / _TRITON_CONFIG] if form == "triton" else [])):
        check_free(path, overwrite)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError where a file can't be written, since something is there that is not to be replaced."""
    if path.is_dir():
        raise OutputError(path, "it is a folder")
    if path.exists() and not overwrite:
        raise OutputError(path, "it is there already", "replace it with --overwrite, or name another place with --out.")


def _finish(model: onnx.ModelProto, options: Options, classes: int) -> onnx.ModelProto:
    """Return the model with the head and the tails that are wanted."""
    if options.output == "uint8":
        model = add_uint8_tail(model)
    if options.layout == "NCHW":
        model = put_channels_first(model)
    if options.input == "fixed":
        return bake_seeds(model, options.seeds, classes)
    if classes:
        model = add_label_head(model, classes)
    return add_seed_head(model) if options.input == "seed" else model


def _write_verified(proven: Proven, path: Path, form: Format) -> Contract:
    """Write the file, draw its golden images with it, and write it again with these."""
    contract = _describe(proven.source, proven.options, proven.verification)
    seeds = proven.options.seeds[: len(GOLDEN_SEEDS)] or GOLDEN_SEEDS
    _write(path, proven.model, contract, form)
    # The golden images are drawn by the very file, through the runtime that users have, and held against the proven graph.
    images = Sampler(path).sample(seeds)
    check_pixels(proven.model, proven.options, proven.source, seeds, images)
    golden = {"seeds": seeds, "png_base64": base64.b64encode(encode_png(make_grid(images))).decode()}
    _write(path, proven.model, dataclasses.replace(contract, golden=golden), form)
    return Sampler(path).model


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
            labels=source.labels or None,
        ),
        image=ImageSpec(
            name=IMAGE,
            height=height,
            width=width,
            channels=channels,
            layout=options.layout,
            dtype=dtype,
            range=_RANGES[dtype],
        ),
        batch=len(options.seeds) or options.batch,
        precision=options.precision,
        recipe=source.recipe,
        data=source.data,
        training=source.training,
        verification=dataclasses.asdict(verification),
        golden={"seeds": [], "png_base64": ""},
    )


def _write(path: Path, model: onnx.ModelProto, contract: Contract, form: Format) -> None:
    with_contract = onnx.ModelProto()
    with_contract.CopyFrom(model)
    with_contract.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    content = with_contract.SerializeToString()
    path.write_bytes(to_ort(content) if form == "ort" else content)
