"""From a Keras generator to a verified ONNX graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import onnx
import onnx.shape_inference
import onnx.version_converter

from ganport.runtime.contract import Precision
from ganport.runtime.display import first_line
from ganport.runtime.errors import GanportError
from ganport.runtime.providers import onnxruntime_errors

from .errors import GeneratorError
from .input_stages import add_label_input, add_one_hot_input, add_seed_input, fix_seeds
from .options import Options
from .output_stages import add_uint8_output, put_channels_first
from .parity import InputSize, Verification, verify_parity
from .precision import round_weights, store_in_float16, to_float16_arithmetic, to_int8
from .rewrites import INT8_REWRITES, TARGET_REWRITES, simplify
from .sources import Source
from .targets import prepare

# The errors of onnx. They must be listed one by one, since they have no base class but Exception.
_ONNX_ERRORS = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)


@dataclasses.dataclass(frozen=True)
class Verified:
    """A verified graph, together with the original generator and the options from which it was made.

    Attributes:
        source: The generator.
        options: Options that the graph was made with.
        generator: The graph from latents and one-hot codes to floats, in float32, without input and output
            stages.
        plain: The graph as tf2onnx converts it, in float32, with input and output stages and without
            rewrites.
        float32: The same graph after the rewrites.
        model: The graph to write, in the requested precision.
        verification: Measured differences between the images of `model` and those of Keras.
    """

    source: Source
    options: Options
    generator: onnx.ModelProto
    plain: onnx.ModelProto
    float32: onnx.ModelProto
    model: onnx.ModelProto
    verification: Verification


def convert_and_verify(
    source: Source,
    options: Options | None = None,
    *,
    prepare_source: Callable[[onnx.ModelProto, Precision, int], onnx.ModelProto | None] | None = None,
    progress: Callable[[str], object] = lambda line: None,
) -> Verified:
    """Convert a generator to a graph, compare the graph's images with the original's, and return the graph.

    Args:
        source: The generator, and what is known about it.
        options: Options of the graph; None for the defaults.
        prepare_source: Function that checks the float32 graph for another format, such as C, and returns it
            with the weights of this format, as `c_source.source_files.prepare_source` does.
        progress: Function that is called with a line of text when a step begins.

    Raises:
        GeneratorError: An operation of the model has no counterpart in ONNX.
        PrecisionError: The weights can't be stored in this precision.
        VerificationError: The graph does not generate the images of the original.
    """
    chosen = options or Options()
    # tf2onnx raises builtin errors if it can't convert an operation. It also writes operations that
    # onnxruntime does not know, so the errors of onnxruntime are caught, too.
    errors: tuple[type[Exception], ...] = (*onnxruntime_errors(), *_ONNX_ERRORS, KeyError, TypeError)
    try:
        return _convert_and_verify(source, chosen, prepare_source, progress)
    except GanportError:
        raise
    except errors as error:
        raise GeneratorError(
            source.name,
            f"it can't be converted to opset {chosen.opset}, or onnxruntime can't run the result "
            f"({first_line(error)}).",
        ) from error


def _convert_and_verify(
    source: Source,
    options: Options,
    prepare_source: Callable[[onnx.ModelProto, Precision, int], onnx.ModelProto | None] | None,
    progress: Callable[[str], object],
) -> Verified:
    progress("converting")
    size = InputSize(source.latent_dim, len(source.labels), source.distribution)
    converted = source.convert(options.opset, options.batch)
    rewrites = None if options.target is None else TARGET_REWRITES
    float_model = simplify(converted, rewrites)
    plain = _add_stages(converted, options, size)
    float32 = simplify(_add_stages(float_model, options, size), rewrites)
    lossy = None
    if prepare_source is not None:
        lossy = prepare_source(float_model, options.precision, size.label_count)
    elif options.precision == "float16":
        lossy = round_weights(float_model)
    elif options.precision == "float16-arithmetic":
        lossy = simplify(to_float16_arithmetic(float_model))
    elif options.precision == "int8":
        int8_model = simplify(converted, INT8_REWRITES)
        lossy = simplify(to_int8(int8_model, size.dim, size.label_count, distribution=size.distribution))
    model = float32 if lossy is None else simplify(_add_stages(lossy, options, size), rewrites)
    if options.precision == "float16" and prepare_source is None:
        model = store_in_float16(model)
    if options.target is not None:
        float32, model = (prepare(each, options.target) for each in (float32, model))
    onnx.checker.check_model(model, full_check=True)
    verification = verify_parity(
        source.generate,
        size,
        options,
        float_model=float_model,
        shipped=model,
        lossy=lossy,
        is_half=source.is_half,
        has_levels=source.has_levels,
        is_third_party=source.is_third_party,
        progress=progress,
    )
    return Verified(source, options, float_model, plain, float32, model, verification)


def _add_stages(model: onnx.ModelProto, options: Options, size: InputSize) -> onnx.ModelProto:
    """Return the model with the input and output stages that the options request."""
    if options.output == "uint8":
        model = add_uint8_output(model)
    if options.layout == "NCHW":
        model = put_channels_first(model)
    if options.input_kind == "fixed":
        return fix_seeds(model, options.seeds, size.label_count, distribution=size.distribution)
    if size.label_count and options.target is not None:
        model = add_one_hot_input(model, size.label_count)
    elif size.label_count:
        model = add_label_input(model, size.label_count)
    if options.input_kind == "seed":
        model = add_seed_input(model, distribution=size.distribution)
    return model
