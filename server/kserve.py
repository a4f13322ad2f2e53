"""The KServe v2 inference protocol (Open Inference Protocol) over HTTP, with JSON and binary tensors.

Clients that were written for Triton work with this service unchanged. The inputs are those of the model file.
The output holds the images, uint8 (n, height, width, channels).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Response
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse

from ganport.runtime import Contract, Sampler, __version__
from ganport.runtime.arrays import Pixels
from ganport.runtime.contract import LABEL
from ganport.runtime.errors import LatentValueError
from ganport.runtime.request import Request, request_latents, request_seeds

from .batching import Batcher
from .errors import TensorError
from .json_bodies import in_background, parse_json

VERSION = "1"

_DTYPES: Mapping[str, Any] = {"FP32": np.float32, "INT64": np.int64}
_LENGTH_HEADER = "inference-header-content-length"
_MAX_JSON_VALUES = 1_000_000  # largest number of values in a JSON response; encoding them takes 0.2 s

Tensors = dict[str, npt.NDArray[Any]]


def make_kserve(sampler: Sampler, batcher: Batcher, *, name: str, max_images: int) -> APIRouter:
    """Return a router with the routes of /v2.

    Args:
        sampler: Sampler of the model.
        batcher: Batcher that generates the images.
        name: Name of the model in URLs.
        max_images: Largest number of images in one request.
    """
    router = APIRouter(prefix="/v2", tags=["KServe v2"])
    expected = {entry["name"]: entry for entry in describe(sampler.contract)["inputs"]}
    # The model's name is a fixed part of the route. FastAPI then rejects all other names with status 404.
    model = f"/models/{name}"

    @router.get("", summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "ganport", "version": __version__, "extensions": ["binary_tensor_data"]}

    @router.get("/health/live", summary="Whether the process is alive", response_class=Response)
    @router.get("/health/ready", summary="Whether the service can generate images", response_class=Response)
    @router.get(f"{model}/ready", summary="Whether the model can generate images", response_class=Response)
    @router.get(f"{model}/versions/{VERSION}/ready", include_in_schema=False)
    async def ready() -> Response:
        return Response()

    @router.get(model, summary="Inputs and outputs of the model")
    @router.get(f"{model}/versions/{VERSION}", include_in_schema=False)
    async def metadata() -> dict[str, Any]:
        return {"name": name, **describe(sampler.contract)}

    @router.post(f"{model}/infer", summary="Generate images", openapi_extra=_BODY, responses=_RESPONSES)
    @router.post(f"{model}/versions/{VERSION}/infer", include_in_schema=False)
    async def infer(http: HttpRequest) -> Response:
        length = http.headers.get(_LENGTH_HEADER)
        document, tensors = await in_background(
            lambda body: read_body(body, length, expected, max_images), await http.body()
        )
        request = _make_request(sampler.contract, tensors)
        output = sampler.contract.image.name
        is_binary = _wants_binary(document, output)
        if not is_binary and len(request) * math.prod(sampler.contract.image.shape) > _MAX_JSON_VALUES:
            raise TensorError(
                f"The response has more than {_MAX_JSON_VALUES:,} values, too many for JSON; request the "
                "output with the parameter binary_data."
            )
        header = {"model_name": name, "model_version": VERSION}
        if isinstance(document.get("id"), str):
            header["id"] = document["id"].encode("utf-8", "replace").decode()
        response = await batcher.generate(
            request, lambda images: _encode_response(header, output, images, is_binary)
        )
        return cast(Response, response)

    return router


def describe(contract: Contract) -> dict[str, Any]:
    """Return names, data types and shapes of the model's inputs and output. -1 means any batch size."""
    source, image = contract.input, contract.image
    inputs = []
    if source.kind == "seed":
        inputs.append({"name": source.name, "datatype": "INT64", "shape": [-1]})
    elif source.kind == "latent":
        inputs.append({"name": source.name, "datatype": "FP32", "shape": [-1, source.dim]})
    if source.labels and source.kind != "fixed":
        inputs.append({"name": LABEL, "datatype": "INT64", "shape": [-1]})
    output = {"name": image.name, "datatype": "UINT8", "shape": [-1, *image.shape]}
    return {
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": [output],
    }


def read_body(
    body: bytes, header_length: str | None, expected: Mapping[str, Mapping[str, Any]], max_images: int
) -> tuple[dict[str, Any], Tensors]:
    """Return the JSON document of a request, and its input tensors by name.

    Args:
        body: Body of the request: a JSON document, and after it the little-endian bytes of binary tensors.
        header_length: Value of the header Inference-Header-Content-Length: the number of bytes of the JSON
            document. None if the body is only the JSON document.
        expected: Descriptions of the model's inputs by name, from `describe`.
        max_images: Largest number of images in one request.

    Raises:
        BodyError: The JSON document is malformed.
        TensorError: The tensors are malformed, or they do not fit the model's inputs.
    """
    length = _parse_length(header_length, len(body))
    document = parse_json(body[:length])
    entries = document.get("inputs", []) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TensorError("The request must be a JSON object with a list `inputs` of objects.")
    _check_names([entry.get("name") for entry in entries], expected)
    tensors: Tensors = {}
    rest = memoryview(body)[length:]
    for entry in entries:
        _check_shape(entry, expected[entry["name"]], max_images)
        tensors[entry["name"]], used = _read_tensor(entry, rest)
        rest = rest[used:]
    if len({len(values) for values in tensors.values()}) > 1:
        raise TensorError("The inputs have different batch sizes; all inputs must have the same.")
    return document, tensors


def _parse_length(header_length: str | None, body_length: int) -> int:
    if header_length is None:
        return body_length
    is_number = header_length.isdecimal() and len(header_length) <= len(str(body_length))
    if not is_number or int(header_length) > body_length:
        raise TensorError(
            f"The header {_LENGTH_HEADER} is {header_length[:20]!r}; it must be the number of bytes of the "
            f"JSON document, at most the {body_length:,} bytes of the body."
        )
    return int(header_length)


def _check_names(names: list[Any], expected: Mapping[str, Any]) -> None:
    """Raise TensorError unless the request has each input of the model once, and no other input."""
    if all(isinstance(name, str) for name in names) and sorted(names) == sorted(expected):
        return
    given = ", ".join(map(str, names)) or "none"
    raise TensorError(f"The inputs of the request are {given}; the model takes {_listed(expected)}.")


def _listed(expected: Mapping[str, Any]) -> str:
    return f"the inputs {', '.join(expected)}" if expected else "no inputs"


def _check_shape(entry: Mapping[str, Any], expected: Mapping[str, Any], max_images: int) -> None:
    """Raise TensorError unless the data type and the shape of an input fit the model.

    This check comes before memory for the tensor is allocated.
    """
    shape, expected_shape = entry.get("shape"), expected["shape"]
    sizes = shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
    has_shape = len(sizes) == len(expected_shape) and sizes[1:] == expected_shape[1:]
    if not has_shape or not 1 <= sizes[0] <= max_images or entry.get("datatype") != expected["datatype"]:
        raise TensorError(
            f"Input {expected['name']!r} is {str(entry.get('datatype'))[:20]} {str(shape)[:60]}; the model "
            f"takes {expected['datatype']} {expected_shape} with a batch of 1 to {max_images:,}."
        )


def _read_tensor(entry: Mapping[str, Any], rest: memoryview) -> tuple[npt.NDArray[Any], int]:
    """Return the values of a tensor, and the number of bytes that were read from the start of `rest`."""
    name, shape, dtype = entry["name"], entry["shape"], np.dtype(_DTYPES[entry["datatype"]])
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        return _read_json_values(name, entry.get("data"), shape, dtype), 0
    needed = math.prod(shape) * dtype.itemsize
    if type(size) is not int or size != needed or size > len(rest):
        raise TensorError(
            f"Input {name!r} has binary_data_size {str(size)[:20]}; its shape needs {needed:,} bytes, and "
            f"{len(rest):,} bytes are left in the body."
        )
    return np.frombuffer(rest[:size], dtype.newbyteorder("<")).reshape(shape), size


def _read_json_values(name: str, data: object, shape: list[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the values of a tensor from JSON data, which is a flat list or a list of rows."""
    values = data if isinstance(data, list) else []
    if values and all(isinstance(row, list) for row in values):
        values = [number for row in values for number in row]
    # The types are checked before NumPy converts the values. If the list contained one long string, NumPy
    # would convert every number to a string of that length, and run out of memory.
    kinds = (int,) if dtype == np.int64 else (int, float)
    if len(values) != math.prod(shape) or not all(type(number) in kinds for number in values):
        expected = "whole numbers" if dtype == np.int64 else "numbers"
        raise TensorError(f"The data of input {name!r} must be {math.prod(shape):,} {expected}.")
    try:
        return np.array(values, dtype).reshape(shape)
    except OverflowError:
        raise TensorError(
            f"Input {name!r} has numbers that do not fit into {dtype.itemsize * 8} bits."
        ) from None


def _make_request(contract: Contract, tensors: Tensors) -> Request:
    """Return the sampling request that the input tensors describe.

    Raises:
        TensorError: A latent is not finite.
        SeedError: A seed is out of range.
        LabelError: A label is out of range.
    """
    source = contract.input
    labels = tensors[LABEL].tolist() if LABEL in tensors else None
    if source.seeds is not None:
        return request_seeds(contract, source.seeds)
    if source.kind == "seed":
        return request_seeds(contract, tensors[source.name], labels=labels)
    try:
        return request_latents(contract, tensors[source.name], labels=labels)
    except LatentValueError as error:
        raise TensorError(
            f"Input {source.name!r} has {error.count:,} values that are not finite; send finite values."
        ) from error


def _wants_binary(document: Mapping[str, Any], output_name: str) -> bool:
    """Return whether the output is requested as binary data. Raises TensorError for an unknown output."""
    parameters = document.get("parameters")
    is_binary = bool(parameters.get("binary_data_output")) if isinstance(parameters, dict) else False
    outputs = document.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise TensorError("`outputs` must be a list of objects.")
    for output in outputs:
        if output.get("name") != output_name:
            raise TensorError(
                f"Output {output.get('name')!r} is unknown; the model has the output {output_name!r}."
            )
        parameters = output.get("parameters")
        if isinstance(parameters, dict) and "binary_data" in parameters:
            is_binary = bool(parameters["binary_data"])
    return is_binary


def _encode_response(
    header: Mapping[str, str], output_name: str, images: Pixels, is_binary: bool
) -> Response:
    output: dict[str, Any] = {"name": output_name, "datatype": "UINT8", "shape": list(images.shape)}
    document: dict[str, Any] = {**header, "outputs": [output]}
    if not is_binary:
        output["data"] = images.ravel().tolist()
        return JSONResponse(document)
    output["parameters"] = {"binary_data_size": images.nbytes}
    content = json.dumps(document).encode()
    return Response(
        content + images.tobytes(),
        media_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(content))},
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
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}, "application/octet-stream": {}}},
    400: {"description": "Tensors that do not fit the model's inputs"},
}
