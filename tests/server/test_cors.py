"""CORS: pages of allowed origins may read the responses, and caches keep the responses of origins apart."""

from __future__ import annotations

import pytest

from ganport.runtime.errors import UsageError
from ganport.server import Settings

PAGE = "https://example.org"


def preflight(client, origin):
    return client.request("OPTIONS", "/v1/sample", Origin=origin, Access_Control_Request_Method="POST")


def test_pages_of_an_allowed_origin_may_read_responses(in_thread):
    client = in_thread(cors=(PAGE, "http://localhost:5173"), api_key="secret")
    for path, status in (("/healthz", 200), ("/v1/images/1.png", 401), ("/nothing", 404)):
        response = client.get(path, Origin=PAGE)
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert "etag" in response.headers["Access-Control-Expose-Headers"]
        assert response.headers["Vary"] == "Origin"
    answer = preflight(client, PAGE)  # a preflight request has no API key
    assert (answer.status, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "x-api-key" in answer.headers["Access-Control-Allow-Headers"]


def test_pages_of_other_origins_may_not(in_thread):
    client = in_thread(cors=(PAGE,))
    for origin in ({"Origin": "https://evil.example"}, {}):
        response = client.get("/healthz", **origin)
        assert response.headers["Access-Control-Allow-Origin"] is None
        assert response.headers["Vary"] == "Origin"  # or a cache would give this response to the page
    answer = preflight(client, "https://evil.example")
    assert answer.status == 403
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert "--cors" in answer.document["error"]


def test_any_origin_may_be_allowed(in_thread):
    client = in_thread(cors=("*",))
    for headers in ({"Origin": PAGE}, {}):
        response = client.get("/v1/images/1.png", **headers)
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Vary"] is None


@pytest.mark.parametrize(
    "origin", ["example.org", f"{PAGE}/", f"{PAGE}/a", "HTTPS://example.org", "null", ""]
)
def test_a_text_that_is_no_origin_is_named(origin):
    with pytest.raises(UsageError, match=r"`cors` has .*; an origin is written as https://example\.org"):
        Settings(cors=[origin])
    with pytest.raises(UsageError, match="it must be a list of origins"):
        Settings(cors=PAGE)
