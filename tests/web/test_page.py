"""The page in a real Chromium: the same pixels as the runtime, and all that can be done with it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import BUNDLED, Sampler, latents_of
from ganport.runtime.latents import slerp

# Sums of floats come out in another order in WebAssembly than in native code: one level off, on few pixels.
MOST_PIXELS_OFF = 0.001

PIXELS = """(selector) => [...document.querySelectorAll(selector)].map((canvas) =>
    [canvas.width, canvas.height, ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data])"""


@pytest.fixture(scope="module")
def site(mnist_site, serve):
    return serve(mnist_site)


@pytest.fixture(scope="module")
def sampler():
    with Sampler(BUNDLED["mnist"]) as sampler:
        yield sampler


def pixels(page, selector):
    """The grey images in the canvases, uint8 (n, height, width, 1)."""
    values = [np.array(each, np.uint32) for each in page.evaluate(PIXELS, selector)]
    images = np.stack([each[2:].reshape(each[1], each[0], 4) for each in values]).astype(np.uint8)
    assert (images[..., 3] == 255).all()
    assert (images[..., :1] == images[..., :3]).all()
    return images[..., :1]


def assert_same(drawn, due):
    assert drawn.shape == due.shape
    off = np.abs(drawn.astype(int) - due)
    assert off.max() <= 1
    assert (off > 0).mean() <= MOST_PIXELS_OFF


def until(page, condition):
    """Wait for a condition; Playwright's own way would need the page to allow eval, which it does not."""
    limit = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < limit, condition
        page.wait_for_timeout(20)


def wait_for_all(page, count):
    until(page, f"document.querySelectorAll('.tile canvas[data-drawn]').length >= {count}")


def shown(page, seeds):
    return np.concatenate([pixels(page, f'.tile[data-seed="{seed}"] canvas') for seed in seeds])


def open_seed(page, seed):
    page.locator(f'.tile[data-seed="{seed}"]').click()
    page.wait_for_selector("#large[data-drawn]")


def test_draws_the_pixels_of_the_runtime(look, site, sampler):
    page = look(site)
    wait_for_all(page, 64)
    drawn = shown(page, range(64))
    assert_same(drawn, sampler.sample(range(64)))
    off = (drawn != sampler.sample(range(64))).sum()
    print(f"{off} of {drawn.size:,} pixels are one level off")


def test_latents_are_those_of_python_to_the_bit(look, site):
    page = look(site)
    seeds, dim = [0, 1, 42, 2**53 + 1, 2**63 - 1], 100
    code = """async ([seeds, dim]) => {
        const { sampleLatents } = await import("./latents.js");
        const table = new Float32Array(await (await fetch("normal.bin")).arrayBuffer());
        const latents = sampleLatents(seeds.map(BigInt), dim, table);
        return btoa(String.fromCharCode(...new Uint8Array(latents.buffer)));
    }"""
    found = base64.b64decode(page.evaluate(code, [[str(seed) for seed in seeds], dim]))
    assert found == latents_of(np.array(seeds), dim).astype("<f4").tobytes()
    assert hashlib.sha256(found[:400]).hexdigest()[:16] == "85292f7f50872ed3"


def test_a_class_can_be_picked(look, site, sampler):
    page = look(site)
    page.select_option("#label", "7")
    wait_for_all(page, 64)
    assert_same(shown(page, range(64)), sampler.sample(range(64), labels="7"))
    assert page.url.endswith("#seed=0&label=7")


def test_variety_is_truncation(look, site, sampler):
    page = look(site)
    page.locator("#truncation").fill("0.5")
    page.wait_for_url("**/#seed=0&truncation=0.5")
    wait_for_all(page, 64)
    assert_same(shown(page, range(32)), sampler.sample(range(32), truncation=0.5))


@pytest.mark.parametrize("seed", [1_000_003, 2**53 + 1, 2**63 - 5])
def test_a_link_shows_what_was_seen(look, site, sampler, seed):
    page = look(site)
    page.fill("#seed", str(seed))
    page.wait_for_url(f"**/#seed={seed}")
    page.select_option("#label", "3")
    page.click("#link")
    until(page, "document.querySelector('#link').textContent === 'Copied'")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url

    seeds = range(seed, min(seed + 10, 2**63))
    other = look(link)
    wait_for_all(other, len(seeds))
    assert_same(shown(other, seeds), sampler.sample(seeds, labels="3"))
    if seed == 2**63 - 5:
        assert other.locator(".tile").count() == 5  # there are no more


def test_scrolling_has_no_end_and_keeps_few_tiles(look, site, sampler):
    page = look(site)
    page.mouse.move(600, 400)
    for _ in range(30):
        page.mouse.wheel(0, 4000)
    until(page, "scrollY > 100_000")
    before = -1
    while before != (before := page.evaluate("scrollY")):  # it has come to rest
        page.wait_for_timeout(500)
    first = int(page.locator(".tile").first.get_attribute("data-seed"))
    page.wait_for_selector(f'.tile[data-seed="{first + 40}"] canvas[data-drawn]')
    assert first > 10_000
    assert page.locator(".tile").count() < 400
    assert_same(shown(page, [first + 40]), sampler.sample([first + 40]))


def test_opens_large_goes_on_and_saves(look, site, sampler):
    page = look(site)
    open_seed(page, 5)
    assert page.locator("#caption").text_content() == "Seed 5: 5"
    assert_same(pixels(page, "#large"), sampler.sample([5]))
    page.click("#next")
    page.wait_for_url("**/#seed=0&image=6")
    page.wait_for_selector("#large[data-drawn]")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "seed0000006.png"
    saved = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("L"))[np.newaxis, :, :, np.newaxis]
    assert_same(saved, sampler.sample([6]))

    other = look(page.url)
    other.wait_for_selector("#large[data-drawn]")
    assert_same(pixels(other, "#large"), sampler.sample([6]))


def paused_walk(page, sampler, truncation=1.0):
    """Stop a walk through 3, 8 and 21; return what is seen, and what it should be."""
    page.wait_for_selector("#large[data-drawn]")
    page.click("#pause")
    with page.expect_download() as download:
        page.click("#save")
    frame = int(download.value.suggested_filename.removeprefix("walk").removesuffix(".png"))
    ends = latents_of(np.array([3, 8, 21]), sampler.model.input.dim)
    leg, part = divmod(frame, 24)
    latents = slerp(ends[[leg]], ends[[(leg + 1) % 3]], np.array([part / 24])) * np.float32(truncation)
    return pixels(page, "#large"), sampler.sample_latents(latents, "3")


def test_walks_between_chosen_seeds(look, site, sampler):
    page = look(site)
    for seed in (3, 8, 21):
        page.locator(f'.tile[data-seed="{seed}"]').click(modifiers=["Shift"])
    assert page.locator("#stops").text_content() == "3 → 8 → 21"
    page.click("#play")
    page.wait_for_url("**/#seed=0&walk=3,8,21")
    before, due = paused_walk(page, sampler)
    # The angles come from another libm: the last bit of a latent may differ, not what is seen.
    assert np.abs(before.astype(int) - due).max() <= 1
    page.click("#pause")
    page.wait_for_timeout(500)
    assert (pixels(page, "#large") != before).any()

    other = look(page.url)
    other.wait_for_selector("#large[data-drawn]")
    assert other.locator("#caption").text_content() == "Walk through 3, 8, 21"
    seen, due = paused_walk(look(f"{site}#seed=0&truncation=0.5&walk=3,8,21"), sampler, 0.5)
    assert np.abs(seen.astype(int) - due).max() <= 1


def test_works_by_keyboard(look, site):
    page = look(site)
    page.locator("#link").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.dataset.seed ?? document.activeElement.id"
    assert page.evaluate(focused) == "0"
    columns = page.locator(".row").first.locator(".tile").count()
    for key, seed in [("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowLeft", columns), ("Home", 0)]:
        page.keyboard.press(key)
        assert page.evaluate(focused) == str(seed)
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    seed = page.evaluate(focused)
    assert seed == str(20 * columns)
    page.keyboard.press("w")
    assert page.locator("#stops").text_content().startswith(seed)
    page.keyboard.press("Enter")
    page.wait_for_selector("#large[data-drawn]")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**image={20 * columns + 1}")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    # The browser gives the focus back to the tile that was left, then the page takes it to the one that was seen last.
    until(page, f"({focused}) === '{20 * columns + 1}'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(look, site, scheme):
    page = look(site, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    open_seed(page, 2)
    box = page.locator("#viewer").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert box["y"] + box["height"] <= 740
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(21, 22, 26)") == (scheme == "dark")


def test_says_what_is_missing(look, browser, mnist_site, serve, tmp_path):
    broken = tmp_path / "site"
    broken.mkdir()
    for path in mnist_site.iterdir():
        if path.name != "generator.onnx":
            (broken / path.name).symlink_to(path)
    page = browser.new_page()
    page.goto(serve(broken))
    page.wait_for_selector("#status.failed")
    assert "generator.onnx is not there (the server says 404)" in page.locator("#message").text_content()
    page.close()


def test_says_that_it_loads(look, site):
    page = look(site, wait=False)
    until(page, "document.querySelector('#message').textContent.startsWith('Loading the generator')")
    page.wait_for_selector("canvas[data-drawn]")
    assert page.locator("#status").is_hidden()


def test_asks_nobody_else(browser, site):
    """All that the page needs is in its folder."""
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site)
    page.wait_for_selector("canvas[data-drawn]", timeout=60_000)
    assert asked
    assert all(url.startswith((site, "data:", "blob:")) for url in asked)
    page.close()


@pytest.mark.slow
def test_webgpu_is_tried_where_it_is_there(playwright_browser, serve, tmp_path):
    """On a graphics card that Chromium plays by software: the same images, and slower, so that WebAssembly goes on."""
    from benchmarks.sampling import export
    from ganport.web import write_site

    url = serve(write_site(export("rps-dcgan", tmp_path)[1], tmp_path / "site").folder)
    browser = playwright_browser("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
    page = browser.new_page()
    with page.expect_console_message(lambda message: message.text.startswith("WebGPU"), timeout=120_000) as said:
        page.goto(url)
    assert re.fullmatch(
        r"WebGPU: 64 images in \d+ ms, WebAssembly \d+ ms, the same images: true; (wasm|webgpu) draws", said.value.text
    )
    assert page.evaluate("document.body.dataset.provider") in said.value.text
    browser.close()


def test_save_gives_what_is_seen_under_its_own_name(look, site, sampler):
    page = look(site)
    open_seed(page, 5)
    with page.expect_download() as download:
        page.evaluate("document.querySelector('#save').click(), document.querySelector('#next').click()")
    assert download.value.suggested_filename == "seed0000005.png"
    saved = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("L"))[np.newaxis, :, :, np.newaxis]
    assert_same(saved, sampler.sample([5]))


def test_the_keyboard_gets_in_wherever_the_wall_is(look, site):
    page = look(site)
    page.mouse.move(600, 400)
    for _ in range(5):
        page.mouse.wheel(0, 4000)
    until(page, "scrollY > 10_000 && document.querySelectorAll('.tile[tabindex=\"0\"]').length === 1")


def test_another_window_shows_the_same_place(look, site):
    page = look(site, viewport={"width": 1280, "height": 500})
    page.mouse.move(600, 300)
    page.mouse.wheel(0, 20_000)
    until(page, "scrollY > 10_000")
    seen = "[...document.querySelectorAll('.tile')].find((tile) => tile.getBoundingClientRect().top >= 0).dataset.seed"
    before = int(page.evaluate(seen))
    page.set_viewport_size({"width": 700, "height": 1400})
    page.wait_for_timeout(500)
    assert abs(int(page.evaluate(seen)) - before) < 40
    bottom = "Math.max(...[...document.querySelectorAll('.tile')].map((tile) => tile.getBoundingClientRect().bottom))"
    assert page.evaluate(bottom) >= 1400


def test_a_walk_has_an_end(look, site):
    page = look(f"{site}#walk={','.join(map(str, range(500)))}")
    page.wait_for_selector("#large[data-drawn]")
    assert page.locator("#caption").text_content().endswith(" 31")
