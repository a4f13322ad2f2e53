"""Fixtures of the page and of the module: sites on loopback, and a real Chromium that opens a site."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ganport.runtime import PRETRAINED
from ganport.web import write_module, write_site
from tests.conftest import ROOT

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Features that connect to hosts on the internet, which tests must not need.
ONLINE_FEATURES = ("background-networking", "component-update", "sync", "default-apps")


@pytest.fixture(scope="session")
def mnist_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        missing("npm")
    return write_site(PRETRAINED["mnist"], tmp_path_factory.mktemp("sites") / "mnist").folder


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the module, the example that needs no build step, and an empty page."""
    if shutil.which("npm") is None:
        missing("npm")
    folder = tmp_path_factory.mktemp("application")
    write_module(PRETRAINED["mnist"], folder / "ganport")
    shutil.copy(ROOT / "examples/module/index.html", folder)
    (folder / "empty.html").write_text('<!doctype html><link rel="icon" href="data:," />')
    # A strict policy forbids the address "data:," of the icon, so this page has an icon on its host.
    (folder / "strict.html").write_text('<!doctype html><link rel="icon" href="empty.html" />')
    return folder


def missing(program: str) -> None:
    """Skip a test that needs a program; in CI the test fails."""
    message = f"{program} is not installed; Debian's packages: apt-get install chromium npm"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")  # its event loop must not run during the tests of other modules
def playwright_browser() -> Iterator[Callable[..., Browser]]:
    """A function that starts a Chromium with options."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        missing("Chromium")
    with sync_playwright() as playwright:

        def start(*options: str) -> Browser:
            offline = [
                "--no-sandbox",
                "--no-first-run",
                *(f"--disable-{feature}" for feature in ONLINE_FEATURES),
            ]
            return playwright.chromium.launch(executable_path=program, args=[*offline, *options])

        yield start


@pytest.fixture(scope="module")
def browser(playwright_browser: Callable[..., Browser]) -> Iterator[Browser]:
    browser = playwright_browser("--disable-gpu")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., str]]:
    """A function that serves a folder on loopback until the session ends, and returns the URL.

    Its arguments are the folder, headers of all responses, and whether the responses are compressed.
    """
    servers = []

    def start(folder: Path, headers: Mapping[str, str] | None = None, compress: bool = False) -> str:
        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def end_headers(self):
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                super().end_headers()

            def do_GET(self):
                path = Path(self.translate_path(self.path))
                if not compress or not path.is_file():
                    super().do_GET()
                    return
                content = gzip.compress(path.read_bytes(), 1)
                self.send_response(200)
                self.send_header("Content-Type", self.guess_type(str(path)))
                self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens a URL in a new browser context. An error on the page fails the test."""
    contexts, errors = [], []

    def open_url(url: str, wait: bool = True, **settings) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | settings)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(60_000)  # the first start of WebAssembly on a busy machine is slow
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(url)
        if wait:
            page.wait_for_selector("canvas[data-rendered]")
        return page

    yield open_url
    for context in contexts:
        context.close()
    assert not errors
