"""The arithmetic of the benchmarks: what is compared with what."""

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
        ("rps-dcgan", (2_000, 32), (4_000, 16), 64_000),  # every other step of its 4,000 is the generator's
    ],
)
def test_ours_sees_as_many_real_images_as_published(name, published, ours, images):
    found = variants(name)
    steps = {way: int(found[way][0][found[way][0].index("--steps") + 1]) for way in ("as published", "ours")}
    assert steps["as published"] == (4_000 if name == "rps-dcgan" else published[0])
    assert steps["ours"] == ours[0]
    assert published[0] * published[1] == ours[0] * ours[1] == images
    assert ("ours at length" in found) == (name in ("mnist-dense", "mnist-dropout"))


def test_a_generator_in_the_box_is_measured_as_it_is_made():
    assert variants("fashion-conditional") == {
        "ours": (["--mixed-precision", "--evaluate-every", "5000"], ["--best", "--precision", "float16"])
    }


def test_a_run_of_other_settings_is_not_gone_on_with(tmp_path):
    (tmp_path / "recipe.json").write_text('{"name": "mnist-minimal"}')
    with pytest.raises(SystemExit, match="a run of other settings than mnist-minimal has now"):
        train(tmp_path, "mnist-minimal", "--steps", 10)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]
