"""A site on loopback, and a real Chromium that looks at it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ganport.runtime import BUNDLED
from ganport.web import write_site

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without these it asks hosts on the internet, which tests must not need.
QUIET = ("background-networking", "component-update", "sync", "default-apps")


@pytest.fixture(scope="session")
def mnist_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        missing("npm")
    return write_site(BUNDLED["mnist"], tmp_path_factory.mktemp("sites") / "mnist").folder


def missing(program: str) -> None:
    """Skip what needs a program that this machine lacks; in CI nothing is skipped."""
    message = f"{program} is not installed; Debian's packages: apt-get install chromium npm"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")  # its event loop is not to run on beside the tests of other modules
def playwright_browser() -> Iterator[Callable[..., Browser]]:
    """Start a Chromium with options of its own."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        missing("Chromium")
    with sync_playwright() as playwright:

        def start(*options: str) -> Browser:
            quiet = ["--no-sandbox", "--no-first-run", *(f"--disable-{feature}" for feature in QUIET)]
            return playwright.chromium.launch(executable_path=program, args=[*quiet, *options])

        yield start


@pytest.fixture(scope="module")
def browser(playwright_browser: Callable[..., Browser]) -> Iterator[Browser]:
    browser = playwright_browser("--disable-gpu")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve a folder on loopback until the session ends; returns its address."""
    servers = []

    def start(folder: Path) -> str:
        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

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
def look(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address in a browser of its own; whatever the page complains of fails the test."""
    contexts, complaints = [], []

    def open_page(url: str, wait: bool = True, **settings) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | settings)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.set_default_timeout(60_000)  # a first start of WebAssembly on a busy machine
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(url)
        if wait:
            page.wait_for_selector("canvas[data-drawn]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
