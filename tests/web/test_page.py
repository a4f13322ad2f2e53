"""The page in a real Chromium: it shows the pixels of the runtime, and its controls work."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import PRETRAINED, InputSpec, Sampler, sample_latents
from ganport.runtime.latents import interpolate, slerp, truncate
from ganport.web import write_site
from tests.tiny_generator import DIM, tiny_contract, tiny_model

# WebAssembly adds floats in a different order than native code, so a few pixels differ by one level.
MAX_DIFFERENT = 0.001

PIXELS = """(selector) => [...document.querySelectorAll(selector)].map((canvas) => {
    const { width, height } = canvas;
    return [width, height, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
})"""


@pytest.fixture(scope="module")
def site(mnist_site, serve):
    return serve(mnist_site)


@pytest.fixture(scope="module")
def sampler():
    with Sampler(PRETRAINED["mnist"]) as sampler:
        yield sampler


def pixels(page, selector):
    """The images in grey canvases, uint8 (n, height, width, 1)."""
    values = [np.array(each, np.uint32) for each in page.evaluate(PIXELS, selector)]
    images = np.stack([each[2:].reshape(each[1], each[0], 4) for each in values]).astype(np.uint8)
    assert (images[..., 3] == 255).all()
    assert (images[..., :1] == images[..., :3]).all()
    return images[..., :1]


def assert_same(shown, expected):
    assert shown.shape == expected.shape
    off = np.abs(shown.astype(int) - expected)
    assert off.max() <= 1
    assert (off > 0).mean() <= MAX_DIFFERENT


def wait_until(page, condition):
    """Wait for a condition. Playwright's own function needs eval, which the page does not allow."""
    limit = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < limit, condition
        page.wait_for_timeout(20)


def wait_for_tiles(page, count):
    wait_until(page, f"document.querySelectorAll('.tile canvas[data-rendered]').length >= {count}")


def tiles(page, seeds):
    return np.concatenate([pixels(page, f'.tile[data-seed="{seed}"] canvas') for seed in seeds])


def open_seed(page, seed):
    page.locator(f'.tile[data-seed="{seed}"]').click()
    page.wait_for_selector("#large[data-rendered]")


def test_the_gallery_shows_the_pixels_of_the_runtime(open_page, site, sampler):
    page = open_page(site)
    wait_for_tiles(page, 64)
    images = tiles(page, range(64))
    assert_same(images, sampler.sample(range(64)))
    different = (images != sampler.sample(range(64))).sum()
    print(f"{different} of {images.size:,} pixels differ by one level")


@pytest.mark.parametrize(
    ("distribution", "digest"),
    [("normal", "85292f7f50872ed3"), ("uniform", "22f3322ab3b7792c"), ("uniform01", "e182268466fa3729")],
)
def test_latents_have_the_bits_of_python(open_page, site, distribution, digest):
    page = open_page(site)
    seeds, dim = [0, 1, 42, 2**53 + 1, 2**63 - 1], 100
    code = """async ([seeds, dim, distribution]) => {
        const { sampleLatents } = await import("./ganport/latents.js");
        const latents = sampleLatents(seeds.map(BigInt), dim, distribution);
        return btoa(String.fromCharCode(...new Uint8Array(latents.buffer)));
    }"""
    found = base64.b64decode(page.evaluate(code, [[str(seed) for seed in seeds], dim, distribution]))
    expected = sample_latents(np.array(seeds), dim, distribution=distribution)
    assert found == expected.astype("<f4").tobytes()
    assert hashlib.sha256(found[:400]).hexdigest()[:16] == digest


@pytest.mark.parametrize("distribution", ["uniform", "uniform01"])
def test_truncated_points_between_uniform_latents_have_the_bits_of_python(open_page, site, distribution):
    page = open_page(site)
    code = """async ([seeds, position, truncation, distribution]) => {
        const { interpolate, sampleLatents, truncate } = await import("./ganport/latents.js");
        const [first, second] = seeds.map((seed) => sampleLatents([BigInt(seed)], 100, distribution));
        const points = interpolate(first, second, position, distribution);
        const latents = truncate(points, truncation, distribution);
        return btoa(String.fromCharCode(...new Uint8Array(latents.buffer)));
    }"""
    first, second = sample_latents([3, 8], 100, distribution=distribution)[:, np.newaxis]
    for position, truncation in [(0, 0.7), (1 / 3, 1), (0.9, 0.3), (7 / 24, 1e-9), (0.5, 0)]:
        found = base64.b64decode(page.evaluate(code, [["3", "8"], position, truncation, distribution]))
        points = interpolate(first, second, np.array([position]), distribution=distribution)
        expected = truncate(points, truncation, distribution=distribution)
        np.testing.assert_array_equal(np.frombuffer(found, "<f4"), expected[0])


@pytest.mark.parametrize("distribution", ["uniform", "uniform01"])
def test_page_shows_the_images_of_uniform_latents(open_page, serve, tmp_path, distribution):
    spec = InputSpec(kind="latent", name="latent", dim=DIM, distribution=distribution)
    contract = tiny_contract(dtype="uint8", input=spec)
    file = tmp_path / "tiny.onnx"
    file.write_bytes(tiny_model("uint8", metadata={"ganport": contract.to_json()}).SerializeToString())
    page = open_page(serve(write_site(file, tmp_path / "site").folder) + "#seed=0&truncation=0.5")
    sampler = Sampler(file)
    wait_for_tiles(page, 32)
    # A rounded pixel may differ by one level, since WebAssembly adds floats in a different order.
    shown = tiles(page, range(32)).astype(int)
    assert np.abs(shown - sampler.sample(range(32), truncation=0.5)).max() <= 1

    page = open_page(page.url + "&walk=3,8")
    page.wait_for_selector("#large[data-rendered]")
    page.click("#pause")
    with page.expect_download() as download:
        page.click("#save")
    frame = int(download.value.suggested_filename.removeprefix("walk").removesuffix(".png"))
    frames = np.concatenate(list(sampler.walk([3, 8], frames=24, truncation=0.5)))
    assert np.abs(pixels(page, "#large")[0].astype(int) - frames[frame]).max() <= 1


def test_a_label_can_be_requested(open_page, site, sampler):
    page = open_page(site)
    page.select_option("#label", "7")
    wait_for_tiles(page, 64)
    assert_same(tiles(page, range(64)), sampler.sample(range(64), labels="7"))
    assert page.url.endswith("#seed=0&label=7")


def test_the_slider_sets_the_truncation(open_page, site, sampler):
    page = open_page(site)
    page.locator("#truncation").fill("0.5")
    page.wait_for_url("**/#seed=0&truncation=0.5")
    wait_for_tiles(page, 64)
    assert_same(tiles(page, range(32)), sampler.sample(range(32), truncation=0.5))


@pytest.mark.parametrize("seed", [1_000_003, 2**53 + 1, 2**63 - 5])
def test_a_link_shows_the_same_images(open_page, site, sampler, seed):
    page = open_page(site)
    page.fill("#seed", str(seed))
    page.wait_for_url(f"**/#seed={seed}")
    page.select_option("#label", "3")
    page.click("#link")
    wait_until(page, "document.querySelector('#link').textContent === 'Copied'")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url

    seeds = range(seed, min(seed + 10, 2**63))
    other = open_page(link)
    wait_for_tiles(other, len(seeds))
    assert_same(tiles(other, seeds), sampler.sample(seeds, labels="3"))
    if seed == 2**63 - 5:
        assert other.locator(".tile").count() == 5  # the gallery ends at the largest seed


def test_scrolling_is_endless_and_keeps_few_tiles(open_page, site, sampler):
    page = open_page(site)
    page.mouse.move(600, 400)
    for _ in range(30):
        page.mouse.wheel(0, 4000)
    wait_until(page, "scrollY > 100_000")
    before = -1
    while before != (before := page.evaluate("scrollY")):  # until the scrolling ends
        page.wait_for_timeout(500)
    first = int(page.locator(".tile").first.get_attribute("data-seed"))
    page.wait_for_selector(f'.tile[data-seed="{first + 40}"] canvas[data-rendered]')
    assert first > 10_000
    assert page.locator(".tile").count() < 400
    assert_same(tiles(page, [first + 40]), sampler.sample([first + 40]))


def test_the_viewer_opens_moves_on_and_saves(open_page, site, sampler):
    page = open_page(site)
    open_seed(page, 5)
    assert page.locator("#caption").text_content() == "Seed 5, label 5"
    assert_same(pixels(page, "#large"), sampler.sample([5]))
    page.click("#next")
    page.wait_for_url("**/#seed=0&image=6")
    page.wait_for_selector("#large[data-rendered]")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "seed0000006.png"
    saved = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("L"))[
        np.newaxis, :, :, np.newaxis
    ]
    assert_same(saved, sampler.sample([6]))

    other = open_page(page.url)
    other.wait_for_selector("#large[data-rendered]")
    assert_same(pixels(other, "#large"), sampler.sample([6]))


def paused_walk(page, sampler, truncation=1.0):
    """Pause a walk through 3, 8 and 21, and return the shown frame and the expected one."""
    page.wait_for_selector("#large[data-rendered]")
    page.click("#pause")
    with page.expect_download() as download:
        page.click("#save")
    frame = int(download.value.suggested_filename.removeprefix("walk").removesuffix(".png"))
    ends = sample_latents(np.array([3, 8, 21]), sampler.contract.input.dim)
    leg, part = divmod(frame, 24)
    latents = slerp(ends[[leg]], ends[[(leg + 1) % 3]], np.array([part / 24])) * np.float32(truncation)
    return pixels(page, "#large"), sampler.sample_from_latents(latents, labels="3")


def test_a_walk_plays_between_selected_seeds(open_page, site, sampler):
    page = open_page(site)
    for seed in (3, 8, 21):
        page.locator(f'.tile[data-seed="{seed}"]').click(modifiers=["Shift"])
    assert page.locator("#walk-seeds").text_content() == "3 → 8 → 21"
    page.click("#play")
    page.wait_for_url("**/#seed=0&walk=3,8,21")
    paused, expected = paused_walk(page, sampler)
    # The last bit of a latent may differ: JavaScript computes sine and arccosine with a different library.
    assert np.abs(paused.astype(int) - expected).max() <= 1
    page.click("#pause")
    page.wait_for_timeout(500)
    assert (pixels(page, "#large") != paused).any()

    other = open_page(page.url)
    other.wait_for_selector("#large[data-rendered]")
    assert other.locator("#caption").text_content() == "Walk through 3, 8, 21"
    page = open_page(f"{site}#seed=0&truncation=0.5&walk=3,8,21")
    paused, expected = paused_walk(page, sampler, 0.5)
    assert np.abs(paused.astype(int) - expected).max() <= 1


def test_the_page_works_by_keyboard(open_page, site):
    page = open_page(site)
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
    assert page.locator("#walk-seeds").text_content().startswith(seed)
    page.keyboard.press("Enter")
    page.wait_for_selector("#large[data-rendered]")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**image={20 * columns + 1}")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    # The browser returns the focus to the tile that was opened. Then the page moves it to the last image.
    wait_until(page, f"({focused}) === '{20 * columns + 1}'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(open_page, site, scheme):
    page = open_page(site, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    open_seed(page, 2)
    box = page.locator("#viewer").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert box["y"] + box["height"] <= 740
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(21, 22, 26)") == (scheme == "dark")


def test_a_missing_file_is_named(open_page, browser, mnist_site, serve, tmp_path):
    broken = tmp_path / "site"
    broken.mkdir()
    for path in mnist_site.iterdir():
        if path.name != "generator.onnx":
            (broken / path.name).symlink_to(path)
    page = browser.new_page()
    page.goto(serve(broken))
    page.wait_for_selector("#status.failed")
    assert "generator.onnx can't be loaded (HTTP status 404)" in page.locator("#message").text_content()
    page.close()


def test_loading_shows_its_progress(open_page, site):
    page = open_page(site, wait=False)
    wait_until(page, "document.querySelector('#message').textContent.startsWith('Loading the generator')")
    page.wait_for_selector("canvas[data-rendered]")
    assert page.locator("#status").is_hidden()


def test_the_page_requests_its_own_files_only(browser, site):
    page, requested = browser.new_page(), []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(site)
    page.wait_for_selector("canvas[data-rendered]", timeout=60_000)
    assert requested
    assert all(url.startswith((site, "data:", "blob:")) for url in requested)
    page.close()


@pytest.mark.slow
def test_webgpu_is_tried_if_it_is_available(playwright_browser, serve, tmp_path):
    """On a GPU that Chromium emulates: the images are the same, and slower, so WebAssembly stays in use."""
    from benchmarks.sampling import export
    from ganport.web import write_site

    url = serve(write_site(export("rps-dcgan", tmp_path)[1], tmp_path / "site").folder)
    browser = playwright_browser(
        "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"
    )
    page = browser.new_page()
    with page.expect_console_message(
        lambda message: message.text.startswith("WebGPU"), timeout=120_000
    ) as info:
        page.goto(url)
    assert re.fullmatch(
        r"WebGPU: 64 images in \d+ ms, WebAssembly \d+ ms, same images: true, provider: (wasm|webgpu)",
        info.value.text,
    )
    assert page.evaluate("document.body.dataset.provider") in info.value.text
    browser.close()


def test_save_writes_the_shown_image_under_its_own_name(open_page, site, sampler):
    page = open_page(site)
    open_seed(page, 5)
    with page.expect_download() as download:
        page.evaluate("document.querySelector('#save').click(), document.querySelector('#next').click()")
    assert download.value.suggested_filename == "seed0000005.png"
    saved = np.asarray(Image.open(io.BytesIO(download.value.path().read_bytes())).convert("L"))[
        np.newaxis, :, :, np.newaxis
    ]
    assert_same(saved, sampler.sample([5]))


def test_the_keyboard_reaches_a_scrolled_gallery(open_page, site):
    page = open_page(site)
    page.mouse.move(600, 400)
    for _ in range(5):
        page.mouse.wheel(0, 4000)
    wait_until(page, "scrollY > 10_000 && document.querySelectorAll('.tile[tabindex=\"0\"]').length === 1")


def test_a_resized_window_shows_the_same_seeds(open_page, site):
    page = open_page(site, viewport={"width": 1280, "height": 500})
    page.mouse.move(600, 300)
    page.mouse.wheel(0, 20_000)
    wait_until(page, "scrollY > 10_000")
    all_tiles = "[...document.querySelectorAll('.tile')]"
    top_seed = f"{all_tiles}.find((tile) => tile.getBoundingClientRect().top >= 0).dataset.seed"
    before = int(page.evaluate(top_seed))
    page.set_viewport_size({"width": 700, "height": 1400})
    page.wait_for_timeout(500)
    assert abs(int(page.evaluate(top_seed)) - before) < 40
    bottom = f"Math.max(...{all_tiles}.map((tile) => tile.getBoundingClientRect().bottom))"
    assert page.evaluate(bottom) >= 1400


def test_a_walk_has_a_limited_number_of_seeds(open_page, site):
    page = open_page(f"{site}#walk={','.join(map(str, range(500)))}")
    page.wait_for_selector("#large[data-rendered]")
    assert page.locator("#caption").text_content().endswith(" 31")
