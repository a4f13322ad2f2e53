"""Starting the service: errors name the argument of the library, or the option of the command."""

from __future__ import annotations

import math
import socket

import pytest

from ganport.runtime.errors import OutputError, UsageError
from ganport.server import Settings, serve
from ganport.server.errors import ListenError
from tests.conftest import failure
from tests.server.conftest import started


@pytest.fixture
def used_port():
    with socket.create_server(("127.0.0.1", 0)) as used:
        yield used.getsockname()[1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"queue": 0}, "`queue` is 0; it must be a number of images, 1 or more."),
        ({"queue": 1.5}, "`queue` is 1.5; "),
        ({"timeout": 0}, "`timeout` is 0; it must be above 0 and at most 3,600 seconds."),
        ({"timeout": math.inf}, "`timeout` is inf; "),
        ({"timeout": math.nan}, "`timeout` is nan; "),
        ({"timeout": "30"}, "`timeout` is '30'; "),
        ({"api_key": ""}, "`api_key` is empty; "),
    ],
)
def test_a_wrong_setting_is_named(values, expected):
    with pytest.raises(UsageError) as caught:
        Settings(**values)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("port", [-1, 65_536, "80"])
def test_a_port_out_of_range_is_named(sampler, port):
    with pytest.raises(UsageError, match=r"`port` is .*; it must be from 0 to 65535"):
        serve(sampler, port=port)


def test_an_unknown_log_level_is_named(sampler):
    with pytest.raises(UsageError, match="`log_level` is 'loud'; it must be one of critical, error, "):
        serve(sampler, log_level="loud")


def test_an_address_that_can_not_be_used_is_named(sampler, used_port):
    with pytest.raises(
        ListenError, match="address already in use; choose another `host` or `port`"
    ) as caught:
        serve(sampler, port=used_port)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", used_port)
    with pytest.raises(ListenError, match=r"Can't listen on 1\.2\.3\.4, port 8000: "):
        serve(sampler, host="1.2.3.4")
    with pytest.raises(ListenError, match="Can't listen on no such name, port 8000: "):
        serve(sampler, host="no such name")


def test_an_error_of_the_page_is_raised_by_default(sampler, tmp_path):
    def write_page(folder):
        raise OutputError(folder, "no space left on device")

    with pytest.raises(OutputError, match="no space left"):
        serve(sampler, write_page=write_page)


def test_an_error_of_the_page_can_be_reported_instead(sampler, used_port):
    def write_page(folder):
        raise OutputError(folder, "no space left on device")

    errors = []
    with pytest.raises(ListenError):  # the service tried to start after the error of the page
        serve(sampler, port=used_port, write_page=write_page, on_page_error=errors.append)
    assert [type(error) for error in errors] == [OutputError]


def test_with_an_api_key_no_page_is_written(sampler, used_port):
    def write_page(folder):
        pytest.fail("the page holds the model")

    with pytest.raises(ListenError):
        serve(sampler, settings=Settings(api_key="key"), port=used_port, write_page=write_page)


def test_the_command_names_its_options(ganport, used_port):
    line = failure(ganport("serve", "mnist", "--no-page", "--port", used_port))
    assert line == (
        f"error: Can't listen on 127.0.0.1, port {used_port}: address already in use; "
        "choose another --host or --port."
    )
    assert "port 8000: " in failure(ganport("serve", "mnist", "--no-page", "--host", "1.2.3.4"))
    assert "--timeout is inf; it must be above 0" in failure(ganport("serve", "mnist", "--timeout", "inf"), 2)
    assert "--queue is 0; it must be" in failure(ganport("serve", "mnist", "--queue", "0"), 2)
    assert "--engine ray" in failure(ganport("serve", "mnist", "--replicas", "2"), 2)
    assert "--replicas" in failure(ganport("serve", "mnist", "--engine", "ray", "--threads", "2"), 2)
    assert "--log-level" in failure(ganport("serve", "mnist", "--engine", "ray", "--log-level", "info"), 2)
    assert "--cors has 'x'; an origin" in failure(ganport("serve", "mnist", "--cors", "x"), 2)


def test_the_command_serves_without_a_page_that_can_not_be_built(tmp_path):
    environment = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with started("mnist", cwd=tmp_path, **environment) as client:
        assert client.get("/").status == 307
        assert client.get("/v1/images/1.png").status == 200
