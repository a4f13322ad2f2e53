import base64
import dataclasses
import json
from typing import get_args

import numpy as np
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from ganport.runtime import Sampler, check_golden, encode_png, make_grid
from ganport.runtime.contract import Precision
from ganport.runtime.errors import ContractError
from ganport.runtime.golden import compare_golden, difference_picture, tolerance_of
from tests.conftest import ROOT, failure, run_ganport
from tests.tiny_generator import DIM, tiny_contract, tiny_model

SEEDS = [3, 1, 2**40]


def golden_file(folder, damage=lambda images: images, **golden) -> Sampler:
    """Write the tiny generator with correct golden images, or with damaged ones."""
    path = folder / "x.onnx"
    path.write_bytes(tiny_model("uint8").SerializeToString())
    grid = make_grid(damage(Sampler(path).sample(SEEDS)))
    golden = {"seeds": SEEDS, "png_base64": base64.b64encode(encode_png(grid)).decode()} | golden
    contract = tiny_contract(dtype="uint8", golden=golden)
    path.write_bytes(tiny_model("uint8", metadata={"ganport": contract.to_json()}).SerializeToString())
    return Sampler(path)


def test_golden_images_are_the_same_bytes(tmp_path):
    checks = check_golden(golden_file(tmp_path))
    assert [(check.seed, check.largest, check.share, check.passed) for check in checks] == [
        (s, 0, 0.0, True) for s in SEEDS
    ]


def test_image_that_differs_is_named(tmp_path):
    def damage(images):
        images[1, 0, 0] = images[1, 0, 0] // 2 + 100
        return images

    checks = check_golden(golden_file(tmp_path, damage))
    assert [check.passed for check in checks] == [True, False, True]
    assert checks[1].largest > 1
    assert checks[1].share == 1 / 12


def test_one_level_on_many_pixels_is_not_accepted_as_rounding(tmp_path):
    checks = check_golden(
        golden_file(tmp_path, lambda images: np.where(images < 128, images + 1, images - 1).astype(np.uint8))
    )
    assert {check.largest for check in checks} == {1}
    assert not any(check.passed for check in checks)


def large_golden(folder, damage, *, precision="float32") -> Sampler:
    """Write a generator of 32x40 images of 3 colours whose golden images are `damage` of the correct ones."""
    shape = (32, 40, 3)
    spec = dataclasses.replace(tiny_contract(dtype="uint8").image, height=32, width=40, channels=3)
    model = tiny_model("uint8", metadata={})
    rng = np.random.default_rng(11)
    for tensor in model.graph.initializer:
        values = {
            "kernel": rng.normal(size=(DIM, 3840)).astype(np.float32),
            "bias": rng.normal(size=3840).astype(np.float32),
            "shape": np.array([-1, *shape]),
        }.get(tensor.name)
        if values is not None:
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for size, value in zip(model.graph.output[0].type.tensor_type.shape.dim[1:], shape, strict=True):
        size.dim_value = value

    def with_golden(golden):
        contract = tiny_contract(dtype="uint8", image=spec, precision=precision, golden=golden)
        helper.set_model_props(model, {"ganport": contract.to_json()})
        return Sampler(model.SerializeToString())

    images = with_golden({"seeds": [], "png_base64": ""}).sample(SEEDS)
    png = base64.b64encode(encode_png(make_grid(damage(images)))).decode()
    return with_golden({"seeds": SEEDS, "png_base64": png})


def change(count, levels):
    """Return a function that changes the first `count` values of the first image by a number of levels."""

    def damage(images):
        damaged = images.copy()
        values = damaged[0].reshape(-1)
        values[:count] = np.where(values[:count] < 128, values[:count] + levels, values[:count] - levels)
        return damaged

    return damage


@pytest.mark.parametrize(
    ("precision", "damage", "verdict"),
    [
        ("float32", change(0, 1), "same"),
        ("float32", change(4, 1), "within tolerance"),  # 0.1 % of 3,840 values are 3.84
        ("float32", change(5, 1), "different"),
        ("float32", change(1, 2), "different"),
        ("float16", change(4, 1), "within tolerance"),
        ("float16", change(5, 1), "different"),
        ("float16", change(1, 2), "different"),
        ("float16-arithmetic", change(40, 24), "within tolerance"),  # the mean difference is 0.25
        ("float16-arithmetic", change(41, 24), "different"),
        ("float16-arithmetic", change(1, 25), "different"),
        ("int8", change(40, 24), "within tolerance"),
        ("int8", change(41, 24), "different"),
    ],
)
def test_verdict_depends_on_the_tolerance_of_the_precision(tmp_path, precision, damage, verdict):
    first, *others = check_golden(large_golden(tmp_path, damage, precision=precision))
    assert first.verdict == verdict
    assert first.passed == (verdict != "different")
    assert {check.verdict for check in others} == {"same"}


def test_other_providers_may_differ_on_more_values():
    cpu, gpu = (tolerance_of("float32", provider) for provider in ("cpu", "cuda"))
    assert (cpu.largest, gpu.largest) == (1, 1)
    assert cpu.share < gpu.share == 0.01
    assert tolerance_of("int8", "cpu") == tolerance_of("float16-arithmetic", "cuda")


def test_documented_tolerances_are_those_of_the_code():
    page = (ROOT / "docs" / "contract.md").read_text()
    rows = {
        (precision, provider): tolerance_of(precision, provider)
        for precision in get_args(Precision)
        for provider in ("cpu", "others")
    }
    for (precision, provider), limits in rows.items():
        share = "any" if limits.share == 1 else f"{100 * limits.share:g} %"
        row = f"| `{precision}` | {provider} | {limits.largest} | {share} | {limits.mean:g} |"
        assert row in page, row


def test_picture_shows_golden_images_new_images_and_their_differences(tmp_path):
    comparison = compare_golden(large_golden(tmp_path, change(2, 5)))
    picture, factor = difference_picture(comparison)
    assert factor == 255 // 5
    scale, gap = 4, 4  # 128 pixels for the longer side of 40
    height, width = 32 * scale, 40 * scale
    assert picture.shape == (3 * height + 2 * gap, 3 * width + 2 * gap, 3)
    top, middle, bottom = (picture[row * (height + gap) :][:height, :width] for row in range(3))
    np.testing.assert_array_equal(top[::scale, ::scale], comparison.expected[0])
    np.testing.assert_array_equal(middle[::scale, ::scale], comparison.generated[0])
    shown = bottom[::scale, ::scale].reshape(-1)
    assert shown[:2].tolist() == [255, 255]
    assert not shown[2:].any()
    assert (picture[height : height + gap] == 128).all()


def test_command_writes_the_picture_also_if_an_image_is_different(tmp_path):
    (tmp_path / "x.onnx").write_bytes(large_golden(tmp_path, change(2, 5)).model.source)
    done = run_ganport("verify", "x.onnx", "--against", "golden", "--out", "x.png", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "seed 3: different, up to 5 levels off, 0.05% of the values differ",
        "seed 1: same",
        "seed 1099511627776: same",
    ]
    assert "x.png: golden, generated here, and differences times 51" in done.stderr
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (488, 392)
    assert "--out is x.jpg; it must end in .png." in failure(
        run_ganport("verify", "x.onnx", "--out", "x.jpg", cwd=tmp_path), 2
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text, ""),
        (lambda text: text.replace('"dim": 5', '"dim": 6'), "'input' differs"),
        (lambda text: text.replace('"seeds": [\n      3', '"seeds": [\n      4'), "'golden' differs"),
        (lambda text: text[:-40], "the whole text, which is damaged, differs"),
        (lambda text: "[" * 100_000 + text, "the whole text, which is damaged, differs"),
        (lambda text: text.replace("seed_rule", "report").replace('"dim": 5', '"dim": 6'), ""),
    ],
    ids=["same", "other input", "other golden seeds", "cut off", "too deep", "no description"],
)
def test_description_of_another_file_is_named(tmp_path, change, message):
    sampler = golden_file(tmp_path)
    text = json.dumps(sampler.contract.to_dict() | {"seed_rule": {}}, indent=2)
    (tmp_path / "x.json").write_text(change(text))
    done = run_ganport("verify", "x.onnx", cwd=tmp_path)
    if message:
        assert f"x.json does not describe the model beside it: {message}" in failure(done)
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "golden",
    [
        {"seeds": []},
        {"png_base64": "not base64!"},
        {"png_base64": base64.b64encode(b"not a PNG").decode()},
        {"png_base64": base64.b64encode(encode_png(np.zeros((3, 4, 1), np.uint8))).decode()},
        {"png_base64": base64.b64encode(encode_png(np.zeros((8, 10, 1), np.uint8))[:-40]).decode()},
    ],
    ids=["no seed", "not base64", "not a PNG", "another size", "cut off"],
)
def test_damaged_golden_images_are_a_contract_error(tmp_path, golden):
    with pytest.raises(ContractError, match="golden"):
        check_golden(golden_file(tmp_path, **golden))
