"""Files of images, read back by other programs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganport.runtime import make_grid
from ganport.runtime.errors import OutputError, UsageError
from ganport.runtime.writers import (
    check_animation,
    check_frames,
    check_output,
    check_size,
    write_animation,
    write_images,
)

RNG = np.random.default_rng(1)
SEEDS = [7, 3, 2**62]


@pytest.fixture(params=[1, 3, 4], ids=["grey", "colour", "alpha"])
def images(request):
    return RNG.integers(0, 256, (3, 5, 4, request.param)).astype(np.uint8)


def batches(images):
    return iter([images[:2], images[2:]])


def read(path):
    pixels = np.asarray(Image.open(path))
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_grid(images, tmp_path, suffix):
    path = tmp_path / f"grid{suffix}"
    write_images(batches(images), SEEDS, path)
    written, grid = read(path), make_grid(images)
    if images.shape[-1] == 4:  # WebP does not keep the colour of transparent pixels
        written, grid = (np.where(pixels[..., 3:] > 0, pixels, 0) for pixels in (written, grid))
    np.testing.assert_array_equal(written[..., : images.shape[-1]], grid)


def test_folder_has_an_image_for_each_seed(images, tmp_path):
    write_images(batches(images), SEEDS, tmp_path / "a" / "b")
    names = [f"seed{seed:07d}.png" for seed in SEEDS]
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == sorted(names)
    for name, image in zip(names, images, strict=True):
        np.testing.assert_array_equal(read(tmp_path / "a" / "b" / name), image)


@pytest.mark.parametrize(
    ("name", "leftover"),
    [
        ("x.png", ".x.0123abcd.part.png"),
        ("x.npz", ".x.0123abcd.part.npz"),
        ("x", "x/.seed0000007.0123abcd.part.png"),
        ("x.gif", ".x.0123abcd.part.gif"),
    ],
)
def test_what_a_killed_writer_left_is_removed(tmp_path, name, leftover):
    images = RNG.integers(0, 256, (3, 5, 4, 1)).astype(np.uint8)
    (tmp_path / leftover).parent.mkdir(exist_ok=True)
    (tmp_path / leftover).write_bytes(b"half an image")
    (tmp_path / ".other.0123abcd.part.png").touch()
    if name.endswith(".gif"):
        write_animation(images, [1, 1, 1], tmp_path / name)
    else:
        write_images(batches(images), SEEDS, tmp_path / name)
    assert not (tmp_path / leftover).exists()
    assert (tmp_path / ".other.0123abcd.part.png").exists()


def test_arrays(images, tmp_path):
    write_images(batches(images), SEEDS, tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), images)
    write_images(batches(images), SEEDS, tmp_path / "x.NPZ")  # np.savez would append .npz to this name
    assert len(list(tmp_path.iterdir())) == 2
    with np.load(tmp_path / "x.NPZ") as arrays:
        np.testing.assert_array_equal(arrays["images"], images)
        assert arrays["seeds"].tolist() == SEEDS


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation(tmp_path, suffix):
    frames = RNG.integers(0, 2, (4, 6, 5, 1)).astype(np.uint8) * 255
    write_animation(list(frames), [0.1, 0.1, 0.2, 0.3], tmp_path / f"x{suffix}")
    with Image.open(tmp_path / f"x{suffix}") as animation:
        assert animation.n_frames == 4
        animation.seek(2)
        np.testing.assert_array_equal(np.asarray(animation.convert("L")), frames[2, :, :, 0])


def test_unknown_ending_is_rejected():
    with pytest.raises(UsageError, match=r"\.png"):
        check_output(Path("x.jpg"))


@pytest.mark.parametrize(
    ("name", "fitting", "shape"),
    [
        ("x.png", 16_384, (28, 28, 1)),
        ("x.webp", 341, (512, 512, 3)),
        ("x.npz", 2_739_137, (28, 28, 1)),
        ("x.npy", 2_730, (512, 512, 3)),
    ],
)
def test_files_that_are_made_in_memory_are_bounded_by_their_bytes(name, fitting, shape):
    check_size(Path(name), fitting, shape)
    with pytest.raises(
        UsageError,
        match=rf"{fitting + 1:,} images of .* limit is {fitting:,}; for more images, choose a folder",
    ):
        check_size(Path(name), fitting + 1, shape)


@pytest.mark.parametrize("name", ["x.gif", "x.webp"])
def test_animations_are_bounded_by_their_bytes(name):
    check_frames(Path(name), 1_365, (512, 512, 3))
    with pytest.raises(
        UsageError, match=r"1,366 frames of 512x512x3.* limit is 1,365; for more frames, choose - for raw RGB"
    ):
        check_frames(Path(name), 1_366, (512, 512, 3))
    check_frames(Path("-"), 10**7, (512, 512, 3))


@pytest.mark.parametrize("name", ["folder", "x.tar", "-"])
def test_output_that_is_written_image_by_image_is_not_bounded(name):
    check_size(Path(name), 10**7, (1024, 1024, 3))


def test_animation_with_another_ending_is_rejected(tmp_path):
    for path in (tmp_path / "x.mp4", Path("-")):
        with pytest.raises(UsageError, match=r"\.gif or \.webp"):
            write_animation([np.zeros((2, 2, 1), np.uint8)], [1], path)


@pytest.mark.parametrize(
    ("name", "fits"), [("x.gif", True), ("x.WEBP", True), ("-", True), ("x.mp4", False), ("x", False)]
)
def test_animations_go_to_a_file_or_to_standard_output(name, fits):
    if fits:
        check_animation(Path(name))
        return
    with pytest.raises(UsageError, match=f"`out` is {name}; it must be a file name that ends in .gif"):
        check_animation(Path(name))


def test_path_that_cant_be_written_is_an_error(images, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for name in ("file/folder", "file/x.png", "file/x.npz"):
        with pytest.raises(OutputError):
            write_images(batches(images), SEEDS, tmp_path / name)
