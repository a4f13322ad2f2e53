import io

import numpy as np
import pytest
from PIL import Image

from ganport.runtime.errors import OutputError, UsageError
from ganport.runtime.images import make_grid, to_uint8
from ganport.runtime.png import encode_png, encode_pngs, save_png
from ganport.runtime.writers import write_animation


def test_levels_are_rounded_half_to_even_and_clipped():
    halves = np.arange(255, dtype=np.float32) + np.float32(0.5)
    outputs = halves / np.float32(127.5) - 1
    exact = (outputs + 1) * np.float32(127.5) == halves  # values that float32 represents exactly
    assert exact.sum() > 50
    np.testing.assert_array_equal(to_uint8(outputs)[exact], (2 * np.round(np.arange(255) / 2 + 0.25))[exact])
    assert to_uint8(np.array([-9, -1, 1, 9], np.float32)).tolist() == [0, 0, 255, 255]


def test_every_level_survives_conversion_to_float_and_back():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(levels.astype(np.float32) / 127.5 - 1), levels)


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (7, 3, 3), (12, 3, 4), (64, 8, 8)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_grid_holds_every_image_in_its_cell(count, rows, columns, channels):
    images = np.random.default_rng(0).integers(1, 256, (count, 5, 7, channels)).astype(np.uint8)
    grid = make_grid(images)
    assert grid.shape == (rows * 7 - 2, columns * 9 - 2, channels)
    for index in range(count):
        row, column = divmod(index, columns)
        np.testing.assert_array_equal(grid[row * 7 : row * 7 + 5, column * 9 : column * 9 + 7], images[index])
    assert (grid > 0).sum() == images.size  # all other pixels are black


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_holds_the_same_pixels(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    read = np.asarray(Image.open(io.BytesIO(encode_png(image))))
    np.testing.assert_array_equal(read.reshape(image.shape), image)


def test_png_that_cant_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file" / "grid.png", tmp_path):
        with pytest.raises(OutputError) as caught:
            save_png(np.zeros((2, 2, 1), np.uint8), target)
        assert isinstance(caught.value, OSError)
        assert "choose another `out`" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_png_with_another_ending_is_rejected(tmp_path):
    with pytest.raises(UsageError, match=r"x\.jpg has .* another kind of file; .* it must end in \.png"):
        save_png(np.zeros((2, 2, 1), np.uint8), tmp_path / "x.jpg")
    for name in ("x.PNG", "x"):
        save_png(np.zeros((2, 2, 1), np.uint8), str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.PNG"]


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_plays_the_frames_in_order(tmp_path, channels):
    frames = [np.full((4, 6, channels), shade, np.uint8) for shade in (0, 128, 255)]
    write_animation(frames, [0.1, 0.1, 2.0], tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as animation:
        assert (animation.n_frames, animation.size, animation.info["loop"]) == (3, (6, 4), 0)
        for index, (shade, milliseconds) in enumerate(((0, 100), (128, 100), (255, 2000))):
            animation.seek(index)
            assert animation.info["duration"] == milliseconds
            assert np.abs(np.asarray(animation.convert("L")).astype(int) - shade).max() <= 2


@pytest.mark.parametrize(
    "images",
    [
        np.random.default_rng(0).random((4, 8, 8, 1)),
        np.full((4, 8, 8, 1), 300),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((4, 8, 8, 2), np.uint8),
        np.zeros((0, 8, 8, 1), np.uint8),
    ],
    ids=["floats", "integers", "one image", "two channels", "none"],
)
def test_arrays_that_are_not_images_are_rejected(images):
    for function in (make_grid, encode_pngs):
        with pytest.raises(UsageError, match="Images must be uint8"):
            function(images)


def test_list_of_images_makes_a_grid_and_not_a_png(tmp_path):
    images = list(np.zeros((4, 8, 8, 3), np.uint8))
    assert make_grid(images).shape == (18, 18, 3)
    with pytest.raises(UsageError, match=r"this array is uint8 \(4, 8, 8, 3\). make_grid joins"):
        save_png(np.array(images), tmp_path / "x.png")
