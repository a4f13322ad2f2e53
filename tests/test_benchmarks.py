"""The options of the quality benchmark: variants of a recipe use equal numbers of real images."""

import pytest

from benchmarks.quality import variants
from scripts.bundle_models import train


@pytest.mark.parametrize(
    ("name", "published", "ours", "images"),
    [
        ("mnist-dense", (10_000, 32), (10_000, 32), 320_000),
        ("mnist-minimal", (20_000, 128), (80_000, 32), 2_560_000),
        ("mnist-dropout", (640, 128), (10_240, 8), 81_920),
        ("fashion-dense", (11_719, 256), (46_876, 64), 3_000_064),
        ("rps-dcgan", (2_000, 32), (4_000, 16), 64_000),  # as published, half of the steps use real images
    ],
)
def test_our_settings_use_as_many_real_images_as_the_published_ones(name, published, ours, images):
    found = variants(name)
    steps = {way: int(found[way][0][found[way][0].index("--steps") + 1]) for way in ("as published", "ours")}
    assert steps["as published"] == (4_000 if name == "rps-dcgan" else published[0])
    assert steps["ours"] == ours[0]
    assert published[0] * published[1] == ours[0] * ours[1] == images
    assert ("ours at length" in found) == (name in ("mnist-dense", "mnist-dropout"))


def test_a_pretrained_generator_is_measured_with_the_options_that_made_it():
    assert variants("fashion-conditional") == {
        "ours": (
            ["--mixed-precision", "on", "--evaluate-interval", "5000"],
            ["--best", "--precision", "float16"],
        )
    }


def test_a_run_of_other_settings_is_not_resumed(tmp_path):
    (tmp_path / "recipe.json").write_text('{"name": "mnist-minimal"}')
    with pytest.raises(SystemExit, match=r"The settings of .* are not those of mnist-minimal"):
        train(tmp_path, "mnist-minimal", "--steps", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]
