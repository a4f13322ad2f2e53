"""The KServe v2 inference protocol (Open Inference Protocol) over HTTP, with the extension for binary tensors.

Clients that were written for Triton draw from this service as they are. Inputs are those of the model file; the output is its
image, uint8 (n, height, width, channels).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ganport.runtime import Sampler, __version__, check_seeds
from ganport.runtime.contract import LABEL

from .batching import Batcher, Draw
from .refusals import TensorError

_DTYPES: Mapping[str, Any] = {"FP32": np.float32, "INT64": np.int64}
_LENGTH = "inference-header-content-length"
VERSION = "1"
_MOST_JSON_VALUES = 1_000_000  # which take the service a fifth of a second to write
Tensors = dict[str, npt.NDArray[Any]]


def make_kserve(sampler: Sampler, batcher: Batcher, name: str, most_images: int) -> APIRouter:
    """Return the routes below /v2, of a model by a name that fits into an address."""
    router = APIRouter(prefix="/v2", tags=["KServe v2"])
    due = {entry["name"]: entry for entry in describe(sampler)["inputs"]}
    model = f"/models/{name}"  # the one that there is: no name of a client's goes anywhere

    @router.get("", summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "ganport", "version": __version__, "extensions": ["binary_tensor_data"]}

    @router.get("/health/live", summary="Is the process alive", response_class=Response)
    @router.get("/health/ready", summary="Can it draw", response_class=Response)
    @router.get(f"{model}/ready", summary="Can the model draw", response_class=Response)
    @router.get(f"{model}/versions/{VERSION}/ready", include_in_schema=False)
    async def ready() -> Response:
        return Response()

    @router.get(model, summary="What the model takes and gives")
    @router.get(f"{model}/versions/{VERSION}", include_in_schema=False)
    async def metadata() -> dict[str, Any]:
        return {"name": name, **describe(sampler)}

    @router.post(f"{model}/infer", summary="Draw", openapi_extra=_BODY, responses=_ANSWERS)
    @router.post(f"{model}/versions/{VERSION}/infer", include_in_schema=False)
    async def infer(request: Request) -> Response:
        document, tensors = read_request(await request.body(), request.headers.get(_LENGTH), due, most_images)
        wanted = _wanted(sampler, tensors)
        wants_binary = _wants_binary(document, sampler.model.image.name)
        if not wants_binary and len(wanted) * math.prod(sampler.model.image.shape) > _MOST_JSON_VALUES:
            raise TensorError(f"More than {_MOST_JSON_VALUES:,} values are not written as JSON; ask for binary_data.")
        head = {"model_name": name, "model_version": VERSION}
        if isinstance(document.get("id"), str):
            head["id"] = document["id"].encode("utf-8", "replace").decode()
        drawn = await batcher.draw(wanted, lambda images: images)
        return cast(Response, await batcher.pack(_respond, head, sampler.model.image.name, drawn, wants_binary))

    return router


def describe(sampler: Sampler) -> dict[str, Any]:
    """Return the model's metadata: names, datatypes and shapes, -1 for the batch."""
    given, image = sampler.model.input, sampler.model.image
    inputs = []
    if given.kind == "seed":
        inputs.append({"name": given.name, "datatype": "INT64", "shape": [-1]})
    elif given.kind == "latent":
        inputs.append({"name": given.name, "datatype": "FP32", "shape": [-1, given.dim]})
    if given.labels and given.kind != "fixed":
        inputs.append({"name": LABEL, "datatype": "INT64", "shape": [-1]})
    output = {"name": image.name, "datatype": "UINT8", "shape": [-1, *image.shape]}
    return {
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": [output],
    }


def read_request(
    body: bytes, header_length: str | None, due: Mapping[str, Mapping[str, Any]], most_images: int
) -> tuple[dict[str, Any], Tensors]:
    """Return the JSON part and the inputs, whose values are in it, or behind it as little-endian bytes.

    Args:
        body: of the request.
        header_length: how many bytes of it are JSON, where tensors follow.
        due: the inputs, as `describe` has them.
        most_images: of a batch.

    Raises:
        TensorError: it is malformed, or no batch of the model's inputs.
    """
    length = _read_length(header_length, len(body))
    try:
        document = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise TensorError(f"The request is not JSON: {error}.") from None
    entries = document.get("inputs", []) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TensorError("The request is to be an object with a list `inputs` of objects.")
    names = [entry.get("name") for entry in entries]
    if (
        len(names) != len(due)
        or not all(isinstance(name, str) and name in due for name in names)
        or len(set(names)) != len(due)
    ):
        raise TensorError(
            f"The model takes the inputs {', '.join(due) or '(none)'}; there are {', '.join(map(str, names)) or '(none)'}."
        )
    tensors: Tensors = {}
    rest = memoryview(body)[length:]
    for entry in entries:
        _check_shape(entry, due[entry["name"]], most_images)
        tensors[entry["name"]], used = _read_values(entry, rest)
        rest = rest[used:]
    if len({len(values) for values in tensors.values()}) > 1:
        raise TensorError("The batch is to be the same for all inputs.")
    return document, tensors


def _read_length(header_length: str | None, most: int) -> int:
    if header_length is None:
        return most
    if not header_length.isdecimal() or len(header_length) > len(str(most)) or int(header_length) > most:
        raise TensorError(f"{_LENGTH} is {header_length[:20]!r}; the body has {most:,} bytes.")
    return int(header_length)


def _check_shape(entry: Mapping[str, Any], due: Mapping[str, Any], most_images: int) -> None:
    """Raise TensorError unless datatype and shape are the model's: before any memory is taken."""
    shape, expected = entry.get("shape"), due["shape"]
    sizes = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
    fits = len(sizes) == len(expected) and sizes[1:] == expected[1:] and 1 <= sizes[0] <= most_images
    if not fits or entry.get("datatype") != due["datatype"]:
        raise TensorError(
            f"Input {due['name']!r} is {str(entry.get('datatype'))[:20]} {str(shape)[:60]}; the model takes {due['datatype']} "
            f"{expected} with a batch of 1 to {most_images:,}."
        )


def _read_values(entry: Mapping[str, Any], rest: memoryview) -> tuple[npt.NDArray[Any], int]:
    """Return the values, and how many of the bytes they took."""
    name, shape, dtype = entry["name"], entry["shape"], np.dtype(_DTYPES[entry["datatype"]])
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return _read_numbers(name, entry.get("data"), shape, dtype), 0
    if type(size) is not int or size != math.prod(shape) * dtype.itemsize or size > len(rest):
        raise TensorError(f"Input {name!r} says binary_data_size {str(size)[:20]}; there are {len(rest):,} bytes.")
    return np.frombuffer(rest[:size], dtype.newbyteorder("<")).reshape(shape), size


def _read_numbers(name: str, data: object, shape: list[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values from JSON, flat or row by row."""
    values = data if isinstance(data, list) else []
    if values and all(isinstance(row, list) for row in values):
        values = [number for row in values for number in row]
    # One text among numbers would make NumPy write all of them as texts of its length.
    kinds = (int,) if dtype == np.int64 else (int, float)
    if len(values) != math.prod(shape) or not all(type(number) in kinds for number in values):
        raise TensorError(
            f"Input {name!r}: its data is to be {math.prod(shape):,} {'whole ' if len(kinds) == 1 else ''}numbers."
        )
    try:
        return np.array(values, dtype).reshape(shape)
    except OverflowError:
        raise TensorError(f"Input {name!r} holds numbers beyond {dtype.itemsize * 8} bits.") from None


def _wanted(sampler: Sampler, tensors: Tensors) -> Draw:
    """Return what the tensors ask for.

    Raises:
        TensorError: latents that are not finite.
        SeedError, LabelError: values that can't be.
    """
    given = sampler.model.input
    if given.kind == "fixed":
        return Draw(np.array(given.seeds, np.int64), None)
    count = len(tensors[given.name])
    labels = sampler.resolve_labels(tensors[LABEL], np.zeros(count, np.int64)) if LABEL in tensors else None
    if given.kind == "seed":
        return Draw(check_seeds(tensors[given.name]), labels)
    latents = np.ascontiguousarray(tensors[given.name], np.float32)
    if not np.isfinite(latents).all():
        raise TensorError(f"Input {given.name!r} holds numbers that are not finite.")
    return Draw(np.zeros(count, np.int64), labels, latents=latents)


def _wants_binary(document: Mapping[str, Any], name: str) -> bool:
    """Return whether the output is asked for as bytes. Raises TensorError where another one is asked for."""
    parameters = document.get("parameters")
    wants = bool(parameters.get("binary_data_output")) if isinstance(parameters, dict) else False
    outputs = document.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise TensorError("`outputs` is to be a list of objects.")
    for output in outputs:
        if output.get("name") != name:
            raise TensorError(f"There is no output {output.get('name')!r}; the model gives {name!r}.")
        asked = output.get("parameters")
        wants = bool(asked["binary_data"]) if isinstance(asked, dict) and "binary_data" in asked else wants
    return wants


def _respond(head: Mapping[str, str], name: str, drawn: list[npt.NDArray[np.uint8]], is_binary: bool) -> Response:
    images = np.concatenate(drawn)
    output: dict[str, Any] = {"name": name, "datatype": "UINT8", "shape": list(images.shape)}
    document: dict[str, Any] = {**head, "outputs": [output]}
    if not is_binary:
        output["data"] = images.ravel().tolist()
        return JSONResponse(document)
    output["parameters"] = {"binary_data_size": images.nbytes}
    header = json.dumps(document).encode()
    return Response(
        header + images.tobytes(),
        media_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(header))},
    )


_TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "enum": list(_DTYPES)},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array", "items": {}},
        "parameters": {"type": "object"},
    },
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {"type": "array", "items": _TENSOR},
                        "outputs": {"type": "array", "items": {"type": "object"}},
                        "parameters": {"type": "object"},
                    },
                }
            }
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}, "application/octet-stream": {}}},
    400: {"description": "Tensors that the model does not take"},
}
