"""The KServe v2 inference protocol (Open Inference Protocol) over HTTP, with the extension for binary tensors.

Clients that were written for Triton draw from this service as they are. Inputs are those of the model file; the output is its
image, uint8 (n, height, width, channels).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from runtime import Sampler, __version__, check_seeds
from runtime.contract import LABEL

from .batching import Batcher, Draw
from .refusals import TensorError

_DTYPES: Mapping[str, Any] = {"FP32": np.float32, "INT64": np.int64}
_LENGTH = "inference-header-content-length"
VERSION = "1"
Tensors = dict[str, npt.NDArray[Any]]


def make_kserve(sampler: Sampler, batcher: Batcher, name: str, most_images: int) -> APIRouter:
    """Return the routes below /v2, of a model by a name that fits into an address."""
    router = APIRouter(prefix="/v2", tags=["KServe v2"])
    model = f"/models/{name}"  # the one that there is: no name of a client's goes anywhere

    @router.get("", summary="The server")
    def server() -> dict[str, Any]:
        return {"name": "ganport", "version": __version__, "extensions": ["binary_tensor_data"]}

    @router.get("/health/live", summary="Is the process alive", response_class=Response)
    @router.get("/health/ready", summary="Can it draw", response_class=Response)
    @router.get(f"{model}/ready", summary="Can the model draw", response_class=Response)
    @router.get(f"{model}/versions/{VERSION}/ready", include_in_schema=False)
    def ready() -> Response:
        return Response()

    @router.get(model, summary="What the model takes and gives")
    @router.get(f"{model}/versions/{VERSION}", include_in_schema=False)
    def metadata() -> dict[str, Any]:
        return {"name": name, **describe(sampler)}

    @router.post(f"{model}/infer", summary="Draw", openapi_extra=_BODY, responses=_ANSWERS)
    @router.post(f"{model}/versions/{VERSION}/infer", include_in_schema=False)
    async def infer(request: Request) -> Response:
        document, tensors = read_request(await request.body(), request.headers.get(_LENGTH))
        wanted = _wanted(sampler, tensors, most_images)
        wants_binary = _wants_binary(document, sampler.model.image.name)
        images = np.concatenate(await batcher.draw(wanted, lambda drawn: drawn))
        head = {"model_name": name, "model_version": VERSION}
        if isinstance(document.get("id"), str):
            head["id"] = document["id"]
        return _respond(head, sampler.model.image.name, images, wants_binary)

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


def read_request(body: bytes, header_length: str | None) -> tuple[dict[str, Any], Tensors]:
    """Return the JSON part and the inputs, whose values are in it, or behind it as little-endian bytes.

    Raises:
        TensorError: it is malformed.
    """
    if header_length is not None and not (header_length.isdecimal() and int(header_length) <= len(body)):
        raise TensorError(f"{_LENGTH} is {header_length!r}; the body has {len(body):,} bytes.")
    length = len(body) if header_length is None else int(header_length)
    try:
        document = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise TensorError(f"The request is not JSON: {error}.") from None
    if not isinstance(document, dict) or not isinstance(document.get("inputs", []), list):
        raise TensorError("The request is to be an object with a list `inputs`.")
    tensors: Tensors = {}
    rest = memoryview(body)[length:]
    for entry in document.get("inputs", []):
        name, values, used = _read_tensor(entry, rest)
        tensors[name] = values
        rest = rest[used:]
    return document, tensors


def _read_tensor(entry: object, rest: memoryview) -> tuple[str, npt.NDArray[Any], int]:
    """Return name, values, and how many of the bytes they took."""
    if not isinstance(entry, dict):
        raise TensorError("Each input is to be an object with name, datatype and shape.")
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in _DTYPES:
        raise TensorError(f"Input {name!r} has the datatype {datatype!r}; the model takes {', '.join(_DTYPES)}.")
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise TensorError(f"Input {name!r} has the shape {str(shape)[:60]}; a list of sizes is due.")
    dtype = np.dtype(_DTYPES[datatype]).newbyteorder("<")
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    try:
        if size is None:
            values = np.array(entry.get("data"), dtype=dtype if datatype != "INT64" else None).reshape(shape)
            if datatype == "INT64":
                values = _whole(name, values)
            return name, values, 0
        if type(size) is not int or not 0 <= size <= len(rest):
            raise TensorError(f"Input {name!r} says binary_data_size {size!r}; there are {len(rest):,} bytes.")
        return name, np.frombuffer(rest[:size], dtype).reshape(shape), size
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, TensorError):
            raise
        raise TensorError(f"Input {name!r}: its data does not fit {datatype} {shape}.") from None


def _whole(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if values.size and values.dtype.kind not in "iu":
        raise TensorError(f"Input {name!r} holds what is no whole number.")
    if values.size and not -(2**63) <= int(values.min()) <= int(values.max()) < 2**63:
        raise TensorError(f"Input {name!r} holds numbers beyond 64 bits.")
    return values.astype(np.int64)


def _wanted(sampler: Sampler, tensors: Tensors, most_images: int) -> Draw:
    """Return what the tensors ask for.

    Raises:
        TensorError: an input is missing, unknown, or of another shape.
        SeedError, LabelError, LatentError: its values can't be.
    """
    due = {entry["name"]: entry for entry in describe(sampler)["inputs"]}
    if set(tensors) != set(due):
        raise TensorError(
            f"The model takes the inputs {', '.join(due) or '(none)'}; there are {', '.join(tensors) or '(none)'}."
        )
    given = sampler.model.input
    if given.kind == "fixed":
        return Draw(np.array(given.seeds, np.int64), None)
    count = len(tensors[given.name]) if tensors[given.name].ndim else 0
    for name, values in tensors.items():
        shape = [count, *due[name]["shape"][1:]]
        if list(values.shape) != shape or values.dtype != _DTYPES[due[name]["datatype"]] or not 1 <= count <= most_images:
            raise TensorError(
                f"Input {name!r} is {values.dtype} {list(values.shape)}; the model takes {due[name]['datatype']} "
                f"{due[name]['shape']} with a batch of 1 to {most_images:,}, the same for all inputs."
            )
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


def _respond(head: Mapping[str, str], name: str, images: npt.NDArray[np.uint8], is_binary: bool) -> Response:
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
