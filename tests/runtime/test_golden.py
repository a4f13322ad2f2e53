import base64

import numpy as np
import pytest

from ganport.runtime import Sampler, check_golden, encode_png, make_grid
from ganport.runtime.errors import ContractError
from tests.tiny_generator import tiny_contract, tiny_model

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
