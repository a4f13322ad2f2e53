"""Cropping, padding, resizing and converting: which part of an image is used, and what lies around it."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from ganport.datasets import load_images
from ganport.datasets.errors import DatasetContentError
from ganport.datasets.fitting import fit_array, read_pixels
from ganport.datasets.preparation import Preparation
from tests.datasets.sample_images import noise, save, smooth


def fit(pixels, channels=3, name="1.png", **settings):
    return fit_array(pixels, name=name, channels=channels, preparation=Preparation(**settings))


def columns(width=90, height=30):
    """Return an image whose red says in which third of the width a pixel lies: 0, 100 or 200."""
    image = np.zeros((height, width, 3), np.uint8)
    for third in range(3):
        image[:, third * width // 3 : (third + 1) * width // 3, 0] = third * 100
    return image


def test_center_is_the_largest_rectangle_in_the_middle():
    assert abs(int(np.median(fit(columns(), image_size=10)[..., 0])) - 100) <= 1
    tall = fit(columns().swapaxes(0, 1), image_size=(10, 5))  # 30 wide and 90 high; 30x60 in the middle
    reds = np.median(tall[..., 0], axis=1)
    assert reds[0] < 60
    assert abs(reds[5] - 100) < 10
    assert reds[-1] > 140


@pytest.mark.parametrize("size", [(8, 8), (8, 13), (40, 30)])
def test_center_equals_the_function_of_pillow(size):
    pixels = noise(37, 23)
    expected = ImageOps.fit(Image.fromarray(pixels), size[::-1], method=Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(fit(pixels, image_size=size), np.asarray(expected))


def test_none_keeps_the_whole_image_and_pads_it_with_the_background():
    pixels = fit(columns(), image_size=30, crop="none", background="#010203")
    assert pixels.shape == (30, 30, 3)
    assert (pixels[:10] == [1, 2, 3]).all()
    assert (pixels[20:] == [1, 2, 3]).all()
    np.testing.assert_array_equal(pixels[15, [2, 15, 27], 0], [0, 100, 200])


def test_padding_is_transparent_in_images_with_alpha():
    pixels = fit(columns(), channels=4, image_size=30, crop="none", background="#010203")
    assert (pixels[:10] == [1, 2, 3, 0]).all()
    assert (pixels[10:20, :, 3] == 255).all()


def test_padding_of_grey_images_has_the_grey_of_the_background():
    pixels = fit(noise(channels=1, height=8), channels=1, image_size=16, crop="none", background="#ff0000")
    assert pixels.shape == (16, 16, 1)
    assert (pixels[0] == 76).all()  # ITU-R BT.601: 0.299 * 255


def test_random_crops_depend_on_the_name_only():
    crops = {name: fit(columns(300), name=name, image_size=10, crop="random") for name in map(str, range(40))}
    for name, pixels in crops.items():
        np.testing.assert_array_equal(pixels, fit(columns(300), name=name, image_size=10, crop="random"))
    reds = {int(np.median(pixels[..., 0])) // 50 for pixels in crops.values()}
    assert reds >= {0, 2, 4}  # all thirds of the image occur


def test_random_crops_of_a_folder_stay_the_same_when_images_are_added(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", columns(300))
    before = load_images(tmp_path, image_size=10, crop="random").images
    save(tmp_path / "0-new.png", columns(300))
    after = load_images(tmp_path, image_size=10, crop="random").images
    np.testing.assert_array_equal(after[1:], before)
    assert not np.array_equal(before[0], before[1])


def test_colours_of_transparent_pixels_become_the_background():
    """Files hold arbitrary colours there, and a generator with alpha must not learn them."""
    pixels = noise(channels=4)
    pixels[..., 3] = 255
    pixels[:8, :, 3] = 0
    for size in (None, 16, 8, 32):
        result = fit(pixels, channels=4, image_size=size, background="#010203")
        hidden = result[result[..., 3] == 0]
        assert len(hidden) > 10
        assert (hidden[:, :3] == [1, 2, 3]).all()


def test_colours_behind_transparent_pixels_do_not_bleed_into_resized_images():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, :32] = (255, 0, 255, 0)  # transparent, with a hidden colour
    pixels[:, 32:] = (0, 200, 0, 255)
    result = fit(pixels, channels=4, image_size=9)
    visible = result[result[..., 3] > 20]
    assert len(visible) > 30
    assert (visible[:, [0, 2]] == 0).all()
    assert visible[:, 1].min() > 190


@pytest.mark.parametrize(
    ("channels", "background", "expected"),
    [
        (3, "white", [127, 127, 255]),
        (3, "#000000", [0, 0, 128]),
        (1, "white", [142]),
        (4, "black", [0, 0, 255, 128]),
    ],
)
def test_half_transparent_pixels_lie_on_the_background(channels, background, expected):
    pixels = np.full((4, 4, 4), (0, 0, 255, 128), np.uint8)
    np.testing.assert_allclose(fit(pixels, channels, background=background)[0, 0], expected, atol=1)


def test_images_without_alpha_are_opaque_with_four_channels(tmp_path):
    save(tmp_path / "1.png", noise())
    data = load_images(tmp_path, channels=4)
    assert data.image_shape == (16, 16, 4)
    np.testing.assert_array_equal(data.images[0, ..., :3], noise())
    assert (data.images[..., 3] == 255).all()


@pytest.mark.parametrize("crop", ["center", "none", "random"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_large_images_are_resized_as_small_ones(tmp_path, crop, channels):
    """Images of more than 2 million pixels are averaged in strips first."""
    small = np.asarray(Image.fromarray(noise(40, 30, 4)).resize((400, 300), Image.Resampling.BICUBIC))
    large = np.asarray(Image.fromarray(small).resize((2_400, 1_800), Image.Resampling.BILINEAR))
    save(tmp_path / "large.png", large, compress_level=1)
    settings = Preparation((24, 20), crop=crop, background="#204060")
    whole = fit_array(small, name="1", channels=channels, preparation=settings)
    strips = read_pixels(tmp_path / "large.png", "1", channels, settings)
    # The colour of a pixel that is nearly transparent is not exact.
    is_visible = whole[..., -1] > 100 if channels == 4 else np.full(whole.shape[:2], True)
    differences = np.abs(whole.astype(int) - strips)[is_visible]
    assert differences.max() <= 12
    assert differences.mean() < 1


def test_arrays_with_alpha_are_loaded_and_shown_on_the_background(tmp_path):
    pixels = np.full((2, 4, 4, 4), (0, 0, 255, 0), np.uint8)
    np.savez(tmp_path / "set.npz", images=pixels)
    assert load_images(tmp_path / "set.npz").image_shape == (4, 4, 4)
    assert (load_images(tmp_path / "set.npz").images[..., :3] == 255).all()
    shown = load_images(tmp_path / "set.npz", channels=3, background="#010203").images
    assert (shown == [1, 2, 3]).all()


@pytest.mark.parametrize("crop", ["center", "none", "random"])
def test_arrays_are_prepared_like_files(tmp_path, crop):
    pixels = np.stack([noise(20, 30, seed=seed) for seed in range(3)])
    np.savez(tmp_path / "set.npz", images=pixels)
    array = load_images(tmp_path / "set.npz", image_size=(6, 9), crop=crop).images
    for index in range(3):
        save(tmp_path / "images" / f"{index}", pixels[index], format="PNG")
        file = read_pixels(tmp_path / "images" / f"{index}", str(index), 3, Preparation((6, 9), crop=crop))
        np.testing.assert_array_equal(array[index], file)


def test_height_comes_before_width(tmp_path):
    save(tmp_path / "1.png", smooth())
    assert load_images(tmp_path, image_size=(6, 4)).images.shape == (1, 6, 4, 3)


def test_different_sizes_without_an_image_size_are_an_error(tmp_path):
    save(tmp_path / "1.png", smooth())
    save(tmp_path / "2.png", smooth(13))
    with pytest.raises(DatasetContentError, match=r"1\.png is 12x8, 2\.png is 13x8.*`image_size=N`"):
        load_images(tmp_path)
