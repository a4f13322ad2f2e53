"""PNG files: each encoder writes the pixels that it was given, and is found by its name."""

import io
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import png
from ganport.runtime.errors import UsageError
from ganport.runtime.png import ZLIB, encode_png, encode_pngs, encoder_of, fast_encoder


@pytest.fixture
def without_isal(monkeypatch):
    """An environment in which the package isal is not installed."""
    monkeypatch.setitem(sys.modules, "isal", None)
    fast_encoder.cache_clear()
    yield
    fast_encoder.cache_clear()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("find", [lambda: ZLIB, fast_encoder], ids=["zlib", "fast"])
def test_each_encoder_writes_the_pixels(find, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 7, channels)).astype(np.uint8)
    images[1] = 9  # runs of equal bytes
    for image, content in zip(images, encode_pngs(images, encoder=find()), strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(content)))
        np.testing.assert_array_equal(decoded.reshape(image.shape), image)


def test_the_fast_encoder_is_isal_if_it_is_installed():
    pytest.importorskip("isal")
    assert fast_encoder().name.startswith("isal ")


def test_the_fast_encoder_writes_the_same_bytes_wherever_its_memory_lies():
    """The bytes of ISA-L itself depend on the address of its state, which differs from thread to thread."""
    isal_zlib = pytest.importorskip("isal.isal_zlib")
    noise = np.random.default_rng(0).integers(1, 255, (20, 4, 8, 1)).astype(np.uint8)
    images = [image[: 2 + index % 3] for index, image in enumerate(noise)]
    images = [np.concatenate([image, image]) for image in images]  # matches with the first bytes
    threads, encoder, found = 32, fast_encoder(), []
    barrier = threading.Barrier(threads)

    def encode():
        barrier.wait()  # all threads exist at once, so that their stacks differ
        states = [isal_zlib.compressobj(1) for _ in range(3)]
        found.append([encode_png(image, encoder=encoder) for image in images])
        barrier.wait()
        states.clear()

    workers = [threading.Thread(target=encode) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == threads
    assert all(each == found[0] for each in found)


@pytest.mark.usefixtures("without_isal")
def test_the_fast_encoder_is_zlib_without_isal():
    assert fast_encoder() is ZLIB


def test_single_images_have_the_same_bytes_with_and_without_isal():
    image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    assert encode_png(image) == encode_png(image, encoder=ZLIB)


def test_an_encoder_is_found_by_its_name():
    assert encoder_of(ZLIB.name) is ZLIB
    assert encoder_of(fast_encoder().name) is fast_encoder()
    with pytest.raises(
        UsageError, match=f"compressed by zopfli 1, and this Python has {fast_encoder().name}"
    ):
        encoder_of("zopfli 1")


def test_the_module_names_its_encoders():
    assert png.ZLIB.name.startswith("zlib 1.")
