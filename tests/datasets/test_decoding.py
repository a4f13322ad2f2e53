"""Image files of every kind and with every kind of damage: what is read, and what is said about the rest."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganport.datasets import decoding, load_images
from ganport.datasets.decoding import PixelBudget, UnreadableError, quiet_pillow
from ganport.datasets.fitting import read_pixels
from ganport.datasets.preparation import Preparation
from tests.conftest import ROOT
from tests.datasets.sample_images import noise, save, smooth


def read(path, channels=3, **settings):
    """Return the pixels of a file, or raise UnreadableError."""
    with quiet_pillow():
        return read_pixels(path, path.name, channels, Preparation(**settings))


# Formats: the content decides.


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        *[(ending, {}) for ending in ("png", "bmp", "tif", "ppm", "tga", "pcx", "sgi", "dib", "ico")],
        *(("webp", {"lossless": True}), ("jp2", {}), ("qoi", {}), ("dds", {}), ("apng", {})),
    ],
)
def test_lossless_formats_give_the_pixels_that_were_saved(tmp_path, ending, options):
    pixels = noise()
    save(tmp_path / f"1.{ending}", pixels, **options)
    np.testing.assert_array_equal(load_images(tmp_path).images[0], pixels)


def test_content_decides_the_format_and_not_the_ending(tmp_path):
    content = io.BytesIO()
    Image.fromarray(smooth()).save(content, "JPEG", quality=95)
    (tmp_path / "1.png").write_bytes(content.getvalue())
    assert np.abs(read(tmp_path / "1.png").astype(int) - smooth()).max() < 20


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
OPEN_IN_PILLOW = "import sys; from PIL import Image; Image.open(sys.argv[1]).load()"
OPEN_HERE = "import sys; from ganport.datasets import load_images; load_images(sys.argv[1])"


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
@pytest.mark.parametrize(("code", "starts"), [(OPEN_IN_PILLOW, True), (OPEN_HERE, False)])
def test_no_other_program_is_started_for_an_image(tmp_path, code, starts):
    """Pillow starts Ghostscript for a file that holds EPS, whatever its ending is."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(EPS)
    env = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    path = folder / "a.png" if starts else folder
    result = subprocess.run([sys.executable, "-c", code, path], env=env, capture_output=True, text=True)
    assert (tmp_path / "started").exists() == starts
    if not starts:
        assert "it is not an image that is read here, but a text that begins with '%!PS" in result.stderr


def test_image_inside_of_an_iptc_file_is_not_opened(tmp_path):
    """Pillow opens what an IPTC file holds in any format, so the file could hold EPS."""
    fields = [(3, 60, b"\1\0"), (3, 20, b"\0\4"), (3, 30, b"\0\4"), (3, 120, b"\1")]
    content = b"".join(
        struct.pack(">BBBH", 0x1C, tag, kind, len(value)) + value for tag, kind, value in fields
    )
    content += struct.pack(">BBBH", 0x1C, 8, 10, 20) + bytes(20)
    (tmp_path / "a.png").write_bytes(content)
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.format == "IPTC"
    with pytest.raises(UnreadableError, match="not an image that is read here"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"not an image", "but a text that begins with 'not an image'"),
        (b"<!DOCTYPE html><html></html>", "but a web page"),
        (b"<?xml version='1.0'?><svg/>", "but an XML text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "but a pointer of Git LFS"),
        (b"\x89PNG\r\n\x1a\n and nothing else", "damaged|truncated|broken|not an image"),
        (bytes(range(256)) * 16, "it is not an image that is read here"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is not an image that is read here"),
    ],
)
def test_file_that_is_not_an_image_is_described(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableError, match=words):
        read(tmp_path / "a.png")


def test_formats_without_a_mark_are_only_tried_for_their_ending(tmp_path):
    save(tmp_path / "1.tga", noise())
    (tmp_path / "1.tga").rename(tmp_path / "1.png")
    with pytest.raises(UnreadableError, match="not an image that is read here"):
        read(tmp_path / "1.png")


# Modes.


def test_16_bit_colour_is_scaled_to_8_bits(tmp_path):
    pixels = np.array([[[0, 255, 256], [257 * 7, 30_000, 65_535]]], np.uint16)
    raw = zlib.compress(b"\0" + pixels.astype(">u2").tobytes())
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)), (b"IDAT", raw), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    (tmp_path / "1.png").write_bytes(content)
    assert read(tmp_path / "1.png").tolist() == [[[0, 0, 1], [7, 117, 255]]]


def tiff_bytes(pixels, order="<", bits=16, channels=1):
    """Return an uncompressed TIFF of pixels of `bits` bits."""
    mark, height, width = (b"II" if order == "<" else b"MM"), *pixels.shape[:2]
    data = pixels if isinstance(pixels, bytes) else pixels.astype(f"{order}u2").tobytes()
    tags = [
        *(
            (256, 4, width),
            (257, 4, height),
            (258, 3, bits),
            (259, 3, 1),
            (262, 3, 1 if channels == 1 else 2),
        ),
        *((273, 4, 0), (277, 3, channels), (278, 4, height), (279, 4, len(data))),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    extra = b""
    if channels == 3:
        extra = struct.pack(f"{order}3H", bits, bits, bits)
    content = mark + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(tags))
    for tag, kind, value in tags:
        if tag == 273:
            value = start + len(extra)
        count = 3 if tag == 258 and channels == 3 else 1
        content += struct.pack(f"{order}HHI", tag, kind, count)
        if count == 3:
            content += struct.pack(f"{order}I", start)
        else:
            content += struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
    return content + struct.pack(f"{order}I", 0) + extra + data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_tiff_is_scaled_in_both_byte_orders(tmp_path, order, channels):
    pixels = np.array([[0, 257 * 7], [257 * 200, 65_535]], np.uint16)[..., np.newaxis].repeat(channels, -1)
    (tmp_path / "1.tif").write_bytes(tiff_bytes(pixels, order, channels=channels))
    assert load_images(tmp_path).images[0, ..., 0].tolist() == [[0, 7], [200, 255]]


def test_12_bit_tiff_is_scaled_by_its_own_white(tmp_path):
    class Packed(bytes):
        shape = (1, 2)

    (tmp_path / "1.tif").write_bytes(tiff_bytes(Packed(b"\xff\xf8\x00"), bits=12))
    assert read(tmp_path / "1.tif", 1)[..., 0].tolist() == [[255, 128]]


def test_16_bit_pgm_is_scaled(tmp_path):
    (tmp_path / "1.pgm").write_bytes(b"P5 3 1 65535\n" + struct.pack(">3H", 0, 257 * 7, 65_535))
    images = load_images(tmp_path).images
    assert images.shape == (1, 1, 3, 1)
    assert images.ravel().tolist() == [0, 7, 255]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_32_bits_are_rejected(tmp_path, mode):
    Image.new(mode, (2, 2), 1).save(tmp_path / "1.tif")
    with pytest.raises(UnreadableError, match=f"its pixels have mode {mode}; convert it to 8 or 16 bits"):
        read(tmp_path / "1.tif")


def test_colours_of_cmyk_are_not_inverted(tmp_path):
    """Photoshop stores CMYK inverted in JPEG, with Adobe's mark, and Pillow writes it in the same way."""
    for ending in ("tif", "jpg"):
        Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / f"1.{ending}")
        assert np.abs(read(tmp_path / f"1.{ending}")[8, 8] - np.array([255, 0, 0])).max() < 12, ending
    assert b"Adobe" in (tmp_path / "1.jpg").read_bytes()


@pytest.mark.parametrize("stored", ["LA", "PA", "La", "RGBa"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_rare_modes_with_alpha(tmp_path, stored, channels):
    """The first pixel is grey, and the second one is transparent."""
    image = Image.new("LA", (2, 1), (80, 255))
    image.putpixel((1, 0), (80, 0))
    if stored == "LA":
        image.save(tmp_path / "1.tif")
    elif stored == "PA":
        with_palette = Image.merge("PA", image.split())
        with_palette.putpalette([value for value in range(256) for _ in range(3)])
        with_palette.save(tmp_path / "1.tif")
    elif stored == "La":
        (tmp_path / "1.tif").write_bytes(premultiplied_tiff(image.convert("La"), 1, 2))
    else:
        (tmp_path / "1.tif").write_bytes(premultiplied_tiff(image.convert("RGBA").convert("RGBa"), 2, 4))
    with Image.open(tmp_path / "1.tif") as opened:
        assert opened.mode == {"RGBa": "RGBA"}.get(stored, stored)
    pixels = read(tmp_path / "1.tif", channels)
    assert pixels[0, :, 0].tolist() == [80, 255]
    if channels == 4:
        assert pixels[0, :, 3].tolist() == [255, 0]


def premultiplied_tiff(image, photometric, count):
    """Return a TIFF of one row with premultiplied alpha."""
    data = image.tobytes()
    tags = [
        *((256, 4, image.width), (257, 4, 1), (258, 3, None), (259, 3, 1), (262, 3, photometric)),
        *((273, 4, None), (277, 3, count), (278, 4, 1), (279, 4, len(data)), (338, 3, 1)),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    bits = struct.pack(f"<{count}H", *[8] * count)
    content = b"II" + struct.pack("<HIH", 42, 8, len(tags))
    for tag, kind, value in tags:
        if tag == 258:
            field = bits if count == 2 else struct.pack("<I", start)
            content += struct.pack("<HHI", tag, kind, count) + field
        else:
            value = start + len(bits) if tag == 273 else value
            content += struct.pack("<HHI", tag, kind, 1)
            content += struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value)
    return content + struct.pack("<I", 0) + bits + data


def test_black_and_white(tmp_path):
    image = Image.fromarray(np.array([[True, False]]))
    assert image.mode == "1"
    image.save(tmp_path / "1.png")
    assert load_images(tmp_path).images.ravel().tolist() == [255, 0]


def test_palette_with_transparent_colours(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "1.png", transparency=b"\x00\xff\x80")
    assert read(tmp_path / "1.png").tolist() == [[[255, 255, 255], [0, 255, 0], [127, 127, 255]]]
    with_alpha = read(tmp_path / "1.png", 4, background="black")
    assert with_alpha.tolist() == [[[0, 0, 0, 0], [0, 255, 0, 255], [0, 0, 255, 128]]]


# Animations, orientation and extreme sizes.


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "avif"])
def test_first_image_of_an_animation_is_used(tmp_path, ending):
    first, second = Image.new("RGB", (16, 16), (250, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 250))
    first.save(tmp_path / f"1.{ending}", save_all=True, append_images=[second], duration=50)
    pixels = load_images(tmp_path).images
    assert pixels.shape == (1, 16, 16, 3)
    assert np.abs(pixels[0, 8, 8] - np.array([250, 0, 0])).max() < 12


def test_first_image_of_a_camera_with_previews_is_used(tmp_path):
    first, second = Image.new("RGB", (64, 64), (250, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 250))
    first.save(tmp_path / "1.mpo", save_all=True, append_images=[second])
    with Image.open(tmp_path / "1.mpo") as opened:
        assert opened.format == "MPO"
    for size in (None, 4):
        pixels = load_images(tmp_path, image_size=size).images
        assert np.abs(pixels[0, 2, 2] - np.array([250, 0, 0])).max() < 12


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_camera_is_turned_upright(tmp_path, ending, orientation):
    upright = smooth(48, 32)
    image = Image.fromarray(upright)
    if orientation > 1:
        stored = decoding.turn_upright(image, {6: 8, 8: 6}.get(orientation, orientation))
    else:
        stored = image
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if ending == "webp" else {"quality": 95} if ending == "jpg" else {}
    stored.save(tmp_path / f"1.{ending}", exif=exif, **options)
    for size in (None, (32, 48), (16, 24)):
        expected = image if size is None else image.resize(size[::-1], Image.Resampling.LANCZOS)
        pixels = read(tmp_path / f"1.{ending}", image_size=size)
        assert pixels.shape == (*expected.size[::-1], 3)
        assert np.abs(pixels.astype(int) - np.asarray(expected)).max() < 12


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_orientation_in_damaged_metadata_is_ignored(tmp_path, ending):
    save(tmp_path / f"1.{ending}", smooth(), exif=b"Exif\0\0nothing")
    assert read(tmp_path / f"1.{ending}").shape == (8, 12, 3)


@pytest.mark.parametrize("crop", ["center", "none", "random"])
@pytest.mark.parametrize("size", [(1, 1), (3_000, 1), (1, 3_000), (2, 1)])
def test_tiny_and_extremely_long_images_are_resized(tmp_path, size, crop):
    save(tmp_path / "1.png", np.full((size[1], size[0], 3), 7, np.uint8))
    pixels = read(tmp_path / "1.png", image_size=(8, 6), crop=crop, background="#070707")
    assert pixels.shape == (8, 6, 3)
    assert (pixels == 7).all()


# Limits.


def png_header(width, height):
    """Return a PNG that promises a size, and holds a few pixels only."""
    raw = zlib.compress(bytes(100))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", raw)):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


@pytest.mark.parametrize("side", [13_300, 50_000, 2**31 - 1])
def test_images_above_the_limit_of_pixels_are_named_before_they_are_decoded(tmp_path, side):
    (tmp_path / "1.png").write_bytes(png_header(side, side))
    started = time.process_time()
    with pytest.raises(UnreadableError, match="175,000,000"):
        read(tmp_path / "1.png")
    assert time.process_time() - started < 1


def test_jpeg_is_decoded_smaller_where_a_much_smaller_image_is_wanted(tmp_path):
    pixels = np.asarray(Image.fromarray(noise(32, 32)).resize((1_600, 1_600), Image.Resampling.BILINEAR))
    save(tmp_path / "1.jpg", pixels, quality=95)
    decoded_sizes = []
    with decoding.decoded(tmp_path / "1.jpg", lambda size: 9.0) as found:
        decoded_sizes.append((found.image.size, found.size))
    with decoding.decoded(tmp_path / "1.jpg") as found:
        decoded_sizes.append((found.image.size, found.size))
    assert decoded_sizes == [((200, 200), (1_600, 1_600)), ((1_600, 1_600), (1_600, 1_600))]


@pytest.mark.parametrize("size", [32, 150, 300, 700])
def test_jpeg_that_is_decoded_smaller_gives_nearly_the_same_image(tmp_path, size):
    blocks = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100)).astype(np.uint8))
    image = blocks.resize((1_600, 1_600), Image.Resampling.NEAREST)
    image.save(tmp_path / "1.jpg", quality=95)
    expected = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))
    small = read(tmp_path / "1.jpg", 1, image_size=size)[..., 0]
    assert np.abs(small.astype(int) - expected).mean() < 2


# Returns the largest memory that a process had. `ru_maxrss` would include the memory of the parent process.
PEAK = "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) * 1024\n"
memory_is_known = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")


def run(code, *arguments):
    """Run Python code in a process of its own, and return the numbers that it prints."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PEAK + code, *arguments]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return list(map(int, result.stdout.split()))


@memory_is_known
def test_large_image_is_decoded_in_little_more_than_its_own_memory(tmp_path):
    """A decoded pixel takes 4 bytes. Converting the whole image at once took 20 bytes for each pixel."""
    side = 4_000
    image = Image.new("RGBA", (side, side), (200, 30, 40, 255))
    image.paste((10, 200, 30, 128), (0, 0, side // 2, side))
    image.save(tmp_path / "1.png", compress_level=1)
    code = (
        "import sys; from ganport.datasets import load_images\n"
        "before = peak()\n"
        "pixels = load_images(sys.argv[1], image_size=8, channels=3).images\n"
        "print(peak() - before, *pixels[0, 0, 0], *pixels[0, 7, 7])"
    )
    memory, *colours = run(code, tmp_path)
    assert 4 * side * side < memory < 6 * side * side
    assert np.abs(np.array(colours) - [132, 227, 142, 200, 30, 40]).max() <= 2


@memory_is_known
def test_large_images_of_several_threads_are_decoded_one_after_the_other(tmp_path):
    """Four threads need the memory of one image, and give it back."""
    side = 4_100  # 16.8 million pixels
    Image.new("RGB", (side, side), "red").save(tmp_path / "1.png", compress_level=1)
    code = (
        "import concurrent.futures, pathlib, sys\n"
        "from ganport.datasets import decoding, fitting, preparation\n"
        "decoding.BUDGET = decoding.PixelBudget(17_000_000)\n"
        "path, settings = pathlib.Path(sys.argv[1]), preparation.Preparation(8)\n"
        "read = lambda _: fitting.read_pixels(path, path.name, 3, settings)\n"
        "before = peak()\n"
        "list(concurrent.futures.ThreadPoolExecutor(4).map(read, range(4)))\n"
        "print(peak() - before)"
    )
    (memory,) = run(code, tmp_path / "1.png")
    assert 4 * side * side < memory < 6 * side * side


@pytest.mark.parametrize(("ending", "weight"), [("png", 1), ("webp", 4)])
def test_pixels_are_freed_before_their_share_is_given_back(tmp_path, monkeypatch, ending, weight):
    """A WebP takes four times the memory of a PNG while it is decoded."""
    save(tmp_path / f"1.{ending}", noise(), **({"lossless": True} if ending == "webp" else {}))
    images = []

    class Checker(PixelBudget):
        @contextlib.contextmanager
        def reserve(self, pixels):
            assert pixels == 16 * 16 * weight
            yield
            with pytest.raises(ValueError, match="closed"):
                images[0].getpixel((0, 0))

    monkeypatch.setattr(decoding, "BUDGET", Checker(1))
    with decoding.decoded(tmp_path / f"1.{ending}") as found:
        images.append(found.image)
        assert found.image.getpixel((0, 0)) == tuple(noise()[0, 0])


def test_pixels_that_are_decoded_at_once_are_limited():
    budget = PixelBudget(100)
    used, peak, lock = 0, 0, threading.Lock()

    def work(pixels):
        nonlocal used, peak
        with budget.reserve(pixels):
            with lock:
                used += pixels
                peak = max(peak, used)
            time.sleep(0.002)
            with lock:
                used -= pixels

    threads = [threading.Thread(target=work, args=(pixels,)) for pixels in [60, 30, 40, 90, 10, 50] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert used == 0
    assert 90 <= peak <= 100


def test_image_above_the_limit_is_decoded_alone_and_gets_its_turn():
    budget = PixelBudget(100)
    order = []

    def work(pixels):
        with budget.reserve(pixels):
            order.append(pixels)

    with budget.reserve(50):
        large = threading.Thread(target=work, args=(1_000,))
        large.start()
        time.sleep(0.05)
        small = threading.Thread(target=work, args=(10,))
        small.start()
        time.sleep(0.05)
        assert order == []
    large.join(timeout=20)
    small.join(timeout=20)
    assert order == [1_000, 10]


# Damage.

SAVED = {
    **{ending: {} for ending in ("png", "jpg", "gif", "bmp", "tif", "ppm", "tga", "pcx", "sgi")},
    **{ending: {} for ending in ("ico", "jp2", "qoi", "dds", "avif", "mpo", "icns", "xbm", "msp")},
    "webp": {"lossless": True},
}


def damaged(content, seed):
    """Return a file that is cut, or in which some bytes are changed."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return content[: rng.integers(0, len(content))]
    changed = bytearray(content)
    for _ in range(1 + seed % 5):
        position = rng.integers(0, len(content) if seed % 2 else min(len(content), 200))
        changed[position] = rng.integers(0, 256)
    return bytes(changed)


@pytest.mark.parametrize("ending", SAVED)
def test_damaged_files_are_read_or_named_and_nothing_is_printed(tmp_path, ending, capfd):
    image = Image.fromarray(noise(24, 24)).convert("1" if ending in ("xbm", "msp") else "RGB")
    image = image.resize((32, 32)) if ending == "icns" else image
    image.save(tmp_path / f"whole.{ending}", **SAVED[ending])
    content = (tmp_path / f"whole.{ending}").read_bytes()
    path = tmp_path / f"1.{ending}"
    reasons = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for seed in range(60):
            path.write_bytes(damaged(content, seed))
            try:
                assert read(path, image_size=8).shape == (8, 8, 3)
            except UnreadableError as error:
                reasons.append(str(error))
    assert reasons
    assert all(reason and "\n" not in reason for reason in reasons)
    assert [str(each.message) for each in warned] == []
    assert capfd.readouterr() == ("", "")


def test_damaged_avif_and_dds_are_named(tmp_path):
    """Pillow raises RuntimeError, SyntaxError or NotImplementedError for these, and no OSError."""
    save(tmp_path / "1.avif", noise(64, 64))
    content = (tmp_path / "1.avif").read_bytes()
    (tmp_path / "1.avif").write_bytes(content[:-20])
    save(tmp_path / "2.dds", noise())
    changed = bytearray((tmp_path / "2.dds").read_bytes())
    changed[80:88] = struct.pack("<I4s", 4, b"XXXX")  # flag: compressed; and the name of the compression
    (tmp_path / "2.dds").write_bytes(changed)
    for name, kinds in (("1.avif", (RuntimeError, SyntaxError)), ("2.dds", NotImplementedError)):
        with pytest.raises(kinds), (tmp_path / name).open("rb") as file:
            Image.open(file).load()
        with pytest.raises(UnreadableError):
            read(tmp_path / name)


def test_messages_of_pillow_are_not_printed(tmp_path):
    """Python prints the log messages of a library on standard error, if nobody handles them."""
    pixels = np.zeros((2, 2, 1), np.uint16)
    content = tiff_bytes(pixels).replace(
        struct.pack("<HHIHH", 277, 3, 1, 1, 0), struct.pack("<HHIHH", 277, 3, 1, 99, 0)
    )
    (tmp_path / "1.tif").write_bytes(content)
    code = (
        "import sys; from ganport.datasets import load_images\n"
        "try: load_images(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    opened = subprocess.run(
        [sys.executable, "-c", OPEN_IN_PILLOW, tmp_path / "1.tif"], env=env, capture_output=True, text=True
    )
    assert opened.stderr.startswith("More samples per pixel")
    read_here = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env=env, capture_output=True, text=True
    )
    assert "1.tif: it can't be read as an image" in read_here.stdout
    assert read_here.stderr == ""


def test_warnings_of_pillow_are_ignored_and_the_filters_are_restored(tmp_path):
    save(
        tmp_path / "1.jpg", smooth(), exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\0\0\0\xff\0\0\0"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        with pytest.raises(UserWarning, match="larger than file"), Image.open(tmp_path / "1.jpg") as image:
            image.getexif().get(0x0112)
        assert load_images(tmp_path).count == 1
        assert list(warnings.filters) == filters


def test_filters_for_warnings_are_restored_by_the_last_of_several_threads():
    filters = list(warnings.filters)
    first, second = quiet_pillow(), quiet_pillow()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert list(warnings.filters) != filters
    second.__exit__(None, None, None)
    assert list(warnings.filters) == filters
