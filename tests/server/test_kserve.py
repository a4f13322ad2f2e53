"""/v2: Triton's own client, unchanged, and requests that other clients may send."""

from __future__ import annotations

import json

import numpy as np
import pytest

triton = pytest.importorskip("tritonclient.http")

from ganport.runtime import Sampler, sample_latents  # noqa: E402
from ganport.runtime.contract import METADATA_KEY  # noqa: E402
from ganport.server.service import service_name  # noqa: E402
from tests.tiny_generator import DIM, tiny_contract, tiny_model  # noqa: E402

MODEL = "mnist-conditional"


@pytest.fixture
def client(service):
    client = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
    yield client
    client.close()


def inputs(count=3, binary=True):
    latents = sample_latents(np.arange(count), 64)
    tensors = [triton.InferInput("latent", [count, 64], "FP32"), triton.InferInput("label", [count], "INT64")]
    tensors[0].set_data_from_numpy(latents, binary_data=binary)
    tensors[1].set_data_from_numpy(np.arange(count) % 10, binary_data=binary)
    return tensors


def test_the_triton_client_finds_the_model(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata(MODEL)
    assert metadata["inputs"] == [
        {"name": "latent", "datatype": "FP32", "shape": [-1, 64]},
        {"name": "label", "datatype": "INT64", "shape": [-1]},
    ]
    assert metadata["outputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_the_triton_client_gets_the_bytes_of_the_runtime(client, sampler, binary_in, binary_out):
    outputs = None if binary_out is None else [triton.InferRequestedOutput("image", binary_data=binary_out)]
    result = client.infer(MODEL, inputs(binary=binary_in), outputs=outputs, request_id="r1")
    assert (result.as_numpy("image") == sampler.sample(range(3))).all()
    assert result.get_response()["id"] == "r1"
    assert result.get_response()["model_name"] == MODEL


def test_the_triton_client_gets_more_images_than_a_batch(client, sampler):
    result = client.infer(MODEL, inputs(600))
    assert (result.as_numpy("image") == sampler.sample(range(600))).all()


def test_the_triton_client_gets_clear_errors(client):
    with pytest.raises(
        triton.InferenceServerException,
        match="The inputs of the request are latent; the model takes the inputs latent, label",
    ):
        client.infer(MODEL, inputs()[:1])
    with pytest.raises(triton.InferenceServerException, match="Not Found"):
        client.infer("other", inputs())


LATENT = {"name": "latent", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}
LABEL = {"name": "label", "datatype": "INT64", "shape": [1], "data": [3]}


@pytest.mark.parametrize(
    ("latent", "label", "expected"),
    [
        ({"datatype": "FP64"}, {}, "is FP64"),
        ({"datatype": ["FP32"]}, {}, "the model takes FP32"),
        ({"shape": [1, 63]}, {}, "the model takes FP32 [-1, 64]"),
        ({"shape": [-1, 64]}, {}, "with a batch of 1 to 1,024"),
        ({"shape": [64]}, {}, "with a batch of 1 to 1,024"),
        ({"shape": [0, 64], "data": []}, {}, "with a batch of 1"),
        ({"shape": [2**40, 64]}, {}, "with a batch of 1"),
        ({"shape": [True, 64]}, {}, "with a batch of 1"),
        ({"shape": "1,64"}, {}, "with a batch of 1"),
        ({"data": ["a"] * 64}, {}, "64 numbers"),
        ({"data": ["a" * 20_000] + [1] * 63}, {}, "64 numbers"),
        ({"data": [0.0] * 63}, {}, "64 numbers"),
        ({"data": [[0.0] * 64, 1]}, {}, "64 numbers"),
        ({"data": [10**400] * 64}, {}, "do not fit into 32 bits"),
        ({"data": [float("nan")] * 64}, {}, "not finite"),
        ({"data": None}, {}, "64 numbers"),
        ({"name": 3}, {}, "the inputs latent, label"),
        ({"name": "\ud800"}, {}, "the inputs latent, label"),
        ({"parameters": {"binary_data_size": 256}}, {}, "0 bytes are left"),
        ({"parameters": {"binary_data_size": -1}}, {}, "binary_data_size -1"),
        ({}, {"data": [10]}, "the generator's labels are"),
        ({}, {"data": [-1]}, "the generator's labels are"),
        ({}, {"data": [1.5]}, "1 whole numbers"),
        ({}, {"data": [2**64]}, "do not fit into 64 bits"),
        ({}, {"data": [True]}, "1 whole numbers"),
        ({}, {"shape": [2], "data": [1, 2]}, "different batch sizes"),
        ({}, {"name": "other"}, "the inputs latent, label"),
        ({}, {"name": "latent"}, "the inputs latent, label"),
    ],
)
def test_mistakes_in_tensors_are_explained(service, latent, label, expected):
    response = service.post(
        f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [LATENT | latent, LABEL | label]})
    )
    assert response.status in (400, 422), response.content
    assert expected in response.document["error"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"[]", {}),
        (b"{}", {}),
        (b'{"inputs": 1}', {}),
        (b'{"inputs": [1]}', {}),
        (b"{" * 10_000, {}),
        (b"{}", {"Inference_Header_Content_Length": "3"}),
        (b"{}", {"Inference_Header_Content_Length": "-1"}),
        (b"{}", {"Inference_Header_Content_Length": "x"}),
        (b"{}", {"Inference_Header_Content_Length": "9" * 5_000}),
        (json.dumps({"inputs": [LATENT, LABEL], "outputs": [{"name": "x"}]}).encode(), {}),
        (json.dumps({"inputs": [LATENT, LABEL], "outputs": 3}).encode(), {}),
    ],
)
def test_mistakes_in_a_request_are_explained(service, body, headers):
    response = service.post(f"/v2/models/{MODEL}/infer", body, **headers)
    assert response.status == 400
    assert response.document["error"]


def test_a_model_without_labels_takes_latents_only(in_thread, tiny_file):
    with Sampler(tiny_file) as tiny:
        client = in_thread(tiny)
        document = client.get("/v2/models/tiny").document
        assert [each["name"] for each in document["inputs"]] == ["latent"]
        latents = sample_latents(np.arange(2), DIM)
        tensor = {"name": "latent", "datatype": "FP32", "shape": [2, DIM], "data": latents.ravel().tolist()}
        response = client.post("/v2/models/tiny/infer", {"inputs": [tensor]}).document
        assert response["outputs"][0]["data"] == tiny.sample([0, 1]).ravel().tolist()


def test_an_id_that_is_not_text_and_a_long_response_are_possible(service):
    odd = service.post(f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [LATENT, LABEL], "id": "\ud800"}))
    assert odd.status == 200
    many = {"inputs": [LATENT | {"shape": [1024, 64], "data": [0.0] * 65_536, "name": "latent"}]}
    many["inputs"].append(LABEL | {"shape": [1024], "data": [1] * 1024})
    response = service.post(f"/v2/models/{MODEL}/infer", many)
    assert response.status == 200  # 802,816 values are below the limit
    assert len(response.document["outputs"][0]["data"]) == 1024 * 784


@pytest.mark.parametrize(
    ("title", "name"), [("My faces!", "My-faces"), ("digits", "digits"), ("\u9854", "generator")]
)
def test_name_in_urls_has_no_spaces(title, name):
    contract = tiny_contract(dtype="uint8", name=title).to_json()
    with Sampler(tiny_model("uint8", metadata={METADATA_KEY: contract}).SerializeToString()) as sampler:
        assert service_name(sampler) == name
