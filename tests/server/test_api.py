"""/v1 of a service in a process of its own: the runtime's pixels, and a plain answer to every mistake."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from runtime import encode_png, make_grid
from runtime.images import split_grid
from tests.server.conftest import started


def picture(content):
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def test_an_image_by_its_seed(service, sampler):
    for seed in (0, 7, 2**63 - 1):
        answer = service.get(f"/v1/images/{seed}.png")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.content == encode_png(sampler.sample([seed])[0])


def test_options_of_an_image(service, sampler):
    answer = service.get("/v1/images/5.png?label=3&truncation=0.5")
    assert (picture(answer.content) == sampler.sample([5], truncation=0.5, labels="3")[0]).all()


def test_an_image_that_a_client_has_is_not_drawn_again(service):
    first = service.get("/v1/images/11.png")
    tag = first.headers["ETag"]
    assert tag.startswith('"')  # a strong one
    assert first.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    drawn = service.figure("ganport_images_total")
    for asked in (tag, f'"other", {tag}', "*", f"W/{tag}"):
        again = service.get("/v1/images/11.png", If_None_Match=asked)
        assert (again.status, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert service.figure("ganport_images_total") == drawn
    assert service.get("/v1/images/11.png", If_None_Match='"other"').status == 200


def test_tags_differ_where_images_do(service):
    paths = ["images/1.png", "images/2.png", "images/1.png?label=3", "images/1.png?truncation=0.5", "grid.png?seeds=1"]
    tags = [service.get(f"/v1/{path}").headers["ETag"] for path in paths]
    assert len(set(tags)) == len(tags)
    assert tags[0] == service.get("/v1/images/1.png").headers["ETag"]


def test_a_grid(service, sampler):
    answer = service.get("/v1/grid.png?seeds=0-9,100&label=8")
    assert (picture(answer.content) == make_grid(sampler.sample([*range(10), 100], labels="8"))).all()
    assert (picture(service.get("/v1/grid.png").content) == make_grid(sampler.sample(range(64)))).all()


def test_a_grid_of_more_than_a_batch(service, sampler):
    answer = service.get("/v1/grid.png?seeds=0-599")
    assert (split_grid(picture(answer.content), 600, (28, 28, 1)) == sampler.sample(range(600))).all()


def test_files(service, sampler):
    wanted = {"seeds": [3, 1, 2**63 - 1], "labels": ["7", 8, "9"], "truncation": 0.9}
    due = sampler.sample([3, 1, 2**63 - 1], truncation=0.9, labels=[7, 8, 9])
    png = service.post("/v1/sample", wanted)
    assert (picture(png.content) == make_grid(due)).all()
    npz = service.post("/v1/sample", wanted | {"format": "npz"})
    with np.load(io.BytesIO(npz.content)) as arrays:
        assert (arrays["images"] == due).all()
        assert arrays["seeds"].tolist() == wanted["seeds"]
    tar = service.post("/v1/sample", wanted | {"format": "tar"})
    assert tar.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(tar.content)) as archive:
        assert archive.getnames() == ["seed0000003.png", "seed0000001.png", "seed9223372036854775807.png"]
        for member, image in zip(archive, due, strict=True):
            assert (picture(archive.extractfile(member).read()) == image).all()


def test_seeds_may_be_a_text(service, sampler):
    answer = service.post("/v1/sample", {"seeds": "0-3,9", "labels": "5"})
    assert (picture(answer.content) == make_grid(sampler.sample([0, 1, 2, 3, 9], labels="5"))).all()


def test_says_what_the_model_is(service, sampler):
    document = service.get("/v1/model").document
    assert document["contract"]["name"] == sampler.model.name
    assert document["contract"]["input"]["labels"] == list("0123456789")
    assert "golden" not in document["contract"]
    assert document["provider"] == "cpu"
    assert document["most_images"] == 1024


@pytest.mark.parametrize(
    ("path", "due"),
    [
        ("/v1/images/-1.png", "greater than or equal to 0"),
        (f"/v1/images/{2**63}.png", "less than"),
        ("/v1/images/one.png", "valid integer"),
        ("/v1/images/1.5.png", "valid integer"),
        ("/v1/images/1.png?label=dog", "its classes are 0, 1"),
        ("/v1/images/1.png?truncation=2", "less than or equal to 1"),
        ("/v1/images/1.png?truncation=nan", "truncation"),
        ("/v1/grid.png?seeds=9-0", "Seed"),
        ("/v1/grid.png?seeds=0-9999999999", "at most 1,024 fit"),
        ("/v1/grid.png?seeds=", "Seed"),
        ("/v1/grid.png?seeds=%00", "Seed"),
    ],
)
def test_mistakes_in_an_address(service, path, due):
    answer = service.get(path)
    assert answer.status == 422
    assert due in answer.document["error"]


@pytest.mark.parametrize(
    ("body", "due"),
    [
        ({"seeds": []}, "Seed"),
        ({"seeds": [1.5]}, "integer"),
        ({"seeds": [True]}, ""),
        ({"seeds": [-1]}, "greater"),
        ({"seeds": [2**63]}, "less than"),
        ({"seeds": [1], "labels": ["1", "2"]}, "2 labels for 1 images"),
        ({"seeds": [1], "labels": "dog"}, "its classes are"),
        ({"seeds": [1], "labels": 10}, "its classes are"),
        ({"seeds": list(range(1025))}, "at most 1,024 fit"),
        ({"seeds": [1], "format": "exe"}, "png"),
        ({"seeds": [1], "path": "/etc/passwd"}, "not permitted"),
        ({"seeds": [1], "truncation": -0.1}, "greater"),
        ("{", "JSON"),
        ("[" * 100_000, "body"),
        (b"\xff\xfe", "body"),
    ],
)
def test_mistakes_in_a_body(service, body, due):
    answer = service.post("/v1/sample", body, Content_Type="application/json")
    assert answer.status in (400, 422)
    assert due in answer.document["error"]


def test_other_addresses_and_methods(service):
    assert service.get("/v1/nothing").status == 404
    assert service.get("/v1/images/../../etc/passwd").status == 404
    assert service.post("/v1/model", {}).status == 405
    assert service.ask("DELETE", "/v1/grid.png").document == {"error": "Method Not Allowed."}


def test_is_alive_and_ready_and_counts(service):
    assert service.get("/healthz").content == b"alive"
    assert service.get("/readyz").content == b"ready"
    assert service.figure("ganport_requests_total") > 0
    assert service.figure("ganport_queue_seconds_count") > 0
    assert service.figure("ganport_compute_seconds_count") > 0
    assert service.figure("ganport_queue_images") == 0


def test_the_interface_is_described_without_help_from_elsewhere(service):
    page = service.get("/docs").content.decode()
    assert "/v1/images/{seed}.png" in page
    assert "http" not in page.replace("http-equiv", "")
    assert service.get("/").status == 307
    assert service.get("/openapi.json").document["info"]["title"] == "ganport"


def test_a_key(tmp_path):
    with started("mnist", cwd=tmp_path, GANPORT_API_KEY="open sesame") as client:
        for path in ("/v1/images/1.png", "/v2/models/mnist-conditional", "/metrics", "/v2"):
            answer = client.get(path)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert client.get(path, X_API_Key="open").status == 401
            assert client.get(path, X_API_Key="open sesame").status == 200
            assert client.get(path, Authorization="Bearer open sesame").status == 200
        assert "private" in client.get("/v1/images/1.png", X_API_Key="open sesame").headers["Cache-Control"]
        assert client.get("/healthz").status == 200
        assert client.get("/").status == 307  # the page holds the model: it is not for those without the key


def test_other_origins_are_not_let_in(service):
    answer = service.get("/v1/images/1.png", Origin="http://elsewhere.example")
    assert answer.headers["Access-Control-Allow-Origin"] is None


def test_the_express_way_and_the_frameworks_are_one(service):
    """An option that neither knows sends the request through the framework."""
    for path in ("images/5.png", "images/6.png?label=3&truncation=0.5"):
        express, framework = (service.get(f"/v1/{each}") for each in (path, path + ("&x=1" if "?" in path else "?x=1")))
        assert express.content == framework.content
        for name in ("ETag", "Cache-Control", "Content-Type", "Content-Length"):
            assert express.headers[name] == framework.headers[name]
