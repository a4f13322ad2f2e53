"""The routes below /v1/images: addresses by seed and by name, sizes, kinds of files, and wrong addresses."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import ImageSpec, Sampler
from ganport.runtime.contract import METADATA_KEY
from ganport.runtime.variants import resize
from ganport.server import make_service
from tests.known_names import KNOWN_NAMES, LONG_NAME
from tests.server.conftest import encode_png
from tests.tiny_generator import tiny_contract, tiny_model


def decode(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_the_image_of_a_name_is_that_of_its_seed(service):
    for name, seed in KNOWN_NAMES.items():
        by_name = service.get(f"/v1/images/by-name/{quote(name, safe='')}.png?label=3")
        by_seed = service.get(f"/v1/images/{seed}.png?label=3")
        assert by_name.status == 200, (name, by_name.content)
        assert by_name.content == by_seed.content
        assert by_name.headers["ETag"] == by_seed.headers["ETag"]


def test_a_name_that_is_not_percent_encoded_is_explained(service):
    """curl sends what the user typed."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", service.port), timeout=20)) as connection:
        connection.sendall("GET /v1/images/by-name/Zo\u00eb.png HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"percent-encoded as UTF-8" in received


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("alice.png", "Seed 'alice' must be a whole number from 0 to 9223372036854775807; for the image of a "
            "name use /v1/images/by-name/alice.png."),
        ("a%2Fb.webp", "use /v1/images/by-name/a%2Fb.webp."),
        ("a/b.png", "use /v1/images/by-name/a%2Fb.png."),
        (f"{'x' * 300}.png", "use /v1/images/by-name/alice.png."),
        (".png", "use /v1/images/by-name/alice.png."),
        ("1.5.png", "Seed '1.5' must be a whole number"),
        ("%D9%A3.png", "use /v1/images/3.png."),
        ("+3.png", "without sign, spaces, underscores and leading zeros; use /v1/images/3.png."),
        ("%203.png", "use /v1/images/3.png."),
        ("3_0.png", "use /v1/images/30.png."),
        ("007.png", "use /v1/images/7.png."),
        ("-1.png", "from 0 to 9223372036854775807."),
        (f"{2**63}.png", "from 0 to 9223372036854775807."),
        ("%FF.png", "The seed in the URL is not UTF-8"),
        ("%7.png", "The seed in the URL has a % without two hexadecimal digits; write % as %25."),
        ("by-name/.png", "The name in the URL is empty"),
        ("by-name/a/b.png", "write it as %2F"),
        ("by-name/100%.png", "write % as %25"),
        ("by-name/%FF.png", "The name in the URL is not UTF-8"),
        (f"by-name/{LONG_NAME}.png", "The name has 10,000 bytes in UTF-8, and the limit is 2,000; compute"),
        ("1.png?truncation=2", "Option 'truncation' is '2'; it must be a number from 0 to 1"),
        ("1.png?truncation=nan", "Option 'truncation' is 'nan'"),
        ("1.png?truncation=0_1", "Option 'truncation' is '0_1'"),
        ("1.png?size=0", "Option 'size' is '0'"),
        ("1.png?size=+5", "Option 'size' is ' 5'"),
        ("1.png?size=1025", "from 1 to 1,024"),
        ("1.png?label=%FF", "not UTF-8"),
        (f"1.png?label={'x' * 201}", "a label has at most 200"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_address_is_explained(service, path, expected):
    response = service.get(f"/v1/images/{path}")
    assert response.status == 422
    assert expected in response.document["error"]


@pytest.mark.parametrize("path", ["", "7", "7.exe", "7.jpeg", "by-name/alice", "by-name"])
def test_an_address_without_an_image_is_not_found(service, path):
    response = service.get(f"/v1/images/{path}")
    assert response.status == 404
    assert "an address ends in one of .png, .webp, .jpg" in response.document["error"]


def test_only_get_and_head_are_allowed(service):
    response = service.request("DELETE", "/v1/images/7.png")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_every_kind_and_size_shows_the_image(service, sampler):
    pixels = sampler.sample([7])[0]
    tags = set()
    for kind, media_type, tolerance in (("png", "png", 0), ("webp", "webp", 0), ("jpg", "jpeg", 8)):
        for size in (None, 14, 28, 100):
            response = service.get(f"/v1/images/7.{kind}" + (f"?size={size}" if size else ""))
            assert response.headers["Content-Type"] == f"image/{media_type}"
            found = decode(response.content)
            expected = resize(pixels, size or 28)[..., 0]
            found = found[..., 0] if found.ndim == 3 else found
            assert found.shape == expected.shape
            assert np.abs(found.astype(int) - expected).mean() <= tolerance
            tags.add(response.headers["ETag"])
            again = service.get(
                f"/v1/images/7.{kind}?size={size or 28}", If_None_Match=response.headers["ETag"]
            )
            assert again.status == 304
    assert len(tags) == 3 * 3  # size 28 is the size of the image, and the same file


def test_images_with_sides_that_differ_and_alpha_are_resized(in_thread):
    image = ImageSpec(
        name="image", height=1, width=3, channels=4, layout="NHWC", dtype="uint8", range=(0, 255)
    )
    model = tiny_model("uint8", metadata={METADATA_KEY: tiny_contract(image=image).to_json()})
    shape = next(each for each in model.graph.initializer if each.name == "shape")
    shape.raw_data = np.array([-1, 1, 3, 4]).tobytes()
    for size, dimension in zip((1, 3, 4), model.graph.output[0].type.tensor_type.shape.dim[1:], strict=True):
        dimension.dim_value = size
    with Sampler(model.SerializeToString()) as sampler:
        client = in_thread(sampler)
        assert client.get("/v1/images/7.png").content == encode_png(sampler.sample([7])[0])
        assert decode(client.get("/v1/images/7.webp?size=30").content).shape == (10, 30, 4)
        response = client.get("/v1/images/7.jpg")
        assert (response.status, "choose png or webp" in response.document["error"]) == (422, True)


@pytest.mark.parametrize("has_raw_path", [True, False])
@pytest.mark.parametrize("root", ["", "/faces"])
def test_the_service_may_be_a_part_of_another_application(sampler, has_raw_path, root):
    """Another ASGI server calls it, perhaps below a path of its own, and perhaps without the raw path."""
    sent = []
    scope = {
        **{"type": "http", "method": "GET", "http_version": "1.1", "headers": [], "query_string": b""},
        **{"root_path": root, "path": f"{root}/v1/images/by-name/a/../b.png"},
    }
    if has_raw_path:
        scope["raw_path"] = f"{root}/v1/images/by-name/a%2F..%2Fb.png".encode()

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    asyncio.run(make_service(sampler)(scope, receive, send))
    assert sent[0]["status"] == 200
    assert sent[1]["body"] == encode_png(sampler.sample([KNOWN_NAMES["a/../b"]])[0])
