"""Writing a verified graph with its contract and golden images."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import glob
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from ganport.runtime import Contract, ImageSpec, InputSpec, Sampler, __version__, encode_png, make_grid
from ganport.runtime.contract import METADATA_KEY, ImageType, InputKind
from ganport.runtime.files import remove_leftovers, replacing, write_bytes

from .formats import required_operators, to_ort, triton_config
from .input_stages import SEED
from .options import FileFormat, Options
from .parity import InputSize, Verification, require_same_images
from .paths import check_path, description_file, model_file, operators_file, triton_config_file
from .seed_rule import seed_rule
from .sources import Source
from .standard_form import IMAGE, LATENT
from .verified import Verified

GOLDEN_SEEDS = (0, 1, 2, 3)

_INPUT_NAMES: Mapping[InputKind, str] = {"latent": LATENT, "seed": SEED, "fixed": ""}
_RANGES: Mapping[ImageType, tuple[int, int]] = {"uint8": (0, 255), "float32": (-1, 1)}


def write_model(
    verified: Verified, path: Path, file_format: FileFormat = "onnx", *, overwrite: bool = False
) -> Contract:
    """Write a verified graph with its contract, and return the contract.

    Args:
        verified: The verified graph, as `convert_and_verify` returns it.
        path: The file to write. For Triton it is the folder of the model; Triton uses the name of this folder
            as the name of the model.
        file_format: "onnx"; "ort" for small builds of onnxruntime, with the list of operators for such a
            build beside it; "triton" for a model repository.
        overwrite: Replace existing files.

    Raises:
        UsageError: The format is "triton", and the model has no inputs.
        VerificationError: The images that the runtime generates with the written file differ from those of
            the verified graph. The written file is removed, and `path` stays as it was.
        OutputError: The file can't be written, or it exists and `overwrite` is false.
    """
    check_path(path, verified.options, file_format, overwrite=overwrite)
    file = model_file(path, file_format)
    remove_leftovers(file.parent, glob.escape(file.stem))
    with contextlib.ExitStack() as stack:
        described = None
        if verified.options.target is not None:
            described = stack.enter_context(replacing(description_file(path)))
        operators = stack.enter_context(replacing(operators_file(path))) if file_format == "ort" else None
        temporary = stack.enter_context(replacing(file))
        contract = write_with_golden(verified, temporary, file_format)
        if operators is not None:
            operators.write_text(required_operators(temporary, path.name), "utf-8")
        if described is not None:
            described.write_text(f"{json.dumps(_document(contract, verified.options), indent=2)}\n", "utf-8")
    if file_format == "triton":
        write_bytes(triton_config_file(path), triton_config(contract, path.resolve().name).encode())
    return contract


def write_with_golden(verified: Verified, path: Path, file_format: FileFormat) -> Contract:
    """Write the file, generate golden images with it, and write the file again with these images in it.

    Returns:
        The contract of the file.
    """
    source, options = verified.source, verified.options
    contract = _describe(source, options, verified.verification)
    seeds = options.seeds[: len(GOLDEN_SEEDS)] or GOLDEN_SEEDS
    _write(path, verified.model, contract, options, file_format)
    # The runtime generates the golden images from the written file. They are then compared with the images
    # that the verified graph generates.
    images = Sampler(path).sample(seeds)
    size = InputSize(source.latent_dim, len(source.labels), source.distribution)
    require_same_images(verified.model, size, options, seeds=seeds, images=images)
    golden = {"seeds": seeds, "png_base64": base64.b64encode(encode_png(make_grid(images))).decode()}
    _write(path, verified.model, dataclasses.replace(contract, golden=golden), options, file_format)
    return Sampler(path).contract


def _describe(source: Source, options: Options, verification: Verification) -> Contract:
    """Return the contract to write into the file. Its golden images are added later."""
    height, width, channels = source.image_shape
    dtype: ImageType = "uint8" if options.output == "uint8" else "float32"
    return Contract(
        name=source.name,
        created_by=f"ganport {__version__}",
        input=InputSpec(
            kind=options.input_kind,
            name=_INPUT_NAMES[options.input_kind],
            dim=source.latent_dim,
            distribution=source.distribution,
            seeds=options.seeds or None,
            labels=source.labels or None,
            label_encoding="one-hot" if source.labels and options.target is not None else "index",
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


def _write(
    path: Path, model: onnx.ModelProto, contract: Contract, options: Options, file_format: FileFormat
) -> None:
    with_contract = onnx.ModelProto()
    with_contract.CopyFrom(model)
    text = json.dumps(_document(contract, options), ensure_ascii=False)
    with_contract.metadata_props.add(key=METADATA_KEY, value=text)
    content = with_contract.SerializeToString()
    if file_format == "ort":
        content = to_ort(content, keep_casts=options.precision == "float16")
    path.write_bytes(content)


def _document(contract: Contract, options: Options) -> dict[str, Any]:
    """Return the contract as a dict of JSON types, for a target with the rule from seeds to latents."""
    document = contract.to_dict()
    if options.target is not None:
        given = contract.input
        document["seed_rule"] = seed_rule(given.dim, given.distribution, len(given.labels or ()))
    return document
