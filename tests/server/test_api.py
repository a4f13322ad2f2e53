"""/v1 of a service in a process of its own: the runtime's pixels, and a plain answer to every mistake."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import Sampler, encode_png, make_grid
from ganport.runtime.images import split_grid
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
    assert first.headers["Cache-Control"] == "public, no-cache"  # the address does not say of which model
    drawn = service.figure("ganport_images_total")
    for asked in (tag, f'"other", {tag}', "*", f"W/{tag}"):
        again = service.get("/v1/images/11.png", If_None_Match=asked)
        assert (again.status, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Content-Length"] is None
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
        ({"seeds": list(range(1025))}, "at most 1024 items"),
        ({"seeds": [-1] * 300_000}, "seeds"),
        ({"seeds": "0," * 500_000 + "0"}, "at most 10000 characters"),
        ({"seeds": [1], "labels": [{}] * 200_000}, "labels"),
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


@pytest.mark.parametrize("said", ["application/x-www-form-urlencoded", "text/json", "text/plain; x=json"])
def test_a_body_that_is_not_said_to_be_json(service, said):
    answer = service.post("/v1/sample", b'{"seeds": [1]}', Content_Type=said)
    assert answer.status == 415
    assert "Content-Type: application/json" in answer.document["error"]


@pytest.mark.parametrize("said", ["Application/JSON", "application/json; charset=utf-8", "application/problem+json"])
def test_a_body_that_is_said_to_be_json_and_is_another(service, said):
    assert service.post("/v1/sample", b'{"seeds": [1]}', Content_Type=said).status == 200
    assert service.post("/v1/sample", b"[1]", Content_Type=said).status == 422


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
    assert len(service.get("/docs").content) > 3_000
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
            assert client.get(path, Authorization="bearer  open sesame").status == 200
            assert client.get(path, Authorization="open sesame").status == 401
        assert "private" in client.get("/v1/images/1.png", X_API_Key="open sesame").headers["Cache-Control"]
        assert client.get("/healthz").status == 200
        assert client.get("/").status == 307  # the page holds the model: it is not for those without the key


def test_other_origins_are_not_let_in(service):
    answer = service.get("/v1/images/1.png", Origin="http://elsewhere.example")
    assert answer.headers["Access-Control-Allow-Origin"] is None


def test_the_express_way_and_the_frameworks_are_one(service):
    """More digits than a seed has send the request through the framework."""
    for seed, options in ((5, ""), (6, "?label=3&truncation=0.5")):
        express, framework = (service.get(f"/v1/images/{digits}.png{options}") for digits in (seed, f"{seed:020}"))
        assert express.content == framework.content
        for name in ("ETag", "Cache-Control", "Content-Type", "Content-Length"):
            assert express.headers[name] == framework.headers[name]


def test_options_that_are_not_known_or_come_twice_are_refused(service):
    """A slip would draw another image, and have it kept for ever."""
    for query, words in (
        ("images/5.png?labels=7", "There is no option 'labels'; there is label, truncation, model."),
        ("images/5.png?label=7&label=8", "The option 'label' comes more than once."),
        ("grid.png?seed=5", "There is no option 'seed'; there is seeds, label, truncation, model."),
    ):
        answer = service.get(f"/v1/{query}")
        assert answer.status == 422
        assert words in answer.document["error"]


def test_an_address_that_names_the_model_may_be_kept_for_ever(service):
    fingerprint = service.get("/v1/model").document["fingerprint"]
    for path in ("images/5.png?model=", "grid.png?seeds=0-3&model="):
        kept = service.get(f"/v1/{path}{fingerprint}")
        assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        other = service.get(f"/v1/{path}00")
        assert other.status == 404
        assert fingerprint in other.document["error"]


def test_head_is_get_without_the_body(service):
    for path in ("/v1/images/5.png", "/v1/grid.png", "/healthz", "/v1/model"):
        head, get = service.ask("HEAD", path), service.get(path)
        assert (head.status, head.content) == (200, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
        assert head.headers["ETag"] == get.headers["ETag"]


def test_the_page_is_at_the_root(in_thread, sampler, tmp_path):
    (tmp_path / "index.html").write_text("the page")
    client = in_thread(site=tmp_path)
    page = client.get("/")
    assert page.content == b"the page"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert client.get("/v1/images/1.png").content == encode_png(sampler.sample([1])[0])
    assert client.ask("HEAD", "/healthz").status == 200
    assert client.get("/../server/run.py").status == 404
    assert client.post("/v1/model", {}).status == 405


def test_a_file_that_draws_certain_seeds(in_thread, tmp_path):
    from ganport.export import Options, Source, export_generator
    from ganport.trainer.devices import load_tensorflow

    load_tensorflow()
    from ganport.trainer.recipes import load_recipe_module

    generator = load_recipe_module("mnist-conditional").build_generator(74, (28, 28, 1))
    file = tmp_path / "fixed.onnx"
    source = Source(name="fixed", generator=generator, data={}, labels=tuple("0123456789"))
    export_generator(source, file, Options(input="fixed", seeds=(4, 9)))
    with Sampler(file) as fixed:
        client = in_thread(fixed)
        assert client.get("/v1/images/9.png").content == encode_png(fixed.sample([9])[0])
        assert client.get("/v1/images/5.png").status == 422
        assert client.get("/v1/grid.png").status == 422
        assert client.get("/v1/images/9.png?label=3").status == 422
        answer = client.post("/v2/models/fixed/infer", {"inputs": []}).document
        assert answer["outputs"][0]["data"] == fixed.sample([4, 9]).ravel().tolist()


def test_a_stopped_service_leaves_nothing(tmp_path):
    (tmp_path / "tmp").mkdir()
    with started("mnist", cwd=tmp_path, TMPDIR=str(tmp_path / "tmp")) as client:
        assert client.get("/").status in (200, 307)
    assert client.process.returncode == 0
    assert not list((tmp_path / "tmp").iterdir())
