"""The routes of /v1: responses have the runtime's pixels, and every mistake gets a clear response."""

from __future__ import annotations

import html
import io
import tarfile
import time

import numpy as np
import onnx
import pytest
from PIL import Image

from ganport.runtime import InputSpec, Sampler, make_grid, variants
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.images import split_grid
from ganport.runtime.png import ZLIB
from ganport.server import service as service_module
from ganport.server.errors import BodyError
from ganport.server.json_bodies import parse_json
from tests.server.conftest import encode_png, started
from tests.tiny_generator import DIM, SHAPE, tiny_contract


def decode(content):
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def test_an_image_has_the_bytes_of_the_runtime(service, sampler):
    for seed in (0, 7, 2**63 - 1):
        response = service.get(f"/v1/images/{seed}.png")
        assert response.status == 200
        assert response.headers["Content-Type"] == "image/png"
        assert response.content == encode_png(sampler.sample([seed])[0])


def test_an_image_takes_label_and_truncation(service, sampler):
    response = service.get("/v1/images/5.png?label=3&truncation=0.5")
    assert (decode(response.content) == sampler.sample([5], truncation=0.5, labels="3")[0]).all()


def test_an_image_that_the_client_has_is_not_generated_again(service):
    first = service.get("/v1/images/11.png")
    tag = first.headers["ETag"]
    assert tag.startswith('"')  # a strong tag
    assert first.headers["Cache-Control"] == "public, no-cache"  # the URL does not name the model
    generated = service.metric("ganport_images_total")
    for known in (tag, f'"other", {tag}', "*", f"W/{tag}"):
        again = service.get("/v1/images/11.png", If_None_Match=known)
        assert (again.status, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Content-Length"] is None
    assert service.metric("ganport_images_total") == generated
    assert service.get("/v1/images/11.png", If_None_Match='"other"').status == 200


def test_different_images_have_different_etags(service):
    paths = [
        "images/1.png",
        "images/2.png",
        "images/1.png?label=3",
        "images/1.png?truncation=0.5",
        "grid.png?seeds=1",
    ]
    tags = [service.get(f"/v1/{path}").headers["ETag"] for path in paths]
    assert len(set(tags)) == len(tags)
    assert tags[0] == service.get("/v1/images/1.png").headers["ETag"]


def test_a_grid_has_the_pixels_of_the_runtime(service, sampler):
    response = service.get("/v1/grid.png?seeds=0-9,100&label=8")
    assert (decode(response.content) == make_grid(sampler.sample([*range(10), 100], labels="8"))).all()
    assert (decode(service.get("/v1/grid.png").content) == make_grid(sampler.sample(range(64)))).all()


def test_a_grid_may_be_larger_than_a_batch(service, sampler):
    response = service.get("/v1/grid.png?seeds=0-599")
    assert (split_grid(decode(response.content), 600, (28, 28, 1)) == sampler.sample(range(600))).all()


def test_files_have_the_images_of_the_runtime(service, sampler):
    request = {"seeds": [3, 1, 2**63 - 1], "labels": ["7", 8, "9"], "truncation": 0.9}
    expected = sampler.sample([3, 1, 2**63 - 1], truncation=0.9, labels=[7, 8, 9])
    png = service.post("/v1/sample", request)
    assert (decode(png.content) == make_grid(expected)).all()
    npz = service.post("/v1/sample", request | {"format": "npz"})
    with np.load(io.BytesIO(npz.content)) as arrays:
        assert (arrays["images"] == expected).all()
        assert arrays["seeds"].tolist() == request["seeds"]
    tar = service.post("/v1/sample", request | {"format": "tar"})
    assert tar.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(tar.content)) as archive:
        assert archive.getnames() == ["seed0000003.png", "seed0000001.png", "seed9223372036854775807.png"]
        for member, image in zip(archive, expected, strict=True):
            assert (decode(archive.extractfile(member).read()) == image).all()


def test_seeds_may_be_a_text(service, sampler):
    response = service.post("/v1/sample", {"seeds": "0-3,9", "labels": "5"})
    assert (decode(response.content) == make_grid(sampler.sample([0, 1, 2, 3, 9], labels="5"))).all()


def test_the_model_is_described(service, sampler):
    document = service.get("/v1/model").document
    assert document["contract"]["name"] == sampler.contract.name
    assert document["contract"]["input"]["labels"] == list("0123456789")
    assert "golden" not in document["contract"]
    assert document["provider"] == "cpu"
    assert document["most_images"] == 1024


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/images/1.png?label=dog", "the generator's labels are 0, 1"),
        ("/v1/grid.png?seeds=9-0", "Seed"),
        ("/v1/grid.png?seeds=0-9999999999", "the limit is 1,024"),
        ("/v1/grid.png?seeds=", "Seed"),
        ("/v1/grid.png?seeds=%00", "Seed"),
    ],
)
def test_mistakes_in_a_url_are_explained(service, path, expected):
    response = service.get(path)
    assert response.status == 422
    assert expected in response.document["error"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"seeds": []}, "Seed"),
        ({"seeds": [1.5]}, "integer"),
        ({"seeds": [True]}, "integer"),
        ({"seeds": [-1]}, "greater"),
        ({"seeds": [2**63]}, "less than"),
        ({"seeds": [1], "labels": ["1", "2"]}, "for 1 images; give one for each"),
        ({"seeds": [1], "labels": "dog"}, "the generator's labels are"),
        ({"seeds": [1], "labels": 10}, "the generator's labels are"),
        ({"seeds": list(range(1025))}, "at most 1024 items"),
        ({"seeds": [-1] * 300_000}, "seeds"),
        ({"seeds": "0," * 500_000 + "0"}, "at most 10000 characters"),
        ({"seeds": [1], "labels": [{}] * 200_000}, "labels"),
        ({"seeds": [1], "format": "exe"}, "png"),
        ({"seeds": [1], "path": "/etc/passwd"}, "'path' is unknown"),
        ({"seeds": [1], "truncation": -0.1}, "greater"),
        ("{", "JSON"),
        ("[" * 100_000, "body"),
        (b"\xff\xfe", "body"),
    ],
)
def test_mistakes_in_a_body_are_explained(service, body, expected):
    response = service.post("/v1/sample", body, Content_Type="application/json")
    assert response.status in (400, 422)
    assert expected in response.document["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sample", b'{"seeds": [1], "seeds": [2]}'),
        ("/v2/models/mnist-conditional/infer", b'{"inputs": [], "seeds": 1, "seeds": 2}'),
    ],
)
def test_two_equal_keys_in_a_body_are_rejected(service, path, body):
    response = service.post(path, body, Content_Type="application/json")
    assert response.status == 400
    assert response.document["error"] == "The body can't be read: the key 'seeds' occurs twice in one object."


def test_an_unknown_key_is_named(service):
    response = service.post("/v1/sample", {"seeds": [1]} | {f"key{number}": 1 for number in range(9_000)})
    assert response.status == 422
    assert response.document["error"] == (
        "body: the key 'key0' is unknown; the keys are seeds, labels, truncation and format."
    )


@pytest.mark.parametrize("path", ["/v1/sample", "/v2/models/mnist-conditional/infer"])
def test_a_body_with_very_many_keys_is_answered_at_once(service, path):
    """Reading them, and an error for each of them, held up all other requests."""
    body = {"seeds": [1], "inputs": []} | {f"key{number}": 1 for number in range(100_000)}
    started = time.monotonic()
    response = service.post(path, body)
    assert time.monotonic() - started < 2
    assert response.status == 400
    assert "it has 100,002 colons, and the limit is 10,000" in response.document["error"]


def test_a_long_json_document_is_rejected():
    """The limit for bodies is larger than this limit if the model has many latents."""
    with pytest.raises(BodyError, match="it has 2,500,002 bytes, and the limit for JSON is 2,500,000"):
        parse_json(b"[" + b"1" * 2_500_000 + b"]")


@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "text/json", "text/plain; x=json"]
)
def test_a_body_that_is_not_declared_as_json_is_rejected(service, media_type):
    response = service.post("/v1/sample", b'{"seeds": [1]}', Content_Type=media_type)
    assert response.status == 415
    assert "Content-Type: application/json" in response.document["error"]


@pytest.mark.parametrize(
    "media_type", ["Application/JSON", "application/json; charset=utf-8", "application/problem+json"]
)
def test_a_body_that_is_declared_as_json_is_read_as_json(service, media_type):
    assert service.post("/v1/sample", b'{"seeds": [1]}', Content_Type=media_type).status == 200
    assert service.post("/v1/sample", b"[1]", Content_Type=media_type).status == 422


def test_other_paths_and_methods_are_rejected(service):
    assert service.get("/v1/nothing").status == 404
    assert service.get("/v1/images/../../etc/passwd").status == 404
    assert service.post("/v1/model", {}).status == 405
    assert service.request("DELETE", "/v1/grid.png").document == {"error": "Method Not Allowed."}


def test_health_and_metrics_are_served(service):
    assert service.get("/healthz").content == b"alive"
    assert service.get("/readyz").content == b"ready"
    assert service.metric("ganport_requests_total") > 0
    assert service.metric("ganport_queue_seconds_count") > 0
    assert service.metric("ganport_compute_seconds_count") > 0
    assert service.metric("ganport_queue_images") == 0


def test_the_docs_load_nothing_from_other_hosts(service):
    page = html.unescape(service.get("/docs").content.decode())
    assert "curl $URL'/v1/images/42.png?" in page
    assert 'curl --json \'{"seeds": "0-63"' in page
    assert "Whole numbers, or a text such as" in page  # a field of the body of /v1/sample
    assert "http" not in page.replace("http-equiv", "")
    assert service.get("/").status == 307
    assert len(service.get("/docs").content) > 3_000
    assert service.get("/openapi.json").document["info"]["title"] == "ganport"


def test_with_an_api_key_clients_must_send_it(tmp_path):
    with started("mnist", cwd=tmp_path, GANPORT_API_KEY="open sesame") as client:
        for path in ("/v1/images/1.png", "/v2/models/mnist-conditional", "/metrics", "/v2"):
            response = client.get(path)
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert client.get(path, X_API_Key="open").status == 401
            assert client.get(path, X_API_Key="open sesame").status == 200
            assert client.get(path, Authorization="Bearer open sesame").status == 200
            assert client.get(path, Authorization="bearer  open sesame").status == 200
            assert client.get(path, Authorization="open sesame").status == 401
        assert "private" in client.get("/v1/images/1.png", X_API_Key="open sesame").headers["Cache-Control"]
        assert client.get("/healthz").status == 200
        assert client.get("/").status == 307  # no page, because the page holds the model


def test_other_origins_are_not_allowed_by_default(service):
    response = service.get("/v1/images/1.png", Origin="http://elsewhere.example")
    assert response.headers["Access-Control-Allow-Origin"] is None


def test_options_that_are_unknown_or_given_twice_are_rejected(service):
    """Otherwise the client would get a different image than it requested, and could cache it forever."""
    for query, expected in (
        (
            "images/5.png?labels=7",
            "Option 'labels' is unknown; the options are label, truncation, size, model.",
        ),
        ("images/5.png?label=7&label=8", "Option 'label' is given more than once."),
        ("grid.png?seed=5", "Option 'seed' is unknown; the options are seeds, label, truncation, model."),
    ):
        response = service.get(f"/v1/{query}")
        assert response.status == 422
        assert expected in response.document["error"]


def test_a_url_that_names_the_model_can_be_cached_forever(service):
    fingerprint = service.get("/v1/model").document["fingerprint"]
    for path in ("images/5.png?model=", "grid.png?seeds=0-3&model="):
        cached = service.get(f"/v1/{path}{fingerprint}")
        assert cached.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        other = service.get(f"/v1/{path}00")
        assert other.status == 404
        assert fingerprint in other.document["error"]


def test_head_returns_the_headers_of_get(service):
    for path in ("/v1/images/5.png", "/v1/grid.png", "/healthz", "/v1/model"):
        head, get = service.request("HEAD", path), service.get(path)
        assert (head.status, head.content) == (200, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
        assert head.headers["ETag"] == get.headers["ETag"]


def test_the_page_is_served_at_the_root(in_thread, sampler, tmp_path):
    (tmp_path / "index.html").write_text("the page")
    client = in_thread(site=tmp_path)
    page = client.get("/")
    assert page.content == b"the page"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert client.get("/v1/images/1.png").content == encode_png(sampler.sample([1])[0])
    assert client.request("HEAD", "/healthz").status == 200
    assert client.get("/../server/process.py").status == 404
    assert client.post("/v1/model", {}).status == 405


def test_a_model_with_fixed_seeds_serves_these_only(in_thread, tmp_path):
    file = tmp_path / "fixed.onnx"
    file.write_bytes(fixed_model(seeds=(4, 9)).SerializeToString())
    with Sampler(file) as fixed:
        client = in_thread(fixed)
        assert client.get("/v1/images/9.png").content == encode_png(fixed.sample([9])[0])
        assert client.get("/v1/images/5.png").status == 422
        assert client.get("/v1/grid.png").status == 422
        assert client.get("/v1/images/9.png?label=3").status == 422
        response = client.post("/v2/models/tiny/infer", {"inputs": []}).document
        assert response["outputs"][0]["data"] == fixed.sample([4, 9]).ravel().tolist()


def fixed_model(seeds):
    """A model without inputs that contains one random image for each seed."""
    images = np.random.default_rng(7).integers(0, 256, (len(seeds), *SHAPE), np.uint8)
    constant = onnx.helper.make_node("Constant", [], ["image"], value=onnx.numpy_helper.from_array(images))
    output = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, images.shape)
    graph = onnx.helper.make_graph([constant], "fixed", [], [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    source = InputSpec(
        kind="fixed", name="", dim=DIM, distribution="normal", seeds=seeds, labels=tuple("0123456789")
    )
    contract = tiny_contract(dtype="uint8", batch=len(seeds), input=source)
    onnx.helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    return model


def test_a_stopped_service_leaves_no_files(tmp_path):
    (tmp_path / "tmp").mkdir()
    with started("mnist", cwd=tmp_path, TMPDIR=str(tmp_path / "tmp")) as client:
        assert client.get("/").status in (200, 307)
    assert client.process.returncode == 0
    assert not list((tmp_path / "tmp").iterdir())


def test_the_etag_depends_on_the_encoder(sampler, monkeypatch):
    before = service_module.fingerprint_of(sampler)
    monkeypatch.setattr(variants, "fast_encoder", lambda: ZLIB._replace(name="zlib 0.1"))
    assert service_module.fingerprint_of(sampler) != before
